"""Facts, appended once and never changed: what was decided, what happened to an ad, what was found of it later.

A fact belongs to the hour of its signed serve time, so that a replay after midnight cannot count twice. There is
at most one impression, view and click per decision: the decision's id is their primary key.
"""

from __future__ import annotations

from django.db import models


class AdDecision(models.Model):
    """What was decided for one ad of one request: an ad with all that led to it, or no ad with its reason."""

    decision_id = models.UUIDField(primary_key=True)
    request_id = models.UUIDField()
    served_at = models.DateTimeField()
    slot_id = models.BigIntegerField()
    site_id = models.BigIntegerField()
    publisher_id = models.BigIntegerField()
    advertiser_id = models.BigIntegerField(null=True)
    campaign_id = models.BigIntegerField(null=True)
    line_item_id = models.BigIntegerField(null=True)
    creative_id = models.BigIntegerField(null=True)
    no_ad = models.CharField(max_length=30, blank=True, help_text="Reason, empty where an ad was served")
    mode = models.CharField(max_length=20)
    visitor = models.CharField(max_length=32, blank=True, help_text="Keyed pseudonym, empty without consent")
    country = models.CharField(max_length=2, blank=True)
    region = models.CharField(max_length=10, blank=True)
    language = models.CharField(max_length=8, blank=True)
    device = models.CharField(max_length=10, blank=True)
    keywords = models.CharField(max_length=400, blank=True)
    position = models.PositiveSmallIntegerField(default=1)
    currency = models.CharField(max_length=3)
    bid_micros = models.BigIntegerField(default=0, help_text="eCPM")
    price_micros = models.BigIntegerField(default=0, help_text="eCPM")
    floor_micros = models.BigIntegerField(default=0, help_text="eCPM")
    price_kind = models.CharField(
        max_length=3, blank=True, help_text="cpm: charged by impression, cpc: by click"
    )
    charge_micros = models.BigIntegerField(default=0, help_text="What one billable impression or click costs")
    text_score = models.FloatField(null=True)
    pctr = models.FloatField(null=True)
    pcvr = models.FloatField(null=True)
    propensity = models.FloatField(null=True)
    candidates = models.PositiveIntegerField(default=0)
    refused = models.JSONField(default=dict, help_text="Refused candidates by reason")
    versions = models.JSONField(default=dict, help_text="Matcher, blender and snapshot that decided")
    seed = models.BigIntegerField(default=0)
    source = models.CharField(max_length=10, default="live")
    choice_set = models.JSONField(
        null=True, help_text="Of a sampled decision: who could be chosen, at what worth, how probably"
    )
    candidate_table = models.JSONField(
        null=True, help_text="Of a sampled decision: every ranked ad with its numbers, the others by reason"
    )
    features = models.BinaryField(
        db_default=b"",
        help_text="What the blender saw of the shown ad: float32, in the order of its own columns",
    )
    explored = models.BooleanField(db_default=False, help_text="Chosen by an even draw among all bidders")
    runner_up_micros = models.BigIntegerField(db_default=0, help_text="eCPM of the second, 0 without one")
    factor = models.FloatField(
        db_default=1.0, help_text="By how much operator's rules let its worth count in the choice"
    )
    instead = models.CharField(
        max_length=30, db_default="", help_text="Without a paid ad: house:ID, passback, or nothing"
    )

    class Meta:
        indexes = [
            models.Index(fields=["served_at"], name="decision_by_time"),
            models.Index(fields=["campaign_id", "served_at"], name="decision_by_campaign"),
            models.Index(
                fields=["served_at"],
                name="decision_with_choices",
                condition=models.Q(choice_set__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.decision_id)


class Event(models.Model):
    """What an impression, a view and a click have in common; all of it comes out of the signed token."""

    decision_id = models.UUIDField(primary_key=True)
    served_at = models.DateTimeField()
    occurred_at = models.DateTimeField()
    slot_id = models.BigIntegerField()
    publisher_id = models.BigIntegerField()
    advertiser_id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    line_item_id = models.BigIntegerField()
    creative_id = models.BigIntegerField()
    visitor = models.CharField(max_length=32, blank=True)
    currency = models.CharField(max_length=3)
    is_billable = models.BooleanField()
    reason = models.CharField(max_length=30, blank=True, help_text="Why it is not billable")
    charge_micros = models.BigIntegerField(default=0)
    source = models.CharField(max_length=10, default="live")
    origin = models.CharField(
        max_length=16, db_default="", help_text="Hash of network and address under a key that lives two days"
    )
    seen = models.CharField(
        max_length=10,
        db_default="",
        help_text="What the tag measured: of an impression that it can measure, or what is wrong with its place; of a view its standard",
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.decision_id}"


class Impression(Event):
    class Meta:
        indexes = [models.Index(fields=["served_at"], name="impression_by_time")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(charge_micros__gte=0), name="impression_charge_is_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(is_billable=True) | models.Q(charge_micros=0),
                name="unbillable_impression_costs_nothing",
            ),
        ]


class View(Event):
    """A viewable impression: half of its pixels for one second (MRC)."""

    class Meta:
        indexes = [
            models.Index(fields=["served_at"], name="view_by_time"),
            models.Index(
                fields=["visitor", "occurred_at"], name="view_by_visitor", condition=~models.Q(visitor="")
            ),
        ]
        constraints = [models.CheckConstraint(condition=models.Q(charge_micros=0), name="views_cost_nothing")]


class Click(Event):
    class Meta:
        indexes = [
            models.Index(fields=["served_at"], name="click_by_time"),
            models.Index(
                fields=["visitor", "occurred_at"], name="click_by_visitor", condition=~models.Q(visitor="")
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(charge_micros__gte=0), name="click_charge_is_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(is_billable=True) | models.Q(charge_micros=0),
                name="unbillable_click_costs_nothing",
            ),
        ]


class Invalidation(models.Model):
    """An event that was counted and found invalid later: a fact of its own, since facts are never edited.

    Statistics, budgets and the books give back what the event had added (events.backfilter, billing.settlement).
    """

    kind = models.CharField(max_length=10)
    decision_id = models.UUIDField()
    reason = models.CharField(max_length=30)
    rules = models.PositiveSmallIntegerField(help_text="Version of the rules that found it")
    found_at = models.DateTimeField()
    served_at = models.DateTimeField()
    slot_id = models.BigIntegerField()
    publisher_id = models.BigIntegerField()
    advertiser_id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    line_item_id = models.BigIntegerField()
    creative_id = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    charge_micros = models.BigIntegerField(help_text="What it had cost and is given back")
    source = models.CharField(max_length=10, default="live")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["decision_id", "kind"], name="invalidated_once"),
            models.CheckConstraint(
                condition=models.Q(charge_micros__gte=0), name="given_back_is_not_negative"
            ),
        ]
        indexes = [models.Index(fields=["served_at"], name="invalidation_by_time")]

    def __str__(self) -> str:
        return f"{self.kind} {self.decision_id}: {self.reason}"


