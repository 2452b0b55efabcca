"""Runs: reproducible, resumable, loadable."""

from __future__ import annotations

import pickle
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prepare, random_rows, write_log

from recbole_clia import CLIA, load_model, run
from recbole_clia.errors import Diverged, UsageError
from recbole_clia.running.trainer import CLIATrainer, read_checkpoint


@pytest.fixture
def settings(made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "epochs": 4, "embedding_size": 8, "hidden_size": 8, "train_batch_size": 64}


def weights(path: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path)["state_dict"]
    return state


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("loss_type", ["CE", "BPR", "SSM"])
def test_two_runs_of_one_seed_are_bit_equal(settings: dict[str, Any], packed: bool, loss_type: str) -> None:
    settings.update(packed=packed, loss_type=loss_type)
    first, second = (run("CLIA", "made", config_dict={**settings, "checkpoint_dir": folder}) for folder in "ab")
    assert first["test_result"] == second["test_result"]
    one, other = weights(first["model_file"]), weights(second["model_file"])
    assert all(torch.equal(one[name], other[name]) for name in one)
    third = run("CLIA", "made", config_dict={**settings, "checkpoint_dir": "c", "seed": 1})
    assert any(not torch.equal(one[name], value) for name, value in weights(third["model_file"]).items())


SAMPLED: dict[str, Any] = {
    "loss_type": "SSM",
    "negative_sampling": "cluster",
    "negative_clusters": 4,
    "negative_num": [[0, 2], [3, 8]],
    "exclude_history": True,
    "contrastive_loss": "infonce",
    "contrastive_rows": 8,
    "contrastive_loss_weight": [[1, 0.0], [3, 0.4]],
    "augmentation_weight": [[0, 0.1], [3, 0.2]],
    "continuity_weight": 0.1,
    "same_target_weight": [[0, 0.0], [1, 0.0], [2, 0.3]],
}


@pytest.mark.parametrize(
    "chosen",
    [{}, SAMPLED, {"loss_type": "BPR", "negative_sampling": "online"}],
    ids=["as it is", "schedules and clusters", "online negatives"],
)
def test_a_resumed_run_is_bit_equal_to_one_that_was_not_stopped(
    settings: dict[str, Any], chosen: dict[str, Any]
) -> None:
    settings.update(chosen)
    whole = run("CLIA", "made", config_dict={**settings, "checkpoint_dir": "whole"})
    stopped = run("CLIA", "made", config_dict={**settings, "checkpoint_dir": "part", "epochs": 2})
    last = stopped["model_file"].replace(".pth", ".last.pth")
    resumed = run("CLIA", "made", config_dict={**settings, "checkpoint_dir": "part"}, resume=last)
    assert resumed["model_file"] == stopped["model_file"]
    assert resumed["test_result"] == whole["test_result"]
    assert resumed["best_valid_result"] == whole["best_valid_result"]
    for key in ("best_epoch", "epochs", "diagnosis"):
        assert resumed[key] == whole[key]
    for key in ("epoch", "valid_score"):
        assert [point[key] for point in resumed["curve"]] == [point[key] for point in whole["curve"]]
    seconds = [point["train_seconds"] for point in resumed["curve"]]
    assert seconds[:2] == pytest.approx([point["train_seconds"] for point in stopped["curve"]], rel=0.2)
    assert seconds == sorted(seconds)
    assert resumed["seconds_per_epoch"] == pytest.approx(seconds[-1] / 4, rel=0.2)
    end = [torch.load(r["model_file"].replace(".pth", ".last.pth")) for r in (whole, resumed)]
    assert end[0]["history"] != []
    assert [e["train_loss"] for e in end[0]["history"]] == [e["train_loss"] for e in end[1]["history"]]
    assert all(torch.equal(end[0]["state_dict"][name], end[1]["state_dict"][name]) for name in end[0]["state_dict"])


@pytest.mark.parametrize("chosen", [{}, {"stopping_step": 0}, {"eval_step": 2}], ids=["to its end", "early", "every 2"])
def test_resuming_what_is_finished_leaves_the_best_model_alone(
    settings: dict[str, Any], chosen: dict[str, Any]
) -> None:
    settings.update(chosen)
    done = run("CLIA", "made", config_dict=settings)
    before = Path(done["model_file"]).read_bytes()
    again = run("CLIA", "made", config_dict=settings, resume=done["model_file"].replace(".pth", ".last.pth"))
    assert Path(done["model_file"]).read_bytes() == before
    for key in set(done) - {"curve", "seconds", "seconds_per_epoch", "log_file"}:
        assert again[key] == done[key]
    for key in ("epoch", "valid_score"):
        assert [point[key] for point in again["curve"]] == [point[key] for point in done["curve"]]


