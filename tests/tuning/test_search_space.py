"""A search space says what is drawn, and nothing wrong in it gets past reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from recbole_clia.errors import UsageError
from recbole_clia.tuning.space import Parameter, read_space

GOOD = """# Made.
learning_rate: [0.001, 0.1]         # (float, log) Learning rate.
dropout_prob: [0.1, 0.5]            # (float) Dropout.
contrastive_recent_k: [1, 3]        # (int) Last items.
hidden_size: [8, 64]                # (int, log) Size.
contrastive_task_weights: [[1, 1, 1, 1], [1, 0, 1, 0]]   # (choice) Weights.
user_query: [True, False]           # (choice) Query.
fixed_alpha: [~, 0.5]               # (choice) Weight.
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        (tmp_path / "space.yaml").write_text(text)
        return str(tmp_path / "space.yaml")

    return write


def draws(space: Any, number: int = 200) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    for _ in range(number):
        trial = study.ask()
        found.append((space.suggest(trial), trial.params))
        study.tell(trial, 0.0)
    assert all(space.restored(params) == values for values, params in found)
    return [values for values, _ in found]


def test_every_draw_is_admitted_and_every_end_is_reached(write: Any) -> None:
    space = read_space("CLIA", write(GOOD))
    found = draws(space)
    assert all(space.parameters[key].admits(value) for values in found for key, value in values.items())
    assert {values["contrastive_recent_k"] for values in found} == {1, 2, 3}
    assert {values["fixed_alpha"] for values in found} == {None, 0.5}
    assert {values["user_query"] for values in found} == {True, False}
    assert {tuple(values["contrastive_task_weights"]) for values in found} == {(1, 1, 1, 1), (1, 0, 1, 0)}
    assert {type(values["hidden_size"]) for values in found} == {int}
    below = sum(values["learning_rate"] < 0.01 for values in found)
    assert 70 < below < 130  # the middle of the logarithm; without it 18 of 200 were below


def test_one_and_true_are_different_choices() -> None:
    parameter = Parameter("key", "choice", (1, True, 1.0, "1"))
    assert [parameter.restored(parameter.stored(value)) for value in parameter.values] == [1, True, 1.0, "1"]
    assert [type(parameter.restored(parameter.stored(value))) for value in parameter.values] == [int, bool, float, str]


def test_the_digest_is_of_what_is_drawn(write: Any) -> None:
    digest = read_space("CLIA", write(GOOD)).digest
    lines = GOOD.splitlines()
    assert read_space("CLIA", write("\n".join([lines[2], lines[1], *lines[3:]]))).digest == digest
    assert read_space("CLIA", write(GOOD.replace("Dropout.", "Other words."))).digest == digest
    for old, new in (("0.5]      ", "0.6]      "), ("(float, log)", "(float)"), ("[True, False]", "[False, True]")):
        assert read_space("CLIA", write(GOOD.replace(old, new))).digest != digest


def test_what_is_fixed_is_not_drawn(write: Any) -> None:
    space = read_space("CLIA", write(GOOD))
    assert set(space.without(["hidden_size", "epochs"]).parameters) == set(space.parameters) - {"hidden_size"}
    with pytest.raises(UsageError, match="every property of this space is fixed"):
        space.without(space.parameters)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "learning_rte: [0.1, 0.2]  # (float) x",
            "the key 'learning_rte' is read by nothing; did you mean learning_rate",
        ),
        ("num_layers: [1, 2]  # (choice) x", "'num_layers' is not read by CLIA"),
        ("learning_rate: [0.1, 0.2]", "learning_rate: its kind is missing"),
        ("learning_rate: [0.1, 0.2]  # (flaot) x", r"\(flaot\) is none of the kinds; .*did you mean float"),
        ("learning_rate: 0.1  # (float) x", "learning_rate must be a list"),
        ("learning_rate: []  # (float) x", "learning_rate must be a list"),
        ("learning_rate: [0.1]  # (float) x", "must be two of float"),
        ("learning_rate: [0.1, 0.2, 0.3]  # (float) x", "must be two of float"),
        ("learning_rate: ['a', 'b']  # (float) x", "must be two of float"),
        ("learning_rate: [0.2, 0.1]  # (float) x", "is empty or endless"),
        ("learning_rate: [0.1, 0.1]  # (float) x", "is empty or endless"),
        ("learning_rate: [0.1, .inf]  # (float) x", "is empty or endless"),
        ("learning_rate: [0.1, .nan]  # (float) x", "is empty or endless"),
        ("contrastive_loss_weight: [0.0, 0.1]  # (float, log) x", "must begin above 0, not at 0.0"),
        ("dropout_prob: [0.1, 1.0]  # (float) x", r"dropout_prob must be in \[0, 1\), not 1.0"),
        ("dropout_prob: [-0.1, 0.5]  # (float) x", r"dropout_prob must be in \[0, 1\), not -0.1"),
        ("hidden_size: [1.5, 3]  # (int) x", "must be two of int"),
        ("hidden_size: [8.0, 64.0]  # (float) x", "hidden_size must be int, not 8.0"),
        ("hidden_size: [0, 64]  # (int) x", r"hidden_size must be in \[1, inf\), not 0"),
        ("hidden_size: [True, 64]  # (int) x", "must be two of int"),
        (
            "contrastive_loss: ['bpr', 'no']  # (choice) x",
            "contrastive_loss must be one of bpr, triplet, infonce, not 'no'",
        ),
        ("contrastive_loss: ['bpr', 'bpr']  # (choice) x", "has a choice twice"),
        ("contrastive_loss: ['bpr']  # (choice) x", "leaves no choice"),
        ("contrastive_loss: [2020-01-01, 'bpr']  # (choice) x", "cannot be a choice"),
        ("seed: [1, 2]  # (choice) x", "seed decides what is measured"),
        ("topk: [[5], [10]]  # (choice) x", "topk decides what is measured"),
        ("exact_time: [True, False]  # (choice) x", "exact_time decides what is measured"),
        ("nproc: [1, 2]  # (choice) x", "nproc decides what is measured"),
        ("", "it is empty"),
        ("# nothing", "it is empty"),
        (
            "learning_rate: [0.1, 0.2]  # (float) x\nlearning_rate: [0.3, 0.4]  # (float) x",
            "line 2: learning_rate stands twice",
        ),
        ("- learning_rate", "must hold 'key: "),
        ("learning_rate", "must hold 'key: "),
        ("learning_rate: [0.1, 0.2", "line 1: "),
        ("learning_rate: !!python/object:os.system [1]", "could not determine a constructor"),
    ],
)
def test_a_wrong_line_is_told_in_one_sentence(write: Any, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as told:
        read_space("CLIA", write(text))
    assert str(told.value).startswith("search space ")
    assert "space.yaml" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_or_model_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"search space no\.yaml: No such file"):
        read_space("CLIA", "no.yaml")
    with pytest.raises(UsageError, match="model Pop: there is no search space for it; give one with --space"):
        read_space("Pop")
    with pytest.raises(UsageError, match="model 'CLAI' is unknown; did you mean CLIA"):
        read_space("CLAI")
