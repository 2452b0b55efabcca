"""Laws of a diagnosis of trained models."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prepare, random_rows, write_log
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_clia import load_model, run
from recbole_clia.diagnosis.figures import Diagnosis
from recbole_clia.diagnosis.histories import random_orders, reordered
from recbole_clia.diagnosis.report import diagnose
from recbole_clia.errors import UsageError

SMALL = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "MAX_ITEM_LIST_LENGTH": 8,
    "embedding_size": 8,
    "show_progress": False,
    "state": "ERROR",
    "use_gpu": False,
    "epochs": 2,
    "learning_rate": 0.02,
    "metric_decimal_place": 10,
    "metrics": ["NDCG", "Hit", "MRR"],
    "contrastive_recent_k": 4,  # there are histories of 4 and of 5 items
}
OF_MODEL: dict[str, dict[str, Any]] = {
    # Without what stands beside the interests, which does see the order.
    "CLIA": {"hidden_size": 8, "dropout_prob": 0.1, "repeats": False, "trend": False, "neighbours": False},
    "CLSR": {"category_embedding_size": 0, "train_batch_size": 16, "learning_rate": 0.1, "epochs": 3},
}


def with_labels(folder: Path, labels: list[str], kind: str = "float", name: str = "made") -> None:
    """Add a column ``motive`` to the log, repeating some labels over its rows."""
    file = folder / name / f"{name}.inter"
    head, *rows = file.read_text().splitlines()
    rows = [f"{row}\t{labels[number % len(labels)]}" for number, row in enumerate(rows)]
    file.write_text("\n".join([f"{head}\tmotive:{kind}", *rows]) + "\n")


def train(model: str, workplace: Path, **settings: Any) -> dict[str, Any]:
    if not (workplace / "dataset/made").exists():
        write_log(workplace / "dataset", random_rows(7))
    given = {"data_path": str(workplace / "dataset"), **SMALL, **OF_MODEL[model], **settings}
    return run(model, "made", config_dict=given)


@pytest.fixture(scope="module", params=["CLIA", "CLSR"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A model and its folder, for tests that change neither."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp(request.param)
        patch.chdir(folder)
        write_log(folder / "dataset", random_rows(7))
        with_labels(folder / "dataset", ["0", "1", "1"])
        yield train(request.param, folder)


@pytest.fixture(scope="module")
def found(trained: dict[str, Any]) -> Diagnosis:
    """The diagnosis of that model."""
    return diagnose(trained["model_file"])


def test_the_ranking_is_that_of_the_evaluation(trained: dict[str, Any], found: Diagnosis) -> None:
    assert found.rows == found.of_rows > 15
    assert found.ranking["fusion"].ndcg == pytest.approx(trained["test_result"]["ndcg@10"], abs=1e-9)
    assert found.ranking["fusion"].hit == pytest.approx(trained["test_result"]["hit@10"], abs=1e-9)
    assert found.model == trained["model"]


def test_the_long_term_branch_does_not_see_the_order(found: Diagnosis) -> None:
    (shuffled,) = found.changes("shuffled")
    assert shuffled.branches["long"].difference.mean == pytest.approx(0, abs=1e-9)
    assert shuffled.branches["short"].difference.mean != 0


def test_recent_items_end_with_the_untouched_history(found: Diagnosis) -> None:
    last = found.changes("last")
    assert [change.items for change in last] == [1, 2, 3, 5, 8]
    for change in last[-1].branches.values():
        assert change.ndcg == change.untouched
        assert change.difference.mean == change.difference.error == 0
    assert {change.rows for change in last} == {found.rows}
    (without,) = found.changes("without last")
    assert without.items == found.recent_k == 4
    assert 0 < without.rows < found.rows


def test_each_row_is_ranked_by_its_changed_history(trained: dict[str, Any], found: Diagnosis) -> None:
    """Against histories that are cut by hand and ranked one by one, and popularity counted in the file's order."""
    model = load_model(trained["model_file"])
    prepared = prepare({"data_path": "dataset", **SMALL, **OF_MODEL[trained["model"]]}, trained["model"])
    rows = prepared.test._dataset
    popularity = [0] * prepared.dataset.item_num
    for user in range(1, prepared.dataset.user_num):
        start, end = prepared.dataset.log.start[user : user + 2].tolist()
        trained_on = max(2, end - start - 2) if end - start > 1 else 0  # a history gives its first item, and targets
        for item in prepared.dataset.log.columns["item_id"][start : start + trained_on]:
            popularity[int(item)] += 1

    def gain(scores: list[float], item: int) -> float:
        above = sum(score > scores[item] for score in scores[1:])
        tied = sum(score == scores[item] for score in scores[1:])
        ranks = range(above + 1, above + tied + 1)
        return sum(1 / np.log2(rank + 1) for rank in ranks if rank <= 10) / tied

    def ranked(row: Any, begin: int, end: int, alpha: float | None) -> float:
        cut = {}
        for name in row.interaction:
            values = row[name].tolist()
            if name.endswith("_list"):
                values = values[begin:end] + [0] * (len(values) - (end - begin))
            cut[name] = values
        cut["item_length"] = end - begin
        one = Interaction({name: torch.tensor([value], dtype=row[name].dtype) for name, value in cut.items()})
        with torch.no_grad(), nullcontext() if alpha is None else model.fixed_alpha(alpha):
            return gain(model.full_sort_predict(one)[0].tolist(), int(row["item_id"]))

    every = [rows[number] for number in range(len(rows))]
    length = [int(row["item_length"]) for row in every]
    for branch, alpha in {"fusion": None, "long": 1.0, "short": 0.0}.items():
        untouched = np.array([ranked(row, 0, n, alpha) for row, n in zip(every, length, strict=True)])
        assert found.ranking[branch].ndcg == pytest.approx(untouched.mean(), abs=1e-9)
        for change in found.changes("last"):
            part = [ranked(row, max(0, n - change.items), n, alpha) for row, n in zip(every, length, strict=True)]
            assert change.branches[branch].ndcg == pytest.approx(np.mean(part), abs=1e-9)
        (without,) = found.changes("without last")
        longer = [number for number, n in enumerate(length) if n > without.items]
        part = [ranked(every[number], 0, length[number] - without.items, alpha) for number in longer]
        assert without.rows == len(longer)
        assert without.branches[branch].ndcg == pytest.approx(np.mean(part), abs=1e-9)
        assert without.branches[branch].untouched == pytest.approx(untouched[longer].mean(), abs=1e-9)
    popular = [gain(popularity, int(row["item_id"])) for row in every]
    assert found.ranking["popularity"].ndcg == pytest.approx(np.mean(popular), abs=1e-9)


