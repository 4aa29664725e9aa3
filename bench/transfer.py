"""Does what one domain teaches help another? Public sets with texts, one encoder, visitors by what they had liked.

`ADPLATFORM_DATA=… python -m bench.transfer [sets…] [--visitors N] [--draws N] [--no-pretraining]`. For each set: the
matcher of another set as it is; from the others' trunk with a few rows of the set; from nothing with the same rows; with
all rows. And the same with a transformer trained on with the set's texts. One thread; settings are chosen on held-out
rows of what each row of the table is given, the test part is looked at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench.transfer_sets import DOMAINS, SEED, Domain
from ml.evaluation import metrics
from ml.schema import Floats, Ints, Vectors
from ml.text.bilinear import START_SCALE, Table
from ml.text.domains import Domains
from ml.text.encoder import Encoder, default_folder
from ml.text.matcher import Matcher
from ml.text.pretrain import Settings, pretrain
from ml.text.train import sigmoid, train_matcher
from ml.text.trunk import Sample, adapt, fit_domains

FEW = 1_000  # rows of the new domain
HELD = 0.2
DECAYS = (0.05, 0.5, 3.0)
BATCH = 256
PRETRAINED_TEXTS = 600


@dataclass(frozen=True)
class Result:
    """Log odds of a set's test rows, one array per draw of the few rows."""

    name: str
    draws: list[Floats]
    seconds: float


def main() -> int:
    """Print one table per set and what it says."""
    options = _options()
    root = os.environ.get("ADPLATFORM_DATA")
    if not root:
        print("ADPLATFORM_DATA must name the folder of the public sets", file=sys.stderr)
        return 2
    domains = {}
    for name in options.sets or list(DOMAINS):
        if name not in DOMAINS:
            print(f"no set {name}; there are {', '.join(DOMAINS)}", file=sys.stderr)
            return 2
        if (Path(root) / name).is_dir():
            domains[name] = DOMAINS[name](Path(root) / name, options.visitors)
        else:
            print(f"{name}: absent ({Path(root) / name})")
    torch.set_num_threads(1)
    started = time.process_time()
    encoder = Encoder.load(None, dtype="float32")
    tables = {name: domain.table(encoder.encode(domain.texts)) for name, domain in domains.items()}
    print(f"{sum(len(one.texts) for one in domains.values())} texts encoded in {_since(started)} CPU s")
    alone = {name: fit_domains({name: whole(domains[name], tables[name])}) for name in domains}
    joint = fit_domains({name: whole(domains[name], tables[name]) for name in domains})
    found = {}
    for name, domain in domains.items():
        found[name] = [
            *answers(name, domains, tables, alone, draws=options.draws),
            together(domain, tables[name], joint),
        ]
        print_table(domain, found[name], COMPARED)
    if not options.no_pretraining:
        for name, domain in domains.items():
            trained = with_pretraining(domain, pretrained_table(domain), draws=options.draws)
            print_table(domain, [*found[name], *trained], COMPARED_PRETRAINED, only=trained)
    print(f"{_since(0.0)} CPU s in all")
    return 0


def answers(
    name: str,
    domains: Mapping[str, Domain],
    tables: Mapping[str, Table],
    alone: Mapping[str, Domains],
    *,
    draws: int,
) -> list[Result]:
    """Every way to score a set's test rows."""
    domain, table = domains[name], tables[name]
    few = [few_rows(domain, table, seed) for seed in range(draws)]
    others = {other: whole(domains[other], tables[other]) for other in domains if other != name}
    found = [at_level(f"{other}'s, as it is", alone[other], domain, few) for other in others]
    if others:
        started = time.process_time()
        trunk = fit_domains(others)
        joint = time.process_time() - started
        found += [
            at_level("the others' trunk, as it is", trunk, domain, few),
            head_of("the others' trunk, 1,000 rows", trunk, domain, few),
            head_of("the others' trunk, all rows", trunk, domain, [whole(domain, table)]),
        ]
        found = [replace(one, seconds=one.seconds + joint) if "trunk" in one.name else one for one in found]
    found += [
        head_of("plain similarity, 1,000 rows", plain(table), domain, few),
        from_scratch("from scratch, 1,000 rows", domain, few),
        from_scratch("from scratch, all rows", domain, [whole(domain, table)]),
    ]
    return found


def together(domain: Domain, table: Table, joint: Domains) -> Result:
    """A head that was learned with those of all other sets."""
    return Result("all domains together", [score(joint.matcher(domain.name), domain, table)], 0.0)


