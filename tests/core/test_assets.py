"""Assets come out of installed packages, whole and ready for a strict policy."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from pathlib import Path

import pytest

from adplatform.core import assets


def test_everything_is_built_and_building_again_writes_nothing(tmp_path: Path) -> None:
    paths = assets.build(tmp_path)
    assert {path.name for path in paths} == {
        "plotly.min.js",
        "plotly-prelude.js",
        "plotly.css",
        "htmx.min.js",
        "inter.woff",
    }
    for path in paths:
        if path.suffix in assets.COMPRESSED:
            assert gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes()) == path.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    assets.build(tmp_path)

    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_missing_file_is_built_again(tmp_path: Path) -> None:
    (assets.build(tmp_path)[0]).unlink()

    assert all(path.exists() for path in assets.build(tmp_path))


def test_style_rules_are_read_in_the_order_in_which_they_win() -> None:
    script = """var a={"X,X div":'margin:0;',"X a":"color:red;",Y:'top:"0";',"Y p":"margin:0;"};for(b in a)"""

    assert assets.plotly_css(script).splitlines() == [
        ".plotly-notifier p{margin:0;}",
        '.plotly-notifier{top:"0";}',
        ".js-plotly-plot .plotly a{color:red;}",
        ".js-plotly-plot .plotly,.js-plotly-plot .plotly div{margin:0;}",
    ]


@pytest.mark.parametrize("script", ["", '{"X,X div":`a`}', '{"X,X div":"a"'])
def test_a_bundle_of_another_shape_is_named(script: str) -> None:
    with pytest.raises(assets.AssetError):
        assets.plotly_css(script)


def test_the_font_keeps_every_table() -> None:
    plain = b"glyphs" * 50
    tiny = b"abc"
    directory = struct.pack(">4sHHHH", b"\0\1\0\0", 2, 0, 0, 0)
    directory += struct.pack(">4sIII", b"glyf", 7, 44, len(plain)) + struct.pack(
        ">4sIII", b"head", 9, 344, len(tiny)
    )

    packed = assets.woff(directory + plain + tiny)

    assert packed[:4] == b"wOFF"
    assert struct.unpack_from(">I", packed, 8)[0] == len(packed)
    tables = [struct.unpack_from(">4sIIII", packed, 44 + 20 * index) for index in range(2)]
    glyphs, head = (packed[offset : offset + stored] for _tag, offset, stored, _length, _sum in tables)
    assert zlib.decompress(glyphs) == plain
    assert head == tiny  # too small to shrink: stored as it is


ROOT = Path(__file__).resolve().parents[2]


def test_every_icon_that_a_page_names_exists() -> None:
    from adplatform.core.templatetags.ui import CHIP_ICONS, icon_exists

    pages = [path.read_text() for path in (ROOT / "templates").rglob("*.html")]
    code = [path.read_text() for path in (ROOT / "adplatform").rglob("*.py")]
    named = {
        name
        for text in pages
        for name in re.findall(r'{% icon "([a-z0-9-]+)"|symbol="([a-z0-9-]+)"', text)
        for name in name
        if name
    }
    named |= {name for text in code for name in re.findall(r'symbol="([a-z0-9-]+)"', text)} | set(
        CHIP_ICONS.values()
    )

    assert [name for name in sorted(named) if not icon_exists(name)] == []


def test_no_page_holds_script_or_style_of_its_own_or_of_another_host() -> None:
    """What the Content-Security-Policy would refuse, found without a browser."""
    refused = re.compile(
        r"<style|\son[a-z]+=|\sstyle=|<script(?![^>]*\ssrc=)[^>]*>|(?:src|href)=[\"']https?://", re.IGNORECASE
    )
    pages = [
        path
        for path in (ROOT / "templates").rglob("*.html")
        if "ads" not in path.parts and "mail" not in path.parts
    ]

    assert [
        path.name for path in pages if refused.search(re.sub(r"{[%#].*?[%#]}", "", path.read_text()))
    ] == []
