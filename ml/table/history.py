"""What was known about a user, an item and each category before a row: the table form of live statistics.

The same ideas as ml.ctr.counters (smoothed rates, residuals) for tables whose entities are just "user" and "item",
with more of them: recency, fading rates, the user's own history with this item and with this category, items
clicked by the same people, likeness of the text to what the user clicked.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ml.schema import Vectors
from ml.table.reading import Rows

NAN = float("nan")
REMEMBERED_CLICKS = 20
RESIDUAL_STRENGTH = 3.0
USER_FADING, ITEM_FADING, OVERALL_FADING = 0.85, 0.97, 0.999

# Positions within the state of one entity.
SEEN, CLICKED, RESIDUAL, FADING_SEEN, FADING_CLICKED, FADING_RESIDUAL, LAST = range(7)


Event = tuple[float, float, float]  # rate, weight, time


@dataclass
class _Columns:
    """The table as plain lists: a walk over rows in Python is several times faster over these."""

    user: list[int] | None
    item: list[int] | None
    sets: list[list[tuple[int, ...]]]
    time: list[float] | None
    text: list[int] | None


class History:
    """Observes rows with their outcome, and describes any row by what was observed."""

    def __init__(self, rows: Rows, *, base_rate: float, vectors: Vectors | None) -> None:
        self._columns = _Columns(
            user=None if rows.user is None else rows.user.tolist(),
            item=None if rows.item is None else rows.item.tolist(),
            sets=rows.sets,
            time=None if rows.time is None else rows.time.tolist(),
            text=None if rows.text is None else rows.text.tolist(),
        )
        self._vectors = vectors if rows.user is not None else None
        self._strength = min(200.0, max(5.0, 5 / math.sqrt(max(base_rate, 1e-6))))
        self._base = base_rate
        self._overall = [0.0, 0.0, base_rate]
        # Out of fold, the other folds' rate is the higher, the lower a fold's own: as a feature it would give labels away.
        self._has_time = rows.time is not None
        self._users: dict[int, list[float]] = {}
        self._items: dict[int, list[float]] = {}
        self._pairs: dict[tuple[int, int], list[float]] = {}
        self._values: list[dict[int, list[float]]] = [{} for _ in rows.sets]
        self._user_values: list[dict[tuple[int, int], list[float]]] = [{} for _ in rows.sets]
        self._recent: dict[int, deque[tuple[int, int]]] = {}
        self._together: dict[tuple[int, int], float] = {}
        self.names, self.rising = self._feature_names(rows)

    def describe(self, row: int) -> list[float]:
        """The features of a row, in the order of `names`."""
        c = self._columns
        now = c.time[row] if c.time is not None else NAN
        user = c.user[row] if c.user is not None else -1
        item = c.item[row] if c.item is not None else -1
        found = [self._overall[2]]
        if c.user is not None:
            found += self._entity(self._users.get(user) if user >= 0 else None, now)
        if c.item is not None:
            found += self._entity(self._items.get(item) if item >= 0 else None, now)
        if c.user is not None and c.item is not None:
            found += self._pair(user, item, now)
            found += self._company(user, item)
        for place, column in enumerate(c.sets):
            found += self._set(place, column[row], user)
        if self._vectors is not None:
            found += self._likeness(user, row)
        return found

    def observe(self, row: int, rate: float, weight: float) -> None:
        """Add what happened at a row."""
        c = self._columns
        event = (rate, weight, c.time[row] if c.time is not None else NAN)
        user = c.user[row] if c.user is not None else -1
        item = c.item[row] if c.item is not None else -1
        of_user = self._users.setdefault(user, _nothing()) if user >= 0 else _nothing()
        of_item = self._items.setdefault(item, _nothing()) if item >= 0 else _nothing()
        by_item, by_user = self._smoothed(of_item), self._smoothed(of_user)
        _add(of_user, event, by_item, USER_FADING)
        _add(of_item, event, by_user, ITEM_FADING)
        for place, column in enumerate(c.sets):
            for value in column[row]:
                _add(self._values[place].setdefault(value, _nothing()), event, by_user, 1.0)
                if user >= 0:
                    of_both = self._user_values[place].setdefault((user, value), _nothing())
                    _add(of_both, event, by_item, 1.0)
        if self._has_time:
            self._overall[0] += weight
            self._overall[1] += weight * rate
            fading = OVERALL_FADING**weight
            self._overall[2] = fading * self._overall[2] + (1 - fading) * rate
        if user >= 0 and (item >= 0 or c.text is not None):
            self._remember(user, item, row, event)

    def _remember(self, user: int, item: int, row: int, event: Event) -> None:
        if item >= 0:
            _add(self._pairs.setdefault((user, item), _nothing()), event, 0.0, 1.0)
        if event[0] * event[1] < 0.5:
            return
        recent = self._recent.setdefault(user, deque(maxlen=REMEMBERED_CLICKS))
        for earlier, _ in recent:
            if earlier != item:
                pair = (earlier, item) if earlier < item else (item, earlier)
                self._together[pair] = self._together.get(pair, 0.0) + 1
        recent.append((item, self._columns.text[row] if self._columns.text is not None else -1))

    def _overall_rate(self) -> float:
        return (self._overall[1] + 20 * self._base) / (self._overall[0] + 20)

    def _smoothed(self, state: list[float] | None) -> float:
        parent = self._overall_rate()
        if state is None:
            return parent
        return (state[CLICKED] + self._strength * parent) / (state[SEEN] + self._strength)

    def _entity(self, state: list[float] | None, now: float) -> list[float]:
        if state is None:
            return [0.0, self._overall_rate(), 0.0, NAN, 0.0, NAN]
        return [
            math.log1p(state[SEEN]),
            self._smoothed(state),
            state[RESIDUAL] / (state[SEEN] + RESIDUAL_STRENGTH),
            state[FADING_CLICKED] / state[FADING_SEEN] if state[FADING_SEEN] > 0 else NAN,
            state[FADING_RESIDUAL] / (state[FADING_SEEN] + RESIDUAL_STRENGTH),
            _ago(now, state[LAST]),
        ]

    def _pair(self, user: int, item: int, now: float) -> list[float]:
        state = self._pairs.get((user, item))
        if state is None:
            return [0.0, 0.0, NAN]
        return [state[SEEN], state[CLICKED], _ago(now, state[LAST])]

    def _company(self, user: int, item: int) -> list[float]:
        """How often people who clicked what this user clicked also clicked this item: sum and largest cosine."""
        recent = self._recent.get(user)
        if not recent:
            return [NAN, NAN, 0.0]
        of_item = self._items.get(item)
        mine = of_item[CLICKED] if of_item is not None else 0.0
        total = largest = 0.0
        for earlier, _ in recent:
            count = self._together.get((earlier, item) if earlier < item else (item, earlier))
            if count is not None:
                cosine = count / math.sqrt((self._items[earlier][CLICKED] + 5) * (mine + 5))
                total += cosine
                largest = max(largest, cosine)
        return [total, largest, float(len(recent))]

    def _set(self, place: int, values: tuple[int, ...], user: int) -> list[float]:
        if not values:
            return [NAN] * (4 if self._columns.user is not None else 2)
        states = [self._values[place].get(value) for value in values]
        seen = [state[SEEN] if state is not None else 0.0 for state in states]
        found = [
            math.log1p(sum(seen) / len(values)),
            sum(self._smoothed(state) for state in states) / len(values),
        ]
        if self._columns.user is not None:
            own = [self._user_values[place].get((user, value)) for value in values]
            times = sum(state[SEEN] for state in own if state is not None)
            residual = sum(state[RESIDUAL] for state in own if state is not None)
            found += [times / len(values), residual / (times + RESIDUAL_STRENGTH)]
        return found

    def _likeness(self, user: int, row: int) -> list[float]:
        """Cosine of the row's text with the texts that the user clicked last: mean, largest, newest."""
        recent = self._recent.get(user)
        if not recent or self._vectors is None or self._columns.text is None:
            return [NAN, NAN, NAN]
        cosines = self._vectors[[text for _, text in recent]] @ self._vectors[self._columns.text[row]]
        return [float(cosines.mean()), float(cosines.max()), float(cosines[-1])]

    def _feature_names(self, rows: Rows) -> tuple[list[str], frozenset[str]]:
        names = ["overall_recent"]
        entities = [name for name, column in (("user", rows.user), ("item", rows.item)) if column is not None]
        for entity in entities:
            names += [
                f"{entity}_{fact}"
                for fact in ("log_seen", "rate", "residual", "fading_rate", "fading_residual", "ago")
            ]
        if len(entities) == 2:
            names += ["pair_seen", "pair_clicked", "pair_ago"]
            names += ["company_total", "company_largest", "company_size"]
        for name in rows.meaning.categorical:
            names += [f"{name}_log_seen", f"{name}_rate"]
            if rows.user is not None:
                names += [f"user_{name}_seen", f"user_{name}_residual"]
        if self._vectors is not None:
            names += ["likeness_mean", "likeness_largest", "likeness_newest"]
        rising = {name for name in names if name.endswith("_rate") and "fading" not in name}
        return names, frozenset(rising)


def _nothing() -> list[float]:
    return [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, NAN]


def _add(state: list[float], event: Event, expected: float, fading: float) -> None:
    rate, weight, now = event
    clicked = rate * weight
    residual = clicked - weight * expected
    state[SEEN] += weight
    state[CLICKED] += clicked
    state[RESIDUAL] += residual
    state[FADING_SEEN] = fading * state[FADING_SEEN] + weight
    state[FADING_CLICKED] = fading * state[FADING_CLICKED] + clicked
    state[FADING_RESIDUAL] = fading * state[FADING_RESIDUAL] + residual
    state[LAST] = now


def _ago(now: float, then: float) -> float:
    """Log of the seconds since; NaN where a table has no time."""
    return math.log1p(max(0.0, now - then)) if not math.isnan(then) else NAN
