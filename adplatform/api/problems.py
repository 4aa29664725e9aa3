"""Errors of the API as problem JSON (RFC 9457): a stable `code` for programs, a sentence for people."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from adplatform.campaigns.services import CampaignError
from adplatform.decision.targeting import TargetingError
from adplatform.insights.queries import RangeError
from adplatform.inventory.rights import RightsError

log = logging.getLogger(__name__)

Answer = Callable[[HttpRequest, Any], HttpResponse]


class ProblemError(Exception):
    """A refusal of the API itself. `errors` names the fields that are wrong."""

    def __init__(self, status: int, code: str, detail: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.errors = status, code, detail, errors or {}


def problem(status: int, code: str, detail: str, errors: dict[str, str] | None = None) -> HttpResponse:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    answer = JsonResponse(body, status=status, content_type="application/problem+json")
    answer["Cache-Control"] = "no-store"
    if status == HTTPStatus.UNAUTHORIZED:
        answer["WWW-Authenticate"] = 'Bearer realm="adplatform"'
    return answer


def install(api: NinjaAPI) -> None:
    """Turn what the layers below raise into problems."""
    handlers: dict[type[Exception], Answer] = {
        ProblemError: _own,
        ValidationError: _invalid,
        AuthenticationError: lambda _request, _error: problem(
            401, "unauthorized", "Send a live API key: Authorization: Bearer adp_….…"
        ),
        PermissionDenied: lambda _request, error: problem(
            403, "forbidden", str(error) or "This is not allowed."
        ),
        Http404: lambda _request, _error: problem(404, "not_found", "There is nothing here."),
        CampaignError: lambda _request, error: problem(409, "refused", str(error)),
        RightsError: lambda _request, error: problem(409, "refused", str(error)),
        TargetingError: _targeting,
        RangeError: lambda _request, error: problem(422, "invalid_range", str(error)),
        HttpError: _http,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def _own(_request: HttpRequest, error: ProblemError) -> HttpResponse:
    return problem(error.status, error.code, error.detail, error.errors)


def _invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    errors = {_field(one["loc"]): str(one["msg"]).removeprefix("Value error, ") for one in error.errors}
    return problem(422, "invalid_request", "Some fields cannot be read.", errors)


def _field(loc: tuple[Any, ...]) -> str:
    """Where in the request: without the words by which the framework names its parts."""
    return ".".join(str(part) for part in loc if part not in {"body", "query", "path", "payload", "filters"})


def _targeting(_request: HttpRequest, error: TargetingError) -> HttpResponse:
    errors = {f"targeting.{name}": message for name, message in error.errors.items()}
    return problem(422, "invalid_request", "The targeting cannot be read.", errors)


def _http(_request: HttpRequest, error: HttpError) -> HttpResponse:
    code = "invalid_json" if error.status_code == HTTPStatus.BAD_REQUEST else "refused"
    return problem(error.status_code, code, str(error))


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    log.exception("%s %s failed", request.method, request.path, exc_info=error)
    return problem(500, "error", "This could not be answered. It was logged; send it again later.")
