"""What row-level walls cost a portal page's queries: python -m bench.walls [--rows N]

The queries of the advertiser's overview, of its report by creative and of the publisher's overview, each as the platform's
own login asks them and inside `tenant`, over N hourly rows of 20 advertisers. CPU is that of the database backend and of the
process together; the database is one of its own on the server of DATABASE_URL.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psutil

from bench import database

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
ADVERTISERS, CAMPAIGNS, SLOTS = 20, 10, 4
ROUNDS, PAGES = 7, 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    chosen = parser.parse_args()
    with database.own("bench_walls"):
        from adplatform.core import roles

        roles.apply()
        market = Market(chosen.rows)
        print(f"{'ms of CPU, median of 7':34} {'platform':>9} {'tenant':>9}")
        for name, organisation, ask in market.pages():
            free, walled = (median(measured(ask, inside, organisation)) for inside in (False, True))
            print(f"{name:34} {free:9.2f} {walled:9.2f}", flush=True)


class Market:
    """Advertisers with campaigns on one publisher's slots, and their hourly sums."""

    def __init__(self, rows: int) -> None:
        from django.db import connection

        from tests import factories as f

        self.publisher = f.publisher()
        site = f.site(self.publisher)
        slots = [f.slot(site) for _ in range(SLOTS)]
        self.advertisers = [f.organisation() for _ in range(ADVERTISERS)]
        ads = [
            f.creative(f.line_item(f.campaign(advertiser)))
            for advertiser in self.advertisers
            for _ in range(CAMPAIGNS)
        ]
        hours = rows // (len(ads) * SLOTS)
        with connection.cursor() as cursor:
            for ad in ads:
                item = ad.line_item
                for slot in slots:
                    cursor.execute(
                        "INSERT INTO events_hourlystat (hour, advertiser_id, publisher_id, campaign_id, line_item_id, creative_id,"
                        " slot_id, currency, source, impressions, billable_impressions, measured, views, clicks, billable_clicks,"
                        " conversions, spend_micros, revenue_micros) SELECT %s - n * interval '1 hour', %s, %s, %s, %s, %s, %s,"
                        " 'USD', 'live', 100, 100, 100, 50, 2, 2, 0, 1000, 0 FROM generate_series(1, %s) AS n",
                        [
                            *(NOON, item.campaign.organisation_id, self.publisher.pk, item.campaign_id),
                            *(item.pk, ad.pk, slot.pk, hours),
                        ],
                    )
            cursor.execute("ANALYZE")

    def pages(self) -> Iterator[tuple[str, Any, Callable[[], object]]]:
        from adplatform.campaigns.queries import campaigns_of
        from adplatform.insights import queries
        from adplatform.insights.queries import Range
        from adplatform.insights.status import campaign_statuses

        range = Range.last(30, zone="UTC", at=NOON + timedelta(days=1))
        advertiser, publisher = self.advertisers[0], self.publisher

        def overview() -> object:
            campaigns = list(campaigns_of(advertiser))
            campaign_statuses(campaigns, at=NOON)
            return (
                queries.totals(advertiser, range),
                queries.by_day(advertiser, range),
                queries.by_campaign(advertiser, range),
            )

        def by_creative() -> object:
            return queries.by_creative(advertiser, range)

        def earnings() -> object:
            return (
                queries.totals(publisher, range),
                queries.by_day(publisher, range),
                queries.by_slot(publisher, range),
            )

        yield "advertiser's overview", advertiser, overview
        yield "advertiser's report by creative", advertiser, by_creative
        yield "publisher's overview", publisher, earnings
        yield "nothing but BEGIN and COMMIT", advertiser, lambda: None


def measured(ask: Callable[[], object], inside: bool, organisation: Any) -> list[float]:
    """Milliseconds of CPU of one page in each round, the first round left out."""
    return [_round(ask, inside, organisation) for _ in range(ROUNDS + 1)][1:]


def _round(ask: Callable[[], object], inside: bool, organisation: Any) -> float:
    from django.db import connection, transaction

    from adplatform.core.tenants import tenant

    connection.ensure_connection()
    backend = psutil.Process(connection.connection.info.backend_pid)
    before = time.process_time() + sum(backend.cpu_times()[:2])
    for _ in range(PAGES):  # a backend's CPU is told in hundredths of a second
        with tenant(organisation) if inside else transaction.atomic():
            ask()
    return 1e3 * (time.process_time() + sum(backend.cpu_times()[:2]) - before) / PAGES


if __name__ == "__main__":
    main()
