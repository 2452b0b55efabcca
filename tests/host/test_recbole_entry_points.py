"""RecBole's own functions take the plugin's names, and its own models stay as they are."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import recbole.trainer
import torch
from conftest import write_log
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import TrainDataLoader
from recbole.data.dataset import SequentialDataset
from recbole.data.dataset.dataset import Dataset as HostDataset
from recbole.quick_start import load_data_and_model, objective_function, run_recbole
from recbole.quick_start import run as recbole_run
from recbole.utils import get_model, get_trainer
from recbole.utils.enum_type import ModelType

import recbole_clia
from recbole_clia import CLIA, run
from recbole_clia.data.dataset import LogDataset
from recbole_clia.data.loader import PackedTrainDataLoader
from recbole_clia.host import activate
from recbole_clia.settings.config import PluginConfig
from recbole_clia.settings.properties import read_properties


@pytest.fixture
def settings(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["run_recbole.py"])
    return {**made, "epochs": 2, "embedding_size": 8, "hidden_size": 8}


def test_names_are_found() -> None:
    assert get_model("CLIA") is CLIA
    assert get_trainer(ModelType.SEQUENTIAL, "CLIA") is recbole.trainer.CLIATrainer
    assert get_trainer(ModelType.SEQUENTIAL, "SASRec") is recbole.trainer.Trainer
    assert get_model("SASRec").__module__ == "recbole.model.sequential_recommender.sasrec"


def test_activating_again_changes_nothing() -> None:
    def state() -> list[Any]:
        return [
            Config._update_internal_config_dict,
            Config.compatibility_settings,
            recbole.trainer.Trainer.__init__,
            recbole.trainer.Trainer.evaluate,
            recbole.data.utils.get_dataloader,
            recbole.trainer.CLIATrainer,
        ]

    before = state()
    activate()
    assert state() == before


def test_run_recbole_trains_and_evaluates(settings: dict[str, Any]) -> None:
    result = run_recbole(model="CLIA", dataset="made", config_dict=settings)
    assert set(result["test_result"]) == {"recall@10", "mrr@10", "ndcg@10", "hit@10", "precision@10"}
    assert 0 <= result["best_valid_score"] <= 1


def test_run_recbole_gives_what_run_gives(settings: dict[str, Any]) -> None:
    theirs = run_recbole(model="CLIA", dataset="made", config_dict=settings)
    ours = run("CLIA", "made", config_dict=settings)
    assert ours["test_result"] == theirs["test_result"]
    assert ours["best_valid_result"] == theirs["best_valid_result"]


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec"])
def test_built_in_models_give_what_recbole_gives(settings: dict[str, Any], model: str) -> None:
    del settings["embedding_size"]
    settings["hidden_size"] = 8
    theirs = run_recbole(model=model, dataset="made", config_dict={**settings, "train_neg_sample_args": None})
    for lazy in (False, True):
        ours = run(model, "made", config_dict={**settings, "exact_time": False, "lazy_augmentation": lazy})
        assert ours["test_result"] == theirs["test_result"]
        assert ours["best_valid_result"] == theirs["best_valid_result"]


def test_a_model_that_keeps_a_module_beside_its_weights_is_evaluated(settings: dict[str, Any]) -> None:
    """DIN's checkpoint would hold a pickled module."""
    for key in ("embedding_size", "hidden_size", "load_col"):
        del settings[key]
    assert "auc" in run("DIN", "made", config_dict=settings)["test_result"]


def test_built_in_models_get_recboles_own_parts(settings: dict[str, Any]) -> None:
    config = Config("GRU4Rec", "made", config_dict={**settings, "train_neg_sample_args": None})
    dataset = create_dataset(config)
    assert isinstance(dataset, SequentialDataset)
    assert not isinstance(dataset, LogDataset)
    assert type(data_preparation(config, dataset)[0]) is TrainDataLoader


