"""Every address of the portal and every operation of the API, asked by each side of one market for things of another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from adplatform.accounts.models import ApiKey, Membership, Organisation
from adplatform.api.urls import api
from adplatform.billing.models import Invoice, Payment
from adplatform.campaigns.models import Campaign, Creative, LineItem
from adplatform.core import tenants, walls
from adplatform.core.tenants import tenant
from adplatform.events.models import AdDecision
from adplatform.inventory.models import AdSlot, BlockRule, CompetingPair, FloorRule, HouseAd, Site
from tests.accounts import two_worlds
from tests.accounts.two_worlds import World
from tests.api.calls import Caller

MARK = "Zanzibar"  # stands in the name of everything of the other market
POSTED = {"status": "archived", "role": "", "name": "taken", "action": "remove", "headline": "taken"}
# Where an address ends that names a thing of somebody: part of the path, and who owns such a thing.
THINGS: list[tuple[str, Any]] = [
    ("campaigns/<", lambda w: Campaign.objects.get(organisation=w.market.advertiser).public_id),
    ("line-items/<", lambda w: LineItem.objects.get(campaign__organisation=w.market.advertiser).public_id),
    (
        "creatives/<",
        lambda w: Creative.objects.get(line_item__campaign__organisation=w.market.advertiser).public_id,
    ),
    ("payments/<", lambda w: Payment.objects.get(organisation=w.market.advertiser).public_id),
    ("invoices/<", lambda w: Invoice.objects.get(organisation=w.market.advertiser).public_id),
    ("decisions/<", lambda w: AdDecision.objects.filter(advertiser_id=w.market.advertiser.pk)[0].decision_id),
    ("sites/<", lambda w: Site.objects.get(publisher=w.market.publisher).public_id),
    ("slots/<", lambda w: AdSlot.objects.get(site__publisher=w.market.publisher).public_id),
    ("blocks/<", lambda w: BlockRule.objects.get(publisher=w.market.publisher).public_id),
    ("floors/<", lambda w: FloorRule.objects.get(publisher=w.market.publisher).public_id),
    ("house-ads/<", lambda w: HouseAd.objects.get(publisher=w.market.publisher).public_id),
    ("competitors/<", lambda w: CompetingPair.objects.get(publisher=w.market.publisher).pk),
    ("keys/<", lambda w: ApiKey.objects.filter(organisation=w.market.advertiser)[0].pk),
    ("members/<", lambda w: Membership.objects.filter(organisation=w.market.advertiser)[0].pk),
]
NOBODYS = (
    "why/",
    "webhooks/",
)  # without signing in: tests/portal/test_why_people_see_it.py, tests/billing/test_payments.py
BETWEEN = {"/", "/organisations/new/", "/organisations/switch/"}  # or before organisations
FINDING_WHO = {"accounts_user", "accounts_membership", "accounts_organisation"}


@pytest.fixture
def ours(db: None) -> World:
    return two_worlds.make("EUR")


@pytest.fixture
def theirs(db: None, ours: World) -> World:
    world = two_worlds.make("USD")
    two_worlds.settle_both(ours, world)
    for model, owner in (
        (Organisation, {"pk__in": [one.pk for one in world.tenants]}),
        (Campaign, {"organisation": world.market.advertiser}),
        (LineItem, {"campaign__organisation": world.market.advertiser}),
        (Creative, {"line_item__campaign__organisation": world.market.advertiser}),
        (Site, {"publisher": world.market.publisher}),
        (AdSlot, {"site__publisher": world.market.publisher}),
        (ApiKey, {"organisation__in": world.tenants}),
    ):
        model.objects.filter(**owner).update(name=MARK)
    Creative.objects.filter(line_item__campaign__organisation=world.market.advertiser).update(headline=MARK)
    return world


def portal_addresses(found: Any = None, before: str = "/") -> Iterator[str]:
    for pattern in (found or get_resolver("adplatform.portal.urls")).url_patterns:
        address = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from portal_addresses(pattern, address)
        elif isinstance(pattern, URLPattern) and not address.startswith(
            tuple(f"/{name}" for name in NOBODYS)
        ):
            yield address


def operations() -> list[tuple[str, str]]:
    """(method, address) of the management API as its own description tells them."""
    described = api.get_openapi_schema()["paths"]
    found = [
        (method.upper(), path.replace("{", "<").replace("}", ">"))
        for path, methods in described.items()
        for method in methods
    ]
    return [*found, ("POST", "/v1/conversions")]


def naming(address: str, world: World) -> str:
    """The address with the ids of this world's things in it."""
    for part, thing in THINGS:
        if part in address:
            address = re.sub(
                re.escape(part) + "[^>]*>", lambda _, p=part, t=thing: p[:-1] + str(t(world)), address
            )
    return address.replace("<slug:action>", "remove")


