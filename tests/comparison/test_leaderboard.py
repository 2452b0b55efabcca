"""Metrics of rows, corrections and tests, breakdowns, and the forms of a leaderboard."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from recbole_clia.comparison import leaderboard, tables
from recbole_clia.comparison.execute import Outcome
from recbole_clia.comparison.leaderboard import boards, breakdown, holm, paired_t, wilcoxon
from recbole_clia.comparison.page import _look, page
from recbole_clia.comparison.plan import METRICS, Run, Tuned
from recbole_clia.comparison.record import write_rows
from recbole_clia.comparison.score import Histories, hidden_ranks, means, ranks, row_metrics

USERS = 60


def made_outcomes(folder: Path, models: dict[str, float], seeds: list[int]) -> list[Outcome]:
    """Runs whose ranks are the worse the larger a model's number, on one dataset with an odd name."""
    outcomes = []
    for place, (model, worse) in enumerate(models.items()):
        for seed in seeds:
            rng = np.random.default_rng((place, seed))
            shared = np.random.default_rng(0)
            rank = 1 + rng.geometric(1 / (4 * worse), USERS)
            columns = [np.arange(1, USERS + 1), shared.integers(1, 20, USERS), shared.integers(2, 40, USERS)]
            repeat = shared.integers(0, 2, USERS)
            hidden = np.where(repeat, 600, rank - rng.integers(0, rank))
            rows = np.stack([*columns, shared.integers(1, 500, USERS), rank, hidden, repeat], axis=1)
            run = Run(model, "da_ta&1", seed, {}, {"packed": model in ("CLIA", "SASRec")}, f"{model}{seed}")
            record = {
                "state": "done",
                "packed": run.packed,
                "valid": {"ndcg@10": 0.1 / worse + 0.001 * seed},
                "test": means(rows, "rank"),
                "hidden": means(rows, "hidden_rank"),
                "curve": [{"epoch": e, "train_seconds": (1.0 + e) * worse, "valid_score": 0.01 * e} for e in range(3)],
                "seconds_to_best": 2.0 * worse,
                "seconds": 5.0 * worse,
                "parameters": 12345,
                "peak_mib": 321.0,
                "device": "cpu",
                "machine": {"gpu": None},
                "rows_crc": write_rows(folder / run.folder, rows),
            }
            outcomes.append(Outcome(run, record, True))
    return outcomes


def test_metrics_of_rows_by_hand() -> None:
    found = row_metrics(np.array([1, 2, 10, 11, 20, 21]))
    assert found["NDCG@10"].tolist() == pytest.approx([1, 1 / math.log2(3), 1 / math.log2(11), 0, 0, 0])
    assert found["Hit@10"].tolist() == [1, 1, 1, 0, 0, 0]
    assert found["MRR@10"].tolist() == pytest.approx([1, 0.5, 0.1, 0, 0, 0])
    assert found["Recall@20"].tolist() == [1, 1, 1, 1, 1, 0]


def test_ranks_are_those_of_a_sort() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, 30, generator=generator)
    scores[:, 0] = -torch.inf
    item = torch.randint(1, 30, (50,), generator=generator)
    row = torch.arange(50)
    order = scores.argsort(1, descending=True)
    want = (order == item.unsqueeze(1)).int().argmax(1) + 1
    for top in (1, 5, 30):
        assert torch.equal(ranks(scores, row, item, top), want)


def test_ties_are_those_of_topk() -> None:
    """RecBole sees a hit where ``topk`` puts the item; behind it nothing is a hit."""
    scores = torch.zeros(1, 9)
    scores[:, 0] = -torch.inf
    first = scores.topk(4).indices[0].tolist()
    for item in range(1, 9):
        (rank,) = ranks(scores, torch.tensor([0]), torch.tensor([item]), 4).tolist()
        assert rank == (first.index(item) + 1 if item in first else 5)


@pytest.mark.parametrize("users", [[3, 0, 2, 1], [2, 2, 0]])
def test_hidden_ranks_are_those_of_a_loop(users: list[int]) -> None:
    """A target that the user has had before stands behind all; an item that is had twice is hidden once."""
    histories = [[1, 2, 2, 5], [7, 3, 7], [4, 6, 8, 9, 1], [2]]  # the last of each is the target
    rng = np.random.default_rng(0)
    log = [(user, item) for user, own in enumerate(histories) for item in own]
    log = [log[place] for place in rng.permutation(len(log))]
    had = Histories(*(np.array(column, dtype=np.int64) for column in zip(*log, strict=True)), 4)
    assert had.size.tolist() == [4, 3, 5, 1]
    of_user = {user: torch.tensor(rng.permutation(10).astype(np.float32)) for user in range(4)}
    row = torch.tensor([sorted(set(users)).index(user) for user in users])
    scores = torch.stack([of_user[user] for user in sorted(set(users))])
    item = torch.tensor([histories[user][-1] for user in users])
    found, repeat = hidden_ranks(scores, row, item, 3, had.of(np.array(users)))
    want = []
    for user in users:
        *history, target = histories[user]
        above = [i for i in range(10) if of_user[user][i] > of_user[user][target] and i not in history]
        want.append(10 if target in history else 1 + len(above))
    assert found.tolist() == want
    assert repeat.tolist() == [user == 1 for user in users]


