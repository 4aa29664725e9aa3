"""Why a campaign serves or does not, in words, for many campaigns in a handful of queries.

The facts are gathered first, the verdict is a pure function of them. The first matching rule wins, so that a person
reads the cause that they have to remove first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.billing.queries import granted
from adplatform.campaigns.budgets import UNLIMITED
from adplatform.campaigns.models import Budget, Campaign, Creative, LineItem, Purse, Status
from adplatform.core.money import format_micros
from adplatform.insights.metrics import local_date


class Tone(StrEnum):
    """How a status looks: the class of its chip."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    LEARN = "learn"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class CampaignStatus:
    """`words` for the chip, `why` for the sentence behind it, `pacing` in percent of what should be spent by now."""

    words: str
    tone: Tone
    why: str
    pacing: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the verdict on one campaign needs. Amounts in micros of its currency; None where there is no such limit."""

    campaign: Campaign
    line_items: int = 0
    reviews: Mapping[str, int] | None = None
    day_amount: int | None = None
    day_spent: int = 0
    flight_amount: int | None = None
    flight_spent: int = 0
    money_left: int = 0

    def creatives(self, review: str) -> int:
        return (self.reviews or {}).get(review, 0)


def campaign_status(campaign: Campaign, at: datetime) -> CampaignStatus:
    return campaign_statuses([campaign], at)[campaign.pk]


def campaign_statuses(campaigns: Iterable[Campaign], at: datetime) -> dict[int, CampaignStatus]:
    """The status of each campaign by its id. Read campaigns with `select_related("organisation")`."""
    return {facts.campaign.pk: verdict(facts, at) for facts in _facts(list(campaigns), at)}


def verdict(facts: Facts, at: datetime) -> CampaignStatus:
    words, tone, why = _stopped(facts, at) or _not_ready(facts) or _limited(facts) or _serving(facts)
    return CampaignStatus(words, tone, why, _pacing(facts, at))


Answer = tuple[str, Tone, str]
_RESTING = {
    Status.ARCHIVED: (gettext_lazy("Archived"), gettext_lazy("It was archived and will not serve again.")),
    Status.DRAFT: (gettext_lazy("Draft"), gettext_lazy("Nothing is spent until it is launched.")),
}


def _stopped(facts: Facts, at: datetime) -> Answer | None:
    campaign = facts.campaign
    if campaign.source not in {"live", "demo"}:
        return (
            _("Imported"),
            Tone.PAUSED,
            _("Its numbers come from a data set. It never serves and is never billed."),
        )
    if campaign.status in _RESTING:
        words, why = _RESTING[Status(campaign.status)]
        return str(words), Tone.PAUSED, str(why)
    if campaign.end_at and campaign.end_at <= at:
        return (
            _("Ended"),
            Tone.PAUSED,
            _("Its flight ended on %(day)s.") % {"day": _day(campaign, campaign.end_at)},
        )
    if campaign.status == Status.PAUSED:
        return _("Paused"), Tone.PAUSED, _("It was paused. Resume it to serve again.")
    if campaign.start_at > at:
        return (
            _("Not started"),
            Tone.LEARN,
            _("It starts on %(day)s.") % {"day": _day(campaign, campaign.start_at)},
        )
    return None


def _not_ready(facts: Facts) -> Answer | None:
    if not facts.line_items:
        return _("Not serving"), Tone.BAD, _("It has no active line item.")
    if not facts.creatives(Creative.Review.APPROVED):
        if facts.creatives(Creative.Review.PENDING):
            return (
                _("In review"),
                Tone.LEARN,
                _("Its creatives wait for review. It serves as soon as one is approved."),
            )
        if facts.creatives(Creative.Review.REJECTED):
            return (
                _("No approved creative"),
                Tone.BAD,
                _("Its creatives were rejected. Change them and resubmit."),
            )
        return _("No approved creative"), Tone.BAD, _("Its active line items have no creative.")
    if facts.money_left <= 0:
        return (
            _("No money"),
            Tone.BAD,
            _("The prepaid balance is empty. Deposit money and it serves within a minute."),
        )
    return None


def _limited(facts: Facts) -> Answer | None:
    currency = facts.campaign.currency
    if facts.flight_amount is not None and facts.flight_spent >= facts.flight_amount:
        amount = format_micros(facts.flight_amount, currency)
        return (
            _("Budget spent"),
            Tone.WARN,
            _("The flight's budget of %(amount)s is spent.") % {"amount": amount},
        )
    if facts.day_amount is not None and facts.day_spent >= facts.day_amount:
        amount = format_micros(facts.day_amount, currency)
        why = _("Today's budget of %(amount)s is spent. It serves again tomorrow.") % {"amount": amount}
        return _("Limited by budget"), Tone.WARN, why
    return None


def _serving(facts: Facts) -> Answer:
    if facts.day_amount is None:
        return _("Serving"), Tone.OK, _("It takes part in auctions.")
    words = {
        "spent": format_micros(facts.day_spent, facts.campaign.currency),
        "amount": format_micros(facts.day_amount, facts.campaign.currency),
    }
    return (
        _("Serving"),
        Tone.OK,
        _("It takes part in auctions. Today %(spent)s of %(amount)s are spent.") % words,
    )


def _pacing(facts: Facts, at: datetime) -> int | None:
    if facts.day_amount:
        return _percent(facts.day_spent, facts.day_amount, _day_elapsed(facts.campaign, at))
    campaign = facts.campaign
    if facts.flight_amount and campaign.end_at:
        share = (at - campaign.start_at) / (campaign.end_at - campaign.start_at)
        return _percent(facts.flight_spent, facts.flight_amount, share)
    return None


def _percent(spent: int, amount: int, elapsed: float) -> int | None:
    due = amount * min(elapsed, 1.0)
    return round(100 * spent / due) if due > 0 else None


def _day_elapsed(campaign: Campaign, at: datetime) -> float:
    local = at.astimezone(ZoneInfo(campaign.organisation.time_zone))
    return (local.hour * 3600 + local.minute * 60 + local.second) / 86_400


def _day(campaign: Campaign, moment: datetime) -> str:
    local = moment.astimezone(ZoneInfo(campaign.organisation.time_zone))
    return f"{local.day} {local:%b %Y}"


def _facts(campaigns: list[Campaign], at: datetime) -> list[Facts]:
    ids = [campaign.pk for campaign in campaigns]
    line_items = _line_items(ids)
    reviews = _reviews(ids)
    money = _money_left({campaign.organisation_id for campaign in campaigns})
    today = {campaign.pk: local_date(at, campaign.organisation.time_zone) for campaign in campaigns}
    budgets = _budgets(ids, today)
    facts = []
    for campaign in campaigns:
        day = budgets.get((campaign.pk, True))
        flight = budgets.get((campaign.pk, False))
        facts.append(
            Facts(
                campaign=campaign,
                line_items=line_items.get(campaign.pk, 0),
                reviews=reviews.get(campaign.pk, {}),
                day_amount=_limit(day, campaign.daily_budget_micros),
                day_spent=day.spent_micros if day else 0,
                flight_amount=_limit(flight, campaign.flight_budget_micros),
                flight_spent=flight.spent_micros if flight else 0,
                money_left=money.get(campaign.organisation_id, 0),
            )
        )
    return facts


def _limit(budget: Budget | None, planned: int | None) -> int | None:
    """What may be spent: the row that ingest charges against, else the campaign's own figure; None: no limit."""
    amount = budget.amount_micros if budget else planned
    return None if amount is None or amount >= UNLIMITED else amount


