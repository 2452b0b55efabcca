"""The sampled evaluation: what is held out, what it is ranked among, and that each metric is the published one."""

from __future__ import annotations

import configparser
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Prepared, prepare, random_rows, write_log
from hypothesis import given
from hypothesis import settings as laws
from hypothesis import strategies as st
from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.sampler import RepeatableSampler
from recbole.trainer import Trainer
from scipy.stats import chisquare

import recbole_clia
from recbole_clia import run
from recbole_clia.cli.main import run_train
from recbole_clia.data import splitting
from recbole_clia.errors import UsageError
from recbole_clia.host.metrics import DistinctNegatives, GroupLoader
from recbole_clia.settings.check import framework_keys, protocols
from recbole_clia.settings.config import PluginConfig, describe_evaluation
from recbole_clia.settings.properties import PROPERTIES_DIR, plain_yaml, read_properties

DAY = 86_400
START = 1_700_000_000
PROTOCOL = plain_yaml((PROPERTIES_DIR / "protocol/sampled.yaml").read_text(encoding="utf-8"))
SMALL = {"embedding_size": 8, "MAX_ITEM_LIST_LENGTH": 8, "show_progress": False, "state": "ERROR", "use_gpu": False}


def log_of_days(seed: int = 3, users: int = 30, items: int = 130, days: int = 6) -> list[tuple[int, int, int]]:
    """Rows in any order; every user has about two interactions a day, and some items are chosen often."""
    rng = np.random.default_rng(seed)
    times = START + rng.integers(days * DAY, size=2 * users * days)
    chosen = np.minimum(rng.integers(items, size=len(times)), rng.integers(items, size=len(times)))
    chosen[:items] = np.arange(items)  # each item once at least
    owners = rng.integers(users, size=len(times))
    return [(int(u), int(i), int(t)) for u, i, t in zip(owners, chosen, times, strict=True)]


@pytest.fixture
def sampled(workplace: Path) -> dict[str, Any]:
    """Settings of the protocol on a log of six days."""
    path = write_log(workplace / "dataset", log_of_days())
    return {**PROTOCOL, **SMALL, "data_path": path, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}


# ----- the property file


def test_a_protocol_is_named_like_a_file(workplace: Path) -> None:
    by_name = PluginConfig("GRU4Rec", "ml-100k", ["sampled"])
    assert {key: by_name[key] for key in PROTOCOL} == PROTOCOL
    assert by_name["test_neg_sample_args"] == {"distribution": "popularity", "sample_num": 99}
    later = PluginConfig("CLSR", "ml-100k", ["sampled"], {"split_period_seconds": 3600})
    assert later["split_period_seconds"] == 3600
    (workplace / "sampled").write_text("topk: [3]\nvalid_metric: MRR@3\n")
    assert PluginConfig("CLIA", "ml-100k", ["sampled"])["topk"] == [3]
    assert PluginConfig("CLIA", "ml-100k", ["sampled"])["sampled_groups"] is None


@pytest.mark.parametrize(("name", "hint"), [("sampeld", "; did you mean sampled?"), ("zzz", "")])
def test_an_unknown_protocol_is_refused_with_the_names(workplace: Path, name: str, hint: str) -> None:
    with pytest.raises(UsageError) as refusal:
        PluginConfig("CLIA", "ml-100k", [name])
    assert str(refusal.value) == (
        f"config file {name}: there is no such file, and no protocol of that name; the protocols are sampled{hint}"
    )


@pytest.mark.parametrize("path", protocols().values(), ids=lambda path: path.stem)
def test_every_property_of_a_protocol_is_documented_and_checked(path: Path) -> None:
    for key, prop in read_properties(path).items():
        assert prop.type, key
        assert prop.meaning.endswith("."), key
        assert prop.complaint(prop.default) is None, key
        assert key in framework_keys()


def test_every_property_file_is_installed() -> None:
    parser = configparser.ConfigParser()
    parser.read(Path(recbole_clia.__file__).resolve().parent.parent / "setup.cfg")
    patterns = parser["options.package_data"]["recbole_clia.properties"].split(", ")
    installed = {path for pattern in patterns for path in PROPERTIES_DIR.glob(pattern)}
    assert installed == set(PROPERTIES_DIR.rglob("*.yaml"))


