"""Explanations in words: every sentence that a visitor or an advertiser reads about why an ad was shown stands here.

A reason says what counted and how much, never who anybody is: no id, no other advertiser's name. What a visitor did is
told to that visitor alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adplatform.campaigns.models import Creative, Status
from adplatform.core.money import format_micros
from adplatform.decision.reasons import NoAd
from adplatform.events.models import AdDecision
from adplatform.learning.explain import CLICKED, Explanation, Near
from adplatform.learning.models import SimilarAds
from ml.ctr.explain import CONTEXT, EXPLORATION, FATIGUE, HISTORY, QUALITY, TEXT

AUCTION = "auction"
NEW = 100.0  # impressions below which an ad is new
LONGEST = 90  # letters of a text that is quoted

GROUPS: dict[str, str | Promise] = {
    TEXT: gettext_lazy("Match of topics"),
    HISTORY: gettext_lazy("Readiness to click"),
    QUALITY: gettext_lazy("The ad's record"),
    CONTEXT: gettext_lazy("Time and place"),
    FATIGUE: gettext_lazy("How often it was seen"),
    EXPLORATION: gettext_lazy("How new the ad is"),
}
SYMBOLS = {
    TEXT: "book-open",
    HISTORY: "mouse-pointer-click",
    QUALITY: "chart-column",
    CONTEXT: "clock",
    FATIGUE: "repeat",
    EXPLORATION: "sparkles",
    AUCTION: "scale",
}
_DID: dict[str, str | Promise] = {
    "read": gettext_lazy("you read “%(text)s”"),
    "purchase": gettext_lazy("you bought “%(text)s”"),
    CLICKED: gettext_lazy("you opened the ad “%(text)s”"),
}
# Log odds from which on a part is worth its words: ×1.1, ×1.5.
_SLIGHT, _STRONG = math.log(1.1), math.log(1.5)


@dataclass(frozen=True, slots=True)
class Reason:
    """One part of the answer. `effect` is −2 … 2, None where it cannot be told."""

    group: str
    title: str
    text: str
    effect: int | None = None

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.group]

    @property
    def strength(self) -> str:
        return "" if self.effect is None else str(_STRENGTHS[self.effect])


_STRENGTHS: dict[int, str | Promise] = {
    2: gettext_lazy("counted strongly for it"),
    1: gettext_lazy("counted for it"),
    0: gettext_lazy("made little difference"),
    -1: gettext_lazy("counted against it"),
    -2: gettext_lazy("counted strongly against it"),
}


def effect(log_odds: float) -> int:
    """−2 … 2: how much a part moved the odds of a click."""
    size = 0 if abs(log_odds) < _SLIGHT else 1 if abs(log_odds) < _STRONG else 2
    return size if log_odds > 0 else -size


def factor(log_odds: float) -> str:
    """What a part multiplied the odds of a click by: ×1.4."""
    return f"×{math.exp(log_odds):.2f}"


# --- for the visitor --------------------------------------------------------------------------------------------------


def for_visitor(told: Explanation) -> list[Reason]:
    """What led to the ad, in the visitor's words; the auction comes last."""
    reasons = [
        _part(told, TEXT, _match(told)),
        _part(told, QUALITY, _record(told)),
        _part(
            told, CONTEXT, _("Where on the page the ad stands, your kind of device, the hour and the day.")
        ),
    ]
    if told.decision.visitor:
        reasons.append(_part(told, FATIGUE, _seen(told)))
        reasons.append(
            _part(told, HISTORY, _("How often you open ads at all, apart from how good they are."))
        )
    reasons.append(_chance(told))
    reasons.append(Reason(AUCTION, _("The offer"), _offer(told)))
    return reasons


def nearest(acts: Iterable[Near]) -> list[str]:
    """The acts that are like the ad, as the visitor did them."""
    return [str(_DID[act.kind]) % {"text": shortened(act.text)} for act in acts]


