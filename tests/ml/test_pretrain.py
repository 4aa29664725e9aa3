"""A transformer goes on learning from texts alone: a small one of our own making, from a tokenizer of a few words."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from transformers import BertConfig, BertModel, BertTokenizerFast

from ml import artifacts
from ml.cli import main
from ml.text.encoder import Encoder
from ml.text.masking import mask_words
from ml.text.pretrain import PretrainError, Settings, distinct, pretrain

WORDS = [
    "the",
    "a",
    "red",
    "green",
    "small",
    "big",
    "dog",
    "cat",
    "shop",
    "sells",
    "shoes",
    "tea",
    "runs",
    "sleeps",
    "near",
    "under",
    "table",
    "house",
]
QUICK = Settings(epochs=6, batch_texts=16, rate=2e-3, head_rate=1e-2, head_share=0.2, patience=10)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained transformer of two layers."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(str(folder))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(str(folder))
    (folder / "README.md").write_text("---\nlanguage: en\n---\n")
    return folder


def texts(count: int) -> list[str]:
    """The animal decides the colour, the size and what it does."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        dog = rng.random() < 0.5
        what = ("red big dog runs", "green small cat sleeps")[0 if dog else 1]
        place = f"{rng.choice(['near', 'under'])} {rng.choice(['the', 'a'])} {rng.choice(['table', 'house', 'shop'])}"
        extra = " ".join(rng.choice(["tea", "shoes", "sells"], size=rng.integers(0, 5)))
        found.append(f"{rng.choice(['the', 'a'])} {what} {place} {extra}")
    return found


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


def test_held_out_words_are_guessed_better_than_by_the_transformer_as_it_was(
    base: Path, tmp_path: Path
) -> None:
    report = pretrain(base, texts(400), tmp_path / "child", settings=QUICK, log_folder=tmp_path / "log")
    assert report.losses[0] > report.frozen_loss > report.best_loss + 0.2
    assert list((tmp_path / "log").glob("events.out.tfevents.*"))
    assert not (tmp_path / "child" / "checkpoint").exists()
    manifest = artifacts.verify(tmp_path / "child", kind="encoder")
    assert manifest.metrics["loss"] == report.best_loss


def test_an_interrupted_run_ends_at_the_same_weights(base: Path, tmp_path: Path) -> None:
    settings = Settings(epochs=2, batch_texts=16, accumulate=2, rate=1e-3)
    whole = pretrain(base, texts(200), tmp_path / "whole", settings=settings)
    cut = pretrain(base, texts(200), tmp_path / "cut", settings=settings, most_checks=2)
    assert cut.steps < whole.steps
    assert (tmp_path / "cut" / "checkpoint" / "progress.json").is_file()
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    resumed = pretrain(base, texts(200), tmp_path / "cut", settings=settings)
    assert resumed == whole
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert any(not np.array_equal(one[name], weights(base)[name]) for name in one)


def test_a_checkpoint_of_other_texts_is_refused(base: Path, tmp_path: Path) -> None:
    settings = Settings(epochs=2, batch_texts=16)
    pretrain(base, texts(100), tmp_path, settings=settings, most_checks=1)
    with pytest.raises(PretrainError, match="belongs to other data or settings"):
        pretrain(base, texts(101), tmp_path, settings=settings)


def test_training_stops_when_held_out_texts_gain_nothing(base: Path, tmp_path: Path) -> None:
    # Words drawn by chance teach nothing but their frequencies, which the head knows from the start.
    rng = np.random.default_rng(0)
    noise = [" ".join(rng.choice(WORDS, size=8)) for _ in range(100)]
    settings = Settings(epochs=50, batch_texts=16, rate=1e-3, patience=2, checks_per_epoch=1, head_share=0.1)
    report = pretrain(base, noise, tmp_path, settings=settings)
    assert report.steps < 50 * 6 / 2
    assert report.best_loss <= report.losses[0]


def test_the_result_is_an_encoder_with_a_name_of_its_own(base: Path, tmp_path: Path) -> None:
    ids = set()
    for seed in (0, 1):
        folder = tmp_path / str(seed) / "child"
        pretrain(base, texts(100), folder, settings=Settings(epochs=1, batch_texts=16, seed=seed))
        encoder = Encoder.load(str(folder), device="cpu", dtype="float32")
        assert encoder.language == "en"
        assert encoder.encode(["the red dog"]).shape == (1, 32)
        ids.add(encoder.id)
    assert len(ids) == 2  # equal folder names, equal sizes, other weights


def test_the_command_trains_on_a_tables_texts(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "a.csv"
    table.write_text("title\n" + "\n".join(texts(60)) + "\n")
    words = ["pretrain", "--texts", str(table), "--text", "title", "--encoder", str(base), "--json"]
    assert main([*words, "--out", str(tmp_path / "out"), "--epochs", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["encoder"] == str(tmp_path / "out")
    assert Encoder.load(told["encoder"]).dim == 32
    assert main([*words[:4], "nothing", "--out", str(tmp_path / "other")]) == 2
    assert "has no column nothing" in capsys.readouterr().err
    table.write_text("title\nonly one\n")
    assert main([*words, "--out", str(tmp_path / "other")]) == 2
    assert "1 distinct texts are too few" in capsys.readouterr().err


def test_texts_count_once() -> None:
    assert distinct(["a  b", "", "c", "a b", "  "]) == ["a b", "c"]


@given(st.lists(st.integers(3, 30), min_size=1, max_size=8), st.integers(0, 99))
def test_only_words_are_masked_and_what_is_asked_for_is_what_stood_there(
    lengths: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    whole = [np.concatenate([[2], rng.integers(10, 90, length - 2), [3]]) for length in lengths]
    batch = mask_words(whole, mask=4, padding=0, words=100, rng=rng)
    assert batch.tokens.shape == (len(lengths), max(lengths))
    np.testing.assert_array_equal(batch.attention.sum(1), lengths)
    restored = batch.tokens.copy()
    restored[batch.row, batch.column] = batch.word
    for row, text in enumerate(whole):
        np.testing.assert_array_equal(restored[row, : len(text)], text)
        assert (batch.tokens[row, [0, len(text) - 1]] == [2, 3]).all()
        assert (batch.row == row).sum() == max(1, round((len(text) - 2) * 0.15))
