"""Changes to organisations, members and keys. Each one leaves an audit entry in its transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from adplatform.accounts import keys
from adplatform.accounts.models import ApiKey, AuditEntry, Membership, Organisation, User
from adplatform.core.tenants import platform


class AccountsError(Exception):
    """A change to an organisation that its rules refuse, in a sentence a person can act on."""


def audit(
    *,
    user: User | None,
    organisation: Organisation | None,
    action: str,
    target: str,
    detail: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Note who did what; `detail` holds {"field": [before, after]} or other plain facts."""
    return AuditEntry.objects.create(
        user=user, organisation=organisation, action=action, target=target[:120], detail=dict(detail or {})
    )


@transaction.atomic
def found_organisation(*, user: User, name: str, kind: str, currency: str, time_zone: str) -> Membership:
    """A new organisation with the person as its owner."""
    organisation = Organisation.objects.create(name=name, kind=kind, currency=currency, time_zone=time_zone)
    membership = Membership.objects.create(user=user, organisation=organisation, role=Membership.Role.OWNER)
    audit(
        user=user,
        organisation=organisation,
        action="organisation.created",
        target=name,
        detail={"kind": kind, "currency": currency, "time_zone": time_zone},
    )
    return membership


@transaction.atomic
def update_organisation(*, user: User, organisation: Organisation, name: str, time_zone: str) -> Organisation:
    """Name and time zone; the currency stays, since its money never mixes with another's."""
    before = {"name": organisation.name, "time_zone": organisation.time_zone}
    after = {"name": name, "time_zone": time_zone}
    changes = {field: [before[field], after[field]] for field in after if before[field] != after[field]}
    if changes:
        organisation.name, organisation.time_zone = name, time_zone
        organisation.save(update_fields=["name", "time_zone", "updated_at"])
        audit(
            user=user, organisation=organisation, action="organisation.changed", target=name, detail=changes
        )
    return organisation


@transaction.atomic
def add_member(*, user: User, organisation: Organisation, email: str, role: str) -> Membership:
    """Give a person who has signed up a role."""
    with platform():  # who is no member yet is nobody's
        person = User.objects.filter(email__iexact=email, is_active=True).first()
    if person is None:
        raise AccountsError(_("Nobody has signed up with this address yet. Ask them to sign up first."))
    membership, created = Membership.objects.get_or_create(
        user=person, organisation=organisation, defaults={"role": role}
    )
    if not created:
        raise AccountsError(_("This person is a member already."))
    audit(
        user=user,
        organisation=organisation,
        action="member.added",
        target=person.email,
        detail={"role": role},
    )
    return membership


@transaction.atomic
def change_role(*, user: User, membership: Membership, role: str) -> None:
    """Another role, or none (`role=""`: the person leaves). An organisation keeps at least one owner."""
    owners = Membership.objects.select_for_update().filter(
        organisation=membership.organisation, role=Membership.Role.OWNER
    )
    if role != Membership.Role.OWNER and [owner.pk for owner in owners] == [membership.pk]:
        raise AccountsError(_("An organisation keeps at least one owner. Make someone else an owner first."))
    before = membership.role
    if role:
        membership.role = role
        membership.save(update_fields=["role", "updated_at"])
    else:
        membership.delete()
    audit(
        user=user,
        organisation=membership.organisation,
        action="member.role_changed" if role else "member.removed",
        target=membership.user.email,
        detail={"role": [before, role]},
    )


@transaction.atomic
def create_api_key(
    *, user: User, organisation: Organisation, name: str, scopes: Sequence[str], expires_at: datetime | None
) -> tuple[ApiKey, str]:
    """A key and its only readable form, which is shown once and kept nowhere."""
    prefix, secret = keys.new()
    key = ApiKey.objects.create(
        organisation=organisation,
        name=name,
        prefix=prefix,
        secret_sha256=keys.digest(secret),
        scopes=list(scopes),
        expires_at=expires_at,
    )
    audit(
        user=user,
        organisation=organisation,
        action="api_key.created",
        target=str(key),
        detail={"scopes": list(scopes)},
    )
    return key, keys.join(prefix, secret)


@transaction.atomic
def revoke_api_key(*, user: User, key: ApiKey, at: datetime) -> None:
    if key.revoked_at is not None:
        return
    key.revoked_at = at
    key.save(update_fields=["revoked_at", "updated_at"])
    audit(user=user, organisation=key.organisation, action="api_key.revoked", target=str(key))


def authenticate(key: str, *, at: datetime) -> ApiKey | None:
    """The live key that this text is, if any."""
    prefix, secret = keys.split(key)
    found = (
        ApiKey.objects.select_related("organisation")
        .filter(prefix=prefix, organisation__is_active=True)
        .first()
    )
    if found is None or not keys.matches(secret, found.secret_sha256):
        return None
    if found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= at):
        return None
    return found
