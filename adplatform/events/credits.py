"""Who gets the credit for conversions, by every model, from the facts as they are now.

Computed anew whenever facts arrive (a conversion, an adjustment) and once a night for the clicks that came late or were
found invalid: so the numbers do not depend on the order in which anything arrived. The statistics count `last_click`;
what changes there is the difference between the credits before and after.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from adplatform.core.tenants import platform

from . import bulk
from .attribution import Touch, touch_of
from .models import Adjustment, Click, Conversion, ConversionAction, Credit, Invalidation, View
from .shares import MODELS, Path, removal_effects, shares, split
from .statistics import Sums, hour_of
from .validity import COUNTED

LAST_CLICK, DATA_DRIVEN = "last_click", "data_driven"
PATHS_OF = timedelta(days=90)
_COPIED = (
    *("slot_id", "publisher_id", "advertiser_id", "campaign_id", "line_item_id", "creative_id"),
    *("currency", "source"),
)
_COMPARED = ("touch", *_COPIED, "hour", "share_ppm", "value_micros")

Key = tuple[int, str, str]  # conversion, model, decision
Touches = dict[str, list[Touch]]  # by visitor, oldest first


@dataclass(slots=True)
class _Facts:
    """All that the credits of some conversions follow from."""

    clicks: Touches = field(default_factory=lambda: defaultdict(list))
    views: Touches = field(default_factory=lambda: defaultdict(list))
    proven: dict[str, tuple[Touch, str]] = field(default_factory=dict)  # decision -> click and its visitor
    known: set[str] = field(default_factory=set)  # decisions whose click is stored, valid or not
    adjusted: dict[tuple[int, str], Adjustment] = field(default_factory=dict)


@platform()  # credits and the sums that follow them are derived: no tenant writes them
def rebuild(
    advertiser_id: int, conversion_ids: Collection[int], *, effects: Mapping[Hashable, float] | None = None
) -> int:
    """Credit these conversions by what is known now; returns how many credits changed. `data_driven` is left alone
    without `effects` (the removal effect of each campaign, of which a night computes all)."""
    with transaction.atomic():
        bulk.lock_advertisers([advertiser_id])
        conversions = _with_rivals(conversion_ids)
        facts = _facts(advertiser_id, conversions)
        models = [model for model in MODELS if effects is not None or model != DATA_DRIVEN]
        wanted: dict[Key, Credit] = {}
        for conversion in _counted(conversions, facts):
            for credit in _credits(conversion, facts, models, effects or {}):
                wanted[credit.conversion_id, credit.model, credit.decision_id.hex] = credit
        return _replace([one.pk for one in conversions], models, wanted)


def rebuild_all(advertiser_id: int, *, since: datetime, until: datetime) -> int:
    """Credit every conversion of an advertiser that occurred since then, `data_driven` included."""
    with transaction.atomic():
        bulk.lock_advertisers([advertiser_id])
        rows = Conversion.objects.filter(action__organisation_id=advertiser_id).exclude(source="import")
        ids = list(rows.filter(occurred_at__gte=since, occurred_at__lte=until).values_list("pk", flat=True))
        effects = removal_effects(_paths(advertiser_id, since=until - PATHS_OF, until=until))
        return rebuild(advertiser_id, ids, effects=effects)


# --- what is known ----------------------------------------------------------------------------------------------------


def _with_rivals(ids: Collection[int]) -> list[Conversion]:
    """These, and where a click counts once the others that may belong to the same click, and those that may to theirs."""
    rows = Conversion.objects.select_related("action")
    found = {row.pk: row for row in rows.filter(pk__in=ids)}
    once = [row for row in found.values() if row.action.counting == ConversionAction.Counting.ONE_PER_CLICK]
    while once:
        visitors = {row.visitor for row in once if row.visitor}
        decisions = {row.decision_id for row in once if row.decision_id}
        decisions |= {credit.decision_id for credit in Credit.objects.filter(conversion__in=once)}
        visitors |= set(
            Click.objects.filter(decision_id__in=decisions)
            .exclude(visitor="")
            .values_list("visitor", flat=True)
        )
        decisions |= set(Click.objects.filter(visitor__in=visitors).values_list("decision_id", flat=True))
        near = Q(visitor__in=visitors) | Q(decision_id__in=decisions)
        rivals = rows.filter(near, action__in={row.action_id for row in once})
        once = [row for row in rivals if row.pk not in found]
        found |= {row.pk: row for row in once}
    return [found[pk] for pk in sorted(found)]


def _facts(advertiser_id: int, conversions: Sequence[Conversion]) -> _Facts:
    facts = _Facts()
    _add_proven(facts, advertiser_id, {UUID(one) for one in map(_named, conversions) if one})
    visitors = {one.visitor for one in conversions if one.visitor} | {
        visitor for _, visitor in facts.proven.values() if visitor
    }
    facts.clicks |= _touches("click", Click, advertiser_id, visitors)
    facts.views |= _touches("view", View, advertiser_id, visitors)
    keys = {(one.action_id, one.event_id) for one in conversions}
    rows = Adjustment.objects.filter(
        action__in={pk for pk, _ in keys}, event_id__in={name for _, name in keys}
    )
    for row in sorted(rows, key=lambda row: (row.occurred_at, row.adjustment_id)):
        facts.adjusted[row.action_id, row.event_id] = row
    return facts


def _add_proven(facts: _Facts, advertiser_id: int, decisions: Collection[Any]) -> None:
    rows = list(Click.objects.filter(decision_id__in=decisions, advertiser_id=advertiser_id))
    invalid = _invalidated("click", [row.decision_id for row in rows])
    for row in rows:
        facts.known.add(row.decision_id.hex)
        if row.reason in COUNTED and row.decision_id not in invalid:
            facts.proven[row.decision_id.hex] = touch_of("click", row), row.visitor


def _touches(
    kind: str, model: type[Click] | type[View], advertiser_id: int, visitors: Collection[str]
) -> Touches:
    rows = list(model.objects.filter(visitor__in=visitors, advertiser_id=advertiser_id, reason__in=COUNTED))
    of = "click" if kind == "click" else "impression"  # a view is as valid as its impression
    invalid = _invalidated(of, [row.decision_id for row in rows])
    found: Touches = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.occurred_at, row.decision_id)):
        if row.decision_id not in invalid:
            found[row.visitor].append(touch_of(kind, row))
    return found


def _invalidated(kind: str, decisions: Collection[Any]) -> set[Any]:
    rows = Invalidation.objects.filter(kind=kind, decision_id__in=decisions)
    return set(rows.values_list("decision_id", flat=True))


def _paths(advertiser_id: int, *, since: datetime, until: datetime) -> list[Path]:
    """The campaigns that each visitor clicked on, in order; a conversion that counts ends a path, and the next begins."""
    moments: dict[str, list[tuple[datetime, str, Hashable]]] = defaultdict(list)
    clicks = Click.objects.filter(
        advertiser_id=advertiser_id, occurred_at__gte=since, occurred_at__lte=until, reason__in=COUNTED
    ).exclude(visitor="")
    invalid = Invalidation.objects.filter(kind="click", advertiser_id=advertiser_id).values("decision_id")
    valid = clicks.exclude(decision_id__in=invalid)
    for visitor, at, decision, clicked in valid.values_list(
        "visitor", "occurred_at", "decision_id", "campaign_id"
    ):
        moments[visitor].append((at, f"a{decision.hex}", clicked))
    for visitor, conversion in _conversions_of_visitors(advertiser_id, since=since, until=until):
        moments[visitor].append((conversion.occurred_at, f"b{conversion.event_id}", None))
    paths: list[Path] = []
    for visitor in sorted(moments):
        path: list[Hashable] = []
        for _at, _order, campaign in sorted(moments[visitor], key=lambda moment: moment[:2]):
            if campaign is not None:
                path.append(campaign)
            elif path:
                paths.append((path, True))
                path = []
        if path:
            paths.append((path, False))
    return paths


def _conversions_of_visitors(
    advertiser_id: int, *, since: datetime, until: datetime
) -> Iterable[tuple[str, Conversion]]:
    """What counts of a visitor who was told, or whose click was named."""
    rows = Conversion.objects.filter(action__organisation_id=advertiser_id).select_related("action")
    conversions = list(rows.filter(occurred_at__gte=since, occurred_at__lte=until).exclude(source="import"))
    facts = _facts(advertiser_id, conversions)
    for one in _counted(conversions, facts):
        if visitor := _visitor(one, facts):
            yield visitor, one


# --- what follows from it ---------------------------------------------------------------------------------------------


def _counted(conversions: Sequence[Conversion], facts: _Facts) -> Iterable[Conversion]:
    """Without those taken back, and, where a click counts once, without those after the first of their click."""
    seen: set[tuple[int, str]] = set()
    for one in sorted(conversions, key=lambda one: (one.occurred_at, one.event_id)):
        adjusted = facts.adjusted.get((one.action_id, one.event_id))
        if adjusted is not None and adjusted.kind == Adjustment.Kind.RETRACTION:
            continue
        if one.action.counting == ConversionAction.Counting.ONE_PER_CLICK and (path := _path(one, facts)):
            key = (one.action_id, path[-1].decision_id)
            if key in seen:
                continue
            seen.add(key)
        yield one


def _path(conversion: Conversion, facts: _Facts) -> list[Touch]:
    """The clicks within the window before a conversion, oldest first."""
    proven = _proven(conversion, facts)
    visitor = _visitor(conversion, facts)
    touches = {touch.decision_id: touch for touch in facts.clicks.get(visitor, [])} if visitor else {}
    if proven is not None:
        touches[proven.decision_id] = proven
    window = timedelta(days=conversion.action.click_window_days)
    eligible = [
        one for one in touches.values() if timedelta() <= conversion.occurred_at - one.occurred_at <= window
    ]
    return sorted(eligible, key=lambda one: (one.occurred_at, one.decision_id))


def _visitor(conversion: Conversion, facts: _Facts) -> str:
    """Who converted: as it was reported, else who clicked."""
    return conversion.visitor or facts.proven.get(_named(conversion), (None, ""))[1]


def _named(conversion: Conversion) -> str:
    """The decision of the click that it named, or ''. Older rows say only that they were credited to a click."""
    is_click = conversion.names_click or conversion.attribution == Conversion.Attribution.CLICK
    return conversion.decision_id.hex if conversion.decision_id and is_click else ""


def _proven(conversion: Conversion, facts: _Facts) -> Touch | None:
    """The click that the conversion named. One that ingest has not stored yet counts as it was signed."""
    decision = _named(conversion)
    if decision in facts.proven:
        return facts.proven[decision][0]
    if not decision or decision in facts.known:
        return None
    served = {name: getattr(conversion, name) for name in _COPIED if name != "advertiser_id"}
    return Touch(
        "click", decision, conversion.occurred_at, advertiser_id=conversion.action.organisation_id, **served
    )


def _credits(
    conversion: Conversion, facts: _Facts, models: Sequence[str], effects: Mapping[Hashable, float]
) -> Iterable[Credit]:
    adjusted = facts.adjusted.get((conversion.action_id, conversion.event_id))
    value = conversion.value_micros if adjusted is None else adjusted.value_micros
    path = _path(conversion, facts)
    if not path:
        if (view := _last_view(conversion, facts)) is not None:
            yield _credit(conversion, LAST_CLICK, view, 1_000_000, value)
        return
    ages = [conversion.occurred_at - touch.occurred_at for touch in path]
    own = [effects.get(touch.campaign_id, 0.0) for touch in path]
    for model in models:
        parts = shares(model, ages, own)
        for touch, share, micros in zip(path, parts, split(value, parts), strict=True):
            if share:
                yield _credit(conversion, model, touch, share, micros)


def _last_view(conversion: Conversion, facts: _Facts) -> Touch | None:
    views = facts.views.get(conversion.visitor, []) if conversion.visitor else []
    place = bisect_right(views, conversion.occurred_at, key=lambda view: view.occurred_at)
    window = timedelta(days=conversion.action.view_window_days)
    if place and conversion.occurred_at - views[place - 1].occurred_at <= window:
        return views[place - 1]
    return None


def _credit(conversion: Conversion, model: str, touch: Touch, share_ppm: int, value_micros: int) -> Credit:
    copied = {name: getattr(touch, name) for name in _COPIED}
    return Credit(
        conversion_id=conversion.pk,
        model=model,
        touch=touch.kind,
        decision_id=UUID(touch.decision_id),
        hour=hour_of(conversion.occurred_at),
        share_ppm=share_ppm,
        value_micros=value_micros,
        **copied,
    )


def _replace(conversion_ids: Sequence[int], models: Sequence[str], wanted: Mapping[Key, Credit]) -> int:
    held = {
        (row.conversion_id, row.model, row.decision_id.hex): row
        for row in Credit.objects.filter(conversion_id__in=conversion_ids, model__in=models)
    }
    gone = [row for key, row in held.items() if key not in wanted or not _same(row, wanted[key])]
    new = [row for key, row in wanted.items() if key not in held or not _same(held[key], row)]
    Credit.objects.filter(pk__in=[row.pk for row in gone]).delete()
    Credit.objects.bulk_create(new)
    more, less = Sums(), Sums()
    for sums, rows, sign in ((less, gone, -1), (more, new, 1)):
        for row in rows:
            if row.model == LAST_CLICK and row.touch == "click":
                served = SimpleNamespace(**{name: getattr(row, name) for name in _COPIED})
                sums.add(
                    row.hour, served, row.source, conversions=sign, revenue_micros=sign * row.value_micros
                )
    more.write()
    less.correct()
    return len(gone) + len(new)


def _same(one: Credit, other: Credit) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _COMPARED)