@pytest.mark.parametrize(
    ("model", "changed", "sentence"),
    [
        ("CLIA", {"split_period_seconds": 0}, "split_period_seconds must be in (0, inf), not 0"),
        ("CLIA", {"sampled_groups": "item"}, "sampled_groups must be one of positive, user, not 'item'"),
        ("BPR", {}, "eval_args: the split {'TS': ['period']} needs a sequential model, and BPR is none"),
        ("DIEN", {}, "and DIEN has a dataset of its own in RecBole"),
        ("CLIA", {"benchmark_filename": ["a", "b", "c"]}, "benchmark_filename has already split it"),
        ("GRU4Rec", {"exact_time": False, "lazy_augmentation": False}, "needs exact_time: True"),
        ("CLIA", {"sampled_groups": "user"}, "metrics: PooledAUC needs sampled_groups: 'positive'"),
        ("CLIA", {"eval_args": {**PROTOCOL["eval_args"], "mode": "full"}}, "metrics: PooledAUC needs"),
        ("CLIA", {"eval_args": {**PROTOCOL["eval_args"], "split": {"TS": ["perod"]}}}, "not {'TS': ['perod']}"),
        ("CLIA", {"eval_args": {**PROTOCOL["eval_args"], "split": {"TS": ["period", 1]}}}, "eval_args: its split must"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(
    sampled: dict[str, Any], model: str, changed: dict[str, Any], sentence: str
) -> None:
    settings = {key: value for key, value in {**sampled, **changed}.items() if key != "embedding_size"}
    with pytest.raises(UsageError) as refusal:
        PluginConfig(model, "made", config_dict=settings)
    assert sentence in str(refusal.value)


# ----- what is held out


@laws(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=6), min_size=1, max_size=6), st.sampled_from([1, 2.5])
)
def test_periods_are_counted_from_the_end(times: list[list[int]], period: float) -> None:
    end = max(itertools.chain(*times)) + 1  # the last interaction may have nothing before it, and be no row
    size = np.array([len(own) for own in times])
    flat = np.array(list(itertools.chain.from_iterable(map(sorted, times))))
    start = size.cumsum() - size
    got = [
        [list(flat[first + before :][:count]) for first, before, count in zip(start, *part, strict=True)]
        for part in splitting.by_period(size, flat, float(end), period)
    ]
    for own, train, valid, test in zip(map(sorted, times), *got, strict=True):
        assert train == [time for time in own if time <= end - 2 * period]
        assert valid == [time for time in own if end - 2 * period < time <= end - period]
        assert test == [time for time in own if time > end - period]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("ns", 864e11), ("us", 864e8), ("ms", 864e5), ("s", 86400), ("min", 1440), ("h", 24), ("d", 1)],
)
def test_a_period_is_exact_in_every_unit(unit: str, expected: float) -> None:
    assert splitting.in_unit(DAY, unit) == expected


def in_unit(rows: list[tuple[int, int, int]], unit: str) -> list[tuple[int, int, Any]]:
    write = {
        "s": lambda time: time,
        "ms": lambda time: 1000 * time,
        "ns": lambda time: 10**9 * time,
        "d": lambda time: time // DAY,
        "date": lambda time: np.datetime64(time, "s").astype("datetime64[D]").astype(str).replace("-", ""),
        "ISO": lambda time: str(np.datetime64(time, "s")),
    }[unit]
    return [(user, item, write(time)) for user, item, time in rows]


