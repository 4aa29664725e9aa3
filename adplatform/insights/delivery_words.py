"""Outcomes of opportunities in a few words, and what an advertiser may do about each."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

SHORT: Mapping[str, str | Promise] = {
    "won": _("Won"),
    "not_approved": _("Not approved"),
    "paused": _("Paused"),
    "outside_flight": _("Outside its dates"),
    "blocked_by_publisher": _("Publisher blocks it"),
    "wrong_country": _("Country"),
    "wrong_region": _("Region"),
    "wrong_language": _("Language"),
    "wrong_device": _("Device"),
    "excluded_site": _("Site"),
    "wrong_category": _("Category of the site"),
    "keyword_excluded": _("Excluded keyword"),
    "keyword_missing": _("No such keyword"),
    "segment_excluded": _("Excluded audience"),
    "segment_missing": _("Not in the audience"),
    "outside_daypart": _("Outside its hours"),
    "visitor_hid": _("Visitor hid it"),
    "frequency_cap": _("Frequency cap"),
    "creative_already_shown": _("Already in the answer"),
    "advertiser_limit": _("Own ads stood there"),
    "competing_advertiser": _("Competitor stood there"),
    "rule_forbids": _("Platform's rule"),
    "rule_limits": _("Platform's limit"),
    "budget_spent": _("Budget spent"),
    "not_retrieved": _("Fits less than others"),
    "no_score": _("No prediction"),
    "below_floor": _("Bid below the floor"),
    "paced_out": _("Held back by pacing"),
    "outbid": _("Outbid"),
}

_WIDEN = _(
    "Widen the targeting if such visitors are wanted too; if not, this is as you asked and costs nothing."
)
ADVICE: Mapping[str, str | Promise] = {
    "not_approved": _("Its ads wait for review or were rejected: look at the creatives."),
    "paused": _("Resume the line item or its ads if they should run."),
    "outside_flight": _("Change the dates of the campaign if it should run now."),
    "blocked_by_publisher": _(
        "These publishers block you, your category or your landing page: other sites are open to you."
    ),
    **dict.fromkeys(
        (
            *(
                "wrong_country",
                "wrong_region",
                "wrong_language",
                "wrong_device",
                "excluded_site",
                "wrong_category",
            ),
            *("keyword_excluded", "keyword_missing", "segment_excluded", "segment_missing"),
        ),
        _WIDEN,
    ),
    "outside_daypart": _("Add hours to its schedule if it should run at these times."),
    "visitor_hid": _("Visitors asked not to see it: try other ads, and show them less often."),
    "frequency_cap": _(
        "These visitors have seen it as often as you allow: raise the cap, or widen the audience."
    ),
    "creative_already_shown": _(
        "Another place of the same page showed it already: add more ads to the line item."
    ),
    "advertiser_limit": _(
        "Your own ads stood in the answer already: a page shows only some of one advertiser."
    ),
    "competing_advertiser": _(
        "A competitor won another place of the page first: a higher bid makes you the first."
    ),
    "rule_forbids": _("A rule of the platform keeps such ads out there: ask the operator."),
    "rule_limits": _("A rule of the platform limits how often such ads take part there: ask the operator."),
    "budget_spent": _("Raise the budget, or lower the bid so that it lasts longer."),
    "not_retrieved": _(
        "Other ads promise more at these places: raise the bid, or write ads that fit the visitors better."
    ),
    "no_score": _("The models had no prediction for it: that passes once its ads are a few minutes old."),
    "below_floor": _(
        "The bid is worth less than the least price of these places: raise the bid, or write ads that are clicked more."
    ),
    "paced_out": _(
        "Pacing saves the budget for later: raise the budget, or spend as fast as possible instead of evenly."
    ),
    "outbid": _("Other ads offered more: raise the bid, or write ads that are clicked more."),
}
