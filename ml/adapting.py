"""`python -m ml adapt`: a transformer adapted to the clicks of one table, for `fit-predict --encoder FOLDER`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any


def add_command(commands: Any) -> None:
    """The words of the command."""
    adapt = commands.add_parser(
        "adapt",
        help="adapt the transformer to the clicks of a table",
        description="Learn low-rank adapters (LoRA) on --train and write the adapted transformer to --out, "
        "for fit-predict --encoder. Started again with the same words, an interrupted run goes on.",
    )
    adapt.add_argument("--train", type=Path, required=True, help="parquet or csv with outcomes")
    adapt.add_argument(
        "--out", type=Path, required=True, help="folder to write; holds the checkpoint meanwhile"
    )
    adapt.add_argument(
        "--text", nargs="+", required=True, metavar="COL", help="columns read by the transformer"
    )
    adapt.add_argument("--label", help="column of 0 and 1")
    adapt.add_argument("--clicks", help="column of click counts, instead of a label")
    adapt.add_argument("--impressions", help="column of impression counts")
    adapt.add_argument("--time", help="column of times: the newest rows stop the training")
    adapt.add_argument("--group", help="column of the test, slate or request whose rows compete")
    adapt.add_argument("--objective", choices=("conditional", "cross-entropy"), default="conditional")
    adapt.add_argument("--name", default="clicks", help="of the adapter, kept apart in OUT/adapters/NAME")
    adapt.add_argument("--encoder", help="folder of another transformer to start from")
    adapt.add_argument("--epochs", type=int, default=3, help="at most; the held-out rows may stop it earlier")
    adapt.add_argument("--batch", type=int, default=32, help="texts read at once")
    adapt.add_argument("--accumulate", type=int, default=2, help="batches that make a step")
    adapt.add_argument(
        "--negatives",
        type=int,
        default=0,
        help="non-clicks kept for each click, of the same group first (cross-entropy; 0: all)",
    )
    adapt.add_argument("--log", type=Path, metavar="FOLDER", help="where to write TensorBoard scalars")
    adapt.add_argument("--seed", type=int, default=0)
    adapt.add_argument("--json", action="store_true", help="print one JSON object")


def adapt(options: argparse.Namespace) -> dict[str, Any]:
    """Adapt, and say what it gained on the newest rows."""
    from ml.cli import meaning_of
    from ml.table.reading import TableError, read_rows
    from ml.table.texts import outcomes_by_text
    from ml.text.encoder import default_folder
    from ml.text.lora import CONDITIONAL, AdaptError, Settings
    from ml.text.lora import adapt as run

    meaning = meaning_of(options)
    if options.objective == CONDITIONAL and meaning.group is None:
        raise TableError("the conditional objective needs --group")
    rows = read_rows(options.train, options.train, meaning)
    started = time.process_time()
    deep = (1 / 3, 2 / 3) if options.objective == CONDITIONAL else (1.0,)
    settings = Settings(
        objective=options.objective,
        depths=deep,
        epochs=options.epochs,
        batch_texts=options.batch,
        accumulate=options.accumulate,
        negatives=options.negatives,
        seed=options.seed,
    )
    try:
        report = run(
            Path(options.encoder) if options.encoder else default_folder(),
            rows.texts,
            outcomes_by_text(rows),
            options.out,
            name=options.name,
            settings=settings,
            device=_device(),
            log_folder=options.log,
        )
    except AdaptError as error:
        raise TableError(str(error)) from error
    return {
        "frozen_loss": round(report.losses[0], 6),
        "adapted_loss": round(min(report.losses), 6),
        "best_step": report.best_step,
        "steps": report.steps,
        "train_seconds": round(time.process_time() - started, 3),
        "encoder": str(options.out),
    }


def _device() -> str:
    import torch

    torch.set_num_threads(1)
    return "cuda" if torch.cuda.is_available() else "cpu"
