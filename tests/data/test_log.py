"""The log gives RecBole's rows, in whatever way they are asked for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.data.dataset.sequential_dataset import SequentialDataset
from test_loading import assert_same_columns, assert_same_facts, write_files

from recbole_clia.data.dataset import LogDataset
from recbole_clia.data.log import Rows
from recbole_clia.errors import UsageError
from recbole_clia.settings.config import PluginConfig

SPLITS: list[tuple[dict[str, Any], str | None]] = [
    ({"LS": "valid_and_test"}, "user"),
    ({"LS": "valid_only"}, "user"),
    ({"LS": "test_only"}, None),
    ({"RS": [0.8, 0.1, 0.1]}, "user"),
    ({"RS": [0.8, 0.1, 0.1]}, None),
    ({"RS": [6, 2]}, "user"),
    ({"TS": [0.7, 0.1, 0.2]}, "user"),
]
COLUMNS: list[dict[str, Any]] = [
    {},
    {"unused_col": {"inter": ["rating", "timestamp_list", "tags"]}},
    {"unused_col": {"inter": ["item_length", "item_id_list"], "item": ["price"]}},
    {"numerical_features": ["rating", "price"]},
    {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}},
    {"normalize_all": True, "unload_col": {"item": ["vector"]}},
    {"threshold": {"rating": 0}, "LIST_SUFFIX": "_seq", "ITEM_LIST_LENGTH_FIELD": "len"},
    {"alias_of_item_id": ["kind", "tags"], "seq_len": {"tags": 2}},
]
INDICES: list[Any] = [
    slice(None),
    slice(3, 9, 2),
    slice(-4, None),
    slice(5, 5),
    [4, 0, 4],
    [],
    range(2, 7),
    range(0),
    np.array([5, 1, -1]),
    np.arange(40) % 3 == 0,
    torch.tensor([7, 2, 2]),
    torch.arange(40) % 4 == 1,
    0,
    6,
    -1,
]


def parts(host: type, made: dict[str, Any], longest: int, split: tuple[dict[str, Any], str | None]) -> Any:
    """A dataset and what it is split into."""
    eval_args = {"split": split[0], "group_by": split[1], "order": "TO", "mode": "full"}
    config = PluginConfig(
        "SASRec", "made", config_dict={**made, "MAX_ITEM_LIST_LENGTH": longest, "eval_args": eval_args}
    )
    dataset = host(config)
    return dataset, dataset.build()


def rows_of(host: type, made: dict[str, Any], rows: int | None = None) -> Any:
    """A dataset, or the first rows of it, before it is split."""
    dataset = host(PluginConfig("SASRec", "made", config_dict=made))
    dataset._change_feat_format()
    if rows is not None:
        assert len(dataset) > rows
        dataset.inter_feat._reindex(np.arange(rows))
    return dataset


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(20, 140),
    split=st.sampled_from(SPLITS),
    longest=st.sampled_from([1, 2, 5, 12, 50]),
    columns=st.sampled_from(COLUMNS),
    ties=st.booleans(),
    missing=st.sampled_from(["", "user", "item"]),
    extra=st.sampled_from([(), ("item",), ("user", "item")]),
    lazy=st.booleans(),
)
def test_each_split_equals_recboles(
    workplace: Path,
    seed: int,
    rows: int,
    split: tuple[dict[str, Any], str | None],
    longest: int,
    columns: dict[str, Any],
    ties: bool,
    missing: str,
    extra: tuple[str, ...],
    lazy: bool,
) -> None:
    made = write_files(workplace, seed, rows, users=6, ties=ties, missing=missing, extra=extra)
    made.update(columns)
    if "item" not in extra and "unused_col" in columns:
        made["unused_col"] = {"inter": columns["unused_col"]["inter"]}
    if "item" not in extra and "numerical_features" in columns:
        made["numerical_features"] = ["rating"]
    theirs, their_parts = parts(SequentialDataset, made, longest, split)
    ours, our_parts = parts(LogDataset, {**made, "lazy_augmentation": lazy}, longest, split)
    assert_same_facts(ours, theirs)
    for got, want in zip(our_parts, their_parts, strict=True):
        assert len(got) == len(want)
        if len(want):
            assert_same_columns(got.inter_feat.interaction, want.inter_feat.interaction)
            index = np.arange(len(want))[::-1].copy()
            assert_same_columns(got[index].interaction, want[index].interaction)


def test_a_log_with_filters_equals_recboles(workplace: Path) -> None:
    made = write_files(workplace, 1, rows=300, items=40, ties=False, sequences=(2, 2))
    made |= {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[4,12]", "rm_dup_inter": "last"}
    theirs, their_parts = parts(SequentialDataset, made, 7, SPLITS[0])
    ours, our_parts = parts(LogDataset, made, 7, SPLITS[0])
    assert 0 < len(their_parts[2]) <= 8
    assert_same_facts(ours, theirs)
    for got, want in zip(our_parts, their_parts, strict=True):
        assert_same_columns(got.inter_feat.interaction, want.inter_feat.interaction)


@pytest.mark.parametrize("columns", [COLUMNS[0], COLUMNS[5], COLUMNS[7]], ids=str)
@pytest.mark.parametrize("split", SPLITS[::2], ids=str)
def test_a_cached_log_equals_one_that_is_not(
    workplace: Path, split: tuple[dict[str, Any], str | None], columns: dict[str, Any]
) -> None:
    made = {**write_files(workplace, 2, missing="item"), **columns, "lazy_augmentation": True}
    want, want_parts = parts(LogDataset, made, 6, split)
    for _ in ("written", "read"):
        got, got_parts = parts(LogDataset, {**made, "data_cache": "cache"}, 6, split)
        assert_same_facts(got, want)
        assert (got.time_unit, got.time_origin) == (want.time_unit, want.time_origin)
        for ours, theirs in zip(got_parts, want_parts, strict=True):
            assert_same_columns(ours.inter_feat.interaction, theirs.inter_feat.interaction)


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_rows_are_indexed_as_recboles(workplace: Path, index: Any) -> None:
    made = write_files(workplace, 5)
    ours, theirs = rows_of(LogDataset, made, 40), rows_of(SequentialDataset, made, 40)
    assert_same_columns(ours.inter_feat[index].interaction, theirs.inter_feat[index].interaction)
    for name in ("item_id_list", "rating_list", "tags_list", "timestamp", "user_id", "item_length"):
        got, want = ours.inter_feat[name][index], theirs.inter_feat[name][index]
        assert got.dtype == want.dtype
        assert torch.equal(got, want)
    assert ours.inter_feat.columns == theirs.inter_feat.columns
    assert len(ours.inter_feat["item_id_list"]) == 40


@pytest.mark.parametrize(
    ("by", "ascending"),
    [
        ("timestamp", True),
        ("item_id", True),
        (["rating", "user_id"], [True, True]),
        (["kind", "timestamp"], True),
        (["user_id", "timestamp"], [True]),
        ("tags", True),
    ],
)
def test_rows_are_sorted_and_shuffled_as_recboles(workplace: Path, by: Any, ascending: Any) -> None:
    made = write_files(workplace, 6)
    ours, theirs = rows_of(LogDataset, made), rows_of(SequentialDataset, made)
    for dataset in (ours, theirs):
        torch.manual_seed(3)
        dataset.shuffle()
    assert_same_columns(ours.inter_feat.interaction, theirs.inter_feat.interaction)
    assert theirs.inter_feat["user_id"].diff().lt(0).any()
    for dataset in (ours, theirs):
        dataset.sort(by=by, ascending=ascending)
    assert_same_columns(ours.inter_feat.interaction, theirs.inter_feat.interaction)


def test_all_rows_are_sorted_by_time_and_by_another_column_after_it(workplace: Path) -> None:
    made = write_files(workplace, 6)
    built = [host(PluginConfig("SASRec", "made", config_dict=made)) for host in (LogDataset, SequentialDataset)]
    for dataset in built:
        dataset._change_feat_format()
        dataset.sort(by="timestamp")
        dataset.sort(by="item_id")
    assert_same_columns(built[0].inter_feat.interaction, built[1].inter_feat.interaction)


def test_a_descending_sort_keeps_the_order_of_ties(workplace: Path) -> None:
    """RecBole's fails."""
    rows = rows_of(LogDataset, write_files(workplace, 6)).inter_feat
    order = np.lexsort((-rows["timestamp"].numpy(), -rows["kind"].numpy()))
    want = rows[order].interaction
    rows.sort(by=["kind", "timestamp"], ascending=[False])
    assert_same_columns(rows.interaction, want)


