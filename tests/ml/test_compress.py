"""A smaller encoder: near the full one, refused where it is not, and never mixed up with it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml.cli import main
from ml.text.compress import CompressError, compress, fidelity, int8_of
from ml.text.encoder import Encoder, EncoderError
from ml.text.runtime import batches

DEPTHS = (1 / 3, 2 / 3)
TEXTS = [
    "Lightweight running shoes for the marathon",
    "Jogging trainers, made for long distances",
    "Compare mortgage rates in two minutes",
    "WHITE HANGING HEART T-LIGHT HOLDER",
    "x",
    "Storms and heavy rain are expected in the north, and sunshine in the south, " * 4,
]


@pytest.fixture(scope="module")
def full() -> Encoder:
    return Encoder.load(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def int8_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "int8"
    compress(None, folder, int8=True)
    return folder


@pytest.fixture(scope="module")
def pruned_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "pruned"
    compress(None, folder, layers=4, task=lambda _: 1.0)
    return folder


def test_int8_gives_nearly_the_same_vectors(full: Encoder, int8_folder: Path) -> None:
    small = Encoder.load(str(int8_folder))
    near = fidelity(full, small, TEXTS)
    assert (near.lowest, near.mean) > (0.988, 0.994)
    measured = json.loads((int8_folder / "manifest.json").read_text())["metrics"]
    assert measured["lowest_cosine"] >= 0.988
    assert (small.dtype, small.language, small.dim) == ("int8", "en", full.dim)


def test_int8_reads_lower_layers_too(full: Encoder, int8_folder: Path) -> None:
    wanted = full.encode_layers(TEXTS, DEPTHS).ravel()
    found = Encoder.load(str(int8_folder)).encode_layers(TEXTS, DEPTHS).ravel()
    assert wanted @ found / np.linalg.norm(wanted) / np.linalg.norm(found) > 0.995


def test_an_int8_vector_depends_on_nothing_else_in_its_batch(int8_folder: Path) -> None:
    small = Encoder.load(str(int8_folder))
    alone = np.concatenate([small.encode([text]) for text in TEXTS])
    assert (small.encode(TEXTS) * alone).sum(axis=1).min() > 0.9999


def test_int8_runs_without_torch(int8_folder: Path) -> None:
    program = (
        "import sys; from ml.text.encoder import Encoder; Encoder.load(sys.argv[1]).encode(['shoes']); "
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(int8_folder)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_a_pruned_encoder_is_the_first_layers_of_the_full_one(full: Encoder, pruned_folder: Path) -> None:
    small = Encoder.load(str(pruned_folder), device="cpu", dtype="float32")
    assert (small.layers, small.full_layers) == (4, 6)
    np.testing.assert_array_equal(small.encode(TEXTS), full.encode(TEXTS, layers=4))
    np.testing.assert_array_equal(small.encode_layers(TEXTS, DEPTHS), full.encode_layers(TEXTS, DEPTHS))


def test_each_form_has_an_id_of_its_own(full: Encoder, int8_folder: Path, pruned_folder: Path) -> None:
    int8, pruned = Encoder.id_of(str(int8_folder)), Encoder.id_of(str(pruned_folder))
    assert int8.startswith(f"{full.id}-int8-")
    assert pruned == f"{full.id}-4of6"
    assert Encoder.load(str(int8_folder)).id == int8


def test_a_broken_model_does_not_pass_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With one step a weight every weight is -1, 0 or 1 times the largest: nothing is left of the vectors.
    monkeypatch.setattr("ml.text.bert_graph.LARGEST_WEIGHT", 1)
    with pytest.raises(CompressError, match="too far from the full ones"):
        compress(None, tmp_path / "broken", int8=True)
    assert list(tmp_path.iterdir()) == []


def test_fewer_layers_are_judged_by_their_task(tmp_path: Path) -> None:
    with pytest.raises(CompressError, match="name a task"):
        compress(None, tmp_path / "unjudged", layers=2)
    with pytest.raises(CompressError, match=r"loss rises from 1\.00000 to 1\.00200"):
        compress(
            None, tmp_path / "worse", layers=2, task=lambda encoder: 1.002 if encoder.layers == 2 else 1.0
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "encoder.json"])
def test_a_changed_file_is_refused(int8_folder: Path, name: str) -> None:
    content = (int8_folder / name).read_bytes()
    try:
        (int8_folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(EncoderError, match="sha256 differs"):
            Encoder.load(str(int8_folder))
    finally:
        (int8_folder / name).write_bytes(content)


def test_a_folder_without_its_manifest_is_refused(int8_folder: Path) -> None:
    aside = (int8_folder / "manifest.json").rename(int8_folder / "aside.json")
    try:
        with pytest.raises(EncoderError, match=r"manifest\.json cannot be read"):
            Encoder.load(str(int8_folder))
    finally:
        aside.rename(int8_folder / "manifest.json")


def test_the_int8_form_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = int8_of(None, tmp_path)
    monkeypatch.setattr("ml.text.compress.compress", lambda *_, **__: pytest.fail("made a second time"))
    assert int8_of(None, tmp_path).id == made.id == next(tmp_path.iterdir()).name


def test_the_command_says_what_it_cannot_do(
    int8_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, reason in (
        (["--out", str(int8_folder), "--int8"], "exists already"),
        (["--out", str(tmp_path / "a")], "say int8, or fewer layers"),
        (["--out", str(tmp_path / "a"), "--encoder", str(int8_folder), "--int8"], "compressed already"),
        (["--out", str(tmp_path / "a"), "--layers", "9"], "keep 1 to 6"),
    ):
        assert main(["compress", *words]) == 2
        assert reason in capsys.readouterr().err


def test_texts_of_one_length_share_a_batch() -> None:
    tokens = [[1] * length for length in (3, 9, 3, 9, 3, 30)]
    found = list(batches(tokens, padding=0, most_tokens=18, most_texts=None))
    assert [rows.tolist() for rows, _ in found] == [[0, 2, 4], [1, 3], [5]]
    assert [batch.is_padded for _, batch in found] == [False, False, False]
    (rows, batch), *_ = batches(tokens, padding=0, most_tokens=36, most_texts=4)
    assert (rows.tolist(), batch.ids.sum(), batch.mask.sum()) == ([0, 2, 4, 1], 18, 18)
