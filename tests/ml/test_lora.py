"""Adapting the real transformer: it learns, stops, goes on where it was cut off, and is read like any other."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from ml.cli import main
from ml.text.adapters import write_merged
from ml.text.conditional import Rivals
from ml.text.encoder import Encoder, default_folder
from ml.text.lora import CROSS_ENTROPY, AdaptError, Settings, adapt, hard_negatives, split

# What draws clicks is the order of the words, which the mean of the lowest layer alone hardly tells.
HALVES = [("the dog", "the man"), ("a cat", "a child"), ("the wolf", "the queen"), ("a horse", "a girl")]
DEEDS = ["bites", "follows", "sees", "finds", "saves", "loves"]
QUICK = Settings(
    depths=(1 / 6,), rate=3e-3, head_penalty=20.0, epochs=6, batch_texts=12, accumulate=2, seed=1
)


def word_order() -> tuple[list[str], Rivals]:
    """Two texts a test, of the same words: the one in which the animal acts draws twice the clicks."""
    texts, clicks = [], []
    for deed in DEEDS:
        for animal, human in HALVES:
            texts += [f"{animal} {deed} {human}", f"{human} {deed} {animal}"]
            clicks += [60.0, 30.0]
    size = len(texts)
    return texts, Rivals(
        np.arange(size), np.array(clicks), np.full(size, 3_000.0), np.repeat(np.arange(size // 2), 2)
    )


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted")
    texts, rivals = word_order()
    report = adapt(default_folder(), texts, rivals, folder, settings=QUICK, log_folder=folder / "log")
    assert min(report.losses) < report.losses[0] - 0.01  # of a frozen transformer with its best head
    return folder


def test_the_result_is_a_transformer_like_any_other(adapted: Path) -> None:
    before, after = Encoder.load(), Encoder.load(str(adapted))
    assert (after.language, after.dim) == (before.language, before.dim)
    texts = ["the dog bites the man", "the man bites the dog"]
    assert not np.allclose(
        after.encode_layers(texts, (1 / 6,)), before.encode_layers(texts, (1 / 6,)), atol=0.05
    )
    assert json.loads((adapted / "config.json").read_text())["adapter"]  # another id than its base's
    assert not (adapted / "checkpoint").exists()
    assert list((adapted / "log").iterdir())


def test_an_adapter_is_kept_by_name_and_merges_again(adapted: Path, tmp_path: Path) -> None:
    adapter = adapted / "adapters" / "clicks"
    assert (adapter / "adapter_model.safetensors").stat().st_size < 2_000_000
    write_merged(default_folder(), adapter, tmp_path / "again")
    texts = ["a horse finds a girl"]
    np.testing.assert_array_equal(
        Encoder.load(str(adapted)).encode(texts), Encoder.load(str(tmp_path / "again")).encode(texts)
    )


class PowerCutError(Exception):
    pass


def test_an_interrupted_run_goes_on_to_the_same_result(adapted: Path, tmp_path: Path) -> None:
    texts, rivals = word_order()

    def cut(step: int, _loss: float) -> None:
        if step >= 4:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        adapt(default_folder(), texts, rivals, tmp_path, settings=QUICK, on_check=cut)
    with pytest.raises(AdaptError, match="other data or settings"):
        adapt(default_folder(), texts, rivals, tmp_path, settings=replace(QUICK, rate=1e-3))
    later: list[int] = []
    adapt(
        default_folder(), texts, rivals, tmp_path, settings=QUICK, on_check=lambda step, _: later.append(step)
    )
    assert min(later) > 4
    whole, parts = (
        load_file(folder / "adapters" / "clicks" / "adapter_model.safetensors")
        for folder in (adapted, tmp_path)
    )
    for name, values in whole.items():
        np.testing.assert_array_equal(parts[name], values)


def test_it_stops_when_the_newest_texts_gain_nothing(tmp_path: Path) -> None:
    texts, rivals = word_order()
    rng = np.random.default_rng(0)
    noise = Rivals(rivals.text, rng.permutation(rivals.clicks), rivals.impressions, rivals.group)
    lost = adapt(
        default_folder(), texts, noise, tmp_path, settings=replace(QUICK, rate=0.02, epochs=40, patience=2)
    )
    assert lost.steps < 40
    assert len(lost.losses) - 1 - int(np.argmin(lost.losses)) == 2


def test_cross_entropy_learns_what_each_text_is_worth(tmp_path: Path) -> None:
    texts, rivals = word_order()
    settings = replace(QUICK, objective=CROSS_ENTROPY, depths=(1.0,), epochs=2, negatives=1)
    single = Rivals(rivals.text, (rivals.clicks > 40).astype(float), np.ones(len(texts)), rivals.group)
    report = adapt(default_folder(), texts, single, tmp_path, name="shop", settings=settings)
    assert min(report.losses) < np.log(2)
    assert (tmp_path / "adapters" / "shop" / "adapter_model.safetensors").exists()


def test_the_newest_groups_are_held_whole() -> None:
    group = np.array([0, 0, 1, 1, 2, 2, 3, 1])  # the last row of group 1 is the newest
    learnt, held = split(Rivals(np.arange(8), np.ones(8), np.ones(8), group), 0.3)
    assert set(group[held]) == {1}
    assert set(group[learnt]) == {0, 2, 3}


def test_non_clicks_beside_a_click_come_first_and_keep_their_weight() -> None:
    group = np.repeat(np.arange(50), 4)
    clicks = np.zeros(200)
    clicks[:40:4] = 1  # a click in each of the first ten groups
    rows, weight = hard_negatives(
        Rivals(np.arange(200), clicks, np.ones(200), group), np.arange(200), 2, np.random.default_rng(0)
    )
    near = (clicks[rows] == 0) & (group[rows] < 10)
    far = group[rows] >= 10
    assert (int(near.sum()), int(far.sum())) == (20, 10)
    assert weight[near].sum() == pytest.approx(30)
    assert weight[far].sum() == pytest.approx(160)
    assert (weight[clicks[rows] == 1] == 1).all()


def test_the_command_writes_an_encoder_for_fit_predict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, rivals = word_order()
    texts, rivals = texts[:24], rivals.take(np.arange(24))
    table = pd.DataFrame(
        {"headline": texts, "clicks": rivals.clicks, "shown": rivals.impressions, "test": rivals.group}
    ).assign(week=rivals.group // 4)
    table.to_parquet(tmp_path / "a.parquet")
    columns = [
        "--text",
        "headline",
        "--clicks",
        "clicks",
        "--impressions",
        "shown",
        "--group",
        "test",
        "--time",
        "week",
    ]
    files = ["--train", str(tmp_path / "a.parquet"), "--out", str(tmp_path / "model")]
    assert main(["adapt", *files, *columns, "--epochs", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.keys() >= {"frozen_loss", "adapted_loss", "best_step", "steps", "train_seconds"}
    files = ["--train", str(tmp_path / "a.parquet"), "--test", str(tmp_path / "a.parquet")]
    predictions = ["--predictions", str(tmp_path / "p.parquet"), "--encoder", said["encoder"]]
    assert main(["fit-predict", *files, *predictions, *columns]) == 0
    assert len(pd.read_parquet(tmp_path / "p.parquet")) == len(table)
    assert (
        main(["adapt", *files[:2], "--out", str(tmp_path / "m2"), "--text", "headline", "--label", "clicks"])
        == 2
    )
