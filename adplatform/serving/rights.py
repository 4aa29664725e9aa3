"""What a publisher demands of a slot, as a snapshot holds it. No Django here.

Everything is resolved by the worker that builds the snapshot: categories with all below them and domains with their
subdomains, as the ads of this snapshot write them, so that a request compares plain values.
"""

from __future__ import annotations

from typing import Any

import msgspec


class RightsRow(msgspec.Struct):
    """The fields of decision.types.Slot that follow from a publisher's rules; empty: none."""

    blocked_advertisers: list[int] = []
    blocked_categories: list[str] = []
    blocked_domains: list[str] = []
    blocked_attributes: list[str] = []
    floors: list[tuple[str, str, int]] = []
    per_advertiser: int = 1
    separates_categories: bool = True
    rivals: list[tuple[int, int]] = []
    variety: float = 0.0

    def fields(self) -> dict[str, Any]:
        """As decision.types.Slot takes them."""
        return {
            "blocked_advertisers": frozenset(self.blocked_advertisers),
            "blocked_categories": frozenset(self.blocked_categories),
            "blocked_domains": frozenset(self.blocked_domains),
            "blocked_attributes": frozenset(self.blocked_attributes),
            "floors": tuple(self.floors),
            "per_advertiser": self.per_advertiser,
            "separates_categories": self.separates_categories,
            "rivals": frozenset(self.rivals),
            "variety": self.variety,
        }
