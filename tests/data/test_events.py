"""The interactions that training knows of, with their times, and the times in packed batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Prepared, prepare, random_rows, write_log

from recbole_clia import run
from recbole_clia.data.dataset import TARGETS_SUFFIX, Events
from recbole_clia.errors import UsageError

SPLITS = {
    "leave one out": ({"LS": "valid_and_test"}, "user"),
    "test only": ({"LS": "test_only"}, "user"),
    "ratio": ({"RS": [0.8, 0.1, 0.1]}, "user"),
    "ratio of all": ({"RS": [0.6, 0.2, 0.2]}, None),
}


def with_split(made: dict[str, Any], name: str, **settings: Any) -> Prepared:
    split, group_by = SPLITS[name]
    return prepare({**made, **settings, "eval_args": {"split": split, "order": "TO", "group_by": group_by}})


def rows_of(part: Any) -> list[tuple[int, int, float]]:
    rows = part._dataset[np.arange(len(part._dataset))]
    return list(zip(rows["user_id"].tolist(), rows["item_id"].tolist(), rows["timestamp"].tolist(), strict=True))


def first_of_each_user(prepared: Prepared) -> dict[int, tuple[int, float]]:
    """From the rows of the file."""
    users, items = (prepared.dataset.field2token_id[field] for field in ("user_id", "item_id"))
    first: dict[int, tuple[int, float]] = {}
    for user, item, time in sorted(random_rows(7), key=lambda row: row[2], reverse=True):
        first[int(users[f"u{user}"])] = int(items[f"i{item}"]), time
    return first


def counted(events: Events) -> Counter[tuple[int, int, float]]:
    user, time, item = events
    assert time.dtype == np.float64
    assert user.shape == time.shape == item.shape
    assert np.array_equal(np.lexsort((time, user)), np.arange(len(user)))
    return Counter(zip(user.tolist(), item.tolist(), time.tolist(), strict=True))


def expected(prepared: Prepared) -> Counter[tuple[int, int, float]]:
    train, first = rows_of(prepared.train), first_of_each_user(prepared)
    return Counter(train) + Counter((user, *first[user]) for user in {u for u, _, _ in train})


@pytest.mark.parametrize("split", SPLITS)
def test_each_target_and_each_users_first_interaction_once(made: dict[str, Any], split: str) -> None:
    prepared = with_split(made, split)
    assert counted(prepared.train._dataset.events()) == expected(prepared)


@pytest.mark.parametrize("split", SPLITS)
def test_held_out_interactions_are_none_of_them(made: dict[str, Any], split: str) -> None:
    prepared = with_split(made, split)
    known = counted(prepared.train._dataset.events())
    every = {name: Counter(rows_of(getattr(prepared, name))) for name in ("valid", "test")}
    held_out = every["valid"] + every["test"]
    assert held_out
    users, items = (prepared.dataset.field2token_id[field] for field in ("user_id", "item_id"))
    whole = Counter((int(users[f"u{user}"]), int(items[f"i{item}"]), time) for user, item, time in random_rows(7))
    assert not (known + held_out) - whole


@pytest.mark.parametrize("longest", [1, 2, 3, 50])
def test_the_length_of_the_window_changes_none(made: dict[str, Any], longest: int) -> None:
    prepared = prepare({**made, "MAX_ITEM_LIST_LENGTH": longest})
    assert counted(prepared.train._dataset.events()) == expected(prepared)


@pytest.mark.parametrize("settings", [{"packed": False}, {"packed": False, "lazy_augmentation": False}], ids=str)
def test_rows_and_padded_rows_have_the_same(made: dict[str, Any], settings: dict[str, Any]) -> None:
    prepared = prepare({**made, **settings})
    assert counted(prepared.train._dataset.events()) == expected(prepared)


def test_times_are_exact(workplace: Any, made: dict[str, Any]) -> None:
    """Seconds since 1970 that a float32 cannot hold."""
    rows = [(u, (3 * u + t) % 9, 1_600_000_000.0 + 7 * u + t) for u in range(6) for t in range(6)]
    made["data_path"] = write_log(workplace / "exact", rows)
    time = prepare(made).train._dataset.events().time
    assert sorted(time.tolist()) == sorted(1_600_000_000.0 + 7 * u + t for u in range(6) for t in range(4))


def test_the_popularity_is_that_of_the_interaction_matrix(made: dict[str, Any]) -> None:
    dataset = prepare(made).train._dataset
    item = dataset.events().item
    of_matrix = np.asarray(dataset.inter_matrix().sum(0)).ravel()
    assert np.bincount(item, minlength=dataset.item_num).tolist() == of_matrix.tolist()


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_each_packed_target_has_its_time(made: dict[str, Any], stride: int) -> None:
    prepared = prepare({**made, "packed_stride": stride})
    want = Counter(rows_of(prepared.train))
    found: Counter[tuple[int, int, float]] = Counter()
    for batch in prepared.train:
        target, time = (batch[f"{name}{TARGETS_SUFFIX}"] for name in ("item_id", "timestamp"))
        assert target.shape == time.shape == batch["timestamp_list"].shape
        assert time.dtype == batch["timestamp_list"].dtype
        assert (time[target == 0] == 0).all()
        where = target > 0
        assert (time >= batch["timestamp_list"])[where].all()
        user = batch["user_id"].unsqueeze(1).expand_as(target)
        found.update(zip(user[where].tolist(), target[where].tolist(), time[where].tolist(), strict=True))
        inner = where[:, :-1] & (batch["item_id_list"][:, 1:] > 0)
        assert torch.equal(time[:, :-1][inner], batch["timestamp_list"][:, 1:][inner])
    assert found == want


def write_benchmark(workplace: Path, times: bool, lists: bool) -> dict[str, Any]:
    """Rows of histories and targets in three files, as RecBole's benchmark files are."""
    folder = workplace / "dataset" / "rows"
    folder.mkdir(parents=True)
    rows: dict[int, list[tuple[int, float]]] = {}
    for user, item, time in sorted(random_rows(7, users=40, longest=9), key=lambda row: row[2]):
        rows.setdefault(user, []).append((item, time))
    names = ["user_id:token", "item_id_list:token_seq", "item_id:token"]
    names += ["timestamp:float"] * times + ["timestamp_list:float_seq"] * lists
    for part, ends in {"train": (1, -2), "valid": (-2, -1), "test": (-1, None)}.items():
        lines = ["\t".join(names)]
        for user, had in rows.items():
            for n in range(len(had))[slice(*ends)] if len(had) > 3 else ():
                line = [f"u{user}", " ".join(f"i{item}" for item, _ in had[:n]), f"i{had[n][0]}"]
                line += [str(had[n][1])] * times + [" ".join(str(time) for _, time in had[:n])] * lists
                lines.append("\t".join(line))
        (folder / f"rows.{part}.inter").write_text("\n".join(lines) + "\n")
    loaded = [name.split(":")[0] for name in names]
    return {
        "data_path": str(workplace / "dataset"),
        "load_col": {"inter": loaded},
        "benchmark_filename": ["train", "valid", "test"],
        "alias_of_item_id": ["item_id_list"],
        "packed": False,
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "epochs": 1,
    }


@pytest.mark.parametrize("times", [True, False])
def test_benchmark_files_without_times_of_the_histories(workplace: Path, times: bool) -> None:
    """What rests on times is refused by name, and without it the model runs."""
    settings = write_benchmark(workplace, times, lists=False)
    for part in ("trend", "neighbours"):
        with pytest.raises(UsageError, match=r"no times of the histories \(timestamp_list\).*set trend: False"):
            run("CLIA", "rows", config_dict={**settings, "trend": False, "neighbours": False, part: True})
    without = {**settings, "trend": False, "neighbours": False}
    assert run("CLIA", "rows", config_dict=without)["epochs"] == 1
    with pytest.raises(UsageError, match="CLSR needs the times of the histories, and 'rows' has none"):
        run("CLSR", "rows", config_dict={key: value for key, value in settings.items() if key != "packed"})


@pytest.mark.parametrize("model", ["CLIA", "CLSR"])
def test_benchmark_files_with_times_have_all(workplace: Path, model: str) -> None:
    settings = write_benchmark(workplace, True, lists=True)
    if model == "CLSR":
        del settings["packed"]
    assert run(model, "rows", config_dict=settings)["epochs"] == 1
