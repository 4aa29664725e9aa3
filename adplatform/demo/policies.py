"""What off-policy estimates say of several policies on the invented market, beside what is true there.

Two kinds of logged choices. *As logged*: what the month's own traffic kept, at the exploration that serves; of those the
estimates mostly refuse to speak, and say so. *Wide*: days after the month, decided by the same rule with more chance and
fewer candidates, so that each block of days has an effective sample; nothing of them is stored, and clicks are drawn
from the truth. A policy is a column of click probabilities per candidate, run through the exploration's own rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from adplatform.core import pseudonym
from adplatform.decision.engine import decide
from adplatform.decision.types import AdRequest, Placement, Seen
from adplatform.demo.build import Market
from adplatform.demo.history import SOURCE, History
from adplatform.demo.truth import Truth
from adplatform.demo.visits import Visit
from adplatform.events.validity import COUNTED
from adplatform.learning import valuation
from adplatform.learning.contenders import FULL, NO_BLENDER, PRIOR, UNKNOWN_TEXT
from adplatform.learning.scorer import RequestScorer
from adplatform.learning.valuation import Choices
from adplatform.serving import choices
from adplatform.serving.server import Server
from ml.ctr.features import NAMES
from ml.evaluation import offpolicy

UNIFORM = "uniform"
NAMED = ("ips", "snips", "dr")
CANDIDATES = 8  # of the wide logs
WIDE_EPSILON = 0.3

Floats = NDArray[np.float64]
Row = tuple[dict[str, Any], int, bool, str, float]

LOGGED = """
    SELECT d.choice_set, d.creative_id, c.decision_id IS NOT NULL,
           coalesce(nullif(d.visitor, ''), d.request_id::text), extract(epoch FROM i.served_at)::float8,
           d.request_id::text, d.position, i.occurred_at
    FROM events_addecision AS d
    JOIN events_impression AS i ON i.decision_id = d.decision_id AND i.reason = ANY(%(counted)s)
    LEFT JOIN events_click AS c ON c.decision_id = d.decision_id AND c.reason = ANY(%(counted)s)
    WHERE d.choice_set IS NOT NULL AND d.source = %(source)s
    ORDER BY d.served_at, d.decision_id
"""


SHOWN = """
    SELECT d.request_id::text, i.creative_id, i.occurred_at
    FROM events_impression AS i JOIN events_addecision AS d ON d.decision_id = i.decision_id
    WHERE i.source = %s