def with_pretraining(domain: Domain, table: Table, *, draws: int) -> list[Result]:
    """What pays most of the above for one set alone, over vectors of the transformer trained on with its texts."""
    few = [few_rows(domain, table, seed) for seed in range(draws)]
    return [
        head_of("pre-trained: similarity, 1,000 rows", plain(table), domain, few),
        from_scratch("pre-trained: scratch, 1,000 rows", domain, few),
        from_scratch("pre-trained: scratch, all rows", domain, [whole(domain, table)]),
    ]


# --- samples ----------------------------------------------------------------------------------------------------------


def whole(domain: Domain, table: Table) -> Sample:
    """All rows before the test; the newest stop the training (drawn groups, where there is no time)."""
    rows = np.flatnonzero(~domain.test)
    order = domain.time[rows] + np.random.default_rng(SEED).random(len(rows)) * 1e-3
    return _parted(table, rows, order)


def few_rows(domain: Domain, table: Table, seed: int) -> Sample:
    """About a thousand rows before the test, drawn by chance; groups stay whole."""
    rng = np.random.default_rng([SEED, seed])
    rows = np.flatnonzero(~domain.test)
    key = rows if table.group is None else table.group[rows]
    names = rng.permutation(np.unique(key))
    place = np.empty(int(names.max()) + 1, dtype=np.int64)
    place[names] = np.arange(len(names))
    kept = np.sort(rows[np.argsort(place[key], kind="stable")][:FEW])
    return _parted(table, kept, rng.permutation(len(kept)).astype(np.float64))


def _parted(table: Table, rows: Ints, order: Floats) -> Sample:
    """The last fifth by order decides when to stop; a group is as late as its last row."""
    if table.group is not None:
        latest = np.full(int(table.group.max()) + 1, -np.inf)
        np.maximum.at(latest, table.group[rows], order)
        order = latest[table.group[rows]]
    late = order > np.quantile(order, 1 - HELD)
    return Sample(table, rows[~late], rows[late])


# --- ways to learn ----------------------------------------------------------------------------------------------------


def plain(table: Table) -> Domains:
    """What a matcher starts from that has learned nothing: scaled similarity."""
    return Domains(np.eye(table.V.shape[1], dtype=np.float32) * np.float32(START_SCALE), 0.0, {})


def at_level(name: str, domains: Domains, domain: Domain, few: list[Sample]) -> Result:
    """Another domain's matcher unchanged, but for the mean rate of the few rows."""
    started = time.process_time()
    found = []
    for sample in few:
        log_odds = score(domains.matcher(domain.name), domain, sample.table)
        every = np.concatenate([sample.train, sample.validation])
        learned = score_rows(domains.matcher(domain.name), sample.table, every)
        shift = _shift(learned, sample.table.y[every], sample.table.weight[every])
        found.append(log_odds + shift)
    return Result(name, found, _since(started))


def head_of(name: str, domains: Domains, domain: Domain, samples: list[Sample]) -> Result:
    """A head of the domain on a trunk."""
    started = time.process_time()
    found = [
        score(adapt(domains, domain.name, sample, seed=number).matcher(domain.name), domain, sample.table)
        for number, sample in enumerate(samples)
    ]
    return Result(name, found, _since(started) / len(samples))


def from_scratch(name: str, domain: Domain, samples: list[Sample]) -> Result:
    """The platform's matcher of this domain alone; its weight decay is chosen on the held-out rows."""
    started = time.process_time()
    found = [score(_scratch(sample), domain, sample.table) for sample in samples]
    return Result(name, found, _since(started) / len(samples))


def _scratch(sample: Sample) -> Matcher:
    table = sample.table
    rows = np.concatenate([sample.train, sample.validation])
    held = np.arange(len(rows)) >= len(sample.train)

    def fitted(decay: float, *, refit: bool) -> tuple[Matcher, float]:
        matcher, report = train_matcher(
            table.U,
            table.V,
            table.y[rows],
            u_index=table.u[rows],
            v_index=table.v[rows],
            weight=table.weight[rows],
            group=None if table.group is None else table.group[rows],
            validation=held,
            batch_size=BATCH,
            weight_decay=decay,
            refit=refit,
        )
        return matcher, min(report.validation_losses)

    losses = [fitted(decay, refit=False)[1] for decay in DECAYS]
    return fitted(DECAYS[int(np.argmin(losses))], refit=True)[0]


