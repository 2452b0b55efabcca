"""Laws of ``InterestContrastiveLoss``, against the four tasks written as plain loops."""

import itertools
import math

import numpy as np
import pytest
import torch

from recbole_clia.losses.contrastive import KINDS, InterestContrastiveLoss

KIND = pytest.mark.parametrize("kind", KINDS)
DTYPE = pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def tasks(long, short, p_long, p_short):
    return [(long, p_long, p_short), (short, p_short, p_long), (p_long, long, short), (p_short, short, long)]


def bpr_by_loops(long, short, p_long, p_short):
    total = 0.0
    for anchor, positive, negative in tasks(long, short, p_long, p_short):
        for a, p, n in zip(anchor, positive, negative, strict=True):
            total += math.log(1 + math.exp(dot(a, n) - dot(a, p))) / len(anchor)
    return total


def triplet_by_loops(long, short, p_long, p_short, margin):
    total = 0.0
    for row in range(len(long)):
        for d in range(len(long[row])):
            l_pl, l_ps = (long[row][d] - p_long[row][d]) ** 2, (long[row][d] - p_short[row][d]) ** 2
            s_pl, s_ps = (short[row][d] - p_long[row][d]) ** 2, (short[row][d] - p_short[row][d]) ** 2
            for gap in (l_pl - l_ps, s_ps - s_pl, l_pl - s_pl, s_ps - l_ps):
                total += max(0.0, gap + margin) / len(long)
    return total


def infonce_by_loops(long, short, p_long, p_short, temperature):
    total = 0.0
    for anchor, positive, negative in tasks(long, short, p_long, p_short):
        for i in range(len(anchor)):
            candidates = [cosine(anchor[i], positive[j]) / temperature for j in range(len(anchor))]
            own = candidates[i]
            candidates.append(cosine(anchor[i], negative[i]) / temperature)
            total += (math.log(sum(math.exp(c) for c in candidates)) - own) / len(anchor)
    return total


def by_loops(kind, views, mask=None, margin=1.0, temperature=0.1):
    """The loss from its equations: rows picked one by one, float64 throughout."""
    views = [np.asarray(v.detach(), dtype=np.float64) for v in views]
    places = itertools.product(*(range(n) for n in views[0].shape[:-1]))
    places = [p for p in places if mask is None or bool(mask[p])]
    rows = [[view[p].tolist() for p in places] for view in views]
    if kind == "bpr":
        return bpr_by_loops(*rows)
    if kind == "triplet":
        return triplet_by_loops(*rows, margin)
    return infonce_by_loops(*rows, temperature)


def four_views(shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4)]
    return [v.to(dtype).requires_grad_() for v in views]


def random_mask(shape, seed=0):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask.view(-1)[0] = True
    return mask


@KIND
@DTYPE
@pytest.mark.parametrize("shape", [(1, 3), (8, 5), (2, 3, 4), (2, 2, 2, 3), (4,)])
def test_equals_the_equations_without_a_mask(kind, dtype, rtol, shape):
    views = four_views(shape, dtype)
    loss = InterestContrastiveLoss(kind)(*views)
    assert loss.shape == ()
    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(by_loops(kind, views), rel=rtol)
    loss.backward()
    assert all(v.grad.dtype == dtype for v in views)


