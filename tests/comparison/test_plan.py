"""Which runs a comparison has, what identifies them, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import prepare, random_rows, write_log

from recbole_clia.comparison import plan as plans
from recbole_clia.comparison.plan import COMPARABLE, PROTOCOL, key_of, make_plan, seeds_of
from recbole_clia.errors import UsageError
from recbole_clia.settings.config import PluginConfig


@pytest.fixture
def settings(made: dict[str, Any]) -> dict[str, Any]:
    return {key: made[key] for key in ("data_path", "load_col", "use_gpu", "state")}


def keys(models: list[str], settings: dict[str, Any], seeds: tuple[int, ...] = (2020,), **others: Any) -> list[str]:
    return [run.key for run in make_plan(models, ["made"], seeds, settings=settings, **others)]


def test_all_that_can_be_compared_have_one_protocol(settings: dict[str, Any]) -> None:
    runs = make_plan(COMPARABLE, ["made"], [2020], settings=settings)
    assert [run.model for run in runs] == list(COMPARABLE)
    for run in runs:
        for key in ("exact_time", "repeatable", "valid_metric", "topk", "metrics"):
            assert run.config[key] == PROTOCOL[key], (run.model, key)
        mode = {"valid": "full", "test": "full"}
        assert run.config["eval_args"] == {**PROTOCOL["eval_args"], "mode": mode}
        assert run.config["load_col"] == settings["load_col"]
        assert run.packed is (run.model in ("CLIA", "GRU4Rec", "SASRec", "NARM", "CORE"))
        assert PluginConfig(run.model, "made", config_dict=run.settings)["seed"] == 2020


def test_models_are_crossed_with_datasets_and_seeds(settings: dict[str, Any], workplace: Path) -> None:
    write_log(workplace / "dataset", [(u, i, float(i)) for u in range(9) for i in range(8 + u)], "other")
    runs = make_plan(["CLIA", "Pop", "CLIA"], ["made", "other"], [1, 2], settings=settings)
    assert [(run.seed, run.dataset, run.model) for run in runs] == [
        (seed, dataset, model) for seed in (1, 2) for dataset in ("made", "other") for model in ("CLIA", "Pop")
    ]
    assert len({run.key for run in runs}) == len({run.folder for run in runs}) == 8


def test_the_same_settings_are_the_same_runs(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = keys(["CLIA", "SASRec"], settings)
    assert keys(["SASRec", "CLIA"], settings) == first[::-1]
    assert keys(["CLIA", "SASRec"], {**settings, "epochs": "300"}) == first  # RecBole's default
    assert keys(["CLIA", "SASRec"], {**settings, "show_progress": False, "data_cache": None}) == first
    moved = Path(settings["data_path"]).rename(Path(settings["data_path"]).parent / "elsewhere")
    assert keys(["CLIA", "SASRec"], {**settings, "data_path": str(moved)}) == first


def test_what_changes_a_figure_makes_another_run(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = keys(["CLIA"], settings)
    others = [
        keys(["CLIA"], settings, (2021,))[0],
        keys(["CLIA"], {**settings, "learning_rate": 0.01})[0],
        keys(["CLIA"], {**settings, "packed": False})[0],
        keys(["CLIA"], {**settings, "user_inter_num_interval": "[4,inf)"})[0],
    ]
    monkeypatch.setattr(plans, "version", lambda name: "99.1")
    others += keys(["CLIA"], settings)
    monkeypatch.undo()
    monkeypatch.chdir(Path(settings["data_path"]).parent)
    file = Path(settings["data_path"]) / "made/made.inter"
    file.write_text(file.read_text() + "u0\ti1\t99999\n")
    others += keys(["CLIA"], settings)
    assert len({first, *others}) == 7


def test_a_patch_release_makes_no_other_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for text in ("1.2.1", "1.2.9", "1.3.0"):
        monkeypatch.setattr(plans, "version", lambda name, text=text: text)
        found.append((key_of({}, {}), plans.versions()["recbole"], plans.versions()["torch"]))
    assert found[0] == found[1]
    assert found[2][0] != found[0][0]
    assert [one[1:] for one in found] == [("1.2", "1"), ("1.2", "1"), ("1.3", "1")]


def test_seeds() -> None:
    assert seeds_of(None, None) == [2020, 2021, 2022, 2023, 2024]
    assert seeds_of(2, None) == [2020, 2021]
    assert seeds_of(None, [7, 3, 7]) == [7, 3]


def test_files_are_for_all_models_or_for_one(settings: dict[str, Any], workplace: Path) -> None:
    (workplace / "all.yaml").write_text("hidden_size: 16\nn_layers: 1\nepochs: 3\n")
    (workplace / "one.yaml").write_text("learning_rate: 0.5\n")
    files = ["all.yaml", "SASRec=one.yaml"]
    runs = {r.model: r.config for r in make_plan(["CLIA", "SASRec", "Pop"], ["made"], [1], files, settings)}
    assert {model: config["learning_rate"] for model, config in runs.items()} == {
        "CLIA": 0.002,
        "SASRec": 0.5,
        "Pop": 0.001,
    }
    assert runs["CLIA"]["hidden_size"] == runs["SASRec"]["hidden_size"] == 16
    assert runs["SASRec"]["n_layers"] == 1
    assert "n_layers" not in runs["CLIA"]
    assert {config["epochs"] for config in runs.values()} == {3}


def test_settings_go_to_the_models_that_read_them(settings: dict[str, Any]) -> None:
    runs = make_plan(
        ["CLIA", "SASRec", "STAMP"], ["made"], [1], settings={**settings, "packed": "True", "n_heads": "1"}
    )
    assert [run.config.get("n_heads") for run in runs] == [None, 1, None]
    assert [run.packed for run in runs] == [True, True, False]
    Path("bpr.yaml").write_text("loss_type: BPR\n")
    runs = make_plan(["GRU4Rec", "SASRec"], ["made"], [1], ["SASRec=bpr.yaml"], settings)
    assert [run.packed for run in runs] == [True, False]


@pytest.mark.parametrize(
    ("models", "given", "sentence"),
    [
        (["SASRex"], {}, "--models: 'SASRex' is unknown; did you mean SASRec?"),
        (["DIN"], {}, "--models: 'DIN' cannot be compared"),
        (["LightGCN"], {}, "'LightGCN' cannot be compared"),
        (["CLIA"], {"seed": 1}, "settings: seed cannot be set"),
        (["CLIA"], {"eval_args": "{}"}, "settings: eval_args cannot be set"),
        (["CLIA"], {"exact_time": False}, "settings: exact_time cannot be set"),
        (
            ["CLIA"],
            {"learning_rat": 1},
            "settings: the key 'learning_rat' is read by nothing; did you mean learning_rate?",
        ),
        (["CLIA"], {"learning_rate": -1}, "learning_rate must be in"),
        (["CLIA", "Pop"], {"n_heads": 2}, "settings: the key 'n_heads' is read by none of CLIA, Pop"),
        (["SASRec"], {"metric_decimal_place": 2}, "metric_decimal_place cannot be set"),
        (["SASRec"], {"loss_type": "BPR", "packed": True}, "packed: SASRec is trained packed with loss_type CE only"),
    ],
)
def test_bad_input_is_refused(
    settings: dict[str, Any], models: list[str], given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make_plan(models, ["made"], [1], settings={**settings, **given})
    assert sentence in str(caught.value)


def test_bad_files_are_refused(settings: dict[str, Any], workplace: Path) -> None:
    (workplace / "one.yaml").write_text("stopping_step: 3\n")
    with pytest.raises(UsageError, match="stopping_step: it must be the same for all models of a dataset"):
        make_plan(["CLIA", "NARM"], ["made"], [1], ["NARM=one.yaml"], settings)
    (workplace / "there.yaml").write_text("data_path: elsewhere\n")
    write_log(workplace / "elsewhere", random_rows(8))
    (workplace / "here.yaml").write_text(f"data_path: {settings['data_path']}\n")
    chosen = {key: value for key, value in settings.items() if key != "data_path"}
    with pytest.raises(UsageError, match="data_path: it must be the same for all models of a dataset"):
        make_plan(["CLIA", "NARM"], ["made"], [1], ["here.yaml", "NARM=there.yaml"], chosen)
    with pytest.raises(UsageError, match=r"NARM=one\.yaml is for 'NARM', which is none of CLIA"):
        make_plan(["CLIA"], ["made"], [1], ["NARM=one.yaml"], settings)
    with pytest.raises(UsageError, match=r"sampled: \w+ cannot be set"):
        make_plan(["CLIA"], ["made"], [1], ["sampled"], settings)
    with pytest.raises(UsageError, match=r"dataset '\./made': it must be a name"):
        make_plan(["CLIA"], ["./made"], [1], settings=settings)
    with pytest.raises(UsageError, match="dataset 'nowhere' is unknown"):
        make_plan(["CLIA"], ["made", "nowhere"], [1], settings=settings)


@pytest.mark.parametrize(("number", "named"), [(0, None), (2, [1, 2]), (None, [-1])])
def test_bad_seeds_are_refused(number: int | None, named: list[int] | None) -> None:
    with pytest.raises(UsageError, match="seed"):
        seeds_of(number, named)


def colliding_log(folder: Path) -> str:
    """Times of one user that float32 cannot tell apart, with ties, and histories of one to five items."""
    rows = []
    rng = np.random.default_rng(3)
    for user in range(40):
        times = 1_500_000_000 + rng.permutation(12)[: 1 + user % 5]
        rows += [(user, int(rng.integers(20)), float(time - time % (2 if user % 3 else 1))) for time in times]
    return write_log(folder, [rows[i] for i in rng.permutation(len(rows))])


@pytest.mark.parametrize("general", ["Pop", "BPR"])
def test_general_models_hold_out_what_sequential_ones_do(workplace: Path, general: str) -> None:
    path = colliding_log(workplace / "dataset")
    given = {"data_path": path, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "use_gpu": False}
    given.update(state="ERROR", duplicate_rows="keep")
    runs = make_plan(["NARM", general], ["made"], [1], settings=given)

    def held_out(run: plans.Run) -> list[dict[str, str]]:
        prepared = prepare(dict(run.settings), run.model)
        found = []
        for loader in (prepared.valid, prepared.test):
            feat, data = loader._dataset.inter_feat, prepared.dataset
            users = data.id2token("user_id", feat["user_id"].numpy())
            found.append(dict(zip(users, data.id2token("item_id", feat["item_id"].numpy()), strict=True)))
        return found

    sequential, ours = (held_out(run) for run in runs)
    histories: dict[str, list[tuple[float, str]]] = {}
    for line in (Path(path) / "made/made.inter").read_text().splitlines()[1:]:
        user, item, time = line.split("\t")
        histories.setdefault(user, []).append((float(time), item))
    sizes = {user: len(history) for user, history in histories.items()}
    last = {user: sorted(history, key=lambda entry: entry[0])[-1][1] for user, history in histories.items()}
    assert ours[1] == {user: item for user, item in last.items() if sizes[user] >= 2}
    assert {user for user, size in sizes.items() if size >= 3} == set(sequential[1])
    assert {user: item for user, item in ours[1].items() if sizes[user] >= 3} == sequential[1]
    assert {user: item for user, item in ours[0].items() if sizes[user] >= 4} == sequential[0]
    assert len(ours[1]) > len(sequential[1])  # users of two interactions, who are left out of the rows