@pytest.mark.parametrize(("packed", "loader"), [(True, PackedTrainDataLoader), (False, TrainDataLoader)])
def test_packed_decides_on_the_loader(settings: dict[str, Any], packed: bool, loader: type) -> None:
    config = Config("CLIA", "made", config_dict={**settings, "packed": packed})
    train, valid, test = data_preparation(config, create_dataset(config))
    assert type(train) is loader
    assert {type(valid).__name__, type(test).__name__} == {"FullSortEvalDataLoader"}


def test_load_data_and_model_gives_the_trained_model(settings: dict[str, Any]) -> None:
    for model in ("CLIA", "GRU4Rec"):
        chosen = {k: v for k, v in settings.items() if model == "CLIA" or k != "packed"}
        path = run(model, "made", config_dict=chosen)["model_file"]
        config, loaded, dataset, _, _, test = load_data_and_model(path)
        state = torch.load(path)["state_dict"]
        assert config["model"] == model
        assert dataset.item_num == loaded.n_items
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in state.items())
        trainer = get_trainer(config["MODEL_TYPE"], model)(config, loaded)
        assert trainer.evaluate(test, load_best_model=True, model_file=path)


def test_objective_function_of_hyper_tuning(settings: dict[str, Any]) -> None:
    result = objective_function({**settings, "model": "CLIA", "dataset": "made"})
    assert result["model"] == "CLIA"
    assert "test_result" in result


