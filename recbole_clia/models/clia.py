"""CLIA: contrastive long- and short-term interests, target-free and causal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from ..data.dataset import TARGETS_SUFFIX
from ..diagnosis.measures import Measures, measure
from ..errors import UsageError
from ..losses import (
    BPRLoss,
    InterestContrastiveLoss,
    info_nce,
    log_partition,
    mixture_cross_entropy,
    same_class,
    sampled_log_probability,
)
from ..nn import BitDropout, InterestFusion, LongTermEncoder, ShortTermEncoder, causal_proxies
from ..nn.rows import chosen, take_rows
from ..sampling import Anchors, augmented, halves, negative_sampler
from ..settings.schedule import Schedule

WEIGHTED = ("contrastive_loss", "augmentation", "continuity", "same_target")


class Interests(NamedTuple):
    """What histories say at the positions asked for; every tensor ``[N, D]`` but the last."""

    user: Tensor
    long_interest: Tensor
    short_interest: Tensor
    long_proxy: Tensor
    short_proxy: Tensor
    log_weight: Tensor  # [N, 2], logs of alpha and of 1 - alpha

    @property
    def alpha(self) -> Tensor:
        """Weight of the long-term interest, ``[N, 1]``."""
        return self.log_weight[:, :1].exp()


class CLIA(SequentialRecommender):  # type: ignore[misc]
    """Contrastive learning of long- and short-term interests.

    The interests at position ``t`` are a function of the first ``t`` items only, and meet an item in an inner product.
    Hence one pass over a history trains all its prefixes, and ranking the catalogue is one matrix product for each
    interest.  The probability of the next item is a mixture over what drives it::

        p(i) = alpha softmax_i(<long, i>) + (1 - alpha) softmax_i(<short, i>)

    so that alpha is the probability that the long-term interest does, and each interest learns from the targets that it
    explains.  With ``fusion: vector`` it is ``softmax_i(<alpha long + (1 - alpha) short, i>)`` (Zheng et al., WWW 2022,
    equation 14).

    Shapes below: B rows, L history length, D embedding size, I items, N positions trained.
    """

    input_type = InputType.POINTWISE  # negatives are drawn here

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.TARGETS = self.ITEM_ID + TARGETS_SUFFIX
        self.n_users = dataset.num(self.USER_ID)
        dim = config["embedding_size"]
        self.loss_type = config["loss_type"]
        budget = config["softmax_budget_mib"]
        self.softmax_budget = None if budget is None else int(budget * 2**20)
        self.recent_k = config["contrastive_recent_k"]
        self.length_threshold = config["contrastive_length_threshold"]
        self.temperature = config["temperature"]
        self.contrastive_rows = config["contrastive_rows"]
        self.operations = config["augmentation"]
        self.ratios = {name: config[f"{name}_ratio"] for name in self.operations}
        self.epoch = 0
        negatives = config["negative_num"]
        self.negative_num = Schedule({"SSM": 128}.get(self.loss_type, 1) if negatives is None else negatives)
        self.correction = config["negative_correction"]
        self.weights = {name: Schedule(config[f"{name}_weight"]) for name in WEIGHTED}

        self.item_embedding = nn.Embedding(self.n_items, dim, padding_idx=0)
        nn.init.normal_(self.item_embedding.weight, std=config["initializer_range"])
        with torch.no_grad():
            self.item_embedding.weight[0].zero_()
        self.input_norm = nn.LayerNorm(dim)
        self.dropout = BitDropout(config["dropout_prob"])
        self.long_term = LongTermEncoder(dim, self.n_users if config["user_query"] else 0)
        self.short_term = ShortTermEncoder(dim, config["hidden_size"], config["short_term_encoder"])
        self.long_output = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))
        self.short_output = nn.Sequential(nn.Linear(self.short_term.output_size, dim), nn.LayerNorm(dim))
        self.mixture = config["fusion"] == "mixture"
        self.fusion = InterestFusion(dim, self.short_term.output_size, config["fixed_alpha"])

        try:
            self.contrastive_loss = InterestContrastiveLoss(
                config["contrastive_loss"],
                config["triplet_margin"],
                config["temperature"],
                config["triplet_form"],
                config["contrastive_task_weights"],
                config["contrastive_rows"],
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.negatives = None if self.loss_type == "CE" else negative_sampler(config, dataset)

    def start_epoch(self, epoch: int) -> None:
        """Take the schedules' values of this epoch, and cluster the items anew where negatives come from clusters."""
        self.epoch = epoch
        if self.negatives is not None:
            self.negatives.refresh(self.item_embedding.weight)

    def forward(self, user: Tensor, items: Tensor, where: Tensor) -> Interests:
        """Interests at chosen positions of right-padded histories.

        Args:
            user: ``[B]`` user ids; one that the model was not built for counts as unknown.
            items: ``[B, L]`` item ids, 0 for padding.
            where: boolean ``[B, L]``, the ``N`` positions asked for.
        """
        index = chosen(where)  # [N]
        user = user.where(user < self.n_users, torch.zeros_like(user))  # [B]
        embedded = self.item_embedding(items)  # [B, L, D]
        inputs = self.dropout(self.input_norm(embedded))  # [B, L, D]
        long_state = take_rows(self.long_term(inputs, user), index)  # [N, D]
        short_state = torch.cat([take_rows(part, index) for part in self.short_term(inputs)], -1)  # [N, H + D]
        long_interest = self.long_output(long_state)  # [N, D]
        short_interest = self.short_output(short_state)  # [N, D]
        fused, log_weight = self.fusion(short_state, long_interest, short_interest)  # [N, D], [N, 2]
        long_proxy, short_proxy = (take_rows(p, index) for p in causal_proxies(embedded, self.recent_k))  # [N, D] each
        return Interests(fused, long_interest, short_interest, long_proxy, short_proxy, log_weight)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """The recommendation loss, the weighted contrast of the interests, and that of each further kind of positives
        that has a weight; means over the positions trained.

        Takes a packed batch, where every position with a target is trained, or RecBole's rows,
        where the last position of each row is.
        """
        if self.TARGETS in interaction:
            where = interaction[self.TARGETS] > 0  # [B, L]
            target = interaction[self.TARGETS][where]  # [N]
        else:
            where = self._last_position(interaction)  # [B, L]
            target = interaction[self.POS_ITEM_ID]  # [N]
        interests = self.forward(interaction[self.USER_ID], interaction[self.ITEM_SEQ], where)
        length = torch.arange(1, where.shape[1] + 1, device=where.device).expand_as(where)[where]  # [N]
        contrast = self.contrastive_loss(*interests[1:5], mask=length > self.length_threshold)
        user = interaction[self.USER_ID].unsqueeze(1).expand_as(where)[where]  # [N]
        losses = [
            self._recommendation_loss(interests, target, user),
            self.weights["contrastive_loss"].at(self.epoch) * contrast,
        ]
        further = {
            "augmentation": lambda: self._augmentation(interaction),
            "continuity": lambda: self._continuity(interaction),
            "same_target": lambda: self._same_target(interests.user, target),
        }
        for name, loss in further.items():
            if not self.weights[name].is_zero:
                weight = self.weights[name].at(self.epoch)
                losses.append(weight * loss() if weight else target.new_zeros((), dtype=contrast.dtype))
        return tuple(losses)

    def _queries(self, interests: Interests) -> tuple[Tensor, Tensor]:
        """The vectors that meet the items, ``[K, N, D]``, and the logs of their weights, ``[N, K]``."""
        if self.mixture:
            return torch.stack([interests.long_interest, interests.short_interest]), interests.log_weight
        return interests.user.unsqueeze(0), interests.user.new_zeros((len(interests.user), 1))

    def _recommendation_loss(self, interests: Interests, target: Tensor, user_id: Tensor) -> Tensor:
        queries, log_weight = self._queries(interests)
        if self.loss_type == "CE":
            return mixture_cross_entropy(queries, log_weight, self.item_embedding.weight, target, self.softmax_budget)
        assert self.negatives is not None  # a model is trained with its data

        def score(candidates: Tensor) -> Tensor:  # [N or 1, n] -> [K, N, n]
            if len(candidates) == 1:
                return queries @ self.item_embedding(candidates[0]).T
            return torch.einsum("knd,nmd->knm", queries, self.item_embedding(candidates))

        anchors = Anchors(target, user_id, lambda candidates: _mixed(score(candidates), log_weight))
        draw = self.negatives(anchors, round(self.negative_num.at(self.epoch)))
        positive, negative = (queries * self.item_embedding(target)).sum(-1), score(draw.items)  # [K, N], [K, N, n]
        if self.loss_type == "BPR":
            return BPRLoss.of_mixture(positive.unsqueeze(-1), negative, log_weight, draw.usable)
        count = draw.log_count if self.correction else None
        of_part = [sampled_log_probability(p, n, count, draw.usable) for p, n in zip(positive, negative, strict=True)]
        joint = torch.stack(of_part, -1) + log_weight  # [N, K]
        return -joint.logsumexp(-1).mean() if len(joint) else joint.sum()

    def _augmentation(self, interaction: Any) -> Tensor:
        """Two random views of each history lead to the same user."""
        user, items, length = (interaction[name] for name in (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN))
        views = [augmented(items, length, self.operations, self.ratios) for _ in range(2)]
        one, other = (self.forward(user, *self._at_the_end(*view)).user for view in views)  # [B, D] each
        return info_nce(one, other, user, self.temperature)

    def _continuity(self, interaction: Any) -> Tensor:
        """The older and the newer half of a history have the same long-term interest."""
        long = interaction[self.ITEM_SEQ_LEN] > 1
        user, items, length = (interaction[name][long] for name in (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN))
        older, older_length, newer, newer_length = halves(items, length)
        one = self.forward(user, *self._at_the_end(older, older_length)).long_interest  # [B, D]
        other = self.forward(user, *self._at_the_end(newer, newer_length)).long_interest  # [B, D]
        return info_nce(one, other, user, self.temperature)

    def _same_target(self, user: Tensor, target: Tensor) -> Tensor:
        """Histories that lead to the same item lead to similar users."""
        if len(target) > self.contrastive_rows:
            rows = torch.randperm(len(target), device=target.device)[: self.contrastive_rows]
            user, target = user[rows], target[rows]
        return same_class(user, target, self.temperature)

    @staticmethod
    def _at_the_end(items: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Histories, and where their last items are, ``[B, L]`` each."""
        return items, torch.arange(1, items.shape[1] + 1, device=items.device) == length.unsqueeze(-1)

    def _last_position(self, interaction: Any) -> Tensor:
        return self._at_the_end(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])[1]

    def _of_rows(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """The queries at the end of each row, ``[K, B, D]``, and the logs of their weights, ``[B, K]``."""
        where = self._last_position(interaction)  # [B, L]
        return self._queries(self.forward(interaction[self.USER_ID], interaction[self.ITEM_SEQ], where))

    def predict(self, interaction: Any) -> Tensor:
        """Score of each row's item, ``[B]``: the log of its probability, or with fusion: vector the inner product.

        A history that several rows share, as in sampled evaluation, is encoded once.
        """
        fields = (self.USER_ID, self.ITEM_SEQ_LEN, self.ITEM_SEQ)
        item = interaction[self.ITEM_ID]
        known = torch.cat([interaction[field].view(len(item), -1) for field in fields], 1)
        same, of_row = known.unique(dim=0, return_inverse=True)  # [H, ...], [B]
        one_row = of_row.new_empty(len(same)).scatter(0, of_row, torch.arange(len(item), device=item.device))  # [H]
        queries, log_weight = self._of_rows({field: interaction[field][one_row] for field in fields})
        scores = (queries[:, of_row] * self.item_embedding(item)).sum(-1)  # [K, B]
        if not self.mixture:
            return scores[0]
        mass = [log_partition(query, self.item_embedding.weight, self.softmax_budget) for query in queries]
        mixed = (scores + (log_weight.T - torch.stack(mass))[:, of_row]).logsumexp(0)
        return mixed.masked_fill(item == 0, -torch.inf)

    @contextmanager
    def fixed_alpha(self, alpha: float) -> Iterator[None]:
        """Score with this weight of the long-term interest meanwhile: 1 and 0 are each branch alone."""
        before, self.fusion.fixed_alpha = self.fusion.fixed_alpha, alpha
        try:
            yield
        finally:
            self.fusion.fixed_alpha = before

    def measure(self, interaction: Any) -> Measures:
        """What the interests, the attention and the fusion are like at the end of each row."""
        items, length, user = (interaction[name] for name in (self.ITEM_SEQ, self.ITEM_SEQ_LEN, self.USER_ID))
        found = self.forward(user, items, self._last_position(interaction))
        user = user.where(user < self.n_users, torch.zeros_like(user))
        inputs = self.input_norm(self.item_embedding(items))  # [B, L, D]
        return measure(
            found.alpha.squeeze(-1),
            (found.long_interest, found.short_interest),
            (found.long_proxy, found.short_proxy),
            (self.long_term.weights(inputs, user), self.short_term.weights(inputs, length)),
            torch.arange(items.shape[1], device=items.device) < length.unsqueeze(-1),
        )

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, ``[B, I]``."""
        queries, log_weight = self._of_rows(interaction)
        scores = queries @ self.item_embedding.weight.T  # [K, B, I]
        if not self.mixture:
            return scores[0]
        scores[..., 0] = -torch.inf  # padding has no probability
        return _mixed(scores, log_weight)


def _mixed(scores: Tensor, log_weight: Tensor) -> Tensor:
    """Logarithms ``[N, n]`` of the mixed softmaxes of ``scores [K, N, n]``; one part's scores stay as they are."""
    if len(scores) == 1:
        return scores[0]
    return (scores.log_softmax(-1) + log_weight.T.unsqueeze(-1)).logsumexp(0)
