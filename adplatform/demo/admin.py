from __future__ import annotations

from django.contrib import admin

from adplatform.core.admin import ReadOnlyAdmin
from adplatform.demo.models import DemoDay


@admin.register(DemoDay)
class DemoDayAdmin(ReadOnlyAdmin):
    list_display = ["date", "requests", "ads", "clicks", "orders"]
