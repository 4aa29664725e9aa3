"""The jobs that learn: vectors, training, picks. Heavy libraries load inside, in the worker's child."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery import shared_task

from adplatform.jobs.acting import ActsFor
from adplatform.jobs.registry import Outcome, Progress, job


@job(
    "embed_creatives",
    title="Encode ads and sites",
    queue="gpu",
    description="Gives every ad and site whose text is new its transformer vector.",
)
def embed_creatives(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import profiles

    done = profiles.embed_creatives(at, dry_run=dry_run)
    verb = "Would encode" if dry_run else "Encoded"
    words = f"{verb} {done.encoded:,} new texts of {done.texts:,}."
    if done.foreign:
        words += f" {done.foreign:,} ads are in a language that the encoder does not speak: they have no text score."
    return Outcome(words, {"encoded": done.encoded, "texts": done.texts, "foreign": done.foreign})


@job(
    "embed_visitors",
    title="Rebuild visitor profiles",
    queue="gpu",
    description="Profiles of consenting visitors who read, bought or clicked something since.",
)
def embed_visitors(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import profiles

    done = profiles.embed_visitors(at, progress, dry_run=dry_run)
    verb = "Would rebuild" if dry_run else "Rebuilt"
    words = f"{verb} {done.updated:,} of {done.visitors:,} profiles."
    if done.removed:
        words += f" {done.removed:,} were removed with their visitors' consent."
    return Outcome(words, {"updated": done.updated, "removed": done.removed, "visitors": done.visitors})


@job(
    "examine_data",
    title="Examine the data",
    queue="gpu",
    description="Looks for repeats, bots, impossible times, leaks and drift in what the next training will read.",
)
def examine_data(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import dataset, quality

    report = quality.examine(dataset.build(until=slot), at=slot)
    if not dry_run:
        quality.keep(report, at=slot)
    remarks = sum(one.severity != "ok" for one in report.findings)
    counts = {"rows": report.rows, "remarks": remarks, "refusals": len(report.refusals)}
    return Outcome(quality.words(report), counts)


@job(
    "rate_creatives",
    title="Rate ads",
    queue="gpu",
    description="Learns from the labels of operators which ads need a look, for the order of the review queue.",
)
def rate_creatives(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import annotation

    done = annotation.rate(at=at, dry_run=dry_run)
    return Outcome(done.words, {"labels": done.labels, "rated": done.rated})


@job(
    "train",
    title="Train the models",
    queue="gpu",
    description="Trains matcher and blender, compares them with what serves, promotes or refuses.",
    limit_seconds=7_200,
)
def train(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import export, services

    if dry_run:
        rows = len(export.training_log(until=slot))
        return Outcome(
            f"Would train on {rows:,} impressions served before {slot:%Y-%m-%d %H:%M}.", {"rows": rows}
        )
    result = services.train(at=slot, progress=progress)
    counts = {"rows": result.run.rows, "models": len(result.versions), "promoted": int(result.is_promoted)}
    return Outcome(result.verdict, counts)


@job(
    "tune",
    title="Search for parameters",
    queue="gpu",
    description="Tries tree parameters for the blender within a budget; the next training uses what beats the defaults.",
    limit_seconds=7_200,
)
def tune(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import export, search

    budget = search.Budget()
    if dry_run:
        rows = len(export.training_log(until=slot))
        words = f"Would try {budget.trials} sets of parameters in {budget.seconds / 60:.0f} minutes at most"
        return Outcome(
            f"{words}, on {rows:,} impressions served before {slot:%Y-%m-%d %H:%M}.", {"rows": rows}
        )
    run = search.tune(at=slot, budget=budget, progress=progress)
    counts = {"rows": run.rows, "trials": run.trials.count(), "kept": int(run.is_kept)}
    return Outcome(run.verdict, counts)


@job(
    "watch_canary",
    title="Watch the canary",
    description="Compares the models that answer a share of the traffic with the champion; stops them when they are worse.",
)
def watch_canary(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import canary

    found = canary.watch(at=at, dry_run=dry_run)
    return Outcome(found.words, {"stopped": int(found.is_stopped)})


@job(
    "score_shadow",
    title="Score in the shadow",
    description="Lets a shadow predict for the ads that the champion showed, and compares both on the clicks.",
)
def score_shadow(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import shadow

    done = shadow.score(at=at, dry_run=dry_run)
    return Outcome(done.words, {"predictions": done.predictions})


@job(
    "refresh_engines",
    title="Refresh the engines",
    queue="gpu",
    description="Co-visitation, factors and likeness of content from what visitors did; says whether they help to retrieve.",
)
def refresh_engines(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import engine_trials

    done = engine_trials.refresh(at=slot, dry_run=dry_run)
    counts = {"acts": done.acts, "items": done.items, "visitors": done.visitors, "used": int(done.is_used)}
    return Outcome(done.verdict, counts)


@job(
    "learn_beliefs",
    title="Learn how sure predictions are",
    description="How many impressions a prediction is worth, from what was predicted and clicked: exploration draws by it.",
)
def learn_beliefs(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import beliefs

    done = beliefs.learn(at=slot, dry_run=dry_run)
    counts = {"rows": done.row.rows, "clicks": done.row.clicks, "kept": int(done.row.is_kept)}
    return Outcome(done.words, counts)


@job(
    "score",
    title="Pick ads for every visitor",
    description="The transformer retrieves, the blender ranks: the ten best ads of each consenting visitor.",
    limit_seconds=7_200,
)
def score(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.audience import queries
    from adplatform.learning import picks, scoring

    if dry_run:
        counts = {"visitors": queries.consented(at).count(), "ads": len(picks.servable(at))}
        return Outcome("Would pick for {visitors:,} visitors out of {ads:,} ads.".format(**counts), counts)
    done = scoring.score(at=at, progress=progress)
    return Outcome(
        done.words(), {"visitors": done.visitors, "ads": done.ads, "pairs": done.pairs, "picks": done.picks}
    )


@job(
    "explain_ads",
    title="Explain why ads are seen",
    description="What moved the click probability of each line item's ads over its newest decisions, for its advertiser.",
)
def explain_ads(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import influence

    done = influence.compute(at=slot, progress=progress, dry_run=dry_run)
    counts = {"line_items": done.line_items, "told": done.told}
    verb = (
        "Would look at {line_items:,} line items."
        if dry_run
        else "Told of {told:,} of {line_items:,} line items."
    )
    return Outcome(verb.format(**counts), counts)


@job(
    "find_similar",
    title="Find similar ads",
    description="Compares the texts of all ads, sums up how categories do, and suggests categories where none is named.",
)
def find_similar(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.learning import benchmarks, similar, suggestions

    done = similar.compute(at=at, dry_run=dry_run)
    counts = {
        "ads": done.ads,
        "compared": done.compared,
        "benchmarks": benchmarks.compute(at=at, dry_run=dry_run),
        "suggestions": suggestions.compute(at=at, dry_run=dry_run),
    }
    verb = "Would compare" if dry_run else "Compared"
    words = (
        "{compared:,} of {ads:,} ads; {benchmarks:,} benchmarks, {suggestions:,} suggestions of categories."
    )
    return Outcome(f"{verb} {words.format(**counts)}", counts)


def _score_shard(*, run: str, number: int, first: int, last: int, at: str, **_: object) -> None:
    """One range of visitors of a `score` run; running it again changes nothing."""
    from adplatform.learning import scoring

    scoring.run_shard(run, scoring.Shard(number, first, last), datetime.fromisoformat(at))


score_shard: Any = shared_task(name="score_shard", acts_for=ActsFor.PLATFORM)(_score_shard)