def test_a_copy_is_left_alone_by_what_happens_to_the_first(workplace: Path) -> None:
    rows = rows_of(LogDataset, write_files(workplace, 7)).inter_feat
    twin = copy.deepcopy(rows)
    before = {name: values.clone() for name, values in rows.interaction.items()}
    torch.manual_seed(0)
    rows.shuffle()
    rows.drop("rating")
    assert not torch.equal(rows["timestamp"], before["timestamp"])
    assert "rating" not in rows
    with pytest.raises(KeyError):
        rows["rating"]
    assert_same_columns(twin.interaction, before)


def test_rows_take_no_new_column(workplace: Path) -> None:
    """They would be lost without a word."""
    rows = rows_of(LogDataset, write_files(workplace, 7)).inter_feat
    assert isinstance(rows, Rows)
    with pytest.raises(TypeError, match="new"):
        rows["new"] = torch.zeros(40)
    with pytest.raises(TypeError, match="rating"):
        rows.update(rows[[0]])


def test_matrices_and_counts_equal_recboles(workplace: Path) -> None:
    made = write_files(workplace, 8)
    for got, want in zip(
        *(parts(host, made, 5, SPLITS[0])[1] for host in (LogDataset, SequentialDataset)), strict=True
    ):
        for value in (None, "rating"):
            difference = got.inter_matrix("csr", value) - want.inter_matrix("csr", value)
            assert abs(difference).max() < 1e-6
        assert got.item_counter == want.item_counter
        assert got.avg_actions_of_users == pytest.approx(want.avg_actions_of_users)
        assert got.avg_actions_of_items == pytest.approx(want.avg_actions_of_items)
        torch.manual_seed(0)
        got_history = got.history_item_matrix()
        torch.manual_seed(0)
        assert all(torch.equal(a, b) for a, b in zip(got_history, want.history_item_matrix(), strict=True))


