"""Rival texts scored by what draws clicks: layers of a transformer, wording and words, by conditional logit.

The last layer of a sentence transformer tells topics apart, and rivals share their topic: layers at a third and two
thirds of its depth order rivals better than the last one, and better than adapting the last one (docs/ml.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.schema import Floats, Ints, Vectors
from ml.text.conditional import Rivals, best_penalty, fit
from ml.text.wording import measures

DEPTHS = (1 / 3, 2 / 3)
MEASURE_SCALE, WORD_SCALE = 0.3, 2.0
DENSE_PENALTY, JOINT_PENALTY = 6_000.0, 4_000.0  # right for half a million clicks
LIGHTER = (1.0, 0.3, 0.1, 0.03)  # few clicks say more each where groups differ by much


class RivalTexts:
    """Two scores a text: layers with wording, and these with words. Learns anew from whatever past it is given."""

    names = ("text_score", "lexical_score")

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._texts = list(texts)
        self._dense: Floats = np.hstack([vectors, MEASURE_SCALE * measures(texts)]).astype(np.float64)
        self._lighter: float | None = None
        self._start: Floats | None = None

    def scores(self, past: Rivals, wanted: Ints) -> Floats:
        """Scores of the wanted texts, shape (n, 2), learnt from the past, whose rows are in order of time."""
        if self._lighter is None:
            choice = [DENSE_PENALTY * share for share in LIGHTER]
            self._lighter = best_penalty(self._dense, past, choice) / DENSE_PENALTY
        self._start = fit(self._dense, past, penalty=DENSE_PENALTY * self._lighter, start=self._start)
        distinct, place = np.unique(wanted, return_inverse=True)
        joint = self._with_words(past, distinct)
        if joint is None:
            both = self._dense[wanted] @ self._start
            return np.column_stack([both, both])
        rows, found, dense = joint
        numbered = Rivals(rows, past.clicks, past.impressions, past.group)
        start = np.concatenate([self._start, np.zeros(found.shape[1] - len(self._start))])
        w = fit(found, numbered, penalty=JOINT_PENALTY * self._lighter, start=start)
        return np.column_stack([self._dense[wanted] @ self._start, np.asarray(dense @ w)[place]])

    def _with_words(self, past: Rivals, wanted: Ints) -> tuple[Ints, Any, Any] | None:
        """(row of each past arm, dense and words of the past's texts, the same of the wanted ones)."""
        from scipy.sparse import csr_matrix, hstack
        from sklearn.feature_extraction.text import TfidfVectorizer

        distinct, place = np.unique(past.text, return_inverse=True)
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)

        def beside(texts: Ints, found: Any) -> Any:
            return hstack([csr_matrix(self._dense[texts]), WORD_SCALE * found]).tocsr()

        try:
            known = words.fit_transform([self._texts[text] for text in distinct.tolist()])
        except ValueError:  # too few words in common
            return None
        later = words.transform([self._texts[text] for text in wanted.tolist()])
        return place.astype(np.int64), beside(distinct, known), beside(wanted, later)
