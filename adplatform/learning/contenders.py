"""Simpler models beside the one that serves, each a function of the same raw numbers: for comparisons on known truth.

A contender maps the raw columns of ml.ctr.features.RAW, as a scorer builds them, to click probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from adplatform.learning import dataset
from adplatform.learning.scorer import prior_ctr
from adplatform.learning.served import Models
from ml.ctr import features
from ml.ctr.train import TrainingError, split_by_time, train_click_model
from ml.schema import Floats

Contender = Callable[[Mapping[str, Any]], Floats]
PRIOR, NO_TRANSFORMER, NO_BLENDER, FULL = "prior", "no transformer", "no blender", "full"
UNKNOWN_TEXT = -10.0  # logit of an ad without a text score, where nothing but text counts


def contenders(models: Models, *, until: datetime, seed: int = 0) -> dict[str, Contender]:
    """What serves ("full"), and what is left of it without the blender, without the transformer (trees grown on
    everything before `until` but the text), and without both."""
    blender = models.blender
    if blender is None:
        raise TrainingError("no blender serves yet, so that there is nothing to compare")
    log = dataset.build(until=until).log
    blind = train_click_model(log, split=split_by_time(log.time - until.timestamp()), seed=seed)

    def full(raw: Mapping[str, Any]) -> Floats:
        return blender.predict(features.build(raw))

    def no_transformer(raw: Mapping[str, Any]) -> Floats:
        nothing = np.full(len(raw["text_score"]), np.nan)
        X = features.build({**raw, "text_score": nothing})
        return blind.chosen.calibration.probabilities(blind.blender.log_odds(X))

    def no_blender(raw: Mapping[str, Any]) -> Floats:
        return np.asarray(1 / (1 + np.exp(-np.nan_to_num(raw["text_score"], nan=UNKNOWN_TEXT))), np.float64)

    def prior(raw: Mapping[str, Any]) -> Floats:
        return prior_ctr(raw, text_weight=0.0)

    return {PRIOR: prior, NO_TRANSFORMER: no_transformer, NO_BLENDER: no_blender, FULL: full}
