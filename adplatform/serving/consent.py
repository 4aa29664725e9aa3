"""Whether a visitor allows a profile: TCF strings (IAB Europe, version 2 core segment), GPP, GPC.

A profile needs the consent bits of purposes 1 (store an id), 3 (create a profile) and 4 (select ads by it). What is
absent, unknown or undecodable means no. A GPP string is not decoded here and therefore means no. No Django here.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import lru_cache

PROFILE_PURPOSES = frozenset({1, 3, 4})
_VERSION = 2
# (name, bits) of the core segment up to the purposes, in order.
_FIELDS = (
    ("version", 6),
    ("created", 36),
    ("last_updated", 36),
    ("cmp_id", 12),
    ("cmp_version", 12),
    ("consent_screen", 6),
    ("consent_language", 12),
    ("vendor_list_version", 12),
    ("policy_version", 6),
    ("is_service_specific", 1),
    ("use_non_standard_texts", 1),
    ("special_feature_opt_ins", 12),
    ("purposes_consent", 24),
    ("purposes_legitimate_interest", 24),
)
_BITS = sum(bits for _, bits in _FIELDS)
_LONGEST = 4_000


class UndecodableError(ValueError):
    """The string is no TCF consent string of a version that we know."""


def allows_profile(consent: object, *, gpc_header: str = "") -> str:
    """The consent string that allows a profile, as evidence to keep; '' means contextual only.

    `consent` is the request's object with `tcf`, `gpp`, `gpc`, of any shape: it comes from outside.
    """
    if gpc_header.strip() == "1" or not isinstance(consent, Mapping):
        return ""
    tcf = consent.get("tcf")
    refuses = consent.get("gpc") not in (None, False) or consent.get("gpp") not in (None, "")
    if refuses or not isinstance(tcf, str):
        return ""
    try:
        return tcf if purposes(tcf) >= PROFILE_PURPOSES else ""
    except UndecodableError:
        return ""


@lru_cache(maxsize=4096)  # a visitor sends the same string with every page
def purposes(tcf: str) -> frozenset[int]:
    """The purposes that a TCF string consents to; UndecodableError where it is none."""
    core = tcf.strip().split(".", 1)[0]
    if not core or len(core) > _LONGEST:
        raise UndecodableError("no core segment")
    try:
        raw = urlsafe_b64decode(core.encode("ascii") + b"=" * (-len(core) % 4))
    except (Base64Error, UnicodeEncodeError, ValueError) as error:
        raise UndecodableError("not base64") from error
    if len(raw) * 8 < _BITS:
        raise UndecodableError("too short")
    fields = _read(int.from_bytes(raw, "big"), len(raw) * 8)
    if fields["version"] != _VERSION:
        raise UndecodableError(f"version {fields['version']}")
    return frozenset(number for number in range(1, 25) if fields["purposes_consent"] >> (24 - number) & 1)


def encode(
    purposes: Collection[int], *, at: datetime = datetime(2026, 1, 1, tzinfo=UTC), language: str = "EN"
) -> str:
    """A valid TCF string (core and disclosed vendors) that consents to these purposes and to no vendor, for tests
    and for the demo's synthetic visitors."""
    moment = int(at.timestamp() * 10)  # deciseconds
    letters = [ord(letter) - ord("A") for letter in language.upper()]
    values = {
        "version": _VERSION,
        "created": moment,
        "last_updated": moment,
        "consent_language": letters[0] << 6 | letters[1],
        "vendor_list_version": 1,
        "policy_version": 5,
        "is_service_specific": 1,
        "purposes_consent": sum(1 << (24 - number) for number in purposes),
    }
    bits = "".join(f"{values.get(name, 0):0{width}b}" for name, width in _FIELDS)
    # Purpose one is treated as usual, publisher in no country ("AA"), no vendor consents, no legitimate interests,
    # no publisher restrictions; then segment type 1 (disclosed vendors) with an empty list.
    core = bits + "0" + "0" * 12 + "0" * 17 + "0" * 17 + "0" * 12
    return f"{_base64(core)}.{_base64('001' + '0' * 17)}"


def _read(number: int, length: int) -> dict[str, int]:
    fields, at = {}, 0
    for name, bits in _FIELDS:
        at += bits
        fields[name] = number >> (length - at) & ((1 << bits) - 1)
    return fields


def _base64(bits: str) -> str:
    padded = bits + "0" * (-len(bits) % 8)
    return urlsafe_b64encode(int(padded, 2).to_bytes(len(padded) // 8, "big")).rstrip(b"=").decode()
