"""What a stretch of history came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tally:
    """Counts that add up: ad requests (one per slot), ads shown, clicks, orders."""

    requests: int = 0
    ads: int = 0
    clicks: int = 0
    orders: int = 0

    def add(self, other: Tally) -> None:
        self.requests += other.requests
        self.ads += other.ads
        self.clicks += other.clicks
        self.orders += other.orders
