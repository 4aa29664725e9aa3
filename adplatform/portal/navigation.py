"""The menus of the portal: (section, name of the page, label, icon). A page marks its entry by `section`."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Entry = tuple[str, str, str | Promise, str]

ADVERTISER: list[Entry] = [
    ("overview", "portal:overview", _("Overview"), "layout-dashboard"),
    ("campaigns", "portal:campaigns", _("Campaigns"), "megaphone"),
    ("creatives", "portal:creatives", _("Creatives"), "image"),
    ("reports", "portal:reports", _("Reports"), "chart-line"),
    ("attribution", "portal:attribution", _("Attribution"), "git-fork"),
    ("billing", "portal:billing", _("Billing"), "wallet"),
]
PUBLISHER: list[Entry] = [
    ("overview", "portal:publisher_overview", _("Overview"), "layout-dashboard"),
    ("sites", "portal:publisher_sites", _("Sites & slots"), "panels-top-left"),
    ("rules", "portal:publisher_rules", _("Blocks & floors"), "shield-ban"),
    ("house", "portal:publisher_house", _("House ads"), "house"),
    ("variety", "portal:publisher_variety", _("Variety"), "shapes"),
    ("earnings", "portal:publisher_earnings", _("Earnings"), "wallet"),
]
COMMON: list[Entry] = [
    ("changes", "portal:changes", _("Change history"), "history"),
    ("keys", "portal:keys", _("API keys"), "key-round"),
    ("settings", "portal:settings", _("Team & settings"), "settings"),
]