def test_holm_by_hand() -> None:
    # sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, then never falling
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    with_nan = holm([float("nan"), 0.01, 0.04])
    assert math.isnan(with_nan[0])
    assert with_nan[1:] == pytest.approx([0.02, 0.04])


def test_paired_tests_are_scipys() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=12), rng.normal(0.5, size=12)
    assert paired_t(one, other) == scipy.stats.ttest_rel(one, other).pvalue
    assert wilcoxon(one, other) == scipy.stats.wilcoxon(one, other).pvalue
    assert paired_t(one, one) == wilcoxon(one, one) == 1.0
    # Means over seeds in another order differ in their last bits.
    ranks = rng.integers(1, 9, (40, 3))
    forth, back = (1 / np.log2(ranks[:, order] + 1) for order in ([0, 1, 2], [2, 1, 0]))
    assert (forth.mean(1) != back.mean(1)).any()
    assert wilcoxon(forth.mean(1), back.mean(1)) == 1.0
    other = rng.integers(1, 9, 40) / 8
    assert wilcoxon(forth.mean(1), other) == wilcoxon(back.mean(1), other)
    one, other = one[:12], one[:12] + 1
    assert math.isnan(paired_t(one[:1], other[:1]))
    assert math.isnan(wilcoxon(one[:0], other[:0]))
    assert math.isnan(paired_t(np.array([0.1, 0.2]), np.array([0.0, 0.1])))  # the same difference twice


def test_the_best_baseline_is_none_of_the_plugins(tmp_path: Path) -> None:
    (board,) = boards(made_outcomes(tmp_path, {"SASRec": 3, "CLIA": 1, "NARM": 2, "CLSR": 1.1}, [1, 2, 3]), tmp_path)
    assert [entry.model for entry in board.entries][-1] == "SASRec"
    assert set(board.baselines.values()) == {"NARM"}
    by_model = {entry.model: entry for entry in board.entries}
    assert all(math.isnan(test.p) for test in by_model["NARM"].over_seeds.values())
    values = {m: [row_metrics(_ranks(tmp_path, m, s))["NDCG@10"].mean() for s in (1, 2, 3)] for m in by_model}
    for model in ("CLIA", "SASRec", "CLSR"):
        entry = by_model[model]
        assert entry.metrics["NDCG@10"].mean == pytest.approx(np.mean(values[model]))
        assert entry.metrics["NDCG@10"].deviation == pytest.approx(np.std(values[model], ddof=1))
        want = scipy.stats.ttest_rel(values[model], values["NARM"]).pvalue
        assert entry.over_seeds["NDCG@10"].p == pytest.approx(want)
    ps = [by_model[model].over_seeds[metric].p for metric in METRICS for model in ("SASRec", "CLIA", "CLSR")]
    corrected = [by_model[m].over_seeds[metric].corrected for metric in METRICS for m in ("SASRec", "CLIA", "CLSR")]
    assert corrected == pytest.approx(holm(ps))
    gains = {m: np.mean([row_metrics(_ranks(tmp_path, m, s))["NDCG@10"] for s in (1, 2, 3)], axis=0) for m in by_model}
    users = [scipy.stats.wilcoxon((gains[m] - gains["NARM"]).round(12)).pvalue for m in ("SASRec", "CLIA", "CLSR")]
    assert [by_model[m].over_users.p for m in ("SASRec", "CLIA", "CLSR")] == pytest.approx(users)
    assert [by_model[m].over_users.corrected for m in ("SASRec", "CLIA", "CLSR")] == pytest.approx(holm(users))


def _rows(folder: Path, model: str, seed: int) -> Any:
    return np.load(folder / f"{model}-da_ta&1-{seed}-{model}{seed}/rows.npy")


def _ranks(folder: Path, model: str, seed: int) -> Any:
    return _rows(folder, model, seed)[:, 4]


