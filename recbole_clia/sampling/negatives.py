"""The negatives of a batch, by any of the strategies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .clusters import ClusteredItems
from .in_batch import others_of_batch
from .seen import SeenItems
from .weighted import WeightedItems

STRATEGIES = ("uniform", "popularity", "in_batch", "cluster", "hard", "online")
# Rounds in which items of the history are drawn again, before the few rows that still have one are drawn exactly.
ROUNDS = 20


class Anchors(NamedTuple):
    """The rows that need negatives."""

    target: Tensor  # [N]
    user: Tensor  # [N]
    score: Callable[[Tensor], Tensor]  # items [N or 1, n] -> scores [N, n]; asked without gradient


class Draw(NamedTuple):
    """Negatives of ``N`` rows."""

    items: Tensor  # [N, n], or [1, n] where all rows share them
    usable: Tensor | None  # [N, n], which of them are no negatives of the row; all are, if None
    log_count: Tensor | None  # [N or 1, n], log of the expected number of times that an item is drawn


class NegativeSampler(nn.Module):
    """Items that are wrong answers, never a row's own target.

    - ``uniform``: all other items alike;
    - ``popularity``: in proportion to ``popularity ** exponent``;
    - ``in_batch``: targets of other rows of the batch, each such row alike;
    - ``cluster``: all items alike that k-means puts in another cluster than the target's;
    - ``hard``: of a pool of uniform candidates the highest-scored (Zhang et al., "Optimizing Top-N Collaborative
      Filtering via Dynamic Negative Item Sampling", SIGIR 2013);
    - ``online``: of such a pool, without replacement, in proportion to ``exp(score / temperature)`` of the model as it
      is.

    Args:
        strategy: one of the above.
        popularity: ``[I]`` number of times that each item is a training target.
        exponent, clusters, pool, temperature: of the strategies above.
        shared: whether all rows of a batch share one draw. What is no negative of a row is marked, then;
            otherwise each row has as many as were asked for.
        seen: the items that each user has had, if they are to be left out too.

    Raises:
        ValueError: for another strategy, or if fewer than two items can be drawn.
    """

    counted: Tensor | None

    def __init__(
        self,
        strategy: str,
        popularity: Tensor,
        exponent: float = 1.0,
        clusters: int = 16,
        pool: int = 100,
        temperature: float = 1.0,
        shared: bool = False,
        seen: SeenItems | None = None,
    ) -> None:
        super().__init__()
        if strategy not in STRATEGIES:
            raise ValueError(f"negative sampling must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
        self.strategy, self.shared, self.seen = strategy, shared, seen
        self.item_num, self.pool, self.temperature = len(popularity), pool, temperature
        self.uniform = WeightedItems.uniform(self.item_num)
        self.popular = WeightedItems.popular(popularity, exponent) if strategy == "popularity" else None
        self.clustered = ClusteredItems(self.item_num, clusters) if strategy == "cluster" else None
        # What a softmax has to be corrected by; the other strategies are biased on purpose.
        counted = {"uniform": self.uniform.weight, "in_batch": popularity.double()}
        if self.popular is not None:
            counted["popularity"] = self.popular.weight
        self.register_buffer("counted", counted.get(strategy), persistent=False)

    def refresh(self, embedding: Tensor) -> None:
        """Take the item embeddings ``[I, D]`` of a new epoch into account."""
        if self.clustered is not None:
            self.clustered.refresh(embedding)

    @torch.no_grad()
    def forward(self, anchors: Anchors, number: int) -> Draw:
        """``number`` negatives for each row, or for all rows together if ``shared``."""
        if not len(anchors.target):
            return Draw(anchors.target.new_zeros((0, number)), None, None)
        if self.strategy in ("hard", "online"):
            return self._of_pool(anchors, number)
        items, usable = self._candidates(anchors, number)
        return Draw(items, usable, self._log_count(anchors, items))

    def _candidates(self, anchors: Anchors, number: int) -> tuple[Tensor, Tensor | None]:
        if self.shared:
            items = self._any(anchors.target, number).unsqueeze(0)  # [1, n]
            return items, self._allowed(anchors, items)
        items = self._other(anchors.target, number)  # [N, n]
        if self.seen is not None:
            self._leave_out_seen(anchors, items, self.seen)
        return items, None

    def _any(self, target: Tensor, number: int) -> Tensor:
        if self.strategy == "in_batch":
            return target[torch.randint(len(target), (number,), device=target.device)]
        return (self.popular or self.uniform).any(number)

    def _other(self, target: Tensor, number: int, rows: Tensor | None = None) -> Tensor:
        """Items ``[R, n]`` other than the target, for some rows of the batch or for all."""
        if self.strategy == "in_batch":
            return others_of_batch(target, number, self.item_num, rows)
        own = target if rows is None else target[rows]
        source: Any = self.clustered or self.popular or self.uniform
        drawn: Tensor = source(own, number)
        return drawn

    def _allowed(self, anchors: Anchors, items: Tensor) -> Tensor:
        allowed = items != anchors.target.unsqueeze(-1)  # [N, n]
        if self.clustered is not None:
            allowed &= self.clustered.apart(anchors.target, items)
        if self.seen is not None:
            allowed &= ~self.seen.contains(anchors.user, items)
        return allowed

    def _leave_out_seen(self, anchors: Anchors, items: Tensor, seen: SeenItems) -> None:
        """Draw again, in place, what the user has had."""
        rows = torch.arange(len(items), device=items.device)
        for _ in range(ROUNDS):
            again = seen.contains(anchors.user[rows], items[rows])  # [R, n]
            left = again.any(-1)
            rows, again = rows[left], again[left]
            if not len(rows):
                return
            items[rows] = torch.where(again, self._other(anchors.target, items.shape[1], rows), items[rows])
        for row in rows[seen.contains(anchors.user[rows], items[rows]).any(-1)]:
            self._draw_exactly(anchors, items, row, seen)

    def _draw_exactly(self, anchors: Anchors, items: Tensor, row: Tensor, seen: SeenItems) -> None:
        """Weigh every item for the row of a user who has had nearly all that can be drawn."""
        every = torch.arange(self.item_num, device=items.device).unsqueeze(0)  # [1, I]
        user, target = anchors.user[row : row + 1], anchors.target[row : row + 1]
        had = seen.contains(user, every)[0]
        other = (every[0] != 0) & (every[0] != target)
        own = self.counted if self.strategy != "in_batch" else anchors.target.bincount(minlength=self.item_num)
        weight = torch.ones(self.item_num, device=items.device) if own is None else own
        if self.clustered is not None:
            weight = self.clustered.apart(target, every)[0]
        weight = weight.double() * other
        # Where nothing else is left: any item that is new to the user, and then any but the target.
        choices = [weight * ~had, (other & ~had).double(), other.double()]
        weight = next((choice for choice in choices if choice.sum() > 0), choices[-1])
        again = seen.contains(user, items[row : row + 1])[0]  # [n]
        items[row, again] = torch.multinomial(weight, int(again.sum()), replacement=True)

    def _log_count(self, anchors: Anchors, items: Tensor) -> Tensor | None:
        if self.counted is None:
            return None
        weight = self.counted.clamp(min=1)  # what is never drawn by its weight stands in where nothing else is left
        mass = self.counted.sum()
        if self.shared:
            if self.strategy == "in_batch":  # one row of the batch is the row itself
                mass = mass * len(anchors.target) / max(1, len(anchors.target) - 1)
        else:
            own = self.counted[anchors.target]  # [N]
            source = None if self.strategy == "in_batch" else self.popular or self.uniform
            others = mass - own if source is None else source.mass_of_others(anchors.target)  # [N]
            if self.seen is not None:
                had = self.seen.contains(anchors.user, anchors.target.unsqueeze(-1)).squeeze(-1)
                others = others - self.seen.mass(anchors.user, self.counted) + own * had
            mass = others.clamp(min=torch.finfo(torch.float64).tiny).unsqueeze(-1)  # [N, 1]
        return math.log(items.shape[1]) + weight[items].log() - mass.log()

    def _of_pool(self, anchors: Anchors, number: int) -> Draw:
        items, usable = self._candidates(anchors, max(self.pool, number))
        score = anchors.score(items)  # [N, pool]
        if self.strategy == "online":
            noise = -torch.empty_like(score).exponential_().log()  # Gumbel: the top n are a draw without replacement
            score = score / self.temperature + noise
        if usable is not None:
            score = score.masked_fill(~usable, -torch.inf)
        top = score.topk(number, -1).indices  # [N, n]
        return Draw(items.expand(len(top), -1).gather(1, top), None if usable is None else usable.gather(1, top), None)


def negative_sampler(config: Any, dataset: Any) -> NegativeSampler | None:
    """The sampler that a model's settings ask for; none where a model is loaded without its data.

    Raises:
        UsageError: if fewer than two items can be drawn.
    """
    features = getattr(dataset, "inter_feat", None)
    if features is None:
        return None
    items = dataset.num(config["ITEM_ID_FIELD"])
    seen = None
    if config["exclude_history"]:
        pairs = dataset.inter_matrix("coo")
        seen = SeenItems(torch.from_numpy(pairs.row), torch.from_numpy(pairs.col), items)
    try:
        return NegativeSampler(
            config["negative_sampling"],
            features[config["ITEM_ID_FIELD"]].bincount(minlength=items),
            config["popularity_exponent"],
            config["negative_clusters"],
            config["negative_pool"],
            config["negative_temperature"],
            bool(config["negative_shared"]),
            seen,
        )
    except ValueError as error:
        raise UsageError(f"negative_sampling: {error}") from error
