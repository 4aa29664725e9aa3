"""Warning advertisers before their money runs out: a mail when it begins, and a banner for as long as it lasts."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import Sum

from adplatform.accounts.models import Membership, Organisation
from adplatform.billing import queries
from adplatform.billing.models import LowBalance
from adplatform.core.money import format_micros
from adplatform.core.tenants import platform
from adplatform.events.models import HourlyStat

LOOK_BACK_DAYS = 3  # a day's cost is the mean of these


def watch(*, at: datetime, dry_run: bool = False) -> tuple[int, int]:
    """(advertisers whose money now lasts too little and did not before, those that have enough again)."""
    daily = _daily_spend(at)
    known = set(LowBalance.objects.values_list("organisation_id", flat=True))
    low, fine = 0, 0
    for organisation in Organisation.objects.filter(pk__in=daily.keys() | known, is_active=True):
        available = queries.available(organisation)
        is_low = available < daily.get(organisation.pk, 0) * settings.LOW_BALANCE_DAYS
        low += is_low and organisation.pk not in known
        fine += not is_low and organisation.pk in known
        if not dry_run:
            _note(organisation, available, daily.get(organisation.pk, 0), is_low=is_low, at=at)
    return low, fine


def of(organisation: Organisation) -> LowBalance | None:
    return LowBalance.objects.filter(organisation=organisation).first()


def unmailed() -> list[int]:
    """Organisations that were not told yet."""
    return list(LowBalance.objects.filter(mailed_at=None).values_list("organisation_id", flat=True))


def mail(organisation_id: int, *, at: datetime) -> bool:
    """Tell the organisation, once; called inside its walls, so that nobody else is told. A mail that cannot be sent
    raises, and the next watch asks for it again."""
    with platform():  # that it was sent is the platform's to note
        is_first = LowBalance.objects.filter(pk=organisation_id, mailed_at=None).update(mailed_at=at)
    low = LowBalance.objects.select_related("organisation").filter(pk=organisation_id).first()
    if low is None or not is_first:
        return False
    send_mail(f"{low.organisation}: little money is left", _words(low), None, _recipients(low.organisation))
    return True


def _daily_spend(at: datetime) -> dict[int, int]:
    rows = HourlyStat.objects.filter(
        hour__gte=at - timedelta(days=LOOK_BACK_DAYS), source__in=queries.BILLED_SOURCES, spend_micros__gt=0
    )
    sums = rows.values("advertiser_id").annotate(micros=Sum("spend_micros"))
    return {row["advertiser_id"]: row["micros"] // LOOK_BACK_DAYS for row in sums}


def _note(organisation: Organisation, available: int, daily: int, *, is_low: bool, at: datetime) -> None:
    if not is_low:
        LowBalance.objects.filter(organisation=organisation).delete()
        return
    LowBalance.objects.update_or_create(
        organisation=organisation,
        defaults={"available_micros": available, "daily_micros": daily},
        create_defaults={"available_micros": available, "daily_micros": daily, "since": at},
    )


def _words(low: LowBalance) -> str:
    organisation = low.organisation
    left, cost = (
        format_micros(micros, organisation.currency) for micros in (low.available_micros, low.daily_micros)
    )
    return (
        f"{organisation} can still spend {left}; lately a day cost {cost}.\n"
        "When the money is gone, its ads stop until more arrives.\n\n"
        f"Add money: {settings.BASE_URL}/billing/deposit/\n"
    )


def _recipients(organisation: Organisation) -> list[str]:
    roles = Membership.objects.filter(organisation=organisation, role__in=["owner", "manager"])
    return list(roles.values_list("user__email", flat=True))