def test_tests_take_the_seeds_that_both_have(tmp_path: Path) -> None:
    outcomes = made_outcomes(tmp_path, {"CLIA": 1, "NARM": 2}, [1, 2, 3])
    broken = Outcome(outcomes[1].run, {"state": "failed", "sentence": "no memory"}, True)
    (board,) = boards([outcomes[0], broken, *outcomes[2:]], tmp_path)
    clia = next(entry for entry in board.entries if entry.model == "CLIA")
    assert clia.seeds == (1, 3)
    values = {m: [row_metrics(_ranks(tmp_path, m, s))["NDCG@10"].mean() for s in (1, 3)] for m in ("CLIA", "NARM")}
    assert clia.over_seeds["NDCG@10"].p == pytest.approx(scipy.stats.ttest_rel(values["CLIA"], values["NARM"]).pvalue)
    assert board.failed == (("CLIA on da_ta&1, seed 2", "no memory"),)
    assert "failed: CLIA on da_ta&1, seed 2: no memory" in tables.terminal([board])
    assert "\n% failed: CLIA on da_ta&1, seed 2: no memory\n" in tables.latex([board])


def test_one_lucky_seed_is_no_best_baseline(tmp_path: Path) -> None:
    outcomes = made_outcomes(tmp_path, {"CLIA": 1, "NARM": 2, "Pop": 0.3}, [1, 2, 3])
    (whole,) = boards(outcomes, tmp_path)
    assert set(whole.baselines.values()) == {"Pop"}
    assert whole.fewer == ()
    (board,) = boards([o for o in outcomes if o.run.model != "Pop" or o.run.seed == 2], tmp_path)
    assert set(board.baselines.values()) == {board.hidden_baseline} == {"NARM"}
    assert board.fewer == ("Pop",)
    by_model = {entry.model: entry for entry in board.entries}
    gains = {m: np.mean([row_metrics(_ranks(tmp_path, m, s))["NDCG@10"] for s in (1, 2, 3)], axis=0) for m in by_model}
    want = scipy.stats.wilcoxon((gains["CLIA"] - gains["NARM"]).round(12)).pvalue
    assert by_model["CLIA"].over_users.p == pytest.approx(want)
    assert math.isnan(by_model["Pop"].over_users.p)
    assert "With fewer seeds than other baselines, and so not taken for the best: Pop." in tables.notes(board)


@pytest.mark.parametrize("models", [{"CLIA": 1, "NARM": 2}, {"CLIA": 1}, {"NARM": 1}])
def test_one_seed_has_no_tests(tmp_path: Path, models: dict[str, float]) -> None:
    found = boards(made_outcomes(tmp_path, models, [1]), tmp_path)
    assert all(math.isnan(t.corrected) for entry in found[0].entries for t in entry.over_seeds.values())
    assert all(math.isnan(entry.over_users.p) for entry in found[0].entries)
    for text in (tables.terminal(found), tables.markdown(found), tables.latex(found), tables.csv_text(found)):
        assert "nan" not in text.lower()
        assert "Wilcoxon" not in text
        assert "p (hidden): like" not in text
    assert any("No tests: " in note for note in tables.notes(found[0]))
    assert ">nan<" not in page(found)


def test_a_run_that_was_best_at_its_end_is_told(tmp_path: Path) -> None:
    outcomes = made_outcomes(tmp_path, {"CLIA": 1.0, "SASRec": 2.0, "Pop": 3.0}, [1, 2])
    for outcome in outcomes:
        scores = {"CLIA": [0.1, 0.3, 0.2], "SASRec": [0.1, 0.2, 0.3] if outcome.run.seed == 2 else [0.3, 0.2, 0.1]}
        own = scores.get(outcome.run.model, [0.1])
        outcome.record["curve"] = [{"epoch": e, "train_seconds": 1.0 + e, "valid_score": s} for e, s in enumerate(own)]
    (board,) = boards(outcomes, tmp_path)
    (told,) = [note for note in tables.notes(board) if "rising" in note]
    assert "1 of 2 runs of SASRec (packed);" in told
    assert "CLIA" not in told
    rows = list(csv.DictReader(io.StringIO(tables.csv_text([board]))))
    assert {row["model"]: row["runs best at their end"] for row in rows} == {"CLIA": "0", "SASRec": "1", "Pop": "0"}


