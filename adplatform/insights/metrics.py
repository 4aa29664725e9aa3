"""The words of every report: a range of days, the sums over it, and the ratios made of those sums.

Ratios are made from sums, never averaged, so that a total's ratio is true; they are None where nothing was there
to divide by, and pages show a dash. Amounts are integer micros of the range's one currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

PRESETS = {"today": 1, "7": 7, "14": 14, "30": 30, "90": 90}
DEFAULT_PRESET = "30"
LONGEST_DAYS = 400


class RangeError(ValueError):
    """A range of days that cannot be read, with a sentence a person can act on."""


@dataclass(frozen=True, slots=True)
class Range:
    """Whole days, both ends included, in the time zone of the organisation that looks.

    Facts are kept by hours of UTC. An hour belongs to the local day in which it starts, which in zones that are
    off by half an hour moves the day's edge by that half hour, in every report alike.
    """

    start_date: date
    end_date: date
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.end_date < self.start_date:
            raise RangeError("The range ends before it starts.")
        if self.day_count > LONGEST_DAYS:
            raise RangeError(f"A report covers at most {LONGEST_DAYS} days.")

    @classmethod
    def last(cls, days: int, *, zone: str, at: datetime) -> Range:
        """The last `days` local days, today included."""
        today = local_date(at, zone)
        return cls(today - timedelta(days=days - 1), today, zone)

    @property
    def day_count(self) -> int:
        return (self.end_date - self.start_date).days + 1

    @property
    def start_at(self) -> datetime:
        return _midnight(self.start_date, self.zone)

    @property
    def end_at(self) -> datetime:
        """The first moment after the range."""
        return _midnight(self.end_date + timedelta(days=1), self.zone)

    def previous(self) -> Range:
        """As many days, directly before."""
        last = self.start_date - timedelta(days=1)
        return Range(last - timedelta(days=self.day_count - 1), last, self.zone)

    def days(self) -> Iterator[date]:
        for offset in range(self.day_count):
            yield self.start_date + timedelta(days=offset)

    def hours(self) -> Iterator[datetime]:
        """Every UTC hour that starts in the range."""
        start = self.start_at
        hour = start.replace(minute=0, second=0, microsecond=0)
        if hour < start:
            hour += timedelta(hours=1)
        while hour < self.end_at:
            yield hour
            hour += timedelta(hours=1)

    @property
    def query(self) -> str:
        """The range as a page's address carries it."""
        return f"from={self.start_date.isoformat()}&to={self.end_date.isoformat()}"


def local_date(at: datetime, zone: str) -> date:
    return at.astimezone(ZoneInfo(zone)).date()


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time.min, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def range_from(parameters: Mapping[str, str], *, zone: str, at: datetime) -> Range:
    """The range that a page's address asks for: `?from=2026-10-01&to=2026-10-31`, or `?days=7`, else 30 days."""
    start, end = parameters.get("from", ""), parameters.get("to", "")
    if start or end:
        try:
            return Range(date.fromisoformat(start), date.fromisoformat(end or start), zone)
        except RangeError:
            raise
        except ValueError:
            raise RangeError("Write dates as year-month-day, such as 2026-10-31.") from None
    days = PRESETS.get(parameters.get("days", DEFAULT_PRESET), PRESETS[DEFAULT_PRESET])
    return Range.last(days, zone=zone, at=at)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of statistics. `spend_micros`: what advertisers are charged; `earned_micros`: the publishers' part of it;
    `revenue_micros`: value of the conversions attributed to the ads."""

    impressions: int = 0
    billable_impressions: int = 0
    measured: int = 0
    views: int = 0
    clicks: int = 0
    billable_clicks: int = 0
    conversions: int = 0
    spend_micros: int = 0
    revenue_micros: int = 0
    earned_micros: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, name) + getattr(other, name) for name in COLUMNS))

    @classmethod
    def sum(cls, parts: Iterable[Totals]) -> Totals:
        total = cls()
        for part in parts:
            total += part
        return total

    @property
    def ctr(self) -> float | None:
        return _ratio(self.clicks, self.impressions)

    @property
    def measurable(self) -> float | None:
        """Of the impressions those whose view the tag could measure."""
        return _ratio(self.measured, self.impressions)

    @property
    def viewability(self) -> float | None:
        """Views of the measured impressions; of all where none is known to be measured, as from a publisher's own code."""
        return _ratio(self.views, self.measured or self.impressions)

    @property
    def cvr(self) -> float | None:
        """Conversions per click."""
        return _ratio(self.conversions, self.clicks)

    @property
    def cpc_micros(self) -> int | None:
        return _price(self.spend_micros, self.clicks)

    @property
    def cpm_micros(self) -> int | None:
        return _price(self.spend_micros * 1_000, self.impressions)

    @property
    def cpa_micros(self) -> int | None:
        return _price(self.spend_micros, self.conversions)

    @property
    def ecpm_micros(self) -> int | None:
        """What the publisher earned by 1,000 impressions."""
        return _price(self.earned_micros * 1_000, self.impressions)

    @property
    def platform_micros(self) -> int:
        """What the platform keeps."""
        return self.spend_micros - self.earned_micros

    @property
    def roas(self) -> float | None:
        return _ratio(self.revenue_micros, self.spend_micros)

    @property
    def roi(self) -> float | None:
        return _ratio(self.revenue_micros - self.spend_micros, self.spend_micros)


COLUMNS = tuple(field.name for field in fields(Totals))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _price(micros: int, count: int) -> int | None:
    """Micros for each of `count`, rounded half up."""
    return (2 * micros + count) // (2 * count) if count else None


def change(now: float | None, before: float | None) -> float | None:
    """Relative change between two periods, None where there is nothing to compare with."""
    if now is None or not before:
        return None
    return (now - before) / before
