"""What our tests let Stripe say and ask is held to the types of Stripe's own library: names, kinds of values, words allowed.

The library carries types and no recorded messages; docs/money.md says what that leaves unchecked.
"""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, ForwardRef, Literal, NotRequired, Union, get_args, get_origin

import pytest
import stripe
from stripe.params import RefundCreateParams
from stripe.params.checkout import SessionCreateParams

from adplatform.billing.gateways import card
from adplatform.billing.models import Payment, Refund
from tests.billing.test_payments import Stripe, event, failed_refund, paid, stripe_server

__all__ = ["stripe_server"]  # a fixture
ASKS_FOR: dict[str, Any] = {"/v1/checkout/sessions": SessionCreateParams, "/v1/refunds": RefundCreateParams}
THINGS: dict[str, Any] = {
    "event": stripe.Event,
    "checkout.session": stripe.checkout.Session,
    "refund": stripe.Refund,
}


def wrong(kind: Any, value: Any, at: str, owner: Any) -> Iterator[str]:
    """Where a value is not of this kind, in words."""
    kind = _resolved(kind, owner)
    if get_origin(kind) in (Union, types.UnionType):
        yield from _wrong_of_several(get_args(kind), value, at, owner)
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            yield f"{at}: {value!r} is none of {get_args(kind)}"
    elif get_origin(kind) in (list, dict):
        pass
    elif isinstance(kind, type) and issubclass(kind, stripe.StripeObject):
        yield from _wrong_thing(kind, value, at)
    elif isinstance(kind, type) and not (
        isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    ):
        yield f"{at}: {value!r} is no {kind.__name__}"


def _wrong_of_several(kinds: tuple[Any, ...], value: Any, at: str, owner: Any) -> Iterator[str]:
    words = [kind for kind in kinds if get_origin(kind) is Literal]
    if words and isinstance(value, str):  # the library adds str for words to come; we use those of today
        yield from wrong(words[0], value, at, owner)
        return
    found = [list(wrong(kind, value, at, owner)) for kind in kinds]
    if all(found):
        yield min(found, key=len)[0]


def _wrong_thing(kind: Any, value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{at}: {value!r} is no {kind.__name__}"
        return
    known = _annotations(kind)
    if not known:
        return
    for name, inner in value.items():
        if name not in known:
            yield f"{at}.{name}: {kind.__name__} has no such field"
        else:
            yield from wrong(known[name], inner, f"{at}.{name}", kind)


def _annotations(kind: Any) -> dict[str, Any]:
    """Of an object that Stripe sends; none for metadata, which is whatever its owner likes."""
    own = {} if kind.__name__ == "UntypedStripeObject" else vars(kind).get("__annotations__", {})
    return {name: one for name, one in own.items() if "ClassVar" not in str(one)}


class _Names(dict[str, Any]):
    """What an annotation may name: things of its own module, else the library's, else Python's."""

    def __missing__(self, name: str) -> Any:
        try:
            return getattr(stripe, name)
        except AttributeError:
            raise KeyError(name) from None


def _resolved(kind: Any, owner: Any) -> Any:
    while isinstance(kind, (ForwardRef, str)) or get_origin(kind) is NotRequired:
        if get_origin(kind) is NotRequired:
            kind = get_args(kind)[0]
        else:
            name = kind.__forward_arg__ if isinstance(kind, ForwardRef) else kind
            kind = eval(name, {}, _Names(vars(sys.modules[owner.__module__])))
    return kind


def lacking(thing: Mapping[str, Any], kind: Any) -> set[str]:
    """Fields that Stripe always sends and that are not there."""
    always = {name for name, one in _annotations(kind).items() if not _may_be_none(one, kind)}
    return always - thing.keys()


def _may_be_none(kind: Any, owner: Any) -> bool:
    kind = _resolved(kind, owner)
    return type(None) in get_args(kind)


def unknown(form: Mapping[str, str], kind: Any) -> Iterator[str]:
    """Names of a sent form, such as line_items[0][price_data][currency], that the call does not take."""
    for name, value in form.items():
        taken = _taken(re.findall(r"[a-z_0-9]+", name), kind, kind)
        words = [one for one in (taken, *get_args(taken)) if get_origin(one) is Literal]
        if taken is None or (words and value not in get_args(words[0])):
            yield f"{name}={value}"


def _taken(path: list[str], kind: Any, owner: Any) -> Any:
    """The kind of what stands at the path, None where there is no such place."""
    kind = _resolved(kind, owner)
    if not path:
        return kind
    if get_origin(kind) in (Union, types.UnionType):
        found = [_taken(path, one, owner) for one in get_args(kind)]
        return next((one for one in found if one is not None), None)
    if get_origin(kind) in (list, dict):
        return _taken(path[1:], get_args(kind)[-1], owner)
    fields = getattr(kind, "__annotations__", {})
    return _taken(path[1:], fields[path[0]], kind) if path[0] in fields else None


@pytest.fixture
def payment() -> Payment:
    return Payment(gateway="stripe", reference="AD-1", micros=125_500_000, currency="EUR", external_id="pi_1")


@pytest.mark.parametrize("kind", sorted(card._PAID | card._NOT_PAID))
def test_our_messages_about_sessions_are_of_stripes_types(kind: str, payment: Payment) -> None:
    message = json.loads(event(kind, paid(payment)))
    session = message["data"]["object"]
    assert list(wrong(stripe.Event, message, "event", stripe.Event)) == []
    assert list(wrong(stripe.checkout.Session, session, "session", stripe.checkout.Session)) == []
    assert (lacking(message, stripe.Event), lacking(session, stripe.checkout.Session)) == (set(), set())


def test_our_message_about_a_refund_is_of_stripes_types() -> None:
    message = json.loads(event("refund.failed", failed_refund("re_1")))
    assert list(wrong(stripe.Event, message, "event", stripe.Event)) == []
    assert list(wrong(stripe.Refund, message["data"]["object"], "refund", stripe.Refund)) == []
    assert lacking(message["data"]["object"], stripe.Refund) == set()


def test_what_we_ask_is_what_the_library_takes_and_what_is_answered_is_of_its_types(
    payment: Payment, stripe_server: Stripe
) -> None:
    card.Card().start(payment, return_url="http://here/billing/")
    card.Card().refund(Refund(payment=payment, micros=20_000_000))
    assert [path for path, *_ in stripe_server.asked] == list(ASKS_FOR)
    for path, _, form in stripe_server.asked:
        assert list(unknown(form, ASKS_FOR[path])) == [], path
    for answer in stripe_server.answers.values():
        kind = THINGS[answer["object"]]
        assert list(wrong(kind, answer, answer["object"], kind)) == []


def test_the_version_is_the_librarys() -> None:
    assert json.loads(event("refund.failed", {}))["api_version"] == stripe.api_version


def test_a_wrong_name_or_word_is_found(payment: Payment) -> None:
    """The checks above are real ones."""
    session = stripe.checkout.Session
    for change, told in (
        ({"payment_status": "payed"}, "is none of"),
        ({"reference": "x"}, "no such field"),
        ({"amount_total": "12550"}, "is no int"),
        ({"customer_details": {"mail": None}}, "no such field"),
    ):
        (found,) = wrong(session, paid(payment, **change), "session", session)
        assert told in found
    form = {"line_items[0][price_data][cents]": "1", "mode": "pay", "metadata[anything]": "x"}
    assert list(unknown(form, SessionCreateParams)) == ["line_items[0][price_data][cents]=1", "mode=pay"]
