"""What an advertiser buys: campaigns (money, dates, strategy), line items (targeting, bid, pacing), creatives, budgets."""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from adplatform.accounts.models import Organisation, User
from adplatform.core.models import TimeStamped
from adplatform.inventory.models import AdFormat, AdSlot, Site


class BidStrategy(models.TextChoices):
    """The same names as decision.types.BidStrategy; a test keeps them equal."""

    MANUAL_CPM = "manual_cpm", "Manual CPM"
    MANUAL_CPC = "manual_cpc", "Manual CPC"
    MAXIMISE_CLICKS = "maximise_clicks", "Maximise clicks"
    MAXIMISE_CONVERSIONS = "maximise_conversions", "Maximise conversions"
    TARGET_CPA = "target_cpa", "Target CPA"
    TARGET_ROAS = "target_roas", "Target ROAS"


class Status(models.TextChoices):
    DRAFT = "draft", "Draft"
    ACTIVE = "active", "Active"
    PAUSED = "paused", "Paused"
    ARCHIVED = "archived", "Archived"


class Capped(models.Model):
    """How often one visitor may see what this row holds: impressions within a fixed window of `cap_window_seconds`."""

    cap_impressions = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most impressions one visitor sees in the window"
    )
    cap_window_seconds = models.PositiveIntegerField(default=86_400)

    class Meta:
        abstract = True


class Campaign(Capped, TimeStamped):
    """Money, flight and bid strategy. Amounts are micros of the organisation's currency."""

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="campaigns")
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DRAFT)
    bid_strategy = models.CharField(
        max_length=24, choices=BidStrategy.choices, default=BidStrategy.MANUAL_CPC
    )
    currency = models.CharField(max_length=3, default="USD")
    daily_budget_micros = models.BigIntegerField(null=True, blank=True)
    flight_budget_micros = models.BigIntegerField(null=True, blank=True)
    target_roas_bp = models.PositiveIntegerField(
        null=True, blank=True, help_text="30000 means revenue of 3 times the spend"
    )
    start_at = models.DateTimeField()
    end_at = models.DateTimeField(null=True, blank=True)
    category = models.CharField(
        max_length=60, blank=True, help_text="Competing advertisers of one category are kept apart"
    )
    source = models.CharField(
        max_length=20,
        default="live",
        help_text="live, demo, or the data set it was imported from (never billable)",
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(daily_budget_micros__isnull=True) | Q(daily_budget_micros__gt=0),
                name="daily_budget_is_positive",
            ),
            models.CheckConstraint(
                condition=Q(flight_budget_micros__isnull=True) | Q(flight_budget_micros__gt=0),
                name="flight_budget_is_positive",
            ),
            models.CheckConstraint(
                condition=Q(end_at__isnull=True) | Q(end_at__gt=F("start_at")),
                name="flight_ends_after_it_starts",
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z]{3}$"), name="campaign_currency_is_iso_4217"
            ),
            models.CheckConstraint(
                condition=Q(cap_impressions__isnull=True) | Q(cap_impressions__gt=0),
                name="campaign_cap_is_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class LineItem(Capped, TimeStamped):
    """Targeting, bid and caps of one part of a campaign. `bid_micros`: price of 1,000 impressions (manual CPM), of a
    click (manual CPC, maximise clicks: the most a click may cost), of a conversion (target CPA and the automatic ones)."""

    class Pacing(models.TextChoices):
        EVEN = "even", "Even over the flight"
        ASAP = "asap", "As fast as possible"

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="line_items")
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)
    bid_micros = models.BigIntegerField()
    pacing = models.CharField(max_length=5, choices=Pacing.choices, default=Pacing.EVEN)
    targeting = models.JSONField(
        default=dict, blank=True, help_text="Rules as decision.targeting.parse reads them"
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(bid_micros__gt=0), name="bid_is_positive"),
            models.CheckConstraint(
                condition=Q(cap_impressions__isnull=True) | Q(cap_impressions__gt=0), name="cap_is_positive"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Creative(Capped, TimeStamped):
    """The ad itself: a headline, a text, where a click leads. It serves only once it is approved."""

    class Review(models.TextChoices):
        PENDING = "pending", "In review"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"

    line_item = models.ForeignKey(LineItem, on_delete=models.PROTECT, related_name="creatives")
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=200)
    format = models.CharField(max_length=10, choices=AdFormat.choices, default=AdFormat.BANNER)
    width = models.PositiveIntegerField(default=300)
    height = models.PositiveIntegerField(default=250)
    headline = models.CharField(max_length=400)
    body = models.TextField(blank=True)
    call_to_action = models.CharField(max_length=40, blank=True)
    landing_url = models.URLField(max_length=2000)
    language = models.CharField(max_length=8, default="en")
    attributes = models.JSONField(
        default=list,
        db_default=[],
        blank=True,
        help_text="inventory.CreativeAttribute values, by which publishers may block it",
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)
    review = models.CharField(max_length=10, choices=Review.choices, default=Review.PENDING)
    review_note = models.TextField(blank=True)
    reviewed_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="reviews"
    )
    reviewed_at = models.DateTimeField(null=True, blank=True)
    external_key = models.CharField(max_length=120, blank=True, help_text="Key at the source of an import")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(landing_url__startswith="https://") | Q(landing_url__startswith="http://"),
                name="landing_page_is_http",
            ),
            models.UniqueConstraint(
                fields=["line_item", "external_key"],
                condition=~Q(external_key=""),
                name="one_creative_per_external_key",
            ),
            models.CheckConstraint(
                condition=Q(cap_impressions__isnull=True) | Q(cap_impressions__gt=0),
                name="creative_cap_is_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def text(self) -> str:
        """What the encoder reads."""
        return text_of(self.headline, self.body)


class AdvertiserCap(Capped):
    """How often one visitor may see any ad of an advertiser; without a row as often as its campaigns allow."""

    organisation = models.OneToOneField(Organisation, on_delete=models.PROTECT, related_name="cap")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(cap_impressions__isnull=True) | Q(cap_impressions__gt=0),
                name="advertiser_cap_is_positive",
            )
        ]

    def __str__(self) -> str:
        return f"{self.organisation}"


