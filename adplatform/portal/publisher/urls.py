"""The publisher's pages; their names begin with publisher_ and belong to the portal."""

from __future__ import annotations

from django.urls import path

from adplatform.portal.publisher import earnings, house, overview, payee, rules, sites, slots, variety

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
    path("rules/", rules.rule_list, name="publisher_rules"),
    path("rules/blocks/new/", rules.new_block, name="publisher_block_new"),
    path("rules/blocks/<uuid:public_id>/<slug:action>/", rules.switch_block, name="publisher_block_switch"),
    path("rules/floors/", rules.save_floor, name="publisher_floor_save"),
    path("rules/floors/<uuid:public_id>/<slug:action>/", rules.switch_floor, name="publisher_floor_switch"),
    path("rules/competitors/", rules.name_pair, name="publisher_pair_new"),
    path("rules/competitors/<int:pk>/forget/", rules.forget_pair, name="publisher_pair_forget"),
    path("house-ads/", house.house_list, name="publisher_house"),
    path("house-ads/new/", house.new_house_ad, name="publisher_house_new"),
    path("house-ads/<uuid:public_id>/edit/", house.edit_house_ad, name="publisher_house_edit"),
    path("house-ads/<uuid:public_id>/<slug:action>/", house.switch_house_ad, name="publisher_house_switch"),
    path("variety/", variety.variety, name="publisher_variety"),
    path("variety/chart.json", variety.chart, name="publisher_variety_chart"),
    path("earnings/", earnings.earnings, name="publisher_earnings"),
    path("earnings/payee/", payee.payee, name="publisher_payee"),
]
