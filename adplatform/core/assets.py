"""Browser assets out of installed packages: fonts, plotly.js with its style sheet, htmx.

Set-up copies them into var/assets, from where they are served under /static/vendor/. Nothing third-party is
committed and no page loads anything from another host. Files are compressed here once, so that the web
process only picks the smaller one.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGES = ("plotly", "django-htmx", "fontpkg-inter")
VERSIONS = "versions.json"
COMPRESSED = {".js", ".css"}

_INLINE_SHEET = re.compile(
    r'if\(!document\.getElementById\("([0-9a-f]{64})"\)\)\{var \w+=document\.createElement\("style"\)'
)
_KEY = r"""(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([A-Za-z]\w*))"""
_VALUE = r"""(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')"""
_RULE = re.compile(_KEY + ":" + _VALUE + r"(,|\})")


class AssetError(RuntimeError):
    """An installed package does not hold what the pages need from it."""


def build(folder: Path) -> list[Path]:
    """Write every asset below `folder`; do nothing where the same package versions were copied before."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    paths = [folder / name for name in ASSETS]
    if _written(folder) == versions and all(path.exists() for path in paths):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        content = ASSETS[path.name]()
        path.write_bytes(content)
        if path.suffix in COMPRESSED:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content, mtime=0))
    (folder / VERSIONS).write_text(json.dumps(versions))
    return paths


def plotly_css(script: str) -> str:
    """The style rules that plotly.js would insert at run time, as a file.

    They stand in the bundle as one literal object {selector: declarations}; X and Y abbreviate selectors. Each is
    inserted before the last one, hence the reversed order.
    """
    start = script.find('{"X,X div":')
    if start < 0:
        raise AssetError("plotly.min.js holds no literal style rules; a newer plotly needs another reader.")
    rules = list(_literal(script, start + 1))
    return "".join(f"{selector}{{{declarations}}}\n" for selector, declarations in reversed(rules))


def plotly_prelude(script: str) -> str:
    """A script to run before plotly.js: it marks the style sheets that libraries inside the bundle would add inline
    as being there. They belong to maps, which no page draws, and the Content-Security-Policy refuses them."""
    marks = sorted(set(_INLINE_SHEET.findall(script)))
    return "".join(
        f'document.head.append(Object.assign(document.createElement("meta"), {{ id: "{mark}" }}));\n'
        for mark in marks
    )


def _literal(script: str, position: int) -> Iterator[tuple[str, str]]:
    while rule := _RULE.match(script, position):
        selector, declarations = rule[1] or rule[2] or rule[3], rule[4] or rule[5] or ""
        selector = re.sub("^,", " ,", selector)
        selector = selector.replace("X", ".js-plotly-plot .plotly").replace("Y", ".plotly-notifier")
        yield selector, declarations
        if rule[6] == "}":
            return
        position = rule.end()
    raise AssetError("plotly.min.js has style rules that cannot be read.")


def woff(font: bytes) -> bytes:
    """A TrueType font as WOFF 1.0: the same tables, each compressed (W3C Recommendation of 2012, section 4)."""
    flavor, count = struct.unpack_from(">4sH", font)
    directory, body = b"", b""
    offset = 44 + 20 * count
    for index in range(count):
        tag, checksum, start, length = struct.unpack_from(">4sIII", font, 12 + 16 * index)
        table = font[start : start + length]
        packed = zlib.compress(table, 9)
        stored = packed if len(packed) < length else table
        directory += struct.pack(">4sIIII", tag, offset + len(body), len(stored), length, checksum)
        body += stored + b"\0" * (-len(stored) % 4)
    header = struct.pack(
        ">4s4sIHHIHHIIIII",
        b"wOFF",
        flavor,
        offset + len(body),
        count,
        0,
        _sfnt_size(font, count),
        1,
        0,
        0,
        0,
        0,
        0,
        0,
    )
    return header + directory + body


def _sfnt_size(font: bytes, count: int) -> int:
    lengths: list[int] = [struct.unpack_from(">I", font, 12 + 16 * index + 12)[0] for index in range(count)]
    return 12 + 16 * count + sum((length + 3) & ~3 for length in lengths)


def _written(folder: Path) -> dict[str, str] | None:
    try:
        versions: dict[str, str] = json.loads((folder / VERSIONS).read_text())
    except (OSError, ValueError):
        return None
    return versions


def _inside(package: str, path: str) -> Path:
    """A file of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        if (file := Path(place) / path).is_file():
            return file
    raise AssetError(f"{package} has no {path}: install requirements.txt again.")


def _plotly() -> bytes:
    return _inside("plotly", "package_data/plotly.min.js").read_bytes()


ASSETS: dict[str, Callable[[], bytes]] = {
    "plotly.min.js": _plotly,
    "plotly-prelude.js": lambda: plotly_prelude(_plotly().decode()).encode(),
    "plotly.css": lambda: plotly_css(_plotly().decode()).encode(),
    "htmx.min.js": lambda: _inside("django_htmx", "static/django_htmx/htmx-2.min.js").read_bytes(),
    "inter.woff": lambda: woff(_inside("fontpkg_inter", "files/Inter[opsz,wght].ttf").read_bytes()),
}
