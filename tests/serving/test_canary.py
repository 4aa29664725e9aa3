"""A canary answers its share of the visitors, always the same ones; a rollback is live with the next snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.core import clock
from adplatform.core.models import Outbox
from adplatform.decision.types import AdRequest, Placement
from adplatform.events.models import AdDecision
from adplatform.learning import registry
from adplatform.learning.models import ModelVersion, TrainingRun
from adplatform.learning.registry import Kind, RegistryError, Stage
from adplatform.serving import pipeline
from adplatform.serving.parse import Asked
from adplatform.serving.snapshot import Canary
from ml.text.matcher import Matcher
from tests.serving import market as m

pytestmark = pytest.mark.django_db
SPAN = ("2026-06-01T00:00:00+00:00", "2026-06-15T00:00:00+00:00")


@pytest.fixture(autouse=True)
def models_folder(settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"


def matcher(*, run: TrainingRun | None = None) -> ModelVersion:
    """A registered matcher: the identity, which is enough to have a name."""
    draft = registry.draft_folder(Kind.MATCHER)
    Matcher(np.eye(4, dtype=np.float32), -4.0).save(
        draft, encoder_id="tiny", metrics={}, seed=0, data_range=SPAN
    )
    return registry.register(
        kind=Kind.MATCHER, draft=draft, at=clock.now(), run=run, encoder="tiny", metrics={}
    )


def answered_by(market: Any, visitor: str | None, number: int = 0) -> str:
    """The matcher that answers a request of this visitor."""
    slot = next(iter(market.server.snapshot.slots.values()))
    request = AdRequest(
        request_id=f"{number:032x}", at=clock.now(), placements=(Placement("p", slot),), visitor=visitor
    )
    return market.server.decide(Asked(request, "live")).versions["matcher"]


def stage() -> tuple[ModelVersion, ModelVersion]:
    """A champion, and a newer version that nobody has met."""
    m.ad()
    m.slot()
    champion, newer = matcher(), matcher()
    registry.promote(champion, at=clock.now())
    return champion, newer


def test_the_share_is_kept_and_each_visitor_stays_with_one_version(serve: Callable[[], Any]) -> None:
    _, newer = stage()
    registry.start_canary(newer, 20, at=clock.now())
    market = serve()
    visitors = [f"{number:032x}" for number in range(1_500)]
    first = [answered_by(market, visitor) for visitor in visitors]
    # Binomial: 300 of 1,500, standard deviation 15.5; four of them.
    assert Counter(first)[newer.name] == pytest.approx(300, abs=62)
    assert [answered_by(market, visitor, 7) for visitor in visitors[:200]] == first[:200]

    # The share grows: nobody who met the canary loses it.
    registry.start_canary(newer, 60, at=clock.now())
    market.publish()
    second = [answered_by(market, visitor) for visitor in visitors]
    assert Counter(second)[newer.name] == pytest.approx(900, abs=76)
    assert all(now == newer.name for now, then in zip(second, first, strict=True) if then == newer.name)


def test_requests_without_a_visitor_are_shared_out_by_request(serve: Callable[[], Any]) -> None:
    _, newer = stage()
    registry.start_canary(newer, 50, at=clock.now())
    market = serve()
    answers = Counter(answered_by(market, None, number) for number in range(400))
    assert answers[newer.name] == pytest.approx(200, abs=40)


@given(units=st.lists(st.uuids(), min_size=1, max_size=20), share=st.integers(0, 10_000))
def test_who_is_in_stays_in_while_the_share_grows(units: list[Any], share: int) -> None:
    class Named:
        versions = {"matcher": "m-1", "blender": "b-1"}

    for unit in units:
        small, large = Canary(Named(), share // 2), Canary(Named(), share)
        assert large.answers(str(unit)) or not small.answers(str(unit))
        assert Canary(Named(), 10_000).answers(str(unit))
        assert not Canary(Named(), 0).answers(str(unit))


def test_decisions_record_which_version_answered(serve: Callable[[], Any]) -> None:
    champion, newer = stage()
    registry.start_canary(newer, 50, at=clock.now())
    market = serve()
    expected = Counter(answered_by(market, f"{number:032x}", number) for number in range(60))
    market.server.flush()
    pipeline.drain_all(market.events, market.hot)
    logged = Counter(
        versions["matcher"] for versions in AdDecision.objects.values_list("versions", flat=True)
    )
    assert logged == expected
    assert set(logged) == {champion.name, newer.name}


def test_a_stopped_canary_answers_nobody_with_the_next_snapshot(serve: Callable[[], Any]) -> None:
    champion, newer = stage()
    registry.start_canary(newer, 100, at=clock.now())
    market = serve()
    assert answered_by(market, "a" * 32) == newer.name
    registry.stop(newer, why="its clicks fell")
    market.publish()
    assert answered_by(market, "a" * 32) == champion.name
    newer.refresh_from_db()
    assert (newer.stage, newer.share_bp, newer.live["ended"]) == (Stage.CHALLENGER, 0, "its clicks fell")


def test_a_promoted_model_that_disappoints_is_rolled_back_within_one_snapshot(
    serve: Callable[[], Any],
) -> None:
    champion, newer = stage()
    market = serve()
    registry.promote(newer, at=clock.now() + timedelta(seconds=1))
    market.publish()
    assert answered_by(market, "b" * 32) == newer.name
    Outbox.objects.all().delete()
    restored = registry.rollback(at=clock.now() + timedelta(minutes=1))
    assert [one.name for one in restored] == [champion.name]
    assert Outbox.objects.get().topic == "snapshot"  # upon which the publisher builds, within a second
    market.publish()
    assert answered_by(market, "b" * 32) == champion.name
    assert market.server.snapshot.versions["matcher"] == champion.name


def test_a_canary_whose_files_changed_ends_and_the_champion_serves(serve: Callable[[], Any]) -> None:
    champion, newer = stage()
    registry.start_canary(newer, 100, at=clock.now())
    weights = next(registry.folder_of(newer).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-8] + b"12345678")
    market = serve()
    assert answered_by(market, "c" * 32) == champion.name
    newer.refresh_from_db()
    assert newer.stage == Stage.REFUSED
    assert "cannot be read" in newer.live["ended"]


def test_versions_of_one_run_go_together() -> None:
    run = TrainingRun.objects.create(started_at=clock.now())
    one, other = matcher(run=run), matcher(run=run)
    ModelVersion.objects.filter(pk=other.pk).update(kind=Kind.BLENDER)
    # Only the matcher's files are a matcher's; a version that is not what it says is not staged.
    with pytest.raises(Exception, match="holds a matcher, not a blender"):
        registry.start_shadow(one, at=clock.now())


def test_what_cannot_be_a_canary() -> None:
    champion, newer = stage()
    third = matcher()
    with pytest.raises(RegistryError, match="between 0 and 100"):
        registry.start_canary(newer, 101, at=clock.now())
    with pytest.raises(RegistryError, match="serves already"):
        registry.start_canary(champion, 5, at=clock.now())
    registry.start_canary(newer, 5, at=clock.now())
    with pytest.raises(RegistryError, match=f"{newer.name} is the canary; stop it first"):
        registry.start_canary(third, 5, at=clock.now())
    registry.refuse(third)
    with pytest.raises(RegistryError, match="refused by the gate"):
        registry.promote(third, at=clock.now())
    with pytest.raises(RegistryError, match="neither shadow nor canary"):
        registry.stop(third, why="")
    registry.promote(newer, at=clock.now())
    newer.refresh_from_db()
    assert (newer.stage, newer.share_bp, newer.staged_at) == (Stage.CHAMPION, 0, None)


def test_a_sample_of_decisions_keeps_who_else_could_be_chosen(
    serve: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from adplatform import settings as plain

    monkeypatch.setattr(plain, "CHOICE_SETS_LOGGED", 0.5)
    for bid in (300_000, 400_000, 500_000):
        m.ad(campaign={"bid_strategy": "manual_cpc"}, line_item={"bid_micros": bid})
    m.slot()
    market = serve()
    for number in range(120):
        answered_by(market, f"{number:032x}", number)
    market.server.flush()
    pipeline.drain_all(market.events, market.hot)
    kept = [one for one in AdDecision.objects.all() if one.choice_set is not None]
    assert 30 < len(kept) < 90
    for decision in kept:
        among = decision.choice_set
        assert len(among["creative"]) == 3
        assert sum(among["propensity"]) == pytest.approx(1)
        chosen = among["creative"].index(decision.creative_id)
        assert among["propensity"][chosen] == pytest.approx(decision.propensity)
        assert among["pctr"][chosen] == pytest.approx(decision.pctr)
