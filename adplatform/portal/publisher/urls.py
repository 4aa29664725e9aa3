"""The publisher's pages; their names begin with publisher_ and belong to the portal."""

from __future__ import annotations

from django.urls import path

from adplatform.portal.publisher import earnings, overview, sites, slots

urlpatterns = [
    path("", overview.overview, name="publisher_overview"),
    path("chart.json", overview.chart, name="publisher_chart"),
    path("numbers.csv", overview.export, name="publisher_csv"),
    path("sites/", sites.site_list, name="publisher_sites"),
    path("sites/new/", sites.new_site, name="publisher_site_new"),
    path("sites/<slug:public_id>/", sites.edit_site, name="publisher_site"),
    path("sites/<slug:public_id>/slots/new/", slots.new_slot, name="publisher_slot_new"),
    path("slots/<slug:public_id>/", slots.slot_page, name="publisher_slot"),
    path("slots/<slug:public_id>/chart.json", slots.chart, name="publisher_slot_chart"),
    path("slots/<slug:public_id>/edit/", slots.edit_slot, name="publisher_slot_edit"),
    path("earnings/", earnings.earnings, name="publisher_earnings"),
]
