"""What a serving process knows: slots, candidates, ads, keys and models of one moment, immutable.

A worker builds a folder per version (publish.py), complete with the hash of every file, and then names it in
`current`. Processes look there once a second, check and load the new folder beside the old, and swap by one
assignment; a folder that is broken is refused and the last good one stays. No Django here.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from adplatform.core.http import host_of
from adplatform.decision import experiments
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.rules import OperatorRule, RuleAction, RuleIndex
from adplatform.decision.types import Slot
from adplatform.learning.served import Models
from adplatform.learning.statistics import View

from . import columns, fallback
from .columns import Ads
from .fallback import Fallback, FallbackRow, HouseAdRow
from .render import AdText
from .rights import RightsRow

log = logging.getLogger(__name__)

CURRENT = "current"
CONTENTS, MANIFEST, MODELS = "contents.msgpack", "manifest.json", "models"
CANARY, SETTINGS = "canary", "models.json"
FORMAT = 2


class BrokenSnapshotError(ValueError):
    """A folder that is not a whole snapshot of this release."""


class SlotRow(msgspec.Struct):
    """A slot of an active site, with the site's own fields beside it."""

    id: int
    public_id: str
    site_id: int
    publisher_id: int
    format: str
    width: int
    height: int
    position: int
    floor_micros: int
    currency: str
    domain: str
    category: str
    time_zone: str
    language: str
    rights: RightsRow = msgspec.field(default_factory=RightsRow)
    fallback: FallbackRow | None = None


class CapRow(msgspec.Struct):
    scope: str
    limit: int
    window_seconds: int


class CandidateRow(msgspec.Struct):
    """A creative that may serve; `targeting` in its stored form."""

    creative_id: int
    line_item_id: int
    campaign_id: int
    advertiser_id: int
    creative_public_id: str
    line_item_public_id: str
    campaign_public_id: str
    advertiser_public_id: str
    text: AdText
    currency: str
    language: str
    category: str
    landing_url: str
    targeting: str
    bid_strategy: str
    bid_micros: int
    target_roas_bp: int
    value_micros: int
    pcvr: float
    pace: float
    remaining_micros: int
    start_at: datetime
    end_at: datetime | None
    caps: list[CapRow]
    time_zone: str
    impressions: int
    clicks: int
    attributes: list[str] = []


class KeyRow(msgspec.Struct):
    """An API key that has not been revoked."""

    prefix: str
    secret_sha256: str
    scopes: list[str]
    expires_at: datetime | None


class RuleRow(msgspec.Struct):
    """An operator's rule, as decision.rules.OperatorRule has it."""

    id: int
    action: str
    share_bp: int
    factor: float
    advertiser_id: int | None
    categories: list[str]
    creatives: list[int] | None
    site_id: int | None
    slot_id: int | None
    topics: list[str]
    start_at: datetime | None
    end_at: datetime | None

    @classmethod
    def of(cls, rule: OperatorRule) -> RuleRow:
        return msgspec.convert(msgspec.to_builtins(rule), cls, str_keys=True)

    def rule(self) -> OperatorRule:
        fields = msgspec.structs.asdict(self)
        creatives = None if self.creatives is None else frozenset(self.creatives)
        return OperatorRule(
            **fields
            | {
                "action": RuleAction(self.action),
                "categories": frozenset(self.categories),
                "creatives": creatives,
                "topics": frozenset(self.topics),
            }
        )


class Contents(msgspec.Struct):
    """Everything of contents.msgpack, which is all but the ads (`columns`) and the models. `ads`: how many there are;
    `landings`: URLs of creatives that are too long for a token, live or not."""

    format: int
    version: str
    built_at: datetime
    slots: list[SlotRow]
    ads: int
    keys: list[KeyRow]
    landings: dict[int, str]
    versions: dict[str, str]
    rules: list[RuleRow] = []
    house_ads: list[HouseAdRow] = []


