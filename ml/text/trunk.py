"""Learning of a trunk that domains share (all together), and of what one more domain adds to it (alone)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.ctr.calibrate import freshest_level
from ml.schema import Column, Floats, Ints, Vectors
from ml.text.bilinear import (
    Bilinear,
    Rows,
    Settings,
    Table,
    batch_loss,
    batches,
    loss_of,
    loss_over,
    losses_of,
    scalar_writer,
    scores,
)
from ml.text.domains import Domains, Head
from ml.text.matcher import Matcher
from ml.text.train import base_log_odds, missing_level, sigmoid

if TYPE_CHECKING:
    import torch

RANK = 8
TRUST_RATE = 0.02  # one number per domain learns faster than the thousands of weights
PENALTIES = (np.inf, 1e-2, 5e-3, 2e-3, 1e-3)  # the first: no delta at all
FEW_ROWS = 5_000  # up to here every row judges in turn, since a fifth of them would judge by chance
FOLDS = 4
MOST_STEPS = 60
START = 0.1  # A and B must not start at 0, where neither has a slope
DEFAULTS = Settings(
    epochs=60, batch_size=512, learning_rate=2e-3, weight_decay=0.05, patience=6, seed=0, log_folder=None
)


@dataclass(frozen=True)
class Sample:
    """A domain's rows, and which of them are learned from and which decide when to stop."""

    table: Table
    train: Ints
    validation: Ints


def fit_domains(
    samples: Mapping[str, Sample], *, rank: int = RANK, settings: Settings = DEFAULTS, device: str = "cpu"
) -> Domains:
    """Learn the trunk and all heads together, each domain by its own objective (a Table with groups: conditional).

    Every domain counts alike, whatever its number of rows. Stops when the domains' validation losses, each as a share
    of what it was before the first step, have not fallen for `patience` epochs.
    """
    joint = _Joint.of(samples, rank=rank, settings=settings, device=device)
    joint.descend(settings)
    heads = {
        name: _at_level(
            model.head(), scores(model, joint.rows[name]), samples[name].table, samples[name].train
        )
        for name, model in joint.models.items()
    }
    mean = float(np.mean([head.trust for head in heads.values()]))
    heads = {name: replace(head, trust=head.trust / mean) for name, head in heads.items()}
    return Domains(
        trunk=joint.trunk.matcher().W * np.float32(mean),
        bias=float(np.mean([head.bias for head in heads.values()])),
        heads=heads,
    )


def adapt(
    domains: Domains,
    domain: str,
    sample: Sample,
    *,
    rank: int = RANK,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    device: str = "cpu",
) -> Domains:
    """A new domain's head, learned from the trunk on; the trunk and all other heads stay as they are.

    The penalty on A and B is the largest (no delta at all, if need be) whose loss on rows it had not seen is the least
    within one standard error. Penalising both factors alike penalises the sum of the delta's singular values.
    """
    every = np.concatenate([sample.train, sample.validation])
    found = _Delta(domains.trunk, _only(sample.table, every), rank=rank, seed=seed, device=device)
    parts = _folds(found.table, len(sample.train), seed)
    losses = np.array([found.losses(parts, penalty) for penalty in penalties])
    x = found.fit(np.arange(len(every)), penalties[_largest_good(losses)])
    return replace(domains, heads={**domains.heads, domain: found.head(x)})


def _only(table: Table, rows: Ints) -> Table:
    """These rows, and the vectors that they need."""
    u, u_place = np.unique(table.u[rows], return_inverse=True)
    v, v_place = np.unique(table.v[rows], return_inverse=True)
    group = None if table.group is None else table.group[rows]
    return Table(table.U[u], table.V[v], u_place, v_place, table.y[rows], table.weight[rows], group)