@KIND
@DTYPE
@pytest.mark.parametrize("shape", [(1, 3), (8, 5), (3, 6, 4), (2, 2, 3, 3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_equations_over_the_rows_of_a_mask(kind, dtype, rtol, shape, seed):
    views, mask = four_views(shape, dtype, seed), random_mask(shape[:-1], seed)
    loss = InterestContrastiveLoss(kind)(*views, mask=mask)
    assert loss.item() == pytest.approx(by_loops(kind, views, mask), rel=rtol)


@pytest.mark.parametrize("margin", [0.0, 0.3, 5])
def test_triplet_margin(margin):
    views = four_views((6, 3))
    loss = InterestContrastiveLoss("triplet", margin=margin)(*views)
    assert loss.item() == pytest.approx(by_loops("triplet", views, margin=margin), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 3])
def test_infonce_temperature(temperature):
    views = four_views((6, 3))
    loss = InterestContrastiveLoss("infonce", temperature=temperature)(*views)
    assert loss.item() == pytest.approx(by_loops("infonce", views, temperature=temperature), rel=1e-11)


@KIND
def test_a_kind_reads_only_its_own_parameter(kind):
    views = four_views((6, 3))
    value = InterestContrastiveLoss(kind)(*views).item()
    assert (InterestContrastiveLoss(kind, margin=0.1)(*views).item() == value) == (kind != "triplet")
    assert (InterestContrastiveLoss(kind, temperature=0.9)(*views).item() == value) == (kind != "infonce")


@KIND
def test_gradcheck_without_a_mask(kind):
    assert torch.autograd.gradcheck(InterestContrastiveLoss(kind), four_views((3, 4)))


@KIND
def test_gradcheck_with_a_mask(kind):
    mask = random_mask((2, 3))
    loss = InterestContrastiveLoss(kind)
    assert torch.autograd.gradcheck(lambda *views: loss(*views, mask=mask), four_views((2, 3, 2)))


@KIND
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("shape", "masked"), [((0, 4), False), ((2, 0, 4), False), ((5, 4), True), ((2, 3, 4), True)])
def test_no_row_is_exactly_zero_with_a_live_graph(kind, dtype, shape, masked):
    source = torch.ones(4, dtype=dtype, requires_grad=True)
    view = source.expand(*shape)
    mask = torch.zeros(shape[:-1], dtype=torch.bool) if masked else None
    loss = InterestContrastiveLoss(kind)(view, view, view, view, mask=mask)
    assert loss.item() == 0
    assert loss.dtype == dtype
    loss.backward()
    assert torch.equal(source.grad, torch.zeros_like(source))


@KIND
@pytest.mark.parametrize("junk", [1e30, math.inf, math.nan])
def test_rows_that_do_not_count_do_not_matter(kind, junk):
    views, mask = four_views((3, 4, 5)), random_mask((3, 4), seed=2)
    loss = InterestContrastiveLoss(kind)
    expected = loss(*views, mask=mask)
    expected_grads = torch.autograd.grad(expected, views)
    spoilt = [v.detach().masked_fill(~mask.unsqueeze(-1), junk).requires_grad_() for v in views]
    value = loss(*spoilt, mask=mask)
    value.backward()
    assert value.item() == expected.item()
    for view, grad in zip(spoilt, expected_grads, strict=True):
        assert torch.equal(view.grad, grad)
        assert (view.grad[~mask] == 0).all()


@KIND
def test_spoilt_rows_of_which_none_counts_still_give_zero(kind):
    views = [torch.full((2, 3), math.nan, requires_grad=True) for _ in range(4)]
    loss = InterestContrastiveLoss(kind)(*views, mask=torch.zeros(2, dtype=torch.bool))
    assert loss.item() == 0
    loss.backward()
    assert all((v.grad == 0).all() for v in views)


@KIND
def test_row_permutation_changes_nothing(kind):
    views = four_views((9, 4))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    loss = InterestContrastiveLoss(kind)
    value, permuted = loss(*views), loss(*(v[order] for v in views))
    assert permuted.item() == pytest.approx(value.item(), rel=1e-13)
    for a, b in zip(torch.autograd.grad(value, views), torch.autograd.grad(permuted, views), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@KIND
def test_the_two_interests_play_the_same_part(kind):
    long, short, long_proxy, short_proxy = four_views((6, 4))
    loss = InterestContrastiveLoss(kind)
    swapped = loss(short, long, short_proxy, long_proxy).item()
    assert swapped == pytest.approx(loss(long, short, long_proxy, short_proxy).item(), rel=1e-13)


@KIND
def test_it_rewards_each_interest_near_its_own_proxy(kind):
    long, short, *_ = four_views((6, 8))
    loss = InterestContrastiveLoss(kind)
    assert loss(long, short, long, short).item() < loss(long, short, short, long).item()


def test_what_cannot_be_told_apart_costs_what_a_guess_costs():
    same = torch.ones(5, 3, dtype=torch.float64)
    values = {kind: InterestContrastiveLoss(kind, margin=0.5)(same, same, same, same).item() for kind in KINDS}
    assert values["bpr"] == pytest.approx(4 * math.log(2))
    assert values["triplet"] == pytest.approx(4 * 3 * 0.5)
    assert values["infonce"] == pytest.approx(4 * math.log(5 + 1))


def test_triplet_hinges_each_dimension_apart():
    # Dimension 0 has nothing left to gain (-8), dimension 1 is wrong by 1: a hinge on the summed
    # distances would see -7 and give nothing.
    interest, own, other = (torch.tensor([v], dtype=torch.float64) for v in ([0.0, 0.0], [1.0, 1.0], [3.0, 0.0]))
    margin = 0.25
    tasks_1_and_3 = (1 + margin) + 2 * margin  # task 3 compares l to itself: a gap of 0 in both dimensions
    tasks_2_and_4 = (8 + margin) + 0 + 2 * margin
    loss = InterestContrastiveLoss("triplet", margin=margin)
    value = loss(interest, interest, own, other).item()
    assert value == pytest.approx(tasks_1_and_3 + tasks_2_and_4)

    whole = torch.nn.TripletMarginLoss(margin=margin)
    summed = (
        whole(interest, own, other)
        + whole(interest, other, own)
        + whole(own, interest, interest)
        + whole(other, interest, interest)
    )
    assert value != pytest.approx(summed.item(), rel=1e-2)


def test_triplet_is_zero_once_every_dimension_is_apart_by_the_margin():
    long, short = torch.tensor([[0.0, 5.0]], requires_grad=True), torch.tensor([[2.0, 3.0]])
    loss = InterestContrastiveLoss("triplet", margin=4.0)(long, short, long.detach(), short)
    assert loss.item() == 0
    loss.backward()
    assert (long.grad == 0).all()


def test_infonce_knows_directions_only():
    views = four_views((5, 4))
    scaled = [v * factor for v, factor in zip(views, (0.01, 3.0, 50.0, 7.0), strict=True)]
    loss = InterestContrastiveLoss("infonce")
    assert loss(*scaled).item() == pytest.approx(loss(*views).item(), rel=1e-11)


def test_infonce_of_one_row_has_its_own_opposite_only():
    views = four_views((1, 4))
    long, short, p_long, p_short = (v.detach()[0].tolist() for v in views)
    gaps = [
        cosine(long, p_short) - cosine(long, p_long),
        cosine(short, p_long) - cosine(short, p_short),
        cosine(p_long, short) - cosine(p_long, long),
        cosine(p_short, long) - cosine(p_short, short),
    ]
    expected = sum(math.log1p(math.exp(gap / 0.5)) for gap in gaps)
    assert InterestContrastiveLoss("infonce", temperature=0.5)(*views).item() == pytest.approx(expected, rel=1e-12)


@KIND
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_vectors_and_temperatures_stay_finite(kind, dtype):
    views = [(v.detach() * 1e4).to(dtype).requires_grad_() for v in four_views((4, 3))]
    loss = InterestContrastiveLoss(kind, temperature=1e-4)(*views)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(v.grad).all() for v in views)


@KIND
def test_a_zero_vector_has_finite_gradients(kind):
    views = [torch.zeros(2, 3, requires_grad=True) for _ in range(4)]
    loss = InterestContrastiveLoss(kind)(*views)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(v.grad).all() for v in views)


