"""A made log follows the laws that it is said to follow."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import prepare
from scipy import stats

from recbole_clia.errors import UsageError
from recbole_clia.synthesis import generator
from recbole_clia.synthesis.files import files, make
from recbole_clia.synthesis.generator import Made, World, ceiling_auc, draw, generate, past_probability

SMALL = World(users=60, items=90, categories=12, sessions=6.0, session_length=5.0, exposure=5)
# One session is one draw: many short sessions of few users.
CROWD = World(users=20, items=40, categories=4, tastes=1, sessions=400.0, session_length=3.0, noise=0.0)


def fits(observed: Any, expected: Any) -> bool:
    """Chi-square test at one in a thousand; cells that expect less than five are taken together."""
    observed, expected = np.ravel(observed).astype(float), np.ravel(expected).astype(float)
    rare = expected < 5
    if rare.any():
        observed = np.append(observed[~rare], observed[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    assert observed.sum() == pytest.approx(expected.sum())
    some = expected > 0
    assert not observed[~some].any()
    return bool(stats.chisquare(observed[some], expected[some]).pvalue > 1e-3)


def place(made: Made) -> np.ndarray:
    """``[N]`` position of each item in its category's ring."""
    ring = made.catalogue.ring
    found = np.empty(len(made.catalogue.category), int)
    there = ring >= 0
    found[ring[there]] = np.nonzero(there)[1]
    return found[made.item]


def short_of_session(made: Made) -> list[np.ndarray]:
    """Positions in the log of each session's interactions that the intent drove, for sessions that have one."""
    where = np.flatnonzero(~made.long)
    return np.split(where, np.flatnonzero(np.diff(made.session[where])) + 1)


def weights_of_shown(made: Made, where: np.ndarray) -> np.ndarray:
    """``[I]`` how often each item is expected at some places, if its category's items are taken by weight."""
    catalogue = made.catalogue
    share = catalogue.weight / catalogue.weight.sum(axis=1, keepdims=True)
    count = np.bincount(catalogue.category[made.item[where]], minlength=len(share))
    expected = np.zeros(len(catalogue.category))
    there = catalogue.ring >= 0
    expected[catalogue.ring[there]] = (share * count[:, None])[there]
    return expected


def times_taken(made: Made, where: np.ndarray) -> np.ndarray:
    return np.bincount(made.item[where], minlength=len(made.catalogue.category))


class TestCatalogue:
    def test_items_are_dealt_evenly_and_weigh_by_rank(self) -> None:
        world = World(
            items=103, categories=10, tastes=2, popularity=0.7, category_popularity=0.5, sessions=2.0, users=5
        )
        catalogue = generate(world).catalogue
        assert sorted(catalogue.size) == [10] * 7 + [11] * 3
        assert (np.bincount(catalogue.category) == catalogue.size).all()
        for category, (ring, weight, size) in enumerate(
            zip(catalogue.ring, catalogue.weight, catalogue.size, strict=True)
        ):
            assert (catalogue.category[ring[:size]] == category).all()
            assert (ring[size:] == -1).all()
            np.testing.assert_allclose(sorted(weight[:size]), sorted(np.arange(1, size + 1) ** -0.7))
            assert not weight[size:].any()
        assert sorted(catalogue.ring[catalogue.ring >= 0]) == list(range(103))
        zipf = np.arange(10, 0, -1) ** -0.5
        np.testing.assert_allclose(sorted(catalogue.category_weight), zipf / zipf.sum())

    def test_vectors_have_length_one_in_the_mean_square(self) -> None:
        made = generate(replace(SMALL, users=3000, items=3000, sessions=2.0, session_length=1.0, dimensions=5))
        for vectors in (made.catalogue.vector, made.user_vector):
            assert vectors.shape == (3000, 5)
            assert stats.kstest(np.sqrt(5) * vectors.ravel(), "norm").pvalue > 1e-3