def test_seconds_of_different_devices_are_not_compared_in_silence(tmp_path: Path) -> None:
    outcomes = made_outcomes(tmp_path, {"CLIA": 1.0, "SASRec": 2.0, "Pop": 3.0}, [1, 2])
    (told,) = [note for note in tables.notes(*boards(outcomes, tmp_path)) if note.startswith("Trained on")]
    assert told == "Trained on: CPU."
    for outcome in outcomes:
        if outcome.run.model != "CLIA" and outcome.run.seed == 2:
            outcome.record.update(device="cuda", machine={"gpu": "Made G1"})
    (board,) = boards(outcomes, tmp_path)
    (told,) = [note for note in tables.notes(board) if note.startswith("Trained on")]
    assert "do not compare: CLIA on CPU; SASRec (packed) on CPU and Made G1; Pop on CPU and Made G1." in told
    rows = list(csv.DictReader(io.StringIO(tables.csv_text([board]))))
    assert {row["model"]: row["devices"] for row in rows} == {
        "CLIA": "CPU",
        "SASRec": "CPU; Made G1",
        "Pop": "CPU; Made G1",
    }


def test_ranking_without_the_histories_is_compared_too(tmp_path: Path) -> None:
    (board,) = boards(made_outcomes(tmp_path, {"CLIA": 1, "NARM": 2, "SASRec": 3}, [1, 2, 3]), tmp_path)
    seeds = {m: [_rows(tmp_path, m, s) for s in (1, 2, 3)] for m in ("CLIA", "NARM", "SASRec")}
    gains = {m: [row_metrics(rows[:, 5])["NDCG@10"] for rows in found] for m, found in seeds.items()}
    best = max(("NARM", "SASRec"), key=lambda model: np.mean(gains[model]))
    other = {"NARM": "SASRec", "SASRec": "NARM"}[best]
    assert board.hidden_baseline == best
    assert board.repeats == seeds["CLIA"][0][:, 6].mean()
    users = [
        scipy.stats.wilcoxon((np.mean(gains[m], 0) - np.mean(gains[best], 0)).round(12)).pvalue for m in ("CLIA", other)
    ]
    for entry in board.entries:
        assert entry.hidden.mean == pytest.approx(np.mean(gains[entry.model]))
        assert entry.hidden.deviation == pytest.approx(np.std(np.mean(gains[entry.model], 1), ddof=1))
    by_model = {entry.model: entry.hidden_over_users for entry in board.entries}
    assert math.isnan(by_model[best].p)
    assert [by_model[m].p for m in ("CLIA", other)] == pytest.approx(users)
    assert [by_model[m].corrected for m in ("CLIA", other)] == pytest.approx(holm(users))
    (told,) = [note for note in tables.notes(board) if "hidden" in note]
    assert f"the {board.repeats:.1%} of targets" in told
    assert told.endswith(f"against {best}.")


def test_nothing_done_is_a_board_without_entries(tmp_path: Path) -> None:
    run = Run("CLIA", "made", 1, {}, {}, "k")
    found = boards([Outcome(run, {"state": "failed", "sentence": "a <b> & c"}, True)], tmp_path)
    assert "a <b> & c" in tables.terminal(found)
    assert tables.notes(found[0]) == ["No run is done."]
    assert "a &lt;b&gt; &amp; c" in page(found)
    assert tables.markdown(found)
    assert len(tables.csv_text(found).splitlines()) == 1


def test_all_forms_hold_the_same_numbers(tmp_path: Path) -> None:
    found = boards(made_outcomes(tmp_path, {"SASRec": 30, "CLIA": 1, "NARM": 2}, [1, 2, 3]), tmp_path)
    rows = list(csv.DictReader(io.StringIO(tables.csv_text(found))))
    assert [row["model"] for row in rows] == ["CLIA", "NARM", "SASRec"]
    html, markdown, latex, plain = page(found), tables.markdown(found), tables.latex(found), tables.terminal(found)
    for row in rows:
        for metric in ("valid_NDCG@10", *METRICS, "hidden_NDCG@10"):
            mean, deviation = (float(row[f"{metric} {part}"]) for part in ("mean", "sd"))
            cell = f"{mean:.4f} ± {deviation:.4f}"
            assert cell in html
            assert cell in markdown
            assert cell in plain
            assert cell.replace("±", r"$\pm$") in latex
        p = tables.probability(float(row["p (users, Holm)"])) if row["p (users, Holm)"] else "-"
        for text in (markdown, plain):
            assert p in text
        assert row["NDCG@10 best baseline"] == "NARM"
    assert float(rows[2]["NDCG@10 p (t, Holm)"]) < 0.05
    line = next(line for line in plain.splitlines() if line.startswith("SASRec (packed)"))
    assert "*" in line
    assert r"da\_ta\&1" in latex
    assert "da_ta&amp;1" in html
    assert r"\textbf{" in latex
    assert "**" in markdown


