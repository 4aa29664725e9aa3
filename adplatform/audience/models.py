"""Visitors under a keyed pseudonym, what they agreed to, and what they did: the raw material of a profile."""

from __future__ import annotations

from django.db import models

from adplatform.accounts.models import Organisation


class Visitor(models.Model):
    """A person as sites see them. `pseudonym` is a keyed hash of a first-party id: nobody without the key can invert it."""

    pseudonym = models.CharField(max_length=32, unique=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    source = models.CharField(
        max_length=20, default="live", help_text="live, demo, or the data set it was imported from"
    )

    def __str__(self) -> str:
        return self.pseudonym


class Consent(models.Model):
    """What a visitor agreed to or refused, as it was said; the newest row counts."""

    visitor = models.ForeignKey(Visitor, on_delete=models.CASCADE, related_name="consents")
    is_granted = models.BooleanField()
    source = models.CharField(max_length=20, help_text="tcf, gpp, gpc, or import")
    evidence = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["visitor", "-at"], name="consent_newest")]

    def __str__(self) -> str:
        return f"{self.visitor} {'granted' if self.is_granted else 'refused'}"


class Behaviour(models.Model):
    """One thing a consenting visitor did outside our ads: read a page, bought a product. Text feeds the encoder."""

    class Kind(models.TextChoices):
        READ = "read", "Read a page"
        PURCHASE = "purchase", "Bought a product"

    visitor = models.ForeignKey(Visitor, on_delete=models.CASCADE, related_name="behaviours")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    item = models.CharField(max_length=80, help_text="Page or product key at its source")
    text = models.TextField()
    value_micros = models.BigIntegerField(default=0)
    occurred_at = models.DateTimeField()
    source = models.CharField(
        max_length=10, default="tag", db_default="tag", help_text="tag, import or api: who told it"
    )
    provenance = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text="Where several sources told of it: which of them gave each field",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["visitor", "kind", "item", "occurred_at"], name="one_behaviour_per_moment"
            )
        ]
        indexes = [models.Index(fields=["visitor", "-occurred_at"], name="behaviour_newest")]

    def __str__(self) -> str:
        return f"{self.visitor} {self.kind} {self.item}"


class Erasure(models.Model):
    """A visitor who was forgotten. `subject` is a hash of the pseudonym (audience.erasures): it tells a late event or a
    row out of an old backup that it belongs to somebody who is gone, and nobody who."""

    subject = models.CharField(max_length=64, unique=True)
    at = models.DateTimeField(help_text="What was served until then stays without a visitor")

    class Meta:
        indexes = [models.Index(fields=["-at"], name="erasure_newest")]

    def __str__(self) -> str:
        return self.subject[:12]


class Segment(models.Model):
    """A named group of visitors that an advertiser may target."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="segments")
    name = models.CharField(max_length=120)
    visitors = models.ManyToManyField(Visitor, related_name="segments", blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="one_segment_per_name")]

    def __str__(self) -> str:
        return self.name