@pytest.mark.parametrize(
    ("model", "unit"),
    [("CLSR", "s"), ("GRU4Rec", "s"), *(("CLIA", unit) for unit in ("s", "ms", "ns", "d", "date", "ISO"))],
)
def test_the_last_day_is_tested_on_and_the_day_before_validates(
    sampled: dict[str, Any], workplace: Path, model: str, unit: str
) -> None:
    rows = log_of_days()
    if unit in ("d", "date"):
        rows = list({(user, time // DAY): (user, item, time) for user, item, time in rows}.values())
    write_log(workplace / "dataset", in_unit(rows, unit))
    prepared = prepare({**sampled, "eval_args": {**PROTOCOL["eval_args"], "mode": "pop9"}}, model)
    day = DAY if unit not in ("d", "date") else 1
    rows = [(user, item, time if day == DAY else time // DAY) for user, item, time in rows]
    end = max(time for _, _, time in rows)
    want: list[list[Any]] = [[], [], []]
    for user in range(30):
        own = sorted(((time, item) for owner, item, time in rows if owner == user), key=lambda row: row[0])
        for place, (time, item) in enumerate(own[1:], start=1):
            part = 2 if time > end - day else 1 if time > end - 2 * day else 0
            before = [before for _, before in own[:place]][-8:]
            want[part].append((f"u{user}", f"i{item}", [f"i{number}" for number in before]))
    assert min(map(len, want)) > 20
    for loader, expected in zip((prepared.train, prepared.valid, prepared.test), want, strict=True):
        dataset = loader._dataset
        part = dataset[np.arange(len(dataset))]
        got = []
        for user, item, items, length in zip(*(part[f].numpy() for f in ROW_FIELDS), strict=True):
            token = [dataset.id2token("item_id", number) for number in (item, *items[:length])]
            got.append((dataset.id2token("user_id", user), token[0], token[1:]))
        assert sorted(got) == sorted(expected)


ROW_FIELDS = ("user_id", "item_id", "item_id_list", "item_length")


def test_the_end_is_that_of_the_log_even_where_it_is_no_row(sampled: dict[str, Any], workplace: Path) -> None:
    """The last interaction of all is the only one of its user."""
    rows = [(user, item, START + DAY * day + user) for user in range(3) for day, item in enumerate((1, 2, 3))]
    write_log(workplace / "dataset", [*rows, (9, 1, START + DAY * 3)])
    prepared = prepare({**sampled, "eval_args": {**PROTOCOL["eval_args"], "mode": "pop1"}})
    parts = [
        loader._dataset.inter_feat["timestamp"] - START for loader in (prepared.train, prepared.valid, prepared.test)
    ]
    assert [sorted(part.tolist()) for part in parts] == [[DAY], [DAY + 1, DAY + 2, 2 * DAY], [2 * DAY + 1, 2 * DAY + 2]]


@pytest.mark.parametrize(
    ("changed", "times", "sentence"),
    [
        ({}, range(1, 100), "needs times, and 'timestamp' only counts steps; if they are times, name their unit with"),
        ({"exact_time": False}, None, "exact_time: the split {'TS': ['period']} needs the times as they are"),
        ({"split_period_seconds": None}, None, "split_period_seconds: the split {'TS': ['period']} needs the length"),
        (
            {"split_period_seconds": 0.1},
            None,
            "nothing is left for validation; in the period before the last one of 0.1 s",
        ),
        ({"split_period_seconds": 30 * DAY}, None, "nothing is left for training; before the last two periods"),
        (
            {"eval_args": {**PROTOCOL["eval_args"], "mode": "pop130"}},
            None,
            "130 negatives of each positive need 131 items",
        ),
    ],
    ids=str,
)
def test_logs_that_cannot_be_split_end_in_a_sentence(
    sampled: dict[str, Any], workplace: Path, changed: dict[str, Any], times: Any, sentence: str
) -> None:
    if times is not None:
        write_log(workplace / "dataset", [(user, user + time, time) for user in range(20) for time in times])
    with pytest.raises(UsageError) as refusal:
        prepare({key: value for key, value in {**sampled, **changed}.items() if value is not None})
    assert sentence in str(refusal.value)


# ----- what it is ranked among


def law_without_replacement(weight: np.ndarray, number: int) -> dict[tuple[int, ...], float]:
    """Probability of each sequence of items that are drawn one after the other."""
    law = {(): 1.0}
    for _ in range(number):
        law = {
            (*drawn, item): chance * weight[item] / (weight.sum() - weight[list(drawn)].sum())
            for drawn, chance in law.items()
            for item in np.flatnonzero(weight)
            if item not in drawn
        }
    return law


@pytest.mark.parametrize("at_once", [1, 2, 3, 12])
def test_negatives_are_drawn_without_replacement_by_their_weight(at_once: int) -> None:
    """Whether enough of them are found at once, or some or most are drawn in the second way."""
    weight, positive, rows = np.array([0, 50, 5, 20, 0, 10, 40]), 6, 20_000
    sampler = DistinctNegatives("test", weight, 2, seed=1)
    sampler.at_once = at_once
    drawn = sampler.draw(np.arange(rows), np.full(rows, positive))
    law = law_without_replacement(np.where(np.arange(7) == positive, 0, weight), 2)
    sequences, count = np.unique(drawn, axis=0, return_counts=True)
    found = dict(zip(map(tuple, sequences.tolist()), count, strict=True))
    assert set(found) <= set(law)
    observed = [found.get(sequence, 0) for sequence in law]
    assert chisquare(observed, [rows * chance for chance in law.values()]).pvalue > 1e-3


@laws(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=4, max_size=12), st.integers(1, 6), st.integers(0, 5))
def test_negatives_differ_and_leave_out_the_positive(weight: list[int], number: int, seed: int) -> None:
    items = np.flatnonzero(weight)
    if len(items) <= number:
        with pytest.raises(UsageError, match=f"{number} negatives of each positive need {number + 1} items"):
            DistinctNegatives("valid", np.array(weight), number, seed)
        return
    positive = np.resize(items, 20)
    drawn = DistinctNegatives("valid", np.array(weight), number, seed).draw(np.arange(20), positive)
    assert drawn.shape == (20, number)
    for row, own in zip(drawn, positive, strict=True):
        assert len(set(row)) == number
        assert set(row) <= set(items) - {own}


def test_negatives_of_a_row_depend_on_seed_phase_and_row_alone() -> None:
    weight, rows = np.arange(40), np.arange(30)
    positive = 1 + rows
    whole = DistinctNegatives("test", weight, 9, seed=4).draw(rows, positive)
    again = DistinctNegatives("test", weight, 9, seed=4)
    backwards = np.concatenate([again.draw(rows[part], positive[part]) for part in np.split(rows[::-1], 10)])
    assert (backwards[::-1] == whole).all()
    for other in (DistinctNegatives("test", weight, 9, seed=5), DistinctNegatives("valid", weight, 9, seed=4)):
        assert (other.draw(rows, positive) != whole).mean() > 0.5


@pytest.mark.parametrize("mode", ["pop99", "uni7"])
def test_a_group_is_a_positive_with_its_own_negatives(sampled: dict[str, Any], mode: str) -> None:
    prepared = prepare({**sampled, "eval_args": {**PROTOCOL["eval_args"], "mode": mode}})
    assert type(prepared.test) is GroupLoader
    popularity = np.bincount(prepared.dataset.log.columns["item_id"], minlength=prepared.dataset.item_num)
    assert prepared.test._sampler.weight.tolist() == (popularity if mode == "pop99" else popularity > 0).tolist()
    number, rows = int(mode[3:]), prepared.test._dataset
    for seen, batch in enumerate(prepared.test):
        size = len(batch.positive_item)
        items = batch.interaction["item_id"].view(number + 1, size).T
        part = rows[np.arange(seen * prepared.test.step, seen * prepared.test.step + size)]
        assert torch.equal(items[:, 0], part["item_id"])
        assert all(len(set(group)) == number + 1 for group in items.tolist())
        for field in ("user_id", "item_id_list", "timestamp", "item_length"):
            of_group = batch.interaction[field].view(number + 1, size, -1)
            assert torch.equal(of_group, part[field].view(1, size, -1).expand_as(of_group))
    first, second = (next(iter(loader)).interaction for loader in (prepared.test, prepared.test))
    assert torch.equal(first["item_id"], second["item_id"])


def test_what_the_properties_say_of_recboles_own_negatives() -> None:
    """By the rows of all parts, never the positive, with repetition."""
    items = torch.tensor([1, 2, 2, 3, 3, 3, 4, 4, 4, 4])
    rows = Interaction({"item_id": items})
    data = SimpleNamespace(iid_field="item_id", user_num=3, item_num=5, inter_feat=rows)
    np.random.seed(0)  # noqa: NPY002  RecBole draws from the global generator
    sampler = RepeatableSampler(["test"], data, "popularity").set_phase("test")
    drawn = sampler.sample_by_user_ids(np.array([1] * 2000), np.array([3] * 2000), 9).view(9, 2000).numpy()
    count = np.bincount(drawn.ravel(), minlength=5)
    assert count[[0, 3]].tolist() == [0, 0]
    assert chisquare(count[[1, 2, 4]], count.sum() * np.array([1, 2, 4]) / 7).pvalue > 1e-3
    assert all(len(set(group)) < 9 for group in drawn.T)


# ----- metrics


def groups_of(prepared: Prepared, phase: str) -> tuple[list[int], list[list[float]]]:
    """User and scores of each group, the positive's first, each pair scored by itself."""
    users, scores = [], []
    for batch in getattr(prepared, phase):
        size = len(batch.positive_item)
        each = batch.interaction
        alone = [float(prepared.model.predict(each[torch.tensor([row])])) for row in range(len(each))]
        users += each["user_id"][:size].tolist()
        scores += np.array(alone, dtype=np.float32).reshape(-1, size).T.tolist()
    return users, scores


def auc(pairs: Iterator[tuple[float, float]]) -> float:
    won = [1.0 if positive > negative else 0.5 if positive == negative else 0.0 for positive, negative in pairs]
    return sum(won) / len(won)


def published(users: list[int], scores: list[list[float]]) -> dict[str, float]:
    """The metrics by their definitions, one pair after the other."""
    positives, negatives = [group[0] for group in scores], [group[1:] for group in scores]
    gauc = 0.0
    for user in set(users):
        own = [k for k, owner in enumerate(users) if owner == user]
        pairs = itertools.product((positives[k] for k in own), [score for k in own for score in negatives[k]])
        gauc += len(own) / len(users) * auc(pairs)
    rank = np.array([1 + sum(score > group[0] for score in group[1:]) for group in scores])
    return {
        "pooledauc": auc(itertools.product(positives, itertools.chain(*negatives))),
        "gauc": gauc,
        "mrr@100": float(np.mean(1 / rank)),
        "ndcg@2": float(np.mean(np.where(rank <= 2, 1 / np.log2(rank + 1), 0))),
        "mrr@2": float(np.mean(np.where(rank <= 2, 1 / rank, 0))),
    }


def evaluated(prepared: Prepared, phase: str) -> dict[str, float]:
    trainer = Trainer(prepared.config, prepared.model)
    return dict(trainer.evaluate(getattr(prepared, phase), load_best_model=False))


@pytest.fixture
def few(sampled: dict[str, Any], workplace: Path) -> dict[str, Any]:
    """A log so small that all pairs can be gone through, with the scores of a linear model."""
    write_log(workplace / "dataset", log_of_days(users=8, items=40, days=5))
    mode = {"valid": "pop9", "test": "pop12"}
    return {**sampled, "eval_args": {**PROTOCOL["eval_args"], "mode": mode}, "topk": [2, 30], "metric_decimal_place": 9}


@pytest.mark.parametrize("model", ["CLIA", "GRU4Rec"])
@pytest.mark.parametrize("phase", ["valid", "test"])
def test_each_metric_is_the_published_one(few: dict[str, Any], model: str, phase: str) -> None:
    prepared = prepare(few, model)
    prepared.model.eval()
    with torch.no_grad():
        for parameter in prepared.model.parameters():
            parameter.mul_(5)
        users, scores = groups_of(prepared, phase)
    assert len(users) > len(set(users)) + 3  # several positives of a user
    want, got = published(users, scores), evaluated(prepared, phase)
    want["mrr@30"] = want.pop("mrr@100")
    assert {key: got[key] for key in want} == pytest.approx(want, abs=1e-6)
    assert 0 < want["ndcg@2"] < want["mrr@30"] < 1


def quantised(prepared: Prepared, steps: float) -> None:
    """Let the model's scores fall together where they are near each other."""
    predict = prepared.model.predict
    prepared.model.predict = lambda rows: (predict(rows) * steps).round() / 4


@pytest.mark.parametrize("steps", [0, 4, 1000])
def test_ties_count_half_in_both_areas(few: dict[str, Any], steps: float) -> None:
    prepared = prepare(few)
    prepared.model.eval()
    with torch.no_grad():
        prepared.model.item_embedding.weight.mul_(5)
        quantised(prepared, steps)
        users, scores = groups_of(prepared, "test")
        want, got = published(users, scores), evaluated(prepared, "test")
    assert {key: got[key] for key in ("pooledauc", "gauc")} == pytest.approx(
        {key: want[key] for key in ("pooledauc", "gauc")}, abs=1e-9
    )
    assert (len(np.unique(scores)) < 40) == (steps < 1000)
    if not steps:
        assert got["pooledauc"] == got["gauc"] == 0.5
        assert got["mrr@30"] < 0.5  # that of 13 equal scores is 0.24, if the positive has no place of its own


def test_batches_and_further_metrics_change_nothing(few: dict[str, Any]) -> None:
    want = evaluated(prepare(few), "test")
    for changed in (
        {"eval_batch_size": 1},
        {"eval_batch_size": 5},
        {"eval_batch_size": 30},
        {"metrics": [*few["metrics"], "ShannonEntropy", "Hit"]},
    ):
        got = evaluated(prepare({**few, **changed}), "test")
        assert {key: got[key] for key in want} == pytest.approx(want, abs=1e-6), changed


def test_a_second_evaluation_begins_anew(few: dict[str, Any]) -> None:
    prepared = prepare(few)
    trainer = Trainer(prepared.config, prepared.model)
    first, other, again = (
        trainer.evaluate(loader, load_best_model=False) for loader in (prepared.test, prepared.valid, prepared.test)
    )
    assert first == again != other


# ----- CLSR


@pytest.mark.parametrize("target_in_query", [True, False])
def test_clsr_encodes_each_history_once_and_scores_as_before(made: dict[str, Any], target_in_query: bool) -> None:
    prepared = prepare({**made, "target_in_query": target_in_query}, "CLSR")
    generator = torch.Generator().manual_seed(0)
    model = prepared.model.double().eval()
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    histories = prepared.test._dataset[np.arange(len(prepared.test._dataset))]
    repeated = torch.cat([torch.arange(9).repeat(7), torch.tensor([3] * 40), torch.tensor([11])])
    repeated = repeated[torch.randperm(len(repeated), generator=generator)]
    rows = histories[repeated]
    rows["item_id"] = torch.randint(1, 30, (len(rows),), generator=generator)
    encoded = []
    encode = model.encode
    model.encode = lambda user, *rest: encoded.append(len(user)) or encode(user, *rest)
    with torch.no_grad():
        got = model.predict(rows)
        assert encoded == [10]
        alone = torch.cat([model.predict(rows[torch.tensor([row])]) for row in range(len(rows))])
    assert got.std() > 1e-3
    torch.testing.assert_close(got, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("field", ["user_id", "item_id_list", "timestamp_list", "timestamp", "item_length"])
def test_clsr_tells_histories_apart_by_each_field(made: dict[str, Any], field: str) -> None:
    prepared = prepare(made, "CLSR")
    model = prepared.model.eval()
    part = prepared.test._dataset[np.flatnonzero(prepared.test._dataset.inter_feat["item_length"] > 2)[:1].repeat(4)]
    part[field][1] = part[field][1] + (-1 if field == "item_length" else 1)
    encoded = []
    encode = model.encode
    model.encode = lambda user, *rest: encoded.append(len(user)) or encode(user, *rest)
    model.predict(part)
    assert encoded == [2]


def test_clsr_counts_every_row_in_training(made: dict[str, Any]) -> None:
    model = prepare(made, "CLSR").model.train()
    encoded = []
    encode = model.encode
    model.encode = lambda user, *rest: encoded.append(len(user)) or encode(user, *rest)
    rows = prepare(made, "CLSR").test._dataset[np.zeros(4, dtype=int)]
    model.predict(rows)
    assert encoded == [4]


# ----- runs


@pytest.mark.parametrize("model", ["CLIA", "CLSR", "GRU4Rec", "SASRec"])
def test_models_run_in_the_protocol(sampled: dict[str, Any], model: str) -> None:
    settings = {key: value for key, value in sampled.items() if key not in PROTOCOL}
    result = run(model, "made", ["sampled"], {**settings, "epochs": 1})
    assert list(result["test_result"]) == ["pooledauc", "gauc", "mrr@2", "mrr@100", "ndcg@2", "ndcg@100"]
    assert result["best_valid_score"] == result["best_valid_result"]["gauc"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--config_files", "sampled"], "evaluation: 99 negatives sampled by popularity"),
        ([], "evaluation: full ranking"),
    ],
)
def test_the_report_says_which_evaluation_it_was(
    sampled: dict[str, Any], capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    common = ["--dataset=made", f"--data_path={sampled['data_path']}", "--epochs=1", "--embedding_size=8"]
    assert run_train([*common, "--hidden_size=8", "--show_progress=False", "--state=ERROR", *words]) == 0
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("mode", "groups", "line"),
    [
        ("full", None, "full ranking"),
        ("uni50", None, "50 negatives sampled uniformly, all of a user together"),
        (
            {"valid": "full", "test": "pop9"},
            "positive",
            "full ranking in validation, 9 negatives sampled by popularity in test",
        ),
        ("labeled", None, "labeled"),
    ],
)
def test_the_description_of_an_evaluation(made: dict[str, Any], mode: Any, groups: Any, line: str) -> None:
    arguments = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": mode}
    settings = {**made, "eval_args": arguments, **({"sampled_groups": groups} if groups else {})}
    assert describe_evaluation(PluginConfig("CLIA", "made", config_dict=settings)) == line


def test_other_evaluations_stay_recboles(made: dict[str, Any]) -> None:
    assert type(prepare(made).test) is FullSortEvalDataLoader
    arguments = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}
    mixed = prepare(
        {**made, "sampled_groups": "positive", "eval_args": {**arguments, "mode": {"valid": "full", "test": "uni5"}}}
    )
    assert [type(mixed.valid), type(mixed.test)] == [FullSortEvalDataLoader, GroupLoader]
    assert set(evaluated(mixed, "valid")) == set(evaluated(mixed, "test"))
    theirs = prepare({**made, "eval_args": {**arguments, "mode": "uni5"}})
    assert type(theirs.test) is NegSampleEvalDataLoader
    assert evaluated(theirs, "test")


def test_full_ranking_gives_the_figures_that_recbole_gives(made: dict[str, Any]) -> None:
    """GAUC among them, which shares its input with the sampled one."""
    settings = {**made, "metrics": ["GAUC", "MRR", "NDCG"], "metric_decimal_place": 9}
    prepared = prepare(settings)
    prepared.model.eval()
    rows = prepared.test._dataset[np.arange(len(prepared.test._dataset))]
    with torch.no_grad():
        scores = prepared.model.full_sort_predict(rows)[:, 1:].numpy()
    positive = scores[np.arange(len(rows)), rows["item_id"].numpy() - 1][:, None]
    below = ((scores < positive).sum(1) + 0.5 * ((scores == positive).sum(1) - 1)) / (scores.shape[1] - 1)
    got = evaluated(prepared, "test")
    assert got["gauc"] == pytest.approx(below.mean(), abs=1e-6)
    rank = 1 + (scores > positive).sum(1)
    assert got["mrr@10"] == pytest.approx(np.where(rank <= 10, 1 / rank, 0).mean(), abs=1e-6)


def test_random_rows_are_long_enough() -> None:
    """What the tests of CLSR above take for granted."""
    assert len({user for user, _, _ in random_rows(7)}) > 12
