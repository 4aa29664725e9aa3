"""The portal's pages: what every member has, the advertiser's, and the publisher's."""

from __future__ import annotations

from django.urls import include, path

from adplatform.portal import account, home, visitor
from adplatform.portal.advertiser import (
    attribution,
    billing,
    campaigns,
    charts,
    creatives,
    delivery,
    deposits,
    editing,
    invoices,
    overview,
    reports,
    wizard,
)

app_name = "portal"

_COMMON = [
    path("", home.home, name="home"),
    path("organisations/switch/", home.switch, name="switch"),
    path("organisations/new/", home.organisation_new, name="organisation_new"),
    path("changes/", account.changes, name="changes"),
    path("keys/", account.keys, name="keys"),
    path("keys/<int:pk>/revoke/", account.revoke_key, name="key_revoke"),
    path("settings/", account.settings, name="settings"),
    path("settings/members/", account.add_member, name="member_add"),
    path("settings/members/<int:pk>/", account.change_member, name="member_change"),
]
_ADVERTISER = [
    path("overview/", overview.overview, name="overview"),
    path("settings/cap/", editing.advertiser_cap, name="advertiser_cap"),
    path("charts/roi.json", charts.roi, name="chart_roi"),
    path("attribution/", attribution.attribution, name="attribution"),
    path("attribution/chart.json", attribution.figure, name="attribution_chart"),
    path("attribution/upload/", attribution.upload, name="attribution_upload"),
    path("campaigns/", campaigns.campaign_list, name="campaigns"),
    path("campaigns/new/", wizard.goal, name="campaign_new"),
    path("campaigns/<uuid:public_id>/", campaigns.campaign_page, name="campaign"),
    path("campaigns/<uuid:public_id>/chart.json", charts.campaign_roi, name="campaign_chart"),
    path("campaigns/<uuid:public_id>/pace.json", charts.campaign_pace, name="campaign_pace"),
    path(
        "campaigns/<uuid:public_id>/delivery.json", delivery.campaign_figure, name="campaign_delivery_chart"
    ),
    path("campaigns/<uuid:public_id>/status/", campaigns.campaign_status, name="campaign_status"),
    path("campaigns/<uuid:public_id>/edit/", editing.edit_campaign, name="campaign_edit"),
    path("campaigns/<uuid:public_id>/setup/goal/", wizard.goal_again, name="setup_goal"),
    path("campaigns/<uuid:public_id>/setup/audience/", wizard.audience, name="setup_audience"),
    path("campaigns/<uuid:public_id>/setup/creative/", wizard.creative, name="setup_creative"),
    path("campaigns/<uuid:public_id>/setup/review/", wizard.review, name="setup_review"),
    path("campaigns/<uuid:public_id>/line-items/new/", editing.new_line_item, name="line_item_new"),
    path("line-items/<uuid:public_id>/delivery/", delivery.line_item_page, name="line_item_delivery"),
    path(
        "line-items/<uuid:public_id>/delivery.json",
        delivery.line_item_figure,
        name="line_item_delivery_chart",
    ),
    path("line-items/<uuid:public_id>/why.json", charts.line_item_why, name="line_item_why"),
    path("line-items/<uuid:public_id>/edit/", editing.edit_line_item, name="line_item_edit"),
    path("line-items/<uuid:public_id>/status/", editing.line_item_status, name="line_item_status"),
    path("line-items/<uuid:public_id>/creatives/new/", creatives.new_creative, name="creative_new"),
    path("creatives/", creatives.creative_list, name="creatives"),
    path("creatives/<uuid:public_id>/edit/", creatives.edit_creative, name="creative_edit"),
    path("creatives/<uuid:public_id>/status/", creatives.creative_status, name="creative_status"),
    path("reports/", reports.reports, name="reports"),
    path("reports.csv", reports.export, name="reports_csv"),
    path("billing/", billing.billing, name="billing"),
    path("billing/deposit/", deposits.deposit, name="deposit"),
    path("billing/payments/<uuid:public_id>/", deposits.payment, name="payment"),
    path("billing/invoices/", invoices.invoices, name="invoices"),
    path("billing/invoices/<uuid:public_id>.pdf", invoices.invoice_pdf, name="invoice_pdf"),
    path("billing/profile/", invoices.profile, name="billing_profile"),
    path("webhooks/stripe/", deposits.stripe_webhook, name="stripe_webhook"),
]
urlpatterns = [
    path("why/<str:token>", visitor.why, name="why"),
    *_COMMON,
    *_ADVERTISER,
    path("publisher/", include("adplatform.portal.publisher.urls")),
]
