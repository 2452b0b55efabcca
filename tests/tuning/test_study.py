"""A study goes on where it stopped, counts its trials, gives up the poor ones, and sees no test data."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
import torch
from conftest import write_log
from optuna.trial import TrialState

import recbole_clia.running.quick_start as quick_start
import recbole_clia.tuning.sampler as sampler
import recbole_clia.tuning.search as searching
import recbole_clia.tuning.study as studies
import recbole_clia.tuning.trial as trial_runs
from recbole_clia import run
from recbole_clia.errors import Diverged, UsageError
from recbole_clia.settings.config import PluginConfig
from recbole_clia.tuning.lost import owner, recover
from recbole_clia.tuning.plan import Plan, check_plan
from recbole_clia.tuning.report import best_settings, best_trials, importances, write_best, write_page
from recbole_clia.tuning.sampler import SeededTPE
from recbole_clia.tuning.search import tune
from recbole_clia.tuning.study import ATTRIBUTE, finished, open_study, running
from recbole_clia.tuning.trial import Objective, TooMany

SPACE = """learning_rate: [0.0001, 0.1]   # (float, log) Learning rate.
mask_ratio: [0.0, 0.9]       # (float) Masked part.
contrastive_recent_k: [1, 9]   # (int) Last items.
"""
SMALL = {"embedding_size": 8, "hidden_size": 8, "epochs": 2}


@pytest.fixture
def plan(made: dict[str, Any], workplace: Path) -> Plan:
    (workplace / "space.yaml").write_text(SPACE)
    settings = {key: value for key, value in made.items() if key not in ("show_progress", "state")}
    return Plan("CLIA", "made", "sqlite:///s.sqlite", 3, "space.yaml", settings={**settings, **SMALL})


class Fake:
    """In place of a run: a score that depends on what was drawn, at once."""

    def __init__(self, stop_at: int | None = None, error: Exception | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.epochs: list[int] = []
        self.stop_at, self.error = stop_at, error

    def __call__(self, model: str, dataset: str, files: Any, settings: dict[str, Any], **how: Any) -> dict[str, Any]:
        assert how["test"] is False
        assert how["saved"] is False
        self.calls.append(settings)
        if len(self.calls) == self.stop_at:
            raise self.error or KeyboardInterrupt
        score = 1 - settings["mask_ratio"]
        self.epochs.append(0)
        for epoch in range(4):
            self.epochs[-1] += 1
            how["callback"](epoch, score * (epoch + 1) / 4)
        known = {"epochs": 4, "best_epoch": 3, "seconds": 0.1, "log_file": None, "best_valid_result": {"mrr@10": score}}
        return {**known, "best_valid_score": score}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr(trial_runs, "run", made)
    return made


def drawn(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]


class Untouchable:
    """A test set that fails whoever looks at it."""

    def __getattribute__(self, *_: Any) -> Any:
        raise AssertionError("the test set was touched")

    __iter__ = __len__ = __getattribute__


def test_a_study_sees_no_test_data_and_its_best_can_be_had_again(
    plan: Plan, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = quick_start._load
    monkeypatch.setattr(quick_start, "_load", lambda config: (*load(config)[:3], Untouchable()))
    with pytest.raises(AssertionError, match="the test set was touched"):
        run("CLIA", "made", config_dict=dict(plan.settings), saved=False)

    study, checked = tune(plan)
    assert [trial.state for trial in study.trials] == 3 * [TrialState.COMPLETE]
    assert not list(workplace.glob("saved/*.pth"))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished study trains nothing")

    with monkeypatch.context() as context:
        context.setattr(trial_runs, "run", refuse)
        assert len(tune(plan)[0].trials) == 3

    write_best(study, checked, workplace / "best.yaml")
    here = {"data_path": plan.settings["data_path"], "show_progress": False, "state": "ERROR", "use_gpu": False}
    again = run("CLIA", "made", [str(workplace / "best.yaml")], here, saved=False, test=False)
    assert again["best_valid_score"] == study.best_value
    assert again["test_result"] == {}
    assert again["best_valid_result"] == study.best_trial.user_attrs["valid"]


@pytest.mark.parametrize("model", ["GRU4Rec", "BPR"])
def test_built_in_models_are_searched_too(plan: Plan, workplace: Path, model: str) -> None:
    settings = {
        key: value for key, value in plan.settings.items() if key not in ("hidden_size", "MAX_ITEM_LIST_LENGTH")
    }
    (workplace / "space.yaml").write_text("learning_rate: [0.001, 0.1]  # (float, log) Learning rate.\n")
    study, _ = tune(replace(plan, model=model, settings=settings, trials=2))
    assert [trial.state for trial in study.trials] == 2 * [TrialState.COMPLETE]
    assert set(study.trials[0].intermediate_values) == {0, 1}


def test_pruning_ends_the_training_of_a_planted_bad_value(plan: Plan, workplace: Path) -> None:
    rows = [(user, (3 * user + step) % 30, float(step)) for user in range(24) for step in range(12)]
    write_log(workplace / "dataset", rows)
    (workplace / "space.yaml").write_text("learning_rate: [0.02, 1.0e-9]  # (choice) Learning rate.\n")
    settings = {**plan.settings, "dropout_prob": 0.0, "embedding_size": 16, "epochs": 6, "data_cache": None}
    plan = replace(plan, settings=settings, trials=6, prune_after=2)
    study = open_study(check_plan(plan))
    for rate in (*5 * ["0.02"], "1e-09"):
        study.enqueue_trial({"learning_rate": rate})
    tune(plan)
    *good, bad = study.trials
    assert {trial.state for trial in good} == {TrialState.COMPLETE}
    assert {len(trial.intermediate_values) for trial in good} == {6}
    assert bad.state == TrialState.PRUNED
    assert set(bad.intermediate_values) == {0, 1, 2}
    assert bad.user_attrs["epochs"] == 3
    assert best_trials(study, 9)[0] in good


def test_no_trial_is_given_up_before_the_epochs_that_are_granted(plan: Plan, fake: Fake) -> None:
    tune(replace(plan, trials=12, prune_after=4))
    assert fake.epochs == 12 * [4]
    tune(replace(plan, trials=12, storage="sqlite:///other.sqlite", prune_after=1))
    assert set(fake.epochs[12:]) == {2, 4}


def test_the_first_trial_is_the_model_as_it_comes(plan: Plan, fake: Fake) -> None:
    study, _ = tune(plan)
    defaults = PluginConfig("CLIA", "made", config_dict=dict(plan.settings)).final_config_dict
    searched = ("learning_rate", "mask_ratio", "contrastive_recent_k")
    assert study.trials[0].params == {key: defaults[key] for key in searched}
    assert fake.calls[0]["seed"] == plan.seed


def test_a_stopped_study_goes_on_as_if_it_had_not_stopped(
    plan: Plan, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "RANDOM_TRIALS", 3)  # what comes after is drawn by the estimator
    plan = replace(plan, trials=7)
    whole, _ = tune(plan)
    parts = replace(plan, storage="sqlite:///parts.sqlite")
    for stop_at in (3, 4):
        monkeypatch.setattr(trial_runs, "run", Fake(stop_at))
        with pytest.raises(KeyboardInterrupt):
            tune(parts)
    monkeypatch.setattr(trial_runs, "run", Fake())
    study, _ = tune(parts)
    assert finished(study) == 7
    assert [trial.state for trial in study.trials].count(TrialState.FAIL) == 2
    assert drawn(study) == drawn(whole)
    assert len({tuple(params.values()) for params in drawn(whole)}) == 7


def test_another_seed_draws_otherwise(plan: Plan, fake: Fake) -> None:
    one, _ = tune(plan)
    two, _ = tune(replace(plan, seed=1, storage="sqlite:///two.sqlite"))
    assert drawn(one)[0] == drawn(two)[0]
    assert drawn(one)[1:] != drawn(two)[1:]


def test_a_trial_whose_process_is_gone_is_repeated(plan: Plan, fake: Fake) -> None:
    checked = check_plan(plan)
    study = open_study(checked)
    lost = study.ask()
    values = checked.space.suggest(lost)
    mine = owner()
    lost.set_user_attr("owner", {**mine, "since": mine["since"] - 100})  # its number is another process's now
    study, _ = tune(plan)
    assert study.trials[0].state == TrialState.FAIL
    assert study.trials[1].params == values
    assert study.trials[1].user_attrs["repeats"] == 0
    assert finished(study) == 3
    assert recover(study) == 0


def test_a_trial_that_runs_elsewhere_is_left_to_its_machine(plan: Plan, fake: Fake) -> None:
    study = open_study(check_plan(plan))
    elsewhere = study.ask()
    elsewhere.set_user_attr("owner", {**owner(), "host": "another"})
    study, _ = tune(plan)
    assert (finished(study), running(study)) == (2, 1)
    study.tell(elsewhere, 0.5)
    assert finished(tune(plan)[0]) == 3


def test_the_last_trial_is_made_once(plan: Plan, fake: Fake) -> None:
    """Two workers that begin it at the same time do not see each other before they have."""
    study, checked = tune(plan)
    study.optimize(Objective(checked), n_trials=1, catch=(TooMany,))
    assert study.trials[-1].state == TrialState.FAIL
    assert study.trials[-1].params == {}
    assert len(fake.calls) == finished(study) == 3


def test_no_trial_starts_after_the_time(plan: Plan, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 9.0, 11.0])
    monkeypatch.setattr(searching.time, "monotonic", lambda: next(times))
    study, _ = tune(replace(plan, seconds=10.0, trials=9))
    assert finished(study) == 2


@pytest.mark.parametrize("kind", [Diverged, ValueError, torch.OutOfMemoryError, ZeroDivisionError, AssertionError])
def test_what_cannot_be_trained_counts_as_a_poor_trial(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    monkeypatch.setattr(trial_runs, "run", Fake(2, kind("Training loss is nan")))
    study, _ = tune(plan)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert study.trials[1].user_attrs["error"] == "Training loss is nan"


def test_a_fault_of_the_code_is_not_taken_for_a_poor_trial(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_runs, "run", Fake(2, AttributeError("no such attribute")))
    with pytest.raises(AttributeError):
        tune(plan)


def test_bad_input_that_a_trial_meets_ends_the_study(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_runs, "run", Fake(2, UsageError("no such thing")))
    with pytest.raises(UsageError, match="no such thing"):
        tune(plan)
    monkeypatch.setattr(trial_runs, "run", Fake())
    assert finished(tune(plan)[0]) == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 5}, "it was made with seed 0, not 5"),
        ({"settings": {"valid_metric": "NDCG@10"}}, r"it was made with metric MRR@10, not NDCG@10"),
        ({"settings": {"epochs": 4}}, "it was made with epochs 2, not 4"),
        ({"settings": {"weight_decay": 0.1}}, "it was made with weight_decay not set, not 0.1"),
        ({"settings": {"mask_ratio": 0.1}}, "it was made with mask_ratio not set, not 0.1"),
        ({"space_file": None}, "it was made with another search space"),
        ({"model": "CLSR", "space_file": None}, "it holds the study 'CLIA-made', not 'CLSR-made'"),
    ],
)
def test_a_study_of_something_else_is_refused(plan: Plan, fake: Fake, change: dict[str, Any], sentence: str) -> None:
    tune(plan)
    settings = {**plan.settings, **change.get("settings", {})}
    if change.get("model"):
        del settings["hidden_size"]
    with pytest.raises(UsageError, match=rf"^study s\.sqlite: {sentence}; give another --study$"):
        tune(replace(plan, **{**change, "settings": settings}))
    same = {**plan.settings, "gpu_id": "1", "show_progress": True, "diagnosis_rows": 0}
    assert len(tune(replace(plan, settings=same))[0].trials) == 3


def test_a_shared_storage_holds_several_studies(plan: Plan, fake: Fake) -> None:
    tune(plan)
    other = {key: value for key, value in plan.settings.items() if key != "hidden_size"}
    (Path("other.yaml")).write_text("mask_ratio: [0.0, 0.9]  # (float) Masked part.\n")
    shared = replace(plan, model="GRU4Rec", space_file="other.yaml", settings=other, alone=False)
    tune(shared)
    assert sorted(optuna.get_all_study_names(plan.storage)) == ["CLIA-made", "GRU4Rec-made"]


def test_a_study_can_be_watched_while_somebody_writes(plan: Plan) -> None:
    """Or a request to end would wait as well."""
    study = open_study(check_plan(plan))
    with contextlib.closing(sqlite3.connect("s.sqlite", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("UPDATE studies SET study_name = 'another'")
        assert (study.study_name, finished(study), running(study)) == ("CLIA-made", 0, 0)
        assert optuna.get_all_study_names(plan.storage) == ["CLIA-made"]
        writer.execute("ROLLBACK")


def test_a_full_disk_is_told_in_a_sentence_and_loses_nothing(
    plan: Plan, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(studies._File):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.execute("PRAGMA max_page_count = 1")  # it stays as large as it is

    study, _ = tune(plan)
    with monkeypatch.context() as patch:
        patch.setattr(studies, "_File", Full)
        with pytest.raises(UsageError, match=r"^study s\.sqlite: .* database or disk is full$"):
            tune(replace(plan, trials=300))
    begun = finished(study)
    assert 3 <= begun < 300
    study, _ = tune(replace(plan, trials=begun + 3))
    assert finished(study) > begun


def test_a_journal_file_is_a_storage(plan: Plan, fake: Fake) -> None:
    plan = replace(plan, storage="journal:log.journal", alone=False)
    tune(plan)
    assert finished(tune(replace(plan, trials=5))[0]) == 5
    assert len(fake.calls) == 5


@pytest.mark.parametrize(
    ("storage", "sentence"),
    [
        ("sqlite:///space.yaml", "file is not a database"),
        ("sqlite:///no/such/folder/s.sqlite", "unable to open database file"),
        ("nonsense", "Could not parse"),
        ("nosuchbase://here/there", "nosuchbase"),
    ],
)
def test_a_storage_that_cannot_be_used(plan: Plan, storage: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as told:
        tune(replace(plan, storage=storage))
    assert str(told.value).startswith("study ")
    assert "\n" not in str(told.value)


def test_two_may_begin_a_study_at_the_same_time(plan: Plan, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finds no tables and makes them."""
    storage, late = optuna.storages.RDBStorage, []

    class Late(storage):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if not late:
                late.append(True)
                raise sqlalchemy.exc.OperationalError("CREATE TABLE", {}, Exception("table studies already exists"))
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(optuna.storages, "RDBStorage", Late)
    assert finished(tune(plan)[0]) == 3
    assert late


