"""Snapshots: whole or refused, the last good one stays, old ones go."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest

from adplatform.core import clock
from adplatform.serving import columns, publish
from adplatform.serving.snapshot import CONTENTS, CURRENT, MANIFEST, MODELS, SnapshotHolder
from tests.serving import market as m

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path):
    m.ad()
    m.slot()
    publish.publish(at=clock.now(), folder=tmp_path)
    return tmp_path


def current(folder):
    return folder / (folder / CURRENT).read_text()


def test_a_published_snapshot_is_picked_up_once(folder) -> None:
    holder = SnapshotHolder(folder)
    assert holder.poll() is True
    assert holder.poll() is False
    assert len(holder.current.candidates) == 1


@pytest.mark.parametrize("name", [CONTENTS, *columns.FILES, f"{MODELS}/models.json", MANIFEST])
@pytest.mark.parametrize("harm", ["remove", "truncate", "change"])
def test_a_broken_one_is_refused_and_the_last_good_one_stays(folder, name, harm) -> None:
    holder = SnapshotHolder(folder)
    holder.poll()
    good = holder.current
    publish.publish(at=clock.now() + timedelta(seconds=1), folder=folder)
    path = current(folder) / name
    if harm == "remove":
        path.unlink()
    else:
        data = path.read_bytes()
        path.unlink()  # the snapshot before may have the same file
        path.write_bytes(data[: len(data) // 2] if harm == "truncate" else bytes([data[0] ^ 1]) + data[1:])
    assert holder.poll() is False
    assert holder.poll() is False
    assert (holder.current, holder.refused) == (good, 1)

    publish.publish(at=clock.now() + timedelta(seconds=2), folder=folder)
    assert holder.poll() is True


def test_a_missing_folder_is_refused(folder) -> None:
    holder = SnapshotHolder(folder)
    shutil.rmtree(current(folder))
    assert holder.poll() is False
    assert holder.current is None


def test_the_newest_three_are_kept_and_what_a_killed_builder_left_goes(folder) -> None:
    (folder / ".20200101T000000-dead").mkdir()
    at = clock.now()
    versions = [publish.publish(at=at + timedelta(seconds=n), folder=folder).version for n in range(1, 5)]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == versions[1:]


def test_a_failed_build_leaves_nothing_and_names_nothing(folder, monkeypatch) -> None:
    before = (folder / CURRENT).read_text(), sorted(folder.iterdir())

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(publish, "write_models", fail)
    with pytest.raises(OSError, match="no space"):
        publish.publish(at=clock.now() + timedelta(seconds=1), folder=folder)
    assert ((folder / CURRENT).read_text(), sorted(folder.iterdir())) == before
