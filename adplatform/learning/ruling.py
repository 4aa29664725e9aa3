"""What an operator's rule would change, replayed over the choice sets that decisions kept.

Each set holds who could be chosen, at what worth, how probably, and the seed. The rule is applied to it by the very
functions that decide and price (decision.exploration, decision.pricing), and what was logged stands beside it:

    changed     the share of decisions that would show another ad, or none: half of Σ |p − p'| over each set
    clicks      per 1,000 decisions, doubly robust: what the models predict, corrected by the clicks that came
    revenue     the price of the choice, per 1,000 decisions, at the predictions

Intervals draw whole visitors with replacement and hold the difference of after and before. A rule that takes another
one away cannot be replayed: whom it kept out stands in no set.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from adplatform.accounts.models import Organisation
from adplatform.campaigns import models as rules
from adplatform.campaigns.models import Creative
from adplatform.campaigns.rules import as_decided, everywhere, texts_of
from adplatform.decision.exploration import choose
from adplatform.decision.pricing import price_micros
from adplatform.decision.rules import LEAST_FACTOR, MOST_FACTOR, WHOLE_BP, OperatorRule, RuleAction
from adplatform.inventory.models import Site
from adplatform.learning import choice_sets
from ml.evaluation import offpolicy
from ml.evaluation.offpolicy import Logged
from ml.schema import Floats, Mask

LOOKBACK = timedelta(days=7)
MOST_SETS = 4_000  # the newest: a second or two of work, while the operator waits
FEWEST_SETS = 100
PER = 1_000  # decisions, of clicks and revenue
MOST_ADVERTISERS = 10
_COLUMNS = "d.slot_id, d.site_id, d.floor_micros, d.price_micros, d.currency"


@dataclass(frozen=True)
class ReplayedSet:
    """One logged choice as columns; `before` is the logged propensity, `shown` the place of the shown ad in it,
    `variety` what the visitor's past has in `factor`."""

    creative: Sequence[int]
    worth: Floats
    factor: Floats | None
    pctr: Floats
    sd: Floats
    by_click: Mask
    before: Floats
    seed: int
    epsilon: float
    budget: float
    shown: int
    is_clicked: bool
    unit: str
    slot_id: int
    site_id: int
    floor_micros: int
    price_micros: int
    currency: str
    variety: Floats | None = None


@dataclass(frozen=True)
class After:
    """The choice under the rule: probability of each candidate (they add up to less than 1 where none may be left)
    and the expected price, eCPM micros."""

    probability: Floats
    price_micros: float


def forecast(row: rules.OperatorRule, *, until: datetime, since: datetime | None = None) -> dict[str, Any]:
    """The rule's effect on what was decided in the window, as JSON for the page and for the rule's own row."""
    return _over(row, since or until - LOOKBACK, until, after)


def measured(row: rules.OperatorRule, *, until: datetime) -> dict[str, Any] | None:
    """What was decided since a factor holds ('before') against the same decisions without it ('after').

    None for rules that keep ads out: whom they kept out stands in no set.
    """
    if row.action != RuleAction.MULTIPLY or until <= row.start_at:
        return None
    return _over(row, max(row.start_at, until - LOOKBACK), until, without)


def _over(row: rules.OperatorRule, since: datetime, until: datetime, change: Change) -> dict[str, Any]:
    sets = load(since=since, until=until)
    texts = texts_of(sorted({pk for one in sets for pk in one.creative})) if row.words else {}
    rule = as_decided([row], texts)[0]
    topics = dict(Site.objects.exclude(category="").values_list("pk", "category"))
    found = effect(rule, sets, topics=topics, change=change)
    return found | {"since": since.isoformat(), "until": until.isoformat()}


def load(*, since: datetime, until: datetime, most: int = MOST_SETS) -> list[ReplayedSet]:
    """The newest choice sets of counted impressions of a window."""
    rows = choice_sets.newest(_COLUMNS, since=since, until=until, most=most)
    return [one for row in rows if (one := read(row)) is not None]


def effect(
    rule: OperatorRule,
    sets: Sequence[ReplayedSet],
    *,
    topics: Mapping[int, str],
    change: Change | None = None,
) -> dict[str, Any]:
    """What the rule would have changed in these choices. `topics` are the categories of sites; `change` is `after`
    unless another is given."""
    named, change = _Named.of(everywhere(rule), sets), change or after
    afters = [change(named.rule, one, named.covered(one, topics)) for one in sets]
    result: dict[str, Any] = {
        "sets": len(sets),
        "touched": sum(one is not None for one in afters),
        "refusal": "",
    }
    if len(sets) < FEWEST_SETS:
        return result | {"refusal": "few"}
    return result | _measured(sets, afters) | {"advertisers": _advertisers(sets, afters, named.advertiser_of)}