def test_the_model_is_told_of_each_epoch(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(CLIA, "start_epoch", lambda self, epoch: told.append(epoch))
    stopped = run("CLIA", "made", config_dict={**settings, "epochs": 2})
    assert told == [0, 1]
    run("CLIA", "made", config_dict=settings, resume=stopped["model_file"].replace(".pth", ".last.pth"))
    assert told == [0, 1, 2, 3]


def test_resuming_with_other_settings_is_refused(settings: dict[str, Any]) -> None:
    last = run("CLIA", "made", config_dict={**settings, "epochs": 1})["model_file"].replace(".pth", ".last.pth")
    with pytest.raises(UsageError, match="dropout_prob"):
        run("CLIA", "made", config_dict={**settings, "dropout_prob": 0.1}, resume=last)
    with pytest.raises(UsageError, match=r"nowhere\.pth"):
        run("CLIA", "made", config_dict=settings, resume="nowhere.pth")
    with pytest.raises(UsageError, match=r"holds the best model alone; a run goes on from the file \*\.last"):
        run("CLIA", "made", config_dict={**settings, "epochs": 1}, resume=last.replace(".last.pth", ".pth"))
    with pytest.raises(UsageError, match="GRU4Rec is trained in RecBole's loop, which cannot be continued"):
        run("GRU4Rec", "made", config_dict=settings, resume=last)
    more = write_log(Path("more"), random_rows(7, users=30))
    with pytest.raises(UsageError, match="is of other data or of another version; size mismatch for"):
        run("CLIA", "made", config_dict={**settings, "data_path": more}, resume=last)


def best_at(monkeypatch: pytest.MonkeyPatch, best: int) -> None:
    """Let the epoch ``best`` have the best score of all on validation."""
    monkeypatch.setattr(
        CLIATrainer, "_valid_epoch", lambda self, *_, **__: (float(len(self.history) == best), {"mrr@10": 0.5})
    )


def copied(file: str, folder: str) -> str:
    Path(folder).mkdir()
    return shutil.copy(file, folder)


@pytest.mark.parametrize("more", [0, 2], ids=["finished", "stopped"])
def test_resuming_without_an_earlier_best_model_is_refused_at_once(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    best_at(monkeypatch, 0)
    stopped = run("CLIA", "made", config_dict={**settings, "epochs": 2})
    last = copied(stopped["model_file"].replace(".pth", ".last.pth"), "elsewhere")
    before = Path(last).read_bytes()
    name = Path(stopped["model_file"]).name
    sentence = (
        f"resume: {name}, the best model of the stopped run, is not in elsewhere, beside the resumed file; copy it"
    )
    with pytest.raises(UsageError, match=re.escape(sentence)):
        run("CLIA", "made", config_dict={**settings, "epochs": 2 + more}, resume=last)
    assert Path(last).read_bytes() == before
    assert len(list(Path("elsewhere").iterdir())) == 1
    assert run("CLIA", "made", config_dict={**settings, "epochs": 3}, saved=False, resume=last)["epochs"] == 3
    shutil.copy(stopped["model_file"], "elsewhere")
    assert run("CLIA", "made", config_dict={**settings, "epochs": 2 + more}, resume=last)["best_epoch"] == 0


@pytest.mark.parametrize("more", [0, 2], ids=["finished", "stopped"])
def test_the_last_state_stands_for_a_best_model_of_the_same_epoch(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    best_at(monkeypatch, 1)
    stopped = run("CLIA", "made", config_dict={**settings, "epochs": 2})
    whole = run("CLIA", "made", config_dict={**settings, "epochs": 2 + more})
    last = copied(stopped["model_file"].replace(".pth", ".last.pth"), "elsewhere")
    resumed = run("CLIA", "made", config_dict={**settings, "epochs": 2 + more}, resume=last)
    assert resumed["test_result"] == whole["test_result"]
    assert resumed["best_epoch"] == whole["best_epoch"] == 1
    assert Path(resumed["model_file"]).parent == Path("elsewhere")
    found, wanted = weights(resumed["model_file"]), weights(whole["model_file"])
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_resumed_run_writes_beside_its_file_alone(settings: dict[str, Any], workplace: Path) -> None:
    stopped = run("CLIA", "made", config_dict={**settings, "epochs": 1, "checkpoint_dir": "a"})
    last = stopped["model_file"].replace(".pth", ".last.pth")
    Path("same").symlink_to("a")
    refused = "a resumed run writes beside its file, into a, and not into checkpoint_dir = b; leave that out"
    with pytest.raises(UsageError, match=refused):
        run("CLIA", "made", config_dict={**settings, "checkpoint_dir": "b"}, resume=last)
    Path("b.yaml").write_text("checkpoint_dir: b")
    with pytest.raises(UsageError, match=refused):
        run("CLIA", "made", config_file_list=["b.yaml"], config_dict=settings, resume=last)
    for number, folder in enumerate(("a", "./a/", str(workplace / "a"), "same"), 2):
        more = {**settings, "checkpoint_dir": folder, "epochs": number}
        assert run("CLIA", "made", config_dict=more, resume=last)["epochs"] == number


def test_result_tells_what_a_user_asks(settings: dict[str, Any]) -> None:
    result = run(CLIA, "made", config_dict=settings)
    assert result["model"] == "CLIA"
    assert 0 <= result["best_epoch"] < result["epochs"] <= 4
    assert result["seconds_per_epoch"] > 0
    assert Path(result["model_file"]).is_file()
    history = read_checkpoint(result["model_file"].replace(".pth", ".last.pth"))["history"]
    assert result["diagnosis"] == history[result["best_epoch"]]["diagnosis"]
    assert 0 < result["diagnosis"]["alpha"] < 1
    assert result["parameters"] == sum(p.numel() for p in load_model(result["model_file"]).parameters())


def test_worker_processes_load_the_same_pairs(settings: dict[str, Any]) -> None:
    alone, helped = (prepare({**settings, "worker": worker}).train for worker in (0, 2))
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one["item_id_list"], other["item_id_list"])
        assert torch.equal(one["item_id_targets"], other["item_id_targets"])


def test_saved_loaders_are_taken_up_again(settings: dict[str, Any]) -> None:
    run("CLIA", "made", config_dict={**settings, "save_dataloaders": True})
    assert list(Path("saved").glob("*dataloader.pth"))
    again = [run("CLIA", "made", config_dict=settings)["test_result"] for _ in range(2)]
    assert again[0] == again[1]
    smaller = prepare({**settings, "train_batch_size": 20}).train
    assert len(list(smaller)) > len(list(prepare(settings).train))


@pytest.mark.parametrize("other", [{"split_period_seconds": 2000}, {"sampled_groups": "positive"}])
@pytest.mark.parametrize("packed", [False, True])
def test_saved_loaders_are_made_again_for_another_protocol(
    settings: dict[str, Any], workplace: Path, packed: bool, other: dict[str, Any]
) -> None:
    protocol = {"split": {"TS": ["period"]}, "order": "TO", "group_by": "user", "mode": "uni5"}
    settings = {**settings, "eval_args": protocol, "split_period_seconds": 1000, "sampled_groups": "user"}
    settings = {
        **settings,
        "time_unit": "s",
        "packed": packed,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "epochs": 1,
    }
    run("SASRec", "made", config_dict={**settings, "save_dataloaders": True})
    again = run("SASRec", "made", config_dict={**settings, **other})["test_result"]
    assert again == run("SASRec", "made", config_dict={**settings, **other, "checkpoint_dir": "new"})["test_result"]


def test_without_saving_no_model_is_written(settings: dict[str, Any], workplace: Path) -> None:
    result = run("CLIA", "made", config_dict=settings, saved=False)
    assert result["model_file"] is None
    assert not list(workplace.rglob("*.pth"))


@pytest.mark.parametrize("model", ["CLIA", "GRU4Rec"])
def test_loaded_model_scores_as_the_trained_one(settings: dict[str, Any], model: str) -> None:
    prepared = prepare(settings, model)
    rows = prepared.test._dataset
    batch = rows[np.arange(len(rows))]
    path = run(model, "made", config_dict=settings)["model_file"]
    prepared.model.load_state_dict(weights(path))
    loaded = load_model(path)
    assert not loaded.training
    assert torch.equal(loaded.full_sort_predict(batch), prepared.model.eval().full_sort_predict(batch))


@pytest.mark.parametrize(
    "chosen",
    [{}, {"loss_type": "SSM", "exclude_history": True}, {"loss_type": "BPR", "negative_sampling": "hard"}, SAMPLED],
)
def test_clia_is_loaded_without_its_data(settings: dict[str, Any], workplace: Path, chosen: dict[str, Any]) -> None:
    path = run("CLIA", "made", config_dict={**settings, **chosen})["model_file"]
    (workplace / "dataset/made/made.inter").unlink()
    model: Any = load_model(path)
    assert model.n_items > 2
    assert model.negatives is None


def test_a_model_of_recboles_is_loaded_with_data_that_have_moved(
    settings: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**settings, "data_path": "dataset", "epochs": 1}
    path = str(Path(run("GRU4Rec", "made", config_dict=settings)["model_file"]).resolve())
    wanted = weights(path)
    (workplace / "dataset").rename("moved")
    other = workplace / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    way_out = "say with data_path which folder holds the dataset's folder"
    with pytest.raises(
        UsageError, match=f"'made': GRU4Rec is loaded with its data, and .* no folder dataset/made; {way_out}"
    ):
        load_model(path)
    loaded = load_model(path, data_path=str(workplace / "moved"))
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in wanted.items())
    (workplace / "moved/made/made.inter").rename(workplace / "moved/made/was.inter")
    with pytest.raises(UsageError, match=f"no file made.inter in ../moved/made; {way_out}"):
        load_model(path, data_path="../moved")
    data = write_log(workplace / "more", random_rows(7, users=30, items=40))
    with pytest.raises(
        UsageError, match=r"its weights do not fit the data of .*more/made; these are other data"
    ) as caught:
        load_model(path, data_path=data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["foo", "cuda:99", None, *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_here_is_refused(settings: dict[str, Any], device: Any) -> None:
    path = run("CLIA", "made", config_dict={**settings, "epochs": 1})["model_file"]
    with pytest.raises(UsageError, match=f"device: '{device}' cannot be used here, and 'cpu' always can: ") as caught:
        load_model(path, device=device)
    assert "\n" not in str(caught.value)


class _Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was-run"),))


def test_a_checkpoint_cannot_run_code(workplace: Path) -> None:
    torch.save({"config": _Evil(), "state_dict": {}}, "evil.pth")
    with pytest.raises(UsageError, match="trust_pickle"):
        load_model("evil.pth")
    assert not Path("was-run").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"a": 1})])