def _folds(table: Table, learned: int, seed: int) -> list[tuple[Ints, Ints]]:
    """(rows to learn from, rows to judge by): few rows in turn, many as the sample says; groups stay whole."""
    every = np.arange(len(table.y))
    if len(every) > FEW_ROWS:
        return [(every[:learned], every[learned:])]
    _, code = np.unique(every if table.group is None else table.group, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(int(code.max()) + 1)[code] % FOLDS
    return [(every[fold != number], every[fold == number]) for number in range(FOLDS)]


def _largest_good(losses: Floats) -> int:
    """The first row (losses by judge) whose mean is within a standard error of the least mean."""
    best = losses[int(np.argmin(losses.mean(axis=1)))]
    gap = losses - best
    error = gap.std(axis=1) / np.sqrt(losses.shape[1])
    return int(np.argmax(gap.mean(axis=1) <= error))


def fit_level_of(domains: Domains, domain: str, table: Table, *, time: Column) -> Domains:
    """The domain at the level of the freshest of these rows, which its head was not fitted on."""
    p = sigmoid(domains.matcher(domain).score_pairs(table.U, table.V, table.u, table.v))
    return domains.with_level(domain, freshest_level(p, table.y, time, weight=table.weight, share=1.0))


class _Delta:
    """Fits what a domain adds to a trunk that stays: full batches, L-BFGS."""

    def __init__(self, trunk: Vectors, table: Table, *, rank: int, seed: int, device: str) -> None:
        import torch

        self.table = table
        self.rows = Rows.of(table, device)
        fixed = Matcher(trunk).score_pairs(table.U, table.V, table.u, table.v)
        self.fixed = torch.as_tensor(fixed, dtype=torch.float32, device=device)
        self.shapes = ((trunk.shape[0], rank), (trunk.shape[1], rank))
        rng = np.random.default_rng(seed)
        self.start = [rng.normal(size=shape) * START / np.sqrt(shape[0]) for shape in self.shapes]

    def fit(self, part: Ints, penalty: float) -> Floats:
        """A, B, trust and bias in one row, of least penalised mean loss over the part."""
        import torch
        from scipy.optimize import minimize

        def loss(x: Floats) -> tuple[float, Floats]:
            free = torch.tensor(x, dtype=torch.float32, device=self.fixed.device, requires_grad=True)
            total, size = loss_of(self.logits(free)[torch.from_numpy(part)], self.rows, part)
            value = total / max(size, 1e-12)
            if penalty < np.inf:
                value = value + penalty / 2 * (free[:-2] ** 2).sum()
            value.backward()
            assert free.grad is not None
            return float(value.detach()), free.grad.cpu().numpy().astype(np.float64)

        bias = base_log_odds(self.table, part)
        near = 1.0 if penalty < np.inf else 0.0  # where both factors are 0 they stay
        first = np.concatenate([*(near * one.ravel() for one in self.start), [1.0, bias]])
        found: Floats = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS}).x
        return found

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Log odds of every row of the table."""
        left, right = self.factors(x)
        u, v = (self.rows.U @ left)[self.rows.u], (self.rows.V @ right)[self.rows.v]
        return x[-2] * self.fixed + (u * v).sum(1) + x[-1]

    def factors(self, x: Any) -> tuple[Any, Any]:
        (du, rank), (dv, _) = self.shapes
        return x[: du * rank].reshape(du, rank), x[du * rank : -2].reshape(dv, rank)

    def losses(self, parts: list[tuple[Ints, Ints]], penalty: float) -> Floats:
        """The loss of each group (or row) that judged, fitted without it."""
        import torch

        found: list[Floats] = []
        for learned, judging in parts:
            x = torch.tensor(self.fit(learned, penalty), dtype=torch.float32, device=self.fixed.device)
            each, _ = losses_of(self.logits(x)[torch.from_numpy(judging)], self.rows, judging)
            group = judging if self.table.group is None else self.table.group[judging]
            _, code = np.unique(group, return_inverse=True)
            found.append(np.bincount(code, weights=each.cpu().numpy()).astype(np.float64))
        return np.concatenate(found)

    def head(self, x: Floats) -> Head:
        """As a head, at the level of its rows."""
        import torch

        left, right = (one.astype(np.float32) for one in self.factors(x))
        head = Head(left, right, trust=float(x[-2]), bias=float(x[-1]))
        logits = self.logits(torch.tensor(x, dtype=torch.float32, device=self.fixed.device))
        return _at_level(
            head, logits.cpu().numpy().astype(np.float64), self.table, np.arange(len(self.table.y))
        )


class _Adding:
    """A head as torch sees it. B starts at 0: the first answer is the trunk's, at the domain's rate."""

    def __init__(
        self, trunk: Bilinear, *, rank: int, shape: tuple[int, int], bias: float, device: str
    ) -> None:
        import torch

        self.trunk = trunk
        self.left = (torch.randn(shape[0], rank) / np.sqrt(shape[0])).to(device).requires_grad_()
        self.right = torch.zeros(shape[1], rank, device=device, requires_grad=True)
        self.trust = torch.ones((), device=device, requires_grad=True)
        self.bias = torch.tensor(bias, device=device, dtype=torch.float32, requires_grad=True)

    def score(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        delta = ((u @ self.left) * (v @ self.right)).sum(1)
        return self.trust * self.trunk.match(u, v) + delta + self.bias

    def groups(self, settings: Settings) -> list[dict[str, Any]]:
        """The delta decays towards the trunk; trust and bias are free."""
        return [
            {"params": [self.left, self.right], "weight_decay": settings.weight_decay},
            {"params": [self.trust, self.bias], "weight_decay": 0.0, "lr": TRUST_RATE},
        ]

    def parameters(self) -> list[torch.Tensor]:
        return [self.left, self.right, self.trust, self.bias]

    def state(self) -> list[torch.Tensor]:
        return [one.detach().clone() for one in self.parameters()]

    def restore(self, state: list[torch.Tensor]) -> None:
        for parameter, value in zip(self.parameters(), state, strict=True):
            parameter.data.copy_(value)

    def head(self) -> Head:
        return Head(
            left=self.left.detach().cpu().numpy().copy(),
            right=self.right.detach().cpu().numpy().copy(),
            trust=self.trust.item(),
            bias=self.bias.item(),
        )


@dataclass(frozen=True)
class _Joint:
    """All domains at once: one learning trunk under a head each."""

    trunk: Bilinear
    models: dict[str, _Adding]
    rows: dict[str, Rows]
    samples: Mapping[str, Sample]

    @classmethod
    def of(cls, samples: Mapping[str, Sample], *, rank: int, settings: Settings, device: str) -> _Joint:
        import torch

        torch.manual_seed(settings.seed)
        first = next(iter(samples.values())).table
        shape = (first.U.shape[1], first.V.shape[1])
        trunk = Bilinear(*shape, bias=0.0, device=device)
        models = {
            name: _Adding(
                trunk,
                rank=rank,
                shape=shape,
                bias=base_log_odds(sample.table, sample.train),
                device=device,
            )
            for name, sample in samples.items()
        }
        rows = {name: Rows.of(sample.table, device) for name, sample in samples.items()}
        return cls(trunk, models, rows, samples)

    def descend(self, settings: Settings) -> None:
        """Mixed batches of all domains; leaves the parameters of the best epoch."""
        import torch

        groups = [group for model in self.models.values() for group in model.groups(settings)]
        optimiser = torch.optim.AdamW([*groups, *self.trunk.groups(settings)], lr=settings.learning_rate)
        rng = np.random.default_rng(settings.seed)
        write = scalar_writer(settings.log_folder)
        before = self.losses(settings)
        best, best_loss, best_state = 0, 1.0, self.state()
        for epoch in range(1, settings.epochs + 1):
            self.one_epoch(optimiser, settings, rng)
            losses = self.losses(settings)
            for name, loss in losses.items():
                write(f"loss/validation/{name}", loss, epoch)
            mean = float(np.mean([losses[name] / before[name] for name in losses]))
            if mean < best_loss:
                best, best_loss, best_state = epoch, mean, self.state()
            elif epoch - best >= settings.patience:
                break
        self.restore(best_state)

    def one_epoch(self, optimiser: Any, settings: Settings, rng: np.random.Generator) -> None:
        """As many steps as the largest domain has batches; each step takes one batch of every domain."""
        steps = max(len(list(self.batches(name, settings, None))) for name in self.samples)
        endless = {name: self.endless(name, settings, rng) for name in self.samples}
        for _ in range(steps):
            optimiser.zero_grad()
            for name, source in endless.items():
                loss, size = batch_loss(self.models[name], self.rows[name], next(source))
                if size > 0:
                    (loss / size / len(endless)).backward()
            optimiser.step()

    def endless(self, name: str, settings: Settings, rng: np.random.Generator) -> Iterator[Ints]:
        """The domain's batches, over and over."""
        while True:
            yield from self.batches(name, settings, rng)

    def batches(self, name: str, settings: Settings, rng: np.random.Generator | None) -> Iterator[Ints]:
        return batches(self.samples[name].train, self.rows[name].group, settings.batch_size, rng)

    def losses(self, settings: Settings) -> dict[str, float]:
        """Each domain's validation loss."""
        return {
            name: loss_over(model, self.rows[name], self.samples[name].validation, settings.batch_size)
            for name, model in self.models.items()
        }

    def state(self) -> list[list[torch.Tensor]]:
        return [self.trunk.state(), *(model.state() for model in self.models.values())]

    def restore(self, state: list[list[torch.Tensor]]) -> None:
        self.trunk.restore(state[0])
        for model, saved in zip(self.models.values(), state[1:], strict=True):
            model.restore(saved)


def _at_level(head: Head, log_odds: Floats, table: Table, part: Ints) -> Head:
    """The conditional logit knows no level: the head with a bias that meets the clicks of the part."""
    if table.group is None:
        return head
    return replace(head, bias=head.bias + missing_level(log_odds, table, part))