class Manifest(msgspec.Struct):
    """SHA-256 of each file of the folder but itself."""

    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Canary:
    """Models that answer a share of the units (visitors, or requests without one), always the same ones: who is in
    stays in while the share grows, and another canary is met by others."""

    models: Models
    share_bp: int

    def answers(self, unit: str) -> bool:
        names = self.models.versions
        key = f"canary:{names['matcher']}:{names['blender']}"
        return experiments.arm_of(key, unit, (("canary", self.share_bp),)) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The loaded form; nothing in it changes."""

    version: str
    built_at: datetime
    slots: Mapping[str, Slot]
    languages: Mapping[int, str]  # of sites
    domains: frozenset[str]
    candidates: CandidateSet
    ads: Ads  # by creative
    keys: Mapping[str, KeyRow]
    landings: Mapping[int, str]
    models: Models
    versions: Mapping[str, str]
    rules: RuleIndex | None = None  # None where no rule names a candidate: it then costs nothing
    canary: Canary | None = None
    fallbacks: Mapping[int, Fallback] = field(default_factory=dict)  # by slot that has one
    files: Mapping[str, File] = field(default_factory=dict)
    counts_variety: bool = False  # whether a site asks for variety: then impressions are counted for it

    def models_for(self, unit: str) -> Models:
        """The models that answer this visitor or request."""
        canary = self.canary
        return canary.models if canary is not None and canary.answers(unit) else self.models

    def prepare(self, view: View) -> None:
        """Compute what requests need of a view of the statistics, in the background instead of in one of them."""
        for models in (self.models, *((self.canary.models,) if self.canary is not None else ())):
            models.prepare(self.candidates, view)

    def allows_origin(self, origin: str) -> bool:
        """Whether a browser's page of this origin belongs to one of our sites."""
        host = host_of(origin)
        parts = host.split(".")
        return any(".".join(parts[start:]) in self.domains for start in range(len(parts)))

    def landing_url(self, creative_id: int) -> str:
        """Where a click on a creative leads, '' where the snapshot does not know."""
        try:
            return self.ads.landing_url(creative_id)
        except KeyError:
            return self.landings.get(creative_id, "")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class File:
    """A file whose hash was checked; `key` is its inode, size and time of change."""

    sha256: str
    key: tuple[int, ...]


def _checked(path: Path, wanted: str, before: File | None) -> File:
    """The file, if it is the one that was published. One that was checked before, and is not another since, is not read
    again."""
    held = path.stat()
    key = (held.st_dev, held.st_ino, held.st_size, held.st_mtime_ns)
    if before != File(wanted, key) and sha256(path) != wanted:
        raise BrokenSnapshotError(f"{path.name} is not the file that was published")
    return File(wanted, key)


def load(folder: Path, before: Snapshot | None = None) -> Snapshot:
    """Check every hash, then read; BrokenSnapshotError where anything is missing, changed or not understood.

    `before`: the snapshot in use. What its files and these have in common is not made again.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        files = {
            name: _checked(folder / name, wanted, before.files.get(name) if before is not None else None)
            for name, wanted in manifest.files.items()
        }
        contents = msgspec.msgpack.decode((folder / CONTENTS).read_bytes(), type=Contents)
        if contents.format != FORMAT:
            raise BrokenSnapshotError(f"format {contents.format} instead of {FORMAT}")
        return _assembled(folder, contents, files, before)
    except BrokenSnapshotError:
        raise
    except Exception as error:  # whatever is wrong with a file, the last good snapshot stays
        raise BrokenSnapshotError(f"{type(error).__name__}: {error}") from error


def _models(folder: Path, files: Mapping[str, File], before: Snapshot | None) -> tuple[Models, Canary | None]:
    """The champion's and the canary's: those in use where they are the same."""
    if before is None or not _same(files, before.files, f"{MODELS}/"):
        return Models.load(folder), _canary(folder / CANARY)
    canary = before.canary
    return before.models.again(), canary and Canary(canary.models.again(), canary.share_bp)


def _same(files: Mapping[str, File], before: Mapping[str, File], prefix: str) -> bool:
    """Whether two snapshots have equal files of names that begin like this."""
    first, second = (
        {name: one.sha256 for name, one in some.items() if name.startswith(prefix)}
        for some in (files, before)
    )
    return first == second


def _canary(folder: Path) -> Canary | None:
    """The canary's models where there is one; what cannot be read answers nobody, and the champion everybody."""
    if not folder.exists():
        return None
    try:
        share_bp = int(msgspec.json.decode((folder / SETTINGS).read_bytes())["share_bp"])
        return Canary(Models.load(folder), share_bp)
    except Exception:  # a trial must never cost what serves
        log.exception("the canary of this snapshot cannot be read")
        return None