def after(rule: OperatorRule, one: ReplayedSet, covered: Mask) -> After | None:
    """The choice with the rule in force; None where it touches nothing."""
    if not covered.any():
        return None
    if rule.action is RuleAction.MULTIPLY:
        known = np.ones(len(covered)) if one.factor is None else one.factor
        weighed = np.clip(known * np.where(covered, rule.factor, 1.0), LEAST_FACTOR, MOST_FACTOR)
        return _chosen(one, np.ones(len(covered), np.bool_), weighed)
    without = _chosen(one, ~covered, one.factor)
    kept = rule.share_bp / WHOLE_BP if rule.action is RuleAction.LIMIT else 0.0
    return After(
        kept * one.before + (1 - kept) * without.probability,
        kept * one.price_micros + (1 - kept) * without.price_micros,
    )


def without(rule: OperatorRule, one: ReplayedSet, covered: Mask) -> After | None:
    """The choice as it would have been without this rule's factor; None where it had none."""
    if one.factor is None or not covered.any():
        return None
    return _chosen(one, np.ones(len(covered), np.bool_), one.factor / np.where(covered, rule.factor, 1.0))


Change = Callable[[OperatorRule, ReplayedSet, Mask], After | None]


def _chosen(one: ReplayedSet, left: Mask, factor: Floats | None) -> After:
    """The platform's own choice among who is left, at these factors."""
    probability = np.zeros(len(left))
    if not left.any():
        return After(probability, 0.0)
    worth, pctr, by_click = one.worth[left], one.pctr[left], one.by_click[left]
    weights = None if factor is None else factor[left]
    choice = choose(
        ids=np.array(one.creative, np.int64)[left],
        worth=worth if weights is None else worth * weights,
        pctr=pctr,
        sd=one.sd[left],
        pays_per_click=by_click,
        seed=one.seed,
        epsilon=one.epsilon,
        budget=one.budget,
    )
    probability[left] = choice.propensity
    price = price_micros(
        choice, worth=worth, pctr=pctr, pays_per_click=by_click, floor_micros=one.floor_micros, factor=weights
    )
    return After(probability, price)


@dataclass(frozen=True)
class _Named:
    """Which ads of the sets a rule names."""

    rule: OperatorRule
    creatives: frozenset[int]
    advertiser_of: Mapping[int, int]

    @classmethod
    def of(cls, rule: OperatorRule, sets: Iterable[ReplayedSet]) -> _Named:
        ids = {pk for one in sets for pk in one.creative}
        rows = Creative.objects.filter(pk__in=ids).values_list(
            "pk", "line_item__campaign__organisation_id", "line_item__campaign__category"
        )
        known = {pk: (owner, category) for pk, owner, category in rows}
        covered = frozenset(
            pk
            for pk, (owner, category) in known.items()
            if rule.covers(creative_id=pk, advertiser_id=owner, category=category)
        )
        return cls(rule, covered, {pk: owner for pk, (owner, _category) in known.items()})

    def covered(self, one: ReplayedSet, topics: Mapping[int, str]) -> Mask:
        place = [topic for topic in (topics.get(one.site_id, ""),) if topic]
        holds = self.rule.holds(slot_id=one.slot_id, site_id=one.site_id, topics=place)
        return np.array([holds and pk in self.creatives for pk in one.creative], np.bool_)


def _measured(sets: Sequence[ReplayedSet], afters: Sequence[After | None]) -> dict[str, Any]:
    probability = [
        one.before if new is None else new.probability for one, new in zip(sets, afters, strict=True)
    ]
    moved = [
        0.0 if new is None else (abs(one.before - new.probability).sum() + abs(1 - new.probability.sum())) / 2
        for one, new in zip(sets, afters, strict=True)
    ]
    unfilled = [0.0 if new is None else 1 - float(new.probability.sum()) for new in afters]
    unit = np.array([one.unit for one in sets], dtype=str)
    currency = Counter(one.currency for one in sets).most_common(1)[0][0]
    counted = np.array([one.currency == currency for one in sets])
    prices = [
        (float(one.price_micros), float(one.price_micros if new is None else new.price_micros))
        for one, new in zip(sets, afters, strict=True)
    ]
    before, later = (np.array(column)[counted] / PER for column in zip(*prices, strict=True))
    return {
        "changed": float(np.mean(moved)),
        "unfilled": float(np.mean(unfilled)),
        "clicks": _clicks(sets, probability, unit),
        "currency": currency,
        "revenue": {
            "before": float(before.mean()) * PER,
            "after": float(later.mean()) * PER,
            "difference": _difference(_sure(later, unit[counted]), _sure(before, unit[counted]), "snips"),
        },
    }


