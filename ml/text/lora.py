"""Low-rank adaptation (LoRA, Hu et al. 2021, by peft) of a transformer to what draws clicks.

A linear head reads the mean token states of some layers; layers above the highest one are not computed. The head is
first fitted alone, which is convex, so whatever the adapter then gains on the newest texts is its own. Two objectives,
both weighted by impressions: the conditional logit within groups, and cross-entropy. What the run needs to go on lies
in a checkpoint after every check; a resumed run takes the same steps and ends at the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.schema import Floats, Ints
from ml.text import checkpoint, conditional
from ml.text.adapters import Network, write_merged
from ml.text.bilinear import Rows, Table, batch_loss, batches, loss_over, scalar_writer
from ml.text.conditional import Rivals

CONDITIONAL, CROSS_ENTROPY = "conditional", "cross-entropy"
WARM_UP = 0.1
LONGEST_GRADIENT = 1.0


class AdaptError(Exception):
    """Nothing can be learnt as asked; the message is one line."""


@dataclass(frozen=True)
class Settings:
    """How to adapt. `depths` are the layers read (1 is the last); `negatives`: non-clicks kept a click, 0 for all."""

    objective: str = CONDITIONAL
    depths: tuple[float, ...] = (1 / 3, 2 / 3)
    rank: int = 8
    alpha: int = 16
    rate: float = 3e-4
    head_rate: float = 1e-3
    head_penalty: float = 1_500.0
    epochs: int = 3
    batch_texts: int = 32
    accumulate: int = 2
    checks_per_epoch: int = 2
    patience: int = 2
    held_share: float = 0.15
    negatives: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """Losses on the held-out rows: the first is that of the frozen transformer with its head."""

    losses: list[float]
    best_step: int
    steps: int


def adapt(
    base: Path,
    texts: Sequence[str],
    rivals: Rivals,
    folder: Path,
    *,
    name: str = "clicks",
    settings: Settings | None = None,
    device: str = "cpu",
    log_folder: Path | None = None,
    on_check: Callable[[int, float], None] = lambda _step, _loss: None,
) -> Report:
    """Adapt the transformer in `base` to the rivals, whose rows are in order of time.

    Writes `folder/adapters/name` (adapter) and, in `folder` itself, the transformer with the adapter merged in,
    which `Encoder.load` reads. An interrupted run is continued when it is started again with the same arguments.
    """
    settings = settings or Settings()
    if settings.objective == CONDITIONAL:
        rivals = conditional.tempered(rivals.competing())
    learnt, held = split(rivals, settings.held_share)
    if not (rivals.clicks[learnt].sum() > 0 and rivals.clicks[held].sum() > 0):
        raise AdaptError("too few clicks to learn from and to stop by")
    run = _Run(base, list(texts), rivals, learnt=learnt, held=held, settings=settings, device=device)
    interrupted = folder / checkpoint.FOLDER
    if not run.resume(interrupted):
        run.start()
    write = scalar_writer(log_folder)
    for step, loss in run.checks():
        write("loss/train", run.train_loss, step)
        write("loss/validation", loss, step)
        run.save(interrupted)
        on_check(step, loss)
    run.network.restore(run.best)
    run.network.save(folder / "adapters" / name)
    write_merged(base, folder / "adapters" / name, folder)
    shutil.rmtree(interrupted, ignore_errors=True)
    return Report(run.losses, run.best_step, run.step)


def split(rivals: Rivals, held_share: float) -> tuple[Ints, Ints]:
    """(rows to learn from, rows of the newest groups); a group belongs to the place of its last row."""
    _, code = np.unique(rivals.group, return_inverse=True)
    last = np.zeros(int(code.max()) + 1 if len(code) else 0)
    last[code] = np.arange(len(code))
    place = last[code]
    cut = np.quantile(place, 1 - held_share) if len(code) else 0.0
    return np.flatnonzero(place <= cut), np.flatnonzero(place > cut)


def hard_negatives(
    rivals: Rivals, rows: Ints, per_click: int, rng: np.random.Generator
) -> tuple[Ints, Floats]:
    """(rows, impressions they stand for): every click, and about `per_click` non-clicks for each.

    Those shown in the group of a click come first, for they had the same chance and were passed over; what is
    left over, at least one a click, is drawn from the groups without a click. Both kinds keep their total weight.
    """
    clicked = rivals.clicks[rows] > 0
    if not clicked.any():
        return rows, rivals.impressions[rows]
    beside = ~clicked & np.isin(rivals.group[rows], rivals.group[rows[clicked]])
    budget = per_click * int(clicked.sum())
    near = _drawn(np.flatnonzero(beside), budget, rng)
    far = _drawn(np.flatnonzero(~clicked & ~beside), max(budget - len(near), int(clicked.sum())), rng)
    weight = rivals.impressions[rows].copy()
    for kind, taken in ((beside, near), (~clicked & ~beside, far)):
        if len(taken):
            weight[taken] *= weight[kind].sum() / weight[taken].sum()
    kept = np.sort(np.concatenate([np.flatnonzero(clicked), near, far]))
    return rows[kept], weight[kept]


def _drawn(rows: Ints, most: int, rng: np.random.Generator) -> Ints:
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


class _Run:
    """One adaptation as it stands after `step` steps."""

    def __init__(
        self,
        base: Path,
        texts: list[str],
        rivals: Rivals,
        *,
        learnt: Ints,
        held: Ints,
        settings: Settings,
        device: str,
    ) -> None:
        import torch

        torch.manual_seed(settings.seed)
        self.network = Network(
            base, texts, depths=settings.depths, rank=settings.rank, alpha=settings.alpha, device=device
        )
        self._rivals, self._learnt, self._held, self._settings = rivals, learnt, held, settings
        self._device = device
        self._rows = self._table(rivals)
        self._optimiser = self._fresh_optimiser()
        self._identity = _identity(base, texts, rivals, settings)
        self.step = self.best_step = 0
        self.losses: list[float] = []
        self.best = self.network.state()
        self.train_loss = math.nan
        self._steps_per_epoch = max(1, math.ceil(len(self._epoch(0)) / settings.accumulate))

    def start(self) -> None:
        """Fit the head on the frozen transformer; its loss is the one to beat."""
        X = self.network.centre(sorted(set(self._rivals.text[self._learnt].tolist())))
        known = self._rivals.take(self._learnt)
        penalty = self._settings.head_penalty
        if self._settings.objective == CONDITIONAL:
            self.network.set_head(conditional.fit(X, known, penalty=penalty), 0.0)
        else:
            w, bias = conditional.fit_rates(X, known, penalty=penalty)
            self.network.set_head(w, bias)
        self.best = self.network.state()
        self.losses = [self._held_loss()]

    def checks(self) -> Iterator[tuple[int, float]]:
        """Train on, and yield (step, loss on the held-out rows) after each check until nothing more is gained."""
        total = self._settings.epochs * self._steps_per_epoch
        every = max(1, self._steps_per_epoch // self._settings.checks_per_epoch)
        while self.step < total and not self._is_exhausted():
            self._train(min(every, total - self.step), total)
            self.losses.append(self._held_loss())
            if self.losses[-1] <= min(self.losses):
                self.best, self.best_step = self.network.state(), self.step
            yield self.step, self.losses[-1]

    def _is_exhausted(self) -> bool:
        since = len(self.losses) - 1 - int(np.argmin(self.losses))
        return since >= self._settings.patience

    def _train(self, steps: int, total: int) -> None:
        """Some steps, each from `accumulate` batches; every click (impression) weighs the same in every step."""
        import torch

        lost = mass = 0.0
        for _ in range(steps):
            epoch, place = divmod(self.step, self._steps_per_epoch)
            every = self._epoch(epoch)
            torch.manual_seed(self._settings.seed * 1_000_003 + self.step)  # the same dropout when resumed
            for group in self._optimiser.param_groups:
                group["lr"] = group["most"] * checkpoint.pace(self.step / total, WARM_UP)
            taken = every[place * self._settings.accumulate : (place + 1) * self._settings.accumulate]
            size = sum(self._mass(rows, batch) for rows, batch in taken)
            self._optimiser.zero_grad()
            for rows, batch in taken:
                loss, _ = batch_loss(self.network, rows, batch)
                (loss / max(size, 1e-12)).backward()
                lost += float(loss.detach())
            mass += size
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT)
            self._optimiser.step()
            self.step += 1
        self.train_loss = lost / max(mass, 1e-12)

    def _mass(self, rows: Rows, batch: Ints) -> float:
        """What a batch's loss is the sum over: clicks (conditional) or impressions."""
        return float((rows.weight if rows.group is None else rows.clicks)[batch].sum())

    def _epoch(self, number: int) -> list[tuple[Rows, Ints]]:
        """The epoch's batches, always the same for the same number."""
        rng = np.random.default_rng([self._settings.seed, number])
        if self._settings.objective == CONDITIONAL or not self._settings.negatives:
            part = self._learnt
            rows = self._rows
        else:
            part, weight = hard_negatives(self._rivals, self._learnt, self._settings.negatives, rng)
            impressions = self._rivals.impressions.copy()
            impressions[part] = weight
            rows = self._table(
                Rivals(self._rivals.text, self._rivals.clicks, impressions, self._rivals.group)
            )
        found = [batch for batch in batches(part, rows.group, self._settings.batch_texts, rng) if len(batch)]
        return [(rows, batch) for batch in found]

    def _held_loss(self) -> float:
        return loss_over(self.network, self._rows, self._held, self._settings.batch_texts)

    def _table(self, rivals: Rivals) -> Rows:
        """As the matcher's losses take it: the 'vector' of a text is its number, which the network reads."""
        numbers = np.arange(int(rivals.text.max()) + 1, dtype=np.float32)[:, None]
        table = Table(
            U=np.ones((1, 1), dtype=np.float32),
            V=numbers,
            u=np.zeros(len(rivals.text), dtype=np.int64),
            v=rivals.text,
            y=rivals.clicks / rivals.impressions,
            weight=rivals.impressions,
            group=np.unique(rivals.group, return_inverse=True)[1].astype(np.int64)
            if self._settings.objective == CONDITIONAL
            else None,
        )
        return Rows.of(table, self._device)

    def _fresh_optimiser(self) -> Any:
        import torch

        head, adapter = self.network.head_parameters(), self.network.adapter_parameters()
        rates = ((adapter, self._settings.rate), (head, self._settings.head_rate))
        groups = [{"params": params, "lr": rate, "most": rate} for params, rate in rates]
        return torch.optim.AdamW(groups, weight_decay=0.0)

    def save(self, folder: Path) -> None:
        """All that the rest of the run depends on."""
        checkpoint.save(
            folder,
            now=self.network.state(),
            best=self.best,
            optimiser=self._optimiser,
            progress={"step": self.step, "best_step": self.best_step, "losses": self.losses},
            identity=self._identity,
        )

    def resume(self, folder: Path) -> bool:
        """Take up an interrupted run of the same data and settings; False where there is none."""
        try:
            held = checkpoint.load(folder, identity=self._identity)
        except checkpoint.OtherRunError as error:
            raise AdaptError(str(error)) from error
        if held is None:
            return False
        self.network.restore(held.now)
        self.best = held.best
        checkpoint.restore(self._optimiser, held.moments)
        self.step, self.best_step = held.progress["step"], held.progress["best_step"]
        self.losses = held.progress["losses"]
        return True


def _identity(base: Path, texts: list[str], rivals: Rivals, settings: Settings) -> str:
    """A digest of all that decides what the run does."""
    digest = hashlib.sha256(json.dumps([str(base), asdict(settings), texts]).encode())
    code = np.unique(rivals.group, return_inverse=True)[1].astype(np.int64)
    for column in (rivals.text, rivals.clicks, rivals.impressions, code):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]
