"""Models that were trained, the runs that trained them, vectors by text, and the picks that scoring made."""

from __future__ import annotations

from typing import Any

from django.db import models


class TrainingRun(models.Model):
    """One run through the gate: what it read, what it measured beside the champion, and the verdict in words."""

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    seed = models.BigIntegerField(default=0)
    rows = models.BigIntegerField(default=0)
    data_from = models.DateTimeField(null=True, blank=True)
    data_until = models.DateTimeField(null=True, blank=True)
    metrics = models.JSONField(default=dict)
    verdict = models.TextField(blank=True)
    is_promoted = models.BooleanField(default=False)

    class Meta:
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}"


class ModelVersion(models.Model):
    """A folder of weights with its manifest. At most one champion of each kind serves.

    A challenger that passed the gate may first run in the shadow (it scores what was shown, and decides nothing), or
    as a canary (it decides `share_bp` basis points of the traffic).
    """

    class Kind(models.TextChoices):
        MATCHER = "matcher", "Matcher (transformer score)"
        BLENDER = "blender", "Blender (LightGBM)"

    class Stage(models.TextChoices):
        CHALLENGER = "challenger", "Challenger"
        SHADOW = "shadow", "Shadow"
        CANARY = "canary", "Canary"
        CHAMPION = "champion", "Champion"
        REFUSED = "refused", "Refused by the gate"
        RETIRED = "retired", "Retired"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    name = models.CharField(
        max_length=60, unique=True, help_text="Kind and moment; every decision records it"
    )
    folder = models.CharField(max_length=300, help_text="Below the models directory")
    encoder = models.CharField(max_length=120, blank=True)
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.CHALLENGER)
    run = models.ForeignKey(
        TrainingRun, on_delete=models.PROTECT, null=True, blank=True, related_name="versions"
    )
    manifest = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    promoted_at = models.DateTimeField(null=True, blank=True)
    share_bp = models.PositiveSmallIntegerField(
        default=0, help_text="Share of traffic as a canary, basis points"
    )
    staged_at = models.DateTimeField(null=True, blank=True, help_text="Since when it is shadow or canary")
    live = models.JSONField(default=dict, help_text="What live traffic said of it as shadow or canary")
    card = models.JSONField(default=dict, help_text="Data, features, figures, limits and cost, for people")

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind"], condition=models.Q(stage="champion"), name="one_champion_per_kind"
            ),
            models.UniqueConstraint(
                fields=["kind"], condition=models.Q(stage="canary"), name="one_canary_per_kind"
            ),
            models.UniqueConstraint(
                fields=["kind"], condition=models.Q(stage="shadow"), name="one_shadow_per_kind"
            ),
            models.CheckConstraint(
                condition=models.Q(share_bp__lte=10_000), name="a_share_is_at_most_the_whole"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ShadowPrediction(models.Model):
    """What a shadow would have predicted for an ad that the champion chose: one row per version and decision."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="predictions")
    decision_id = models.UUIDField()
    served_at = models.DateTimeField()
    pctr = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "decision_id"], name="a_shadow_predicts_once")
        ]
        indexes = [models.Index(fields=["version", "served_at"], name="shadow_by_time")]


class SearchRun(models.Model):
    """A search for the blender's parameters on impressions served before `until`; open until it has a verdict."""

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField(help_text="Impressions served before this moment are its table")
    seed = models.BigIntegerField(default=0)
    trials_wanted = models.PositiveIntegerField()
    seconds_allowed = models.PositiveIntegerField()
    rows = models.BigIntegerField(default=0, help_text="Impressions that trials learn from or are judged on")
    clicks = models.BigIntegerField(default=0)
    schema = models.CharField(max_length=80, blank=True, help_text="Of the features that trees were grown on")
    incumbent = models.JSONField(default=dict, help_text="What the search before found; tried early")
    parameters = models.JSONField(default=dict, help_text="The best of the trials")
    figures = models.JSONField(default=dict)
    verdict = models.TextField(blank=True)
    is_kept = models.BooleanField(default=False, help_text="Whether the next training uses the parameters")

    class Meta:
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}"


