"""Operator's rules: writing and stopping them, and their form that decisions read.

Every change leaves an audit entry and the notice upon which a new snapshot is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from adplatform.accounts.models import User
from adplatform.accounts.services import audit
from adplatform.campaigns.models import Creative, OperatorRule
from adplatform.core import outbox
from adplatform.decision import rules as decided
from adplatform.inventory.categories import Graph

LATE = timedelta(
    hours=1, minutes=1
)  # by which a rule's start may lie back when it is saved: its writer looked at it
SCOPE = ("advertiser", "category", "words", "site", "slot", "topic")


class RuleError(Exception):
    """A rule that cannot be, in a sentence a person can act on."""


def in_force(at: datetime) -> QuerySet[OperatorRule]:
    """Rules that hold at a moment or will hold later."""
    return OperatorRule.objects.filter(Q(end_at__isnull=True) | Q(end_at__gt=at), stopped_at__isnull=True)


def check(rule: OperatorRule, *, at: datetime) -> None:
    """Refuses what would do nothing, or more than was meant."""
    if not any(getattr(rule, name) for name in SCOPE):
        raise RuleError(
            _("Name at least one thing: an advertiser, a category, words, a site, a slot or a topic.")
        )
    if rule.words and not words_of(rule):
        raise RuleError(_("Write the words divided by commas."))
    if rule.slot and rule.site and rule.slot.site_id != rule.site_id:
        raise RuleError(_("The slot is on another site: name one of the two."))
    if rule.start_at < at - LATE:
        raise RuleError(_("A rule cannot begin in the past: what was decided stays as it was."))
    if rule.end_at is not None and rule.end_at <= max(rule.start_at, at):
        raise RuleError(_("The end lies before the start, or has passed."))
    if not rule.reason.strip():
        raise RuleError(_("Say why: who reads the log next year was not there."))
    if rule.action == OperatorRule.Action.MULTIPLY and rule.factor == 1:
        raise RuleError(_("A factor of 1 changes nothing."))


@transaction.atomic
def create(*, user: User, rule: OperatorRule, at: datetime, forecast: Mapping[str, Any]) -> OperatorRule:
    """Put a checked rule in force, with the effect that was shown for it."""
    check(rule, at=at)
    rule.created_by, rule.reason, rule.forecast = user, rule.reason.strip(), dict(forecast)
    rule.save()
    _record(user, rule, "rule.created", {name: str(value) for name, value in named(rule).items()})
    return rule


@transaction.atomic
def stop(*, user: User, rule: OperatorRule, at: datetime) -> OperatorRule:
    """Take it out of force; stopping twice changes nothing."""
    row = OperatorRule.objects.select_for_update().get(pk=rule.pk)
    if row.stopped_at is None:
        row.stopped_at = at
        row.save(update_fields=["stopped_at", "updated_at"])
        _record(user, row, "rule.stopped", {})
    return row


@transaction.atomic
def resume(*, user: User, rule: OperatorRule, at: datetime) -> OperatorRule:
    """Undo a stop, as long as the rule's end has not passed."""
    row = OperatorRule.objects.select_for_update().get(pk=rule.pk)
    if row.end_at is not None and row.end_at <= at:
        raise RuleError(_("Its end has passed. Write a new rule."))
    if row.stopped_at is not None:
        row.stopped_at = None
        row.save(update_fields=["stopped_at", "updated_at"])
        _record(user, row, "rule.resumed", {})
    return row


def named(rule: OperatorRule) -> dict[str, Any]:
    """What the rule says, by field, without what it leaves open."""
    fields: dict[str, Any] = {"action": rule.action}
    if rule.action == OperatorRule.Action.LIMIT:
        fields["share_bp"] = rule.share_bp
    if rule.action == OperatorRule.Action.MULTIPLY:
        fields["factor"] = rule.factor
    return fields | {
        name: getattr(rule, name) for name in (*SCOPE, "least_related", "reason") if getattr(rule, name)
    }


def words_of(rule: OperatorRule) -> list[str]:
    return [one.strip() for one in rule.words.split(",") if one.strip()]


def as_decided(
    rows: Iterable[OperatorRule], texts: Mapping[int, str], *, graph: Graph | None = None
) -> list[decided.OperatorRule]:
    """Rules as decisions read them: categories widened by the graph, words found in the texts of these creatives."""
    known = graph or Graph.load()
    return [_as_decided(row, texts, known) for row in rows]


def everywhere(rule: decided.OperatorRule) -> decided.OperatorRule:
    """The rule without its dates: what it would do at any moment."""
    return replace(rule, start_at=None, end_at=None)


def texts_of(creative_ids: Sequence[int] | None = None) -> dict[int, str]:
    """What rules look for words in: headline and text of ads, with the words of their button."""
    rows = Creative.objects.all() if creative_ids is None else Creative.objects.filter(pk__in=creative_ids)
    return {one.pk: f"{one.text} {one.call_to_action}" for one in rows.iterator()}


def _as_decided(row: OperatorRule, texts: Mapping[int, str], graph: Graph) -> decided.OperatorRule:
    words = words_of(row)
    found = [pk for pk, text in texts.items() if decided.has_words(text, words)]
    return decided.OperatorRule(
        id=row.pk or 0,
        action=decided.RuleAction(row.action),
        share_bp=row.share_bp,
        factor=row.factor,
        advertiser_id=row.advertiser_id,
        categories=graph.reach(row.category, least_related=row.least_related),
        creatives=frozenset(found) if words else None,
        site_id=row.site_id,
        slot_id=row.slot_id,
        topics=graph.reach(row.topic, least_related=row.least_related),
        start_at=row.start_at,
        end_at=row.end_at,
    )


def _record(user: User, rule: OperatorRule, action: str, detail: Mapping[str, Any]) -> None:
    audit(
        user=user,
        organisation=None,  # an operator's own note: no advertiser's history tells what rules were written
        action=action,
        target=f"{rule.get_action_display()}: {rule.reason}",
        detail={"rule": str(rule.public_id), **detail},
    )
    outbox.write("snapshot", {"reason": f"{action} {rule.pk}"})