def _line_items(ids: list[int]) -> dict[int, int]:
    counted: dict[int, int] = {}
    for campaign_id in LineItem.objects.filter(campaign_id__in=ids, status=Status.ACTIVE).values_list(
        "campaign_id", flat=True
    ):
        counted[campaign_id] = counted.get(campaign_id, 0) + 1
    return counted


def _reviews(ids: list[int]) -> dict[int, dict[str, int]]:
    """Active creatives of active line items by review state."""
    rows = Creative.objects.filter(
        line_item__campaign_id__in=ids, line_item__status=Status.ACTIVE, status=Status.ACTIVE
    )
    counted: dict[int, dict[str, int]] = {}
    for campaign_id, review in rows.values_list("line_item__campaign_id", "review"):
        states = counted.setdefault(campaign_id, {})
        states[review] = states.get(review, 0) + 1
    return counted


def _money_left(organisations: set[int]) -> dict[int, int]:
    """What each advertiser may still be charged: all it ever paid in, less all it was ever charged."""
    spent = dict(
        Purse.objects.filter(organisation_id__in=organisations).values_list("organisation_id", "spent_micros")
    )
    return {owner: micros - spent.get(owner, 0) for owner, micros in granted(organisations).items()}


def _budgets(ids: list[int], today: Mapping[int, object]) -> dict[tuple[int, bool], Budget]:
    """By campaign and whether it is the day's (else the flight's)."""
    wanted = Q(date__isnull=True) | Q(date__in=set(today.values()))
    found: dict[tuple[int, bool], Budget] = {}
    for budget in Budget.objects.filter(wanted, campaign_id__in=ids):
        if budget.date is None or budget.date == today[budget.campaign_id]:
            found[budget.campaign_id, budget.date is not None] = budget
    return found
