"""Sampled evaluation in which each positive is ranked among its own negatives.

RecBole ranks all positives of a user together, in one row with a place for each item: an item that is drawn twice
counts once, with the history of one of them.  With ``sampled_groups: 'positive'`` a group is one positive with its
negatives, all different.  RecBole's own classes compute their metrics from such groups; :class:`PooledAUC` is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from recbole.data.dataloader import NegSampleEvalDataLoader
from recbole.data.dataloader.abstract_dataloader import NegSampleDataLoader
from recbole.data.interaction import Interaction
from recbole.evaluator import Collector, register
from recbole.evaluator.metrics import AUC
from recbole.utils import EvaluatorType, InputType
from torch import Tensor

from ..data.order import count_ids
from ..errors import UsageError
from ..settings.config import sampled_negatives

PHASES = ("valid", "test")
Ints = NDArray[np.int64]


class DistinctNegatives:
    """Items for a positive, one after the other in proportion to ``weight`` among those that are not yet drawn.

    That is the law of drawing interactions of a log at random, and leaving out the positive and what is there
    already, as the published code of CLSR does.  A row's negatives depend on the seed, the phase and the row alone.

    Args:
        phase: ``"valid"`` or ``"test"``.
        weight: ``[I]`` whole numbers; what has 0 is never drawn.
        number: negatives of each row.
        seed: of all rows.

    Raises:
        UsageError: if there are too few items.
    """

    def __init__(self, phase: str, weight: Ints, number: int, seed: int) -> None:
        items = int((weight > 0).sum())
        if items <= number:
            raise UsageError(
                f"eval_args: {number} negatives of each positive need {number + 1} items, and there are {items}"
            )
        self.phase, self.number, self.seed = phase, number, seed
        self.weight, self.up_to = weight, weight.cumsum()
        self.at_once = 3 * number  # mostly enough for ``number`` different ones

    def draw(self, rows: Sequence[int] | Ints, positive: Ints) -> Ints:
        """Negatives ``[B, n]`` of the rows with these numbers ``[B]`` and positives ``[B]``."""
        streams = [np.random.default_rng((self.seed, PHASES.index(self.phase), int(row))) for row in rows]
        places = np.stack([stream.integers(self.up_to[-1], size=self.at_once) for stream in streams])  # [B, K]
        drawn = np.searchsorted(self.up_to, places, side="right")  # [B, K]
        fresh = _first_ones(drawn) & (drawn != positive[:, None])
        rank = fresh.cumsum(1)  # [B, K]
        fresh &= rank <= self.number
        found = np.zeros((len(drawn), self.number), dtype=np.int64)
        row, column = fresh.nonzero()
        found[row, rank[row, column] - 1] = drawn[row, column]
        for row in np.flatnonzero(rank[:, -1] < self.number):
            have = int(rank[row, -1])
            found[row, have:] = self._complete(streams[row], np.append(found[row, :have], positive[row]))
        return found

    def _complete(self, stream: np.random.Generator, taken: Ints) -> Ints:
        """The rest of a row: the order of Gumbel variates is that of drawing without replacement."""
        weight = self.weight.astype(np.float64)
        weight[taken] = 0
        with np.errstate(divide="ignore"):
            key = np.log(weight) + stream.gumbel(size=len(weight))
        return (-key).argsort()[: self.number + 1 - len(taken)]


def _first_ones(values: Ints) -> NDArray[np.bool_]:
    """Which values of each row ``[B, K]`` have none like them before."""
    order = values.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    first = np.ones(values.shape, dtype=bool)
    np.put_along_axis(first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], axis=1)
    return first


class Groups(NamedTuple):
    """A batch of sampled evaluation: first all positives, then a negative of each, then another of each ..."""

    interaction: Interaction
    row: Tensor  # [B (1 + n)], the group of each
    positive_row: Tensor  # [B]
    positive_item: Tensor  # [B]


class GroupLoader(NegSampleEvalDataLoader):  # type: ignore[misc]
    """Batches of :class:`Groups`; ``sampler`` is a :class:`DistinctNegatives`."""

    def __init__(self, config: Any, dataset: Any, sampler: DistinctNegatives, shuffle: bool = False) -> None:
        self._set_neg_sample_args(config, dataset, InputType.POINTWISE, config[f"{sampler.phase}_neg_sample_args"])
        self.sample_size = len(dataset)
        NegSampleDataLoader.__init__(self, config, dataset, sampler, shuffle=False)

    def _init_batch_size_and_step(self) -> None:
        self.step = max(1, self.config["eval_batch_size"] // self.times)
        self.set_batch_size(self.step * self.times)

    def collate_fn(self, index: Sequence[int]) -> Groups:
        rows = self.transform(self._dataset, self._dataset[np.array(index)])
        positive = rows[self.iid_field].clone()
        negative = torch.from_numpy(self._sampler.draw(index, positive.numpy()))  # [B, n]
        group = torch.arange(len(positive))
        everything = self._neg_sample_by_point_wise_sampling(rows, negative.T.flatten())
        return Groups(everything, group.repeat(self.times), group, positive)


class PooledAUC(AUC):  # type: ignore[misc]
    """Chance that a positive scores above a negative, ties counting half, over all pairs whosever they are.

    It is RecBole's ``AUC``, which RecBole computes beside no ranking metric.  With several processes it is the mean of
    theirs, as every metric is in RecBole.
    """

    metric_type = EvaluatorType.RANKING
    metric_need = ("rec.groups",)

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        return self.output_metric("pooledauc", dataobject)

    def used_info(self, dataobject: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """All scores, and which are of positives."""
        scores = dataobject.get("rec.groups").numpy()  # [T, 1 + n]
        is_positive = np.zeros(scores.shape, dtype=bool)
        is_positive[:, 0] = True
        return scores.ravel(), is_positive.ravel()


def ranks_of_users(user: Tensor, scores: Tensor) -> Tensor:
    """What RecBole's ``GAUC`` needs of each user: sum of the ranks of the positives, candidates and positives.

    Args:
        user: ``[T]`` of each group.
        scores: ``[T, 1 + n]``, the positive's first.

    Returns:
        ``[U, 3]`` in float64; the highest score of a user has rank 1, and ties share their mean rank.
    """
    users, size = scores.shape
    frame = pd.DataFrame({"user": user.repeat_interleave(size).numpy(), "score": scores.flatten().numpy()})
    rank = frame.groupby("user")["score"].rank(ascending=False).to_numpy().reshape(users, size)
    positives = pd.DataFrame({"user": user.numpy(), "rank": rank[:, 0]}).groupby("user")["rank"]
    number = positives.count().to_numpy()
    return torch.from_numpy(np.stack([positives.sum().to_numpy(), number * size, number], axis=1).astype(np.float64))


def offer_sampled_groups() -> None:
    """Let RecBole evaluate with ``sampled_groups: 'positive'``, and know :class:`PooledAUC`."""
    import recbole.data
    import recbole.data.utils as utils
    from recbole.trainer import Trainer

    register.metrics_dict["pooledauc"] = PooledAUC
    register.metric_information["pooledauc"] = PooledAUC.metric_need
    register.metric_types["pooledauc"] = PooledAUC.metric_type
    _offer_loader(utils, recbole.data)
    _score_groups(Trainer)
    _collect_groups(Collector)


def _ranks_groups(config: Any, phase: str) -> bool:
    return config["sampled_groups"] == "positive" and sampled_negatives(config, phase) > 0


def _offer_loader(utils: Any, package: Any) -> None:
    host_get_dataloader, host_create_samplers = utils.get_dataloader, utils.create_samplers

    def get_dataloader(config: Any, phase: str) -> type:
        if phase in PHASES and _ranks_groups(config, phase):
            return GroupLoader
        return host_get_dataloader(config, phase)

    def create_samplers(config: Any, dataset: Any, built_datasets: Any) -> tuple[Any, ...]:
        ours = [phase for phase in PHASES if _ranks_groups(config, phase)]
        if not ours:
            return host_create_samplers(config, dataset, built_datasets)
        nothing = {f"{phase}_neg_sample_args": {"distribution": "none"} for phase in ours}
        samplers = list(host_create_samplers({**config.final_config_dict, **nothing}, dataset, built_datasets))
        popularity = count_ids(dataset.log.columns[dataset.iid_field].numpy(), dataset.item_num).astype(np.int64)
        for phase in ours:
            by_popularity = config[f"{phase}_neg_sample_args"]["distribution"] == "popularity"
            weight = popularity if by_popularity else (popularity > 0).astype(np.int64)
            number = sampled_negatives(config, phase)
            samplers[1 + PHASES.index(phase)] = DistinctNegatives(phase, weight, number, config["seed"])
        return tuple(samplers)

    utils.get_dataloader = package.get_dataloader = get_dataloader
    utils.create_samplers = package.create_samplers = create_samplers


def _score_groups(trainer: Any) -> None:
    host_batch_eval = trainer._neg_sample_batch_eval

    def _neg_sample_batch_eval(self: Any, batch: Any) -> Any:
        """Scores of a batch, with a place for each candidate of a group in place of one for each item."""
        if not isinstance(batch, Groups):
            return host_batch_eval(self, batch)
        collector, rows = self.eval_collector, len(batch.positive_item)
        items = batch.interaction[self.config["ITEM_ID_FIELD"]].view(-1, rows).T.to(self.device)  # [B, 1 + n]
        if collector.register.need("rec.items"):  # metrics of which items are shown
            result = host_batch_eval(self, batch)
            scores = result[1].gather(1, items)
        else:
            if items.numel() <= self.test_batch_size:
                scores = self.model.predict(batch.interaction.to(self.device))
            else:
                scores = self._spilt_predict(batch.interaction, items.numel())
            scores = scores.view(-1, rows).T  # [B, 1 + n]
            # In order of the items, so that ties go neither for nor against the positive.
            order = items.argsort(1)
            places = max(items.shape[1], *self.config["topk"]) + 1  # RecBole finds the end of a row by its infinity
            ranked = scores.new_full((rows, places), -torch.inf)
            ranked[:, : items.shape[1]] = scores.gather(1, order)
            result = batch.interaction, ranked, batch.positive_row, (order == 0).int().argmax(1).cpu()
        user = batch.interaction[self.config["USER_ID_FIELD"]][:rows]
        collector.__dict__.setdefault("groups", []).append((user.cpu(), scores.cpu()))
        return result

    trainer._neg_sample_batch_eval = _neg_sample_batch_eval


def _collect_groups(collector: Any) -> None:
    host_get_data_struct = collector.get_data_struct

    def get_data_struct(self: Any) -> Any:
        groups = self.__dict__.pop("groups", [])
        if groups:
            user, scores = (torch.cat(column) for column in zip(*groups, strict=True))
            if self.register.need("rec.groups"):
                self.data_struct.set("rec.groups", scores)
            if self.register.need("rec.meanrank"):
                self.data_struct.set("rec.meanrank", ranks_of_users(user, scores))
        struct = host_get_data_struct(self)
        if "rec.groups" in self.data_struct:
            del self.data_struct["rec.groups"]
        return struct

    collector.get_data_struct = get_data_struct
