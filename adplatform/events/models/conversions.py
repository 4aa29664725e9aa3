"""Conversions as advertisers report them, what became of them, and the ads that get the credit."""

from __future__ import annotations

from django.db import models


class ConversionAction(models.Model):
    """What an advertiser counts as a conversion, how long after a click or a view, and what one is worth."""

    class Counting(models.TextChoices):
        EVERY = "every", "Every conversion"
        ONE_PER_CLICK = "one", "One per click"

    class ValueRule(models.TextChoices):
        REPORTED = "reported", "As reported, else the default"
        FIXED = "fixed", "Always the default"

    organisation = models.ForeignKey(
        "accounts.Organisation", on_delete=models.PROTECT, related_name="conversion_actions"
    )
    name = models.CharField(max_length=60)
    click_window_days = models.PositiveSmallIntegerField(default=30)
    view_window_days = models.PositiveSmallIntegerField(default=1)
    default_value_micros = models.BigIntegerField(default=0)
    counting = models.CharField(
        max_length=5, choices=Counting.choices, default=Counting.EVERY, db_default=Counting.EVERY
    )
    value_rule = models.CharField(
        max_length=8, choices=ValueRule.choices, default=ValueRule.REPORTED, db_default=ValueRule.REPORTED
    )
    value_share_bp = models.PositiveIntegerField(
        default=10_000, db_default=10_000, help_text="Of a reported value, in basis points: a margin"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="one_conversion_action_per_name")
        ]

    def __str__(self) -> str:
        return self.name


class Conversion(models.Model):
    """A conversion as the advertiser reported it (once per its own event id), with the click that it named, else the touch
    that was known when it came. Who gets the credit follows from all facts: events.Credit."""

    class Attribution(models.TextChoices):
        CLICK = "click", "After a click"
        VIEW = "view", "After a view"
        NONE = "none", "Not attributed"

    action = models.ForeignKey(ConversionAction, on_delete=models.PROTECT, related_name="conversions")
    event_id = models.CharField(max_length=120)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    value_micros = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    visitor = models.CharField(max_length=32, blank=True)
    attribution = models.CharField(max_length=5, choices=Attribution.choices)
    decision_id = models.UUIDField(null=True)
    campaign_id = models.BigIntegerField(null=True)
    line_item_id = models.BigIntegerField(null=True)
    creative_id = models.BigIntegerField(null=True)
    slot_id = models.BigIntegerField(null=True)
    publisher_id = models.BigIntegerField(null=True)
    names_click = models.BooleanField(
        db_default=False, help_text="The decision is that of the click which the report named"
    )
    source = models.CharField(max_length=10, default="live")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["action", "event_id"], name="conversion_is_counted_once"),
            models.CheckConstraint(
                condition=models.Q(value_micros__gte=0), name="conversion_value_is_not_negative"
            ),
        ]
        indexes = [models.Index(fields=["campaign_id", "occurred_at"], name="conversion_by_campaign")]

    def __str__(self) -> str:
        return self.event_id


class Adjustment(models.Model):
    """What became of a conversion: taken back, or worth something else. A fact of its own; the one of the latest
    `occurred_at` holds. It may arrive before its conversion."""

    class Kind(models.TextChoices):
        RETRACTION = "retract", "Taken back"
        RESTATEMENT = "restate", "Worth something else"

    action = models.ForeignKey(ConversionAction, on_delete=models.PROTECT, related_name="adjustments")
    event_id = models.CharField(max_length=120, help_text="The conversion's")
    adjustment_id = models.CharField(max_length=120)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    value_micros = models.BigIntegerField(default=0)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["action", "event_id", "adjustment_id"], name="adjustment_is_counted_once"
            ),
            models.CheckConstraint(
                condition=models.Q(value_micros__gte=0), name="adjusted_value_is_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id}"


class Credit(models.Model):
    """The part of a conversion that one attribution model gives to one ad. Derived from the facts and replaced whole
    whenever they say something else; `last_click` is what the statistics count."""

    conversion = models.ForeignKey(
        Conversion, on_delete=models.CASCADE, related_name="credits", db_constraint=False
    )
    model = models.CharField(max_length=12)
    touch = models.CharField(max_length=5, help_text="click or view: views are reported apart")
    decision_id = models.UUIDField()
    slot_id = models.BigIntegerField()
    publisher_id = models.BigIntegerField()
    advertiser_id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    line_item_id = models.BigIntegerField()
    creative_id = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    source = models.CharField(max_length=10)
    hour = models.DateTimeField(help_text="In which the conversion occurred")
    share_ppm = models.PositiveIntegerField(help_text="Of the conversion, in millionths")
    value_micros = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["conversion", "model", "decision_id"], name="one_credit_per_touch"
            ),
            models.CheckConstraint(condition=models.Q(share_ppm__lte=1_000_000), name="share_is_a_part"),
        ]
        indexes = [models.Index(fields=["advertiser_id", "hour"], name="credit_by_advertiser")]

    def __str__(self) -> str:
        return f"{self.model}: {self.conversion}"