def test_one_seed_gives_the_same_figures_and_another_seed_others(trained: dict[str, Any], found: Diagnosis) -> None:
    second, *others = (diagnose(trained["model_file"], seed=seed) for seed in (0, 1, 2, 3, 4))
    assert found == second
    # Of a few rows of a small model one seed may rank as another does.
    assert any(found.changes("shuffled") != other.changes("shuffled") for other in others)
    assert all(found.changes("last") == other.changes("last") for other in others)
    assert all(found.ranking == other.ranking for other in others)


def test_batches_do_not_matter(trained: dict[str, Any], found: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_clia.diagnosis.report._ROWS_AT_ONCE", 3)
    parts = diagnose(trained["model_file"])
    for one, other in zip(found.counterfactuals, parts.counterfactuals, strict=True):
        assert (one.kind, one.items, one.rows) == (other.kind, other.items, other.rows)
        for branch in one.branches:
            assert one.branches[branch].ndcg == pytest.approx(other.branches[branch].ndcg, abs=1e-9)
    assert found.measures["alpha"].mean == pytest.approx(parts.measures["alpha"].mean, abs=1e-6)


def test_rows_are_spread_evenly_and_counted(trained: dict[str, Any], found: Diagnosis) -> None:
    some = diagnose(trained["model_file"], rows=5)
    assert (some.rows, some.of_rows) == (5, found.rows)
    chosen = np.arange(5) * found.rows // 5
    assert len(set(chosen)) == 5
    np.testing.assert_allclose(some.values.measures["alpha"], found.values.measures["alpha"][chosen], atol=1e-6)


def test_no_random_state_is_moved(trained: dict[str, Any]) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    diagnose(trained["model_file"], rows=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]


def test_epochs_come_from_the_last_state_if_it_is_of_this_run(trained: dict[str, Any], found: Diagnosis) -> None:
    model = Path(trained["model_file"])
    last = model.with_name(model.name.replace(".pth", ".last.pth"))
    assert found.epochs_file == str(last)
    assert [epoch["epoch"] for epoch in found.epochs] == list(range(trained["epochs"]))
    assert found.epoch == trained["best_epoch"]
    assert all(abs(epoch["diagnosis"]["long_own"]) < 1.001 for epoch in found.epochs)
    itself = diagnose(str(last), rows=1)
    assert itself.epochs == found.epochs
    text = last.read_bytes()
    try:
        last.write_bytes(text[:100])
        damaged = diagnose(str(model), rows=1)
    finally:
        last.write_bytes(text)
    assert damaged.epochs_file == str(model)
    assert len(damaged.epochs) == found.epoch


def test_the_usual_label_is_found_though_the_run_did_not_load_it(trained: dict[str, Any], found: Diagnosis) -> None:
    assert found.label is not None
    assert found.label.field == "motive"
    lines = (Path(trained["model_file"]).parent.parent / "dataset/made/made.inter").read_text().splitlines()[1:]
    last: dict[str, tuple[float, str]] = {}
    size: dict[str, int] = {}
    for user, _, time, motive in (line.split("\t") for line in lines):
        last[user] = max(last.get(user, (-1.0, "")), (float(time), motive))
        size[user] = size.get(user, 0) + 1
    held_out = [motive for user, (_, motive) in last.items() if size[user] > 2]
    assert (found.label.ones, found.label.zeros) == (held_out.count("1"), held_out.count("0"))
    assert found.label.ones + found.label.zeros == found.rows
    for branch, ranking in found.label.ranking.items():
        whole = sum(part.rows * part.ndcg for part in ranking.values()) / found.rows
        assert whole == pytest.approx(found.ranking[branch].ndcg)


# --- a branch alone ------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "setting"), [("CLIA", "fixed_alpha"), ("CLSR", "manual_alpha")])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_branch_alone_is_a_model_with_that_alpha(
    made: dict[str, Any], model: str, setting: str, alpha: float
) -> None:
    of_model = {**made, **OF_MODEL[model]}
    adaptive, fixed = prepare(of_model, model), prepare({**of_model, setting: alpha}, model)
    weights = fixed.model.state_dict()
    fixed.model.load_state_dict({name: adaptive.model.state_dict()[name] for name in weights})
    rows = adaptive.test._dataset
    batch = rows[np.arange(len(rows))]
    one, other = adaptive.model.eval(), fixed.model.eval()
    with torch.no_grad():
        free = one.full_sort_predict(batch)
        with one.fixed_alpha(alpha):
            got: Tensor = one.full_sort_predict(batch)
        torch.testing.assert_close(got, other.full_sort_predict(batch), rtol=0, atol=1e-6)
        assert not torch.allclose(got, free, atol=1e-6)
        torch.testing.assert_close(one.full_sort_predict(batch), free, rtol=0, atol=0)


