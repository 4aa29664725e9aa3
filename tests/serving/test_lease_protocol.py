"""The lease scripts against a model: whatever happens, nobody has more than Valkey knows of, and the sum is the budget."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import redis
from django.conf import settings
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adplatform.campaigns.stretches import STRETCH_MILLISECONDS
from adplatform.serving.lease_protocol import (
    EPOCH_KEY,
    PROCESSES_KEY,
    Beat,
    Claim,
    Grant,
    Ledger,
    lease_key,
)

CAMPAIGN = 7
NAMES = st.sampled_from(["a", "b", "c"])
AMOUNTS = st.integers(0, 400)


class Leasing(RuleBasedStateMachine):
    """Three processes, one campaign. Events cost between 5 and 40. `thinks`: what a process may believe that it holds."""

    @initialize(left=st.integers(0, 2_000), size=st.integers(0, 5_000))
    def begin(self, left: int, size: int) -> None:
        self.hot = redis.Redis.from_url(settings.REDIS_URL)
        self.hot.flushdb()
        self.ledger = Ledger(self.hot)
        self.run_id = self.hot.info("server")["run_id"]
        self.epoch, self.left, self.size = 1, left, size
        self.thinks: Counter[str] = Counter()
        self.untold: dict[str, Counter[int]] = {name: Counter() for name in "abc"}  # by stretch
        self.spent: Counter[int] = Counter()  # by stretch, told or not
        self.charged: Counter[int] = Counter()
        self.stretch, self.until = 0, 0
        self._write()

    def _write(self, dead: tuple[str, ...] = ()) -> None:
        self.hot.hset(EPOCH_KEY, mapping={"number": self.epoch, "run": self.run_id, "until": self.until})
        charged = tuple(number for pair in sorted(self.charged.items()) for number in pair)
        self.ledger.grant(self.epoch, [Grant(CAMPAIGN, self.left, self.size, charged)], dead)

    def _row(self) -> dict[str, str]:
        return {
            name.decode(): value.decode() for name, value in self.hot.hgetall(lease_key(CAMPAIGN)).items()
        }

    def _beat(self) -> Beat:
        return Beat(self.epoch, self.run_id, self.until, 3, is_known=True)

    def _claim(self, name: str, least: int, most: int) -> int:
        claim = Claim(CAMPAIGN, dict(self.untold[name]), self.thinks[name], least, most)
        (lease,) = self.ledger.claim(name, self._beat(), [claim])
        return lease

    @rule(name=NAMES, micros=AMOUNTS)
    def spend(self, name: str, micros: int) -> None:
        taken = min(micros, self.thinks[name])
        self.thinks[name] -= taken
        self.untold[name][self.stretch] += taken
        self.spent[self.stretch] += taken

    @rule(micros=AMOUNTS, age=st.integers(0, 3))
    def something_is_charged(self, micros: int, age: int) -> None:
        """Of what was told or not, also more than was expected; PostgreSQL says both in one breath."""
        charged = min(micros, self.left)
        self.charged[self.stretch - age * STRETCH_MILLISECONDS] += charged
        self.left -= charged
        self._write()

    @rule(name=NAMES)
    def top_up(self, name: str) -> None:
        if self.thinks[name] < 5:
            self.thinks[name] = 0  # given up before it is said
        before, others = self.thinks[name], sum(self.thinks.values()) - self.thinks[name]
        lease = self._claim(name, 5, 40)
        self.untold[name].clear()
        assert lease >= before  # never less than the process believes
        if lease > before:  # and more only of what is free
            assert lease + others + self._outstanding() <= self.left
        self.thinks[name] = lease

    @rule(name=NAMES)
    def top_up_and_lose_the_answer(self, name: str) -> None:
        self._claim(name, 5, 40)
        # What is told again counts twice until its stretch is over.
        self.spent.update(self.untold[name])

    @rule(name=NAMES)
    def give_back(self, name: str) -> None:
        self.thinks[name] = 0
        assert self._claim(name, 5, 0) == 0
        self.untold[name].clear()

    @rule(name=NAMES)
    def die(self, name: str) -> None:
        """The worker takes the leases of a silent process back; what it had not told is lost with it."""
        self._write((f"{name}@{self.epoch}",))
        self.spent.subtract(self.untold[name])
        self.thinks[name] = 0
        self.untold[name].clear()

    @rule(left=st.integers(0, 2_000))
    def postgres_says(self, left: int) -> None:
        self.left = left
        self._write()

    @rule()
    def time_passes(self) -> None:
        self.stretch += STRETCH_MILLISECONDS

    @rule()
    def the_past_is_settled(self) -> None:
        """All that was told up to the last stretch is billed, or never will be."""
        self.until = self.stretch

    @rule()
    def a_new_epoch_begins(self) -> None:
        """All give up: leases of the old epoch are void, what was spent is told and is not."""
        self.epoch += 1
        self.hot.hset(EPOCH_KEY, mapping={"number": self.epoch})
        for name in ("a", "b", "c"):
            self.thinks[name] = 0
            assert self._claim(name, 5, 40) == -1
            self.untold[name].clear()
        self._write()

    @rule(name=NAMES, is_other_life=st.booleans())
    def a_stranger_gets_nothing(self, name: str, is_other_life: bool) -> None:
        """Of another epoch, or of another life of the server."""
        stranger = replace(
            self._beat(),
            number=self.epoch if is_other_life else self.epoch + 5,
            run="0" * 40 if is_other_life else self.run_id,
        )
        assert self.ledger.claim(name, stranger, [Claim(CAMPAIGN, {}, 0, 5, 40)]) == [-1]

    def _outstanding(self) -> int:
        """What was spent, told or not, and may still be charged."""
        return sum(
            max(0, micros - self.charged[stretch])
            for stretch, micros in self.spent.items()
            if stretch >= self.until
        )

    @invariant()
    def nobody_has_more_than_valkey_knows(self) -> None:
        if not hasattr(self, "hot"):
            return
        row = self._row()
        told = sum(int(row[name]) for name in row if name[:2] == "u:" and int(name[2:]) >= self.until)
        leased = {name: int(row.get(f"p:{name}@{self.epoch}", 0)) for name in ("a", "b", "c")}
        untold = {
            name: sum(micros for stretch, micros in spent.items() if stretch >= self.until)
            for name, spent in self.untold.items()
        }
        for name, micros in leased.items():
            # What was told twice is in `told` twice, and off the lease twice.
            assert self.thinks[name] + untold[name] <= micros + told
        spent = sum(micros for stretch, micros in self.spent.items() if stretch >= self.until)
        assert sum(self.thinks.values()) + spent - sum(untold.values()) <= sum(leased.values()) + told
        assert int(row["left"]) == self.left


TestLeasing = Leasing.TestCase
TestLeasing.settings = hypothesis_settings(max_examples=30, stateful_step_count=30, deadline=None)


def test_slices_shrink_near_the_end_and_all_are_given_out(hot: Any) -> None:
    ledger, run_id = Ledger(hot), hot.info("server")["run_id"]
    hot.hset(EPOCH_KEY, mapping={"number": 1, "run": run_id})
    ledger.grant(1, [Grant(CAMPAIGN, 1_000_000, 1_000_000)], [])
    beats = {name: ledger.beat(name, 0) for name in ("a", "b")}
    beats = {name: ledger.beat(name, 1) for name in beats}
    assert {beat.processes for beat in beats.values()} == {2}

    def lease(name: str, spent: int, held: int) -> int:
        return ledger.claim(name, beats[name], [Claim(CAMPAIGN, {0: spent}, held, 100, 100)])[0]

    assert [lease("a", 0, 0), lease("b", 0, 0)] == [5_000, 5_000]  # 1 % of the budget between the two
    assert lease("a", 5_000, 0) == 5_000
    hot.hset(lease_key(CAMPAIGN), "left", 110_000)
    assert lease("a", 5_000, 0) == 1_900  # (110,000 − 5,000 of the other − 10,000 spent) / 25 / 2
    hot.hset(lease_key(CAMPAIGN), "left", 20_150)
    assert lease("a", 1_900, 0) == 200  # what two events may cost is always worth having
    hot.hset(lease_key(CAMPAIGN), "left", 17_050)
    assert lease("a", 0, 200) == 200
    assert lease("b", 5_000, 0) == 0  # 17,050 − 16,900 spent − 200: nothing for another event


def test_what_was_charged_waits_no_more(hot: Any) -> None:
    """A stretch's charges set free what was told of it, and never more."""
    ledger, run_id = Ledger(hot), hot.info("server")["run_id"]
    hot.hset(EPOCH_KEY, mapping={"number": 1, "run": run_id})
    beat = ledger.beat("a", 0)

    def free(left: int, *charged: int) -> int:
        """All that is free, as a lease of events that cost as much as there is, given back at once."""
        ledger.grant(1, [Grant(CAMPAIGN, left, 10_000, charged)], [])
        (lease,) = ledger.claim("a", beat, [Claim(CAMPAIGN, {}, 0, 1, 10_000)])
        ledger.claim("a", beat, [Claim(CAMPAIGN, {}, 0, 1, 0)])
        return lease

    assert free(10_000) == 10_000
    assert ledger.claim("a", beat, [Claim(CAMPAIGN, {0: 300, 5_000: 500}, 0, 1, 0)]) == [0]
    assert free(10_000) == 9_200
    assert free(9_900, 0, 100) == 9_200  # 100 of the 300 are charged: 200 + 500 wait
    assert free(9_600, 0, 100, 5_000, 300) == 9_200
    assert (
        free(9_000, 0, 700, 5_000, 300) == 8_800
    )  # clicks came more often than expected: the 200 wait all the same
    assert free(9_000) == 8_200  # what nobody speaks of any more waits until it is over


