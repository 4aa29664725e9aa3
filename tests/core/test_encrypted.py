"""Bank details are sealed in the database, each for its own row and column, and keys change while people work."""

from __future__ import annotations

import threading
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from adplatform.billing.models import BillingProfile, Payee
from adplatform.core import encrypted
from adplatform.core.sealing import UnreadableError
from tests import factories

pytestmark = pytest.mark.django_db
IBAN = "DE89370400440532013000"


@pytest.fixture(autouse=True)
def _keys(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = ["old"]


def payee(**fields: Any) -> Payee:
    given = {"organisation": factories.publisher(), "holder": "Anna Ruiz", "iban": IBAN} | fields
    return Payee.objects.create(**given)


def stored(column: str, one: Payee) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM billing_payee WHERE organisation_id = %s", [one.pk])
        return cursor.fetchone()[0]


def put(column: str, one: Payee, value: str) -> None:
    connection.cursor().execute(
        f"UPDATE billing_payee SET {column} = %s WHERE organisation_id = %s", [value, one.pk]
    )


def test_the_database_holds_no_word_of_it_and_the_instance_all() -> None:
    one = payee()
    assert (Payee.objects.get().iban, Payee.objects.get().holder, Payee.objects.get().bic) == (
        IBAN,
        "Anna Ruiz",
        "",
    )
    assert stored("iban", one).startswith("enc1.")
    assert IBAN not in stored("iban", one)
    assert stored("iban", one) != stored("iban", payee())  # the same twice is not the same
    one = Payee.objects.get(pk=one.pk)
    one.bic = "COBADEFFXXX"
    one.save()
    assert (Payee.objects.get(pk=one.pk).bic, Payee.objects.get(pk=one.pk).iban) == ("COBADEFFXXX", IBAN)


def test_a_ciphertext_opens_in_its_own_row_and_column_only() -> None:
    one, other = payee(), payee(iban="AT611904300234573201")
    put("iban", one, stored("iban", other))  # the money of one would go to the other
    with pytest.raises(UnreadableError, match="another row or column"):
        _ = Payee.objects.get(pk=one.pk).iban
    put("holder", other, stored("iban", other))
    with pytest.raises(UnreadableError):
        _ = Payee.objects.get(pk=other.pk).holder


@pytest.mark.parametrize("value", [IBAN, "enc1.00000000.AAAA", "enc1."])
def test_what_nobody_sealed_is_refused(value: str) -> None:
    one = payee()
    put("iban", one, value)
    with pytest.raises(UnreadableError):
        _ = Payee.objects.get(pk=one.pk).iban


def test_a_changed_bit_is_noticed() -> None:
    one = payee()
    sealed = stored("iban", one)
    put("iban", one, sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:])
    with pytest.raises(UnreadableError):
        _ = Payee.objects.get(pk=one.pk).iban


def test_it_is_neither_searched_nor_written_past_the_instance() -> None:
    payee()
    with pytest.raises(TypeError, match="encrypted"):
        Payee.objects.filter(iban=IBAN).exists()
    with pytest.raises(TypeError, match="encrypted"):
        Payee.objects.update(iban=IBAN)


def test_keys_rotate(settings: Any) -> None:
    one = payee()
    BillingProfile.objects.create(
        organisation=factories.organisation(), legal_name="L", address="Gasse 3", country="DE"
    )
    settings.ENCRYPTION_KEYS = ["new", "old"]
    with pytest.raises(CommandError, match="4 values are sealed with older keys"):
        call_command("rotate_keys", "--check", stdout=StringIO())
    call_command("rotate_keys", stdout=StringIO())
    call_command("rotate_keys", "--check", stdout=StringIO())
    settings.ENCRYPTION_KEYS = ["new"]
    assert (Payee.objects.get(pk=one.pk).iban, BillingProfile.objects.get().address) == (IBAN, "Gasse 3")


def test_an_interrupted_rotation_goes_on_where_it_was(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encrypted, "BATCH", 2)
    people = [payee() for _ in range(5)]
    settings.ENCRYPTION_KEYS = ["new", "old"]
    (field,) = [one for one in encrypted.fields() if (one.model, one.name) == (Payee, "iban")]
    assert encrypted._rotate_some(field) == 2  # and then it was killed
    assert (encrypted.count_old(field), encrypted.rotate(field), encrypted.rotate(field)) == (3, 3, 0)
    assert {Payee.objects.get(pk=one.pk).iban for one in people} == {IBAN}


@pytest.mark.django_db(transaction=True)
def test_keys_rotate_while_people_change_their_details(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encrypted, "BATCH", 5)
    people = [payee() for _ in range(30)]
    settings.ENCRYPTION_KEYS = ["new", "old"]
    written: dict[int, str] = {}
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for turn in range(5):
                for one in people:
                    mine = Payee.objects.get(pk=one.pk)
                    mine.holder = f"{one.pk} {turn}"
                    mine.save(update_fields=["holder"])
                    written[one.pk] = mine.holder
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    for field in encrypted.fields():
        encrypted.rotate(field)
    thread.join()
    for field in encrypted.fields():
        encrypted.rotate(field)
    settings.ENCRYPTION_KEYS = ["new"]
    assert failed == []
    assert {one.pk: one.holder for one in Payee.objects.all()} == written
    assert {one.iban for one in Payee.objects.all()} == {IBAN}
