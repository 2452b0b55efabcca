"""Negatives from other clusters of the item embeddings than the target's."""

from __future__ import annotations

import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn


class ClusteredItems(nn.Module):
    """Items drawn uniformly from the clusters that the target is not in.

    Args:
        item_num: number of items, padding included.
        clusters: how many clusters k-means makes; as many as there are items, at most.
    """

    cluster: Tensor
    order: Tensor
    size: Tensor
    start: Tensor

    def __init__(self, item_num: int, clusters: int) -> None:
        super().__init__()
        self.clusters = min(clusters, item_num - 1)
        self._keep(torch.zeros(item_num, dtype=torch.long))

    def _keep(self, cluster: Tensor) -> None:
        """Take ``cluster [I]``; that of the padding does not count."""
        order = cluster[1:].argsort(stable=True) + 1  # [I - 1], items by cluster
        size = cluster[1:].bincount(minlength=self.clusters)  # [C]
        for name, values in {"cluster": cluster, "order": order, "size": size, "start": size.cumsum(0) - size}.items():
            self.register_buffer(name, values, persistent=False)

    def refresh(self, embedding: Tensor) -> None:
        """Cluster the items anew by k-means on their embeddings ``[I, D]``."""
        seed = int(torch.randint(2**31, ()))
        k_means = MiniBatchKMeans(self.clusters, n_init=1, max_iter=20, random_state=seed)
        of_item = k_means.fit_predict(embedding[1:].detach().float().cpu().numpy())
        self._keep(torch.nn.functional.pad(torch.from_numpy(of_item).long(), (1, 0)).to(embedding.device))

    def forward(self, target: Tensor, number: int) -> Tensor:
        """``[..., number]`` for targets ``[...]``; any other item where one cluster holds all."""
        own = self.cluster[target].unsqueeze(-1)  # [..., 1]
        place = torch.rand((*target.shape, number), dtype=torch.float64, device=target.device)  # [..., n]
        others = len(self.order) - self.size[own]
        drawn = (place * others).long()
        drawn = drawn + (drawn >= self.start[own]) * self.size[own]
        anything = 1 + (place * (len(self.order) - 1)).long()
        anything = anything + (anything >= target.unsqueeze(-1))
        return torch.where(others == 0, anything, self.order[drawn.clamp(max=len(self.order) - 1)])

    def apart(self, target: Tensor, items: Tensor) -> Tensor:
        """Whether ``items [1 or N, n]`` are in other clusters than ``target [N]``, ``[N, n]``."""
        return self.cluster[items] != self.cluster[target].unsqueeze(-1)
