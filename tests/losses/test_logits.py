"""What stands beside the inner product, against plain loops, and the numbers that logits are computed in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_clia.losses import Background, Offsets, all_logits, logits_dtype
from recbole_clia.losses.precision import DTYPES

ROWS, ITEMS, MOST, FEATURES, MOMENTS, DIM = 6, 9, 5, 3, 4, 2
DOUBLE = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made_offsets(seed: int = 0) -> Offsets:
    """``MOST`` items of each row, in no order, some of them twice, some of nothing with a value that must not count."""
    rng = np.random.default_rng(seed)
    item = rng.integers(1, ITEMS, (ROWS, MOST))
    assert any(len(set(row)) < MOST for row in item.tolist())
    item[rng.random(item.shape) < 0.3] = 0
    item[0] = 0  # a row without any
    value = rng.normal(size=item.shape) + 5
    return Offsets(torch.from_numpy(item), torch.from_numpy(value))


def made_background(seed: int = 1) -> Background:
    features = torch.randn((FEATURES, MOMENTS, ITEMS), generator=generator(seed), dtype=DOUBLE)
    weight = torch.randn((ROWS, FEATURES), generator=generator(seed + 1), dtype=DOUBLE)
    return Background(features, torch.tensor([3, 0, 1, 1, 2, 3]), weight)


def offset_of(offsets: Offsets, row: int, item: int) -> float:
    pairs = zip(offsets.item[row].tolist(), offsets.value[row].tolist(), strict=True)
    return sum(value for own, value in pairs if own == item and item != 0)


def background_of(background: Background, row: int, item: int) -> float:
    moment = int(background.group[row])
    return sum(float(background.weight[row, f] * background.features[f, moment, item]) for f in range(FEATURES))


def candidates(kind: str) -> Tensor:
    if kind == "shared":
        return torch.tensor([[0, 1, 5, 5, ITEMS - 1, 3, 0]])
    if kind == "every":
        return torch.arange(ITEMS).expand(ROWS, -1)
    return torch.randint(0, ITEMS, (ROWS, 1 if kind == "one" else 11), generator=generator(4))


@pytest.mark.parametrize("kind", ["shared", "every", "one", "each"])
@pytest.mark.parametrize("added", [made_offsets(), made_background()], ids=["offsets", "background"])
def test_of_candidates_equals_a_loop(kind: str, added: Any) -> None:
    asked = candidates(kind)
    single = offset_of if isinstance(added, Offsets) else background_of
    rows = asked.expand(ROWS, -1).tolist()
    want = [[single(added, n, item) for item in row] for n, row in enumerate(rows)]
    got = added.of(asked)
    assert got.dtype == DOUBLE
    np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=1e-12)


def test_what_is_no_item_has_no_offset() -> None:
    offsets = made_offsets()
    assert (offsets.of(torch.zeros((1, 3), dtype=torch.long)) == 0).all()
    assert (offsets.of(candidates("every"))[0] == 0).all()
    absent = Offsets(torch.tensor([[3, 7]]), torch.tensor([[1.0, 2.0]]))
    assert absent.of(torch.tensor([[1, 3, 5, 7, 8]])).tolist() == [[0, 1, 0, 2, 0]]


@pytest.mark.parametrize("width", [1, 2])
def test_offsets_of_one_item_and_of_no_row(width: int) -> None:
    one = Offsets(torch.tensor([[2] + [0] * (width - 1)]), torch.full((1, width), 4.0))
    assert one.of(torch.tensor([[1, 2, 3, 0]])).tolist() == [[0, 4, 0, 0]]
    none = Offsets(torch.zeros((0, width), dtype=torch.long), torch.zeros((0, width)))
    assert none.of(torch.tensor([[1, 2, 3]])).shape == (0, 3)


def test_of_all_is_of_every_item() -> None:
    background = made_background()
    want = [[background_of(background, n, item) for item in range(ITEMS)] for n in range(ROWS)]
    np.testing.assert_allclose(background.of_all().numpy(), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("which", [slice(0, 2), slice(2, 5), slice(4, 100), slice(6, 9), slice(None)])
def test_rows_are_those_of_the_whole(which: slice) -> None:
    background = made_background()
    assert torch.equal(background.rows(which).of_all(), background.of_all()[which])
    asked = candidates("each")
    assert torch.equal(background.rows(which).of(asked[which]), background.of(asked)[which])


def test_gradients_reach_values_and_weights() -> None:
    offsets, background = made_offsets(), made_background()
    offsets.value.requires_grad_()
    background.weight.requires_grad_()
    asked = candidates("each")
    assert torch.autograd.gradcheck(lambda v: Offsets(offsets.item, v).of(asked), (offsets.value,))
    assert torch.autograd.gradcheck(lambda w: background._replace(weight=w).of(asked), (background.weight,))
    assert torch.autograd.gradcheck(lambda w: background._replace(weight=w).of_all(), (background.weight,))


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("with_offsets", [False, True])
@pytest.mark.parametrize("with_background", [False, True])
def test_all_logits_equal_a_loop(parts: int, with_offsets: bool, with_background: bool) -> None:
    queries = torch.randn((parts, ROWS, DIM), generator=generator(7), dtype=DOUBLE)
    items = torch.randn((ITEMS, DIM), generator=generator(8), dtype=DOUBLE)
    offsets = made_offsets() if with_offsets else None
    background = made_background() if with_background else None
    got = all_logits(queries, items, offsets, background)
    assert got.shape == (parts, ROWS, ITEMS)
    assert (got[..., 0] == -torch.inf).all()
    for k in range(parts):
        for n in range(ROWS):
            for i in range(1, ITEMS):
                want = float(np.dot(queries[k, n].numpy(), items[i].numpy()))
                want += offset_of(offsets, n, i) if offsets is not None else 0
                want += background_of(background, n, i) if background is not None else 0
                assert got[k, n, i].item() == pytest.approx(want, abs=1e-12)


def test_all_logits_leave_their_inputs_alone_and_have_no_gradient() -> None:
    queries = torch.randn((2, ROWS, DIM), generator=generator(7), dtype=DOUBLE)
    items = torch.randn((ITEMS, DIM), generator=generator(8), dtype=DOUBLE)
    offsets, background = made_offsets(), made_background()
    before = [t.clone() for t in (queries, items, *offsets, *background)]
    for tensor in (queries, items, offsets.value, background.weight):
        tensor.requires_grad_()
    assert not all_logits(queries, items, offsets, background).requires_grad
    after = (queries, items, *offsets, *background)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


# ----- the numbers


def set_native(monkeypatch: pytest.MonkeyPatch, native: bool | None) -> None:
    name = "_is_avx512_bf16_supported"
    if native is None:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    else:
        monkeypatch.setattr(torch.cpu, name, lambda: native, raising=False)


@pytest.mark.parametrize("native", [True, False, None])
def test_each_name_is_a_type(monkeypatch: pytest.MonkeyPatch, native: bool | None) -> None:
    set_native(monkeypatch, native)
    weight = torch.zeros(2, 2)
    assert set(DTYPES) == {"auto", "float32", "bfloat16"}
    assert logits_dtype("float32", weight) == torch.float32
    assert logits_dtype("bfloat16", weight) == torch.bfloat16
    assert logits_dtype("auto", weight) == (torch.bfloat16 if native else torch.float32)


def test_auto_is_the_models_own_type_on_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    set_native(monkeypatch, True)
    assert logits_dtype("auto", torch.zeros(2, 2, device="meta")) == torch.float32
    assert logits_dtype("bfloat16", torch.zeros(2, 2, device="meta")) == torch.bfloat16


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_in_other_numbers_stays_in_them(monkeypatch: pytest.MonkeyPatch, name: str, dtype: torch.dtype) -> None:
    set_native(monkeypatch, True)
    assert logits_dtype(name, torch.zeros(2, 2, dtype=dtype)) == dtype
