"""A profile needs purposes 1, 3 and 4; whatever cannot be understood means no."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.serving.consent import UndecodableError, allows_profile, encode, purposes

YES = encode({1, 3, 4})
# The example string of the IAB's technical specification; it consents to purposes 1, 2 and 3.
REFERENCE = "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBAAgAAAAAAAFAAECAAAgAAQARAEQ"


@given(st.sets(st.integers(1, 24)))
def test_what_is_encoded_is_decoded(chosen: set[int]) -> None:
    assert purposes(encode(chosen, at=datetime(2026, 2, 28, tzinfo=UTC))) == chosen


def test_a_string_of_the_specification_is_read() -> None:
    assert purposes(REFERENCE) == {1, 2, 3}


@pytest.mark.parametrize(
    ("consent", "allowed"),
    [
        ({"tcf": YES}, True),
        ({"tcf": encode(range(1, 25))}, True),
        ({"tcf": YES, "gpc": False, "gpp": ""}, True),
        ({"tcf": encode({1, 3})}, False),
        ({"tcf": encode({3, 4})}, False),
        ({"tcf": YES, "gpc": True}, False),
        ({"tcf": YES, "gpc": "maybe"}, False),
        ({"tcf": YES, "gpp": "DBABMA~unknown"}, False),
        ({"gpp": "DBABMA"}, False),
        ({"tcf": ""}, False),
        ({"tcf": "rubbish"}, False),
        ({"tcf": "é"}, False),
        ({"tcf": 7}, False),
        ({"tcf": "B" + YES[1:]}, False),  # version 1
        ({}, False),
        (None, False),
        ("yes", False),
        ([YES], False),
    ],
)
def test_who_allows_a_profile(consent: object, allowed: bool) -> None:
    assert bool(allows_profile(consent)) is allowed


def test_the_header_wins_over_every_string() -> None:
    assert allows_profile({"tcf": YES}, gpc_header="1") == ""
    assert allows_profile({"tcf": YES}, gpc_header="0") == YES


@given(st.text())
def test_rubbish_is_undecodable_and_nothing_worse(text: str) -> None:
    try:
        purposes(text)
    except UndecodableError:
        return
