"""Continued pre-training of a transformer on a domain's texts: guess words that are masked (Devlin et al. 2018).

For the first steps the head learns alone, so that the transformer is not pulled about by a head that knows nothing.
An interrupted run goes on from its checkpoint and ends at the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts
from ml.schema import Ints
from ml.text import checkpoint
from ml.text.bilinear import scalar_writer
from ml.text.encoder import normalise
from ml.text.masking import Masked, MaskedNetwork, mask_words

KIND = "encoder"
WARM_UP = 0.06
LONGEST_GRADIENT = 1.0
FEWEST_TEXTS = 20
LIKE_LENGTHS = 16  # batches whose texts are sorted by length together: little padding


class PretrainError(Exception):
    """Nothing can be learnt as asked; the message is one line."""


@dataclass(frozen=True)
class Settings:
    """How to train. `head_share` of the steps belong to the head alone; `patience` counts checks."""

    epochs: int = 3
    batch_texts: int = 32
    accumulate: int = 1
    rate: float = 5e-5
    head_rate: float = 1e-3
    head_share: float = 0.2
    longest_tokens: int = 96
    held_share: float = 0.1
    checks_per_epoch: int = 2
    patience: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """Losses in nats per masked word of the held-out texts, one per check; the first is before the first step.

    `frozen_loss` is the best while only the head had learned: what the transformer could guess as it was.
    """

    losses: list[float]
    frozen_loss: float
    best_step: int
    steps: int
    texts: int

    @property
    def best_loss(self) -> float:
        return min(self.losses)


def pretrain(
    base: Path,
    texts: Sequence[str],
    folder: Path,
    *,
    settings: Settings | None = None,
    device: str = "cpu",
    log_folder: Path | None = None,
    most_checks: int | None = None,
) -> Report:
    """Train the transformer in `base` on the texts and write it to `folder`, where `Encoder.load` reads it.

    Continues an interrupted run of the same words. `most_checks` stops after so many, leaving the checkpoint.
    """
    run = _Run(base, distinct(texts), settings or Settings(), device)
    run.resume(folder / checkpoint.FOLDER)
    write = scalar_writer(log_folder)
    for number, (step, loss) in enumerate(run.checks(), start=1):
        write("loss/train", run.train_loss, step)
        write("loss/validation", loss, step)
        run.save(folder / checkpoint.FOLDER)
        if number == most_checks:
            return run.report()
    run.write(folder)
    shutil.rmtree(folder / checkpoint.FOLDER, ignore_errors=True)
    return run.report()


def distinct(texts: Sequence[str]) -> list[str]:
    """Each text once, normalised, in order of first appearance, without empty ones."""
    return list(dict.fromkeys(clean for text in texts if (clean := normalise(text))))


@dataclass
class _Progress:
    """Where a run stands."""

    step: int = 0
    best_step: int = 0
    frozen_loss: float = math.inf
    losses: list[float] = field(default_factory=list)

    def is_exhausted(self, patience: int) -> bool:
        """No check of late was better than the best one."""
        return bool(self.losses) and len(self.losses) - 1 - int(np.argmin(self.losses)) >= patience


class _Run:
    """One pre-training as it stands after so many steps."""

    def __init__(self, base: Path, texts: list[str], settings: Settings, device: str) -> None:
        import torch

        if len(texts) < FEWEST_TEXTS:
            raise PretrainError(
                f"{len(texts)} distinct texts are too few to learn from; {FEWEST_TEXTS} are needed"
            )
        torch.manual_seed(settings.seed)
        self.base, self.settings, self.texts = base, settings, texts
        self.network = MaskedNetwork(base, device)
        self.train_loss = math.nan
        self.progress = _Progress()
        order = np.random.default_rng(settings.seed).permutation(len(texts))
        held = max(1, round(len(texts) * settings.held_share))
        tokens = self._tokenise(texts)
        self._held = [tokens[row] for row in np.sort(order[:held])]
        self._learnt = [tokens[row] for row in np.sort(order[held:])]
        self._count_words()
        self.steps_per_epoch = math.ceil(
            math.ceil(len(self._learnt) / settings.batch_texts) / settings.accumulate
        )
        self.total = settings.epochs * self.steps_per_epoch
        self.head_steps = round(self.total * settings.head_share)
        self.best = self.network.state()
        self._optimiser = self._fresh_optimiser()
        words = json.dumps([str(base), asdict(settings), texts])
        self._identity = hashlib.sha256(words.encode()).hexdigest()[:16]

    def _tokenise(self, texts: list[str]) -> list[Ints]:
        found = self.network.tokenizer(texts, truncation=True, max_length=self.settings.longest_tokens)
        return [np.array(ids, dtype=np.int64) for ids in found["input_ids"]]

    def _count_words(self) -> None:
        """The head starts from how frequent each word is."""
        import torch

        size = len(self.network.frequency)
        counts = np.bincount(np.concatenate(self._learnt), minlength=size) + 0.1
        frequency = np.log(counts / counts.sum())
        self.network.frequency.data.copy_(torch.from_numpy(frequency.astype(np.float32)))

    def checks(self) -> Iterator[tuple[int, float]]:
        """Train on, and yield (step, loss on the held-out texts) after each check until nothing more is gained."""
        now = self.progress
        if not now.losses:
            now.losses.append(self.held_loss())
        every = max(1, self.steps_per_epoch // self.settings.checks_per_epoch)
        while now.step < self.total and not now.is_exhausted(self.settings.patience):
            left = (self.head_steps if now.step < self.head_steps else self.total) - now.step
            self._train(min(every, left))  # one check stands where the head has learned alone
            loss = self.held_loss()
            now.losses.append(loss)
            if now.step <= self.head_steps:
                now.frozen_loss = min(now.frozen_loss, loss)
            if loss <= min(now.losses):
                self.best, now.best_step = self.network.state(), now.step
            yield now.step, loss

    def _train(self, steps: int) -> None:
        """Some steps, each from `accumulate` batches; every masked word weighs the same within a step."""
        import torch

        self.network.model.train()
        lost, mass = 0.0, 0
        for _ in range(steps):
            now = self.progress.step
            torch.manual_seed(self.settings.seed * 1_000_003 + now)  # the same dropout when resumed
            self._pace(now)
            taken = self._batches_of(now)
            size = sum(len(batch.word) for batch in taken)
            self._optimiser.zero_grad()
            for batch in taken:
                loss = self.network.loss(batch, frozen=now < self.head_steps)
                (loss / max(size, 1)).backward()
                lost += float(loss.detach())
            mass += size
            for group in self._optimiser.param_groups:
                torch.nn.utils.clip_grad_norm_(group["params"], LONGEST_GRADIENT)
            self._optimiser.step()
            self.progress.step += 1
        self.network.model.eval()
        self.train_loss = lost / max(mass, 1)

    def _pace(self, step: int) -> None:
        """Rates go up at the start of each phase and down to nothing at the end."""
        of_head = step / self.total
        of_model = max(0, step - self.head_steps) / max(1, self.total - self.head_steps)
        for group, share in zip(self._optimiser.param_groups, (of_model, of_head), strict=True):
            group["lr"] = group["most"] * checkpoint.pace(share, WARM_UP)

    def _batches_of(self, step: int) -> list[Masked]:
        """The batches of a step, always the same for the same step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        batches = self._epoch(epoch)[
            place * self.settings.accumulate : (place + 1) * self.settings.accumulate
        ]
        rng = np.random.default_rng([self.settings.seed, 1, step])
        return [self._masked([self._learnt[row] for row in rows.tolist()], rng) for rows in batches]

    def _epoch(self, number: int) -> list[Ints]:
        """Shuffled batches of texts of like length."""
        size = self.settings.batch_texts
        rng = np.random.default_rng([self.settings.seed, 0, number])
        lengths = np.array([len(text) for text in self._learnt])
        order = rng.permutation(len(lengths))
        batches = []
        for start in range(0, len(order), size * LIKE_LENGTHS):
            window = order[start : start + size * LIKE_LENGTHS]
            window = window[np.argsort(lengths[window], kind="stable")]
            batches += [window[first : first + size] for first in range(0, len(window), size)]
        return [batches[place] for place in rng.permutation(len(batches))]

    def _masked(self, texts: list[Ints], rng: np.random.Generator) -> Masked:
        tokenizer = self.network.tokenizer
        return mask_words(
            texts,
            mask=tokenizer.mask_token_id,
            padding=tokenizer.pad_token_id or 0,
            words=len(self.network.frequency),
            rng=rng,
        )

    def held_loss(self) -> float:
        """Nats per masked word of the held-out texts, always with the same words masked."""
        import torch

        self.network.model.eval()
        rng = np.random.default_rng([self.settings.seed, 2])
        lost, mass = 0.0, 0
        by_length = sorted(self._held, key=len)
        with torch.no_grad():
            for start in range(0, len(by_length), self.settings.batch_texts):
                batch = self._masked(by_length[start : start + self.settings.batch_texts], rng)
                lost += float(self.network.loss(batch, frozen=True))
                mass += len(batch.word)
        return lost / max(mass, 1)

    def _fresh_optimiser(self) -> Any:
        import torch

        model, head = self.network.learning()
        groups = [
            {"params": model, "lr": self.settings.rate, "most": self.settings.rate},
            {"params": head, "lr": self.settings.head_rate, "most": self.settings.head_rate},
        ]
        return torch.optim.AdamW(groups, weight_decay=0.01)

    def report(self) -> Report:
        now = self.progress
        return Report(list(now.losses), now.frozen_loss, now.best_step, now.step, len(self.texts))

    def save(self, folder: Path) -> None:
        """All that the rest of the run depends on."""
        checkpoint.save(
            folder,
            now=self.network.state(),
            best=self.best,
            optimiser=self._optimiser,
            progress=asdict(self.progress),
            identity=self._identity,
        )

    def resume(self, folder: Path) -> None:
        """Take up an interrupted run of the same texts and settings, if there is one."""
        try:
            held = checkpoint.load(folder, identity=self._identity)
        except checkpoint.OtherRunError as error:
            raise PretrainError(str(error)) from error
        if held is None:
            return
        self.progress = _Progress(**held.progress)
        self.network.restore(held.now)
        self.best = held.best
        checkpoint.restore(self._optimiser, held.moments)

    def write(self, folder: Path) -> None:
        """The best transformer as a folder like its base, with a manifest; the head is left behind."""
        from safetensors.torch import save

        self.network.restore(self.best)
        model = self.network.model
        # Vectors are cached by configuration and size of the weights, which every child of one base shares.
        learned = {name: value for name, value in self.best.items() if name.startswith("model.")}
        model.config.pretrained_further = hashlib.sha256(save(learned)).hexdigest()[:16]
        model.save_pretrained(str(folder), safe_serialization=True)
        self.network.tokenizer.save_pretrained(str(folder))
        checkpoint.copy_beside(self.base, folder)
        report = self.report()
        artifacts.write(
            folder,
            kind=KIND,
            files=sorted(
                one.name for one in folder.iterdir() if one.is_file() and one.name != artifacts.MANIFEST
            ),
            metrics={"frozen_loss": report.frozen_loss, "loss": report.best_loss, "texts": report.texts},
            schema=f"from {self.base.name}",
            seed=self.settings.seed,
            data_range=("", ""),
        )