def _assembled(
    folder: Path, contents: Contents, files: Mapping[str, File], before: Snapshot | None
) -> Snapshot:
    has_same_ads = before is not None and _same(files, before.files, columns.ADS)
    candidates, ads = columns.read(
        folder,
        ads=before.ads if before and has_same_ads else None,
        index=before.candidates.eligibility if before and has_same_ads else None,
    )
    models, canary = _models(folder / MODELS, files, before)
    index = RuleIndex([row.rule() for row in contents.rules], candidates)
    return Snapshot(
        version=contents.version,
        built_at=contents.built_at,
        slots={row.public_id: _slot(row) for row in contents.slots},
        languages={row.site_id: row.language for row in contents.slots},
        domains=frozenset(row.domain for row in contents.slots),
        candidates=candidates,
        ads=ads,
        keys={row.prefix: row for row in contents.keys},
        landings=contents.landings,
        models=models,
        versions={**contents.versions, "snapshot": contents.version},
        rules=index or None,
        canary=canary,
        files=files,
        fallbacks=fallback.prepared(
            ((row.id, row.width, row.height, row.fallback) for row in contents.slots if row.fallback),
            contents.house_ads,
        ),
        counts_variety=any(row.rights.variety > 0 for row in contents.slots),
    )


def _slot(row: SlotRow) -> Slot:
    return Slot(
        id=row.id,
        public_id=row.public_id,
        site_id=row.site_id,
        publisher_id=row.publisher_id,
        format=row.format,
        width=row.width,
        height=row.height,
        floor_micros=row.floor_micros,
        currency=row.currency,
        domain=row.domain,
        categories=frozenset({row.category} if row.category else ()),
        position=row.position,
        time_zone=row.time_zone,
        **row.rights.fields(),
    )


class SnapshotHolder:
    """The snapshot in use. `poll` swaps a newer one in; until there is one, `current` is None."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current: Snapshot | None = None
        self.refused = 0
        self._refused_version = ""

    def poll(self, prepare: Callable[[Snapshot], None] | None = None) -> bool:
        """Look whether another version is published; True where it was swapped in. `prepare` sees it before."""
        try:
            version = (self.folder / CURRENT).read_text().strip()
        except OSError:
            return False
        known = self.current.version if self.current is not None else ""
        if not version or version in (known, self._refused_version) or "/" in version:
            return False
        try:
            loaded = load(self.folder / version, self.current)
        except BrokenSnapshotError as error:
            self.refused += 1
            self._refused_version = version
            log.error("snapshot %s is refused: %s", version, error)
            older = self._older() if self.current is None else None
            if older is None:
                return False
            loaded = older
        if prepare is not None:
            prepare(loaded)
        self.current = loaded
        log.info("serving from snapshot %s with %d ads", loaded.version, len(loaded.candidates))
        return True

    def _older(self) -> Snapshot | None:
        """After a start at which the newest is broken: the newest that is whole."""
        for folder in sorted(self.folder.glob("[0-9]*"), reverse=True):
            try:
                return load(folder)
            except BrokenSnapshotError as error:
                log.error("snapshot %s is refused: %s", folder.name, error)
        return None
