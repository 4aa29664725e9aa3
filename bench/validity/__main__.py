"""How much invalid traffic goes unbilled, and how much genuine: python -m bench.validity [--seed N]

10,000 genuine and 2,000 bot clicks with their impressions go the way of all events: the ads role's judgement of who asks,
ingest's transaction, the hourly back filter. Bots' agents and addresses come from lists that the detector does not load
(isbot's fixtures, ipcat, X4BNet; folder invalid_traffic of ADPLATFORM_DATA); of agents only the half that was not looked
at while the rules were written. 700 bots have browsers' agents and home addresses and give themselves away by what they
do, or, the last kind, by nothing. A database of its own is made and dropped on the server of DATABASE_URL.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from bench.validity.bots import Bots
from bench.validity.lists import Lists, sizes, within
from bench.validity.world import CAMPAIGNS, CREATIVES, Ask

NIGHT = datetime(2026, 6, 15, tzinfo=UTC)


def drawn(rng: Random, folder: Path) -> list[Ask]:
    lists = Lists.read(folder)
    world = Bots(rng, lists)
    world.people(10_000)
    world.declared(600)
    for who, clicks, ranges in (
        ("bot in ipcat's ranges", 300, lists.ipcat),
        ("bot in X4BNet's data centres", 300, lists.centres),
        ("bot in X4BNet's VPNs", 100, lists.vpns),
    ):
        weights = sizes(ranges)
        world.boxes(who, clicks, lambda ranges=ranges, weights=weights: within(rng, ranges, weights))
    world.behaving()
    return sorted(world.asks, key=lambda ask: ask.seconds)


def measured(asks: Sequence[Ask]) -> dict[str, Counter[str]]:
    """Per kind of visitor its clicks by what became of them: 'billed', 'at once: …', 'later: …'."""
    from adplatform import settings
    from adplatform.events import backfilter
    from adplatform.events.models import Click, Invalidation
    from adplatform.events.store import store
    from adplatform.events.stream import connect
    from adplatform.events.thresholds import Thresholds
    from adplatform.serving.origins import Origins

    ad, origins, whose = _ad(), Origins(connect(settings.EVENTS_URL, timeout_seconds=5)), dict[str, str]()
    for batch in _batches(asks):
        store(
            [_event(ask, ad, origins, whose) for ask in batch],
            granted=lambda ids: dict.fromkeys(ids, 10**15),
            at=NIGHT + timedelta(seconds=batch[-1].seconds),
        )
    backfilter.run(at=NIGHT + timedelta(hours=25), limits=Thresholds(), sources=["live"])
    later = {row.decision_id.hex: row.reason for row in Invalidation.objects.filter(kind="click")}
    found: dict[str, Counter[str]] = {}
    for decision_id, billable, reason in Click.objects.values_list("decision_id", "is_billable", "reason"):
        if not billable:
            became = f"at once: {reason}"
        else:
            became = f"later: {later[decision_id.hex]}" if decision_id.hex in later else "billed"
        found.setdefault(whose[decision_id.hex], Counter())[became] += 1
    return found


def _event(ask: Ask, ad: Any, origins: Any, whose: dict[str, str]) -> Any:
    import msgspec

    from adplatform.events.records import TokenEvent
    from adplatform.serving import agents

    decision_id = ask.place.to_bytes(16, "big")
    whose[decision_id.hex()] = ask.who
    at, served_at = NIGHT + timedelta(seconds=ask.seconds), NIGHT + timedelta(seconds=ask.served_seconds)
    served = msgspec.structs.replace(
        ad,
        decision_id=decision_id,
        served_at=served_at,
        expires_at=served_at + timedelta(hours=24),
        visitor=ask.visitor,
        creative_id=1 + ask.place % CREATIVES,
        slot_id=ask.slot,
        campaign_id=ad.campaign_id + ask.campaign,
    )
    environ = {"HTTP_USER_AGENT": ask.agent, "REMOTE_ADDR": ask.address}
    return TokenEvent(
        ask.kind, served, at, str(agents.why_invalid(environ, served)), origins.of(ask.address, at), ask.seen
    )


def _ad() -> Any:
    """A click-priced ad of the first of an advertiser's campaigns, whose ids follow each other; there is money enough."""
    from adplatform.accounts.models import Organisation
    from adplatform.campaigns.models import Campaign
    from adplatform.events.records import Served

    advertiser = Organisation.objects.create(name="Bench", kind=Organisation.Kind.ADVERTISER)
    own = {"organisation": advertiser, "currency": advertiser.currency, "start_at": NIGHT}
    campaigns = [Campaign.objects.create(name=f"Bench {n}", **own) for n in range(CAMPAIGNS)]
    return Served(
        b"", NIGHT, NIGHT, 1, 1, advertiser.pk, campaigns[0].pk, 1, 1, b"", "cpc", 10_000, advertiser.currency
    )


def _batches(asks: Sequence[Ask], size: int = 2_000) -> Iterator[Sequence[Ask]]:
    for first in range(0, len(asks), size):
        yield asks[first : first + size]


def table(found: dict[str, Counter[str]]) -> str:
    lines = [f"{'visitors':42} {'clicks':>7} {'at once':>8} {'later':>7} {'billed':>7}  reasons"]
    for people in (True, False):
        totals = Counter[str]()
        for who in sorted(who for who in found if who.startswith("person") == people):
            totals += found[who]
            lines.append(_line(who, found[who]))
        lines.append(_line("GENUINE" if people else "BOTS", totals))
        unbilled = 1 - totals["billed"] / totals.total()
        lines.append(f"  unbilled {unbilled:.2%} ({'at most 1 %' if people else 'at least 95 %'} wanted)")
    return "\n".join(lines)


def _line(who: str, became: Counter[str]) -> str:
    parts = {
        word: sum(n for key, n in became.items() if key.startswith(word)) for word in ("at once", "later")
    }
    reasons = Counter[str]()
    for key, n in became.items():
        reasons[key.partition(": ")[2]] += n
    words = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common(5) if reason)
    return f"{who:42} {became.total():7,} {parts['at once']:8,} {parts['later']:7,} {became['billed']:7,}  {words}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    from bench import database

    folder = Path(os.environ.get("ADPLATFORM_DATA", "")) / "invalid_traffic"
    if not folder.is_dir():
        raise SystemExit("Set ADPLATFORM_DATA to the folder that holds invalid_traffic (docs/data.md).")
    asks = drawn(Random(chosen.seed), folder)
    with database.own("bench_validity"):
        print(table(measured(asks)))


if __name__ == "__main__":
    main()