@pytest.mark.parametrize("kind", ["", "BPR", "simclr", "forward", None])
def test_refuses_an_unknown_kind(kind):
    with pytest.raises(ValueError, match=r"bpr, triplet, infonce"):
        InterestContrastiveLoss(kind)


@KIND
@pytest.mark.parametrize("margin", [-1e-9, -1, -math.inf, math.inf, math.nan])
def test_refuses_a_margin_out_of_range(kind, margin):
    with pytest.raises(ValueError, match="margin"):
        InterestContrastiveLoss(kind, margin=margin)


@KIND
@pytest.mark.parametrize("temperature", [0, -0.1, -math.inf, math.inf, math.nan])
def test_refuses_a_temperature_out_of_range(kind, temperature):
    with pytest.raises(ValueError, match="temperature"):
        InterestContrastiveLoss(kind, temperature=temperature)


# ----- weights of the tasks, and rows compared


@KIND
def test_each_task_by_itself_is_its_part_of_the_sum(kind):
    views, mask = four_views((6, 4)), random_mask((6,))
    alone = []
    for task in range(4):
        weights = [0.0] * 4
        weights[task] = 1.0
        alone.append(InterestContrastiveLoss(kind, weights=weights)(*views, mask=mask).item())
    assert len({round(value, 6) for value in alone}) == 4
    assert sum(alone) == pytest.approx(InterestContrastiveLoss(kind)(*views, mask=mask).item(), rel=1e-12)
    weighted = InterestContrastiveLoss(kind, weights=[0.5, 2, 0, 3])(*views, mask=mask).item()
    assert weighted == pytest.approx(0.5 * alone[0] + 2 * alone[1] + 3 * alone[3], rel=1e-12)