def test_a_message_does_not_tell_the_password(plan: Plan) -> None:
    assert replace(plan, storage="postgresql://me:secret@host/db").where == "study postgresql://me:***@host/db"
    assert replace(plan, storage="sqlite:////somewhere/s.sqlite").where == "study /somewhere/s.sqlite"
    assert replace(plan, storage="journal:s.log").where == "study journal:s.log"


def test_a_study_that_another_program_made_is_refused(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies.time, "sleep", lambda _: None)
    optuna.create_study(storage=plan.storage, study_name=plan.name)
    with pytest.raises(UsageError, match="'CLIA-made' was not made by this command"):
        tune(plan)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"nproc": 2}, "--nproc belongs to a single run"),
        ({"epochs": 0}, "a trial needs epochs and eval_step of at least 1"),
        ({"eval_step": 0}, "a trial needs epochs and eval_step of at least 1"),
        ({"dropout": 0.1}, "the key 'dropout' is not read by CLIA"),
        ({"learning_rate": 1, "mask_ratio": 0, "contrastive_recent_k": 1}, "every property of this space is fixed"),
    ],
)
def test_nothing_is_written_for_a_plan_that_is_wrong(plan: Plan, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        tune(replace(plan, settings={**plan.settings, **settings}))
    assert not Path("s.sqlite").exists()


def test_a_smaller_score_can_be_the_better_one(plan: Plan, fake: Fake) -> None:
    metric = {"metrics": ["GiniIndex"], "valid_metric": "GiniIndex@10"}
    study, checked = tune(replace(plan, settings={**plan.settings, **metric}, trials=8))
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    complete = [trial.value for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert best_trials(study, 1)[0].value == study.best_value == min(complete)
    assert best_settings(study, checked)["mask_ratio"] == study.best_params["mask_ratio"]


def test_the_importance_is_that_of_what_makes_the_score(plan: Plan, fake: Fake, workplace: Path) -> None:
    plan = replace(plan, trials=14, prune_after=9)
    study, checked = tune(replace(plan, trials=9))
    assert importances(study) is None
    tune(plan)
    shares = importances(study)
    assert next(iter(shares)) == "mask_ratio"
    assert shares["mask_ratio"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    write_page(study, checked, workplace / "study.html")
    page = (workplace / "study.html").read_text()
    assert "CLIA on made: MRR@10 on validation" in page
    assert page.count('class="plotly-graph-div"') == 4
    assert "<script src=" not in page.split("</h1>")[0]


def test_what_a_study_is_of_is_written_down(plan: Plan, fake: Fake) -> None:
    study, checked = tune(plan)
    kept = study.user_attrs[ATTRIBUTE]
    assert kept == checked.identity
    assert (kept["model"], kept["dataset"], kept["metric"], kept["seed"]) == ("CLIA", "made", "MRR@10", 0)
    assert kept["settings"]["epochs"] == 2
    assert "data_path" not in kept["settings"]


def test_an_interrupt_before_a_trial_has_begun_loses_nothing(
    plan: Plan, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was drawn from the queue or from the sampler, and nobody is at it."""
    before, asked = SeededTPE.before_trial, []

    def interrupt(self: Any, study: optuna.Study, trial: Any) -> None:
        asked.append(trial.number)
        if len(asked) in (1, 3):
            raise KeyboardInterrupt
        before(self, study, trial)

    monkeypatch.setattr(SeededTPE, "before_trial", interrupt)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            tune(plan)
    study, checked = tune(plan)
    assert [trial.state.name for trial in study.trials].count("COMPLETE") == 3
    assert running(study) == 0
    defaults = checked.config.final_config_dict
    assert fake.calls[0]["learning_rate"] == defaults["learning_rate"]


def test_packed_is_a_setting_of_a_trial(plan: Plan, fake: Fake) -> None:
    tune(replace(plan, settings={**plan.settings, "packed": False}))
    assert {call["packed"] for call in fake.calls} == {False}
    with pytest.raises(UsageError, match="it was made with packed False, not not set; give another --study"):
        tune(plan)


def test_a_run_that_is_watched_takes_one_process(made: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="takes one process"):
        run("CLIA", "made", config_dict=made, nproc=2, test=False)
