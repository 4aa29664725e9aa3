"""Models and what they made. Promotion and rollback happen in the console."""

from __future__ import annotations

from django.contrib import admin

from adplatform.core.admin import ReadOnlyAdmin
from adplatform.learning.models import ModelVersion, Pick, TextVector, TrainingRun, VisitorVector


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