def test_sequences_of_users_that_are_gone_need_no_room(workplace: Path) -> None:
    """RecBole fails here: it makes room for the longest sequence in the file."""
    made = {**write_files(workplace, 0, extra=()), "val_interval": {"kind": ["a"]}}
    header = "user_id:token\titem_id:token\tkind:token\ttimestamp:float\ttags:token_seq"
    rows = ["u\ti\ta\t1\tx y", "u\tj\ta\t2\tx", "v\ti\ta\t1\ty", "v\tj\ta\t2\tx", "v\tj\tb\t3\tx y z"]
    (workplace / "dataset/made/made.inter").write_text("\n".join([header, *rows]) + "\n")
    dataset = LogDataset(PluginConfig("SASRec", "made", config_dict={**made, "MAX_ITEM_LIST_LENGTH": 2}))
    dataset._change_feat_format()
    assert dataset.inter_feat.interaction["tags_list"].tolist() == [[[1, 2], [0, 0]], [[2, 0], [0, 0]]]


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_users_of_one_row_leave_nothing_to_split(workplace: Path, split: tuple[dict[str, Any], str | None]) -> None:
    made = {**write_files(workplace, 0, extra=()), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (workplace / "dataset/made/made.inter").write_text("\n".join([header, "u\ti\t1", "v\tj\t2"]) + "\n")
    _, built = parts(LogDataset, made, 5, split)
    assert [len(part) for part in built] == [0] * len(built)
    assert len(built) >= 2


def test_a_time_that_is_not_loaded_is_asked_for(workplace: Path) -> None:
    made = write_files(workplace, 0)
    with pytest.raises(UsageError, match=r"'timestamp' \(TIME_FIELD\)"):
        parts(LogDataset, {**made, "unload_col": {"inter": ["timestamp"]}}, 5, SPLITS[0])
