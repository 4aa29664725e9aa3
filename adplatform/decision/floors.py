"""Which of a slot's floors holds for a request. The rule that names most of slot, country and device holds; of two that
name as many, the slot counts before the country and the country before the device. A slot's own floor names the slot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .types import AdRequest, Placement


@dataclass(frozen=True, slots=True)
class Floor:
    """A floor (CPM micros) and what it asks of a request; '' asks nothing."""

    micros: int
    is_of_slot: bool = False
    country: str = ""
    device: str = ""

    @property
    def rank(self) -> tuple[int, bool, bool, bool]:
        """The higher holds."""
        named = (self.is_of_slot, bool(self.country), bool(self.device))
        return (sum(named), *named)


def ordered(floors: Iterable[Floor]) -> tuple[tuple[str, str, int], ...]:
    """As a slot holds them: (country, device, micros), the first that fits holds."""
    rows = sorted(floors, key=lambda one: one.rank, reverse=True)
    return tuple((one.country, one.device, one.micros) for one in rows)


def placed(placement: Placement, request: AdRequest) -> Placement:
    """The placement with the floor that holds for this request in its slot."""
    slot = placement.slot
    if slot is None or not slot.floors:
        return placement
    for country, device, micros in slot.floors:
        if country in ("", request.country) and device in ("", request.device):
            return replace(placement, slot=replace(slot, floor_micros=micros, floors=()))
    return replace(placement, slot=replace(slot, floors=()))
