"""What the pages of models say: figures beside their baselines, what the gate measured, cards as facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.learning.models import ModelVersion, SearchRun, SearchTrial

Stage = ModelVersion.Stage
TONES = {
    Stage.CHAMPION: "ok",
    Stage.CHALLENGER: "learn",
    Stage.SHADOW: "learn",
    Stage.CANARY: "warn",
    Stage.REFUSED: "bad",
    Stage.RETIRED: "paused",
}
DIGITS = 4
MEASURES = {
    "ne": gettext_lazy("Normalised entropy"),
    "log_loss": gettext_lazy("Log loss"),
    "auc": gettext_lazy("AUC"),
    "calibration": gettext_lazy("Calibration"),
    "ece": gettext_lazy("Calibration error"),
    "precision": gettext_lazy("Precision"),
    "recall": gettext_lazy("Recall"),
}
ELSEWHERE = {
    "name",
    "kind",
    "limits",
    "newest_day",
    "simpler",
    "own_metrics",
    "offpolicy",
}  # on a card's page
MODELS = {
    "challenger": gettext_lazy("Challenger"),
    "champion": gettext_lazy("Champion before"),
    "prior": gettext_lazy("Prior alone"),
    "train": gettext_lazy("Rows that it learned from"),
    "validation": gettext_lazy("Validation day"),
    "no_transformer": gettext_lazy("Without the transformer"),
    "no_blender": gettext_lazy("Without the blender"),
    "rate": gettext_lazy("Smoothed rate"),
    "model": gettext_lazy("Model of text, device and site"),
}
CALIBRATIONS = {
    "none": gettext_lazy("As the trees say"),
    "level": gettext_lazy("One level"),
    "platt": gettext_lazy("Slope and level (Platt)"),
    "beta": gettext_lazy("Two slopes and a level (beta)"),
    "segments": gettext_lazy("A level per campaign and slot"),
    "isotonic": gettext_lazy("Any rising function (isotonic)"),
}


@dataclass(frozen=True, slots=True)
class Table:
    """Models by measures; `rows` are (version, words, cells)."""

    title: str
    measures: list[str]
    rows: list[tuple[str, str, list[float | None]]]


def numbers(metrics: dict[str, Any]) -> list[tuple[str, float]]:
    """The measures of a model card, in their order."""
    return [(str(words), metrics[name]) for name, words in MEASURES.items() if metrics.get(name) is not None]


def tables(metrics: dict[str, Any]) -> list[Table]:
    """A run's figures beside those of the champion, the prior and simpler models, each group on the same rows."""
    newest = {name: metrics.get(name) for name in ("challenger", "champion", "prior")}
    found = [
        _table(_("On the newest day"), newest),
        _table(_("Simpler models"), metrics.get("compared") or {}),
    ]
    return [table for table in found if table.rows]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A calibration as it did on the newer half of the validation day; `saved` beside `beside`, which had won till then."""

    words: str
    is_chosen: bool
    parameters: int
    log_loss: float | None
    calibration: float | None
    saved: str
    beside: str


def calibrations(found: Mapping[str, Any]) -> list[Candidate]:
    """The candidates from the simplest on, whatever order the database kept them in."""
    figures = found.get("candidates") or {}
    return [
        Candidate(
            words=str(words),
            is_chosen=name == found.get("chosen"),
            parameters=figures[name].get("parameters") or 0,
            log_loss=figures[name].get("log_loss"),
            calibration=figures[name].get("calibration"),
            saved=with_interval(figures[name].get("saved"), digits=5),
            beside=str(CALIBRATIONS.get(figures[name].get("beside"), "")),
        )
        for name, words in CALIBRATIONS.items()
        if name in figures
    ]


def conversion_facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How many clicks and conversions there were, and how long conversions took."""
    judged = found.get("judged") or {}
    counts = [
        (_("Clicks"), found.get("clicks")),
        (_("Conversions"), found.get("conversions")),
        (_("Clicks that judged"), judged.get("clicks")),
        (_("Conversions among them"), judged.get("conversions")),
    ]
    facts_ = [(words, number_format(count, 0)) for words, count in counts if count is not None]
    if (delay := found.get("delay_seconds")) is not None:
        facts_.append(
            (_("Mean time to a conversion"), _("%(hours)s hours") % {"hours": f"{delay / 3_600:.1f}"})
        )
    return facts_


