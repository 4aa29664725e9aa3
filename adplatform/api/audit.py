"""Every change through the API leaves an entry that names the key, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

from django.db import transaction
from django.http import HttpRequest

from adplatform.accounts.services import audit
from adplatform.api.auth import key_of

Result = TypeVar("Result")


def noted(view: Callable[..., Result]) -> Callable[..., Result]:
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Result:
        key = key_of(request)
        with transaction.atomic():
            result = view(request, *args, **kwargs)
            audit(
                user=None,
                organisation=key.organisation,
                action="api.called",
                target=f"{request.method} {request.path}",
                detail={"key": key.prefix, "name": key.name},
            )
        return result

    # The framework reads the types of the parameters, which are written in the view's module and not in this one.
    answer.__signature__ = signature(view, eval_str=True)  # type: ignore[attr-defined]
    return answer