class SearchTrial(models.Model):
    """One set of parameters and the normalised entropy of its trees on each judged block of time."""

    class State(models.TextChoices):
        COMPLETE = "complete", "Complete"
        PRUNED = "pruned", "Stopped early"

    search = models.ForeignKey(SearchRun, on_delete=models.CASCADE, related_name="trials")
    number = models.PositiveIntegerField()
    parameters = models.JSONField()
    entropies = models.JSONField(default=list, help_text="By block, in time order; fewer where stopped early")
    value = models.FloatField(help_text="Mean of the entropies; lower is better")
    state = models.CharField(max_length=10, choices=State.choices)
    seconds = models.FloatField()

    class Meta:
        ordering = ["search", "number"]
        constraints = [models.UniqueConstraint(fields=["search", "number"], name="a_trial_has_one_number")]

    def __str__(self) -> str:
        return f"{self.search} #{self.number}"


class DataReport(models.Model):
    """What an examination of the training data found, with or without a training after it. The newest is shown."""

    examined_at = models.DateTimeField()
    data_until = models.DateTimeField(help_text="Nothing later was looked at")
    run = models.ForeignKey(
        TrainingRun, on_delete=models.CASCADE, null=True, blank=True, related_name="reports"
    )
    rows = models.BigIntegerField()
    severity = models.CharField(max_length=6, help_text="The worst finding: ok, warn, alarm or refuse")
    refusals = models.JSONField(default=list, help_text="Why nothing may be trained, in words")
    report = models.JSONField(default=dict)

    class Meta:
        ordering = ["-examined_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.examined_at:%Y-%m-%d %H:%M} {self.severity}"


class RatingModel(models.Model):
    """A classifier of ad texts as operators labelled them, how it did in cross-validation, and its weights."""

    trained_at = models.DateTimeField()
    labels = models.PositiveIntegerField()
    encoder = models.CharField(max_length=120)
    metrics = models.JSONField(default=dict)
    weights = models.JSONField(help_text="One per dimension, the bias last")

    class Meta:
        ordering = ["-trained_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.trained_at:%Y-%m-%d %H:%M}, {self.labels} labels"


class CreativeRating(models.Model):
    """How likely an operator would call an ad bad, by the newest classifier: the order of the review queue."""

    creative_id = models.BigIntegerField(primary_key=True)
    model = models.ForeignKey(RatingModel, on_delete=models.CASCADE, related_name="ratings")
    bad = models.FloatField(help_text="Probability")

    def __str__(self) -> str:
        return f"{self.creative_id} {self.bad:.2f}"


class EngineFit(models.Model):
    """Classical engines fitted on what visitors did before `fitted_at`, what each adds, and whether they retrieve."""

    name = models.CharField(max_length=60, unique=True)
    fitted_at = models.DateTimeField()
    folder = models.CharField(
        max_length=300, blank=True, help_text="Below the models directory; empty: swept"
    )
    acts = models.PositiveIntegerField()
    visitors = models.PositiveIntegerField()
    items = models.PositiveIntegerField(help_text="Texts of pages, products and ads")
    weights = models.JSONField(default=dict, help_text="Of reciprocal ranks, by source")
    figures = models.JSONField(default=dict)
    is_used = models.BooleanField(default=False, help_text="Whether picks are retrieved with them")
    verdict = models.TextField(blank=True)

    class Meta:
        ordering = ["-fitted_at", "-pk"]

    def __str__(self) -> str:
        return self.name

    def sources(self) -> list[tuple[str, dict[str, Any]]]:
        """Figures by source, the heaviest first and the blend last."""
        rows: dict[str, dict[str, Any]] = self.figures.get("sources", {})
        return sorted(
            rows.items(), key=lambda pair: (pair[0] == "blend", -pair[1].get("weight", 0.0), pair[0])
        )


class BeliefFit(models.Model):
    """How many impressions a prediction was found to be worth; the newest row says with what exploration draws."""

    fitted_at = models.DateTimeField()
    rows = models.PositiveIntegerField(help_text="Ads by day")
    clicks = models.PositiveIntegerField()
    strength = models.FloatField(help_text="Impressions that a prediction is worth by itself")
    gain = models.FloatField(help_text="Log likelihood by row over the default, on the later third")
    gain_error = models.FloatField(help_text="Its standard error")
    is_kept = models.BooleanField(default=False, help_text="Whether exploration uses it")

    class Meta:
        ordering = ["-fitted_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.fitted_at:%Y-%m-%d %H:%M} {self.strength:g}"


class TextVector(models.Model):
    """A text's vector under one encoder, float16, little endian: each text is encoded once."""

    encoder = models.CharField(max_length=120)
    text_sha256 = models.CharField(max_length=64)
    vector = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["encoder", "text_sha256"], name="a_text_is_encoded_once")
        ]


class VisitorVector(models.Model):
    """A visitor's profile under one encoder, float16: the decayed mean of the texts of what the visitor did."""

    visitor = models.CharField(max_length=32)
    encoder = models.CharField(max_length=120)
    vector = models.BinaryField()
    behaviours = models.PositiveIntegerField()
    computed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["visitor", "encoder"], name="one_profile_per_visitor_and_encoder")
        ]