def shortened(text: str) -> str:
    """A quotation that fits a line."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def _match(told: Explanation) -> str:
    if told.nearest:
        return _("It is about what you did before:") + " " + "; ".join(nearest(told.nearest)) + "."
    if told.decision.visitor:
        return _("How well the ad's words fit what you read, bought and opened before, and this page.")
    return _("How well the ad's words fit the site. Nothing about you was used.")


def _record(told: Explanation) -> str:
    shown, ctr = told.impressions, told.ctr
    if shown is None or ctr is None:
        return _("How often people opened this ad before.")
    if shown < NEW:
        return _("The ad is new: it had been shown %(n)d times.") % {"n": shown}
    return _("Of 1,000 people who saw the ad, about %(n)d opened it.") % {"n": round(ctr * 1_000)}


def _seen(told: Explanation) -> str:
    times = told.times_seen
    if times is None:
        return _("How often you had seen ads of this campaign.")
    if times == 0:
        return _("You had not seen ads of this kind from this advertiser before.")
    words = ngettext(
        "You had seen ads of this kind from this advertiser %(n)d time before.",
        "You had seen ads of this kind from this advertiser %(n)d times before.",
        int(times),
    )
    return words % {"n": times}


def _chance(told: Explanation) -> Reason:
    title = _("Chance")
    if told.decision.explored:
        text = _("This time the ad was drawn by lot among all that fitted, so that every ad gets a try.")
        return Reason(EXPLORATION, title, text, None)
    text = _("What people will open is never certain, so a part of the choice is left to chance.")
    if (told.impressions or NEW) < NEW:
        text += " " + _("A new ad gets its chance that way.")
    return Reason(EXPLORATION, title, text, effect(told.groups[EXPLORATION]) if told.is_exact else None)


def _could_stand(decision: AdDecision) -> int:
    """How many ads no rule kept out: all that there were, less those refused before they were compared."""
    kept_out = (reason for reason in NoAd if reason not in _COMPARED)
    return int(decision.candidates - sum(decision.refused.get(reason.value, 0) for reason in kept_out))


_COMPARED = frozenset((NoAd.NOT_RETRIEVED, NoAd.NO_SCORE, NoAd.BELOW_FLOOR, NoAd.PACED_OUT, NoAd.OUTBID))


def _offer(told: Explanation) -> str:
    decision = told.decision
    if decision.explored:
        return _("The advertiser pays for the place, at least the site's lowest price.")
    if decision.runner_up_micros:
        words = _(
            "%(n)s ads could stand here. This one's offer, times how likely it was to be opened, was the highest; "
            "the price depends on the second."
        ) % {"n": f"{_could_stand(decision):,}"}
        if decision.factor != 1:
            words += " " + _(
                "Our own rules for this place, or what you had seen this week, let it count for more or less than that."
            )
        return words
    return _("No other ad that fitted offered enough for this place.")


def reach(creative: Creative) -> list[str]:
    """What else "Not interested" and "More like this" would move, in numbers of ads that run now."""
    others = Creative.objects.filter(
        line_item=creative.line_item_id, status=Status.ACTIVE, review=Creative.Review.APPROVED
    )
    hidden = others.exclude(pk=creative.pk).count()
    sentences = []
    if hidden:
        words = ngettext(
            "“Not interested” hides this ad and %(n)d other of the same offer.",
            "“Not interested” hides this ad and %(n)d others of the same offer.",
            hidden,
        )
        sentences.append(words % {"n": hidden})
    near = SimilarAds.objects.filter(pk=creative.pk).first()
    if near is not None and near.running:
        words = ngettext(
            "%(n)d other ad that runs now is about the same things: you would see it less often then, and more often "
            "with “More like this”.",
            "%(n)d other ads that run now, by %(m)d advertisers, are about the same things: you would see them less often "
            "then, and more often with “More like this”.",
            near.running,
        )
        sentences.append(words % {"n": near.running, "m": near.advertisers})
    elif near is not None:
        sentences.append(_("No other ad that runs now is about the same things."))
    return sentences


# --- for the advertiser -----------------------------------------------------------------------------------------------


def for_advertiser(told: Explanation) -> list[Reason]:
    """The same without what the visitor did, with the money."""
    reasons = [_part(told, group, str(_ABOUT[group])) for group in GROUPS] if told.is_exact else []
    reasons.append(Reason(AUCTION, _("The auction"), auction(told)))
    return reasons


_ABOUT: dict[str, str | Promise] = {
    TEXT: gettext_lazy(
        "How well the ad's words fitted the visitor's interests, or the page where there was no profile."
    ),
    HISTORY: gettext_lazy("How readily this visitor opens ads, apart from how good the ads are."),
    QUALITY: gettext_lazy("How often people opened this creative and line item before."),
    CONTEXT: gettext_lazy("The ad slot, the place on the page, the device, the hour and the day."),
    FATIGUE: gettext_lazy("How often this visitor had seen the line item."),
    EXPLORATION: gettext_lazy("How little was known of the ad: a new one is given the benefit of the doubt."),
}


def auction(told: Explanation) -> str:
    """How the ad won, without naming who lost."""
    found = told.decision
    amounts: dict[str, str] = {
        "bid": _cpm(found.bid_micros, found.currency),
        "price": _cpm(found.price_micros, found.currency),
        "second": _cpm(found.runner_up_micros, found.currency),
        "floor": _cpm(found.floor_micros, found.currency),
    }
    if found.explored:
        words = _(
            "Drawn evenly among all bidders: your bid was worth %(bid)s, the price is the floor, %(floor)s."
        )
    elif found.runner_up_micros > found.bid_micros:
        words = _(
            "Your bid was worth %(bid)s and the next one %(second)s: yours won because pCTR is uncertain and this draw of "
            "it favoured you. Price: %(price)s."
        )
    elif found.runner_up_micros:
        words = _("Your bid was worth %(bid)s, the next one %(second)s. Price: %(price)s.")
    else:
        words = _("Your bid was worth %(bid)s and no other met the floor of %(floor)s. Price: %(price)s.")
    if found.factor != 1:
        words += " " + _(
            "A rule of the platform, or the site's wish for variety, let your ad count %(factor)s times its worth when ads "
            "were ranked; neither raises the price."
        )
    return words % (amounts | {"factor": f"{found.factor:g}"})


def _cpm(micros: int, currency: str) -> str:
    return _("%(amount)s per 1,000 impressions") % {"amount": format_micros(micros, currency)}


def _part(told: Explanation, group: str, text: str) -> Reason:
    return Reason(group, str(GROUPS[group]), text, effect(told.groups[group]) if told.is_exact else None)
