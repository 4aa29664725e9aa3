"""How to get into the demo: addresses, logins, slots, keys."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from adplatform.accounts.models import Membership, Organisation
from adplatform.accounts.services import create_api_key
from adplatform.core import roles
from adplatform.demo.build import OPERATOR, SECOND_OPERATOR, password
from adplatform.inventory.models import AdSlot

SCOPES = {
    Organisation.Kind.ADVERTISER: ["read", "write", "conversions"],
    Organisation.Kind.PUBLISHER: ["read", "write", "explain"],
}


@dataclass(frozen=True)
class Info:
    """The object that `demo_info --json` prints."""

    base_url: str
    ads_url: str
    auditor_database_url: str
    password: str
    logins: dict[str, str]
    slots: list[dict[str, str]]
    api_keys: dict[str, str]
    pid_files: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def info() -> Info:
    """As things stand. The demo's keys are made once and kept under var/, since only their hashes are in the database."""
    slots = AdSlot.objects.filter(site__publisher__is_synthetic=True).select_related("site")
    return Info(
        base_url=settings.BASE_URL,
        ads_url=f"http://localhost:{settings.ADS_PORT}",
        auditor_database_url=roles.auditor_url(),
        password=password(),
        logins={
            "operator": OPERATOR,
            "second operator": SECOND_OPERATOR,
            "advertiser": "advertiser@example.com",
            "publisher": "publisher@example.com",
        },
        slots=[
            {"id": slot.public_id, "name": slot.name, "site": slot.site.name, "format": slot.format}
            for slot in slots
        ],
        api_keys=_api_keys(),
        pid_files={path.stem: str(path) for path in sorted((Path(settings.VAR) / "run").glob("*.pid"))},
    )


def _api_keys() -> dict[str, str]:
    path = Path(settings.VAR) / "secrets" / "demo_api_keys.json"
    if path.exists():
        kept: dict[str, str] = json.loads(path.read_text())
        return kept
    keys = {}
    for kind, scopes in SCOPES.items():
        owner = Membership.objects.filter(organisation__kind=kind, user__email=f"{kind}@example.com").get()
        _, keys[str(kind)] = create_api_key(
            user=owner.user, organisation=owner.organisation, name="Demo", scopes=scopes, expires_at=None
        )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_text(json.dumps(keys))
    return keys