def _clicks(sets: Sequence[ReplayedSet], after: Sequence[Floats], unit: Any) -> dict[str, Any]:
    """Per 1,000 decisions, doubly robust, or why there is no estimate."""
    logged = [_logged(sets, probability, unit) for probability in ([one.before for one in sets], after)]
    weight = logged[1].target / logged[1].propensity
    if offpolicy.effective_sample_size(weight) < offpolicy.LEAST_ESS:
        return {"refusal": "few"}
    values = [
        float(np.mean(one.expected + one.target / one.propensity * (one.reward - one.predicted))) * PER
        for one in logged
        if one.expected is not None and one.predicted is not None
    ]
    return {"before": values[0], "after": values[1], "difference": _difference(logged[1], logged[0], "dr")}


def _logged(sets: Sequence[ReplayedSet], probability: Sequence[Floats], unit: Any) -> Logged:
    return Logged(
        reward=np.array([one.is_clicked for one in sets], np.float64),
        propensity=np.array([one.before[one.shown] for one in sets]),
        target=np.array([new[one.shown] for one, new in zip(sets, probability, strict=True)]),
        cluster=unit,
        predicted=np.array([one.pctr[one.shown] for one in sets]),
        expected=np.array([float(new @ one.pctr) for one, new in zip(sets, probability, strict=True)]),
    )


def _sure(reward: Floats, unit: Any) -> Logged:
    """Rows that weigh the same: their mean needs no propensity."""
    return Logged(reward=reward, propensity=np.ones(len(reward)), target=np.ones(len(reward)), cluster=unit)


def _difference(after: Logged, before: Logged, estimator: str) -> list[float]:
    """[after − before, low, high] per 1,000 decisions, 95 %."""
    found = offpolicy.difference(after, before)[estimator]
    return [value * PER for value in (found.value, found.low, found.high)]


def _advertisers(
    sets: Sequence[ReplayedSet], afters: Sequence[After | None], advertiser_of: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Shares of the decisions before and after, of those that gain or lose most."""
    before: Counter[int] = Counter()
    later: Counter[int] = Counter()
    for one, new in zip(sets, afters, strict=True):
        probability = one.before if new is None else new.probability
        for pk, old, fresh in zip(one.creative, one.before.tolist(), probability.tolist(), strict=True):
            before[advertiser_of.get(pk, 0)] += old
            later[advertiser_of.get(pk, 0)] += fresh
    gain = {pk: (later[pk] - before[pk]) / len(sets) for pk in before | later}
    order = sorted((pk for pk in gain if abs(gain[pk]) > 1e-6), key=lambda pk: -abs(gain[pk]))[
        :MOST_ADVERTISERS
    ]
    names = dict(Organisation.objects.filter(pk__in=order).values_list("pk", "name"))
    return [
        {
            "name": names.get(pk, "–"),
            "before": before[pk] / len(sets),
            "after": later[pk] / len(sets),
            "gain": gain[pk],
        }
        for pk in sorted(order, key=lambda pk: -gain[pk])
    ]


def read(row: tuple[Any, ...]) -> ReplayedSet | None:
    """The row with its choice set as columns; None where the shown ad is not in it."""
    one = json.loads(row[0]) if isinstance(row[0], str) else row[0]
    if row[1] not in one["creative"]:
        return None

    def column(name: str, kind: Any = np.float64) -> Any:
        return np.array(one[name], kind)

    return ReplayedSet(
        creative=one["creative"],
        worth=column("worth"),
        factor=column("factor") if "factor" in one else None,
        pctr=np.clip(column("pctr"), 1e-6, 1 - 1e-6),
        sd=column("sd"),
        by_click=column("by_click", np.bool_),
        before=column("propensity"),
        seed=int(one["seed"]),
        epsilon=float(one["epsilon"]),
        budget=float(one["budget"]),
        shown=one["creative"].index(row[1]),
        is_clicked=bool(row[2]),
        unit=str(row[3]),
        slot_id=row[4],
        site_id=row[5],
        floor_micros=row[6],
        price_micros=row[7],
        currency=row[8],
        variety=column("variety") if "variety" in one else None,
    )
