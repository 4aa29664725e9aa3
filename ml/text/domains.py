"""Matchers of several domains (news, shops, video, ads) over one encoder: a shared trunk and what each domain adds.

Log odds in domain d are tᵈ·uᵀWv + (uᵀAᵈ)·(vᵀBᵈ) + bᵈ: the trunk W is learned from all domains together, the trust tᵈ,
the delta AᵈBᵈᵀ of low rank and the bias bᵈ from the domain's own rows, and the level belongs to the domain too. A domain
that nobody has seen is the trunk; with a few rows it starts there and adds its own.

ml.text.trunk learns them. `with_everyone` gives each vector a last coordinate of 1: its row of W is what a text is
worth to anyone, which visitors without a profile get and sets without visitors teach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts
from ml.ctr.calibrate import Level
from ml.schema import Column, Floats, Vectors
from ml.text.matcher import Matcher, schema
from ml.text.train import sigmoid

KIND = "domains"
FILE = "domains.safetensors"
TRUNK, HEAD, LEVEL = "trunk", "head", "level"


@dataclass(frozen=True)
class Head:
    """What one domain adds: trust in the trunk, A (du, rank), B (dv, rank), bias."""

    left: Vectors
    right: Vectors
    trust: float
    bias: float


@dataclass(frozen=True)
class Domains:
    """One trunk, a head and a level per domain.

    `bias` is the mean over the domains: the trunk's own answer where a domain is unknown.
    """

    trunk: Vectors
    bias: float
    heads: Mapping[str, Head]
    levels: Mapping[str, Level] = field(default_factory=dict)

    def matcher(self, domain: str) -> Matcher:
        """The domain's matcher, served like any other; the trunk for a domain without a head."""
        head = self.heads.get(domain)
        if head is None:
            return Matcher(self.trunk, self.bias)
        W = np.float32(head.trust) * self.trunk + head.left @ head.right.T
        return Matcher(W, head.bias)

    def probability(self, domain: str, U: Vectors, V: Vectors) -> Floats:
        """Of a click on row i of V by row i of U, at the level of the domain."""
        return self.levels.get(domain, Level()).apply(sigmoid(self.matcher(domain).score(U, V)))

    def with_level(self, domain: str, level: Level) -> Domains:
        """The same heads with another level for one domain."""
        return replace(self, levels={**self.levels, domain: level})

    def save(
        self,
        folder: Path | str,
        *,
        encoder_id: str,
        metrics: Mapping[str, Any],
        seed: int,
        data_range: tuple[str, str],
    ) -> artifacts.Manifest:
        """Write trunk, heads and levels, and the manifest that names the encoder they were fitted to."""
        from safetensors.numpy import save_file

        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(one) for name, one in self._tensors().items()}, root / FILE)
        return artifacts.write(
            root,
            kind=KIND,
            files=[FILE],
            metrics=metrics,
            schema=schema(encoder_id, self.trunk),
            seed=seed,
            data_range=data_range,
        )

    def _tensors(self) -> dict[str, Column]:
        """Everything by name; a level's key is its domain."""
        found: dict[str, Column] = {f"{TRUNK}/W": self.trunk, f"{TRUNK}/bias": np.array([self.bias])}
        for name, head in self.heads.items():
            found[f"{HEAD}/left/{name}"] = head.left
            found[f"{HEAD}/right/{name}"] = head.right
            found[f"{HEAD}/numbers/{name}"] = np.array([head.trust, head.bias])
        for name, level in self.levels.items():
            found[f"{LEVEL}/{name}"] = np.array([level.factor])
        return found

    @classmethod
    def load(cls, folder: Path | str, *, encoder_id: str | None = None) -> Domains:
        """The heads of a verified folder; refused where they were fitted to another encoder's vectors."""
        from safetensors.numpy import load

        manifest = artifacts.verify(folder, kind=KIND)
        tensors = load(artifacts.read(folder, manifest, FILE))
        trunk = tensors[f"{TRUNK}/W"]
        if encoder_id is not None and manifest.schema != schema(encoder_id, trunk):
            raise artifacts.ArtifactError(
                f"{folder} was fitted to vectors of {manifest.schema}, not of {encoder_id}"
            )
        return cls(
            trunk=trunk,
            bias=float(tensors[f"{TRUNK}/bias"][0]),
            heads={name: _head(tensors, name) for name in _named(tensors, f"{HEAD}/numbers/")},
            levels={
                name: Level(float(tensors[f"{LEVEL}/{name}"][0])) for name in _named(tensors, f"{LEVEL}/")
            },
        )


def with_everyone(vectors: Vectors) -> Vectors:
    """The vectors with a last coordinate of 1."""
    return np.hstack([vectors, np.ones((len(vectors), 1), dtype=np.float32)])


def _named(tensors: Mapping[str, Column], prefix: str) -> list[str]:
    return sorted(name.removeprefix(prefix) for name in tensors if name.startswith(prefix))


def _head(tensors: Mapping[str, Column], name: str) -> Head:
    trust, bias = tensors[f"{HEAD}/numbers/{name}"].tolist()
    return Head(tensors[f"{HEAD}/left/{name}"], tensors[f"{HEAD}/right/{name}"], trust, bias)
