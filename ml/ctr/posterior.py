"""How sure a click probability is: a posterior per creative on the logit, for exploration and for intervals.

The counters' prior says as much as CREATIVE_STRENGTH impressions; n impressions at probability p carry n·p·(1−p)
of information about the logit (Fisher), so that sd = 1 / √((n + strength)·p·(1−p)).
"""

from __future__ import annotations

import numpy as np

from ml.ctr.counters import CREATIVE_STRENGTH
from ml.schema import Floats

MOST_SD = 1.0  # an ad that nobody has seen: its odds within a factor of e, two times in three


def posterior_sd(
    impressions: Floats, pctr: Floats, *, strength: float = CREATIVE_STRENGTH, most: float = MOST_SD
) -> Floats:
    """Standard deviation of logit(pctr) after so many impressions of the creative."""
    information = (impressions + strength) * pctr * (1 - pctr)
    sd: Floats = np.minimum(most, 1 / np.sqrt(np.maximum(information, 1e-9)))
    return sd


def posterior(
    impressions: Floats, clicks: Floats, pctr: Floats, *, strength: float = CREATIVE_STRENGTH
) -> tuple[Floats, Floats]:
    """(mean, sd) of the creative's logit: the model's probability, counted as `strength` impressions, and its clicks."""
    p = (clicks + strength * pctr) / (impressions + strength)
    return np.log(p) - np.log1p(-p), posterior_sd(impressions, p, strength=strength)
