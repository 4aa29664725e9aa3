"""Tables of counted outcomes: what became of the opportunities of line items, as serving processes counted them."""

from __future__ import annotations

from django.db import models


class DeliveryHour(models.Model):
    """How often a line item could have been shown in an hour, by outcome: `won`, or the reason why not.

    `outcomes` maps a reason (decision.reasons) to its count; together they are the opportunities. After some days the
    hours of a local day become one row at its midnight.
    """

    hour = models.DateTimeField()
    advertiser_id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    line_item_id = models.BigIntegerField()
    source = models.CharField(max_length=10, default="live")
    outcomes = models.JSONField(help_text="Opportunities by outcome")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["line_item_id", "hour", "source"], name="one_delivery_hour")
        ]
        indexes = [
            models.Index(fields=["hour"], name="delivery_by_hour"),
            models.Index(fields=["advertiser_id", "hour"], name="delivery_by_advertiser"),
        ]

    def __str__(self) -> str:
        return f"{self.line_item_id} {self.hour:%Y-%m-%d %H}"


class TallyReport(models.Model):
    """A report of a serving process: the key that makes storing it again change nothing, and until it is added to the hours
    what it counted."""

    process = models.UUIDField()
    number = models.BigIntegerField()
    hour = models.DateTimeField()
    waiting = models.BinaryField(
        db_default=b"", help_text="The report as it travelled, until it is added; then nothing"
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["process", "number"], name="a_report_is_counted_once")]
        indexes = [
            models.Index(fields=["hour"], name="report_by_hour"),
            models.Index(fields=["id"], name="report_waiting", condition=~models.Q(waiting=b"")),
        ]

    def __str__(self) -> str:
        return f"{self.process} {self.number}"
