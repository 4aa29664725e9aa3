"""Which tree parameters the next training uses: those of the newest search, where it confirmed them."""

from __future__ import annotations

from typing import Any

from adplatform.learning.models import SearchRun
from ml.ctr import features


def tuned() -> dict[str, Any]:
    """LightGBM's parameters found by search; empty (the blender's own) where none beat them, or for other features."""
    newest = SearchRun.objects.filter(finished_at__isnull=False).order_by("-finished_at").first()
    if newest is None or not newest.is_kept or newest.schema != features.SCHEMA:
        return {}
    return dict(newest.parameters)
