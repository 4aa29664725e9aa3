from __future__ import annotations

from django.contrib import admin

from adplatform.bidding.models import Pace
from adplatform.core.admin import ReadOnlyAdmin


@admin.register(Pace)
class PaceAdmin(ReadOnlyAdmin):
    list_display = ["campaign", "multiplier", "target_micros", "spent_micros", "computed_at"]
    list_select_related = ["campaign"]
    search_fields = ["campaign__name"]
