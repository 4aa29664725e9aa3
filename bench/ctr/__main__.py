"""Our click model against the field on public sets: `python -m bench.ctr [sets…] [--peers all|none|NAME…]`.

Reads ADPLATFORM_DATA and says which set is absent. Everybody gets the same rows; tables, answers and costs stay in
var/bench/ctr/<set>. docs/bench.md says how to read the output.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.ctr import environment, larger
from bench.ctr.contenders import DEEP, NOT_NORMAL_USE, PEERS_BY_NAME, PUBLISHED, Arena, Run, RunError, ours
from bench.ctr.judging import Judge
from bench.ctr.sets import SETS, Options, Prepared
from bench.ctr.table import Row, cost_line, table

BARS = {
    "movietweetings": 0.97,
    "online_retail_ii": 0.97,
    "nemig_nc": 1.0,
}  # our NE over the best peer's, at most


def main(words: list[str]) -> int:
    """A table per set; 1 where a set was wanted by name and is absent."""
    chosen = _parser().parse_args(words)
    root = os.environ.get("ADPLATFORM_DATA")
    if not root:
        print("set ADPLATFORM_DATA to the folder of the public data sets", file=sys.stderr)
        return 2
    wanted = _peers(chosen.peers)
    unknown = [name for name in chosen.sets if name not in SETS] + [
        n for n in wanted if n not in PEERS_BY_NAME
    ]
    if unknown:
        known = f"sets: {', '.join(SETS)}; peers: {', '.join(PEERS_BY_NAME)}"
        print(f"there is no {', '.join(unknown)} ({known})", file=sys.stderr)
        return 2
    absent = 0
    for name in chosen.sets or list(SETS):
        folder = Path(root) / name
        if folder.is_dir():
            _compare(SETS[name](folder), wanted, chosen)
        else:
            print(f"{name}: absent ({folder})")
            absent += bool(chosen.sets)
    return int(absent > 0)


def _compare(prepared: Prepared, wanted: list[str], chosen: argparse.Namespace) -> None:
    arena = Arena(prepared, environment.home() / "ctr" / prepared.name, reuse=chosen.reuse)
    judge = Judge(prepared)
    rows = {"prior": Row("prior", [_prior(prepared)])}
    for name in wanted:
        rows[name] = _peer(name, arena, prepared, chosen.seeds)
    if not chosen.only_peers:
        for name, (title, options) in ours(prepared.options).items():
            seeds = chosen.seeds if name == "ours" else 1
            rows[name] = _row(title, seeds, lambda seed, n=name, o=options: arena.ours(n, o, seed))
        if chosen.encoder and prepared.options.text:
            rows["ours-encoder"] = _other_encoder(chosen.encoder, arena, prepared.options)
    size = f"{len(prepared.train):,} rows to train, {len(prepared.test):,} to test"
    note = "" if prepared.has_bar else "; too few clicks to judge by"
    print(f"\n## {prepared.name}\n{size}{note}\n")
    print(table(list(rows.values()), judge))
    _remarks(prepared, rows, judge)
    sys.stdout.flush()


def _remarks(prepared: Prepared, rows: dict[str, Row], judge: Judge) -> None:
    """Intervals, segments, bars: what the table alone does not say."""
    mine = rows.get("ours")
    if mine is None or not mine.runs:
        return
    if prepared.options.clicks:
        print(
            "\nshares of right pairs ({:,} and {:,}), interval over tests:".format(*judge.number_of_pairs())
        )
        for row in rows.values():
            if row.runs:
                found = judge.pair_intervals(row.runs[0].probability)
                said = ", ".join(
                    f"{n} {a:.3f} [{low:.3f}, {high:.3f}]" for n, (a, low, high) in found.items()
                )
                print(f"- {row.title}: {said}")
    segments = judge.segments(mine.runs[0].probability)
    wrong = [f"{s.name} {s.ratio:.3f} ({s.expected:,.0f} expected)" for s in segments if not s.is_right]
    print(
        f"\ncalibration 0.9–1.1 in {len(segments) - len(wrong)} of {len(segments)} segments over 1,000 clicks",
        end="",
    )
    print(f"; outside: {', '.join(wrong)}" if wrong else "")
    _against(prepared, rows, judge)


def _against(prepared: Prepared, rows: dict[str, Row], judge: Judge) -> None:
    mine = rows["ours"]
    field = {n: r for n, r in rows.items() if r.runs and not n.startswith("ours") and n not in NOT_NORMAL_USE}
    if field:
        best = min(field.values(), key=lambda row: row.mean("ne", judge))
        ratio = mine.mean("ne", judge) / best.mean("ne", judge)
        print(
            f"NE {ratio:.3f} of the best peer's ({best.title}){_bar(prepared.name, ratio)}; log loss {_gap(mine, best, judge)}"
        )
    if rows.get("counters") and rows["counters"].runs:
        print(f"against tuned LightGBM with our counters: log loss {_gap(mine, rows['counters'], judge)}")
    for kind, names in (
        ("best deep peer", DEEP),
        ("best as published", PUBLISHED),
        ("best small one", [name for name in DEEP if name not in PUBLISHED]),
    ):
        deep = [rows[name] for name in names if name in rows and rows[name].runs]
        if deep:
            print(cost_line(mine, min(deep, key=lambda row: row.mean("ne", judge)), kind))


def _bar(name: str, ratio: float) -> str:
    return (
        f", {'within' if ratio <= BARS[name] else 'MISSES'} the bar of {BARS[name]}" if name in BARS else ""
    )


def _gap(mine: Row, other: Row, judge: Judge) -> str:
    mean, low, high = judge.difference(mine.runs[0].probability, other.runs[0].probability)
    return f"{mean:+.5f} [{low:+.5f}, {high:+.5f}]"


def _peer(name: str, arena: Arena, prepared: Prepared, seeds: int) -> Row:
    peer = PEERS_BY_NAME[name]
    lacking = peer.lacks(prepared.options)
    if lacking:
        return Row(peer.title, [], f"not applicable: {lacking}")
    python = Path(sys.executable) if peer.ours else environment.provide()
    return _row(peer.title, seeds if peer.is_random else 1, lambda seed: arena.peer(name, peer, seed, python))


def _other_encoder(name: str, arena: Arena, options: Options) -> Row:
    """Our row with the texts read by another transformer."""
    folder = str(larger.provide()) if name == larger.NAME else name
    return _row(
        f"ours, texts read by {Path(folder).name}",
        1,
        lambda seed: arena.ours("ours-encoder", options, seed, encoder=folder),
    )


def _row(title: str, seeds: int, run: Callable[[int], Run]) -> Row:
    try:
        return Row(title, [run(seed) for seed in range(seeds)])
    except RunError as error:
        return Row(title, [], f"absent: {error}")


def _prior(prepared: Prepared) -> Run:
    """The click rate of the training rows, the newest where the set names validation weeks."""
    train, options = prepared.train, prepared.options
    if prepared.validate_from is not None and options.time:
        train = train[train[options.time] >= prepared.validate_from]
    if options.label:
        rate = float(train[options.label].mean())
    else:
        rate = float(train[options.clicks].sum() / train[options.impressions].sum())
    return Run(np.full(len(prepared.test), rate), {})


def _peers(words: list[str]) -> list[str]:
    return {"all": list(PEERS_BY_NAME), "none": []}.get(words[0], words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.ctr", description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--peers", nargs="+", default=["all"], metavar="NAME", help="all, none, or names")
    parser.add_argument("--seeds", type=int, default=3, help="runs of a model that draws chance (3)")
    parser.add_argument(
        "--reuse", action="store_true", help="keep peers' answers of an earlier run on equal data"
    )
    parser.add_argument(
        "--encoder",
        metavar="FOLDER",
        help=f"one row more: texts read by another sentence transformer ({larger.NAME}: fetched)",
    )
    parser.add_argument("--only-peers", action="store_true", help="leave our own rows out")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