"""


@dataclass(frozen=True)
class Log:
    """Logged choices with the true click probability of each candidate, flat like the choices."""

    found: Choices
    truth: Floats


@dataclass(frozen=True)
class Valued:
    """One policy on one log. `held`: by estimator, whether its interval holds the truth; empty where refused."""

    log: str
    policy: str
    rows: int
    ess: float
    truth: float
    estimates: Mapping[str, tuple[float, float, float]]
    refusal: str

    @property
    def held(self) -> dict[str, bool]:
        return {name: low <= self.truth <= high for name, (_, low, high) in self.estimates.items()}


def beliefs(found: Choices) -> dict[str, Floats | None]:
    """What each policy believes of each candidate; None: all the same. "full" is what served at that moment."""
    X, at = found.features.astype(np.float64), {name: number for number, name in enumerate(NAMES)}
    text = np.nan_to_num(X[:, at["text_score"]], nan=UNKNOWN_TEXT)
    counts = np.minimum(X[:, at["creative_ctr"]] * X[:, at["slot_lift"]], 0.9)
    return {UNIFORM: None, PRIOR: counts, NO_BLENDER: 1 / (1 + np.exp(-text)), FULL: found.pctr}


def valued(name: str, log: Log) -> Iterator[Valued]:
    """Every policy on one log."""
    for policy, believed in beliefs(log.found).items():
        logged = (
            valuation.logged_uniform(log.found) if believed is None else valuation.logged(log.found, believed)
        )
        report = offpolicy.evaluate(logged)
        yield Valued(
            log=name,
            policy=policy,
            rows=report.rows,
            ess=report.ess,
            truth=valuation.expected(log.found, believed, log.truth),
            estimates={
                one: (report.estimates[one].value, report.estimates[one].low, report.estimates[one].high)
                for one in NAMED
                if one in report.estimates
            },
            refusal=report.refusal,
        )


# --- as logged ----------------------------------------------------------------------------------------------------


def as_logged(history: History, truth: Truth, market: Market, *, starts_at: datetime, days: int) -> Log:
    """The choice sets that the month kept. Who asked is known from the seeded page views, also without consent."""
    asked: dict[str, Visit] = {}
    for number in range(days):
        asked |= history.asked((starts_at + timedelta(days=number)).date())
    with connection.cursor() as cursor:
        cursor.execute(LOGGED, {"counted": list(COUNTED), "source": SOURCE})
        table = [row for row in cursor.fetchall() if row[5] in asked]
    seen = _Fatigue(asked, market)
    rows: list[Row] = []
    probabilities: list[Floats] = []
    for row in table:
        usable = valuation.usable(row[:5])
        if usable is None:
            continue
        visit, shown_at = asked[row[5]], row[7]
        rows.append(usable)
        known = seen.before(visit.person, shown_at)
        probabilities.append(
            _truths(truth, market, usable[0]["creative"], visit, position=row[6], seen=known)
        )
    return Log(valuation.of_rows(rows), np.concatenate(probabilities) if probabilities else np.empty(0))


class _Fatigue:
    """How often each person had seen each headline at any moment."""

    def __init__(self, asked: Mapping[str, Visit], market: Market) -> None:
        self._seen: dict[int, list[tuple[datetime, str]]] = {}
        with connection.cursor() as cursor:
            cursor.execute(SHOWN, [SOURCE])
            for request_id, creative, at in cursor.fetchall():
                visit, ad = asked.get(request_id), market.ads.get(creative)
                if visit is not None and ad is not None:
                    self._seen.setdefault(visit.person, []).append((at, ad.offer.headline))

    def before(self, person: int, at: datetime) -> Counter[str]:
        return Counter(headline for moment, headline in self._seen.get(person, []) if moment < at)


def _truths(
    truth: Truth,
    market: Market,
    creatives: Sequence[int],
    visit: Visit,
    *,
    position: int,
    seen: Mapping[str, int],
) -> Floats:
    person = truth.people[visit.person]
    offers = [market.ads[number].offer for number in creatives]
    return np.array(
        [
            truth.click_probability(
                person, offer, position=position, seen=seen.get(offer.headline, 0), hour=visit.hour
            )
            for offer in offers
        ]
    )


# --- wide ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wide:
    """Days after the month, decided with more chance among a few candidates; `epsilon` is the even part of it."""

    history: History
    truth: Truth
    market: Market
    server: Server
    epsilon: float = WIDE_EPSILON

    def log(self, first: datetime, days: int) -> Log:
        """The page views of these days, one ad each."""
        rows: list[Row] = []
        probabilities: list[Floats] = []
        for number in range(days):
            for visit in self.history.visits((first + timedelta(days=number)).date()):
                rng = Random(f"wide:{visit.person}:{visit.at}")
                if made := self._decided(visit, rng):
                    one, creative, position = made
                    p = self._truths(visit, one["creative"], position)
                    is_clicked = rng.random() < p[one["creative"].index(creative)]
                    rows.append((one, creative, is_clicked, f"person {visit.person}", visit.at.timestamp()))
                    probabilities.append(p)
        return Log(valuation.of_rows(rows), np.concatenate(probabilities) if probabilities else np.empty(0))

    def _truths(self, visit: Visit, creatives: Sequence[int], position: int) -> Floats:
        offers = {self.market.ads[number].offer.headline for number in creatives}
        seen = {headline: self.history.seen[visit.person, headline] for headline in offers}
        return _truths(self.truth, self.market, creatives, visit, position=position, seen=seen)

    def _decided(self, visit: Visit, rng: Random) -> tuple[dict[str, Any], int, int] | None:
        """(choice set, creative, position) of one page view; None where nobody may serve."""
        snapshot = self.server.snapshot
        if snapshot is None:
            raise RuntimeError("there is no snapshot to decide with")
        person, place = self.truth.people[visit.person], rng.choice(self.market.sites[visit.site])
        name = pseudonym.pseudonym(person.key) if person.agreed else None
        slot = snapshot.slots[place.slot.public_id]
        known = self.server.visitors.read(name) if name else None
        scorer = RequestScorer(snapshot.models, known.visitor if known else {}, self.server.statistics.view)
        request = AdRequest(
            request_id="policies",
            at=visit.at,
            placements=(Placement("0", slot),),
            visitor=name,
            country=person.country,
            device=person.device,
        )
        made = decide(
            request=request,
            candidates=snapshot.candidates,
            seen=Seen(),
            scorer=scorer,
            rng=rng,
            epsilon=self.epsilon,
            ranked=CANDIDATES,
        )
        if not made.picks:
            return None
        pick = made.picks[0]
        one = choices.as_json(pick.among, snapshot.candidates, scorer, slot)
        return one | {"epsilon": self.epsilon, "budget": 1.0}, pick.candidate.creative_id, slot.position
