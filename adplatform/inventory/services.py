"""Changes to sites and ad slots. Each one happens together with its audit entry and the notice upon which a new
snapshot is built, so that a floor or a new slot serves within seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from adplatform.accounts.models import Organisation, User
from adplatform.accounts.services import audit
from adplatform.core import outbox
from adplatform.inventory.models import AdSlot, Site


@transaction.atomic
def save_site(*, user: User | None, publisher: Organisation, site: Site | None = None, **fields: Any) -> Site:
    """A new site in the publisher's currency and zone, or a change to one."""
    if site is None:
        place = {"currency": publisher.currency, "time_zone": publisher.time_zone}
        site = Site.objects.create(publisher=publisher, **(place | fields))
        _record(user, publisher, "site.created", site, {})
    elif changes := _apply(site, fields):
        _record(user, publisher, "site.changed", site, changes)
    return site


@transaction.atomic
def save_slot(*, user: User | None, site: Site, slot: AdSlot | None = None, **fields: Any) -> AdSlot:
    """A new slot of the site, or a change to one."""
    if slot is None:
        slot = AdSlot.objects.create(site=site, **fields)
        _record(user, site.publisher, "slot.created", slot, {})
    elif changes := _apply(slot, fields):
        _record(user, site.publisher, "slot.changed", slot, changes)
    return slot


def _apply(thing: Site | AdSlot, fields: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Set what differs and save that; returns {"field": [before, after]}."""
    changes = {
        name: [getattr(thing, name), value] for name, value in fields.items() if getattr(thing, name) != value
    }
    for name, (_before, after) in changes.items():
        setattr(thing, name, after)
    if changes:
        thing.save(update_fields=[*changes, "updated_at"])
    return changes


def _record(
    user: User | None, publisher: Organisation, action: str, target: Site | AdSlot, changes: Mapping[str, Any]
) -> None:
    audit(user=user, organisation=publisher, action=action, target=str(target), detail=changes)
    outbox.write("snapshot", {"reason": f"{action} {target.public_id}"})