def test_long_scores_are_the_same_in_any_order(made: dict[str, Any]) -> None:
    prepared = prepare({**made, **OF_MODEL["CLIA"]})
    rows = prepared.test._dataset
    batch = rows[np.arange(len(rows))]
    model = prepared.model.double().eval()
    order = random_orders(batch["item_length"].numpy(), 8, 0, np.arange(len(batch)))
    moved = reordered(batch, "item_id_list", order)
    with torch.no_grad():
        with model.fixed_alpha(1.0):
            torch.testing.assert_close(
                model.full_sort_predict(batch), model.full_sort_predict(moved), rtol=0, atol=1e-12
            )
        with model.fixed_alpha(0.0):
            assert not torch.allclose(model.full_sort_predict(batch), model.full_sort_predict(moved), atol=1e-6)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """File of a CLIA whose data lie in ``dataset`` beside it, and have no label."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("plain")
        patch.chdir(folder)
        return str(folder / train("CLIA", folder, epochs=1)["model_file"])


@pytest.fixture
def moved(tmp_path: Path) -> dict[str, Any]:
    """Settings for a copy of those data."""
    return {"data_path": write_log(tmp_path / "dataset", random_rows(7)), "data_cache": None}


# --- other data ----------------------------------------------------------------------------


def whole(found: Diagnosis) -> None:
    """Every figure is there."""
    assert found.rows >= 1
    assert all(spread.rows for name, spread in found.measures.items() if "entropy" not in name)
    assert all(0 <= ranking.ndcg <= 1 for ranking in found.ranking.values())
    assert all(record.branches.keys() == {"fusion", "long", "short"} for record in found.counterfactuals)
    assert found.verdict


@pytest.mark.parametrize(
    "settings",
    [
        {"packed": False},
        {"packed": False, "lazy_augmentation": False},
        {"exact_time": False},
        {"fixed_alpha": 0.5},
        {"repeats": True, "neighbours": True},
        {"eval_args": {"split": {"TS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"}},
        {"eval_args": {"split": {"RS": [0.5, 0.2, 0.3]}, "order": "TO", "group_by": "user", "mode": "full"}},
        {"data_cache": None, "diagnosis_rows": 0},
        {"MAX_ITEM_LIST_LENGTH": 1},
    ],
    ids=str,
)
def test_other_forms_of_training_and_of_splits(workplace: Path, settings: dict[str, Any]) -> None:
    result = train("CLIA", workplace, epochs=1, **settings)
    found = diagnose(result["model_file"])
    whole(found)
    assert found.ranking["fusion"].ndcg == pytest.approx(result["test_result"]["ndcg@10"], abs=1e-9)
    assert found.fixed_alpha == settings.get("fixed_alpha")
    assert found.in_order == [part for part in ("repeats", "trend", "neighbours") if settings.get(part)]
    if "eval_args" in settings:
        assert found.of_rows > 24  # more rows than users
    if settings.get("diagnosis_rows") == 0:
        assert not any(epoch["diagnosis"] for epoch in found.epochs)


@pytest.mark.parametrize("settings", [{"exact_time": False}, {"manual_alpha": 0.5}], ids=str)
def test_other_forms_of_clsr(workplace: Path, settings: dict[str, Any]) -> None:
    result = train("CLSR", workplace, epochs=1, **settings)
    whole(diagnose(result["model_file"], rows=6))


def test_a_model_chosen_by_the_sampled_protocol(workplace: Path) -> None:
    """Its split by days leaves several test rows to a user; ranked are all items nevertheless."""
    log = [(user, (7 * user + step) % 150, 86_400.0 * step + user) for user in range(30) for step in range(12)]
    write_log(workplace / "dataset", log + [(99, item, 40.0 + item) for item in range(150)])
    result = run(
        "CLIA",
        "made",
        config_file_list=["sampled"],
        config_dict={
            "data_path": str(workplace / "dataset"),
            "time_unit": "s",
            **{
                key: SMALL[key]
                for key in ("show_progress", "state", "use_gpu", "MAX_ITEM_LIST_LENGTH", "embedding_size")
            },
            "epochs": 1,
        },
    )
    found = diagnose(result["model_file"])
    whole(found)
    assert found.items == 150


@pytest.mark.parametrize("kind", ["float", "token"])
def test_labels_are_numbers_or_words(plain: str, moved: dict[str, Any], kind: str) -> None:
    with_labels(Path(moved["data_path"]), ["1", "0", "0"], kind)
    found = diagnose(plain, config_dict=moved)
    assert found.label is not None
    assert found.label.zeros > found.label.ones > 0


def test_a_label_of_one_value_has_no_auc(plain: str, moved: dict[str, Any]) -> None:
    with_labels(Path(moved["data_path"]), ["1"])
    found = diagnose(plain, config_dict=moved)
    assert found.label is not None
    assert found.label.auc is None
    assert "All rows have the same motive: there is nothing for alpha to tell." in found.verdict


@pytest.mark.parametrize(
    ("labels", "kind", "sentence"),
    [
        (["0", "1", "2"], "float", "'motive' of .*made.inter must hold 0 and 1 only, and has 2"),
        (["0.5"], "float", "must hold 0 and 1 only, and has 0.5"),
        (["0", "1", "-1"], "token", "must hold 0 and 1 only, and has -1"),
        (["yes", "no"], "token", "must hold 0 and 1 only, and has something that is no number"),
        (["0 1"], "token_seq", "must hold one number a row, not a sequence"),
    ],
)
def test_labels_that_are_not_0_and_1_are_refused(
    plain: str, moved: dict[str, Any], labels: list[str], kind: str, sentence: str
) -> None:
    with_labels(Path(moved["data_path"]), labels, kind)
    with pytest.raises(UsageError, match=sentence):
        diagnose(plain, config_dict=moved)
    assert diagnose(plain, label="", config_dict=moved).label is None


@pytest.mark.parametrize("same", [True, False])
def test_a_label_must_not_change_which_rows_are_there_twice(workplace: Path, same: bool) -> None:
    data = write_log(workplace / "dataset", [row for row in random_rows(7) for _ in range(2)])
    result = train("CLIA", workplace, epochs=1, duplicate_rows="first")
    before = diagnose(result["model_file"])
    with_labels(Path(data), ["0", "0", "1", "1"] if same else ["0", "1"])
    if same:
        found = diagnose(result["model_file"])
        assert found.ranking == before.ranking
        assert found.label is not None
    else:
        with pytest.raises(UsageError, match="with 'motive' other interactions are there twice"):
            diagnose(result["model_file"])


def test_data_may_lie_elsewhere(workplace: Path) -> None:
    result = train("CLIA", workplace, epochs=1, data_cache=None)
    before = diagnose(result["model_file"])
    (workplace / "dataset").rename(workplace / "moved")
    with pytest.raises(UsageError, match=r"there is no folder .*dataset/made"):
        diagnose(result["model_file"])
    after = diagnose(result["model_file"], config_dict={"data_path": str(workplace / "moved")})
    assert after == before


def test_other_data_than_in_training_are_refused(plain: str, tmp_path: Path) -> None:
    other = write_log(tmp_path / "dataset", random_rows(7, users=25))
    with pytest.raises(UsageError, match=r"25 values of 'user_id', and the model of .* was trained with 24"):
        diagnose(plain, config_dict={"data_path": other, "data_cache": None})


def test_settings_of_the_model_stay(plain: str) -> None:
    with pytest.raises(UsageError, match="embedding_size is a setting of the trained model, and stays 8"):
        diagnose(plain, config_dict={"embedding_size": 16})
    with pytest.raises(UsageError, match="is read by nothing"):
        diagnose(plain, config_dict={"data_pth": "x"})


def test_a_model_that_has_diverged_is_told(plain: str, moved: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = torch.load(plain)
    checkpoint["state_dict"]["item_embedding.weight"][3] = torch.nan
    torch.save(checkpoint, tmp_path / "bad.pth")
    with pytest.raises(UsageError, match="the model cannot rank, because a score is infinite or not a number"):
        diagnose(str(tmp_path / "bad.pth"), config_dict=moved)


def test_weights_of_another_model_are_told(plain: str, moved: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = torch.load(plain)
    del checkpoint["state_dict"]["long_term.shared_query"]
    torch.save(checkpoint, tmp_path / "bad.pth")
    with pytest.raises(UsageError, match=r"bad\.pth: its weights do not fit"):
        diagnose(str(tmp_path / "bad.pth"), config_dict=moved)
