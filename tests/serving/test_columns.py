"""The ads of a snapshot as files: what is mapped decides as the list did that it was written from."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.core import clock
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.columns import Coded, Columns
from adplatform.learning.statistics import View
from adplatform.serving import columns, publish, tensors
from adplatform.serving.render import AdText
from adplatform.serving.snapshot import SnapshotHolder
from tests.decision import factories as some_one
from tests.decision import strategies as some
from tests.decision.verdicts import agree
from tests.serving import market as m

TEXT = AdText("banner", 300, 250, "Shoes", "", "", "Shop", "en")


def mapped(people) -> tuple[CandidateSet, columns.Ads]:
    """Written, and read again."""
    with tempfile.TemporaryDirectory() as name:
        texts = Coded.of(range(len(people)), lambda _: TEXT)
        landings = Coded.of(f"https://shop{one.creative_id}.example" for one in people)
        columns.save(Path(name), Columns.of(people), texts, landings)
        return columns.read(Path(name))


@given(
    people=some.candidate_lists(20),
    ask=some.requests,
    seen=some.seens,
    shown=st.lists(st.integers(1, 20), max_size=3),
    later=some.moments,
)
def test_what_is_mapped_refuses_whom_the_rules_refuse_and_for_the_same_reason(
    people, ask, seen, shown, later
) -> None:
    candidates, _ = mapped(people)
    assert list(candidates) == people
    agree(candidates.eligibility, people, ask=ask, seen=seen, shown=shown, later=later)


@given(people=some.candidate_lists(20))
def test_its_columns_are_those_of_the_list(people) -> None:
    found, wanted = mapped(people)[0], CandidateSet(people)
    for name in ("creative_id", "campaign_id", "remaining_micros", "needed_micros", "unit_micros", "pace"):
        assert getattr(found, name).tolist() == getattr(wanted, name).tolist()
    assert found.pays_per_click.tolist() == wanted.pays_per_click.tolist()
    rows = {id: rows.tolist() for id, rows in found.rows_by("campaign_id").items()}
    assert rows == {id: rows.tolist() for id, rows in wanted.rows_by("campaign_id").items()}


def test_an_ad_is_found_by_its_creative() -> None:
    candidates, ads = mapped([some_one.candidate(7), some_one.candidate(9)])
    assert (candidates.row_of(9), candidates.row_of(8)) == (1, None)
    assert ads.landing_url(9) == ads[9].landing_url == "https://shop9.example"
    assert ads.get(8) is None


def test_equal_arrays_make_equal_bytes_and_are_read_only(tmp_path) -> None:
    arrays = {"b": np.arange(3), "a": np.zeros((0, 4), np.uint8), "c": np.array([True])}
    tensors.write(tmp_path / "one", arrays)
    tensors.write(tmp_path / "two", dict(reversed(arrays.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = tensors.mapped(tmp_path / "one")
    assert {name: one.tolist() for name, one in found.items()} == {"b": [0, 1, 2], "a": [], "c": [True]}
    with pytest.raises(ValueError, match="read-only"):
        found["b"][0] = 1


# --- from one snapshot to the next ------------------------------------------------------------------------------------


@pytest.fixture
def holder(db, tmp_path) -> SnapshotHolder:
    """In the middle of serving from a published market of one ad."""
    m.ad()
    m.slot()
    publish.publish(at=clock.now() - timedelta(seconds=9), folder=tmp_path)
    held = SnapshotHolder(tmp_path)
    held.poll()
    return held


def published(holder: SnapshotHolder) -> tuple[Path, Path]:
    """Publish anew and take it; the folders before and after."""
    before = holder.folder / holder.current.version
    publish.publish(at=clock.now(), folder=holder.folder)
    assert holder.poll()
    return before, holder.folder / holder.current.version


def test_what_did_not_change_is_one_file_and_is_made_once(holder) -> None:
    first = holder.current
    before, after = published(holder)
    for name in (*columns.FILES, "models/creatives.npy", "models/models.json"):
        assert (after / name).samefile(before / name)
    assert holder.current.candidates.eligibility is first.candidates.eligibility
    assert holder.current.ads is first.ads
    assert holder.current.models.creatives is first.models.creatives


def test_what_changed_is_another_file(holder) -> None:
    first = holder.current
    m.ad()
    before, after = published(holder)
    assert not any((after / name).samefile(before / name) for name in columns.FILES)
    assert (len(first.candidates), len(holder.current.candidates), len(holder.current.ads)) == (1, 2, 2)


def test_a_file_that_broke_since_is_not_taken_over(holder) -> None:
    path = holder.folder / holder.current.version / columns.ADS
    good = path.read_bytes()
    path.unlink()
    path.write_bytes(good[:-1])
    _, after = published(holder)
    assert (after / columns.ADS).read_bytes() == good


def test_a_process_makes_no_object_of_an_ad_that_it_does_not_show(holder, monkeypatch) -> None:
    m.ad()
    publish.publish(at=clock.now(), folder=holder.folder)

    def made(*_: object) -> None:
        raise AssertionError("a candidate was made")

    monkeypatch.setattr(Columns, "candidate", made)
    assert holder.poll()
    holder.current.prepare(View())
    assert len(holder.current.candidates) == 2
