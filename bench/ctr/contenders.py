"""Who competes on a set, and running one of them: a process of its own, one thread, its answer kept in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.ctr.environment import PEERS, ROOT
from bench.ctr.sets import Options, Prepared

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class RunError(Exception):
    """A contender failed; the message is its last line."""


@dataclass(frozen=True)
class Peer:
    """A script of bench/peers. `needs`: "columns" other than text, "history" of somebody, or "text"."""

    title: str
    script: str
    variant: str
    needs: str
    is_random: bool = True
    ours: bool = False  # runs in the platform's environment, since it uses ml

    def lacks(self, options: Options) -> str | None:
        """Why it cannot run on such a set."""
        columns = options.user or options.item or options.categorical or options.numeric
        if self.needs == "text" and not options.text:
            return "no text"
        if self.needs == "columns" and not columns:
            return "takes no text, and there is nothing else"
        if self.needs == "history" and not (options.user or options.item):
            return "no history"
        return None


PEERS_BY_NAME = {
    "vw": Peer("logistic regression, quadratic, hashed (VW)", "vw", "quadratic", "any", is_random=False),
    "lightgbm": Peer("LightGBM, defaults", "trees", "default", "columns", is_random=False),
    "lightgbm-tuned": Peer("LightGBM, tuned", "trees", "tuned", "columns"),
    "deepctr-dcnv2": Peer("DCNv2 (deepctr-torch)", "deep", "dcnv2", "columns"),
    "deepctr-deepfm": Peer("DeepFM (deepctr-torch)", "deep", "deepfm", "columns"),
    "fuxi-finalmlp": Peer("FinalMLP (FuxiCTR), small", "fuxi", "finalmlp", "columns"),
    "fuxi-dcnv2": Peer("DCNv2 (FuxiCTR), small", "fuxi", "dcnv2", "columns"),
    "fuxi-finalmlp-published": Peer("FinalMLP (FuxiCTR), published", "fuxi", "finalmlp-published", "columns"),
    "fuxi-dcnv2-published": Peer("DCNv2 (FuxiCTR), published", "fuxi", "dcnv2-published", "columns"),
    "tfidf-ridge": Peer("TF-IDF ridge", "ridge", "tfidf", "text", is_random=False, ours=True),
    "embedding-ridge": Peer(
        "frozen-embedding ridge", "ridge", "embedding", "text", is_random=False, ours=True
    ),
    "counters": Peer("tuned LightGBM with our counters", "counters", "tuned", "history", ours=True),
}
PUBLISHED = ("fuxi-finalmlp-published", "fuxi-dcnv2-published")
DEEP = ("deepctr-dcnv2", "deepctr-deepfm", "fuxi-finalmlp", "fuxi-dcnv2", *PUBLISHED)
NOT_NORMAL_USE = ("prior", "counters")


def ours(options: Options) -> dict[str, tuple[str, Options]]:
    """Our rows. Texts are read by default only where no item has a history of its own."""
    without = replace(options, text=[]) if options.item else options
    rows = {"ours": ("ours", without)}
    if options.item and options.text:
        rows["ours-text"] = ("ours, with texts", options)
    if options.progressive and options.item:
        rows["ours-frozen"] = ("ours, history frozen at the split", replace(without, progressive=False))
    return rows


@dataclass(frozen=True)
class Run:
    """One finished process: a probability per test row, and what it cost."""

    probability: Any
    costs: dict[str, Any]


class Arena:
    """A prepared set in a folder, and the answers of everybody who ran on it."""

    def __init__(self, prepared: Prepared, folder: Path, *, reuse: bool) -> None:
        prepared.write(folder)
        self._folder, self._reuse = folder, reuse
        files = [folder / name for name in ("train.parquet", "test.parquet", "options.json")]
        self._data = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]

    def ours(self, name: str, options: Options, seed: int, *, encoder: str | None = None) -> Run:
        """`python -m ml fit-predict` on the set."""

        def command(predictions: Path) -> list[str]:
            files = {part: self._folder / f"{part}.parquet" for part in ("train", "test")}
            named = [word for part, path in files.items() for word in (f"--{part}", str(path))]
            program = [sys.executable, "-m", "ml", "fit-predict", *named, "--predictions", str(predictions)]
            read_by = ["--encoder", encoder] if encoder else []
            return [*program, *options.arguments(), *read_by, "--seed", str(seed), "--json"]

        return self._run(f"{name}-{seed}", command, reuse=False)

    def peer(self, name: str, peer: Peer, seed: int, python: Path) -> Run:
        """A peer's script, kept from an earlier run on the same data where that is wished."""

        def command(predictions: Path) -> list[str]:
            program = sys.executable if peer.ours else str(python)
            script = [program, str(PEERS / f"{peer.script}.py"), str(self._folder), str(predictions)]
            return [*script, "--variant", peer.variant, "--seed", str(seed)]

        return self._run(f"{name}-{seed}", command, reuse=self._reuse and name != "counters")

    def _run(self, name: str, command: Callable[[Path], list[str]], *, reuse: bool) -> Run:
        import pandas as pd

        predictions, costs = self._folder / f"{name}.parquet", self._folder / f"{name}.json"
        if not (reuse and costs.exists() and json.loads(costs.read_text())["data"] == self._data):
            environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
            ran = subprocess.run(
                command(predictions), env=environment, capture_output=True, text=True, check=False
            )
            if ran.returncode:
                raise RunError(
                    (ran.stderr.strip().splitlines() or [f"ended with status {ran.returncode}"])[-1]
                )
            found = json.loads(ran.stdout.strip().splitlines()[-1])
            costs.write_text(json.dumps({**found, "data": self._data}))
        p = pd.read_parquet(predictions)["probability"].to_numpy(dtype=np.float64)
        return Run(p, json.loads(costs.read_text()))
