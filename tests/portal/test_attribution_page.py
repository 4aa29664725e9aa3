"""Models side by side, and a file of conversions that is looked at before it is stored."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from adplatform.core import clock
from adplatform.events.models import Adjustment, Conversion
from tests import factories
from tests.events.streams import append, drain, event, served

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop():
    owner = factories.organisation()
    factories.conversion_action(owner, name="Purchase")
    return owner


def test_a_file_is_looked_at_then_stored_then_adjusted(client, events, shop) -> None:
    from adplatform.serving.tokens import signer

    client.force_login(factories.member(shop).user)
    at = clock.now() - timedelta(hours=3)
    ad = served(factories.creative(factories.line_item(factories.campaign(shop, name="Boots"))), served_at=at)
    append(events, event("click", ad))
    drain(events, at=at)
    row = f"Purchase,order-1,{(at + timedelta(hours=1)).isoformat()},{signer.sign('click', ad)},12.50,"
    text = (
        f"action,event_id,occurred_at,click_id,value,adjustment_id\n{row}\nPurchase,order-2,yesterday,,1,\n"
    )

    def send(content: str, **button: str) -> str:
        file = SimpleUploadedFile("conversions.csv", content.encode())
        return client.post(reverse("portal:attribution_upload"), {"file": file, **button}).content.decode()

    looked = send(text)
    assert ("What would be stored" in looked, "invalid_time" in looked, Conversion.objects.count()) == (
        True,
        True,
        0,
    )
    stored = send(text, store="1")
    assert ("Boots" in stored, Conversion.objects.get().value_micros) == (True, 12_500_000)
    figure = client.get(reverse("portal:attribution_chart")).json()
    assert [trace["name"] for trace in figure["data"]][:2] == ["Last click", "First click"]
    assert figure["data"][0]["x"] == ["Boots"]

    send(text.replace("12.50,", ",gone"), store="1")
    assert Adjustment.objects.get().kind == "retract"
    assert "No credited conversion" in client.get(reverse("portal:attribution")).content.decode()
    assert "click_id is missing" not in send("a,b\n1,2\n")
    assert "event_id, occurred_at is missing" in send("action\nx\n")