def test_trials_and_best_settings_are_told_for_each_model(tmp_path: Path) -> None:
    found = {
        ("CLIA", "da_ta&1"): Tuned(30, 4, 2, 7, 0.0812, {"learning_rate": 0.0012345, "n_layers": 2}, "s/CLIA.yaml"),
        ("NARM", "da_ta&1"): Tuned(30, 0, 0, 7, 0.05, {"learning_rate": 0.01}, "s/NARM.yaml"),
    }
    outcomes = made_outcomes(tmp_path, {"NARM": 2, "Pop": 3, "CLIA": 1}, [1, 2])
    tuned = boards(outcomes, tmp_path, found)
    clia = (
        "CLIA, best of 30 trials (4 given up early, 2 that could not be trained) with NDCG@10 0.0812 on validation: "
        "learning_rate 0.00123, n_layers 2; s/CLIA.yaml"
    )
    narm = "NARM, best of 30 trials with NDCG@10 0.0500 on validation: learning_rate 0.01; s/NARM.yaml"
    without = "As it is, since there is no search space or all of it is set: Pop."
    assert f"\n% {clia}\n% {narm}\n" in tables.latex(tuned)
    for text in (tables.terminal(tuned), tables.markdown(tuned), page(tuned)):
        for sentence in (clia, narm, without, "on validation alone and with seed 7"):
            assert sentence in text
    rows = {line.split()[0]: line.split()[-1] for line in tables.terminal(tuned).splitlines()[3:6]}
    assert rows == {"CLIA": "30", "NARM": "30", "Pop": "-"}
    lines = [line for line in tables.markdown(tuned).splitlines() if line.startswith("|")]
    assert [line.rstrip("|").split("|")[-1].strip() for line in [lines[0], *lines[2:]]] == ["trials", "30", "30", "-"]
    assert "<th>trials</th>" in page(tuned)
    assert re.search(r"trials.*\\\\", tables.latex(tuned))
    csv_rows = list(csv.DictReader(io.StringIO(tables.csv_text(tuned))))
    assert [(row["model"], row["trials"], row["settings_file"]) for row in csv_rows] == [
        ("CLIA", "30", "s/CLIA.yaml"),
        ("NARM", "30", "s/NARM.yaml"),
        ("Pop", "", ""),
    ]
    plain = boards(outcomes, tmp_path)
    for text in (tables.terminal(plain), tables.markdown(plain), tables.latex(plain), page(plain)):
        assert "trials" not in text


def test_the_page_is_one_file_with_drawings(tmp_path: Path) -> None:
    outcomes = made_outcomes(tmp_path, {"SASRec": 3, "CLIA": 1}, [1, 2])
    other = [Outcome(Run(o.run.model, "b", o.run.seed, {}, {}, o.run.key), o.record, True) for o in outcomes]
    for outcome in other:
        source = next(o for o in outcomes if o.run.key == outcome.run.key)
        (tmp_path / outcome.run.folder).mkdir()
        (tmp_path / outcome.run.folder / "rows.npy").write_bytes(
            (tmp_path / source.run.folder / "rows.npy").read_bytes()
        )
    html = page(boards([*outcomes, *other], tmp_path))
    assert html.count("<svg") == 2
    for title in (
        "Quality against time",
        "Learning curves",
        "By interactions before the target",
        "By interactions with",
    ):
        assert html.count(title) >= 2
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', html)) <= set(ids)
    assert not re.search(r'(?:src|href)="(?!#)', html)
    assert page(boards([*outcomes, *other], tmp_path)) == html


def test_no_two_of_many_models_look_alike() -> None:
    looks = [tuple(_look(place).values()) for place in range(30)]
    assert len(set(looks)) == 30


@pytest.mark.parametrize("column", ["history", "popularity"])
def test_a_breakdown_adds_up_to_the_whole(tmp_path: Path, column: str) -> None:
    (board,) = boards(made_outcomes(tmp_path, {"SASRec": 3, "CLIA": 1}, [1, 2]), tmp_path)
    found = breakdown(board, column)
    assert sum(found.rows) == USERS
    assert len(found.bins) == leaderboard.BINS
    assert max(found.rows) <= 2 * min(found.rows)
    for (_, high), (low, _) in zip(found.bins, found.bins[1:], strict=False):
        assert high < low
    for entry in board.entries:
        whole = np.average(found.means[entry.name], weights=found.rows)
        assert whole == pytest.approx(entry.metrics["NDCG@10"].mean)


def test_a_breakdown_of_one_value_is_one_bin(tmp_path: Path) -> None:
    (board,) = boards(made_outcomes(tmp_path, {"CLIA": 1}, [1]), tmp_path)
    board.entries[0].rows["history"][:] = 7
    assert breakdown(board, "history").bins == ((7, 7),)