class TestDraw:
    @pytest.mark.parametrize("at_once", [7, 1 << 20])
    def test_pairs_come_as_one_after_the_other_would(self, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
        monkeypatch.setattr(generator, "_NUMBERS_AT_ONCE", at_once)
        weight = np.array([4.0, 2.0, 1.0, 0.0, 3.0])
        pairs = draw(np.random.default_rng(3), weight, 6000, 2)
        assert (pairs[:, 0] < pairs[:, 1]).all()
        share = weight / weight.sum()
        expected, observed = [], []
        for a, b in itertools.combinations(range(5), 2):
            expected.append(share[a] * share[b] * (1 / (1 - share[a]) + 1 / (1 - share[b])))
            observed.append(((pairs[:, 0] == a) & (pairs[:, 1] == b)).sum())
        assert fits(observed, 6000 * np.array(expected))

    @pytest.mark.parametrize("at_once", [7, 1 << 20])
    def test_what_is_taken_is_left_out(self, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
        monkeypatch.setattr(generator, "_NUMBERS_AT_ONCE", at_once)
        taken = np.repeat([[3, 0], [1, 2]], 3000, axis=0)
        found = draw(np.random.default_rng(1), np.array([4.0, 2.0, 1.0, 3.0]), 6000, 1, taken=taken)[:, 0]
        assert fits(np.bincount(found[:3000], minlength=4), 3000 * np.array([0, 2 / 3, 1 / 3, 0]))
        assert fits(np.bincount(found[3000:], minlength=4), 3000 * np.array([4 / 7, 0, 0, 3 / 7]))

    def test_all_are_drawn_of_few(self) -> None:
        assert draw(np.random.default_rng(1), np.ones((3, 4)), 3, 4).tolist() == [[0, 1, 2, 3]] * 3
        assert draw(np.random.default_rng(1), np.ones(4), 0, 2).shape == (0, 2)


class TestSessions:
    def test_numbers_and_lengths_are_poisson(self) -> None:
        made = generate(replace(SMALL, users=4000, sessions=5.0, session_length=3.0))
        for counts, least, mean in ((np.bincount(made.session_user), 2, 5.0), (made.length, 1, 3.0)):
            law = stats.poisson(mean - least, loc=least)
            values = np.arange(counts.max() + 1)
            expected = law.pmf(values)
            expected[-1] = law.sf(values[-1] - 1)
            assert fits(np.bincount(counts), len(counts) * expected)
        assert (np.bincount(made.session) == made.length).all()
        assert (made.session_user[made.session] == made.user).all()

    def test_least_numbers(self) -> None:
        made = generate(World(users=1, items=2, categories=2, tastes=1, sessions=2, session_length=1, exposure=1))
        assert len(made) == 2
        assert made.session.tolist() == [0, 1]

    def test_times(self) -> None:
        world = replace(SMALL, users=300, session_gap=3.0, session_gap_spread=0.5, gap=20.0, gap_spread=0.8, year=2019)
        made = generate(world)
        assert made.time.dtype == np.int64
        same_user = np.diff(made.user) == 0
        gaps = np.diff(made.time)
        assert (gaps[same_user] > 0).all()
        same_session = np.diff(made.session) == 0
        within, between = np.log(gaps[same_session]), np.log(gaps[same_user & ~same_session])
        assert stats.kstest(within, "norm", (np.log(20e3), 0.8)).pvalue > 1e-3
        assert stats.kstest(between, "norm", (np.log(3 * 86.4e6), 0.5)).pvalue > 1e-3
        start = made.time[np.flatnonzero(np.diff(made.user, prepend=-1))].astype("datetime64[ms]")
        begin, end = np.datetime64("2019-01-01", "ms"), np.datetime64("2020-01-01", "ms")
        passed = (start - begin) / (end - begin)
        assert stats.kstest(passed, "uniform").pvalue > 1e-3

    def test_times_increase_even_where_gaps_round_to_nothing(self) -> None:
        made = generate(replace(SMALL, session_gap=0.001, session_gap_spread=5.0, gap=0.001, gap_spread=5.0))
        gaps = np.diff(made.time)[np.diff(made.user) == 0]
        assert gaps.min() == 1

    def test_the_year_2100_is_refused(self) -> None:
        with pytest.raises(UsageError, match="until the year 2100"):
            generate(replace(SMALL, year=2099, session_gap=300.0))
        with pytest.raises(UsageError, match="until the year 2100"):
            generate(replace(SMALL, session_gap=10_000.0, session_gap_spread=5.0))


class TestMotives:
    def test_shares(self) -> None:
        world = replace(SMALL, users=2000, errands=0.3, purity=0.8)
        made = generate(world)
        assert fits([made.errand.sum(), (~made.errand).sum()], len(made.errand) * np.array([0.3, 0.7]))
        errand = made.errand[made.session]
        observed = [(of & (made.long == long)).sum() for of in (errand, ~errand) for long in (True, False)]
        assert fits(observed, np.array([0.2, 0.8, 0.8, 0.2]) * np.repeat([errand.sum(), (~errand).sum()], 2))

    @pytest.mark.parametrize("noise", [0.0, 0.5])
    def test_each_motive_keeps_to_its_categories(self, noise: float) -> None:
        made = generate(replace(SMALL, noise=noise, drift=0.3))
        category = made.catalogue.category[made.item]
        assert (category == made.intent[made.session])[~made.long].all()
        assert (category[:, None] == made.tastes[made.session]).any(axis=1)[made.long].all()
        assert not (made.intent[:, None] == made.tastes).any()
        assert made.long.any()
        assert not made.long.all()

    def test_intents_come_by_the_weights_of_what_is_no_taste(self) -> None:
        made = generate(replace(SMALL, users=1500, session_length=1.0, category_popularity=1.0))
        weight = np.tile(made.catalogue.category_weight, (len(made.intent), 1))
        np.put_along_axis(weight, made.tastes, 0, axis=1)
        expected = (weight / weight.sum(axis=1, keepdims=True)).sum(axis=0)
        assert fits(np.bincount(made.intent, minlength=12), expected)

    def test_tastes_have_their_weights(self) -> None:
        world = replace(CROWD, users=4, items=8, categories=8, tastes=3, sessions=900.0, errands=0.0, drift=0.0)
        made = generate(world)
        np.testing.assert_allclose(made.taste_weight.sum(axis=1), 1)
        for user in range(4):
            taken = made.catalogue.category[made.item[made.long & (made.user == user)]]
            tastes = made.tastes[made.session_user == user][0]
            assert fits([(taken == taste).sum() for taste in tastes], len(taken) * made.taste_weight[user])

    def test_the_evenness_is_that_of_a_dirichlet_distribution(self) -> None:
        made = generate(replace(SMALL, users=2000, tastes=3, taste_evenness=2.0, sessions=2.0, session_length=1.0))
        assert stats.kstest(made.taste_weight[:, 1], "beta", (2.0, 4.0)).pvalue > 1e-3


class TestDrift:
    def before_and_after(self, made: Made) -> tuple[np.ndarray, np.ndarray]:
        follows = np.flatnonzero(np.diff(made.session_user) == 0)
        return made.tastes[follows], made.tastes[follows + 1]

    def test_tastes_stay_without_it(self) -> None:
        before, after = self.before_and_after(generate(replace(SMALL, drift=0.0)))
        assert (before == after).all()

    def test_one_taste_at_a_time_is_replaced(self) -> None:
        made = generate(replace(SMALL, users=800, drift=0.2))
        before, after = self.before_and_after(made)
        differ = before != after
        count = differ.sum(axis=1)
        assert fits(np.bincount(count), len(count) * np.array([0.8, 0.2]))
        assert fits(differ.sum(axis=0), np.full(3, count.sum() / 3))
        fresh = after[differ]
        assert not (fresh[:, None] == before[count > 0]).any()
        weight = np.tile(made.catalogue.category_weight, (len(fresh), 1))
        np.put_along_axis(weight, before[count > 0], 0, axis=1)
        expected = (weight / weight.sum(axis=1, keepdims=True)).sum(axis=0)
        assert fits(np.bincount(fresh, minlength=12), expected)


class TestChoice:
    @pytest.mark.parametrize("at_once", [300, 1 << 20])
    def test_the_first_of_a_session_follows_the_weights(self, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
        monkeypatch.setattr(generator, "_NUMBERS_AT_ONCE", at_once)
        made = generate(replace(CROWD, items=42, exposure=1000, popularity=1.0))
        first = np.array([where[0] for where in short_of_session(made)])
        assert fits(times_taken(made, first), weights_of_shown(made, first))

    def test_taste_alone_follows_the_weights(self) -> None:
        made = generate(replace(CROWD, exposure=1000, popularity=1.0, liking=0.0))
        where = np.flatnonzero(made.long)
        assert fits(times_taken(made, where), weights_of_shown(made, where))

    def test_liking_multiplies_the_weights(self) -> None:
        made = generate(replace(CROWD, users=3, sessions=2000.0, exposure=1000, liking=3.0, errands=0.0, drift=0.0))
        catalogue = made.catalogue
        for user in range(3):
            where = made.long & (made.user == user)
            category = made.tastes[made.session_user == user][0, 0]
            items = catalogue.ring[category, : catalogue.size[category]]
            liking = np.exp(3.0 * catalogue.vector[items] @ made.user_vector[user])
            chance = catalogue.weight[category, : catalogue.size[category]] * liking
            assert fits(times_taken(made, where)[items], where.sum() * chance / chance.sum())

    def test_one_shown_leaves_no_choice(self) -> None:
        made = generate(replace(CROWD, exposure=1, liking=10.0, noise=0.3))
        everywhere = np.arange(len(made))
        assert fits(times_taken(made, everywhere), weights_of_shown(made, everywhere))

    def test_noise_takes_any_shown(self) -> None:
        made = generate(replace(CROWD, items=42, exposure=1000, popularity=2.0, noise=1.0))
        uniform = replace(made.catalogue, weight=(made.catalogue.ring >= 0).astype(float))
        everywhere = np.arange(len(made))
        expected = weights_of_shown(replace(made, catalogue=uniform), everywhere)
        assert fits(times_taken(made, everywhere), expected)

    def test_noise_comes_at_its_share(self) -> None:
        made = generate(replace(CROWD, items=40, exposure=1000, noise=0.2, errands=1.0))
        steps = np.concatenate([np.diff(place(made)[where]) for where in short_of_session(made)]) % 10
        expected = np.full(10, 0.02)
        expected[1] += 0.8
        assert fits(np.bincount(steps, minlength=10), len(steps) * expected)

    def test_the_chain_walks_the_ring(self) -> None:
        made = generate(replace(SMALL, items=89, exposure=1000, noise=0.0))  # one category is smaller
        assert len(set(made.catalogue.size)) == 2
        for where in short_of_session(made):
            size = made.catalogue.size[made.intent[made.session[where[0]]]]
            assert (np.diff(place(made)[where]) % size == 1 % size).all()

    def test_the_chain_takes_the_nearest_shown_behind(self) -> None:
        """Two of four shown: one step with 3 in 6 pairs, two with 2, three with 1, and never none."""
        made = generate(replace(CROWD, items=16, exposure=2, popularity=0.0, errands=1.0))
        steps = np.concatenate([np.diff(place(made)[where]) for where in short_of_session(made)]) % 4
        assert fits(np.bincount(steps, minlength=4), len(steps) * np.array([0, 3, 2, 1]) / 6)

    def test_a_category_of_one_is_taken_again_and_again(self) -> None:
        made = generate(replace(CROWD, items=4, exposure=3))
        assert (made.item == made.catalogue.ring[made.catalogue.category[made.item], 0]).all()

    def test_progress_adds_up(self) -> None:
        told: list[tuple[int, int]] = []
        made = generate(SMALL, progress=lambda done, total: told.append((done, total)))
        assert sum(done for done, _ in told) == len(made)
        assert {total for _, total in told} == {len(made)}


class TestCeiling:
    @pytest.mark.parametrize(
        ("errands", "purity"), [(0.5, 0.9), (0.2, 0.7), (0.9, 1.0), (0.0, 0.8), (1.0, 0.6), (1.0, 1.0), (0.4, 0.5)]
    )
    def test_probabilities_are_bayes(self, errands: float, purity: float) -> None:
        world = replace(SMALL, users=8, errands=errands, purity=purity)
        made = generate(world)
        expected = []
        for session in range(len(made.length)):
            joint = np.array([errands, 1 - errands])  # of an errand, leisure and the motives so far
            taste = np.array([1 - purity, purity])
            for long in made.long[made.session == session]:
                expected.append((joint * taste).sum() / joint.sum())
                joint = joint * (taste if long else 1 - taste)
        np.testing.assert_allclose(past_probability(world, made), expected, rtol=1e-12, atol=1e-15)

    def test_long_sessions_do_not_overflow(self) -> None:
        world = replace(SMALL, users=2, session_length=5000.0, purity=0.999)
        chance = past_probability(world, generate(world))
        assert np.isfinite(chance).all()
        assert chance.min() == pytest.approx(0.001)
        assert chance.max() == pytest.approx(0.999)

    def test_probabilities_come_true(self) -> None:
        world = replace(SMALL, users=1000, errands=0.35, purity=0.8)
        made = generate(world)
        chance, group = np.unique(past_probability(world, made).round(9), return_inverse=True)
        total, long = np.bincount(group), np.bincount(group, made.long)
        for at in np.flatnonzero(total > 200):
            assert fits([long[at], total[at] - long[at]], total[at] * np.array([chance[at], 1 - chance[at]]))

    def test_it_rises_with_purity(self) -> None:
        worlds = [replace(SMALL, users=400, purity=purity) for purity in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
        found = [ceiling_auc(world, generate(world)) for world in worlds]
        assert found[0] == 0.5
        assert all(a + 0.02 < b for a, b in itertools.pairwise(found))
        assert found[-1] < 1  # nobody knows the first motive of a session

    def test_it_is_that_of_all_pairs(self) -> None:
        world = replace(SMALL, users=6)
        made = generate(world)
        chance = past_probability(world, made)
        gap = chance[made.long][:, None] - chance[~made.long]
        assert ceiling_auc(world, made) == pytest.approx(((gap > 0) + 0.5 * (gap == 0)).mean())

    def test_one_motive_has_none(self) -> None:
        world = replace(SMALL, errands=1.0, purity=1.0)
        assert ceiling_auc(world, generate(world)) is None


class TestWorld:
    @pytest.mark.parametrize("name", [number.name for number in fields(World)])
    def test_each_number_has_a_range(self, name: str) -> None:
        number = next(number for number in fields(World) if number.name == name)
        low, high = number.metadata["allowed"].low, number.metadata["allowed"].high
        for value in (low - 1, high + 1, float("nan"), "3", None, True):
            with pytest.raises(UsageError, match=rf"^{name} must be (a whole number )?in \[.*, not {value!r}$"):
                World(**{name: value})
        if number.type == "int":
            with pytest.raises(UsageError, match=f"^{name} must be a whole number in"):
                World(**{name: low + 0.5})

    @pytest.mark.parametrize(
        ("numbers", "sentence"),
        [
            ({"categories": 3}, "categories must be more than tastes, .*: 3 are not more than 3"),
            ({"items": 24}, "items must be as many as categories or more: 24 are less than 25"),
            (
                {"users": 10_000_000},
                "users x sessions x session_length must be at most 100,000,000 .*, not 720,000,000",
            ),
        ],
    )
    def test_numbers_must_hold_together(self, numbers: dict[str, Any], sentence: str) -> None:
        with pytest.raises(UsageError, match=f"^{sentence}"):
            World(**numbers)

    def test_a_stage_leaves_the_others_as_they_are(self) -> None:
        one, other = generate(SMALL), generate(replace(SMALL, noise=0.9, exposure=3, liking=0.0))
        assert (one.item != other.item).any()
        for name in ("time", "long", "intent", "tastes", "session"):
            assert (getattr(one, name) == getattr(other, name)).all()
        purer = generate(replace(SMALL, purity=0.99))
        assert (one.time == purer.time).all()
        assert (one.intent == purer.intent).all()


class TestFiles:
    def test_they_say_what_was_made(self, tmp_path: Path) -> None:
        facts = make(SMALL, 5, "tiny", tmp_path)
        made = generate(SMALL, 5)
        inter, item, user, numbers = (path.read_text() for path in files(tmp_path / "tiny"))
        header, *rows = inter.splitlines()
        assert header == "user_id:token\titem_id:token\tmotive:float\tsession:token\ttimestamp:float"
        columns = [1 + made.user, 1 + made.item, made.long.astype(int), 1 + made.session, made.time]
        expected = sorted(zip(*(column.tolist() for column in columns), strict=True), key=lambda row: row[-1])
        assert [tuple(map(int, row.split("\t"))) for row in rows] == expected
        assert item.splitlines() == [
            "item_id:token\tcategory:token",
            *(f"{number}\t{1 + category}" for number, category in enumerate(made.catalogue.category, 1)),
        ]
        header, *rows = user.splitlines()
        assert header == "user_id:token\ttastes:token_seq"
        for number, row in enumerate(rows):
            order = np.argsort(-made.taste_weight[number])
            tastes = made.tastes[np.flatnonzero(made.session_user == number)[0]]
            assert row == f"{number + 1}\t{' '.join(str(1 + taste) for taste in tastes[order])}"
        assert len(rows) == facts.users == 60
        found = json.loads(numbers)
        assert World(**found["world"]) == SMALL
        assert found["seed"] == 5
        assert found["version"]
        assert found["interactions"] == facts.interactions == len(made)
        assert found["sessions"] == facts.sessions == len(made.length)
        assert found["items"] == facts.items == len(set(made.item))
        assert found["long_share"] == facts.long_share == made.long.mean()
        assert found["ceiling_auc"] == facts.ceiling_auc == ceiling_auc(SMALL, made)
        assert len(list((tmp_path / "tiny").iterdir())) == 4

    def test_a_seed_decides_on_every_byte(self, tmp_path: Path) -> None:
        for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
            make(SMALL, seed, "tiny", tmp_path / folder)
        one, same, other = (
            [path.read_bytes() for path in files(tmp_path / folder / "tiny")] for folder in ("a", "b", "c")
        )
        assert one == same
        assert all(a != b for a, b in zip(one, other, strict=True))

    def test_blocks_leave_no_trace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from recbole_clia.synthesis import files as module

        make(SMALL, 1, "tiny", tmp_path / "a")
        monkeypatch.setattr(module, "_ROWS_AT_ONCE", 100)
        make(SMALL, 1, "tiny", tmp_path / "b")
        assert files(tmp_path / "a" / "tiny")[0].read_bytes() == files(tmp_path / "b" / "tiny")[0].read_bytes()

    def test_a_failure_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from recbole_clia.synthesis import files as module

        def fail(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "_write_numbers", fail)
        with pytest.raises(KeyboardInterrupt):
            make(SMALL, 1, "tiny", tmp_path)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("model", ["CLIA", "GRU4Rec"])
    def test_they_load(self, workplace: Path, model: str) -> None:
        make(SMALL, 3, "synth", workplace / "data")
        made = generate(SMALL, 3)
        settings = {"data_path": "data", "state": "ERROR", "show_progress": False, "use_gpu": False}
        dataset = prepare(settings, model=model, dataset="synth").dataset
        assert dataset.user_num - 1 == 60
        assert dataset.item_num - 1 == len(set(made.item))
        assert len(dataset.log) == len(made)
        assert dataset.time_unit == "ms"
        log = dataset.log
        assert set(log.columns) == {"user_id", "item_id", "motive", "timestamp"}
        tokens = [dataset.id2token(field, log.column(field).numpy()).astype(int) for field in ("user_id", "item_id")]
        times, motives = (log.column(field).numpy().astype(np.int64) for field in ("timestamp", "motive"))
        found = sorted(zip(*(column.tolist() for column in (*tokens, times, motives)), strict=True))
        columns = (1 + made.user, 1 + made.item, made.time, made.long.astype(int))
        assert found == sorted(zip(*(column.tolist() for column in columns), strict=True))

    def test_items_and_users_load_beside_them(self, workplace: Path) -> None:
        make(SMALL, 3, "synth", workplace / "data")
        made = generate(SMALL, 3)
        columns = {"inter": ["user_id", "item_id", "session", "timestamp"], "item": ["item_id", "category"]}
        columns["user"] = ["user_id", "tastes"]
        settings = {"data_path": "data", "state": "ERROR", "show_progress": False, "use_gpu": False}
        dataset = prepare({**settings, "load_col": columns}, model="GRU4Rec", dataset="synth").dataset
        items = dataset.id2token("item_id", dataset.item_feat["item_id"].numpy()[1:]).astype(int)
        categories = dataset.id2token("category", dataset.item_feat["category"].numpy()[1:]).astype(int)
        assert sorted(items) == list(range(1, 91))
        assert (categories == 1 + made.catalogue.category[items - 1]).all()
        users = dataset.id2token("user_id", dataset.user_feat["user_id"].numpy()[1:]).astype(int)
        tastes = dataset.id2token("tastes", dataset.user_feat["tastes"].numpy()[1:]).astype(int)
        first = made.tastes[np.flatnonzero(np.diff(made.session_user, prepend=-1))]
        assert (np.sort(tastes, axis=1) == np.sort(1 + first, axis=1)[users - 1]).all()
        assert dataset.num("session") - 1 == len(made.length)
