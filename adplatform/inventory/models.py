"""A publisher's supply: sites and the ad slots on them."""

from __future__ import annotations

import secrets

from django.db import models

from adplatform.accounts.models import Organisation
from adplatform.core.models import TimeStamped


def new_public_id() -> str:
    return secrets.token_hex(6)


class Category(TimeStamped):
    """What sites and ads are about, as the operator orders it: each category lies in at most one other.

    Sites and campaigns name their category by `name`; names are compared without case.
    """

    name = models.CharField(max_length=60, unique=True, help_text="In small letters")
    description = models.CharField(
        max_length=400, blank=True, help_text="A few words more: the encoder reads them with the name"
    )
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children"
    )

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name

    @property
    def text(self) -> str:
        """What the encoder reads."""
        return f"{self.name}. {self.description}" if self.description else self.name


class CategoryLink(models.Model):
    """How closely two categories are related beyond lying in one another: 0 not at all, 1 the same to a reader.

    It holds both ways; `first` is the one with the smaller key.
    """

    first = models.ForeignKey(Category, on_delete=models.CASCADE, related_name="+")
    second = models.ForeignKey(Category, on_delete=models.CASCADE, related_name="+")
    weight = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["first", "second"], name="two_categories_are_linked_once"),
            models.CheckConstraint(
                condition=models.Q(first__lt=models.F("second")), name="a_link_joins_two_categories"
            ),
            models.CheckConstraint(
                condition=models.Q(weight__gt=0) & models.Q(weight__lte=1), name="a_link_weighs_at_most_one"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.first} – {self.second}"


class Site(TimeStamped):
    """A publisher's site. Ads are shown only when their currency is the site's."""

    publisher = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="sites")
    public_id = models.CharField(max_length=12, unique=True, default=new_public_id, editable=False)
    name = models.CharField(max_length=120)
    domain = models.CharField(max_length=253)
    description = models.TextField(
        blank=True, help_text="What the site is about: the encoder reads it where a visitor has no profile"
    )
    category = models.CharField(max_length=60, blank=True)
    language = models.CharField(max_length=8, default="en")
    currency = models.CharField(max_length=3, default="USD")
    time_zone = models.CharField(max_length=40, default="UTC")
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["publisher", "domain"], name="one_site_per_publisher_and_domain"),
            models.CheckConstraint(
                condition=models.Q(currency__regex=r"^[A-Z]{3}$"), name="site_currency_is_iso_4217"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AdFormat(models.TextChoices):
    BANNER = "banner", "Banner"
    NATIVE = "native", "Native (headline and text)"


class AdSlot(TimeStamped):
    """A place on a site that an ad can fill. Its floor is the least eCPM that it is sold for."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="slots")
    public_id = models.CharField(max_length=12, unique=True, default=new_public_id, editable=False)
    name = models.CharField(max_length=120)
    format = models.CharField(max_length=10, choices=AdFormat.choices, default=AdFormat.BANNER)
    width = models.PositiveIntegerField(default=300)
    height = models.PositiveIntegerField(default=250)
    position = models.PositiveSmallIntegerField(default=1, help_text="1 is the top of the page")
    floor_micros = models.BigIntegerField(
        default=0, help_text="Least price of 1,000 impressions, in micros of the site's currency"
    )
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["site", "position", "name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(floor_micros__gte=0), name="floor_is_not_negative"),
            models.CheckConstraint(
                condition=models.Q(width__gte=1) & models.Q(height__gte=1), name="slot_has_a_size"
            ),
            models.UniqueConstraint(fields=["site", "name"], name="one_slot_per_site_and_name"),
        ]

    def __str__(self) -> str:
        return f"{self.site} · {self.name}"
