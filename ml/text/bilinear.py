"""The bilinear matcher as torch sees it: parameters, the two losses, batches that keep groups whole, the descent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ml.schema import Column, Floats, Ints, Vectors
from ml.text.matcher import Matcher

if TYPE_CHECKING:
    import torch

START_SCALE = 4.0
SCALE_RATE = 0.05  # the one scale learns faster than the thousands of weights


@dataclass(frozen=True)
class Table:
    """Row r pairs U[u[r]] with V[v[r]]; `y` is a label or a rate of `weight` impressions."""

    U: Vectors
    V: Vectors
    u: Ints
    v: Ints
    y: Floats
    weight: Floats
    group: Ints | None


@dataclass(frozen=True)
class Settings:
    """How to descend."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    seed: int
    log_folder: Path | str | None


@dataclass(frozen=True)
class Rows:
    """A Table as tensors on the device."""

    U: torch.Tensor
    V: torch.Tensor
    u: torch.Tensor
    v: torch.Tensor
    clicks: torch.Tensor
    weight: torch.Tensor
    group: Ints | None

    @classmethod
    def of(cls, table: Table, device: str) -> Rows:
        """Copy the table to the device."""
        import torch

        def tensor(values: Column, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), dtype=dtype, device=device)

        return cls(
            U=tensor(table.U, torch.float32),
            V=tensor(table.V, torch.float32),
            u=tensor(table.u, torch.int64),
            v=tensor(table.v, torch.int64),
            clicks=tensor(table.y * table.weight, torch.float32),
            weight=tensor(table.weight, torch.float32),
            group=table.group,
        )


