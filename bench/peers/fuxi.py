"""FuxiCTR: FinalMLP and DCNv2 from the zoo of sequence models that its wheel carries, fed without its Ray loader.

Those take the visitor's history: his LONGEST_HISTORY newest clicked items of the training rows, strictly before the
row. Embeddings of 16, hidden layers (256, 128), Adam, batches of 512; the number of passes as in deep.py.
"""

from __future__ import annotations

import sys
import types
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import LONGEST_SET, Answer, Field, Table, log_loss, main

EMBEDDING, HIDDEN, BATCH, MOST_PASSES = 16, [256, 128], 512, 6
LONGEST_HISTORY = 10
LABEL = "label"


def fit(table: Table, variant: str, seed: int) -> Answer:
    """Variants: finalmlp, dcnv2."""
    torch.set_num_threads(1)
    fields = table.fields()
    item = next(field for field in fields if field.name == (table.options["item"] or field.name))
    inputs = _Inputs(fields, item, _histories(table, item), table.y)
    held = table.validation
    older, newer = np.flatnonzero(~held), np.flatnonzero(held)
    model, losses = _build(variant, fields, item, seed), []
    rng = np.random.default_rng(seed)
    while len(losses) < MOST_PASSES and (len(losses) < 2 or losses[-1] < min(losses[:-1])):
        _pass(model, inputs, rng.permutation(older))
        losses.append(log_loss(_predict(model, inputs, newer), table.y[newer]))
    passes = int(np.argmin(losses)) + 1
    final = _build(variant, fields, item, seed)
    for _ in range(passes):
        _pass(final, inputs, rng.permutation(table.trained))
    told = {"passes": passes, "validation_log_loss": round(min(losses), 5)}
    return Answer(lambda rows: _predict(final, inputs, rows), told)


class _Inputs:
    """Batches as the zoo's models take them: (features, items of history then the candidate, mask of the history)."""

    def __init__(self, fields: list[Field], item: Field, histories: Any, y: Any) -> None:
        self._others = [field for field in fields if field is not item]
        self._item, self._histories, self._y = item, histories, y

    def batch(self, rows: Any, *, labelled: bool) -> tuple[dict[str, Any], dict[str, Any], Any]:
        features = {field.name: torch.from_numpy(field.codes[rows]) for field in self._others}
        for field in self._others:
            if field.kind == "number":
                features[field.name] = features[field.name].float()
        if labelled:
            features[LABEL] = torch.from_numpy(self._y[rows])
        sequence = np.column_stack([self._histories[rows], self._item.codes[rows]])
        mask = torch.from_numpy((self._histories[rows] > 0).astype(np.float32))
        return features, {self._item.name: torch.from_numpy(sequence.ravel())}, mask


def _histories(table: Table, item: Field) -> Any:
    """Codes of the newest clicked items per row, 0 where there is none; test rows see the training rows."""
    found = np.zeros((len(table.frame), LONGEST_HISTORY), dtype=np.int64)
    user, time = table.options["user"], table.options["time"]
    if user is None or time is None or item.name != table.options["item"]:
        return found
    users, times = table.frame[user].tolist(), table.frame[time].to_numpy()
    clicked: dict[Any, deque[tuple[Any, int]]] = {}
    for row in np.argsort(times, kind="stable").tolist():
        past = [code for at, code in clicked.get(users[row], ()) if at < times[row]][-LONGEST_HISTORY:]
        found[row, LONGEST_HISTORY - len(past) :] = past
        if row < table.trained and table.y[row] > 0.5:
            clicked.setdefault(users[row], deque(maxlen=2 * LONGEST_HISTORY)).append(
                (times[row], int(item.codes[row]))
            )
    return found


def _build(variant: str, fields: list[Field], item: Field, seed: int) -> Any:
    import fuxictr

    # Its file readers, which we do not use, import Ray, half a gigabyte: their package is entered without its start.
    home = Path(fuxictr.__file__).parent
    package = types.ModuleType("fuxictr.preprocess")
    package.__path__ = [str(home / "preprocess")]
    sys.modules["fuxictr.preprocess"] = package
    sys.path.append(str(home.parent))
    from fuxictr.features import FeatureMap
    from model_zoo.LongCTR.DCNv2 import DCNv2
    from model_zoo.LongCTR.FinalMLP import FinalMLP

    torch.manual_seed(seed)
    features = FeatureMap("bench", ".")
    features.labels, features.default_emb_dim = [LABEL], EMBEDDING
    features.features = OrderedDict((field.name, _spec(field, field is item)) for field in fields)
    common = {
        "embedding_dim": EMBEDDING,
        "embedding_regularizer": 1e-5,
        "optimizer": "adam",
        "loss": "binary_crossentropy",
        "metrics": ["logloss"],
        "model_root": ".",
        "verbose": 0,
    }
    if variant == "finalmlp":
        model = FinalMLP(
            features, mlp1_hidden_units=HIDDEN, mlp2_hidden_units=HIDDEN, num_heads=2, use_fs=False, **common
        )
    else:
        model = DCNv2(features, parallel_dnn_hidden_units=HIDDEN, **common)
    model._max_gradient_norm, model._batch_index = 10.0, 0
    return model


def _spec(field: Field, is_item: bool) -> dict[str, Any]:
    source = "item" if is_item else "other"
    if field.kind == "number":
        return {"type": "numeric", "source": source}
    spec = {"type": "categorical", "source": source, "vocab_size": field.size, "padding_idx": 0}
    if field.kind == "set":
        spec |= {
            "type": "sequence",
            "max_len": LONGEST_SET,
            "feature_encoder": "layers.MaskedAveragePooling()",
        }
    return spec


def _pass(model: Any, inputs: _Inputs, rows: Any) -> None:
    model.train()
    for start in range(0, len(rows), BATCH):
        model.train_step(inputs.batch(rows[start : start + BATCH], labelled=True))


def _predict(model: Any, inputs: _Inputs, rows: Any) -> Any:
    model.eval()
    with torch.no_grad():
        parts = [
            model.forward(inputs.batch(rows[start : start + 4_096], labelled=False))["y_pred"]
            for start in range(0, len(rows), 4_096)
        ]
    return torch.cat(parts).numpy().ravel()


if __name__ == "__main__":
    main(fit, ("finalmlp", "dcnv2"))
