"""`python -m ml pretrain`: a transformer trained on with the texts of a table, for `fit-predict --encoder FOLDER`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any


def add_command(commands: Any) -> None:
    """The words of the command."""
    pretrain = commands.add_parser(
        "pretrain",
        help="train the transformer on with the texts of a table, without outcomes",
        description="Let the transformer guess masked words of --texts and write it to --out, for "
        "fit-predict --encoder. Started again with the same words, an interrupted run goes on.",
    )
    pretrain.add_argument("--texts", type=Path, required=True, help="parquet or csv")
    pretrain.add_argument(
        "--text", nargs="+", required=True, metavar="COL", help="columns to read, each a text"
    )
    pretrain.add_argument(
        "--out", type=Path, required=True, help="folder to write; holds the checkpoint meanwhile"
    )
    pretrain.add_argument("--encoder", help="folder of another transformer to start from")
    pretrain.add_argument("--epochs", type=int, default=3, help="at most; held-out texts may stop it earlier")
    pretrain.add_argument("--batch", type=int, default=32, help="texts read at once")
    pretrain.add_argument("--accumulate", type=int, default=1, help="batches that make a step")
    pretrain.add_argument("--rate", type=float, default=5e-5, help="learning rate of the transformer")
    pretrain.add_argument("--log", type=Path, metavar="FOLDER", help="where to write TensorBoard scalars")
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.add_argument("--json", action="store_true", help="print one JSON object")


def pretrain(options: argparse.Namespace) -> dict[str, Any]:
    """Train on, and say how much better held-out words are guessed."""
    import torch

    from ml.table.reading import TableError, read_columns
    from ml.text.encoder import default_folder
    from ml.text.pretrain import PretrainError, Settings
    from ml.text.pretrain import pretrain as run

    torch.set_num_threads(1)
    frame = read_columns(options.texts, options.text)
    texts = [str(text) for name in options.text for text in frame[name].dropna().tolist()]
    started = time.process_time()
    settings = Settings(
        epochs=options.epochs,
        batch_texts=options.batch,
        accumulate=options.accumulate,
        rate=options.rate,
        seed=options.seed,
    )
    try:
        report = run(
            Path(options.encoder) if options.encoder else default_folder(),
            texts,
            options.out,
            settings=settings,
            device="cuda" if torch.cuda.is_available() else "cpu",
            log_folder=options.log,
        )
    except PretrainError as error:
        raise TableError(str(error)) from error
    return {
        "texts": report.texts,
        "frozen_loss": round(report.frozen_loss, 6),
        "trained_loss": round(report.best_loss, 6),
        "best_step": report.best_step,
        "steps": report.steps,
        "train_seconds": round(time.process_time() - started, 3),
        "encoder": str(options.out),
    }
