"""Sums of facts, by hour and by day, in one place."""

from __future__ import annotations

from django.db import models


class Statistic(models.Model):
    """Sums of facts for one creative in one slot. `source` import: totals taken over from a data set, never billable."""

    advertiser_id = models.BigIntegerField()
    publisher_id = models.BigIntegerField(null=True)
    campaign_id = models.BigIntegerField()
    line_item_id = models.BigIntegerField()
    creative_id = models.BigIntegerField()
    slot_id = models.BigIntegerField(null=True)
    currency = models.CharField(max_length=3)
    source = models.CharField(max_length=20, default="live")
    impressions = models.BigIntegerField(default=0)
    billable_impressions = models.BigIntegerField(default=0)
    measured = models.BigIntegerField(
        default=0, db_default=0, help_text="Impressions whose view could be measured"
    )
    views = models.BigIntegerField(default=0)
    clicks = models.BigIntegerField(default=0)
    billable_clicks = models.BigIntegerField(default=0)
    conversions = models.BigIntegerField(default=0)
    spend_micros = models.BigIntegerField(default=0)
    revenue_micros = models.BigIntegerField(default=0, help_text="Value of attributed conversions")

    class Meta:
        abstract = True


class HourlyStat(Statistic):
    """Grown by ingest in the transaction that stores the fact. A conversion counts in the hour it occurred."""

    hour = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "creative_id", "slot_id", "source"],
                name="one_hourly_stat",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=models.Q(clicks__gte=0) & models.Q(impressions__gte=0),
                name="hourly_counts_are_not_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["campaign_id", "hour"], name="hourly_by_campaign"),
            models.Index(fields=["advertiser_id", "hour"], name="hourly_by_advertiser"),
            models.Index(fields=["publisher_id", "hour"], name="hourly_by_publisher"),
        ]


class DailyStat(Statistic):
    """The same by day in UTC, rebuilt from the hours by the `rollup` job."""

    date = models.DateField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["date", "creative_id", "slot_id", "source"],
                name="one_daily_stat",
                nulls_distinct=False,
            )
        ]
        indexes = [models.Index(fields=["advertiser_id", "date"], name="daily_by_advertiser")]


class RefusedStat(models.Model):
    """Requests that became no event of their own, per slot and hour of serving: again for one that is stored
    (`duplicate`), or made by a browser in advance (`prefetch`). A batch that ingest stores twice counts here twice."""

    hour = models.DateTimeField()
    slot_id = models.BigIntegerField()
    publisher_id = models.BigIntegerField()
    kind = models.CharField(max_length=10)
    reason = models.CharField(max_length=30)
    source = models.CharField(max_length=10, default="live")
    events = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "slot_id", "kind", "reason", "source"], name="one_refused_stat"
            )
        ]


class FillStat(models.Model):
    """How ad requests ended, per slot and hour: with a paid ad (empty reason) or without one, and why."""

    hour = models.DateTimeField()
    slot_id = models.BigIntegerField()
    publisher_id = models.BigIntegerField()
    reason = models.CharField(max_length=30, blank=True)
    requests = models.BigIntegerField(default=0)
    source = models.CharField(max_length=10, default="live")
    instead = models.CharField(
        max_length=30,
        default="",
        db_default="",
        help_text="Without a paid ad: house:ID, passback, or nothing",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "slot_id", "reason", "source", "instead"], name="one_fill_stat"
            )
        ]
