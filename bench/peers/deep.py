"""deepctr-torch: DCNv2 (its DCN with full matrices) and DeepFM, with its own settings but for the embedding size.

Adam, l2 1e-5 on embeddings, hidden layers (256, 128), batches of 512, embeddings of 16. The number of passes (at most
6) is the best by log loss on the validation rows; the model is then trained anew on all training rows.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import torch
from common import LONGEST_SET, Answer, Table, log_loss, main
from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
from deepctr_torch.models import DCN, DeepFM

EMBEDDING, HIDDEN, BATCH, MOST_PASSES = 16, (256, 128), 512, 6


def fit(table: Table, variant: str, seed: int) -> Answer:
    """Variants: dcnv2, deepfm."""
    torch.set_num_threads(1)
    inputs, columns = _inputs(table)
    held = table.validation
    older, newer = np.flatnonzero(~held), np.flatnonzero(held)
    model, losses = _build(variant, columns, seed), []
    while len(losses) < MOST_PASSES and (len(losses) < 2 or losses[-1] < min(losses[:-1])):
        _pass(model, inputs, table, older)
        losses.append(log_loss(_predict(model, inputs, newer), table.y[newer], table.weight[newer]))
    passes = int(np.argmin(losses)) + 1
    final = _build(variant, columns, seed)
    for _ in range(passes):
        _pass(final, inputs, table, np.arange(table.trained))
    told = {"passes": passes, "validation_log_loss": round(min(losses), 5)}
    return Answer(lambda rows: _predict(final, inputs, rows), told)


def _inputs(table: Table) -> tuple[dict[str, Any], list[Any]]:
    inputs, columns = {}, []
    for field in table.fields():
        inputs[field.name] = field.codes
        if field.kind == "number":
            columns.append(DenseFeat(field.name, 1))
            continue
        column = SparseFeat(field.name, vocabulary_size=field.size, embedding_dim=EMBEDDING)
        if field.kind == "set":
            column = VarLenSparseFeat(column, maxlen=LONGEST_SET, combiner="mean")
        columns.append(column)
    return inputs, columns


def _build(variant: str, columns: list[Any], seed: int) -> Any:
    if variant == "dcnv2":
        model = DCN(columns, columns, cross_parameterization="matrix", dnn_hidden_units=HIDDEN, seed=seed)
    else:
        model = DeepFM(columns, columns, dnn_hidden_units=HIDDEN, seed=seed)
    model.compile("adam", "binary_crossentropy", metrics=[])
    return model


def _pass(model: Any, inputs: dict[str, Any], table: Table, rows: Any) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        chosen = {name: codes[rows] for name, codes in inputs.items()}
        model.fit(chosen, table.y[rows], batch_size=BATCH, epochs=1, verbose=0)


def _predict(model: Any, inputs: dict[str, Any], rows: Any) -> Any:
    return model.predict({name: codes[rows] for name, codes in inputs.items()}, batch_size=4_096).ravel()


if __name__ == "__main__":
    main(fit, ("dcnv2", "deepfm"))
