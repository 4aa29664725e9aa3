"""Rival texts scored by what draws clicks: layers of a transformer, wording and words, by conditional logit.

The last layer of a sentence transformer tells topics apart, and rivals share their topic: layers at a third and two
thirds of its depth order rivals better than the last one, and better than adapting the last one (docs/ml.md). The last
one tells what a whole group is about (ml.text.topics); what lifts whole groups is one more number of each text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.schema import Floats, Ints, Vectors
from ml.text.conditional import Rivals, best_penalty, fit, tempered
from ml.text.topics import lifting
from ml.text.wording import measures

DEPTHS = (1 / 3, 2 / 3, 1.0)
MEASURE_SCALE, WORD_SCALE, LIFT_SCALE = 0.3, 4.0, 2.0
PENALTY = 2_000.0  # right for three thousand groups
LIGHTER = (1.0, 0.3, 0.1, 0.03)  # few clicks say more each where groups differ by much


class RivalTexts:
    """One score a text. Learns anew from whatever past it is given.

    `dense` has a row per text: the transformer's layers beside the measures of wording.
    """

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._texts = list(texts)
        self.dense: Floats = np.hstack([vectors, MEASURE_SCALE * measures(texts)]).astype(np.float64)
        self._penalty: float | None = None
        self._start: Floats = np.zeros(self.dense.shape[1] + 1)

    def scores(self, past: Rivals, wanted: Ints) -> Floats:
        """Scores of the wanted texts, learnt from the past, whose rows are in order of time."""
        lift = LIFT_SCALE * lifting(self.dense, past)
        past = tempered(past)
        if self._penalty is None:
            self._penalty = best_penalty(self.dense, past, [PENALTY * share for share in LIGHTER])
        X = self._with_words(np.column_stack([self.dense, lift]), past)
        start = np.concatenate([self._start, np.zeros(X.shape[1] - len(self._start))])
        w = fit(X, past, penalty=self._penalty, start=start)
        self._start = w[: len(self._start)]
        found: Floats = np.asarray(X[wanted] @ w)
        return found

    def _with_words(self, dense: Floats, past: Rivals) -> Any:
        """A row per text, known or not: the given ones, and the words that texts of the past have in common."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        try:
            words.fit([self._texts[text] for text in np.unique(past.text).tolist()])
        except ValueError:  # too few words in common
            return dense
        return _Beside(dense, WORD_SCALE * words.transform(self._texts).tocsr())


class _Beside:
    """A dense and a sparse matrix side by side: a third of the time of one sparse matrix that holds both."""

    def __init__(self, dense: Floats, sparse: Any) -> None:
        self._dense, self._sparse = dense, sparse
        self.shape = (dense.shape[0], dense.shape[1] + sparse.shape[1])
        self.T = _Turned(dense, sparse)

    def __getitem__(self, rows: Ints) -> _Beside:
        return _Beside(self._dense[rows], self._sparse[rows])

    def __matmul__(self, w: Floats) -> Floats:
        width = self._dense.shape[1]
        product: Floats = self._dense @ w[:width] + self._sparse @ w[width:]
        return product


class _Turned:
    """The transpose, which multiplies and no more."""

    def __init__(self, dense: Floats, sparse: Any) -> None:
        self._dense, self._sparse = dense, sparse

    def __matmul__(self, gap: Floats) -> Floats:
        return np.concatenate([self._dense.T @ gap, self._sparse.T @ gap])