class Scored(Protocol):
    """Whatever gives log odds to paired rows of vectors."""

    def score(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor: ...


class Bilinear:
    """The parameters: scale (one number), D (du, dv), bias (one number)."""

    def __init__(self, du: int, dv: int, *, bias: float, device: str) -> None:
        import torch

        self.square = du == dv
        self.delta = torch.zeros(du, dv, device=device, requires_grad=True)
        self.scale = torch.tensor(
            START_SCALE if self.square else 0.0, device=device, requires_grad=self.square
        )
        self.bias = torch.tensor(bias, device=device, dtype=torch.float32, requires_grad=True)

    def score(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Log odds of paired rows."""
        return self.match(u, v) + self.bias

    def match(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Log odds of paired rows without the bias."""
        logits = ((u @ self.delta) * v).sum(1)
        return logits + self.scale * (u * v).sum(1) if self.square else logits

    def groups(self, settings: Settings) -> list[dict[str, Any]]:
        """D is pulled towards 0; scale and bias are free."""
        groups: list[dict[str, Any]] = [
            {"params": [self.delta], "weight_decay": settings.weight_decay},
            {"params": [self.bias], "weight_decay": 0.0},
        ]
        if self.square:
            groups.append({"params": [self.scale], "weight_decay": 0.0, "lr": SCALE_RATE})
        return groups

    def optimiser(self, settings: Settings) -> Any:
        """AdamW over the groups."""
        import torch

        return torch.optim.AdamW(self.groups(settings), lr=settings.learning_rate)

    def state(self) -> list[torch.Tensor]:
        """A copy of the parameters."""
        return [parameter.detach().clone() for parameter in (self.delta, self.scale, self.bias)]

    def restore(self, state: list[torch.Tensor]) -> None:
        """Set the parameters to an earlier copy."""
        for parameter, value in zip((self.delta, self.scale, self.bias), state, strict=True):
            parameter.data.copy_(value)

    def matcher(self) -> Matcher:
        """W = scale·1 + D as numpy."""
        W = self.delta.detach().cpu().numpy().copy()
        if self.square:
            W += self.scale.item() * np.eye(len(W), dtype=np.float32)
        return Matcher(W, self.bias.item())


def run_epochs(model: Bilinear, rows: Rows, part: Ints, settings: Settings, *, epochs: int) -> None:
    """Train on the part for that many epochs, without looking at anything else."""
    optimiser = model.optimiser(settings)
    rng = np.random.default_rng(settings.seed)
    for _ in range(epochs):
        _one_epoch(model, rows, optimiser, batches(part, rows.group, settings.batch_size, rng))


def descend(
    model: Bilinear,
    rows: Rows,
    parts: dict[str, Ints],
    settings: Settings,
) -> tuple[list[float], int]:
    """Train until the validation loss has not improved for `patience` epochs; leaves the best parameters."""
    optimiser = model.optimiser(settings)
    rng = np.random.default_rng(settings.seed)

    def shuffled() -> Iterator[Ints]:
        return batches(parts["train"], rows.group, settings.batch_size, rng)

    write = scalar_writer(settings.log_folder)
    losses = [loss_over(model, rows, parts["validation"], settings.batch_size)]
    best, best_state = 0, model.state()
    for epoch in range(1, settings.epochs + 1):
        train_loss = _one_epoch(model, rows, optimiser, shuffled())
        losses.append(loss_over(model, rows, parts["validation"], settings.batch_size))
        write("loss/train", train_loss, epoch)
        write("loss/validation", losses[-1], epoch)
        if losses[-1] < losses[best]:
            best, best_state = epoch, model.state()
        elif epoch - best >= settings.patience:
            break
    model.restore(best_state)
    return losses, best


def _one_epoch(model: Scored, rows: Rows, optimiser: Any, parts: Iterator[Ints]) -> float:
    total, mass = 0.0, 0.0
    for batch in parts:
        loss, size = batch_loss(model, rows, batch)
        if size == 0:
            continue
        optimiser.zero_grad()
        (loss / size).backward()
        optimiser.step()
        total, mass = total + float(loss.detach()), mass + size
    return total / max(mass, 1e-12)


def loss_over(model: Scored, rows: Rows, part: Ints, batch_size: int) -> float:
    """Mean loss of the part, per click (conditional) or impression."""
    import torch

    with torch.no_grad():
        pairs = [batch_loss(model, rows, batch) for batch in batches(part, rows.group, batch_size, None)]
    return float(sum(float(loss) for loss, _ in pairs) / max(sum(size for _, size in pairs), 1e-12))


def batch_loss(model: Scored, rows: Rows, batch: Ints) -> tuple[torch.Tensor, float]:
    """Summed loss of a batch and what it is the sum over: clicks (conditional) or impressions."""
    import torch

    picked = torch.from_numpy(batch).to(rows.u.device)
    return loss_of(model.score(rows.U[rows.u[picked]], rows.V[rows.v[picked]]), rows, batch)


def loss_of(logits: torch.Tensor, rows: Rows, batch: Ints) -> tuple[torch.Tensor, float]:
    """The same for log odds that are known already."""
    losses, size = losses_of(logits, rows, batch)
    return losses.sum(), size


def losses_of(logits: torch.Tensor, rows: Rows, batch: Ints) -> tuple[torch.Tensor, float]:
    """The same row by row."""
    import torch

    picked = torch.from_numpy(batch).to(rows.u.device)
    clicks, weight = rows.clicks[picked], rows.weight[picked]
    if rows.group is None:
        return torch.nn.functional.softplus(logits) * weight - logits * clicks, float(weight.sum())
    _, code = np.unique(rows.group[batch], return_inverse=True)
    member = torch.from_numpy(code).to(picked.device)
    shares = _log_shares(logits + weight.log(), member, int(code.max()) + 1)
    return -(clicks * shares), float(clicks.sum())


def _log_shares(logits: torch.Tensor, member: torch.Tensor, groups: int) -> torch.Tensor:
    """Log softmax within each group."""
    import torch

    highest = torch.full((groups,), -torch.inf, device=logits.device)
    highest = highest.scatter_reduce(0, member, logits.detach(), reduce="amax")
    centred = logits - highest[member]
    total = torch.zeros(groups, device=logits.device).index_add(0, member, centred.exp())
    return centred - total.log()[member]


def batches(
    part: Ints, group: Ints | None, batch_size: int, rng: np.random.Generator | None
) -> Iterator[Ints]:
    """Row positions in batches of about batch_size; a group is never cut. Shuffled where an rng is given."""
    if group is None:
        order = part if rng is None else rng.permutation(part)
        for start in range(0, len(order), batch_size):
            yield order[start : start + batch_size]
        return
    place = np.unique(group[part], return_inverse=True)[1]
    if rng is not None and len(place):
        place = rng.permutation(int(place.max()) + 1)[place]
    order = part[np.argsort(place, kind="stable")]
    sizes = np.bincount(place)
    number = (np.cumsum(sizes) - 1) // batch_size
    for cut in np.split(order, np.cumsum(np.bincount(number, weights=sizes))[:-1].astype(np.int64)):
        if len(cut):
            yield cut


def scores(model: Scored, rows: Rows, *, chunk: int = 65_536) -> Floats:
    """Log odds of every row of the table."""
    import torch

    with torch.inference_mode():
        pieces = [
            model.score(rows.U[rows.u[start : start + chunk]], rows.V[rows.v[start : start + chunk]])
            for start in range(0, len(rows.u), chunk)
        ]
    found: Floats = torch.cat(pieces).cpu().numpy().astype(np.float64)
    return found


def scalar_writer(folder: Path | str | None) -> Callable[[str, float, int], None]:
    """TensorBoard scalars into the folder, or nothing."""
    if folder is None:
        return lambda _name, _value, _epoch: None
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))

    def write(name: str, value: float, epoch: int) -> None:
        writer.add_scalar(name, value, epoch)
        writer.flush()

    return write