def test_a_damaged_checkpoint_gives_one_sentence(workplace: Path, content: bytes) -> None:
    Path("bad.pth").write_bytes(content)
    with pytest.raises(UsageError, match=r"checkpoint bad\.pth") as caught:
        load_model("bad.pth")
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers_are_not_ranked_by(settings: dict[str, Any]) -> None:
    """A ranking by scores of NaN has figures too, and good ones."""
    given = {key: value for key, value in settings.items() if key != "hidden_size"}
    for model in ("CLIA", "BPR"):
        with pytest.raises(Diverged, match="after 0 whole epochs; a smaller learning_rate than"):
            run(model, "made", config_dict={**given, "epochs": 1, "learning_rate": 1e37})


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("GRU4RecF", "model GRU4RecF reads the field 'class', which the loaded data do not have; name it in load_col"),
        ("SASRecF", "model SASRecF reads the field 'class'"),
        ("FM", "model FM reads the field 'label'.*, or set threshold for a label"),
        ("S3Rec", "model S3Rec: .*not defined"),
    ],
)
def test_models_that_ask_for_more_than_there_is_say_so(settings: dict[str, Any], model: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as told:
        run(model, "made", config_dict={key: value for key, value in settings.items() if "_size" not in key})
    assert "\n" not in str(told.value)


def test_a_package_that_is_missing_is_named(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match=r"CLIA and its settings need .*wandb"):
        run("CLIA", "made", config_dict={**settings, "log_wandb": True})


def test_a_log_without_anything_to_test_on_is_refused(workplace: Path, settings: dict[str, Any]) -> None:
    rows = [(user, item, float(10 * user + item)) for user in range(20) for item in (user % 7, 7 + user % 5)]
    path = write_log(workplace / "short", rows)
    with pytest.raises(UsageError, match="all histories are too short, and nothing is left to validate or"):
        run("CLIA", "made", config_dict={**settings, "data_path": path})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"nproc": 3, "world_size": 2}, "world_size: 2 processes in all are fewer than the 3 here"),
        ({"nproc": 2, "world_size": 2, "group_offset": 1}, "after group_offset 1"),
        ({"nproc": "2"}, "nproc must be a whole number, not '2'"),
        ({"nproc": 0}, "nproc must be at least 1, not 0"),
    ],
)
def test_numbers_of_processes_that_do_not_fit_are_refused(
    settings: dict[str, Any], given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        run("CLIA", "made", config_dict=settings, **given)