def test_who_was_struck_off_is_told_and_joins_again(hot: Any) -> None:
    ledger, run_id = Ledger(hot), hot.info("server")["run_id"]
    assert ledger.beat("a", 0).number == 0  # the worker was never here
    hot.hset(EPOCH_KEY, mapping={"number": 3, "run": run_id, "until": 60})
    assert ledger.beat("a", 0) == Beat(3, run_id, 60, 1, is_known=True)
    hot.zrem(PROCESSES_KEY, "a@3")
    assert not ledger.beat("a", 3).is_known
    hot.hset(EPOCH_KEY, "run", "another life")
    assert ledger.beat("a", 3).number == 0


@pytest.mark.parametrize("campaigns", [1, 250])
def test_calls_are_divided_into_pieces(hot: Any, campaigns: int) -> None:
    ledger, run_id = Ledger(hot), hot.info("server")["run_id"]
    hot.hset(EPOCH_KEY, mapping={"number": 1, "run": run_id})
    assert ledger.grant(1, [Grant(id, id, 0) for id in range(1, campaigns + 1)], []) == [(0, 0)] * campaigns
    beat = ledger.beat("a", 0)
    claims = [Claim(id, {}, 0, 1, 1_000) for id in range(1, campaigns + 1)]
    assert ledger.claim("a", beat, claims) == list(range(1, campaigns + 1))
    hot.script_flush()
    assert ledger.claim("a", beat, claims) == list(range(1, campaigns + 1))
