"""Who may open the console: operators of the platform. For everyone else it does not exist."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponseBase

from adplatform.accounts.models import User

View = Callable[..., HttpResponseBase]


def operator_page(view: View) -> View:
    """Wrap a view of the console: sign-in first, then 404 for whoever is no operator."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not request.user.is_staff:
            raise Http404
        return view(request, *args, **kwargs)

    return answer


def operator(request: HttpRequest) -> User:
    """The operator who looks at the page."""
    if not isinstance(request.user, User):
        raise TypeError("This page needs a signed-in operator.")
    return request.user
