"""Changes to what a publisher demands: blocks, floors, house ads, competitors. Each one happens together with its audit
entry and the notice upon which a new snapshot is built. What is removed stays readable and can be put back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.db import transaction
from django.utils.translation import gettext as _

from adplatform.accounts.models import Organisation, User
from adplatform.accounts.services import audit
from adplatform.core import outbox
from adplatform.decision.rules import folded
from adplatform.inventory.blocks import is_attribute
from adplatform.inventory.models import (
    AdSlot,
    BlockRule,
    CompetingPair,
    FloorRule,
    HouseAd,
    Scoped,
    Site,
)

DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}|localhost", re.ASCII)
_NOUNS: Mapping[type[Scoped], str] = {BlockRule: "block", FloorRule: "floor", HouseAd: "house_ad"}

Kind = BlockRule.Kind
Rule = TypeVar("Rule", bound=Scoped)


class RightsError(Exception):
    """A demand that cannot be, in a sentence a person can act on."""


def block(
    *,
    publisher: Organisation,
    kind: str,
    value: str = "",
    advertiser: Organisation | None = None,
    site: Site | None = None,
    slot: AdSlot | None = None,
) -> BlockRule:
    """A checked block, not saved: its cost can be looked at first."""
    rule = BlockRule(publisher=publisher, kind=kind, **_scope(publisher, site, slot))
    if kind == Kind.ADVERTISER:
        if advertiser is None or advertiser.kind != Organisation.Kind.ADVERTISER:
            raise RightsError(_("Name the advertiser as it stands in its ads."))
        rule.advertiser = advertiser
    else:
        rule.value = _value(kind, value)
    if _said(rule).exists():
        raise RightsError(_("You block this already."))
    return rule


@transaction.atomic
def save_block(*, user: User | None, rule: BlockRule, forecast: Mapping[str, Any]) -> BlockRule:
    """Put a block in force, with the cost that was shown for it."""
    rule.created_by, rule.forecast = user, dict(forecast)
    rule.save()
    _record(user, rule, "added", {"where": _where(rule)})
    return rule


@transaction.atomic
def save_floor(
    *,
    user: User | None,
    site: Site,
    floor_micros: int,
    slot: AdSlot | None = None,
    country: str = "",
    device: str = "",
) -> FloorRule:
    """A floor for a country, a device or both; the same place again changes its amount."""
    if slot is not None and not (country or device):
        raise RightsError(_("Name a country or a device: the slot's own floor is set with the slot."))
    if country and not re.fullmatch(r"[A-Z]{2}", country):
        raise RightsError(_("Write a country as two letters, such as DE."))
    if device and device not in FloorRule.Device.values:
        raise RightsError(_("Choose computers, phones or tablets."))
    place = {**_scope(site.publisher, site, slot), "country": country, "device": device}
    held = FloorRule.objects.select_for_update(of=("self",)).filter(removed_at__isnull=True, **place).first()
    if held is None:
        rule = FloorRule.objects.create(
            publisher=site.publisher, created_by=user, floor_micros=floor_micros, **place
        )
        _record(user, rule, "added", {"floor_micros": [None, floor_micros]})
        return rule
    if held.floor_micros != floor_micros:
        before, held.floor_micros = held.floor_micros, floor_micros
        held.save(update_fields=["floor_micros", "updated_at"])
        _record(user, held, "changed", {"floor_micros": [before, floor_micros]})
    return held


@transaction.atomic
def save_house_ad(
    *,
    user: User | None,
    publisher: Organisation,
    ad: HouseAd | None = None,
    site: Site | None = None,
    slot: AdSlot | None = None,
    **fields: Any,
) -> HouseAd:
    """A new house ad, or a change to one."""
    wanted = fields | _scope(publisher, site, slot)
    if not str(wanted.get("landing_url", "https://")).startswith("https://"):
        raise RightsError(_("A house ad leads to an address that begins with https://."))
    if ad is None:
        made = HouseAd.objects.create(publisher=publisher, created_by=user, **wanted)
        _record(user, made, "added", {})
        return made
    changes = {
        name: [str(getattr(ad, name)), str(value)]
        for name, value in wanted.items()
        if getattr(ad, name) != value
    }
    for name in changes:
        setattr(ad, name, wanted[name])
    if changes:
        ad.save(update_fields=[*changes, "updated_at"])
        _record(user, ad, "changed", changes)
    return ad


@transaction.atomic
def remove(*, user: User | None, rule: Rule, at: datetime) -> Rule:
    """Take it out of force; a second time changes nothing."""
    row = _locked(rule)
    if row.removed_at is None:
        row.removed_at = at
        row.save(update_fields=["removed_at", "updated_at"])
        _record(user, row, "removed", {"where": _where(row)})
    return row


@transaction.atomic
def restore(*, user: User | None, rule: Rule) -> Rule:
    """Undo a removal, unless the same was said again since."""
    row = _locked(rule)
    if row.removed_at is None:
        return row
    if not isinstance(row, HouseAd) and _said(row).exists():
        raise RightsError(_("The same was said again since: there is nothing to put back."))
    row.removed_at = None
    row.save(update_fields=["removed_at", "updated_at"])
    _record(user, row, "restored", {"where": _where(row)})
    return row


@transaction.atomic
def name_competitors(
    *, user: User | None, publisher: Organisation, one: Organisation, other: Organisation
) -> CompetingPair:
    """Two advertisers that never stand together on the publisher's pages."""
    if one.pk == other.pk or {one.kind, other.kind} != {Organisation.Kind.ADVERTISER}:
        raise RightsError(_("Name two different advertisers."))
    first, second = sorted((one, other), key=lambda organisation: organisation.pk)
    pair, is_new = CompetingPair.objects.get_or_create(publisher=publisher, first=first, second=second)
    if is_new:
        _tell(user, publisher, "competitors.named", str(pair), {})
    return pair