def stored(world: World) -> dict[str, list[str]]:
    """Every row that the tenants of a world own, whatever it says."""
    found: dict[str, list[str]] = {}
    for table, wall in walls.TENANTS.items():
        if "SELECT" not in wall.may:
            continue
        for organisation in world.tenants:
            with tenant(organisation), connection.cursor() as cursor:
                # When a key was last used is noted with its use.
                cursor.execute(f"SELECT (to_jsonb(t) - 'last_used_at')::text FROM {table} t ORDER BY 1")
                found[f"{table} {organisation.kind}"] = [row for (row,) in cursor.fetchall()]
    return found


def text(answer: HttpResponse) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return content.decode(errors="replace")


def test_every_address_is_known_here(ours: World, theirs: World) -> None:
    for address in [*portal_addresses(), *(address for _, address in operations())]:
        assert "<" not in naming(address, theirs), address


def test_pages_show_and_change_nothing_of_another_market(ours: World, theirs: World) -> None:
    before, asked = stored(theirs), 0
    for membership in (ours.advertiser, ours.publisher):
        browser = Client()
        browser.force_login(membership.user)
        for address in portal_addresses():
            foreign = naming(address, theirs)
            allowed = {302, 404, 405} if foreign != address else {200, 302, 404, 405, 422}
            posted = POSTED | {"organisation": str(theirs.market.advertiser.public_id)}
            for answer in (browser.get(foreign), browser.post(foreign, posted)):
                asked += 1
                # 302: a page of the other kind leads home. 404 without an id: the organisation that was posted.
                assert answer.status_code in allowed, foreign
                assert MARK not in text(answer), foreign
    assert stored(theirs) == before
    assert asked > 200


def test_own_pages_open(ours: World, theirs: World) -> None:
    for membership in (ours.advertiser, ours.publisher):
        browser = Client()
        browser.force_login(membership.user)
        for address in portal_addresses():
            answer = browser.get(naming(address, ours))
            assert answer.status_code in {200, 302, 404, 405}, address
            assert MARK not in text(answer), address


def test_the_api_shows_and_changes_nothing_of_another_market(ours: World, theirs: World) -> None:
    before, asked = stored(theirs), 0
    for organisation in ours.tenants:
        caller = Caller(organisation)
        for method, address in operations():
            foreign = naming(address, theirs)
            answer = caller.call(method, foreign, None if method == "GET" else {**POSTED, "events": []})
            asked += 1
            allowed = {403, 404, 422} if foreign != address else {200, 201, 403, 404, 409, 422}
            assert answer.status_code in allowed, (method, foreign, text(answer))
            assert MARK not in text(answer), (method, foreign)
    assert stored(theirs) == before
    assert asked > 80


def test_own_things_answer_in_the_api(ours: World, theirs: World) -> None:
    """The refusals above are not those of an address that never answers."""
    found: dict[tuple[str, str], set[int]] = {}
    for organisation in ours.tenants:
        caller = Caller(organisation)
        for method, address in operations():
            if method == "GET":
                answer = caller.call(method, naming(address, ours))
                found.setdefault((method, address), set()).add(answer.status_code)
                assert MARK not in json.dumps(text(answer))
    assert all(200 in codes for codes in found.values()), found


def test_what_pages_ask_of_tenants_is_asked_inside_the_walls(ours: World, theirs: World) -> None:
    """Also the doorway of a page about one thing. Outside are only the person, their memberships and organisations."""
    outside: set[str] = set()
    asked = re.compile(rf"\b({'|'.join(walls.TENANTS.keys() - FINDING_WHO)})\b")

    def look(execute: Any, sql: str, *given: Any) -> Any:
        if tenants._acting.get() is None:  # neither inside nor through one of the listed doors
            outside.update(asked.findall(str(sql)))
        return execute(sql, *given)

    for membership in (ours.advertiser, ours.publisher):
        browser = Client()
        browser.force_login(membership.user)
        for address in set(portal_addresses()) - BETWEEN:
            for world in (ours, theirs) if "<" in address else (ours,):
                named = naming(address, world)
                with connection.execute_wrapper(look):
                    browser.get(named)
                assert not outside, named


def test_a_link_leads_into_another_of_the_persons_organisations(ours: World, theirs: World) -> None:
    person = ours.advertiser.user
    browser = Client()
    browser.force_login(person)
    foreign = naming("/campaigns/<uuid:public_id>/", theirs)
    assert browser.get(foreign).status_code == 404
    Membership.objects.create(user=person, organisation=theirs.market.advertiser, role="analyst")
    assert MARK in text(browser.get(foreign))
    assert browser.session["organisation"] == str(theirs.market.advertiser.public_id)
    assert browser.get(f"{foreign}edit/").status_code == 403
