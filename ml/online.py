"""Learn from the stream: how likely an arm (a creative, a headline) is clicked, and how sure that is.

Each arm starts at what a model says of it before anybody saw it, its text prior, counted as `strength` impressions,
and moves with every impression and click. Arms of one group (a line item, a test) share how much their clicks exceed
their priors, since a text model orders arms better than it knows their level:

    lift    (Σ clicks + g) / (Σ n·p + g)        of the group; g clicks, all as expected, to start with
    rate    (clicks + s·p·lift) / (n + s)       mean of the Beta posterior
    sd      1 / √((n + s)·rate·(1 − rate))      of its logit, by Fisher's information, at most MOST_SD

The state are sums, so that events may come in any order and any number at once, and live counters are the state.
How many impressions a prior is worth is fitted: the strength under which what came later was most likely (the
beta-binomial likelihood), kept only if it also wins on what came later still.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.schema import Floats, Ints

MOST_SD = 1.0  # an ad that nobody has seen: its odds within a factor of e, two times in three
STRENGTHS = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0)
LATER_SHARE = 1 / 3
LEAST_RATE = 1e-6


@dataclass(frozen=True)
class Belief:
    """How much predictions are believed: impressions that one is worth, and clicks that the level of a group is."""

    strength: float = 100.0
    group_strength: float = 15.0


DEFAULT = Belief()


def posterior_sd(
    impressions: Floats, rate: Floats, belief: Belief = DEFAULT, *, most: float = MOST_SD
) -> Floats:
    """Standard deviation of logit(rate) after so many impressions of the arm."""
    information = (impressions + belief.strength) * rate * (1 - rate)
    sd: Floats = np.minimum(most, 1 / np.sqrt(np.maximum(information, 1e-9)))
    return sd


class Posteriors:
    """What is known of arms; `prior` are a model's probabilities, `group` says which arms share a level."""

    def __init__(self, prior: Floats, *, group: Ints | None = None, belief: Belief = DEFAULT) -> None:
        self.prior = np.clip(prior, LEAST_RATE, 1 - LEAST_RATE)
        self.group = np.arange(len(prior)) if group is None else group
        self.belief = belief
        self.impressions = np.zeros(len(prior))
        self.clicks = np.zeros(len(prior))

    def observe(self, arm: Ints, impressions: Floats, clicks: Floats) -> None:
        """Add what came of these arms; one arm may come several times."""
        np.add.at(self.impressions, arm, impressions)
        np.add.at(self.clicks, arm, clicks)

    def lifts(self) -> Floats:
        """By arm, how many times its prior the arms of its group are clicked; 1 where an arm is alone."""
        size = int(self.group.max(initial=-1)) + 1
        extra = self.belief.group_strength
        clicks = np.bincount(self.group, weights=self.clicks, minlength=size)
        expected = np.bincount(self.group, weights=self.impressions * self.prior, minlength=size)
        is_shared = np.bincount(self.group, minlength=size) > 1
        lift = np.where(is_shared, (clicks + extra) / (expected + extra), 1.0)
        return np.asarray(lift[self.group], np.float64)

    def rates(self) -> Floats:
        """Posterior means."""
        start = np.minimum(self.prior * self.lifts(), 0.9)
        strength = self.belief.strength
        return np.asarray((self.clicks + strength * start) / (self.impressions + strength), np.float64)

    def sd(self) -> Floats:
        """Standard deviations of the posterior logits."""
        return posterior_sd(self.impressions, self.rates(), self.belief)


@dataclass(frozen=True)
class Trials:
    """What came later, by arm (or arm and day): the prediction before, how often the arm had been seen by then, and the
    impressions and clicks after it."""

    rate: Floats
    seen: Floats
    impressions: Floats
    clicks: Floats
    time: Floats

    def __len__(self) -> int:
        return len(self.rate)

    def where(self, rows: Ints) -> Trials:
        """These rows."""
        return Trials(
            self.rate[rows], self.seen[rows], self.impressions[rows], self.clicks[rows], self.time[rows]
        )


@dataclass(frozen=True)
class Fitted:
    """A belief, and (mean, standard error) of the log likelihood per row that it gains on the default, later."""

    belief: Belief
    gain: tuple[float, float]
    rows: int
    is_kept: bool


def log_likelihood(trials: Trials, belief: Belief) -> Floats:
    """ln of the beta-binomial probability of each row's clicks, without the binomial coefficient."""
    from scipy.special import betaln

    worth = trials.seen + belief.strength
    rate = np.clip(trials.rate, LEAST_RATE, 1 - LEAST_RATE)
    a, b = worth * rate, worth * (1 - rate)
    found: Floats = betaln(a + trials.clicks, b + trials.impressions - trials.clicks) - betaln(a, b)
    return found


def fit(trials: Trials, default: Belief = DEFAULT) -> Fitted:
    """The belief of greatest likelihood on the earlier two thirds of time; the default, unless it loses on the rest by
    two standard errors."""
    nothing = Fitted(default, (0.0, 0.0), len(trials), is_kept=False)
    if len(trials) < 2:
        return nothing
    cut = np.quantile(trials.time, 1 - LATER_SHARE)
    earlier, later = np.flatnonzero(trials.time < cut), np.flatnonzero(trials.time >= cut)
    if len(earlier) == 0 or len(later) < 2:
        return nothing
    past, rest = trials.where(earlier), trials.where(later)
    options = [Belief(strength, default.group_strength) for strength in STRENGTHS]
    best = max(options, key=lambda one: float(log_likelihood(past, one).sum()))
    more = log_likelihood(rest, best) - log_likelihood(rest, default)
    mean, error = float(more.mean()), float(more.std() / len(more) ** 0.5)
    is_kept = mean > 2 * error
    return Fitted(best if is_kept else default, (mean, error), len(trials), is_kept)
