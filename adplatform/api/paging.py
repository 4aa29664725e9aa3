"""Lists in pages: `limit` and `offset` in, `{"items", "count"}` out."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from ninja.pagination import LimitOffsetPagination, paginate

View = Callable[..., Any]


def paged(view: View) -> View:
    # The framework's wrapper would look for the types of the view's parameters in its own module.
    view.__signature__ = signature(view, eval_str=True)  # type: ignore[attr-defined]
    made: View = paginate(LimitOffsetPagination)(view)
    return made
