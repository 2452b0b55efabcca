"""Variants are what they are called, share what is the same, and are held against the whole model."""

from __future__ import annotations

import csv
import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

import recbole_clia
from recbole_clia.comparison.plan import make_plan
from recbole_clia.errors import UsageError
from recbole_clia.settings.properties import PROPERTIES_DIR, read_properties

sys.path.append(str(Path(recbole_clia.__file__).resolve().parent.parent / "benchmarks"))

import ablation
from ablation import VARIANTS, WHOLE, Variant

PROPERTIES = read_properties(PROPERTIES_DIR / "model" / "CLIA.yaml")
ONE = Variant("made", "one", {"contrastive_recent_k": 2})
SAME = Variant("made", "the default", {"contrastive_recent_k": PROPERTIES["contrastive_recent_k"].default})


def test_every_variant_has_a_name_of_its_own() -> None:
    names = [WHOLE.name, *(variant.name for variant in VARIANTS)]
    assert len(set(names)) == len(names)
    settings = [variant.settings for variant in VARIANTS]
    assert all(one not in settings[:place] for place, one in enumerate(settings))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_every_setting_is_a_property_in_its_range(variant: Variant) -> None:
    assert variant.settings
    for key, value in variant.settings.items():
        assert PROPERTIES[key].complaint(value) is None


@pytest.fixture
def settings(made: dict[str, Any]) -> dict[str, Any]:
    return {key: made[key] for key in ("data_path", "load_col", "use_gpu", "MAX_ITEM_LIST_LENGTH")}


def test_no_change_is_the_same_run(settings: dict[str, Any]) -> None:
    """Also in its key, so that a comparison's folder of runs would serve."""
    runs = make_plan(["CLIA"], ["made"], [1, 2], settings=settings)
    for change in ({}, SAME.settings):
        assert ablation.varied(runs, change) == runs
    for run, other in zip(runs, ablation.varied(runs, ONE.settings), strict=True):
        assert other.key != run.key
        assert other.seed == run.seed == other.config["seed"] == other.settings["seed"]
        differing = {key for key in other.config if other.config[key] != run.config.get(key)}
        assert differing - {"data_cache"} == {"contrastive_recent_k"}  # its path is absolute now


def test_a_plan_has_each_run_once_and_seed_after_seed(settings: dict[str, Any]) -> None:
    plan = ablation.plan_of([WHOLE, ONE, SAME], ["made"], [1, 2], settings)
    assert plan[SAME] == plan[WHOLE] != plan[ONE]
    order = ablation.in_order(plan)
    assert order == [plan[WHOLE][0], plan[ONE][0], plan[WHOLE][1], plan[ONE][1]]


def test_an_impossible_variant_is_refused_before_anything_runs(settings: dict[str, Any], workplace: Path) -> None:
    with pytest.raises(UsageError, match="contrastive_recent_k must be"):
        ablation.plan_of([WHOLE, Variant("made", "wrong", {"contrastive_recent_k": 0})], ["made"], [1], settings)


def record(valid: float, test: float, seconds: float = 3.0) -> dict[str, Any]:
    curve = [{"train_seconds": seconds / 2}, {"train_seconds": seconds}]
    diagnosis = {"alpha": valid}
    return {"valid": {"ndcg@10": valid}, "test": {"NDCG@10": test}, "curve": curve, "diagnosis": diagnosis}


WHOLES = {1: record(0.10, 0.05), 2: record(0.12, 0.06), 3: record(0.14, 0.07)}
OTHERS = {1: record(0.08, 0.05, 9.0), 2: record(0.11, 0.05, 11.0), 4: record(9.0, 9.0, 13.0)}


def test_a_variant_is_held_against_the_whole_on_common_seeds() -> None:
    whole, other, same = ablation.rows_of({WHOLE: WHOLES, ONE: OTHERS, SAME: WHOLES})
    assert whole.seeds == 3
    assert whole.valid.mean == pytest.approx(0.12)
    assert whole.test.mean == pytest.approx(0.06)
    assert whole.valid.deviation == pytest.approx(0.02)
    assert (whole.is_whole, other.is_whole, same.is_whole) == (True, False, True)
    assert all(math.isnan(row.of_test.percent) and math.isnan(row.of_test.p) for row in (whole, same))
    assert other.of_valid.percent == pytest.approx(100 * (0.095 / 0.11 - 1))
    assert other.of_test.percent == pytest.approx(100 * (0.05 / 0.055 - 1))
    assert other.of_valid.p == pytest.approx(scipy.stats.ttest_rel([0.08, 0.11], [0.10, 0.12]).pvalue)
    assert other.of_valid.corrected == pytest.approx(other.of_valid.p)  # a family of one
    assert (other.seconds.mean, other.seconds.deviation, other.epochs.mean) == (11.0, 2.0, 2.0)


def test_a_model_that_is_not_measured_has_no_alpha() -> None:
    (row,) = ablation.rows_of({WHOLE: {1: {**record(0.1, 0.1), "diagnosis": {}}}})
    assert ablation.markdown({"made": [row]}).splitlines()[-1].split("|")[-4].strip() == "-"


def test_what_is_not_done_is_left_out() -> None:
    assert ablation.rows_of({WHOLE: {}, ONE: {}}) == []
    (row,) = ablation.rows_of({WHOLE: {}, ONE: OTHERS})
    assert row.variant == ONE
    assert math.isnan(row.of_test.percent)
    assert math.isnan(row.of_test.p)


def test_markdown_and_csv_show_the_same_rows() -> None:
    tables = {"made": ablation.rows_of({WHOLE: WHOLES, ONE: OTHERS, SAME: WHOLES})}
    lines = [line for line in ablation.markdown(tables).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2][:5] == ["**the whole model**", "3", "0.1200 ± 0.0200", "-", "-"]
    assert cells[2][5:] == ["0.0600 ± 0.0100", "-", "-", "0.12 ± 0.02", "2 ± 0", "3 ± 0"]
    assert cells[3][:4] == ["one", "3", "3.0633 ± 5.1413", "-13.6 %"]
    assert cells[4][0] == "the default (the default)"
    assert {len(row) for row in cells} == {len(ablation.HEADERS)}
    rows = list(csv.DictReader(io.StringIO(ablation.csv_text(tables))))
    assert [row["variant"] for row in rows] == ["CLIA", "one", "the default"]
    assert rows[1]["settings"] == "--contrastive_recent_k=2"
    assert float(rows[1]["test to the whole %"]) == pytest.approx(100 * (0.05 / 0.055 - 1))
    assert rows[0]["test p"] == rows[2]["test p"] == ""
    assert float(rows[1]["training seconds mean"]) == 11.0