def pretrained_table(domain: Domain) -> Table:
    """The set's rows over vectors of the transformer trained on with texts of its training rows."""
    started = time.process_time()
    texts = domain.texts_to_learn()
    drawn = np.random.default_rng(SEED).permutation(len(texts))[:PRETRAINED_TEXTS].tolist()
    with tempfile.TemporaryDirectory() as folder:
        report = pretrain(
            default_folder(), [texts[row] for row in drawn], Path(folder), settings=Settings(epochs=2)
        )
        spent = _since(started)
        vectors: Vectors = Encoder.load(folder, dtype="float32").encode(domain.texts)
    print(
        f"\n{domain.name}: trained on with {report.texts} texts in {spent} CPU s; nats per held-out word "
        f"{report.losses[0]:.3f} at first, {report.frozen_loss:.3f} frozen, {report.best_loss:.3f} trained"
    )
    return domain.table(vectors)


# --- figures ----------------------------------------------------------------------------------------------------------


def score(matcher: Matcher, domain: Domain, table: Table) -> Floats:
    """Log odds of the test rows."""
    return score_rows(matcher, table, np.flatnonzero(domain.test))


def score_rows(matcher: Matcher, table: Table, rows: Ints) -> Floats:
    return matcher.score_pairs(table.U, table.V, table.u[rows], table.v[rows])


def _shift(log_odds: Floats, y: Floats, weight: Floats) -> float:
    """What to add so that predicted and observed clicks agree."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        if np.average(sigmoid(log_odds + middle) - y, weights=weight) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def print_table(
    domain: Domain,
    results: list[Result],
    compared: Sequence[tuple[str, str]],
    *,
    only: Sequence[Result] | None = None,
) -> None:
    """Figures of every result (or of some), and the differences that matter with their intervals."""
    rows = np.flatnonzero(domain.test)
    print(f"\n{domain.name} ({domain.kind}): {int((~domain.test).sum())} rows to learn, {len(rows)} to test")
    print(f"{'':<36}{'NE':>8}{'AUC':>8}{'pairs':>8}{'CPU s':>8}")
    for one in only or results:
        ne, auc, pairs = np.mean([_figures(domain, rows, draw) for draw in one.draws], axis=0)
        print(
            f"{one.name:<36}{ne:8.4f}{auc:8.4f}{'' if np.isnan(pairs) else f'{pairs:.4f}':>8}{one.seconds:8.1f}"
        )
    held = {one.name: one for one in results}
    for name, other in compared:
        if name in held and other in held:
            print(f"{name} less {other}: {_difference(domain, rows, held[name], held[other])}")


COMPARED = (
    ("the others' trunk, 1,000 rows", "from scratch, 1,000 rows"),
    ("the others' trunk, 1,000 rows", "plain similarity, 1,000 rows"),
    ("the others' trunk, 1,000 rows", "the others' trunk, as it is"),
    ("the others' trunk, all rows", "from scratch, all rows"),
    ("all domains together", "from scratch, all rows"),
)
COMPARED_PRETRAINED = (
    ("pre-trained: scratch, 1,000 rows", "from scratch, 1,000 rows"),
    ("pre-trained: similarity, 1,000 rows", "plain similarity, 1,000 rows"),
    ("pre-trained: scratch, all rows", "from scratch, all rows"),
)


def _figures(domain: Domain, rows: Ints, log_odds: Floats) -> tuple[float, float, float]:
    """NE, AUC, and for tests the share of right pairs."""
    p, y, weight = sigmoid(log_odds), domain.y[rows], domain.weight[rows]
    pairs = float("nan")
    if domain.name == "upworthy" and domain.group is not None:
        pairs = metrics.pairwise_accuracy(log_odds, y * weight, weight, domain.group[rows])[0]
    return metrics.normalised_entropy(p, y, weight), metrics.auc(p, y, weight), pairs


def _difference(domain: Domain, rows: Ints, one: Result, other: Result) -> str:
    """Mean difference of NE with 95 % over visitors, and in how many draws it is lower."""
    y, weight = domain.y[rows], domain.weight[rows]
    rate = np.average(y, weights=weight)
    base = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    losses = [
        np.array([metrics.row_losses(sigmoid(draw), y) for draw in result.draws]) / base
        for result in (one, other)
    ]
    mean, low, high = metrics.mean_interval(
        losses[0].mean(0) - losses[1].mean(0), domain.cluster[rows], weight
    )
    by_draw = np.average(losses[0] - losses[1], axis=1, weights=weight)
    return f"NE {mean:+.4f} [{low:+.4f}, {high:+.4f}], lower in {int((by_draw < 0).sum())} of {len(by_draw)} draws"


def _since(started: float) -> float:
    return round(time.process_time() - started, 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", help="all where none is named")
    parser.add_argument("--visitors", type=int, default=600)
    parser.add_argument("--draws", type=int, default=3, help="of the 1,000 rows")
    parser.add_argument("--no-pretraining", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
