"""Filters leave the interactions, users and items that RecBole's leave."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.data.dataset.dataset import Dataset
from test_loading import assert_same_columns, assert_same_facts, loaded, write_files

from recbole_clia.data.filtering import filter_by_number, within
from recbole_clia.data.loading import ColumnDataset
from recbole_clia.errors import UsageError

INTERVALS = ["[2,inf)", "(2,inf)", "[0,8]", "[2,8)", "[5,9];[1,3]", "[1,3];(4,10]", "(0,4)", "[3,12]", None]
COLUMNS: list[dict[str, Any]] = [
    {},
    {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"], "user": "*"}},
    {"unload_col": {"inter": ["rating", "kind"], "item": ["vector", "price"]}},
]
VALUES: list[dict[str, Any] | None] = [
    None,
    {"timestamp": "[30,inf)"},
    {"timestamp": "[0,90);(150,240]"},
    {"item_id": [f"i{number}" for number in range(9)]},
    {"user_id": ["u1", "u2", "u5", "nobody"], "timestamp": "(3,250)"},
]
OF_ALL_COLUMNS: list[dict[str, Any]] = [{"kind": ["k1", "k2"]}, {"rating": "[-1,1);(1.2,3]"}, {"price": "[0,inf)"}]


def parsed(interval: str | None) -> Any:
    return ColumnDataset._parse_intervals_str(None, interval)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 80), *[st.sampled_from(INTERVALS)] * 2, st.booleans(), st.booleans())
def test_numbers_are_filtered_as_by_a_loop(
    seed: int, rows: int, of_users: str | None, of_items: str | None, users_known: bool, items_known: bool
) -> None:
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 7, rows).astype(np.int8), rng.integers(0, 9, rows).astype(np.int8)
    intervals = [parsed(of_users), parsed(of_items)]
    known = [rng.random(7) < 0.6 if users_known else None, rng.random(9) < 0.6 if items_known else None]
    left = list(range(rows))
    gone: tuple[set[int], set[int]] = (set(), set())
    while True:
        out: list[set[int]] = []
        for codes, interval, in_file in zip((user, item), intervals, known, strict=True):
            number = Counter(codes[left].tolist())
            out.append(
                {
                    code
                    for code, n in number.items()
                    if interval is not None
                    and not (
                        any(
                            (low <= n if a == "[" else low < n) and (n <= high if b == "]" else n < high)
                            for a, low, high, b in interval
                        )
                        and (in_file is None or not in_file[code] or n >= interval[0][1])
                    )
                }
            )
        if not any(out):
            break
        gone = (gone[0] | out[0], gone[1] | out[1])
        left = [row for row in left if user[row] not in out[0] and item[row] not in out[1]]
    kept, users, items = filter_by_number(user, item, *intervals, known=known)
    assert np.flatnonzero(kept).tolist() == left
    assert (set(users.tolist()), set(items.tolist())) == gone


def test_open_and_closed_ends_differ() -> None:
    numbers = np.arange(6)
    assert numbers[within(numbers, parsed("[2,4]"))].tolist() == [2, 3, 4]
    assert numbers[within(numbers, parsed("(2,4)"))].tolist() == [3]
    assert numbers[within(numbers, parsed("[0,1);(4,inf)"))].tolist() == [0, 5]
    assert numbers[within(numbers, [])].tolist() == numbers.tolist()


@settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 130),
    missing=st.sampled_from(["", "user", "item"]),
    extra=st.sampled_from([(), ("user",), ("item",), ("user", "item")]),
    columns=st.sampled_from(COLUMNS),
    values=st.sampled_from([*VALUES, *OF_ALL_COLUMNS]),
    chosen=st.fixed_dictionaries(
        {
            "user_inter_num_interval": st.sampled_from(INTERVALS),
            "item_inter_num_interval": st.sampled_from(INTERVALS),
            "filter_inter_by_user_or_item": st.booleans(),
            "rm_dup_inter": st.sampled_from([None, "first", "last"]),
        }
    ),
)
def test_what_is_left_equals_what_recbole_leaves(
    workplace: Path,
    seed: int,
    rows: int,
    missing: str,
    extra: tuple[str, ...],
    columns: dict[str, Any],
    values: dict[str, Any] | None,
    chosen: dict[str, Any],
) -> None:
    made = write_files(workplace, seed, rows, ties=False, missing=missing, sequences=(2, 2), extra=extra)
    if values in OF_ALL_COLUMNS and (columns or (values == {"price": "[0,inf)"} and "item" not in extra)):
        values = None  # a field that is not loaded
    config = {**made, **columns, **chosen, "val_interval": values}
    try:
        theirs = loaded(Dataset, config)
    except ValueError:  # "Some feat is empty"
        with pytest.raises(ValueError, match=r"Some feat is empty|no interaction passes the filters"):
            loaded(ColumnDataset, config)
        return
    ours = loaded(ColumnDataset, config)
    assert_same_facts(ours, theirs)
    assert_same_columns(ours.inter_feat.interaction, theirs.inter_feat.interaction)


@pytest.mark.parametrize("keep", ["first", "last"])
def test_of_a_user_and_an_item_that_meet_again_the_first_or_last_time_stays(workplace: Path, keep: str) -> None:
    made = {**write_files(workplace, 0, extra=()), "exact_time": True, "rm_dup_inter": keep}
    header = "user_id:token\titem_id:token\ttimestamp:float\tnote:float"
    rows = ["u\ti\t9\t0", "v\ti\t5\t1", "u\ti\t3\t2", "v\ti\t5\t3", "u\ti\t3\t4", "u\tj\t4\t5", "v\ti\t5\t6"]
    (workplace / "dataset/made/made.inter").write_text("\n".join([header, *rows]) + "\n")
    notes = loaded(ColumnDataset, made).inter_feat["note"].tolist()
    assert sorted(notes) == ([1, 2, 5] if keep == "first" else [0, 5, 6])  # where times tie, by the file's order


def test_a_log_without_any_user_leaves_nothing(workplace: Path) -> None:
    made = {**write_files(workplace, 0), "user_inter_num_interval": "[2,inf)", "item_inter_num_interval": "[2,inf)"}
    (workplace / "dataset/made/made.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n\ti1\t5\n")
    with pytest.raises(ValueError, match=r"is empty|no interaction"):
        loaded(ColumnDataset, made)


def test_filters_that_leave_nothing_are_named(workplace: Path) -> None:
    made = write_files(workplace, 0)
    with pytest.raises(
        UsageError, match="no interaction passes the filters; see val_interval, user_inter_num_interval"
    ):
        loaded(ColumnDataset, {**made, "user_inter_num_interval": "[1000,inf)"})
