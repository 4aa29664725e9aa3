"""What every portal page has in common: a signed-in person, the organisation they work in, and its time zone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone

from adplatform.accounts import queries
from adplatform.accounts.models import Membership, Organisation, User
from adplatform.core.tenants import tenant

ADVERTISER = Organisation.Kind.ADVERTISER
PUBLISHER = Organisation.Kind.PUBLISHER
SESSION_KEY = "organisation"

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, Membership, P], HttpResponseBase]
View = Callable[..., HttpResponseBase]


def person(request: HttpRequest) -> User:
    """The signed-in person; pages behind `page` always have one."""
    if not isinstance(request.user, User):
        raise TypeError("This page needs a signed-in person.")
    return request.user


def current(request: HttpRequest) -> Membership | None:
    """The role in the organisation that the person chose in the sidebar; read once per request."""
    if not hasattr(request, "_membership"):
        chosen = request.session.get(SESSION_KEY)
        found = queries.current_membership(person(request), chosen) if request.user.is_authenticated else None
        request._membership = found  # type: ignore[attr-defined]
    membership: Membership | None = request._membership  # type: ignore[attr-defined]
    return membership


def role(request: HttpRequest) -> Membership:
    """The role that `page` or `object_page` found."""
    membership = current(request)
    if membership is None:
        raise TypeError("This page needs an organisation.")
    return membership


def work_in(request: HttpRequest, membership: Membership) -> None:
    """From now on the person's pages are those of this organisation."""
    request.session[SESSION_KEY] = str(membership.organisation.public_id)
    request._membership = membership  # type: ignore[attr-defined]


@contextmanager
def _inside(request: HttpRequest, membership: Membership) -> Iterator[None]:
    """The organisation's rows, one transaction, and the organisation's time."""
    organisation = membership.organisation
    with tenant(organisation, person=person(request)), timezone.override(ZoneInfo(organisation.time_zone)):
        yield


def page(kind: str | None = None, *, edit: bool = False) -> Callable[[Page[P]], View]:
    """Wrap `view(request, membership, …)`: sign-in, an organisation of that kind, and the right to edit where needed.

    The page is made inside the organisation's walls, in one transaction; its times are those of the organisation's zone.
    """

    def decorate(view: Page[P]) -> View:
        @login_required
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            membership = current(request)
            if membership is None or (kind and membership.organisation.kind != kind):
                return redirect("portal:home")
            if edit:
                queries.require_edit(membership)
            with _inside(request, membership):
                return view(request, membership, *args, **kwargs)

        return answer

    return decorate


def _where_to_look(request: HttpRequest) -> Iterator[Membership]:
    chosen = current(request)
    if chosen is None:
        return
    yield chosen
    yield from queries.memberships_of(person(request)).exclude(pk=chosen.pk)


def _found(find: Callable[..., Any], user: User, public_id: str) -> Any:
    try:
        return find(user, public_id)
    except Http404:
        return None


def object_page(
    find: Callable[..., Any], owner: Callable[[Any], Organisation], *, edit: bool = False
) -> Callable[[Callable[..., HttpResponse]], View]:
    """Wrap `view(request, thing)`: the thing comes through its doorway, and its organisation becomes the
    one that the person works in (a link from a colleague may lead to another of their organisations).

    It is looked for inside the walls of one of the person's organisations after the other, the chosen one first: at
    most one short transaction for each that they belong to.
    """

    def decorate(view: Callable[..., HttpResponse]) -> View:
        @login_required
        @wraps(view)
        def answer(request: HttpRequest, public_id: str, **kwargs: Any) -> HttpResponseBase:
            for membership in _where_to_look(request):
                with _inside(request, membership):
                    thing = _found(find, person(request), public_id)
                    if thing is None or owner(thing) != membership.organisation:
                        continue
                    if edit:
                        queries.require_edit(membership)
                    work_in(request, membership)
                    return view(request, thing, **kwargs)
            raise Http404

        return answer

    return decorate
