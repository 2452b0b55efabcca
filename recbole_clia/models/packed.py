"""RecBole's models whose position t sees the first t items only, trained on all positions of a window in one pass.

The layers, the weights and the scores are RecBole's; rows are ranked with those of similar length.  RecBole's rows are
left-aligned as windows are, so the vector at position t is the one that RecBole computes for the row of these items.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from recbole.model.sequential_recommender.core import CORE
from recbole.model.sequential_recommender.gru4rec import GRU4Rec
from recbole.model.sequential_recommender.narm import NARM
from recbole.model.sequential_recommender.sasrec import SASRec
from torch import Tensor
from torch.nn import functional as F

from ..data.dataset import TARGETS_SUFFIX
from ..losses import linear_cross_entropy, logits_dtype
from ..nn import additive_prefix_sum
from ..nn.rows import chosen, similar_lengths, take_rows


class _Packed:
    """RecBole's cross-entropy for a packed batch; whatever is not one goes to RecBole's class, which follows this one.

    The padding competes with the items, since it does so in RecBole.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        budget = config["softmax_budget_mib"]
        self.softmax_budget = None if budget is None else int(budget * 2**20)
        self.softmax_dtype = config["softmax_dtype"]

    def users(self, items: Tensor, trained: Tensor) -> Tensor:
        """What meets the items at the positions ``trained [N]`` of windows ``items [B, L]``, ``[N, D]``."""
        raise NotImplementedError

    def scored_items(self) -> Tensor:
        """The vectors of the items that meet the users, ``[I, D]``."""
        weight: Tensor = cast(Any, self).item_embedding.weight
        return weight

    def forward(self, item_seq: Tensor, *item_seq_len: Tensor) -> Tensor:
        """The users ``[B, D]`` of RecBole's rows; some models ask for their lengths ``[B]``."""
        host = cast(Any, super())
        if cast(Any, self).training:
            return cast(Tensor, host.forward(item_seq, *item_seq_len))
        length = (item_seq > 0).sum(1)  # [B]
        groups, back = similar_lengths(length)
        parts = []
        for rows in groups:
            width = max(1, int(length[rows].max())) if len(rows) else 1
            parts.append(host.forward(item_seq[rows, :width], *(of_row[rows] for of_row in item_seq_len)))
        return torch.cat(parts)[back]

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Mean over the targets of a packed batch, or over the rows of RecBole's."""
        this: Any = self
        field = this.ITEM_ID + TARGETS_SUFFIX
        if field not in interaction.interaction:
            return super().calculate_loss(interaction)  # type: ignore[misc]
        targets = interaction[field]  # [B, L]
        trained = chosen(targets > 0)  # [N]
        user = self.users(interaction[this.ITEM_SEQ], trained)  # [N, D]
        # linear_cross_entropy leaves row 0 out: a row before the padding's takes that place.
        items = F.pad(self.scored_items(), (0, 0, 1, 0))  # [1 + I, D]
        dtype = logits_dtype(self.softmax_dtype, items)
        return linear_cross_entropy(user, items, targets.flatten()[trained] + 1, self.softmax_budget, dtype)


class _Gathered(_Packed):
    """A model that computes all positions of a row, and then gathers the last one."""

    _trained: Tensor | None = None

    def users(self, items: Tensor, trained: Tensor) -> Tensor:
        """RecBole's own forward pass, with all trained positions gathered."""
        self._trained = trained
        try:
            users: Tensor = super(_Packed, self).forward(items, (items > 0).sum(1))  # type: ignore[misc]
        finally:
            self._trained = None
        return users

    def gather_indexes(self, output: Tensor, gather_index: Tensor) -> Tensor:
        """The vectors of the trained positions ``[N, D]`` of ``output [B, L, D]``, or RecBole's one of each row."""
        if self._trained is None:
            return super().gather_indexes(output, gather_index)  # type: ignore[misc]
        return take_rows(output, self._trained)


class PackedGRU4Rec(_Gathered, GRU4Rec):  # type: ignore[misc]
    """RecBole's GRU4Rec."""


class PackedSASRec(_Gathered, SASRec):  # type: ignore[misc]
    """RecBole's SASRec."""


class PackedNARM(_Packed, NARM):  # type: ignore[misc]
    """RecBole's NARM: each position attends to the states up to it by a perceptron, without a softmax."""

    def users(self, items: Tensor, trained: Tensor) -> Tensor:
        """NARM's equations 5 to 8 with the trained positions for the last one."""
        states, _ = self.gru(self.emb_dropout(self.item_embedding(items)))  # [B, L, H]
        last = take_rows(states, trained)  # [N, H]
        score = self.v_t.weight.squeeze(0)  # [H]
        local = additive_prefix_sum(self.a_1(states), self.a_2(last), score, states, trained)  # [N, H]
        users: Tensor = self.b(self.ct_dropout(torch.cat([local, last], 1)))  # [N, D]
        return users


class PackedCORE(_Packed, CORE):  # type: ignore[misc]
    """RecBole's CORE: a position is a weighted mean of the item embeddings up to it."""

    def users(self, items: Tensor, trained: Tensor) -> Tensor:
        """Directions over the temperature.

        RecBole's weights are a softmax over the row, of numbers that see what is before them; over a prefix they are
        the same weights, by their sum up to there.
        """
        embedded = self.sess_dropout(self.item_embedding(items))  # [B, L, D]
        weight = self.net(items, embedded)  # [B, L, 1]
        share = weight.cumsum(1).clamp(min=torch.finfo(weight.dtype).tiny)  # [B, L, 1]
        mean = (weight * embedded).cumsum(1) / share  # [B, L, D]
        return F.normalize(take_rows(mean, trained), dim=-1) / self.temperature

    def scored_items(self) -> Tensor:
        """Directions."""
        return F.normalize(self.item_dropout(self.item_embedding.weight), dim=-1)


PACKED = {"GRU4Rec": PackedGRU4Rec, "SASRec": PackedSASRec, "NARM": PackedNARM, "CORE": PackedCORE}
