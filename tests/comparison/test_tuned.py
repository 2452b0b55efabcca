"""Studies before a comparison: one number of trials for all, continued where stopped, and never made again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest

import recbole_clia.tuning.plan as plans
import recbole_clia.tuning.study as studies
import recbole_clia.tuning.trial as trial_runs
from recbole_clia.comparison import tuned as tuning
from recbole_clia.comparison.plan import PROTOCOL, Run, make_plan
from recbole_clia.comparison.tuned import Study, make_studies, search, seed_of, without_space
from recbole_clia.errors import UsageError
from recbole_clia.settings.config import PluginConfig, read_config_file
from recbole_clia.tuning.space import Space, read_space

MODELS = ["CLIA", "GRU4Rec", "Pop"]


@pytest.fixture
def settings(made: dict[str, Any]) -> dict[str, Any]:
    chosen = {key: made[key] for key in ("data_path", "load_col", "use_gpu", "MAX_ITEM_LIST_LENGTH")}
    return {**chosen, "epochs": 2, "stopping_step": 1, "user_inter_num_interval": "[4,inf)"}


@pytest.fixture
def runs(settings: dict[str, Any]) -> list[Run]:
    return make_plan(MODELS, ["made"], [1, 2], settings=settings)


class Fake:
    """In place of a trial's training: the learning rate as its score, at once."""

    def __init__(self, stop_at: int | None = None, error: BaseException | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.stop_at, self.error = stop_at, error

    def __call__(self, model: str, dataset: str, files: Any, settings: dict[str, Any], **how: Any) -> dict[str, Any]:
        assert how["test"] is False
        assert how["saved"] is False
        self.calls.append((model, settings))
        if self.error is not None and self.stop_at in (None, len(self.calls)):
            raise self.error
        score = settings["learning_rate"]
        how["callback"](0, score)
        return {
            **{"epochs": 1, "best_epoch": 0, "seconds": 0.1, "log_file": None},
            **{"best_valid_result": {"ndcg@10": score}, "best_valid_score": score},
        }


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr(trial_runs, "run", made)
    return made


def planned(runs: Sequence[Run], trials: int = 3, seed: int = 0) -> list[Study]:
    return make_studies(runs, trials, seed, Path("out/studies"))


def states(study: Study) -> list[str]:
    storage = f"sqlite:///{study.file}"
    (name,) = optuna.get_all_study_names(storage)
    return [trial.state.name for trial in optuna.load_study(study_name=name, storage=storage).trials]


def test_each_model_with_a_space_has_so_many_trials(runs: list[Run], fake: Fake, workplace: Path) -> None:
    planned_studies = planned(runs)
    assert not Path("out").exists()
    assert [str(study) for study in planned_studies] == ["CLIA on made", "GRU4Rec on made"]
    assert without_space(MODELS) == ["Pop"]
    told: list[int] = []
    found = [search(study, told=told.append) for study in planned_studies]
    assert [model for model, _ in fake.calls] == 3 * ["CLIA"] + 3 * ["GRU4Rec"]
    assert told == 2 * [0, 1, 2, 3]
    assert [one.trials for one in found] == [3, 3]
    # SQLite's own files beside a study are there as long as a connection to it is.
    files = {path.name for path in Path("out/studies").iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert files == {name for study in planned_studies for name in (study.file.name, study.best.name)}
    assert Path.cwd() == workplace


def test_a_trial_is_trained_as_the_runs_are(runs: list[Run], fake: Fake, settings: dict[str, Any]) -> None:
    """Same protocol, epochs and early stopping; another seed; only what the space has differs."""
    for study in planned(runs, seed=7):
        search(study)
    of = {run.model: run for run in runs}
    for model, given in fake.calls:
        config = PluginConfig(model, "made", config_dict=given)
        assert config["seed"] == 7
        for key in PROTOCOL:
            assert config[key] == of[model].config[key]
        whole = {key: value for key, value in config.final_config_dict.items() if key in of[model].config}
        differs = {key for key, value in whole.items() if str(value) != str(of[model].config[key])}
        quiet = {"seed", "show_progress", "state", "checkpoint_dir", "data_path", "data_cache"}
        assert differs <= {*read_space(model).parameters, *quiet, "MODEL_TYPE", "MODEL_INPUT_TYPE", "device"}
    assert fake.calls[-1][1]["packed"] is True


def test_what_is_found_is_what_the_runs_have(runs: list[Run], fake: Fake, settings: dict[str, Any]) -> None:
    """And the keys follow from it: by hand they are the same runs."""
    (study, _), found = planned(runs), {}
    found["CLIA", "made"] = search(study)
    best = max((given for _, given in fake.calls), key=lambda given: given["learning_rate"])
    assert found["CLIA", "made"].settings == {key: best[key] for key in read_space("CLIA").parameters}
    with_best = make_plan(MODELS, ["made"], [1, 2], settings=settings, tuned=found)
    for run, before in zip(with_best, runs, strict=True):
        assert (run.key == before.key) is (run.model != "CLIA")
    by_hand = make_plan(["CLIA"], ["made"], [1, 2], settings={**settings, **found["CLIA", "made"].settings})
    assert [run.key for run in by_hand] == [run.key for run in with_best if run.model == "CLIA"]
    by_file = make_plan(["CLIA"], ["made"], [1, 2], [f"CLIA={study.best}"], settings)
    assert [run.key for run in by_file] == [run.key for run in by_hand]
    kept = read_config_file(str(study.best))
    assert {key: kept[key] for key in found["CLIA", "made"].settings} == dict(found["CLIA", "made"].settings)
    assert kept["epochs"] == 2
    assert kept["seed"] == 0
    assert str(found["CLIA", "made"].file) == "out/studies/CLIA-made.yaml"


def test_defaults_that_are_the_best_are_the_same_runs(runs: list[Run], fake: Fake, settings: dict[str, Any]) -> None:
    found = {(study.plan.model, "made"): search(study) for study in planned(runs, 1)}
    again = make_plan(MODELS, ["made"], [1, 2], settings=settings, tuned=found)
    assert [run.key for run in again] == [run.key for run in runs]


def test_a_finished_study_trains_nothing(runs: list[Run], fake: Fake) -> None:
    first = [search(study) for study in planned(runs)]
    fake.calls.clear()
    again = planned(runs)
    assert [study.done for study in again] == [3, 3]
    assert [search(study) for study in again] == first
    assert fake.calls == []


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_a_stopped_study_goes_on_as_if_it_had_not_been(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch, workplace: Path, stop_at: int
) -> None:
    whole = Fake()
    monkeypatch.setattr(trial_runs, "run", whole)
    want = search(make_studies(runs, 3, 0, Path("other"))[0])
    stopped = Fake(stop_at, KeyboardInterrupt())
    monkeypatch.setattr(trial_runs, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        search(planned(runs)[0])
    assert Path.cwd() == workplace
    rest = Fake()
    monkeypatch.setattr(trial_runs, "run", rest)
    (study, _) = planned(runs)
    assert study.done == stop_at - 1
    found = search(study)
    assert (found.settings, found.score, found.trials) == (want.settings, want.score, 3)
    searched = read_space("CLIA").parameters
    made = [{key: given[key] for key in searched} for _, given in stopped.calls[: stop_at - 1] + rest.calls]
    assert made == [{key: given[key] for key in searched} for _, given in whole.calls]


def test_a_study_that_was_stopped_at_its_start_can_be_begun(
    runs: list[Run], fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(studies, "_enqueue_defaults", interrupt)
        with pytest.raises(KeyboardInterrupt):
            search(planned(runs)[0])
    (study, _) = planned(runs)
    assert not study.file.exists()
    assert search(study).trials == 3


def test_a_trial_that_another_process_is_at_is_waited_for(
    runs: list[Run], fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number is exact, and a trial that has no score yet does not count."""
    (study, _) = planned(runs)
    study.file.parent.mkdir(parents=True)
    tuning._begin(study)
    other = optuna.load_study(study_name=study.plan.name, storage=study.plan.storage)
    trial = other.ask()
    trial.set_user_attr("owner", {"host": "elsewhere", "pid": 1, "since": 0.0})
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        other.tell(trial, 0.01)

    monkeypatch.setattr(tuning, "sleep", sleep)
    search(study)
    assert len(waited) == 1
    assert states(study) == 3 * ["COMPLETE"]
    assert len(fake.calls) == 2


def test_more_trials_go_on_and_fewer_are_refused(runs: list[Run], fake: Fake) -> None:
    search(planned(runs, 3)[0])
    fake.calls.clear()
    assert search(planned(runs, 5)[0]).trials == 5
    assert len(fake.calls) == 2
    with pytest.raises(UsageError, match=r"--tune: the study CLIA-made-\w+\.sqlite has 5 trials already.*--tune 5 or"):
        planned(runs, 4)


def test_what_changes_the_scores_makes_another_study(
    runs: list[Run], settings: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(given: dict[str, Any], seeds: Sequence[int] = (1,), seed: int = 0) -> list[str]:
        planned_studies = planned(make_plan(["CLIA"], ["made"], seeds, settings=given), seed=seed)
        return [study.file.name for study in planned_studies]

    clia = runs[0].config
    first = names(settings)
    assert names(settings, [5, 6]) == first
    assert names({**settings, "show_progress": True, "save_dataset": True}) == first
    others = [
        names({**settings, "epochs": 3}),
        names({**settings, "dropout_prob": clia["dropout_prob"]}),  # its default, and not searched
        names({**settings, "dropout_prob": 0.25}),
        names(settings, seed=9),
    ]
    with monkeypatch.context() as context:
        smaller = Space("here", {key: p for key, p in read_space("CLIA").parameters.items() if key != "dropout_prob"})
        context.setattr(plans, "read_space", lambda model, file: smaller)
        others.append(names(settings))
    file = Path(settings["data_path"]) / "made/made.inter"
    file.write_text(file.read_text() + "u0\ti1\t99999\n")
    others.append(names(settings))
    assert len({name for one in [first, *others] for name in one}) == 7


def test_what_is_set_is_not_searched(settings: dict[str, Any], fake: Fake) -> None:
    runs = make_plan(["CLIA", "GRU4Rec"], ["made"], [1], settings={**settings, "dropout_prob": 0.25})
    for study in planned(runs):
        assert "dropout_prob" not in search(study).settings
    assert {given["dropout_prob"] for _, given in fake.calls} == {0.25}
    fixed = {"learning_rate": 0.1, "embedding_size": 8, "train_batch_size": 64}
    runs = make_plan(["BPR"], ["made"], [1], settings={**settings, **fixed})
    assert planned(runs) == []  # it runs as it is set


def test_two_commands_that_begin_a_study_have_the_same_one(runs: list[Run], fake: Fake) -> None:
    studies = [planned(runs)[0] for _ in range(4)]
    studies[0].file.parent.mkdir(parents=True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tuning._begin, studies))
    assert [path.name for path in studies[0].file.parent.iterdir()] == [studies[0].file.name]
    assert search(studies[0]).trials == 3


def test_a_folder_may_have_any_name(runs: list[Run], fake: Fake, workplace: Path) -> None:
    study = make_studies(runs, 1, 0, Path("what? 5%20#/studies"))[0]
    assert search(study).trials == 1
    assert [path.name for path in workplace.iterdir() if path.name.startswith("what")] == ["what? 5%20#"]
    assert study.file.is_file()
    assert make_studies(runs, 1, 0, Path("what? 5%20#/studies"))[0].done == 1


def test_a_study_without_a_score_fails(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_runs, "run", Fake(error=RuntimeError("out of memory")))
    with pytest.raises(UsageError, match="none of 3 trials could be trained; the first: out of memory"):
        search(planned(runs)[0])
    monkeypatch.setattr(trial_runs, "run", Fake(2, RuntimeError("out of memory")))
    found = search(make_studies(runs, 3, 5, Path("out/studies"))[0])
    assert (found.trials, found.given_up, found.untrainable) == (3, 0, 1)


def test_a_damaged_study_is_refused(runs: list[Run], fake: Fake) -> None:
    (study, _) = planned(runs)
    study.file.parent.mkdir(parents=True)
    study.file.write_text("no database, and longer than the head of one: " + 200 * "x")
    with pytest.raises(UsageError, match="cannot be opened"):
        planned(runs)


def test_the_seed_is_none_of_those_compared() -> None:
    assert seed_of(None, [2020]) == 0
    assert seed_of(4, [2020]) == 4
    with pytest.raises(UsageError, match="the seed 0 is one of those that are compared"):
        seed_of(None, [0, 1])
    with pytest.raises(UsageError, match=r"--tune_seed must be in \[0, 4294967295\], not -1"):
        seed_of(-1, [1])
    with pytest.raises(UsageError, match="--tune must be at least 1, not 0"):
        make_studies([], 0, 0, Path("out"))
