"""Pages about the organisation itself: its history, its keys, its members."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.accounts import keys as key_form
from adplatform.accounts import queries, services
from adplatform.accounts.forms import ApiKeyForm, MemberForm, SettingsForm
from adplatform.accounts.models import Membership, Organisation
from adplatform.campaigns import caps
from adplatform.campaigns.caps import CapFields
from adplatform.core import clock
from adplatform.portal import pages
from adplatform.portal.history import told
from adplatform.portal.messages import error, success

PER_PAGE = 50


@pages.page()
def changes(request: HttpRequest, membership: Membership) -> HttpResponse:
    page = Paginator(queries.changes_of(membership.organisation), PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "section": "changes",
        "page": page,
        "rows": [told(entry, membership.organisation) for entry in page],
    }
    return render(request, "portal/changes.html", context)


@pages.page()
def keys(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The keys; a new one is shown once, in the answer to the form that made it."""
    form, secret = ApiKeyForm(request.POST or None), ""
    if request.method == "POST":
        queries.require_edit(membership)
        if form.is_valid():
            secret = _create_key(request, membership, form)
            form = ApiKeyForm()
    context = {
        "section": "keys",
        "membership": membership,
        "form": form,
        "secret": secret,
        "keys": queries.api_keys_of(membership.organisation),
        "scopes": key_form.SCOPES,
        "at": clock.now(),
    }
    answer = render(request, "portal/keys.html", context, status=422 if form.errors else 200)
    answer["Cache-Control"] = "no-store"
    return answer


def _create_key(request: HttpRequest, membership: Membership, form: ApiKeyForm) -> str:
    lifetime = form.cleaned_data["expires"]
    _key, secret = services.create_api_key(
        user=pages.person(request),
        organisation=membership.organisation,
        name=form.cleaned_data["name"],
        scopes=form.cleaned_data["scopes"],
        expires_at=clock.now() + lifetime if lifetime else None,
    )
    return secret


@require_POST
@pages.page(edit=True)
def revoke_key(request: HttpRequest, _membership: Membership, pk: int) -> HttpResponse:
    key = queries.api_key_for(pages.person(request), pk)
    queries.require_edit(queries.membership_in(pages.person(request), key.organisation))
    services.revoke_api_key(user=pages.person(request), key=key, at=clock.now())
    success(request, _("The key “%(name)s” is revoked.") % {"name": key.name})
    return redirect("portal:keys")


@pages.page()
def settings(request: HttpRequest, membership: Membership) -> HttpResponse:
    organisation = membership.organisation
    initial = {"name": organisation.name, "time_zone": organisation.time_zone}
    form = SettingsForm(request.POST or None, initial=initial)
    if request.method == "POST":
        queries.require_owner(membership)
        if form.is_valid():
            services.update_organisation(
                user=pages.person(request), organisation=organisation, **form.cleaned_data
            )
            success(request, _("The settings are saved."))
            return redirect("portal:settings")
    context = {
        "section": "settings",
        "membership": membership,
        "form": form,
        "members": queries.members_of(organisation),
        "member_form": MemberForm(),
        "roles": Membership.Role.choices,
        "is_owner": membership.role == Membership.Role.OWNER,
        "cap_form": CapFields(initial=caps.initial_of(caps.of_advertiser(organisation)))
        if organisation.kind == Organisation.Kind.ADVERTISER and membership.may_edit
        else None,
    }
    return render(request, "portal/settings.html", context, status=422 if form.errors else 200)


@require_POST
@pages.page()
def add_member(request: HttpRequest, membership: Membership) -> HttpResponse:
    queries.require_owner(membership)
    form = MemberForm(request.POST)
    if not form.is_valid():
        error(request, " ".join(str(message) for messages in form.errors.values() for message in messages))
        return redirect("portal:settings")
    try:
        services.add_member(
            user=pages.person(request), organisation=membership.organisation, **form.cleaned_data
        )
    except services.AccountsError as refusal:
        error(request, str(refusal))
    else:
        success(request, _("%(email)s is a member now.") % form.cleaned_data)
    return redirect("portal:settings")


@require_POST
@pages.page()
def change_member(request: HttpRequest, _membership: Membership, pk: int) -> HttpResponse:
    """Another role, or an empty one: the person leaves."""
    member = queries.member_for(pages.person(request), pk)
    queries.require_owner(queries.membership_in(pages.person(request), member.organisation))
    role = request.POST.get("role", "")
    try:
        services.change_role(
            user=pages.person(request), membership=member, role=role if role in Membership.Role.values else ""
        )
    except services.AccountsError as refusal:
        error(request, str(refusal))
    else:
        success(request, _("The change is saved."))
    return redirect("portal:settings")
