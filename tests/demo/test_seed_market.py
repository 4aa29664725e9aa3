"""`seed_market`: a market of the asked size, through the services, that a snapshot can serve from."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from adplatform.audience.models import Visitor
from adplatform.billing.verification import verify
from adplatform.campaigns.models import Creative, LineItem
from adplatform.core import clock
from adplatform.demo.catalogue import market
from adplatform.demo.seeding import Size, seed_market
from adplatform.inventory.models import AdSlot
from adplatform.serving.publish import publish
from adplatform.serving.snapshot import load


@pytest.mark.django_db(transaction=True)
def test_everything_asked_for_can_serve(tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    size = Size(line_items=12, slots=7, visitors=30)
    seed_market(market(), size, seed=3, at=clock.now(), say=lambda *words: said.append(words))
    assert (LineItem.objects.count(), AdSlot.objects.count(), Visitor.objects.count()) == (12, 7, 30)
    assert not Creative.objects.exclude(review=Creative.Review.APPROVED).exists()
    published = publish(at=clock.now(), folder=tmp_path)
    assert len(load(tmp_path / published.version).candidates) == 12
    assert not verify().violations
    assert said[-1] == ("visitors", 30, 30)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["Bad-Name", "own"])
def test_only_a_database_of_its_own(name: str) -> None:
    database = connection.settings_dict["NAME"] if name == "own" else name
    with pytest.raises(CommandError, match="a database of its own"):
        call_command("seed_market", "--database", database)


@pytest.mark.django_db
def test_a_market_without_slots_is_bad_usage() -> None:
    with pytest.raises(CommandError, match="at least one") as refused:
        call_command("seed_market", "--slots", "0")
    assert refused.value.returncode == 2