@pytest.mark.parametrize("task", range(4))
def test_the_tasks_come_in_the_order_of_their_anchors(task):
    views = four_views((5, 3))
    long, short, p_long, p_short = (v.detach().tolist() for v in views)
    anchor, positive, negative = tasks(long, short, p_long, p_short)[task]
    want = sum(
        math.log1p(math.exp(dot(a, n) - dot(a, p))) for a, p, n in zip(anchor, positive, negative, strict=True)
    ) / len(anchor)
    weights = [float(other == task) for other in range(4)]
    assert InterestContrastiveLoss("bpr", weights=weights)(*views).item() == pytest.approx(want, rel=1e-12)


@KIND
def test_weights_of_zero_leave_nothing_but_a_live_graph(kind):
    views = four_views((5, 3))
    loss = InterestContrastiveLoss(kind, weights=[0, 0, 0, 0])(*views)
    assert loss.item() == 0
    loss.backward()
    assert all((v.grad == 0).all() for v in views)


@pytest.mark.parametrize(
    "weights", [[1, 1], [], [1, 1, 1, 1, 1], [1, 1, 1, -0.1], [1, math.inf, 1, 1], [math.nan, 1, 1, 1]]
)
def test_refuses_weights_that_are_not_four_numbers_of_at_least_zero(weights):
    with pytest.raises(ValueError, match="contrastive task weights must be four finite numbers of at least 0"):
        InterestContrastiveLoss("bpr", weights=weights)


