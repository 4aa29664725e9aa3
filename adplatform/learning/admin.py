"""Models and what they made. Promotion and rollback happen in the console."""

from __future__ import annotations

from django.contrib import admin

from adplatform.core.admin import ReadOnlyAdmin
from adplatform.learning.models import (
    BeliefFit,
    CategoryBenchmark,
    CategorySuggestion,
    CreativeRating,
    DataReport,
    EngineFit,
    Influence,
    ModelVersion,
    Pick,
    RatingModel,
    SearchRun,
    SearchTrial,
    ShadowPrediction,
    SimilarAds,
    TextVector,
    TrainingRun,
    VisitorVector,
)


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnlyAdmin):
    list_display = ["started_at", "finished_at", "rows", "verdict", "is_promoted"]
    list_filter = ["is_promoted"]


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    list_display = ["name", "kind", "stage", "encoder", "created_at", "promoted_at"]
    list_filter = ["kind", "stage"]
    search_fields = ["name"]


@admin.register(TextVector)
class TextVectorAdmin(ReadOnlyAdmin):
    list_display = ["text_sha256", "encoder", "created_at"]
    list_filter = ["encoder"]
    search_fields = ["text_sha256"]
    exclude = ["vector"]


@admin.register(VisitorVector)
class VisitorVectorAdmin(ReadOnlyAdmin):
    list_display = ["visitor", "encoder", "behaviours", "computed_at"]
    search_fields = ["visitor"]
    exclude = ["vector"]


@admin.register(Pick)
class PickAdmin(ReadOnlyAdmin):
    list_display = ["visitor", "rank", "creative_id", "text_score", "pctr", "computed_at"]
    search_fields = ["visitor", "=creative_id"]


@admin.register(ShadowPrediction)
class ShadowPredictionAdmin(ReadOnlyAdmin):
    list_display = ["version", "decision_id", "served_at", "pctr"]
    list_select_related = ["version"]


@admin.register(SearchRun)
class SearchRunAdmin(ReadOnlyAdmin):
    list_display = ["started_at", "finished_at", "until", "seed", "trials_wanted", "seconds_allowed", "rows"]


@admin.register(SearchTrial)
class SearchTrialAdmin(ReadOnlyAdmin):
    list_display = ["search", "number", "value", "state", "seconds"]
    list_select_related = ["search"]


@admin.register(DataReport)
class DataReportAdmin(ReadOnlyAdmin):
    list_display = ["examined_at", "data_until", "run", "rows", "severity"]
    list_select_related = ["run"]


@admin.register(RatingModel)
class RatingModelAdmin(ReadOnlyAdmin):
    list_display = ["trained_at", "labels", "encoder"]


@admin.register(CreativeRating)
class CreativeRatingAdmin(ReadOnlyAdmin):
    list_display = ["creative_id", "model", "bad"]
    list_select_related = ["model"]


@admin.register(Influence)
class InfluenceAdmin(ReadOnlyAdmin):
    list_display = ["line_item_id", "computed_at", "decisions", "visitors", "blender"]


@admin.register(SimilarAds)
class SimilarAdsAdmin(ReadOnlyAdmin):
    list_display = ["creative_id", "encoder", "computed_at", "running", "advertisers"]


@admin.register(CategoryBenchmark)
class CategoryBenchmarkAdmin(ReadOnlyAdmin):
    list_display = ["category", "computed_at", "advertisers", "creatives", "impressions", "clicks"]


@admin.register(CategorySuggestion)
class CategorySuggestionAdmin(ReadOnlyAdmin):
    list_display = ["kind", "object_id", "category", "cosine", "computed_at"]


@admin.register(EngineFit)
class EngineFitAdmin(ReadOnlyAdmin):
    list_display = ["name", "fitted_at", "acts", "visitors", "items", "is_used"]


@admin.register(BeliefFit)
class BeliefFitAdmin(ReadOnlyAdmin):
    list_display = ["fitted_at", "rows", "clicks", "strength", "gain", "is_kept"]
