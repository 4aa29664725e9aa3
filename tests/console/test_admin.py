"""Raw records: every model is there, every list opens, and what must not change cannot be changed."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client

from adplatform.accounts.models import User
from adplatform.billing import services
from adplatform.billing.models import Posting
from adplatform.core.admin import LongTablePaginator, ReadOnlyAdmin
from adplatform.core.models import Outbox
from adplatform.events.models import AdDecision
from tests import factories
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
OURS = [
    model
    for config in apps.get_app_configs()
    if config.name.startswith("adplatform.")
    for model in config.get_models()
]
READ_ONLY = {
    *("addecision", "impression", "view", "click", "conversion", "hourlystat", "dailystat", "fillstat"),
    *(
        "ledgeraccount",
        "posting",
        "entry",
        "settlement",
        "auditentry",
        "jobrun",
        "apikey",
        "budget",
        "pace",
        "outbox",
    ),
    *(
        "modelversion",
        "trainingrun",
        "textvector",
        "visitorvector",
        "pick",
        "visitor",
        "consent",
        "behaviour",
        "erasure",
    ),
    *("invalidation", "adjustment", "credit", "refusedstat", "deliveryhour", "tallyreport"),
}


@pytest.fixture
def root(client: Client) -> User:
    user = factories.operator(is_superuser=True)
    client.force_login(user)
    return user


def test_every_model_is_registered() -> None:
    missing = {model._meta.model_name for model in OURS if not admin.site.is_registered(model)}
    assert missing == set()


def test_facts_books_statistics_and_the_audit_trail_are_read_only() -> None:
    read_only = {
        model._meta.model_name
        for model, made in admin.site._registry.items()
        if isinstance(made, ReadOnlyAdmin)
    }
    assert read_only >= READ_ONLY


@pytest.mark.parametrize(
    "model", [model for model in OURS if admin.site.is_registered(model)], ids=lambda model: model._meta.label
)
def test_every_list_opens_and_can_be_searched(client: Client, root: User, model: type) -> None:
    path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    assert client.get(path).status_code == 200
    if admin.site._registry[model].search_fields:
        assert client.get(f"{path}?q=7").status_code == 200


def test_a_fact_and_a_posting_are_shown_and_not_changed(client: Client, root: User) -> None:
    decision = factories.decision()
    services.deposit(factories.organisation(), MICROS, key="transfer", at=NOON)
    for path in (
        f"/admin/events/addecision/{decision.pk}/",
        f"/admin/billing/posting/{Posting.objects.get().pk}/",
    ):
        assert client.get(f"{path}change/").status_code == 200
        assert client.post(f"{path}change/", {"mode": "changed"}).status_code == 403
        assert client.post(f"{path}delete/", {"post": "yes"}).status_code == 403
    assert client.get("/admin/events/addecision/add/").status_code == 403
    assert AdDecision.objects.get().mode != "changed"


def test_a_secret_is_not_shown(client: Client, root: User) -> None:
    key = factories.api_key()
    assert key.secret_sha256 not in client.get(f"/admin/accounts/apikey/{key.pk}/change/").content.decode()


def test_a_changed_slot_reaches_the_servers(client: Client, root: User) -> None:
    slot = factories.slot()
    form = {
        "site": slot.site_id,
        "name": "Renamed",
        "format": "banner",
        "width": 300,
        "height": 250,
        "position": 1,
        "floor_micros": 5,
        "fallback": "house_first",
        "is_active": "on",
    }
    assert client.post(f"/admin/inventory/adslot/{slot.pk}/change/", form).status_code == 302
    slot.refresh_from_db()
    assert (slot.name, slot.floor_micros, Outbox.objects.get().topic) == ("Renamed", 5, "snapshot")


def test_a_new_person_is_made_with_an_address(client: Client, root: User) -> None:
    form = {
        "email": "new@platform.example",
        "name": "New",
        "usable_password": "true",
        "password1": "correct horse staple",
        "password2": "correct horse staple",
    }
    inline = {
        f"memberships-{part}": "0"
        for part in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")
    }
    answer = client.post("/admin/accounts/user/add/", form | inline)
    assert answer.status_code == 302, answer.context["errors"]
    assert User.objects.get(email="new@platform.example").check_password("correct horse staple")


def test_an_operator_without_rights_sees_no_records(client: Client) -> None:
    client.force_login(factories.operator())
    assert client.get("/admin/events/addecision/").status_code == 403


def test_a_long_table_that_nothing_filters_is_estimated() -> None:
    factories.decision()
    assert LongTablePaginator(AdDecision.objects.order_by("pk"), 10).count == 1
    assert LongTablePaginator(AdDecision.objects.filter(mode="none").order_by("pk"), 10).count == 0