@pytest.mark.parametrize("rows", [7, 8, 100])
@pytest.mark.parametrize("masked", [False, True])
def test_infonce_of_no_more_rows_than_are_compared_is_exact(rows, masked):
    views = four_views((9, 4) if masked else (7, 4))
    mask = torch.tensor([True] * 4 + [False] * 2 + [True] * 3) if masked else None
    state = torch.get_rng_state()
    loss = InterestContrastiveLoss("infonce", rows=rows)(*views, mask=mask)
    assert loss.item() == InterestContrastiveLoss("infonce")(*views, mask=mask).item()
    assert torch.equal(torch.get_rng_state(), state)  # nothing was drawn


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)])
@pytest.mark.parametrize("masked", [False, True])
def test_infonce_of_more_rows_is_that_of_some_of_them(shape, masked):
    views = four_views(shape)
    mask = torch.ones(shape[:-1], dtype=torch.bool)
    if masked:
        mask.view(-1)[2] = False
    flat = [v.detach().reshape(-1, 4) for v in views]
    places = [p for p in range(6) if mask.view(-1)[p]]
    subsets = {c: by_loops("infonce", [v[list(c)] for v in flat]) for c in itertools.combinations(places, 3)}
    loss = InterestContrastiveLoss("infonce", rows=3)
    torch.manual_seed(0)
    found = set()
    for _ in range(60):
        value = loss(*views, mask=mask if masked else None).item()
        matching = [c for c, want in subsets.items() if value == pytest.approx(want, rel=1e-11)]
        assert len(matching) == 1
        found.add(matching[0])
    assert len(found) >= 0.8 * len(subsets)


def test_the_rows_compared_are_the_seeds_alone():
    views = four_views((50, 4))
    loss = InterestContrastiveLoss("infonce", rows=5)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(loss(*views).item())
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("kind", ["bpr", "triplet"])
def test_the_other_kinds_compare_no_rows_and_take_all(kind):
    views = four_views((9, 4))
    assert InterestContrastiveLoss(kind, rows=2)(*views).item() == InterestContrastiveLoss(kind)(*views).item()


def test_the_gradient_reaches_the_rows_compared_only():
    views = four_views((9, 4))
    torch.manual_seed(0)
    InterestContrastiveLoss("infonce", rows=3)(*views).backward()
    touched = [(v.grad != 0).any(-1) for v in views]
    assert all(torch.equal(t, touched[0]) for t in touched)
    assert touched[0].sum() == 3


@KIND
@pytest.mark.parametrize("masked", [False, True])
def test_a_history_that_stands_in_several_rows_is_not_set_against_itself(kind, masked):
    views = four_views((6, 5))
    mask = random_mask((6,)) if masked else None
    loss = InterestContrastiveLoss(kind)
    several = [view.unsqueeze(1).expand(6, 3, 5) for view in views]
    group = torch.arange(6).unsqueeze(1).expand(6, 3)
    own = loss(*several, mask=None if mask is None else mask.unsqueeze(1).expand(6, 3), group=group)
    once = loss(*views, mask=mask)
    if kind != "infonce":
        torch.testing.assert_close(own, once, rtol=1e-12, atol=0)
        return
    # The other histories count as often as they stand there.
    rows = range(6) if mask is None else mask.nonzero().flatten().tolist()
    total = 0.0
    for anchor, positive, negative in tasks(*([v.detach()[i].tolist() for i in rows] for v in views)):
        for i in range(len(anchor)):
            right = math.exp(cosine(anchor[i], positive[i]) / 0.1)
            wrong = math.exp(cosine(anchor[i], negative[i]) / 0.1)
            wrong += 3 * sum(math.exp(cosine(anchor[i], positive[j]) / 0.1) for j in range(len(anchor)) if j != i)
            total += math.log(1 + wrong / right) / len(anchor)
    assert own.item() == pytest.approx(total, rel=1e-11)


@KIND
def test_groups_of_one_row_change_nothing(kind):
    views, loss = four_views((3, 4, 5)), InterestContrastiveLoss(kind)
    mask = random_mask((3, 4))
    group = torch.randperm(12).view(3, 4)
    assert torch.equal(loss(*views, mask=mask, group=group), loss(*views, mask=mask))


def test_a_single_history_has_its_own_opposite_only():
    views = four_views((1, 5))
    several = [view.expand(4, 5) for view in views]
    loss = InterestContrastiveLoss("infonce")
    torch.testing.assert_close(loss(*several, group=torch.zeros(4, dtype=torch.long)), loss(*views), rtol=1e-12, atol=0)
