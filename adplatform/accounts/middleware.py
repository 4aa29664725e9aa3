"""Names signed-in people to the ads role: see own.py."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from adplatform.accounts import own
from adplatform.accounts.models import User

Answer = Callable[[HttpRequest], HttpResponse]


class NameMembers:
    """Gives a signed-in browser the cookie by which its own clicks are known; once a day, not with every page."""

    def __init__(self, get_response: Answer) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        user = getattr(request, "user", None)
        if isinstance(user, User) and user.is_authenticated and own.COOKIE not in request.COOKIES:
            response.set_cookie(
                own.COOKIE,
                own.sign(_organisations(user)),
                max_age=own.SECONDS,
                secure=settings.SECURE_COOKIES,
                httponly=True,
                samesite="Lax",
            )
        return response


def _organisations(user: User) -> list[int]:
    ids = list(user.memberships.values_list("organisation_id", flat=True))
    return [own.EVERYBODYS, *ids] if user.is_staff else ids
