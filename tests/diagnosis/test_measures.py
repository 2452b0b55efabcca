"""Laws of the measures: cosines and entropies by plain loops, and what CLIA and CLSR hand in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import prepare

from recbole_clia.diagnosis.measures import Measures, measure, relative_entropy, summary
from recbole_clia.nn.proxies import long_term_proxy, short_term_proxy


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def test_cosines_and_entropies_are_those_of_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.randn((6, 5), generator=generator, dtype=torch.float64) for _ in range(4)]
    weights = [torch.rand((6, 7), generator=generator, dtype=torch.float64) for _ in range(2)]
    mask = torch.arange(7) < torch.tensor([7, 2, 5, 3, 6, 4]).unsqueeze(1)
    alpha = torch.rand(6, generator=generator, dtype=torch.float64)
    found = measure(alpha, (vectors[0], vectors[1]), (vectors[2], vectors[3]), (weights[0], weights[1]), mask)
    long, short, p_long, p_short = (v.numpy() for v in vectors)
    for row in range(6):
        want = [cosine(long[row], p_long[row]), cosine(long[row], p_short[row])]
        want += [cosine(short[row], p_short[row]), cosine(short[row], p_long[row])]
        for of_items in weights:
            items = of_items[row][mask[row]].numpy()
            share = items / items.sum()
            want.append(float(-(share * np.log(share)).sum() / np.log(len(items))))
        assert [float(values[row]) for values in found[1:]] == pytest.approx(want, abs=1e-12)
    assert torch.equal(found.alpha, alpha)


def test_entropy_of_equal_weights_is_1_and_of_one_item_0() -> None:
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    weight = torch.tensor([[0.2, 0.2, 0.2, 9.0], [3.0, 0.0, 1.0, 1.0]])
    assert relative_entropy(weight, mask).tolist() == pytest.approx([1.0, 0.0])


def test_a_single_item_has_no_entropy_and_does_not_spoil_the_mean() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    entropy = relative_entropy(torch.ones(2, 2), mask)
    assert entropy.isnan().tolist() == [True, False]
    ones = torch.ones(2)
    found = summary(Measures(torch.tensor([0.2, 0.6]), ones, ones, ones, ones, entropy, entropy))
    assert found["long_entropy"] == pytest.approx(1.0)
    assert found["alpha"] == pytest.approx(0.4)
    assert found["alpha_std"] == pytest.approx(0.2)


@pytest.mark.parametrize("model", ["CLIA", "CLSR"])
def test_the_models_measure_their_own_interests(made: dict[str, Any], model: str) -> None:
    """The proxies are those of the functions, a fixed alpha is alpha, and each branch's vector is its own."""
    prepared = prepare(made, model)
    net = prepared.model.double().eval()
    rows = prepared.test._dataset[np.arange(len(prepared.test._dataset))]
    with torch.no_grad(), net.fixed_alpha(0.25):
        found = net.measure(rows)
        embed = net.embed if model == "CLSR" else net.item_embedding
        items, length = rows["item_id_list"], rows["item_length"]
        mask = torch.arange(items.shape[1]) < length.unsqueeze(1)
        p_long, p_short = long_term_proxy(embed(items), mask), short_term_proxy(embed(items), mask, net.recent_k)
        if model == "CLIA":
            when = rows["timestamp_list"].double(), rows["timestamp"].double()
            interests = net(rows["user_id"], items, net._last_position(rows), *when)
            long, short = interests.long_interest, interests.short_interest
        else:
            history = net._history(rows)
            long = history.long_interest
            short = net.interests(history, embed(rows["item_id"]).unsqueeze(1)).short_interest[:, 0]
    assert found.alpha.tolist() == pytest.approx([0.25] * len(rows))
    for row in range(len(rows)):
        want = [cosine(a[row].numpy(), b[row].numpy()) for a in (long, short) for b in (p_long, p_short)]
        got = [found.long_own[row], found.long_other[row], found.short_other[row], found.short_own[row]]
        assert [float(value) for value in got] == pytest.approx(want, abs=1e-9)
    several = length > 1
    for entropy in (found.long_entropy, found.short_entropy):
        assert ((entropy[several] > 0) & (entropy[several] <= 1 + 1e-12)).all()
        assert entropy[~several].isnan().all()
