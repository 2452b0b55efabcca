"""Draw a log in which each interaction is labelled by what drove it: the user's taste or the session's intent.

The world, in the order in which it is drawn:

1. Items are dealt to categories, evenly but for one.  An item's weight is Zipf's, ``rank ** -popularity`` within its
   category, and so is a category's.  The items of a category stand in a random order in a ring.
2. A user has a few categories as tastes, drawn by the categories' weights without replacement, and a Dirichlet
   distribution over them.  Before each session but the first, one taste may be replaced by another category (drift).
3. A session has an intent, a category that is none of the user's tastes then, and is an errand or leisure.  In an
   errand an interaction is driven by the intent with probability ``purity``, in leisure by taste.
4. An interaction shows some items of one category, drawn without replacement by their weights: the intent's if the
   intent drives it, otherwise one of the user's tastes.  Driven by taste, the user takes one of them by
   weight times liking, ``exp(liking * <user, item>)`` of two normal vectors of length one in the mean square.  Driven
   by the intent, the first of a session is taken by weight; each further one is the next one shown in the ring
   behind the one that was taken before it for the same reason.  Noise takes any of those shown.

Drawing ``k`` of many without replacement by weight takes the ``k`` smallest of exponential variables divided by the
weights, which is the Gumbel top-k trick on another scale (Efraimidis and Spirakis, 2006).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.times import LATEST
from ..errors import UsageError
from ..settings.properties import Allowed

MOST_INTERACTIONS = 100_000_000
_NUMBERS_AT_ONCE = 1 << 20  # of one matrix
_DAY, _SECOND = 86_400_000, 1_000  # milliseconds

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def _number(default: float, meaning: str, allowed: str) -> Any:
    return field(default=default, metadata={"meaning": meaning, "allowed": Allowed.parse(allowed)})


@dataclass(frozen=True)
class World:
    """The numbers of a world; what each means, and its range, stand in the metadata of its field.

    Raises:
        UsageError: for a number out of its range, or numbers that cannot hold together.
    """

    users: int = _number(2000, "users", "[1, 10000000]")
    items: int = _number(1000, "items", "[2, 1000000]")
    categories: int = _number(25, "categories that the items are dealt to", "[2, 10000]")
    popularity: float = _number(0.7, "exponent of Zipf's law of the items of a category", "[0, 5]")
    category_popularity: float = _number(0.5, "exponent of Zipf's law of the categories", "[0, 5]")
    tastes: int = _number(3, "categories that a user has a taste for", "[1, 1000]")
    taste_evenness: float = _number(2.0, "parameter of the Dirichlet distribution of a user's tastes", "[0.01, 10000]")
    drift: float = _number(0.02, "probability that a taste is replaced before a session", "[0, 1]")
    sessions: float = _number(12.0, "mean number of sessions of a user, 2 at least", "[2, 100000]")
    session_length: float = _number(6.0, "mean number of interactions of a session, 1 at least", "[1, 100000]")
    session_gap: float = _number(2.0, "median of the days between two sessions (lognormal)", "[0.001, 10000]")
    session_gap_spread: float = _number(1.0, "standard deviation of the logarithm of these days", "[0, 5]")
    gap: float = _number(60.0, "median of the seconds between interactions of a session (lognormal)", "[0.001, 86400]")
    gap_spread: float = _number(1.0, "standard deviation of the logarithm of these seconds", "[0, 5]")
    year: int = _number(2024, "year in which the users begin", "[1970, 2099]")
    errands: float = _number(0.5, "probability that a session is an errand and not leisure", "[0, 1]")
    purity: float = _number(
        0.9, "probability that the intent drives an interaction of an errand, and taste one of leisure", "[0.5, 1]"
    )
    exposure: int = _number(20, "items shown at each interaction, of which one is taken", "[1, 10000000]")
    liking: float = _number(1.5, "how strongly a user's vector decides among the items shown", "[0, 20]")
    dimensions: int = _number(8, "size of the vectors of users and items", "[1, 1024]")
    noise: float = _number(0.05, "probability that any of the items shown is taken", "[0, 1]")

    def __post_init__(self) -> None:
        for number in fields(self):
            value, allowed = getattr(self, number.name), number.metadata["allowed"]
            whole = number.type == "int"
            if not allowed.admits(value) or (whole and not isinstance(value, int)):
                raise UsageError(f"{number.name} must be {'a whole number ' * whole}{allowed}, not {value!r}")
        if self.categories <= self.tastes:
            raise UsageError(
                f"categories must be more than tastes, so that an intent can be none of them: {self.categories} "
                f"are not more than {self.tastes}"
            )
        if self.items < self.categories:
            raise UsageError(
                f"items must be as many as categories or more: {self.items} are less than {self.categories}"
            )
        expected = self.users * self.sessions * self.session_length
        if expected > MOST_INTERACTIONS:
            raise UsageError(
                f"users x sessions x session_length must be at most {MOST_INTERACTIONS:,} interactions, "
                f"not {expected:,.0f}"
            )


@dataclass(frozen=True)
class Catalogue:
    """The items.  C categories of at most M items; what is beyond a category's own number has weight 0.

    Attributes:
        ring: ``[C, M]`` item at each position of a category's ring.
        weight: ``[C, M]`` its weight.
        size: ``[C]`` items of each category.
        category: ``[I]`` category of each item.
        category_weight: ``[C]``, adding up to 1.
        vector: ``[I, d]`` what a user's vector is multiplied with.
    """

    ring: Ints
    weight: Floats
    size: Ints
    category: Ints
    category_weight: Floats
    vector: Floats


@dataclass(frozen=True)
class Made:
    """A log of N interactions in S sessions of U users: users one after the other, each in order of time.

    Attributes:
        catalogue: the items.
        tastes: ``[S, T]`` the user's categories in each session.
        taste_weight: ``[U, T]`` probability of each; a taste that replaces another takes over its weight.
        intent: ``[S]`` category of each session's intent.
        errand: ``[S]`` whether it is an errand.
        length: ``[S]`` its interactions.
        session_user: ``[S]`` its user.
        session: ``[N]`` session of each interaction.
        user, item: ``[N]``
        time: ``[N]`` milliseconds since 1970, strictly increasing within a user.
        long: ``[N]`` whether taste drove it, and not the intent.
        user_vector: ``[U, d]`` what an item's vector is multiplied with.
    """

    catalogue: Catalogue
    tastes: Ints
    taste_weight: Floats
    intent: Ints
    errand: Bools
    length: Ints
    session_user: Ints
    session: Ints
    user: Ints
    item: Ints
    time: Ints
    long: Bools
    user_vector: Floats

    def __len__(self) -> int:
        return len(self.item)

    @property
    def first(self) -> Ints:
        """``[S]`` position of the first interaction of each session."""
        return np.cumsum(self.length) - self.length


def generate(world: World, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Made:
    """Draw a log.

    Args:
        world: its numbers.
        seed: the same one gives the same log, with the same version of NumPy.  Each stage draws from a stream
            of its own, so that for instance another ``noise`` leaves the times as they are.
        progress: is told after each block how many interactions were added, and how many there will be.

    Raises:
        UsageError: for a negative seed, or if the log would reach the year 2100.
    """
    if seed < 0:
        raise UsageError(f"seed must be in [0, inf), not {seed}")
    streams = [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(6)]
    of_items, of_users, of_times, of_tastes, of_motives, of_choices = streams

    catalogue = _catalogue(world, of_items)
    first_tastes = draw(of_users, catalogue.category_weight, world.users, world.tastes)
    taste_weight = of_users.dirichlet(np.full(world.tastes, world.taste_evenness), world.users)
    user_vector = of_users.standard_normal((world.users, world.dimensions)) / np.sqrt(world.dimensions)

    sessions = 2 + of_times.poisson(world.sessions - 2, world.users)  # [U]
    session_user = np.repeat(np.arange(world.users), sessions)
    length = 1 + of_times.poisson(world.session_length - 1, len(session_user))
    session = np.repeat(np.arange(len(length)), length)
    user = session_user[session]
    time = _times(world, of_times, sessions, length)

    tastes = _drifting(world, of_tastes, catalogue.category_weight, first_tastes, sessions)
    intent = draw(of_tastes, catalogue.category_weight, len(tastes), 1, taken=tastes)[:, 0]
    errand = of_motives.random(len(intent)) < world.errands
    as_usual = of_motives.random(len(session)) < world.purity  # the intent in an errand, taste in leisure
    long = errand[session] != as_usual

    made = Made(
        catalogue=catalogue,
        tastes=tastes,
        taste_weight=taste_weight,
        intent=intent,
        errand=errand,
        length=length,
        session_user=session_user,
        session=session,
        user=user,
        item=np.empty(len(session), np.int64),
        time=time,
        long=long,
        user_vector=user_vector,
    )
    _choose(world, of_choices, made, progress)
    return made


def draw(rng: np.random.Generator, weight: Floats, rows: int, count: int, taken: Ints | None = None) -> Ints:
    """Draw ``count`` columns in each row, without replacement, by weight.

    Args:
        rng: where the randomness comes from.
        weight: ``[M]``, or ``[rows, M]`` of each row; 0 is drawn only where nothing else is left.
        rows: how many times it is drawn.
        count: at most M.
        taken: ``[rows, T]`` columns that are not to be drawn.

    Returns:
        ``[rows, count]`` columns in ascending order.
    """
    found = np.empty((rows, count), np.int64)
    width = weight.shape[-1]
    step = max(1, _NUMBERS_AT_ONCE // width)
    for begin in range(0, rows, step):
        block = slice(begin, min(begin + step, rows))
        arrival = rng.standard_exponential((block.stop - begin, width))
        with np.errstate(divide="ignore"):
            arrival /= weight[block] if weight.ndim == 2 else weight
        if taken is not None:
            np.put_along_axis(arrival, taken[block], np.inf, axis=1)
        if count == 1:
            found[block, 0] = arrival.argmin(axis=1)
        elif count < width:
            found[block] = np.sort(np.argpartition(arrival, count - 1, axis=1)[:, :count], axis=1)
        else:
            found[block] = np.arange(width)
    return found


def _catalogue(world: World, rng: np.random.Generator) -> Catalogue:
    most = -(-world.items // world.categories)
    dealt = np.full(most * world.categories, -1)
    dealt[: world.items] = rng.permutation(world.items)
    ring = dealt.reshape(most, world.categories).T  # [C, M]
    there = ring >= 0
    lots = np.where(there, rng.random(ring.shape), np.inf)
    rank = 1 + lots.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    category = np.empty(world.items, np.int64)
    category[ring[there]] = np.nonzero(there)[0]
    category_weight = (1.0 + rng.permutation(world.categories)) ** -world.category_popularity
    return Catalogue(
        ring=ring,
        weight=np.where(there, rank**-world.popularity, 0.0),
        size=there.sum(axis=1),
        category=category,
        category_weight=category_weight / category_weight.sum(),
        vector=rng.standard_normal((world.items, world.dimensions)) / np.sqrt(world.dimensions),
    )


def _times(world: World, rng: np.random.Generator, sessions: Ints, length: Ints) -> Ints:
    """``[N]`` milliseconds since 1970."""
    begin, end = (
        int(datetime(year, 1, 1, tzinfo=timezone.utc).timestamp()) * _SECOND for year in (world.year, world.year + 1)
    )
    start = rng.integers(begin, end, len(sessions))
    total = int(length.sum())
    gap = world.gap * _SECOND * rng.lognormal(0, world.gap_spread, total)
    first = np.cumsum(length) - length  # of each session
    gap[first] = world.session_gap * _DAY * rng.lognormal(0, world.session_gap_spread, len(length))
    gap = np.maximum(np.rint(gap), 1)
    first_of_user = first[np.cumsum(sessions) - sessions]
    gap[first_of_user] = start
    last = np.add.reduceat(gap, first_of_user)
    if last.max() >= LATEST * _SECOND:
        raise UsageError(
            "the log would last until the year 2100 or longer; take an earlier year, fewer sessions or shorter gaps"
        )
    passed = np.cumsum(gap.astype(np.int64))
    before = np.append(0, passed[first_of_user[1:] - 1])  # what the users before have passed
    interactions = np.add.reduceat(length, np.cumsum(sessions) - sessions)
    return passed - np.repeat(before, interactions)


def _drifting(
    world: World, rng: np.random.Generator, category_weight: Floats, first_tastes: Ints, sessions: Ints
) -> Ints:
    """``[S, T]`` tastes of each session."""
    begin = np.cumsum(sessions) - sessions
    tastes = np.empty((int(sessions.sum()), world.tastes), np.int64)
    tastes[begin] = first_tastes
    for number in range(1, int(sessions.max())):
        here = begin[sessions > number] + number
        tastes[here] = tastes[here - 1]
        drifts = here[rng.random(len(here)) < world.drift]
        fresh = draw(rng, category_weight, len(drifts), 1, taken=tastes[drifts])[:, 0]
        tastes[drifts, rng.integers(world.tastes, size=len(drifts))] = fresh
    return tastes


def _choose(
    world: World,
    rng: np.random.Generator,
    made: Made,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Fill in the items: the first ones of all sessions together, then the second ones, which depend on these."""
    catalogue, total = made.catalogue, len(made)
    taste = (rng.random(total)[:, None] >= np.cumsum(made.taste_weight, axis=1)[made.user, :-1]).sum(axis=1)
    category = np.where(made.long, made.tastes[made.session, taste], made.intent[made.session])
    shown_at_most = min(world.exposure, catalogue.ring.shape[1])
    step = max(1, _NUMBERS_AT_ONCE // max(catalogue.ring.shape[1], shown_at_most * world.dimensions))
    reached = np.full(len(made.length), -1)  # position in the ring of each session's last item driven by the intent
    first = made.first
    for number in range(int(made.length.max())):
        sessions = np.nonzero(made.length > number)[0]
        for begin in range(0, len(sessions), step):
            of = sessions[begin : begin + step]
            here = first[of] + number
            kind, long = category[here], made.long[here]
            size, weight = catalogue.size[kind], catalogue.weight[kind]  # [R], [R, M]
            shown = draw(rng, weight, len(of), shown_at_most)
            chance = np.take_along_axis(weight, shown, axis=1)
            items = catalogue.ring[kind[long, None], shown[long]]
            inner = np.einsum("rkd,rd->rk", catalogue.vector[items], made.user_vector[made.user[here[long]]])
            chance[long] *= np.exp(world.liking * inner)
            with np.errstate(divide="ignore"):
                arrival = rng.standard_exponential(chance.shape) / chance
            walks = ~long & (reached[of] >= 0)
            steps = (shown - reached[of, None] - 1) % size[:, None]
            arrival = np.where(walks[:, None] & (shown < size[:, None]), steps, arrival)
            choice = arrival.argmin(axis=1)
            any_shown = (rng.random(len(of)) * np.minimum(shown_at_most, size)).astype(np.int64)
            choice = np.where(rng.random(len(of)) < world.noise, any_shown, choice)
            position = shown[np.arange(len(of)), choice]
            made.item[here] = catalogue.ring[kind, position]
            reached[of[~long]] = position[~long]
            if progress is not None:
                progress(len(of), total)


def past_probability(world: World, made: Made) -> Floats:
    """``[N]`` probability that taste drives an interaction, given the motives of its session's earlier ones.

    Motives of a session are independent once one knows whether it is an errand, and sessions are independent of each
    other and of what was taken; so this is all that the past says of the next motive, and no ranking by the past has
    a higher expected AUC (Neyman and Pearson).
    """
    balance = np.cumsum(np.where(made.long, -1, 1))  # short-term ones less long-term ones
    before = np.append(0, balance[:-1])
    balance = before - before[made.first][made.session]
    with np.errstate(divide="ignore", over="ignore"):
        prior = np.log(world.errands) - np.log1p(-world.errands)
        evidence = np.log(world.purity) - np.log1p(-world.purity)
        evidence = np.where(balance == 0, 0.0, balance * np.where(balance == 0, 0.0, evidence))
        errand = 1 / (1 + np.exp(-(prior + evidence)))
    return errand * (1 - world.purity) + (1 - errand) * world.purity


def ceiling_auc(world: World, made: Made) -> float | None:
    """AUC of :func:`past_probability` against the motives; ``None`` if all motives are the same."""
    from sklearn.metrics import roc_auc_score

    if made.long.all() or not made.long.any():
        return None
    # The oldest supported scikit-learn takes booleans, and gives a wrong area for them.
    return float(roc_auc_score(made.long.astype(int), past_probability(world, made)))
