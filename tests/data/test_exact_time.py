"""The order of a log is that of the times as they stand in the file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prepare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_clia.data.dataset import LogDataset
from recbole_clia.data.loading import ColumnDataset, GeneralDataset
from recbole_clia.errors import UsageError
from recbole_clia.settings.config import PluginConfig

NANOSECONDS = 1_700_000_000_000_000_000
FUNCTION_SCOPED = [HealthCheck.function_scoped_fixture]


def write(workplace: Path, rows: Iterable[tuple[str, str, str]], kind: str = "float") -> dict[str, Any]:
    """A file of (user, item, time) and a column that numbers the rows; returns the settings that load it all."""
    folder = workplace / "dataset" / "made"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"user_id:token\titem_id:token\trow:float\ttimestamp:{kind}"]
    lines += [f"{user}\t{item}\t{row}\t{time}" for row, (user, item, time) in enumerate(rows)]
    (folder / "made.inter").write_text("\n".join(lines) + "\n")
    return {
        "data_path": str(folder.parent),
        "load_col": None,
        "data_cache": None,
        "state": "CRITICAL",
        "use_gpu": False,
        "MAX_ITEM_LIST_LENGTH": 5,
    }


def log_of(made: dict[str, Any], model: str = "GRU4Rec") -> LogDataset:
    return LogDataset(PluginConfig(model, "made", config_dict=made))


def sequences(dataset: Any) -> dict[str, list[int]]:
    """Of each user, the rows of the file in the order of the log."""
    users = dataset.id2token("user_id", dataset.log.column("user_id").numpy())
    found = defaultdict(list)
    for user, row in zip(users.tolist(), dataset.log.columns["row"].tolist(), strict=True):
        found[user].append(int(row))
    return found


def true_sequences(rows: list[tuple[str, str, str]], value: Any) -> dict[str, list[int]]:
    found = defaultdict(list)
    for number in sorted(range(len(rows)), key=lambda number: value(rows[number][2])):  # Python's sort is stable
        found[rows[number][0]].append(number)
    return found


@st.composite
def files(draw: Any) -> tuple[list[tuple[str, str, str]], bool]:
    """Rows in random order with times of one resolution, and whether the times are whole numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offset = draw(st.sampled_from([0, 1_000, 1_400_000_000, 1_600_000_000_000, NANOSECONDS]))
    steps = [1, 7, 60, 86_400] if offset == NANOSECONDS else [0.001, 0.01, 0.25, 1, 60, 86_400]
    step = draw(st.sampled_from(steps))
    count = draw(st.integers(12, 60))
    times = rng.integers(0, draw(st.sampled_from([6, 50])), count)  # with and without many ties
    whole = step >= 1
    texts = [str(offset + int(step) * int(time)) if whole else f"{offset + step * int(time):.3f}" for time in times]
    if whole and offset != NANOSECONDS and draw(st.booleans()):
        texts = [f"{text}.0" for text in texts]
    users = rng.integers(0, draw(st.sampled_from([2, 5])), count)
    users[:2] = 0, 1
    items = rng.integers(0, 7, count)
    items[:2] = 0, 1
    rows = [(f"u{user}", f"i{item}", text) for user, item, text in zip(users, items, texts, strict=True)]
    return rows, whole


@settings(max_examples=60, deadline=None, suppress_health_check=FUNCTION_SCOPED)
@given(files(), st.booleans())
def test_sequences_are_sorted_by_the_times_of_the_file(
    workplace: Path, made: tuple[list[tuple[str, str, str]], bool], normalized: bool
) -> None:
    rows, whole = made
    value = (lambda text: int(text.removesuffix(".0"))) if whole else float
    dataset = log_of({**write(workplace, rows), "normalize_all": normalized})
    want = true_sequences(rows, value)
    if normalized:  # the column of row numbers too
        dataset.log.columns["row"] *= len(rows) - 1
        dataset.log.columns["row"] += 0.5
    assert sequences(dataset) == want
    times = dataset.log.columns["timestamp"]
    assert times.dtype == torch.float64
    users = dataset.field2id_token["user_id"].tolist()[1:]
    kept = [value(rows[row][2]) for user in users for row in want[user]]
    if whole:
        assert [int(time) + dataset.time_origin for time in times.tolist()] == kept
    else:
        assert times.tolist() == kept