def text_of(headline: str, body: str) -> str:
    """What the encoder reads of a creative."""
    return f"{headline}. {body}".strip() if body else headline


class Budget(models.Model):
    """What a campaign may still be charged. Ingest decides each charge against this row in its transaction, so
    that what is billed never exceeds the budget. `date` is the day in the organisation's zone; null: the flight.
    `recent_micros`, of flights: what was charged of the ads served lately, as start of a stretch, micros, start, ..."""

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="budgets")
    date = models.DateField(null=True, blank=True)
    amount_micros = models.BigIntegerField()
    spent_micros = models.BigIntegerField(default=0)
    recent_micros = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["campaign", "date"], name="one_budget_per_day", nulls_distinct=False
            ),
            models.CheckConstraint(condition=Q(amount_micros__gte=0), name="budget_is_not_negative"),
            models.CheckConstraint(condition=Q(spent_micros__gte=0), name="spend_is_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.campaign} {self.date or 'flight'}"


class Purse(models.Model):
    """An advertiser's prepaid money as ingest charges against it. `spent_micros` is all that was ever charged;
    `granted_micros` is how far that may go, read from the books (prepaid balance + what is settled) at `granted_at`
    and again when it runs short: spend never exceeds what was paid in."""

    organisation = models.OneToOneField(Organisation, on_delete=models.PROTECT, related_name="purse")
    granted_micros = models.BigIntegerField(default=0)
    granted_at = models.DateTimeField(null=True, blank=True)
    spent_micros = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(spent_micros__gte=0), name="purse_spend_is_not_negative")
        ]

    def __str__(self) -> str:
        return f"{self.organisation}"


class LeaseEpoch(models.Model):
    """One row: under which epoch Valkey holds what serving may spend. Leases of another epoch are worth nothing.

    `run_id` names the life of the Valkey server that the epoch was opened in, `serial` counts the rounds of renewal: a
    Valkey that was restarted, emptied or restored shows another one, and a new epoch begins. It opens when every process
    in `waiting` (name: seconds since 1970 of its last beat) has given its old leases up, or could not have kept them.
    """

    number = models.PositiveBigIntegerField(default=0)
    run_id = models.CharField(max_length=64, blank=True)
    serial = models.PositiveBigIntegerField(default=0)
    began_at = models.DateTimeField(null=True)
    renewed_at = models.DateTimeField(null=True)
    processes = models.JSONField(default=dict)
    waiting = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"Epoch {self.number}"


