"""Each text is encoded once; what the encoder does not speak has no vector and no invented score."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adplatform.learning import embeddings, profiles
from adplatform.learning.models import TextVector, VisitorVector
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db


def test_a_text_is_encoded_once_and_reads_back_bit_for_bit() -> None:
    texts = ["Running shoes for wet roads", "A cookbook of soups", "Running  shoes for wet roads "]
    first = embeddings.vectors(texts)
    assert TextVector.objects.count() == 2  # the third differs in blanks only
    assert embeddings.ensure(texts) == 0
    np.testing.assert_array_equal(embeddings.cached(embeddings.encoder().id, texts), first)
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, atol=1e-3)


def test_a_foreign_text_has_no_vector() -> None:
    rows = embeddings.vectors(["Soups for winter evenings", "冬天的汤"])
    assert not np.isnan(rows[0]).any()
    assert np.isnan(rows[1]).all()


def test_an_unknown_encoder_knows_nothing() -> None:
    assert embeddings.cached("another-encoder", ["a", "b"]).shape == (2, 0)


def test_creatives_in_another_language_are_counted_and_left_out() -> None:
    line_item = factories.line_item()
    factories.creative(line_item, headline="Garden chairs", body="")
    factories.creative(line_item, headline="Gartenstühle aus Holz", body="", language="de")
    factories.creative(line_item, headline="花园椅子", body="")
    done = profiles.embed_creatives(NOON)
    assert (done.encoded, done.foreign, done.texts) == (1, 2, 1)
    assert profiles.embed_creatives(NOON).encoded == 0


def reader(*texts: str, granted: bool = True, days: tuple[int, ...] = ()) -> Any:
    visitor = factories.visitor()
    factories.consent(visitor, is_granted=granted, at=NOON - timedelta(days=60))
    for number, text in enumerate(texts):
        age = days[number] if days else 1
        factories.behaviour(visitor, text=text, occurred_at=NOON - timedelta(days=age))
    return visitor


def test_a_profile_is_the_decayed_mean_of_what_was_read_and_clicked(hot: Any) -> None:
    visitor = reader("A trip to the Alps", days=(14,))
    creative = factories.creative(headline="Hiking boots", body="")
    decision = factories.decision(creative, visitor=visitor.pseudonym, served_at=NOON - timedelta(seconds=1))
    factories.impression(decision)
    factories.click(decision)
    assert profiles.embed_visitors(NOON).updated == 1
    trip, boots = embeddings.vectors(["A trip to the Alps", "Hiking boots"])
    mean = 0.5 * trip + boots
    stored = VisitorVector.objects.get(visitor=visitor.pseudonym)
    np.testing.assert_allclose(embeddings.unpack([stored.vector])[0], mean / np.linalg.norm(mean), atol=2e-3)
    assert hot.hget(f"visitor:{visitor.pseudonym}", "u") == bytes(stored.vector)


def test_only_visitors_with_something_new_are_rebuilt(hot: Any) -> None:
    reader("A trip to the Alps")
    second = reader("Soup recipes")
    assert profiles.embed_visitors(NOON).updated == 2
    assert profiles.embed_visitors(NOON).updated == 0
    factories.behaviour(second, text="Bread recipes", occurred_at=NOON - timedelta(hours=1))
    factories.behaviour(second, text="From tomorrow", occurred_at=NOON + timedelta(days=1))
    assert profiles.embed_visitors(NOON).updated == 1


def test_who_has_not_agreed_gets_no_profile_and_who_refuses_loses_it(hot: Any) -> None:
    reader("A trip to the Alps", granted=False)
    silent = factories.visitor()
    factories.behaviour(silent, text="Never asked", occurred_at=NOON - timedelta(days=1))
    agreed = reader("Soup recipes")
    assert profiles.embed_visitors(NOON).visitors == 1
    factories.consent(agreed, is_granted=False, at=NOON + timedelta(hours=1))
    done = profiles.embed_visitors(NOON + timedelta(hours=2))
    assert (done.removed, VisitorVector.objects.count()) == (1, 0)
    assert hot.hget(f"visitor:{agreed.pseudonym}", "u") is None


def test_int8_is_a_setting_and_its_vectors_are_its_own(settings: Any, tmp_path: Path) -> None:
    full = embeddings.vectors(["Running shoes for wet roads"])
    settings.ENCODER_PRECISION, settings.MODELS_DIR = "int8", tmp_path
    embeddings.encoder.cache_clear()
    try:
        int8 = embeddings.vectors(["Running shoes for wet roads"])
        assert embeddings.encoder().dtype == "int8"
    finally:
        embeddings.encoder.cache_clear()
    assert 0.988 < float((full * int8).sum()) < 1.0
    assert TextVector.objects.values("encoder").distinct().count() == 2


def test_the_full_encoder_is_used_where_int8_fails_its_gate(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.text.compress.LOWEST_COSINE", 1.01)
    settings.ENCODER_PRECISION, settings.MODELS_DIR = "int8", tmp_path
    embeddings.encoder.cache_clear()
    try:
        assert embeddings.encoder().dtype == "float32"
    finally:
        embeddings.encoder.cache_clear()
    assert list((tmp_path / "encoders").iterdir()) == []