def test_the_way_of_the_group_and_significance_scripts(settings: dict[str, Any]) -> None:
    """They call RecBole's run with the names, files and a dictionary, and read these keys."""
    result = recbole_run("CLIA", "made", config_file_list=None, config_dict=settings)
    assert {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"} <= set(result)


def test_order_of_precedence(settings: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Internal model file < config files, in their order < dictionary < command line."""
    default = read_properties(recbole_clia.settings.properties.PROPERTIES_DIR / "model/CLIA.yaml")[
        "triplet_margin"
    ].default
    (workplace / "a.yaml").write_text("triplet_margin: 2.0\ntemperature: 2.0\n")
    (workplace / "b.yaml").write_text("triplet_margin: 3.0\n")
    del settings["embedding_size"]

    def margin(files: list[str], extra: dict[str, Any], argv: list[str]) -> Any:
        monkeypatch.setattr(sys, "argv", ["run_recbole.py", *argv])
        config = Config("CLIA", "made", config_file_list=files, config_dict={**settings, **extra})
        return config["triplet_margin"]

    assert margin([], {}, []) == default
    assert margin(["a.yaml"], {}, []) == 2.0
    assert margin(["a.yaml", "b.yaml"], {}, []) == 3.0
    assert margin(["a.yaml", "b.yaml"], {"triplet_margin": 4.0}, []) == 4.0
    assert margin(["a.yaml"], {"triplet_margin": 4.0}, ["--triplet_margin=5.0"]) == 5.0


def test_a_dataset_file_of_the_plugin_wins_over_the_model_file(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_clia.host import registry

    (tmp_path / "properties/dataset").mkdir(parents=True)
    (tmp_path / "properties/model").mkdir()
    (tmp_path / "properties/dataset/made.yaml").write_text("triplet_margin: 7.0\nMAX_ITEM_LIST_LENGTH: 3\n")
    for shipped in ("model/CLIA.yaml", "every_model.yaml"):
        (tmp_path / "properties" / shipped).write_text((registry.PROPERTIES_DIR / shipped).read_text())
    monkeypatch.setattr(registry, "PROPERTIES_DIR", tmp_path / "properties")
    del settings["MAX_ITEM_LIST_LENGTH"]
    config = Config("CLIA", "made", config_dict=settings)
    assert config["triplet_margin"] == 7.0
    assert config["MAX_ITEM_LIST_LENGTH"] == 3
    assert Config("CLIA", "made", config_dict={**settings, "MAX_ITEM_LIST_LENGTH": 5})["MAX_ITEM_LIST_LENGTH"] == 5


@pytest.mark.parametrize("entry", ["recbole", "plugin"])
def test_two_processes(settings: dict[str, Any], workplace: Path, entry: str) -> None:
    """A spawned process finds the plugin, and both agree on one result."""
    script = workplace / "two.py"
    call = (
        "from recbole_clia import run"
        if entry == "plugin"
        else "import recbole_clia; from recbole.quick_start import run"
    )
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    script.write_text(
        f"import torch\n{call}\nif __name__ == '__main__':\n"
        f"    settings = {settings!r} | {{'gpu_id': '0,1', 'train_batch_size': 64}}\n"
        f"    print(run('CLIA', 'made', config_dict=settings, nproc=2, port='{port}')['test_result'])\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ndcg@10" in done.stdout.splitlines()[-1]


AS_IN_RECBOLE = {"exact_time": False, "lazy_augmentation": False}


@pytest.mark.parametrize(
    ("model", "chosen"),
    [
        ("BPR", {}),
        ("BPR", {"exact_time": False}),
        ("SASRec", AS_IN_RECBOLE),
        ("SASRec", {}),
        ("SASRec", {"packed": True, "train_neg_sample_args": None}),
        ("CLIA", {}),
    ],
)
def test_a_dataset_is_saved_and_taken_up_again(
    made: dict[str, Any], model: str, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**made, **chosen, "epochs": 1, "save_dataset": True, "data_cache": None}
    first = recbole_clia.run(model, "made", config_dict=settings)
    assert all(path.stat().st_size for path in Path("saved").glob("made-*Dataset.pth"))
    read = []
    load = HostDataset._load_data
    monkeypatch.setattr(HostDataset, "_load_data", lambda self, *more: read.append(self) or load(self, *more))
    again = recbole_clia.run(model, "made", config_dict=settings)
    assert read == []
    assert again["test_result"] == first["test_result"]
    others = {"split": {"RS": [8, 1, 1]}, "order": "TO", "group_by": "user", "mode": "full"}
    recbole_clia.run(model, "made", config_dict={**settings, "eval_args": others})
    assert read != []


def test_a_saved_dataset_of_another_order_is_not_taken_up(workplace: Path) -> None:
    """Times that float32 cannot tell apart, in reverse in the file."""
    rows = [(user, item, 1.6e9 + 20 * item) for user in range(12) for item in reversed(range(6))]
    settings = {"data_path": write_log(workplace / "dataset", rows), "use_gpu": False, "show_progress": False}
    settings |= {"epochs": 1, "data_cache": None, "topk": [1], "valid_metric": "Hit@1", "state": "ERROR"}
    last = []
    for exact in (False, True):
        chosen = {**settings, "exact_time": exact, "save_dataset": not exact, "lazy_augmentation": exact}
        config = PluginConfig("SASRec", "made", config_dict=chosen)
        dataset = create_dataset(config)
        test = data_preparation(config, dataset)[2]
        last.append({dataset.id2token("item_id", int(item)) for item in next(iter(test))[3]})
    assert last[1] == {"i5"} != last[0]


def test_a_loaded_model_is_evaluated_by_recboles_trainer(made: dict[str, Any]) -> None:
    """In a process that makes no configuration of its own."""
    result = run("FPMC", "made", config_dict={**made, "epochs": 1})
    script = (
        "import sys, recbole_clia; from recbole.quick_start import load_data_and_model;"
        "from recbole.utils import get_trainer;"
        "config, model, _, train, _, test = load_data_and_model(sys.argv[1]);"
        "trainer = get_trainer(config['MODEL_TYPE'], config['model'])(config, model);"
        "trainer.eval_collector.data_collect(train);"
        "print('ndcg', float(trainer.evaluate(test, load_best_model=False)['ndcg@10']))"
    )
    done = subprocess.run([sys.executable, "-c", script, result["model_file"]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    assert f"ndcg {float(result['test_result']['ndcg@10'])}" in done.stdout
