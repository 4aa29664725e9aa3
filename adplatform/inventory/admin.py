from __future__ import annotations

from django.contrib import admin

from adplatform.core.admin import ReadOnlyAdmin, ServedAdmin
from adplatform.inventory.models import AdSlot, Category, CategoryLink, Site


@admin.register(Site)
class SiteAdmin(ServedAdmin):
    list_display = ["name", "domain", "publisher", "category", "language", "currency", "is_active"]
    list_filter = ["is_active", "category", "language", "currency"]
    list_select_related = ["publisher"]
    search_fields = ["name", "domain", "public_id", "publisher__name"]
    autocomplete_fields = ["publisher"]
    readonly_fields = ["public_id", "created_at", "updated_at"]


@admin.register(AdSlot)
class AdSlotAdmin(ServedAdmin):
    list_display = ["name", "site", "public_id", "format", "width", "height", "floor_micros", "is_active"]
    list_filter = ["is_active", "format"]
    list_select_related = ["site"]
    search_fields = ["name", "public_id", "site__name", "site__domain"]
    autocomplete_fields = ["site"]
    readonly_fields = ["public_id", "created_at", "updated_at"]


@admin.register(Category)
class CategoryAdmin(ReadOnlyAdmin):
    """Ordered in the console, where it leaves an entry in the audit log."""

    list_display = ["name", "parent", "description"]
    list_select_related = ["parent"]


@admin.register(CategoryLink)
class CategoryLinkAdmin(ReadOnlyAdmin):
    list_display = ["first", "second", "weight"]
    list_select_related = ["first", "second"]
