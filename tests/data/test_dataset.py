"""The log gives RecBole's rows, and the windows train RecBole's pairs."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prepare, random_rows, write_log
from recbole.data.dataset import SequentialDataset

from recbole_clia.data.dataset import TARGETS_SUFFIX
from recbole_clia.errors import UsageError
from recbole_clia.settings.config import PluginConfig

RECBOLES = {"exact_time": False, "lazy_augmentation": False}
SPLITS = [{"LS": "valid_and_test"}, {"LS": "test_only"}, {"RS": [0.8, 0.1, 0.1]}]


def recboles_splits(settings: dict[str, Any]) -> list[Any]:
    plain = {k: v for k, v in settings.items() if not k.startswith("packed")}
    config = PluginConfig("SASRec", "made", config_dict={**plain, **RECBOLES})
    return SequentialDataset(config).build()


def pairs_of_rows(dataset: Any) -> Counter[tuple[int, int, float]]:
    rows = dataset[np.arange(len(dataset))]
    return Counter(zip(rows["user_id"].tolist(), rows["item_id"].tolist(), rows["timestamp"].tolist(), strict=True))


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_rows_equal_recboles_in_every_column(made: dict[str, Any], split: dict[str, Any]) -> None:
    made["eval_args"] = {"split": split, "order": "TO", "mode": "full", "group_by": "user"}
    ours = prepare({**made, "exact_time": False})
    for built, theirs in zip((ours.train, ours.valid, ours.test), recboles_splits(made), strict=True):
        if len(theirs) == 0:
            assert len(built._dataset) == 0
            continue
        index = np.arange(len(theirs))
        got, want = built._dataset[index].interaction, theirs[index].interaction
        assert list(got) == list(want)
        for column in want:
            assert got[column].dtype == want[column].dtype, column
            assert torch.equal(got[column], want[column]), column


def test_ml_100k_test_rows_equal_recboles(workplace: Any) -> None:
    settings = {"state": "ERROR", "MAX_ITEM_LIST_LENGTH": 10, "exact_time": False}
    theirs = SequentialDataset(PluginConfig("SASRec", "ml-100k", config_dict={**settings, **RECBOLES})).build()[2]
    ours = prepare(settings, dataset="ml-100k").test._dataset
    assert len(ours) == len(theirs) == 943
    got, want = ours[np.arange(943)].interaction, theirs[np.arange(943)].interaction
    assert all(torch.equal(got[column], want[column]) for column in want)


@pytest.mark.parametrize("stride", [1, 3, 8])
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_each_pair_of_recboles_is_trained_once(made: dict[str, Any], split: dict[str, Any], stride: int) -> None:
    made["eval_args"] = {"split": split, "order": "TO", "mode": "full", "group_by": "user"}
    ours = prepare({**made, "packed_stride": stride})
    want = pairs_of_rows(recboles_splits(made)[0])
    got: Counter[tuple[int, int, float]] = Counter()
    log = ours.train._dataset.log
    time_of = {}  # the made times are unique per user, so (user, time) names an interaction
    for user, item, time in zip(*(log.column(c).tolist() for c in ("user_id", "item_id", "timestamp")), strict=True):
        time_of[user, time] = item
    following = {}
    for user in {u for u, _ in time_of}:
        times = sorted(t for u, t in time_of if u == user)
        following.update({(user, a): b for a, b in itertools.pairwise(times)})
    for batch in ours.train:
        targets = batch["item_id" + TARGETS_SUFFIX]
        for row, column in torch.nonzero(targets).tolist():
            user = batch["user_id"][row].item()
            time = following[user, batch["timestamp_list"][row, column].item()]
            assert time_of[user, time] == targets[row, column]
            got[user, targets[row, column].item(), time] += 1
    assert got == want


def test_held_out_items_are_neither_inputs_nor_targets(made: dict[str, Any]) -> None:
    ours = prepare(made)
    held_out = {
        (row_user, time)
        for loader in (ours.valid, ours.test)
        for row_user, time in zip(
            loader._dataset.inter_feat["user_id"].tolist(),
            loader._dataset.inter_feat["timestamp"].tolist(),
            strict=True,
        )
    }
    assert held_out
    for batch in ours.train:
        times = batch["timestamp_list"]
        real = torch.arange(times.shape[1]) < batch["item_length"].unsqueeze(1)
        for row, column in torch.nonzero(real).tolist():
            assert (batch["user_id"][row].item(), times[row, column].item()) not in held_out


def test_batches_are_trimmed_and_hold_about_the_pairs_asked_for(made: dict[str, Any]) -> None:
    ours = prepare({**made, "train_batch_size": 40})
    sizes = []
    for batch in ours.train:
        assert batch["item_id_list"].shape[1] == batch["item_length"].max()
        sizes.append(int((batch["item_id" + TARGETS_SUFFIX] > 0).sum()))
    assert sum(sizes) == len(ours.train._dataset)
    assert max(sizes) < 40 + 8  # one window more than asked for, at most


def test_order_changes_with_the_epoch_and_follows_the_seed(made: dict[str, Any]) -> None:
    def epochs(seed: int) -> list[list[list[int]]]:
        train = prepare({**made, "train_batch_size": 20, "seed": seed}).train
        return [[batch["user_id"].tolist() for batch in train] for _ in range(2)]

    first, again, other = epochs(1), epochs(1), epochs(2)
    assert first == again
    assert first[0] != first[1]
    assert first != other


def test_two_processes_share_the_batches_of_one(made: dict[str, Any]) -> None:
    from recbole_clia.data.loader import LengthGroupedSampler

    rng = np.random.default_rng(0)
    length, span = rng.integers(1, 9, 57), rng.integers(1, 9, 57)
    generator = torch.Generator()
    shares = [LengthGroupedSampler(length, span, 20, True, generator, rank, 2, seed=3) for rank in (0, 1)]
    for epoch in range(2):
        for share in shares:
            share.set_epoch(epoch)
        batches = [list(share) for share in shares]
        assert len(batches[0]) == len(batches[1])
        assert {w for share in batches for batch in share for w in batch} == set(range(57))


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("windows", [1, 2, 5])
def test_each_process_has_as_many_batches_however_few_there_are(windows: int, processes: int) -> None:
    from recbole_clia.data.loader import LengthGroupedSampler

    size = np.ones(windows, dtype=np.int64)
    shares = [
        LengthGroupedSampler(size, size, 1, True, torch.Generator(), n, processes, seed=3) for n in range(processes)
    ]
    batches = [list(share) for share in shares]
    assert {len(share) for share in batches} == {-(-windows // processes)} == {len(share) for share in shares}
    assert {w for share in batches for batch in share for w in batch} == set(range(windows))


def test_interaction_matrix_equals_recboles(made: dict[str, Any]) -> None:
    ours, theirs = prepare(made).train._dataset, recboles_splits(made)[0]
    assert (ours.inter_matrix("csr") != theirs.inter_matrix("csr")).nnz == 0


def test_a_user_of_one_item_trains_nothing_and_breaks_nothing(workplace: Any, made: dict[str, Any]) -> None:
    rows = [*random_rows(3), (99, 1, 5.0)]
    write_log(workplace / "dataset", rows)
    ours = prepare(made)
    lonely = ours.dataset.token2id("user_id", "u99")
    assert all(lonely not in batch["user_id"] for batch in ours.train)


def test_stride_beyond_the_window_is_refused(made: dict[str, Any]) -> None:
    with pytest.raises((UsageError, ValueError), match="stride"):
        prepare({**made, "packed_stride": 9})
