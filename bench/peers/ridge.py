"""Ridge regressions on text alone: TF-IDF (words 1-2 and char_wb 2-4), or frozen vectors of our encoder.

Where texts compete in randomised tests, the target is the log odds within the test, and the penalty is chosen by
pairwise accuracy on the validation weeks (ml.evaluation.baselines). Elsewhere it is the label, and the penalty is chosen by
log loss on the validation rows. Runs in the platform's own environment, which has the encoder.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from common import Answer, Table, log_loss, main

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
LOWEST = 1e-3


def fit(table: Table, variant: str, _seed: int) -> Answer:
    """Variants: tfidf, embedding."""
    texts = table.frame[table.options["text"][0]].fillna("").astype(str)
    codes, distinct = texts.factorize()
    vectors, seconds = None, 0.0
    if variant == "embedding":
        import torch

        from ml.text.encoder import Encoder

        torch.set_num_threads(1)
        started = time.process_time()
        vectors = Encoder.load().encode([str(text) for text in distinct])
        seconds = time.process_time() - started
    if table.options["clicks"]:
        return _within_tests(table, texts.tolist(), None if vectors is None else vectors[codes], seconds)
    return _of_labels(table, codes, list(distinct), vectors, seconds)


def _within_tests(table: Table, texts: list[str], vectors: Any, seconds: float) -> Answer:
    from ml.evaluation.baselines import Arms, embedding_ridge, tfidf_ridge

    held = table.validation
    group = table.frame[table.options["group"]].to_numpy(dtype=object)
    everything = len(table.frame)
    clicks = np.r_[table.y * table.weight, np.zeros(everything - table.trained)]
    shown = np.r_[table.weight, np.ones(everything - table.trained)]

    def arms(rows: Any) -> Arms:
        chosen = [texts[row] for row in rows.tolist()]
        return Arms(
            chosen, group[rows], clicks[rows], shown[rows], None if vectors is None else vectors[rows]
        )

    test = np.arange(table.trained, everything)
    ridge = tfidf_ridge if vectors is None else embedding_ridge
    answer = ridge(arms(np.flatnonzero(~held)), arms(np.flatnonzero(held)), arms(test))
    return Answer(lambda _: answer.probability, {"penalty": answer.penalty}, seconds)


def _of_labels(table: Table, codes: Any, distinct: list[str], vectors: Any, seconds: float) -> Answer:
    """Rows of one text are one row: its mean label, weighted by how many there are."""
    from sklearn.linear_model import Ridge

    represent = _tfidf(distinct) if vectors is None else vectors
    held = table.validation

    def fitted(rows: Any, penalty: float) -> Any:
        weight = np.bincount(codes[rows], weights=table.weight[rows], minlength=len(distinct))
        clicks = np.bincount(codes[rows], weights=(table.y * table.weight)[rows], minlength=len(distinct))
        known = np.flatnonzero(weight)
        model = Ridge(alpha=penalty).fit(
            represent[known], clicks[known] / weight[known], sample_weight=weight[known]
        )
        return np.clip(model.predict(represent), LOWEST, 1 - LOWEST)

    older, newer = np.flatnonzero(~held), np.flatnonzero(held)
    losses = [log_loss(fitted(older, penalty)[codes[newer]], table.y[newer]) for penalty in PENALTIES]
    best = PENALTIES[int(np.argmin(losses))]
    scores = fitted(np.arange(table.trained), best)
    told = {"penalty": best, "validation_log_loss": round(min(losses), 5)}
    return Answer(lambda rows: scores[codes[rows]], told, seconds)


def _tfidf(texts: list[str]) -> Any:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=2)
    return hstack([words.fit_transform(texts), characters.fit_transform(texts)]).tocsr()


if __name__ == "__main__":
    main(fit, ("tfidf", "embedding"))
