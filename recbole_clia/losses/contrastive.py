"""The four contrastive tasks between the two interests and their proxies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..nn.rows import chosen, take_rows

KINDS = ("bpr", "triplet", "infonce")
FORMS = ("dimension", "vector")


class InterestContrastiveLoss(nn.Module):
    """Pull each interest to its own proxy and away from the other one's.

    With ``l``, ``s`` the long- and short-term interests and ``pl``, ``ps`` their proxies, the
    sum of four tasks ``f(anchor, positive, negative)``, each a mean over the rows::

        f(l, pl, ps)   f(s, ps, pl)   f(pl, l, s)   f(ps, s, l)

    (Zheng et al., "Disentangling Long and Short-Term Interests for Recommendation",
    WWW 2022, equations 9 to 12.)  ``f`` is one of

    - ``bpr``: ``softplus(<a, n> - <a, p>)``;
    - ``triplet``: a hinge **per dimension** on squared differences, summed over dimensions:
      ``sum_d max(0, (a - p)_d^2 - (a - n)_d^2 + margin)``.  As in the published code, tasks 3
      and 4 compare the same distances (interest, proxy) as tasks 1 and 2; with ``form="vector"`` the
      hinge is on the distances summed over dimensions, as in the paper;
    - ``infonce``: softmax cross-entropy of the positive against the row's own negative and
      the positives of the other rows, on cosine similarity divided by ``temperature``.

    Args:
        kind: ``"bpr"``, ``"triplet"`` or ``"infonce"``.
        margin: hinge margin of ``triplet``, at least 0.
        temperature: divisor of the cosine in ``infonce``, above 0.
        form: of ``triplet``, ``"dimension"`` or ``"vector"``.
        weights: of the four tasks, in the order above, not negative.
        rows: ``infonce`` compares so many rows with each other at most, drawn anew at each call; all, if ``None``.

    Shapes:
        long_interest, short_interest, long_proxy, short_proxy: ``[..., D]``.
        mask: boolean ``[...]``, the rows that count; ``None`` counts all.
        group: integers ``[...]``; rows with the same one are the same history, which ``infonce`` does not set against
            itself. Every row is a history of its own, if not given.
        returns: a scalar; exactly 0, with a live graph, when no row counts.

    Raises:
        ValueError: for a wrong ``kind`` or ``form``, a negative ``margin``, a ``temperature`` not above 0, or
            other than four weights of at least 0.

    Example:
        >>> import torch
        >>> loss = InterestContrastiveLoss("triplet", margin=0.0)
        >>> l, s = torch.eye(2)[:1], torch.eye(2)[1:]
        >>> loss(l, s, long_proxy=l, short_proxy=s).item()    # each interest is its proxy
        0.0
    """

    def __init__(
        self,
        kind: str = "bpr",
        margin: float = 1.0,
        temperature: float = 0.1,
        form: str = "dimension",
        weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        rows: int | None = None,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"contrastive loss kind must be one of {', '.join(KINDS)}, not {kind!r}")
        if not (margin >= 0 and math.isfinite(margin)):
            raise ValueError(f"triplet margin must be a finite number of at least 0, not {margin!r}")
        if not (temperature > 0 and math.isfinite(temperature)):
            raise ValueError(f"temperature must be a finite number above 0, not {temperature!r}")
        if form not in FORMS:
            raise ValueError(f"triplet form must be one of {', '.join(FORMS)}, not {form!r}")
        if len(weights) != 4 or not all(w >= 0 and math.isfinite(w) for w in weights):
            raise ValueError(f"contrastive task weights must be four finite numbers of at least 0, not {weights!r}")
        self.kind = kind
        self.weights = tuple(float(w) for w in weights)
        self.rows = rows
        self.form = form
        self.margin = margin
        self.temperature = temperature

    def forward(
        self,
        long_interest: Tensor,
        short_interest: Tensor,
        long_proxy: Tensor,
        short_proxy: Tensor,
        mask: Tensor | None = None,
        group: Tensor | None = None,
    ) -> Tensor:
        views = [long_interest, short_interest, long_proxy, short_proxy]
        index = None if mask is None else chosen(mask)  # [N]
        if self.kind == "infonce" and self.rows is not None:
            index = self._some(views[0][..., 0], index)
        if index is not None:
            views = [take_rows(view, index) for view in views]  # [N, D] each
        rows = [view.reshape(-1, view.shape[-1]) for view in views]  # [N, D] each
        if group is not None:
            group = group.flatten() if index is None else group.flatten()[index]  # [N]
        if rows[0].shape[0] == 0:
            return torch.stack([row.sum() for row in rows]).sum()
        tasks: Callable[..., Tensor] = getattr(self, f"_{self.kind}")
        if self.kind == "infonce":
            tasks = partial(self._infonce, group=group)
        losses = tasks(*rows).mean(-1)  # [4]
        return (losses * losses.new_tensor(self.weights)).sum()

    def _some(self, like: Tensor, index: Tensor | None) -> Tensor | None:
        number = like.numel() if index is None else len(index)
        if self.rows is None or number <= self.rows:
            return index
        drawn = torch.randperm(number, device=like.device)[: self.rows]
        return drawn if index is None else index[drawn]

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}, margin={self.margin}, temperature={self.temperature}"

    # Each of the three returns the four tasks' losses of every row, [4, N].

    def _bpr(self, long: Tensor, short: Tensor, p_long: Tensor, p_short: Tensor) -> Tensor:
        l_pl, l_ps = (long * p_long).sum(-1), (long * p_short).sum(-1)  # [N]
        s_pl, s_ps = (short * p_long).sum(-1), (short * p_short).sum(-1)  # [N]
        gaps = torch.stack([l_ps - l_pl, s_pl - s_ps, s_pl - l_pl, l_ps - s_ps])  # [4, N]
        return F.softplus(gaps)

    def _triplet(self, long: Tensor, short: Tensor, p_long: Tensor, p_short: Tensor) -> Tensor:
        l_pl, l_ps = (long - p_long) ** 2, (long - p_short) ** 2  # [N, D]
        s_pl, s_ps = (short - p_long) ** 2, (short - p_short) ** 2  # [N, D]
        gaps = torch.stack([l_pl - l_ps, s_ps - s_pl, l_pl - s_pl, s_ps - l_ps])  # [4, N, D]
        if self.form == "vector":
            gaps = gaps.sum(-1, keepdim=True)  # [4, N, 1]
        return F.relu(gaps + self.margin).sum(-1)

    def _infonce(
        self, long: Tensor, short: Tensor, p_long: Tensor, p_short: Tensor, group: Tensor | None = None
    ) -> Tensor:
        long, short, p_long, p_short = (F.normalize(v, dim=-1) for v in (long, short, p_long, p_short))
        target = torch.arange(long.shape[0], device=long.device)
        again = None
        if group is not None:
            again = (group.unsqueeze(1) == group).fill_diagonal_(False)  # [N, N], itself in other rows

        def task(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
            others = anchor @ positive.T  # [N, N], the row's own positive on the diagonal
            if again is not None:
                others = others.masked_fill(again, -torch.inf)
            own_negative = (anchor * negative).sum(-1, keepdim=True)  # [N, 1]
            logits = torch.cat([others, own_negative], dim=-1) / self.temperature  # [N, N + 1]
            return F.cross_entropy(logits, target, reduction="none")  # [N]

        return torch.stack(
            [
                task(long, p_long, p_short),
                task(short, p_short, p_long),
                task(p_long, long, short),
                task(p_short, short, long),
            ]
        )
