"""What one policy's logs say of another's value, on the Open Bandit logs: `python -m bench.offpolicy`.

Reads the folder ADPLATFORM_DATA (open_bandit/{random,bts}_{all,men,women}.parquet) and says so where it is absent. The
judged policy's probabilities come from its own logs; what it earned there is the truth that the intervals must hold.
"""

from __future__ import annotations

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


def main() -> int:
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