@transaction.atomic
def forget_competitors(*, user: User | None, pair: CompetingPair) -> None:
    publisher, words = pair.publisher, str(pair)
    if CompetingPair.objects.filter(pk=pair.pk).delete()[0]:
        _tell(user, publisher, "competitors.forgotten", words, {})


# --- what they share --------------------------------------------------------------------------------------------------


def _scope(publisher: Organisation, site: Site | None, slot: AdSlot | None) -> dict[str, Any]:
    """Where it holds: a slot names its site too. Others' sites do not exist for a publisher."""
    place = slot.site if slot is not None else site
    if slot is not None and site is not None and slot.site_id != site.pk:
        raise RightsError(_("The slot is on another site: name one of the two."))
    if place is not None and place.publisher_id != publisher.pk:
        raise RightsError(_("This site is not yours."))
    return {"site": place, "slot": slot}


def _value(kind: str, value: str) -> str:
    words = value.strip()
    if kind == Kind.CATEGORY:
        if not folded(words):
            raise RightsError(_("Name the category."))
        return folded(words)
    lowered = words.lower()
    if kind == Kind.DOMAIN:
        domain = lowered.removeprefix("https://").removeprefix("http://").partition("/")[0]
        domain = domain.removeprefix("www.")
        if not DOMAIN.fullmatch(domain):
            raise RightsError(_("This is not a domain. Write it as in shop.example."))
        return domain
    if kind == Kind.ATTRIBUTE and is_attribute(lowered):
        return lowered
    raise RightsError(_("Choose an attribute, or write language:de, format:native or size:300x250."))


def _said(rule: Scoped) -> Any:
    """Rules in force that say the same in the same place."""
    names = ("kind", "advertiser", "value") if isinstance(rule, BlockRule) else ("country", "device")
    same = {name: getattr(rule, name) for name in ("publisher", "site", "slot", *names)}
    held = type(rule)._default_manager.filter(removed_at__isnull=True)
    for name, value in same.items():
        held = held.filter(**({f"{name}__isnull": True} if value is None else {name: value}))
    return held


def _locked(rule: Rule) -> Rule:
    return type(rule)._default_manager.select_for_update().get(pk=rule.pk)


def _where(rule: Scoped) -> str:
    return str(rule.slot or rule.site or _("all sites"))


def _record(user: User | None, rule: Scoped, verb: str, detail: Mapping[str, Any]) -> None:
    _tell(user, rule.publisher, f"{_NOUNS[type(rule)]}.{verb}", str(rule), detail)


def _tell(
    user: User | None, publisher: Organisation, action: str, target: str, detail: Mapping[str, Any]
) -> None:
    audit(user=user, organisation=publisher, action=action, target=target, detail=detail)
    outbox.write("snapshot", {"reason": f"{action} of {publisher.pk}"})
