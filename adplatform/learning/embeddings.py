"""Vectors by text: each text is encoded once and kept in float16 under its hash and its encoder.

A row of NaN stands for a text without a vector: one that the encoder does not speak, or has not read yet. What
uses it drops the text score, it does not invent one. Everything that scores reads `cached`, and so sees the same
float16 numbers; only `vectors` loads the transformer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from django.conf import settings

from adplatform.learning.models import TextVector, VisitorVector
from ml.schema import Mask, Vectors
from ml.text.encoder import text_hash

if TYPE_CHECKING:
    from ml.text.encoder import Encoder

log = logging.getLogger(__name__)

Item = TypeVar("Item")

READ_BATCH = 5_000
ENCODE_BATCH = 1_024


@cache
def encoder() -> Encoder:
    """The transformer of the settings, loaded once per process (only workers and commands call this).

    In int8 where the settings say so and that form's vectors are near enough to the full ones.
    """
    from ml.text.compress import CompressError, int8_of
    from ml.text.encoder import Encoder

    if settings.ENCODER_PRECISION == "int8":
        try:
            return int8_of(settings.ENCODER or None, settings.MODELS_DIR / "encoders")
        except CompressError as error:
            log.warning("The full encoder is used: %s", error)
    return Encoder.load(settings.ENCODER or None)


def pack(vectors: Vectors) -> list[bytes]:
    """Rows as float16, little endian: the form of TextVector, VisitorVector and Valkey's field `u`."""
    return [row.tobytes() for row in vectors.astype("<f2")]


def unpack(packed: Sequence[bytes | memoryview]) -> Vectors:
    """The float32 rows of `pack`."""
    return np.frombuffer(b"".join(packed), "<f2").reshape(len(packed), -1).astype(np.float32)


def vectors(texts: Sequence[str]) -> Vectors:
    """One row per text, encoding what was not encoded before."""
    unique = list(dict.fromkeys(texts))
    ensure(unique)
    return cached(encoder().id, texts)


def ensure(texts: Iterable[str]) -> int:
    """Encode and keep the texts that have no vector yet; returns how many that were.

    Texts in a script that the encoder does not speak are left without one.
    """
    model = encoder()
    wanted = missing(texts)
    for batch in _batches(sorted(wanted.items(), key=lambda pair: len(pair[1])), ENCODE_BATCH):
        rows = pack(model.encode([text for _, text in batch]))
        TextVector.objects.bulk_create(
            [
                TextVector(encoder=model.id, text_sha256=digest, vector=row)
                for (digest, _), row in zip(batch, rows, strict=True)
            ],
            ignore_conflicts=True,
        )
    return len(wanted)


def missing(texts: Iterable[str]) -> dict[str, str]:
    """By hash, the texts that the encoder speaks and has not read."""
    model = encoder()
    by_hash = {text_hash(text): text for text in texts}
    known = _known(model.id, list(by_hash))
    return {digest: text for digest, text in by_hash.items() if digest not in known and model.speaks(text)}


def cached(encoder_id: str, texts: Sequence[str]) -> Vectors:
    """One float32 row per text, NaN where there is no vector; (n, 0) where this encoder has read nothing.

    Loads no transformer.
    """
    of_text = {text: text_hash(text) for text in dict.fromkeys(texts)}
    found: dict[str, bytes | memoryview] = {}
    for batch in _batches(list(of_text.values()), READ_BATCH):
        found.update(
            TextVector.objects.filter(encoder=encoder_id, text_sha256__in=batch).values_list(
                "text_sha256", "vector"
            )
        )
    if not found:
        return np.full((len(texts), dimension(encoder_id)), np.nan, np.float32)
    place = {digest: row for row, digest in enumerate(found)}
    known = unpack(list(found.values()))
    table = np.vstack([known, np.full((1, known.shape[1]), np.nan, np.float32)])
    return table[[place.get(of_text[text], len(known)) for text in texts]]


def has_vector(rows: Vectors) -> Mask:
    """Which rows stand for a text that has a vector."""
    known: Mask = ~np.isnan(rows[:, 0]) if rows.shape[1] else np.zeros(len(rows), np.bool_)
    return known


def dimension(encoder_id: str) -> int:
    """Length of this encoder's vectors, 0 where it has read nothing yet."""
    first = TextVector.objects.filter(encoder=encoder_id).values_list("vector", flat=True).first()
    return len(first) // 2 if first else 0


def stored_profiles() -> dict[str, tuple[str, bytes]]:
    """Every visitor's (encoder, packed profile); of several encoders the newest."""
    rows = VisitorVector.objects.order_by("computed_at").values_list("visitor", "encoder", "vector")
    return {visitor: (encoder, bytes(vector)) for visitor, encoder, vector in rows.iterator()}


def is_foreign(language: str, *, own: str | None) -> bool:
    """Whether a declared language ('de', 'pt-BR') is another than the encoder's one language."""
    return bool(own and language and language.split("-", maxsplit=1)[0].lower() != own)


def _known(encoder_id: str, digests: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for batch in _batches(digests, READ_BATCH):
        known.update(
            TextVector.objects.filter(encoder=encoder_id, text_sha256__in=batch).values_list(
                "text_sha256", flat=True
            )
        )
    return known


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
