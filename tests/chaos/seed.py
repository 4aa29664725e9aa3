"""The market that the chaos tests run on, made in a process that sees their servers: `python -m tests.chaos.seed`.

Prints the slots' public ids as JSON. A third of the campaigns can pay for a few events only, so that budgets run out
under load; the blender is small and real, so that there is something to step down from.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import django

ADVERTISERS, SLOTS = 24, 6
LANDING = "https://shop.example/offer"
SPAN = ("2026-06-01T00:00:00+00:00", "2026-06-15T00:00:00+00:00")


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "adplatform.settings"
    django.setup()
    from adplatform.core import clock, outbox
    from tests import factories
    from tests.serving import market as m

    for number in range(ADVERTISERS):
        is_small, by_click = number % 3 == 0, number % 2 == 0
        bid = 300_000 if by_click else 3_000_000 + 100_000 * number
        m.ad(
            campaign={
                "bid_strategy": "manual_cpc" if by_click else "manual_cpm",
                "daily_budget_micros": (1_500_000 if by_click else 60_000) if is_small else 500_000_000,
            },
            line_item={"bid_micros": bid, "pacing": "asap"},
            landing_url=LANDING,
        )
    slots = [m.slot(site_=factories.site(), floor_micros=0) for _ in range(SLOTS)]
    promote_a_blender()
    outbox.write("snapshot")
    print(json.dumps([slot.public_id for slot in slots]), clock.now().isoformat())


def promote_a_blender() -> None:
    """Trees over noise, registered and promoted as a training run would."""
    import numpy as np

    from adplatform.core import clock
    from adplatform.learning import registry, trial
    from ml import artifacts
    from ml.ctr import compile as compiler
    from ml.ctr.blender import train_blender
    from ml.ctr.calibration import Calibration
    from ml.ctr.features import SCHEMA

    X = np.tile(trial.rows(), (20, 1))
    y = (np.nan_to_num(X[:, 0]) > 4.0).astype(float)
    blender = train_blender(X, y, time_order=np.arange(len(X)), most_trees=30)
    draft: Path = registry.draft_folder("blender")
    files = [
        compiler.compile_blender(blender, draft),
        Calibration("level", (0.0,)).save(draft),
        blender.save(draft),
    ]
    artifacts.write(draft, kind="blender", files=files, metrics={}, schema=SCHEMA, seed=1, data_range=SPAN)
    made = registry.register(kind="blender", draft=draft, at=clock.now(), run=None, encoder="", metrics={})
    registry.promote(made, at=clock.now())


if __name__ == "__main__":
    main()
