"""CLIA: contrastive long- and short-term interests, target-free and causal."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from ..data.dataset import TARGETS_SUFFIX
from ..errors import UsageError
from ..losses import BPRLoss, InterestContrastiveLoss, linear_cross_entropy
from ..nn import BitDropout, InterestFusion, LongTermEncoder, ShortTermEncoder, causal_proxies
from ..nn.rows import chosen, take_rows


class Interests(NamedTuple):
    """What histories say at the positions asked for; every tensor ``[N, D]`` but ``alpha``."""

    user: Tensor
    long_interest: Tensor
    short_interest: Tensor
    long_proxy: Tensor
    short_proxy: Tensor
    alpha: Tensor  # [N, 1]


class CLIA(SequentialRecommender):  # type: ignore[misc]
    """Contrastive learning of long- and short-term interests.

    The interests at position ``t`` are a function of the first ``t`` items only, and an item's score
    is its inner product with the user's vector.  Hence one pass over a history trains all its
    prefixes, and ranking the catalogue is one matrix product.

    Shapes below: B rows, L history length, D embedding size, I items, N positions trained.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.TARGETS = self.ITEM_ID + TARGETS_SUFFIX
        self.NEG_TARGETS = config["NEG_PREFIX"] + self.TARGETS
        self.n_users = dataset.num(self.USER_ID)
        dim = config["embedding_size"]
        self.loss_type = config["loss_type"]
        if self.loss_type == "BPR" and config["train_neg_sample_args"]["distribution"] == "none":
            raise UsageError("train_neg_sample_args: BPR needs negatives; give a distribution, or set loss_type: CE")
        budget = config["softmax_budget_mib"]
        self.softmax_budget = None if budget is None else int(budget * 2**20)
        self.contrastive_loss_weight = config["contrastive_loss_weight"]
        self.recent_k = config["contrastive_recent_k"]
        self.length_threshold = config["contrastive_length_threshold"]

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
        self.fusion = InterestFusion(dim, self.short_term.output_size, config["fixed_alpha"])

        self.bpr_loss = BPRLoss()
        self.contrastive_loss = InterestContrastiveLoss(
            config["contrastive_loss"], config["triplet_margin"], config["temperature"]
        )

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
        fused, alpha = self.fusion(short_state, long_interest, short_interest)  # [N, D], [N, 1]
        long_proxy, short_proxy = (take_rows(p, index) for p in causal_proxies(embedded, self.recent_k))  # [N, D] each
        return Interests(fused, long_interest, short_interest, long_proxy, short_proxy, alpha)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """The recommendation and the weighted contrastive loss, means over the positions trained.

        Takes a packed batch, where every position with a target is trained, or RecBole's rows,
        where the last position of each row is.
        """
        if self.TARGETS in interaction:
            where = interaction[self.TARGETS] > 0  # [B, L]
            target = interaction[self.TARGETS][where]  # [N]
            negative = interaction[self.NEG_TARGETS][where] if self.loss_type == "BPR" else None  # [N, n]
        else:
            where = self._last_position(interaction)  # [B, L]
            target = interaction[self.POS_ITEM_ID]  # [N]
            negative = interaction[self.NEG_ITEM_ID].unsqueeze(-1) if self.loss_type == "BPR" else None  # [N, 1]
        interests = self.forward(interaction[self.USER_ID], interaction[self.ITEM_SEQ], where)
        length = torch.arange(1, where.shape[1] + 1, device=where.device).expand_as(where)[where]  # [N]
        contrast = self.contrastive_loss(*interests[1:5], mask=length > self.length_threshold)
        return (
            self._recommendation_loss(interests.user, target, negative),
            self.contrastive_loss_weight * contrast,
        )

    def _recommendation_loss(self, user: Tensor, target: Tensor, negative: Tensor | None) -> Tensor:
        if negative is None:
            return linear_cross_entropy(user, self.item_embedding.weight, target, self.softmax_budget)
        positive_emb = self.item_embedding(target).unsqueeze(1)  # [N, 1, D]
        return self.bpr_loss(user.unsqueeze(1), positive_emb, self.item_embedding(negative))

    def _last_position(self, interaction: Any) -> Tensor:
        items, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        return torch.arange(1, items.shape[1] + 1, device=items.device) == length.unsqueeze(-1)  # [B, L]

    def _user(self, interaction: Any) -> Tensor:
        where = self._last_position(interaction)  # [B, L]
        return self.forward(interaction[self.USER_ID], interaction[self.ITEM_SEQ], where).user  # [B, D]

    def predict(self, interaction: Any) -> Tensor:
        """Score of each row's item, ``[B]``."""
        return (self._user(interaction) * self.item_embedding(interaction[self.ITEM_ID])).sum(-1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, ``[B, I]``."""
        return self._user(interaction) @ self.item_embedding.weight.T
