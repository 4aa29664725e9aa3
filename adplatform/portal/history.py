"""Audit entries told in words: what was done, and every value before and after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import AuditEntry, Organisation
from adplatform.core.templatetags import ui

ACTIONS = {
    "campaign.created": gettext_lazy("created the campaign"),
    "campaign.changed": gettext_lazy("changed the campaign"),
    "campaign.launched": gettext_lazy("launched the campaign"),
    "campaign.paused": gettext_lazy("paused the campaign"),
    "campaign.resumed": gettext_lazy("resumed the campaign"),
    "campaign.archived": gettext_lazy("archived the campaign"),
    "line_item.created": gettext_lazy("added the line item"),
    "line_item.changed": gettext_lazy("changed the line item"),
    "line_item.paused": gettext_lazy("paused the line item"),
    "line_item.resumed": gettext_lazy("resumed the line item"),
    "line_item.archived": gettext_lazy("archived the line item"),
    "creative.created": gettext_lazy("added the creative"),
    "creative.changed": gettext_lazy("changed the creative"),
    "creative.paused": gettext_lazy("paused the creative"),
    "creative.resumed": gettext_lazy("resumed the creative"),
    "creative.archived": gettext_lazy("archived the creative"),
    "creative.approved": gettext_lazy("approved the creative"),
    "creative.rejected": gettext_lazy("rejected the creative"),
    "creative.review_reopened": gettext_lazy("sent back to review the creative"),
    "campaigns.imported": gettext_lazy("imported campaigns into"),
    "site.created": gettext_lazy("added the site"),
    "site.changed": gettext_lazy("changed the site"),
    "slot.created": gettext_lazy("added the ad slot"),
    "slot.changed": gettext_lazy("changed the ad slot"),
    "block.added": gettext_lazy("blocked"),
    "block.removed": gettext_lazy("removed the block of"),
    "block.restored": gettext_lazy("blocked again"),
    "floor.added": gettext_lazy("set the floor of"),
    "floor.changed": gettext_lazy("changed the floor of"),
    "floor.removed": gettext_lazy("removed the floor of"),
    "floor.restored": gettext_lazy("put back the floor of"),
    "house_ad.added": gettext_lazy("added the house ad"),
    "house_ad.changed": gettext_lazy("changed the house ad"),
    "house_ad.removed": gettext_lazy("removed the house ad"),
    "house_ad.restored": gettext_lazy("put back the house ad"),
    "competitors.named": gettext_lazy("named as competitors"),
    "competitors.forgotten": gettext_lazy("let stand together again"),
    "money.deposited": gettext_lazy("booked a deposit for"),
    "money.announced": gettext_lazy("announced the"),
    "money.proposed": gettext_lazy("asked another operator about money of"),
    "money.refused": gettext_lazy("refused to move money of"),
    "money.refunded": gettext_lazy("refunded a payment of"),
    "money.credit_limit_set": gettext_lazy("set the credit limit of"),
    "money.credited": gettext_lazy("issued a credit note to"),
    "money.held": gettext_lazy("set aside money of"),
    "money.released": gettext_lazy("released money of"),
    "billing.addressed": gettext_lazy("changed the billing address of"),
    "payee.changed": gettext_lazy("changed the bank details of"),
    "api.called": gettext_lazy("used an API key for"),
    "organisation.imported": gettext_lazy("imported the organisation"),
    "organisation.created": gettext_lazy("founded the organisation"),
    "organisation.changed": gettext_lazy("changed the organisation"),
    "organisation.capped": gettext_lazy("limited how often one person sees ads of"),
    "member.added": gettext_lazy("added the member"),
    "member.removed": gettext_lazy("removed the member"),
    "member.role_changed": gettext_lazy("changed the role of"),
    "api_key.created": gettext_lazy("made the API key"),
    "api_key.revoked": gettext_lazy("revoked the API key"),
}
FIELDS = {
    "daily_budget_micros": gettext_lazy("daily budget"),
    "flight_budget_micros": gettext_lazy("total budget"),
    "bid_micros": gettext_lazy("bid"),
    "bid_strategy": gettext_lazy("goal"),
    "start_at": gettext_lazy("start"),
    "end_at": gettext_lazy("end"),
    "target_roas_bp": gettext_lazy("wanted return"),
    "cap_impressions": gettext_lazy("impressions per person"),
    "cap_window_seconds": gettext_lazy("seconds of that limit"),
    "floor_micros": gettext_lazy("floor"),
}
UNTOLD = {"reviewed_by", "reviewed_at", "campaign"}


@dataclass(frozen=True, slots=True)
class Told:
    at: datetime
    who: str
    did: str
    target: str
    place: str
    changes: list[tuple[str, str, str]]


def told(entry: AuditEntry, organisation: Organisation) -> Told:
    """An action that no sentence is known for is shown by its name."""
    detail: dict[str, Any] = entry.detail
    place = detail.get("campaign")
    return Told(
        at=entry.at,
        who=str(entry.user) if entry.user else _("The platform"),
        did=str(ACTIONS.get(entry.action, entry.action.replace(".", " ").replace("_", " "))),
        target=entry.target,
        place=str(place[0]) if isinstance(place, list) and place else "",
        changes=[
            (_field(name), _value(name, pair[0], organisation), _value(name, pair[1], organisation))
            for name, pair in detail.items()
            if name not in UNTOLD and isinstance(pair, list) and len(pair) == 2
        ],
    )


def _field(name: str) -> str:
    return str(FIELDS.get(name, name.removesuffix("_micros").replace("_", " ")))


def _value(name: str, value: Any, organisation: Organisation) -> str:
    if value in (None, "", {}, []):
        return _("none")
    if name.endswith("_micros") and isinstance(value, int):
        return ui.money_fine(value, organisation.currency)
    if name.endswith("_bp") and isinstance(value, int):
        return f"{value / 10_000:g}×"
    if name.endswith("_at") and (moment := parse_datetime(str(value))):
        return date_format(localtime(moment), "j M Y H:i")
    if isinstance(value, dict):
        return "; ".join(f"{key} {_rule(rule)}" for key, rule in value.items())
    return str(value).replace("_", " ")


def _rule(rule: Any) -> str:
    if not isinstance(rule, dict):
        return str(rule)
    return ", ".join(f"{side} {' '.join(map(str, values))}" for side, values in rule.items())
