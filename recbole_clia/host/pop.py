"""RecBole's Pop, whose counts depend on the size of the batches."""

from __future__ import annotations

from typing import Any

import torch


def count_every_interaction() -> None:
    """Let Pop count each interaction of a batch; RecBole 1.2.1 adds 1 to an item however often it is there (#2198).

    A comparison calls it, so that popularity is the baseline that its name says; RecBole is left as it is otherwise.
    """
    from recbole.model.general_recommender.pop import Pop

    def calculate_loss(self: Any, interaction: Any) -> torch.Tensor:
        item = interaction[self.ITEM_ID]
        self.item_cnt += torch.bincount(item, minlength=len(self.item_cnt)).unsqueeze(1)
        self.max_cnt = self.item_cnt.max(dim=0)[0]
        return torch.nn.Parameter(torch.zeros(1)).to(self.device)

    Pop.calculate_loss = calculate_loss
