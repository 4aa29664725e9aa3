"""Changed copies of texts: words left out or swapped, never invented."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ml.quality.augment import augmented

TEXTS = st.lists(st.text(st.sampled_from("abc é"), max_size=30), max_size=5)


@given(TEXTS, st.sampled_from(["drop", "swap"]), st.integers(0, 9))
def test_no_word_is_invented(texts: list[str], way: str, seed: int) -> None:
    changed = augmented(texts, way, seed=seed)
    assert changed == augmented(texts, way, seed=seed)
    for text, copy in zip(texts, changed, strict=True):
        before, after = Counter(text.split()), Counter(copy.split())
        assert after <= before
        assert bool(before) == bool(after)
        assert way == "drop" or after == before
