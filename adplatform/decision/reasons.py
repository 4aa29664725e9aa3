"""Why an ad was not shown: the one list of reasons that portal, explainer, metrics and tests speak of."""

from __future__ import annotations

from enum import StrEnum


class NoAd(StrEnum):
    """Why a candidate, or a whole placement, got no ad. Sorted from first checked to last.

    The order carries meaning: what stands later came closer to being shown, so an empty placement
    reports the latest reason that any of its candidates met.
    """

    UNKNOWN_SLOT = "unknown_slot"
    NO_CANDIDATES = "no_candidates"
    WRONG_FORMAT = "wrong_format"
    CURRENCY = "currency"
    NOT_APPROVED = "not_approved"
    PAUSED = "paused"
    OUTSIDE_FLIGHT = "outside_flight"
    BLOCKED_BY_PUBLISHER = "blocked_by_publisher"
    WRONG_COUNTRY = "wrong_country"
    WRONG_REGION = "wrong_region"
    WRONG_LANGUAGE = "wrong_language"
    WRONG_DEVICE = "wrong_device"
    EXCLUDED_SITE = "excluded_site"
    WRONG_CATEGORY = "wrong_category"
    KEYWORD_EXCLUDED = "keyword_excluded"
    KEYWORD_MISSING = "keyword_missing"
    SEGMENT_EXCLUDED = "segment_excluded"
    SEGMENT_MISSING = "segment_missing"
    OUTSIDE_DAYPART = "outside_daypart"
    VISITOR_HID = "visitor_hid"
    FREQUENCY_CAP = "frequency_cap"
    CREATIVE_ALREADY_SHOWN = "creative_already_shown"
    ADVERTISER_LIMIT = "advertiser_limit"
    COMPETING_ADVERTISER = "competing_advertiser"
    RULE_FORBIDS = "rule_forbids"
    RULE_LIMITS = "rule_limits"
    BUDGET_SPENT = "budget_spent"
    NOT_RETRIEVED = "not_retrieved"
    NO_SCORE = "no_score"
    BELOW_FLOOR = "below_floor"
    PACED_OUT = "paced_out"
    OUTBID = "outbid"


REASONS: dict[NoAd, str] = {
    NoAd.UNKNOWN_SLOT: "The request names an ad slot that does not exist.",
    NoAd.NO_CANDIDATES: "No campaign is live for this slot.",
    NoAd.WRONG_FORMAT: "The creative's format or size does not fit the slot.",
    NoAd.CURRENCY: "The campaign's currency is not the site's currency.",
    NoAd.NOT_APPROVED: "The creative has not been approved.",
    NoAd.PAUSED: "The campaign, line item or creative is paused.",
    NoAd.OUTSIDE_FLIGHT: "The time is outside the flight's dates.",
    NoAd.BLOCKED_BY_PUBLISHER: "The publisher blocks this advertiser, category, landing domain or kind of ad.",
    NoAd.WRONG_COUNTRY: "The visitor's country is not targeted or is excluded.",
    NoAd.WRONG_REGION: "The visitor's region is not targeted or is excluded.",
    NoAd.WRONG_LANGUAGE: "The page's language is not targeted or is excluded.",
    NoAd.WRONG_DEVICE: "The visitor's device is not targeted or is excluded.",
    NoAd.EXCLUDED_SITE: "The site is not targeted or is excluded.",
    NoAd.WRONG_CATEGORY: "The site's categories are not targeted or one is excluded.",
    NoAd.KEYWORD_MISSING: "The page has none of the targeted keywords.",
    NoAd.KEYWORD_EXCLUDED: "The page has an excluded keyword.",
    NoAd.SEGMENT_MISSING: "The visitor is in none of the targeted segments.",
    NoAd.SEGMENT_EXCLUDED: "The visitor is in an excluded segment.",
    NoAd.OUTSIDE_DAYPART: "The hour of the week is not in the line item's schedule.",
    NoAd.VISITOR_HID: "The visitor asked not to see this ad or this advertiser.",
    NoAd.FREQUENCY_CAP: "The visitor has seen it as often as its frequency cap allows.",
    NoAd.CREATIVE_ALREADY_SHOWN: "The creative already stands in this answer.",
    NoAd.ADVERTISER_LIMIT: "The advertiser already has its share of this answer.",
    NoAd.COMPETING_ADVERTISER: "A competitor of the same category already stands in this answer.",
    NoAd.RULE_FORBIDS: "A rule of the platform's operator forbids this ad in this place.",
    NoAd.RULE_LIMITS: "A rule of the platform's operator limits how often such ads take part here.",
    NoAd.BUDGET_SPENT: "The budget left cannot pay for the next billable event.",
    NoAd.NOT_RETRIEVED: "Other ads fit this visitor and page better before bids were compared.",
    NoAd.NO_SCORE: "The models gave no usable probability for it.",
    NoAd.BELOW_FLOOR: "The bid is below the slot's floor.",
    NoAd.PACED_OUT: "Pacing holds the bid below the slot's floor to save budget for later.",
    NoAd.OUTBID: "Another ad won the auction.",
}
