"""What one policy's logs say of another's value, on the Open Bandit logs: `python -m bench.offpolicy`.

Reads the folder ADPLATFORM_DATA (open_bandit/{random,bts}_{all,men,women}.parquet) and says so where it is absent. The
judged policy's probabilities come from its own logs; what it earned there is the truth that the intervals must hold.

`python -m bench.offpolicy --coverage 200` counts how often 95 % intervals hold the truth of that many generated markets:
the platform's own way to explore logs, and a policy that knows more, so that weights are heavy.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "adplatform.settings")

import numpy as np


def log_of(path: Path):
    """One file as the report reads it."""
    import pandas as pd

    from adplatform.demo.datasets.open_bandit_report import Log

    table = pd.read_parquet(path, columns=["item_id", "position", "click", "propensity_score"])
    return Log(
        table["item_id"].to_numpy(np.int64),
        table["position"].to_numpy(np.int64) - 1,
        table["click"].to_numpy(np.float64),
        table["propensity_score"].to_numpy(np.float64),
    )


CANDIDATES, EPSILON, DRAWN = (
    8,
    0.05,
    0.6,
)  # of generated markets; DRAWN: share of auctions that take a posterior draw


def generated(seed: int, *, rows: int, level: float, knows: float):
    """(log, true value) of a policy that knows this share of the truth; `level`: mean logit of click rates."""
    from ml.evaluation.offpolicy import Logged

    rng = np.random.default_rng(seed)
    logit = rng.normal(level, 0.8, (rows, CANDIDATES))
    truth = 1 / (1 + np.exp(-logit))
    known = 0.3 * logit + 0.7 * level + rng.normal(0, 0.5, logit.shape)
    drawn = known[:, :, None] + 0.5 * rng.standard_normal((rows, CANDIDATES, 64))
    won = (drawn.argmax(axis=1)[:, None, :] == np.arange(CANDIDATES)[None, :, None]).mean(axis=2)
    chance = DRAWN * won + (1 - DRAWN) * np.eye(CANDIDATES)[known.argmax(axis=1)]
    propensity = (1 - EPSILON) * chance + EPSILON / CANDIDATES
    action = np.minimum((rng.random((rows, 1)) > propensity.cumsum(axis=1)).sum(axis=1), CANDIDATES - 1)
    reward = (rng.random(rows) < truth[np.arange(rows), action]).astype(np.float64)
    best = (knows * logit + (1 - knows) * known).argmax(axis=1)
    policy = (1 - EPSILON) * np.eye(CANDIDATES)[best] + EPSILON / CANDIDATES
    believed, row = 1 / (1 + np.exp(-known)), np.arange(rows)
    log = Logged(
        reward=reward,
        propensity=propensity[row, action],
        target=policy[row, action],
        cluster=row // 2,
        predicted=believed[row, action],
        expected=(policy * believed).sum(axis=1),
    )
    return log, float((policy * truth).sum(axis=1).mean())


MARKETS = {
    "3,500 rows, 11 % clicks": {"rows": 3_500, "level": -2.5, "knows": 1.0},
    "5,000 rows, 6 % clicks": {"rows": 5_000, "level": -3.2, "knows": 0.8},
    "6,000 rows, 2 % clicks": {"rows": 6_000, "level": -4.2, "knows": 0.9},
}
PERCENTILE, OURS = "percentile", "ours"


def coverage(markets: int) -> None:
    """Print how often intervals hold the truth, for our intervals and for percentiles alone."""
    from ml.evaluation import offpolicy

    for name, shape in MARKETS.items():
        sizes, held = [], {}
        for seed in range(markets):
            log, value = generated(seed, **shape)
            found = offpolicy.evaluate(log, least_ess=1.0, rounds=300)
            sizes.append(found.ess)
            weight = log.target / log.propensity
            parts = offpolicy._parts(log, weight, offpolicy.CLIP)
            for one in ("ips", "snips", "dr"):
                estimate = found.estimates[one]
                missed = offpolicy._missed(log.reward, parts[one])
                row = held.setdefault(one, [])
                row.append(
                    (estimate.low <= value <= estimate.high, estimate.low <= value <= estimate.high - missed)
                )
        print(
            f"{name}: {markets} markets, effective sample {np.quantile(sizes, [0.1, 0.5, 0.9]).round().tolist()}"
        )
        for one, row in held.items():
            ours, percentile = np.mean(row, axis=0)
            print(f"  {one:6} {OURS} {ours:.3f}  {PERCENTILE} alone {percentile:.3f}")


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument(
        "--coverage", type=int, default=0, help="so many generated markets instead of the logs"
    )
    markets = asked.parse_args().coverage
    if markets:
        started = time.process_time()
        coverage(markets)
        print(f"{time.process_time() - started:.1f} s of CPU")
        return 0
    import django

    django.setup()
    from adplatform.demo.datasets import open_bandit_report as report

    folder = Path(os.environ.get("ADPLATFORM_DATA", "")) / "open_bandit"
    if not (folder / "random_all.parquet").is_file():
        print(f"open_bandit: absent ({folder}); set ADPLATFORM_DATA to the folder that holds it")
        return 0
    started = time.process_time()
    figures = {}
    for site in ("all", "men", "women"):
        logs = {policy: log_of(folder / f"{policy}_{site}.parquet") for policy in ("random", "bts")}
        figures[site] = report.compare(logs["random"], logs["bts"])
    print("\n".join(report.lines(figures)))
    print(f"{time.process_time() - started:.1f} s of CPU")
    missed = [site for site, row in figures.items() if "snips" not in row["held_by"]]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
