"""A line item's targeting: reading it from plain data, writing it back, and matching it to a request.

The stored form is a dict: {"country": {"include": ["DE"], "exclude": []}, …, "daypart": {"mon": [9, 10]}}.
A list instead of a dict means "include". What is missing is not restricted. `DIMENSIONS` is the one table
of what can be targeted; reading, matching and the bitmaps of `eligibility` all follow it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from .types import ALL_HOURS, DEVICES, AdRequest, DecisionError, NoAd, Rule, Slot, Targeting

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_COUNTRY = re.compile(r"[A-Z]{2}")
_REGION = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")
_LANGUAGE = re.compile(r"[a-z]{2,3}")


class TargetingError(DecisionError):
    """Rules that cannot be read: one sentence for each field that is wrong."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in errors.items()))
        self.errors = dict(errors)


# --------------------------------------------------------------------------------- one form of a value


def country(value: object) -> str:
    """ISO 3166-1 alpha-2, upper case."""
    return _shaped(str(value).strip().upper(), _COUNTRY, "a country code of two letters such as DE")


def region(value: object) -> str:
    """ISO 3166-2, upper case, such as DE-BE."""
    return _shaped(str(value).strip().upper(), _REGION, "a region code such as DE-BE")


def language(value: object) -> str:
    """The primary part of a BCP 47 tag, lower case: 'de-AT' is 'de'."""
    return _shaped(primary_language(str(value)), _LANGUAGE, "a language code such as de")


def primary_language(tag: str) -> str:
    return tag.strip().lower().replace("_", "-").partition("-")[0]


def device(value: object) -> str:
    if value not in DEVICES:
        raise ValueError(f"“{value}” is none of {', '.join(DEVICES)}.")
    return str(value)


def number(value: object) -> int:
    """The id of a site or segment."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isdecimal():
        raise ValueError(f"“{value}” is not an id.")
    return int(value)


def word(value: object) -> str:
    """A keyword or category: case and outer space do not matter."""
    folded = " ".join(str(value).casefold().split())
    if not folded:
        raise ValueError("An empty word matches nothing.")
    return folded


def _shaped(text: str, pattern: re.Pattern[str], wanted: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"“{text}” is not {wanted}.")
    return text


# ------------------------------------------------------------------------------- what can be targeted

Values = frozenset[Any]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that can be targeted: how a value is read, and the reasons it gives."""

    name: str
    read: Callable[[object], Any]
    missing: NoAd
    excluded: NoAd


DIMENSIONS: tuple[Dimension, ...] = (
    Dimension("country", country, NoAd.WRONG_COUNTRY, NoAd.WRONG_COUNTRY),
    Dimension("region", region, NoAd.WRONG_REGION, NoAd.WRONG_REGION),
    Dimension("language", language, NoAd.WRONG_LANGUAGE, NoAd.WRONG_LANGUAGE),
    Dimension("device", device, NoAd.WRONG_DEVICE, NoAd.WRONG_DEVICE),
    Dimension("site", number, NoAd.EXCLUDED_SITE, NoAd.EXCLUDED_SITE),
    Dimension("category", word, NoAd.WRONG_CATEGORY, NoAd.WRONG_CATEGORY),
    Dimension("keyword", word, NoAd.KEYWORD_MISSING, NoAd.KEYWORD_EXCLUDED),
    Dimension("segment", number, NoAd.SEGMENT_MISSING, NoAd.SEGMENT_EXCLUDED),
)


def observed(request: AdRequest, slot: Slot) -> tuple[Values, ...]:
    """What a request shows of each dimension, in the order of `DIMENSIONS`. Where it shows nothing, it
    satisfies no include and breaks no exclude."""
    return (
        _one(request.country.upper()),
        _one(request.region.upper()),
        _one(primary_language(request.language)),
        _one(request.device),
        frozenset((slot.site_id,)),
        _words(slot.categories),
        _words(request.keywords),
        request.segments,
    )


def _one(value: str) -> Values:
    return frozenset((value,)) if value else frozenset()


def _words(values: Iterable[str]) -> Values:
    return frozenset(" ".join(value.casefold().split()) for value in values)


# ------------------------------------------------------------------------------------ reading, writing


