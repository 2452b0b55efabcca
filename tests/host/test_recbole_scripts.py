"""What RecBole's run_hyper.py, run_recbole_group.py and significance_test.py call works with the plugin's models."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from recbole.quick_start import objective_function
from recbole.quick_start import run as recbole_run
from recbole.trainer import HyperTuning
from recbole.utils import list_to_latex
from scipy import stats


@pytest.fixture
def files(made: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A config file, as the scripts take the settings."""
    monkeypatch.setattr(sys, "argv", ["script.py"])
    settings = {**made, "dataset": "made", "epochs": 1, "train_neg_sample_args": None}
    (workplace / "fixed.yaml").write_text(yaml.safe_dump(settings))
    return ["fixed.yaml"]


@pytest.mark.parametrize("model", ["CLIA", "CLSR"])
@pytest.mark.parametrize(
    ("algorithm", "lines", "number"),
    [
        ("exhaustive", "learning_rate choice [0.01,0.001]\nembedding_size choice [8,16]\n", 4),
        ("bayes", "learning_rate loguniform -8,-2\nembedding_size choice [8,16]\n", 3),
        ("random", "learning_rate uniform 0.001,0.01\ncontrastive_loss choice ['bpr','triplet']\n", 3),
    ],
)
def test_the_way_of_run_hyper(
    files: list[str], workplace: Path, model: str, algorithm: str, lines: str, number: int
) -> None:
    pytest.importorskip("hyperopt")
    (workplace / "model.hyper").write_text(lines)
    (workplace / "model.yaml").write_text(f"model: {model}\n")
    search = HyperTuning(
        objective_function,
        algo=algorithm,
        early_stop=10,
        max_evals=3,
        params_file="model.hyper",
        fixed_config_file_list=[*files, "model.yaml"],
        display_file="page.html",
    )
    search.run()
    search.export_result(output_file="hyper.result")
    assert len(search.params2result) == number
    best = search.params2result[search.params2str(search.best_params)]
    assert best["model"] == model
    assert best["best_valid_score"] == max(r["best_valid_score"] for r in search.params2result.values())
    assert (workplace / "hyper.result").read_text().count("Test result") == number
    assert (workplace / "page.html").is_file()


def test_the_exhaustive_search_tries_each_combination_once(workplace: Path) -> None:
    pytest.importorskip("hyperopt")
    tried = []

    def score(config: dict[str, Any], _: Any) -> dict[str, Any]:
        tried.append((config["a"], config["b"]))
        result = {"best_valid_score": config["a"], "valid_score_bigger": True}
        return {"model": "CLIA", "best_valid_result": {}, "test_result": {}, **result}

    search = HyperTuning(score, params_dict={"choice": {"a": [1, 2, 3], "b": ["x", "y"]}}, early_stop=99)
    search.run()
    assert sorted(tried) == [(a, b) for a in (1, 2, 3) for b in ("x", "y")]
    assert search.best_params["a"] == 3


def test_the_way_of_run_recbole_group(files: list[str], workplace: Path) -> None:
    valid, test = [], []
    for model in ("CLIA", "GRU4Rec", "CLSR"):
        result = recbole_run(
            model,
            "made",
            config_file_list=files,
            nproc=1,
            world_size=-1,
            ip="localhost",
            port="5678",
            group_offset=0,
        )
        valid.append({"Model": model, **result["best_valid_result"]})
        test.append({"Model": model, **result["test_result"]})
    for rows in (valid, test):
        table, latex = list_to_latex(
            convert_list=rows, bigger_flag=result["valid_score_bigger"], subset_columns=list(result["test_result"])
        )
        assert list(table.get("Model", table.index)) == ["CLIA", "GRU4Rec", "CLSR"]
        assert "CLIA" in latex
        assert "tabular" in latex


def test_the_way_of_significance_test(files: list[str]) -> None:
    random.seed(2023)
    seeds = [random.randint(0, 2**32 - 1) for _ in range(3)]
    found: dict[str, list[float]] = {}
    for model in ("CLIA", "GRU4Rec"):
        results = [recbole_run(model, "made", files, config_dict={"seed": seed}) for seed in seeds]
        found[model] = [float(result["test_result"]["ndcg@10"]) for result in results]
    assert len(set(found["CLIA"])) > 1
    answer = stats.ttest_rel(found["CLIA"], found["GRU4Rec"], alternative="less")
    assert 0 <= answer.pvalue <= 1
