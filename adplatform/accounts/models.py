"""Who takes part: organisations (advertisers, publishers), people, their roles, keys, and what they did."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models

from adplatform.core.models import TimeStamped


class UserManager(BaseUserManager["User"]):
    """People sign in with their e-mail address."""

    use_in_migrations = True

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        if not email:
            raise ValueError("a user needs an e-mail address")
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, **{"is_staff": True, "is_superuser": True, **fields})


class User(AbstractUser):
    """A person. `is_staff` marks an operator of the platform."""

    username = None  # type: ignore[assignment]
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.name or self.email


class Organisation(TimeStamped):
    """An advertiser or a publisher. It keeps one currency: its money never mixes with another's."""

    class Kind(models.TextChoices):
        ADVERTISER = "advertiser", "Advertiser"
        PUBLISHER = "publisher", "Publisher"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    currency = models.CharField(max_length=3, default="USD")
    time_zone = models.CharField(max_length=40, default="UTC")
    revenue_share_bp = models.PositiveIntegerField(
        default=7_000, help_text="Publisher's part of what an advertiser pays, in basis points"
    )
    is_active = models.BooleanField(default=True)
    is_synthetic = models.BooleanField(default=False, help_text="Made by the demo market: every page says so")
    members = models.ManyToManyField(User, through="Membership", related_name="organisations")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(currency__regex=r"^[A-Z]{3}$"), name="currency_is_iso_4217"
            ),
            models.CheckConstraint(
                condition=models.Q(revenue_share_bp__lte=10_000), name="share_is_at_most_everything"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(TimeStamped):
    """A person's role in an organisation."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        MANAGER = "manager", "Manager"
        ANALYST = "analyst", "Analyst (reads only)"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MANAGER)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "organisation"], name="one_role_per_person_and_organisation"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.organisation} · {self.role}"

    @property
    def may_edit(self) -> bool:
        return self.role in {self.Role.OWNER, self.Role.MANAGER}


class ApiKey(TimeStamped):
    """A key of an organisation; only its SHA-256 is kept (the secret has more than 200 bits of chance)."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=16, unique=True)
    secret_sha256 = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class AuditEntry(models.Model):
    """Who did what to which object, and when. Only ever added to."""

    at = models.DateTimeField(auto_now_add=True)
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, null=True, blank=True)
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=120)
    detail = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "audit entries"
        ordering = ["-at"]
        indexes = [models.Index(fields=["organisation", "-at"], name="audit_by_organisation")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"