class AnnotationTask(models.Model):
    """A sample of ads that operators label with the answers to one question; everybody labels the same sample."""

    class Question(models.TextChoices):
        QUALITY = "quality", "Is this ad good?"
        POLICY = "policy", "Which policy does this ad break?"

    class Sampling(models.TextChoices):
        RANDOM = "random", "At random"
        UNCERTAIN = "uncertain", "Where the classifier is least sure"
        DISAGREEING = "disagreeing", "Where people or the classifier disagree"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    question = models.CharField(max_length=10, choices=Question.choices)
    sampling = models.CharField(max_length=12, choices=Sampling.choices)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.get_question_display()} {self.created_at:%Y-%m-%d %H:%M}"


class AnnotationItem(models.Model):
    """One ad of a task's sample, at its place in the order in which people see it."""

    task = models.ForeignKey(AnnotationTask, on_delete=models.CASCADE, related_name="items")
    creative = models.ForeignKey(Creative, on_delete=models.CASCADE, related_name="+")
    place = models.PositiveIntegerField()

    class Meta:
        ordering = ["task", "place"]
        constraints = [
            models.UniqueConstraint(fields=["task", "creative"], name="an_ad_is_once_in_a_task"),
            models.UniqueConstraint(fields=["task", "place"], name="one_ad_per_place"),
        ]

    def __str__(self) -> str:
        return f"{self.task} #{self.place}"


class Annotation(models.Model):
    """What one operator said of one ad of a sample."""

    item = models.ForeignKey(AnnotationItem, on_delete=models.CASCADE, related_name="annotations")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    label = models.CharField(max_length=20)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "annotator"], name="one_label_per_person")]
        indexes = [models.Index(fields=["annotator", "-at"], name="annotation_newest")]

    def __str__(self) -> str:
        return f"{self.item} {self.label}"


class OperatorRule(TimeStamped):
    """What the platform's operator rules about some ads in some places; decision.rules says what each action does.

    What a rule names cannot be changed: another rule takes its place, so that what was in force stays readable. It is
    in force from `start_at` until `end_at` or `stopped_at`.
    """

    class Action(models.TextChoices):
        """The same values as decision.rules.RuleAction; a test keeps them equal."""

        FORBID = "forbid", "Forbid"
        LIMIT = "limit", "Limit the share"
        MULTIPLY = "multiply", "Multiply the worth"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    action = models.CharField(max_length=10, choices=Action.choices)
    share_bp = models.PositiveIntegerField(default=0, help_text="Of the decisions there, in basis points")
    factor = models.FloatField(default=1.0)
    advertiser = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    category = models.CharField(max_length=60, blank=True, help_text="Of campaigns, and what lies below it")
    words = models.CharField(max_length=300, blank=True, help_text="Of ads: any of them, divided by commas")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    slot = models.ForeignKey(AdSlot, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    topic = models.CharField(max_length=60, blank=True, help_text="Category of sites, and what lies below it")
    least_related = models.FloatField(
        null=True, blank=True, help_text="Also categories that are related by at least this weight"
    )
    start_at = models.DateTimeField()
    end_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    forecast = models.JSONField(default=dict, help_text="The effect that was shown before it was saved")

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(share_bp__lte=10_000), name="a_rule_limits_to_at_most_all"),
            models.CheckConstraint(
                condition=Q(factor__gte=0.1) & Q(factor__lte=3), name="a_rule_multiplies_within_its_bounds"
            ),
            models.CheckConstraint(
                condition=Q(end_at__isnull=True) | Q(end_at__gt=F("start_at")),
                name="a_rule_ends_after_it_starts",
            ),
            models.CheckConstraint(
                condition=Q(advertiser__isnull=False)
                | Q(site__isnull=False)
                | Q(slot__isnull=False)
                | ~Q(category="")
                | ~Q(words="")
                | ~Q(topic=""),
                name="a_rule_names_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.created_at:%Y-%m-%d %H:%M}"
