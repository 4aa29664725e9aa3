"""From when on traffic is no person's: defaults that a person of a busy household does not reach, each a setting.

`ADPLATFORM_TRAFFIC="clicks_per_hour=20,gap_variation=0.05"` changes some of them. The public guidelines of the MRC name
no numbers; these are our own. No Django here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

VERSION = 2  # of the rules: raised whenever one of them comes to mean something else


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the back filter (events.backfilter) takes for invalid. A subject is a visitor, else an address."""

    unseen_minutes: float = 60  # a click whose impression has not come by then had none; 0 asks for none
    clock_seconds: float = (
        2  # by which servers' clocks differ: a click may come so much before its impression
    )
    least_dwell_seconds: float = 0.2  # from rendering an ad to a person's click on it
    double_click_seconds: float = (
        2  # a second click of a subject on the same creative within it is no second one
    )
    clicks_per_creative: float = 3  # of one visitor on one creative in a day
    clicks_per_hour: float = 10  # of one visitor on all ads
    address_clicks: float = 12  # of one address within ten minutes, or twice as many within an hour ...
    network_clicks: float = 30  # ... of one network (IPv4 /24, IPv6 /48) ...
    burst_rate: float = 0.2  # ... that clicks on at least this share of what it is shown
    rate_clicks: float = 5  # from so many clicks on ...
    click_rate: float = 0.5  # ... nobody clicks on this share of what is shown
    impressions_per_minute: float = 60  # of one visitor: a page that is reloaded without end
    regular_clicks: float = 6  # from so many clicks on ...
    gap_variation: float = 0.1  # ... the gaps between a person's differ more (deviation / mean) ...
    dwell_variation: float = 0.05  # ... and so do the times from seeing to clicking
    # Clicks of who is shown one ad in a day, without the view that the tag would have measured, of a slot, of a campaign or
    # of all: invalid from this many on ...
    newcomers: float = 5
    newcomers_times: float = 3  # ... beyond this many times the share of who is shown more
    view_seconds: float = 2  # a click so long after rendering should have had a view before it


def thresholds(given: Mapping[str, float]) -> Thresholds:
    """The defaults with what the operator set; ValueError for a name that is none."""
    known = {field.name for field in fields(Thresholds)}
    if unknown := sorted(given.keys() - known):
        raise ValueError(f"ADPLATFORM_TRAFFIC: {unknown[0]} is none of {', '.join(sorted(known))}.")
    return Thresholds(**given)