def conversion_tables(found: Mapping[str, Any]) -> list[Table]:
    """Both ways to predict a conversion on the newest clicks, where they were compared."""
    compared = _table(_("On the newest clicks"), {name: found.get(name) for name in ("rate", "model")})
    return [compared] if compared.rows else []


def card_facts(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a card says in words; its figures stand in `card_tables`, its limits in a list of their own."""
    return facts({name: value for name, value in card.items() if name not in ELSEWHERE})


def card_tables(card: Mapping[str, Any]) -> list[Table]:
    """A card's figures: on the newest day, of simpler models, of the parts that it was fitted on."""
    found = [
        _table(_("On the newest day"), card.get("newest_day") or {}),
        _table(_("Simpler models"), card.get("simpler") or {}),
        _table(_("While it was trained"), card.get("own_metrics") or {}),
    ]
    return [table for table in found if table.rows]


def _table(title: str, group: dict[str, Any]) -> Table:
    models = {name: figures for name, figures in group.items() if isinstance(figures, dict)}
    measures = [
        name for name in MEASURES if any(figures.get(name) is not None for figures in models.values())
    ]
    rows = [
        (
            figures.get("name") or "",
            str(MODELS.get(name, name)),
            [figures.get(measure) for measure in measures],
        )
        for name, figures in models.items()
    ]
    return Table(title, [str(MEASURES[name]) for name in measures], rows)


def gate_facts(gate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the gate measured on the newest day, each with its 95 % interval."""
    found = []
    if gate.get("impressions") is not None:
        found.append((_("Judged on"), _("%(n)s impressions") % {"n": number_format(gate["impressions"], 0)}))
    if gate.get("clicks") is not None:
        found.append((_("Clicks among them"), number_format(gate["clicks"], 0)))
    for name, words, digits in (
        ("loss_difference", _("Log loss per impression beside the champion"), 5),
        ("calibration", _("Calibration"), 3),
    ):
        if interval := with_interval(gate.get(name), digits=digits):
            found.append((words, interval))
    if "harmed" in gate:
        found.append((_("Segments harmed"), ", ".join(gate["harmed"]) or _("none")))
    return found


def off_policy(found: Any) -> tuple[list[tuple[str, str, str]], str]:
    """(model, estimator, value with interval) of each estimate, and why there is none."""
    if not isinstance(found, Mapping):
        return [], ""
    if "estimates" in found:
        found = {"challenger": found, "refusal": found.get("refusal")}
    rows = [
        (str(MODELS.get(model, model)), name.replace("_", " "), interval)
        for model, one in found.items()
        if isinstance(one, Mapping)
        for name, value in (one.get("estimates") or {}).items()
        if (interval := with_interval(value, digits=5))
    ]
    return rows, str(found.get("refusal") or "")


def with_interval(value: Any, *, digits: int) -> str:
    """“0.981 (0.962 to 1.003)” of a triple or of a value with low and high; empty for anything else."""
    if isinstance(value, Mapping):
        value = [value.get(name) for name in ("value", "low", "high")]
    if (
        not isinstance(value, list | tuple)
        or len(value) != 3
        or not all(isinstance(one, float | int) for one in value)
    ):
        return ""
    middle, low, high = (f"{one:.{digits}f}" for one in value)
    return _("%(middle)s (%(low)s to %(high)s)") % {"middle": middle, "low": low, "high": high}


def facts(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A model card as pairs of words, nested parts under their own names."""
    for name, value in card.items():
        words = name.replace("_", " ").capitalize()
        if isinstance(value, Mapping):
            yield from ((f"{words}: {inner.lower()}", text) for inner, text in facts(value))
        elif text := _text(value):
            yield words, text


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(text for one in value if (text := _text(one)))
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Search:
    """One search for parameters as the page shows it; `spent` seconds, `best` the lowest complete entropy."""

    run: SearchRun
    trials: int
    stopped_early: int
    spent: float
    best: float | None
    parameters: list[tuple[str, str]]


def search_line(run: SearchRun) -> Search:
    trials = list(run.trials.all())
    complete = [one.value for one in trials if one.state == SearchTrial.State.COMPLETE]
    return Search(
        run=run,
        trials=len(trials),
        stopped_early=len(trials) - len(complete),
        spent=sum(one.seconds for one in trials),
        best=min(complete, default=None),
        parameters=list(facts(run.parameters)),
    )