class Pick(models.Model):
    """An ad that scoring picked for a visitor, best first, with the models that did."""

    visitor = models.CharField(max_length=32)
    rank = models.PositiveSmallIntegerField()
    creative_id = models.BigIntegerField()
    text_score = models.FloatField(null=True, help_text="Empty where the ad has no vector")
    pctr = models.FloatField()
    versions = models.JSONField(default=dict)
    computed_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["visitor", "rank"], name="one_pick_per_rank")]
        indexes = [models.Index(fields=["creative_id"], name="picks_of_a_creative")]


class Influence(models.Model):
    """What moved the click probability of a line item's ads, over a sample of its newest decisions.

    `groups` is {group: {"mean": log odds, "size": mean of |log odds|}}. `topics` are [text, visitors]: what at least
    FEWEST_VISITORS (learning.influence) different visitors had read or bought that is like the ads, and never fewer.
    `page_words` are [word, impressions, clicks] of pages that said so, from FEWEST_DECISIONS impressions on.
    """

    line_item_id = models.BigIntegerField(unique=True)
    computed_at = models.DateTimeField()
    decisions = models.PositiveIntegerField()
    visitors = models.PositiveIntegerField(default=0)
    blender = models.CharField(max_length=60)
    groups = models.JSONField(default=dict)
    topics = models.JSONField(default=list)
    page_words = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))

    def __str__(self) -> str:
        return f"line item {self.line_item_id}"


class SimilarAds(models.Model):
    """What an ad's nearest ads are by the encoder's vectors: [creative, cosine], the nearest first.

    `own` are running ads of other line items of its advertiser, without near duplicates; `reviewed` are ads of anybody
    with a verdict, for operators only. `running` and `advertisers` count running ads of other line items that are about
    the same things, whoever pays for them.
    """

    creative_id = models.BigIntegerField(primary_key=True)
    encoder = models.CharField(max_length=120)
    computed_at = models.DateTimeField()
    own = models.JSONField(default=list)
    reviewed = models.JSONField(default=list)
    running = models.PositiveIntegerField(default=0)
    advertisers = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"creative {self.creative_id}"


class CategoryBenchmark(models.Model):
    """How the ads of a category (and what lies below it) did in the last 30 days; '' is all of them.

    Only what nobody can be recognised in is kept: sums over enough advertisers (learning.benchmarks says how many).
    """

    category = models.CharField(max_length=60, primary_key=True)
    computed_at = models.DateTimeField()
    advertisers = models.PositiveIntegerField()
    creatives = models.PositiveIntegerField()
    impressions = models.BigIntegerField()
    clicks = models.BigIntegerField()

    def __str__(self) -> str:
        return self.category or "all"


class CategorySuggestion(models.Model):
    """The category whose text is nearest to what a campaign's ads or a site say, where they name none that is known.

    A suggestion to people; nothing takes it over by itself.
    """

    class Kind(models.TextChoices):
        CAMPAIGN = "campaign", "Campaign"
        SITE = "site", "Site"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    object_id = models.BigIntegerField()
    category = models.CharField(max_length=60)
    cosine = models.FloatField()
    computed_at = models.DateTimeField()

    class Meta:
        ordering = ["-cosine", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "object_id"], name="one_suggestion_per_campaign_or_site")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}: {self.category}"