class Feedback(models.Model):
    """What a visitor said about an ad on its "why this ad" page, or took back. Each press of a button is a fact.

    Of one decision and kind the highest `turn` is what holds. A visitor without consent may speak too: that counts
    for the ad and hides nothing, since nobody is remembered.
    """

    class Kind(models.TextChoices):
        NOT_INTERESTED = "not_interested", "Not interested"
        SEEN_TOO_OFTEN = "seen_too_often", "Seen too often"
        HIDE_ADVERTISER = "hide_advertiser", "Hide this advertiser"
        MORE_LIKE_THIS = "more_like_this", "More like this"

    decision_id = models.UUIDField()
    kind = models.CharField(max_length=20, choices=Kind.choices)
    turn = models.PositiveSmallIntegerField(help_text="0 said, 1 taken back, 2 said again, …")
    is_given = models.BooleanField(help_text="False where it takes back what was said")
    served_at = models.DateTimeField()
    occurred_at = models.DateTimeField()
    slot_id = models.BigIntegerField()
    publisher_id = models.BigIntegerField()
    advertiser_id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    line_item_id = models.BigIntegerField()
    creative_id = models.BigIntegerField()
    visitor = models.CharField(max_length=32, blank=True, help_text="Keyed pseudonym, empty without consent")
    source = models.CharField(max_length=10, default="live")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["decision_id", "kind", "turn"], name="feedback_is_counted_once")
        ]
        indexes = [
            models.Index(
                fields=["visitor", "occurred_at"], name="feedback_by_visitor", condition=~models.Q(visitor="")
            ),
            models.Index(fields=["line_item_id", "occurred_at"], name="feedback_by_line_item"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.decision_id}"
