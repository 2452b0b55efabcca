"""RecBole's GRU4Rec and SASRec, trained on all positions of a window in one pass.

The layers, the weights and the scores are RecBole's; rows are ranked with those of similar length.  Position t of both
networks is a function of the first t items, and RecBole's rows are left-aligned as windows are, so the vector there is
the one that RecBole computes for the row of these items.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from recbole.model.sequential_recommender.gru4rec import GRU4Rec
from recbole.model.sequential_recommender.sasrec import SASRec
from torch import Tensor
from torch.nn import functional as F

from ..data.dataset import TARGETS_SUFFIX
from ..losses import linear_cross_entropy, logits_dtype
from ..nn.rows import chosen, similar_lengths, take_rows


class _Packed:
    """RecBole's cross-entropy for a packed batch; whatever is not one goes to RecBole's class, which follows this one.

    The padding competes with the items, since it does so in RecBole.
    """

    _trained: Tensor | None = None

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        budget = config["softmax_budget_mib"]
        self.softmax_budget = None if budget is None else int(budget * 2**20)
        self.softmax_dtype = config["softmax_dtype"]

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """The users ``[B, D]`` of RecBole's rows, or those of the trained positions ``[N, D]`` of windows."""
        this, host = cast(Any, self), cast(Any, super())
        if self._trained is not None or this.training:
            return host.forward(item_seq, item_seq_len)
        groups, back = similar_lengths(item_seq_len)
        parts = []
        for rows in groups:
            length = item_seq_len[rows]
            width = max(1, int(length.max())) if len(rows) else 1
            parts.append(host.forward(item_seq[rows, :width], length))
        return torch.cat(parts)[back]

    def gather_indexes(self, output: Tensor, gather_index: Tensor) -> Tensor:
        """The vectors of the trained positions ``[N, D]`` of ``output [B, L, D]``, or RecBole's one of each row."""
        if self._trained is None:
            return super().gather_indexes(output, gather_index)  # type: ignore[misc]
        return take_rows(output, self._trained)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Mean over the targets of a packed batch, or over the rows of RecBole's."""
        this: Any = self
        field = this.ITEM_ID + TARGETS_SUFFIX
        if field not in interaction.interaction:
            return super().calculate_loss(interaction)  # type: ignore[misc]
        targets = interaction[field]  # [B, L]
        self._trained = chosen(targets > 0)
        try:
            user = this.forward(interaction[this.ITEM_SEQ], interaction[this.ITEM_SEQ_LEN])  # [N, D]
        finally:
            trained, self._trained = self._trained, None
        # linear_cross_entropy leaves row 0 out: a row before the padding's takes that place.
        items = F.pad(this.item_embedding.weight, (0, 0, 1, 0))  # [1 + I, D]
        dtype = logits_dtype(self.softmax_dtype, items)
        return linear_cross_entropy(user, items, targets.flatten()[trained] + 1, self.softmax_budget, dtype)


class PackedGRU4Rec(_Packed, GRU4Rec):  # type: ignore[misc]
    """RecBole's GRU4Rec."""


class PackedSASRec(_Packed, SASRec):  # type: ignore[misc]
    """RecBole's SASRec."""
