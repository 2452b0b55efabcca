"""Laws of negatives from other clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from recbole_clia.sampling.clusters import ClusteredItems

CLUSTER = [2, 0, 1, 0, 2, 2, 1, 0, 2, 0]  # that of item 0, the padding, counts for nothing


def clustered(cluster: list[int], clusters: int = 3) -> ClusteredItems:
    items = ClusteredItems(len(cluster), clusters)
    items._keep(torch.tensor(cluster))
    return items


def blobs(seed: int, sizes: tuple[int, ...] = (9, 4, 17, 6), dim: int = 5) -> tuple[Tensor, np.ndarray]:
    """Embeddings far apart from blob to blob, the padding far from all, and the blob of each item."""
    rng = np.random.default_rng(seed)
    blob = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centre = 20 * np.eye(dim)[: len(sizes)]
    embedding = centre[blob] + 0.1 * rng.normal(size=(len(blob), dim))
    return torch.from_numpy(np.vstack([np.full(dim, 1e4), embedding])).float(), blob


@pytest.mark.parametrize("target", range(1, 10))
def test_items_of_the_other_clusters_are_drawn_uniformly(target: int) -> None:
    torch.manual_seed(target)
    counts = np.bincount(clustered(CLUSTER)(torch.full((2_000,), target), 10).flatten().numpy(), minlength=10)
    others = [item for item in range(1, 10) if CLUSTER[item] != CLUSTER[target]]
    assert counts.sum() == counts[others].sum() == 20_000
    assert chisquare(counts[others]).pvalue > 1e-3


def test_two_draws_of_a_target_are_independent() -> None:
    torch.manual_seed(0)
    drawn = clustered([0, 1, 0, 0])(torch.full((20_000,), 1), 2)
    counts = np.bincount((drawn[:, 0] * 2 + drawn[:, 1] - 6).numpy(), minlength=4)
    assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("target", [1, 3, 6])
def test_with_one_cluster_it_is_any_other_item(target: int) -> None:
    torch.manual_seed(0)
    for items in (ClusteredItems(7, 4), clustered([1, 0, 0, 0, 0, 0, 0])):  # not yet clustered; all alike
        counts = np.bincount(items(torch.full((1_000,), target), 10).flatten().numpy(), minlength=7)
        assert counts[[0, target]].sum() == 0
        assert chisquare(np.delete(counts, [0, target])).pvalue > 1e-3


def test_an_empty_cluster_is_no_trouble() -> None:
    torch.manual_seed(0)
    drawn = clustered([0, 0, 3, 0, 3], clusters=5)(torch.tensor([1, 2]), 200)
    assert set(drawn[0].tolist()) == {2, 4}
    assert set(drawn[1].tolist()) == {1, 3}


@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3)])
def test_shape(shape: tuple[int, ...]) -> None:
    drawn = clustered(CLUSTER)(torch.randint(1, 10, shape), 3)
    assert drawn.shape == (*shape, 3)
    assert drawn.dtype == torch.int64


def test_apart_compares_the_clusters() -> None:
    items = clustered(CLUSTER)
    target, candidates = torch.tensor([1, 2, 9]), torch.tensor([[3, 4, 1, 2], [6, 2, 1, 8], [7, 5, 2, 9]])
    want = [
        [CLUSTER[i] != CLUSTER[t] for i in row] for t, row in zip(target.tolist(), candidates.tolist(), strict=True)
    ]
    assert items.apart(target, candidates).tolist() == want
    shared = [[CLUSTER[i] != CLUSTER[t] for i in candidates[0].tolist()] for t in target.tolist()]
    assert items.apart(target, candidates[:1]).tolist() == shared


@pytest.mark.parametrize("seed", range(5))
def test_refreshing_finds_clusters_that_are_obvious(seed: int) -> None:
    torch.manual_seed(seed)
    embedding, blob = blobs(seed)
    items = ClusteredItems(len(embedding), 4)
    items.refresh(embedding)
    found = items.cluster[1:].numpy()
    together = found[:, None] == found[None, :]
    assert (together == (blob[:, None] == blob[None, :])).all()
    drawn = items(torch.arange(1, len(embedding)), 50).numpy()
    assert (blob[drawn - 1] != blob[:, None]).all()


def test_refreshing_again_takes_the_new_embeddings() -> None:
    torch.manual_seed(0)
    first, _ = blobs(0)
    second, blob = blobs(1)
    items = ClusteredItems(len(first), 4)
    items.refresh(first)
    items.refresh(second)
    found = items.cluster[1:].numpy()
    assert ((found[:, None] == found[None, :]) == (blob[:, None] == blob[None, :])).all()


def test_refreshing_is_the_seeds_alone() -> None:
    embedding = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        items = ClusteredItems(200, 12)
        items.refresh(embedding)
        found.append(items.cluster)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_there_are_no_more_clusters_than_items() -> None:
    torch.manual_seed(0)
    items = ClusteredItems(4, 16)
    items.refresh(torch.eye(4))
    assert items.clusters == 3
    assert set(items.cluster.tolist()) <= {0, 1, 2}
    assert (items(torch.tensor([1, 2, 3]), 20) != torch.tensor([[1], [2], [3]])).all()


def test_clusters_are_no_part_of_a_models_weights() -> None:
    items = ClusteredItems(8, 3)
    items.refresh(torch.randn(8, 2))
    assert items.state_dict() == {}