@settings(max_examples=30, deadline=None, suppress_health_check=FUNCTION_SCOPED)
@given(files())
def test_the_last_two_interactions_are_held_out(workplace: Path, made: tuple[list[tuple[str, str, str]], bool]) -> None:
    rows, whole = made
    dataset = log_of(write(workplace, rows))
    _, valid, test = dataset.build()
    for place, part in ((-1, test), (-2, valid)):
        users = part.id2token("user_id", part.inter_feat["user_id"].numpy())
        held_out = dict(zip(users.tolist(), part.inter_feat["row"].int().tolist(), strict=True))
        histories = part.inter_feat["item_id_list"][:]
        lengths = part.inter_feat["item_length"].tolist()
        for user, true in true_sequences(rows, int if whole and "." not in rows[0][2] else float).items():
            if len(true) < 4:
                continue
            assert held_out[user] == true[place]
            row = users.tolist().index(user)
            items = part.id2token("item_id", histories[row, : lengths[row]].numpy()).tolist()
            assert items == [rows[number][1] for number in true[:place]][-5:]


@pytest.mark.parametrize("first", [1_600_000_000_000, NANOSECONDS, 2**53 - 3, 0])
def test_times_that_float32_takes_for_one_are_kept_apart(workplace: Path, first: int) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"u{n % 3}", f"i{n % 11}", str(first + int(t))) for n, t in enumerate(rng.permutation(60))]
    assert len({np.float32(int(time)) for *_, time in rows}) < 60 or first == 0
    assert sequences(log_of(write(workplace, rows))) == true_sequences(rows, int)


@pytest.mark.parametrize(("model", "packed"), [("SASRec", False), ("GRU4Rec", False), ("CLIA", False), ("CLIA", True)])
def test_models_are_given_exact_times(workplace: Path, model: str, packed: bool) -> None:
    rows = [(f"u{n % 4}", f"i{n % 13}", str(1_600_000_000_000 + 37 * n % 40)) for n in range(40)]
    made = {**write(workplace, rows), "train_batch_size": 64}
    ours = prepare(made | ({"packed": packed} if model == "CLIA" else {}), model)
    assert type(ours.dataset) is LogDataset
    batch = next(iter(ours.train))
    assert batch["timestamp_list"].dtype == torch.float64
    given = {int(time) for time in batch["timestamp_list"].flatten().tolist()} - {0}
    assert given <= {int(time) for *_, time in rows}
    assert len(given) > 20
    interaction = next(iter(ours.test))[0]
    held_out = {rows[row[-1]][2] for row in true_sequences(rows, int).values()}
    assert {str(int(time)) for time in interaction["timestamp"].tolist()} == held_out


@settings(max_examples=20, deadline=None, suppress_health_check=FUNCTION_SCOPED)
@given(files())
def test_a_general_model_holds_out_the_last_two_as_well(
    workplace: Path, made: tuple[list[tuple[str, str, str]], bool]
) -> None:
    rows, whole = made
    split = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"}
    dataset = ColumnDataset(PluginConfig("BPR", "made", config_dict={**write(workplace, rows), "eval_args": split}))
    parts = dataset.build()
    assert all(part.inter_feat["timestamp"].dtype == torch.float64 for part in parts)
    found = defaultdict(list)
    for part in parts:
        users = part.id2token("user_id", part.inter_feat["user_id"].numpy())
        for user, row in zip(users.tolist(), part.inter_feat["row"].int().tolist(), strict=True):
            found[user].append(row)
    assert found == true_sequences(rows, int if whole and "." not in rows[0][2] else float)


def test_a_general_model_of_a_run_gets_the_dataset_of_exact_times(workplace: Path) -> None:
    rows = [(f"u{n % 4}", f"i{n % 13}", str(1_600_000_000_000 + 37 * n % 40)) for n in range(40)]
    split = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"}
    ours = prepare({**write(workplace, rows), "eval_args": split}, "BPR")
    assert type(ours.dataset) is GeneralDataset
    last = {user: rows[true[-1]][1] for user, true in true_sequences(rows, int).items()}
    test = ours.test._dataset
    users, items = (test.id2token(field, test.inter_feat[field].numpy()).tolist() for field in ("user_id", "item_id"))
    assert dict(zip(users, items, strict=True)) == last


STYLES = {
    "%Y-%m-%d": "s",
    "%Y-%m-%d %H:%M:%S": "s",
    "%Y-%m-%dT%H:%M:%SZ": "s",
    "%Y-%m-%dT%H:%M:%S+02:00": "s",
    "%Y-%m-%d %H:%M:%S.%f": "us",
    "%Y%m%d": "d",
}


