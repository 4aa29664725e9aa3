"""Doorways to organisations, people and keys: what a person is no member of does not exist for them (404)."""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _

from adplatform.accounts.models import ApiKey, AuditEntry, Membership, Organisation, User


def memberships_of(user: User) -> QuerySet[Membership]:
    """The person's roles in organisations that are not closed, by name."""
    roles = Membership.objects.filter(user=user, organisation__is_active=True)
    return roles.select_related("organisation").order_by("organisation__name", "pk")


def membership_for(user: User, public_id: UUID | str) -> Membership:
    return get_object_or_404(memberships_of(user), organisation__public_id=public_id)


def membership_in(user: User, organisation: Organisation) -> Membership:
    """The person's role there; 404 where there is none."""
    return get_object_or_404(memberships_of(user), organisation=organisation)


def current_membership(user: User, chosen: str | None) -> Membership | None:
    """The organisation that the person works in: the chosen one while it is theirs, else the first."""
    roles = list(memberships_of(user))
    for role in roles:
        if str(role.organisation.public_id) == chosen:
            return role
    return roles[0] if roles else None


def require_edit(membership: Membership) -> None:
    """Analysts read; whoever may not edit is told so in words."""
    if not membership.may_edit:
        raise PermissionDenied(
            _(
                "Your role in %(organisation)s is analyst: you can look at everything and change nothing. Ask an owner for another role."
            )
            % {"organisation": membership.organisation}
        )


def require_owner(membership: Membership) -> None:
    if membership.role != Membership.Role.OWNER:
        raise PermissionDenied(
            _("Only an owner of %(organisation)s can do this.") % {"organisation": membership.organisation}
        )


def members_of(organisation: Organisation) -> QuerySet[Membership]:
    return organisation.memberships.select_related("user").order_by("user__email")


def member_for(user: User, pk: int) -> Membership:
    """A colleague's role in one of the person's organisations."""
    organisations = memberships_of(user).values("organisation")
    return get_object_or_404(
        Membership.objects.select_related("organisation", "user"), pk=pk, organisation__in=organisations
    )


def api_keys_of(organisation: Organisation) -> QuerySet[ApiKey]:
    return organisation.api_keys.order_by("revoked_at", "-created_at")


def api_key_for(user: User, pk: int) -> ApiKey:
    organisations = memberships_of(user).values("organisation")
    return get_object_or_404(
        ApiKey.objects.select_related("organisation"), pk=pk, organisation__in=organisations
    )


def changes_of(organisation: Organisation) -> QuerySet[AuditEntry]:
    """Who did what, newest first."""
    return AuditEntry.objects.filter(organisation=organisation).select_related("user").order_by("-at", "-pk")
