"""Facts, appended once and never changed, and the statistics derived from them: Django looks for them here."""

from __future__ import annotations

from adplatform.events.models.conversions import Adjustment, Conversion, ConversionAction, Credit
from adplatform.events.models.facts import AdDecision, Click, Event, Feedback, Impression, Invalidation, View
from adplatform.events.models.statistics import DailyStat, FillStat, HourlyStat, RefusedStat
from adplatform.events.models.tallies import DeliveryHour, TallyReport

__all__ = [
    "AdDecision",
    "Adjustment",
    "Click",
    "Conversion",
    "ConversionAction",
    "Credit",
    "DailyStat",
    "DeliveryHour",
    "Event",
    "Feedback",
    "FillStat",
    "HourlyStat",
    "Impression",
    "Invalidation",
    "RefusedStat",
    "TallyReport",
    "View",
]
