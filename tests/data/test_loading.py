"""Loading gives RecBole's tokens, ids and columns, whatever the settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.dataset.dataset import Dataset

from recbole_clia.data.loading import ColumnDataset
from recbole_clia.errors import UsageError
from recbole_clia.settings.config import PluginConfig

# Files as they are loaded for RecBole alone, by either class.
RECBOLES = {
    "load_col": None,
    "exact_time": False,
    "lazy_augmentation": False,
    "data_cache": None,
    "duplicate_rows": "keep",
    "state": "CRITICAL",
}


def write_files(
    workplace: Path,
    seed: int,
    rows: int = 90,
    users: int = 8,
    items: int = 14,
    ties: bool = True,
    missing: str = "",
    sequences: tuple[int, int] = (0, 3),
    extra: tuple[str, ...] = ("user", "item"),
) -> dict[str, Any]:
    """Made files with a column of every type; returns the settings that load them.

    Args:
        ties: whether times repeat.
        missing: ``user`` or ``item`` for rows without one: where both are missing RecBole removes other rows.
        sequences: the least and the greatest length of the interactions' sequences.
        extra: the files beside ``.inter``; each lacks some tokens and has some that do not interact.
    """
    rng = np.random.default_rng(seed)
    folder = workplace / "dataset" / "made"
    folder.mkdir(parents=True, exist_ok=True)

    def token(prefix: str, number: int, may_be_missing: bool = False) -> str:
        return ("", "NA")[number % 2] if may_be_missing and rng.random() < 0.05 else f"{prefix}{number}"

    def number() -> str:
        return ("", "nan")[int(rng.integers(2))] if rng.random() < 0.1 else str(round(float(rng.normal()), 2))

    def several(prefix: str, least: int, most: int) -> str:
        return " ".join(f"{prefix}{k}" for k in rng.integers(0, 5, int(rng.integers(least, most + 1))))

    def some(number: int) -> list[int]:
        return [0, *(int(k) for k in rng.permutation(number + 3)[: number + 1] if k)]

    time = rng.integers(0, 12, rows) if ties else rng.permutation(rows) * 3
    lines = ["user_id:token\titem_id:token\trating:float\tkind:token\ttimestamp:float\ttags:token_seq\tnums:float_seq"]
    for row in range(rows):
        user = token("u", int(rng.integers(users)) if row else 0, missing == "user" and row > 0)
        item = token("i", int(rng.integers(items)) if row else 0, missing == "item" and row > 0)
        values = [user, item, number(), token("k", int(rng.integers(4)), True), str(time[row])]
        # RecBole cannot make histories if the longest sequence is in a row that is left out.
        length = (sequences[row == 0], sequences[1])
        lines.append("\t".join([*values, several("t", *length), several("0.", *length)]))
    (folder / "made.inter").write_text("\n".join(lines) + "\n")
    lines = ["item_id:token\tclass:token\tprice:float\tgenre:token_seq\tvector:float_seq"]
    for item in some(items):
        values = [token("i", item), token("c", item % 3, True), number(), several("g", 0, 2), several("0.", 0, 2)]
        lines.append("\t".join(values))
    (folder / "made.item").write_text("\n".join(lines) + "\n")
    lines = ["user_id:token\tage:token\theight:float"]
    lines += ["\t".join([token("u", u), token("a", u % 3), number()]) for u in some(users)]
    (folder / "made.user").write_text("\n".join(lines) + "\n")
    for suffix in {"user", "item"} - set(extra):
        (folder / f"made.{suffix}").unlink()
    return {"data_path": str(folder.parent), **RECBOLES}


def assert_same_columns(got: Mapping[str, torch.Tensor], want: Mapping[str, torch.Tensor]) -> None:
    assert list(got) == list(want)
    for name, values in want.items():
        assert got[name].dtype == values.dtype, name
        assert got[name].shape == values.shape, name
        assert np.array_equal(got[name].numpy(), values.numpy(), equal_nan=values.is_floating_point()), name


def assert_same_facts(ours: Any, theirs: Any) -> None:
    """Tokens, their ids, the features of users and items, and what is known of each field."""
    assert list(ours.field2id_token) == list(theirs.field2id_token)
    for field, words in theirs.field2id_token.items():
        assert ours.field2id_token[field].dtype == words.dtype
        assert ours.field2id_token[field].tolist() == words.tolist(), field
        assert dict(ours.field2token_id[field]) == theirs.field2token_id[field]
    for facts in ("field2type", "field2source", "field2seqlen", "field2bucketnum"):
        assert getattr(ours, facts) == getattr(theirs, facts), facts
    for name in ("user_feat", "item_feat"):
        feat = getattr(theirs, name)
        assert (getattr(ours, name) is None) == (feat is None)
        if feat is not None:
            assert_same_columns(getattr(ours, name).interaction, feat.interaction)


def loaded(host: type, settings: dict[str, Any]) -> Any:
    """A dataset for a general model, its columns as tensors, before anything is split."""
    dataset = host(PluginConfig("BPR", "made", config_dict=settings))
    dataset._change_feat_format()
    return dataset


def assert_loads_alike(settings: dict[str, Any]) -> None:
    ours, theirs = loaded(ColumnDataset, settings), loaded(Dataset, settings)
    assert_same_facts(ours, theirs)
    assert_same_columns(ours.inter_feat.interaction, theirs.inter_feat.interaction)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"load_col": {"inter": ["user_id", "item_id"]}},
        {"load_col": {"inter": ["item_id", "timestamp", "user_id", "nums"], "item": "*"}},
        {"load_col": {"inter": ["user_id", "item_id", "kind"], "user": ["user_id"], "item": "*"}},
        {"unload_col": {"inter": ["tags", "rating"], "item": ["genre"], "user": ["age"]}},
        {"seq_len": {"tags": 2, "nums": 5, "vector": 1}},
        {"alias_of_item_id": ["kind", "tags"]},
        {"alias_of_user_id": ["age"]},
        {"normalize_all": True},
        {"normalize_field": ["rating", "price"]},
        {"threshold": {"rating": 0.5}, "LABEL_FIELD": "label"},
        {"numerical_features": ["rating", "nums", "price"]},
        {"numerical_features": ["rating"], "discretization": {"rating": {"method": "ED", "bucket": 4}}},
        {"seq_separator": "t", "load_col": {"inter": ["user_id", "item_id", "tags"]}},
        {"USER_ID_FIELD": "item_id", "ITEM_ID_FIELD": "user_id", "load_col": {"inter": ["item_id", "user_id"]}},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(3))
def test_columns_and_ids_equal_recboles(workplace: Path, seed: int, settings: dict[str, Any]) -> None:
    assert_loads_alike({**write_files(workplace, seed, missing=("", "user", "item")[seed]), **settings})


@pytest.mark.parametrize("extra", [(), ("user",), ("item",)])
def test_files_of_users_and_items_are_optional(workplace: Path, extra: tuple[str, ...]) -> None:
    assert_loads_alike(write_files(workplace, 3, extra=extra))


@pytest.mark.parametrize("exact", [True, False])
def test_many_tokens_keep_their_ids(workplace: Path, exact: bool) -> None:
    """More than an int8 or an int16 can count, in the order of their first row."""
    settings = {**write_files(workplace, 0, extra=()), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 300, 50_000), rng.permutation(50_000) % 40_000
    rows = [f"u{user}\ti{item}\t{time}" for time, (user, item) in enumerate(zip(users, items, strict=True))]
    file = workplace / "dataset/made/made.inter"
    file.write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    dataset = loaded(ColumnDataset, {**settings, "exact_time": exact, "item_inter_num_interval": "[2,inf)"})
    again = np.flatnonzero(np.bincount(items)[items] >= 2)
    for field, values, prefix in (("user_id", users, "u"), ("item_id", items, "i")):
        words = [f"{prefix}{value}" for value in values[again]]
        assert dataset.field2id_token[field].tolist() == ["[PAD]", *dict.fromkeys(words)]
        assert dataset.id2token(field, dataset.inter_feat[field]).tolist() == words


def test_rows_without_user_or_item_are_left_out(workplace: Path) -> None:
    """Exactly those; where both kinds are there, RecBole takes other rows away."""
    settings = write_files(workplace, 0, extra=("item",))
    header = "user_id:token\titem_id:token\ttimestamp:float"
    rows = ["\ti1\t1", "u1\t\t2", "u1\ti1\t3", "NA\ti2\t4", "u2\ti2\t5", "u2\tnull\t6", "u3\ti1\t7", "\t\t8"]
    (workplace / "dataset/made/made.inter").write_text("\n".join([header, *rows]) + "\n")
    (workplace / "dataset/made/made.item").write_text("item_id:token\tprice:float\ni2\t5\ni2\t6\n\t7\nNA\t8\ni1\t9\n")
    dataset = loaded(ColumnDataset, settings)
    assert dataset.inter_feat["timestamp"].tolist() == [3, 5, 7]
    assert dataset.field2id_token["item_id"].tolist() == ["[PAD]", "i1", "i2"]
    assert dataset.item_feat["price"].tolist()[1:] == [9, 5]


def test_a_missing_number_becomes_the_mean_of_those_that_are_left(workplace: Path) -> None:
    settings = {**write_files(workplace, 0, extra=()), "val_interval": {"kind": ["a"]}}
    rows = ["u\ti\t\ta", "v\tj\t2\ta", "u\tj\t4\ta", "v\ti\t90\tb"]
    header = "user_id:token\titem_id:token\trating:float\tkind:token"
    (workplace / "dataset/made/made.inter").write_text("\n".join([header, *rows]) + "\n")
    assert loaded(ColumnDataset, settings).inter_feat["rating"].tolist() == [3, 2, 4]


def test_duplicate_rows_can_be_counted_once(workplace: Path) -> None:
    settings = {**write_files(workplace, 0, extra=()), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    rows = ["u\ti\t1\ta", "v\tj\t2\ta", "u\ti\t1\tb", "u\tj\t1\ta"]  # the third differs in what is not loaded
    header = "user_id:token\titem_id:token\ttimestamp:float\tkind:token"
    (workplace / "dataset/made/made.inter").write_text("\n".join([header, *rows]) + "\n")
    assert loaded(ColumnDataset, {**settings, "duplicate_rows": "first"}).inter_feat["timestamp"].tolist() == [1, 2, 1]
    assert len(loaded(ColumnDataset, {**settings, "duplicate_rows": "keep"}).inter_feat) == 4


@pytest.mark.parametrize("key", ["load_col", "unload_col"])
def test_a_column_that_the_file_lacks_is_told(workplace: Path, caplog: pytest.LogCaptureFixture, key: str) -> None:
    settings = {**write_files(workplace, 0, extra=("item",)), "state": "WARNING"}
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "pryce"]}
    with caplog.at_level("WARNING"):
        loaded(ColumnDataset, {**settings, key: columns if key == "load_col" else {"item": ["pryce"]}})
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith(key)]
    assert len(told) == 1
    assert f"{key}: " in told[0]
    assert "made.item has no field 'pryce', only item_id, " in told[0]


def test_a_fault_in_the_file_of_items_names_that_file(workplace: Path) -> None:
    settings = write_files(workplace, 0)
    with (workplace / "dataset/made/made.item").open("a") as file:
        file.write("i99\tc1\tcheap\t\t\n")
    with pytest.raises(UsageError, match=r"made\.item, line 17: 'cheap' in the field 'price' is not a number"):
        loaded(ColumnDataset, settings)