@pytest.mark.parametrize("kind", ["float", "token"])
@pytest.mark.parametrize("style", STYLES)
def test_dates_order_a_log(workplace: Path, style: str, kind: str) -> None:
    rng = np.random.default_rng(1)
    first = datetime(2019, 12, 30, 22, 58)
    moments = [first + timedelta(seconds=int(s), milliseconds=int(s) % 7 + 1) for s in rng.integers(0, 200_000, 40)]
    texts = [moment.strftime(style) for moment in moments]
    rows = [(f"u{n % 3}", f"i{n % 11}", text) for n, text in enumerate(texts)]
    dataset = log_of(write(workplace, rows, kind))
    assert dataset.time_unit == STYLES[style]
    assert sequences(dataset) == true_sequences(rows, str)  # such dates sort as text
    epoch = datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=2 if "+02" in style else 0)))
    unit = {"s": timedelta(seconds=1), "us": timedelta(microseconds=1), "d": timedelta(days=1)}[STYLES[style]]
    text = next(text for user, _, text in rows if user == "u0")
    zone = epoch.tzinfo
    read = datetime.strptime(text.replace("+02:00", ""), style.replace("+02:00", "")).replace(tzinfo=zone)
    utc = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert (read - utc) // unit in dataset.log.columns["timestamp"].tolist()


@pytest.mark.parametrize(
    ("first", "step", "unit"),
    [
        (17_000, 1, "d"),
        (1_500_000_000, 1, "s"),
        (1_500_000_000_000, 1, "ms"),
        (1_500_000_000_000_000, 1, "us"),
        (NANOSECONDS, 1, "ns"),
        (0, 1, "step"),
        (0.5, 1, "step"),
        (1_500_000_000.25, 0.25, "s"),
    ],
)
def test_the_unit_is_found_or_named(workplace: Path, first: float, step: float, unit: str) -> None:
    rows = [(f"u{n % 3}", f"i{n % 11}", str(first + step * (n * 7 % 30))) for n in range(30)]
    made = write(workplace, rows)
    assert log_of(made).time_unit == unit
    named = "h" if unit == "d" else "step"
    assert log_of({**made, "time_unit": named}).time_unit == named


def test_a_unit_that_puts_times_beyond_2100_is_refused(workplace: Path) -> None:
    made = write(workplace, [(f"u{n % 3}", f"i{n % 11}", str(1_500_000_000_000 + n)) for n in range(30)])
    with pytest.raises(UsageError, match=r"made\.inter, line 2: the time 1500000000000 is after the year 2100 in the"):
        log_of({**made, "time_unit": "s"})


def test_recboles_order_is_there_for_the_asking(workplace: Path) -> None:
    """Without exact times, those that are one as float32 keep the order of the file."""
    rows = [(f"u{n % 2}", f"i{n}", str(1_600_000_000_000 + 20 - n)) for n in range(20)]
    dataset = log_of({**write(workplace, rows), "exact_time": False})
    assert dataset.log.columns["timestamp"].dtype == torch.float32
    assert sequences(dataset) == {"u0": list(range(0, 20, 2)), "u1": list(range(1, 20, 2))}
    assert sequences(log_of(write(workplace, rows)))["u0"] == list(range(18, -1, -2))


@pytest.mark.parametrize("model", ["CLIA", "CLSR"])
@pytest.mark.parametrize("exact", [True, False])
def test_spans_stay_spans_where_all_numbers_are_normalised(made: Any, workplace: Path, model: str, exact: bool) -> None:
    """RecBole's settings of ml-100k normalise every number, and a share of the whole log is no time."""
    rows = [("u1", f"i{n}", str(86_400 * n)) for n in range(9)] + [("u2", f"i{n}", str(86_400 * n)) for n in range(9)]
    settings = {**write(workplace, rows), "normalize_all": True, "exact_time": exact, "packed": False}
    if model == "CLSR":
        settings["time_unit_seconds"] = 1.0
    for _ in range(2):  # from the file, and from the cache
        prepared = prepare({**settings, "data_cache": "cache"}, model)
        unit = prepared.model.seconds if model == "CLIA" else 1 / prepared.model.time_unit
        times = next(iter(prepared.train))["timestamp_list"].double() * unit
        assert times.diff(dim=1).max().item() == pytest.approx(86_400.0, rel=1e-5)
