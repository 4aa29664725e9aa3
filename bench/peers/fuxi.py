"""FuxiCTR: FinalMLP and DCNv2 from the zoo of sequence models that its wheel carries, fed without its Ray loader.

Those take the visitor's history: his LONGEST_HISTORY newest clicked items of the training rows, strictly before the
row. Small: embeddings of 16, hidden layers (256, 128), Adam, batches of 512; the number of passes as in deep.py.
Published: what BARS, the zoo's own benchmark, chose for MovieLens, the public set most like ours, down to how it
stops: a pass that does not raise the validation AUC makes the step ten times smaller, two in a row end it, the best
pass is kept, and nothing is fitted again on all rows.
"""

from __future__ import annotations

import copy
import sys
import types
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import LONGEST_SET, Answer, Field, Table, log_loss, main
from sklearn.metrics import roc_auc_score

HIDDEN, MOST_PASSES = [256, 128], 6
MOST_PUBLISHED_PASSES, PATIENCE = 100, 2
LONGEST_HISTORY = 10
LABEL = "label"


@dataclass(frozen=True)
class Settings:
    """Of one variant; `more` are the model's own arguments."""

    model: str
    batch: int
    is_published: bool
    more: dict[str, Any]


SMALL = {"embedding_dim": 16, "embedding_regularizer": 1e-5}
# reczoo/BARS, ctr_prediction/benchmarks: FinalMLP_movielenslatest_x1_004_498f3e4f, DCNv2_movielenslatest_x1_001_98ea1c72.
PUBLISHED = {"embedding_dim": 10, "embedding_regularizer": 0.01, "learning_rate": 1e-3}
VARIANTS = {
    "finalmlp": Settings(
        "finalmlp",
        512,
        False,
        SMALL | {"mlp1_hidden_units": HIDDEN, "mlp2_hidden_units": HIDDEN, "num_heads": 2, "use_fs": False},
    ),
    "dcnv2": Settings("dcnv2", 512, False, SMALL | {"parallel_dnn_hidden_units": HIDDEN}),
    "finalmlp-published": Settings(
        "finalmlp",
        4_096,
        True,
        PUBLISHED
        | {"mlp1_hidden_units": [400], "mlp1_dropout": 0.4, "mlp1_batch_norm": True}
        | {"mlp2_hidden_units": [800], "mlp2_dropout": 0.2, "mlp2_batch_norm": True}
        | {"use_fs": True, "fs_hidden_units": [800], "num_heads": 10},
    ),
    "dcnv2-published": Settings(
        "dcnv2",
        4_096,
        True,
        PUBLISHED
        | {"parallel_dnn_hidden_units": [400, 400, 400], "num_cross_layers": 5}
        | {"net_dropout": 0.2, "batch_norm": True},
    ),
}


def fit(table: Table, variant: str, seed: int) -> Answer:
    """One of VARIANTS."""
    torch.set_num_threads(1)
    fields = table.fields()
    item = next(field for field in fields if field.name == (table.options["item"] or field.name))
    inputs = _Inputs(fields, item, _histories(table, item), table.y)
    settings = VARIANTS[variant]
    train = _as_published if settings.is_published else _as_tuned
    return train(
        settings, table, inputs, lambda: _build(settings, fields, item, seed), np.random.default_rng(seed)
    )


def _as_tuned(settings: Settings, table: Table, inputs: _Inputs, build: Any, rng: Any) -> Answer:
    """As many passes as are best on the validation rows, then anew over all rows."""
    held = table.validation
    older, newer = np.flatnonzero(~held), np.flatnonzero(held)
    model, losses = build(), []
    while len(losses) < MOST_PASSES and (len(losses) < 2 or losses[-1] < min(losses[:-1])):
        _pass(model, inputs, rng.permutation(older), settings.batch)
        losses.append(log_loss(_predict(model, inputs, newer), table.y[newer]))
    passes = int(np.argmin(losses)) + 1
    final = build()
    for _ in range(passes):
        _pass(final, inputs, rng.permutation(table.trained), settings.batch)
    told = {"passes": passes, "validation_log_loss": round(min(losses), 5)}
    return Answer(lambda rows: _predict(final, inputs, rows), told)


def _as_published(settings: Settings, table: Table, inputs: _Inputs, build: Any, rng: Any) -> Answer:
    """Until the validation AUC has not risen for PATIENCE passes; the best pass stays."""
    held = table.validation
    older, newer = np.flatnonzero(~held), np.flatnonzero(held)
    model = build()
    found: list[float] = []
    best, waited = copy.deepcopy(model.state_dict()), 0
    while len(found) < MOST_PUBLISHED_PASSES and waited < PATIENCE:
        _pass(model, inputs, rng.permutation(older), settings.batch)
        found.append(float(roc_auc_score(table.y[newer], _predict(model, inputs, newer))))
        if found[-1] > max(found[:-1], default=0.0):
            best, waited = copy.deepcopy(model.state_dict()), 0
        else:
            model.lr_decay()
            waited += 1
    model.load_state_dict(best)
    told = {
        "passes": len(found),
        "best_pass": int(np.argmax(found)) + 1,
        "validation_auc": round(max(found), 5),
    }
    return Answer(lambda rows: _predict(model, inputs, rows), told)


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


def _build(settings: Settings, fields: list[Field], item: Field, seed: int) -> Any:
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
    features.labels, features.default_emb_dim = [LABEL], settings.more["embedding_dim"]
    features.features = OrderedDict((field.name, _spec(field, field is item)) for field in fields)
    model = {"finalmlp": FinalMLP, "dcnv2": DCNv2}[settings.model](
        features,
        optimizer="adam",
        loss="binary_crossentropy",
        metrics=["logloss"],
        model_root=".",
        verbose=0,
        **settings.more,
    )
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


def _pass(model: Any, inputs: _Inputs, rows: Any, batch: int) -> None:
    model.train()
    for start in range(0, len(rows), batch):
        model.train_step(inputs.batch(rows[start : start + batch], labelled=True))


def _predict(model: Any, inputs: _Inputs, rows: Any) -> Any:
    model.eval()
    with torch.no_grad():
        parts = [
            model.forward(inputs.batch(rows[start : start + 4_096], labelled=False))["y_pred"]
            for start in range(0, len(rows), 4_096)
        ]
    return torch.cat(parts).numpy().ravel()


if __name__ == "__main__":
    main(fit, tuple(VARIANTS))