def parse(data: Mapping[str, Any]) -> Targeting:
    """Targeting from its stored form; TargetingError names every field that is wrong."""
    errors: dict[str, str] = {}
    fields: dict[str, Any] = {}
    known = {dimension.name: dimension for dimension in DIMENSIONS}
    for name, raw in data.items():
        try:
            if name == "daypart":
                fields[name] = _parse_daypart(raw)
            elif name in known:
                fields[name] = _parse_rule(raw, known[name].read)
            else:
                errors[name] = "This cannot be targeted."
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise TargetingError(errors)
    return Targeting(**fields)


def as_dict(targeting: Targeting) -> dict[str, Any]:
    """The stored form, without what is not restricted; `parse` reads it back to the same rules."""
    data: dict[str, Any] = {}
    for dimension in DIMENSIONS:
        rule: Rule = getattr(targeting, dimension.name)
        sides = {"include": sorted(rule.include), "exclude": sorted(rule.exclude)}
        if rule.include or rule.exclude:
            data[dimension.name] = {side: values for side, values in sides.items() if values}
    if targeting.daypart != ALL_HOURS:
        days = {day: _hours_of(targeting.daypart >> 24 * i) for i, day in enumerate(WEEKDAYS)}
        data["daypart"] = {day: hours for day, hours in days.items() if hours}
    return data


def _parse_rule(raw: object, read: Callable[[object], Any]) -> Rule:
    sides = raw if isinstance(raw, Mapping) else {"include": raw}
    if unknown := set(sides) - {"include", "exclude"}:
        raise ValueError(f"“{min(unknown)}” is neither include nor exclude.")
    include, exclude = (_parse_values(sides.get(side, ()), read) for side in ("include", "exclude"))
    if both := include & exclude:
        raise ValueError(f"“{min(both)}” is both included and excluded.")
    return Rule(include, exclude)


def _parse_values(raw: object, read: Callable[[object], Any]) -> Values:
    if not isinstance(raw, list | tuple | set | frozenset):
        raise ValueError("A list of values is wanted.")
    return frozenset(read(value) for value in raw)


def _parse_daypart(raw: object) -> int:
    if not isinstance(raw, Mapping):
        raise ValueError("Hours by weekday are wanted, such as {'mon': [9, 10]}.")
    if unknown := {str(day) for day in raw} - set(WEEKDAYS):
        raise ValueError(f"“{min(unknown)}” is none of {', '.join(WEEKDAYS)}.")
    mask = 0
    for day, hours in raw.items():
        for hour in hours if isinstance(hours, list | tuple) else (hours,):
            if isinstance(hour, bool) or not isinstance(hour, int) or not 0 <= hour <= 23:
                raise ValueError(f"“{hour}” is not an hour from 0 to 23.")
            mask |= 1 << (WEEKDAYS.index(day) * 24 + hour)
    if raw and not mask:
        raise ValueError("A schedule without any hour would never run.")
    return mask if raw else ALL_HOURS


def _hours_of(day_mask: int) -> list[int]:
    return [hour for hour in range(24) if day_mask >> hour & 1]


# --------------------------------------------------------------------------------------------- matching


def match(targeting: Targeting, request: AdRequest, slot: Slot, *, time_zone: str = "UTC") -> NoAd | None:
    """The first rule that the request breaks, or None. `time_zone` is the campaign's."""
    return next(broken(targeting, request, slot, time_zone=time_zone), None)


def broken(targeting: Targeting, request: AdRequest, slot: Slot, *, time_zone: str) -> Iterator[NoAd]:
    """Every rule that the request breaks."""
    for dimension, values in zip(DIMENSIONS, observed(request, slot), strict=True):
        rule: Rule = getattr(targeting, dimension.name)
        if rule.exclude & values:
            yield dimension.excluded
        if rule.include and not rule.include & values:
            yield dimension.missing
    if not targeting.daypart >> hour_of_week(request.at, time_zone) & 1:
        yield NoAd.OUTSIDE_DAYPART


def hour_of_week(at: datetime, time_zone: str) -> int:
    """weekday·24 + hour on the wall clock of a zone. An hour that summer time skips never comes; one that
    it repeats comes twice."""
    local = at.astimezone(zone(time_zone))
    return local.weekday() * 24 + local.hour


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise DecisionError(f"“{name}” is not a time zone.") from None
