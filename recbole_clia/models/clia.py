"""CLIA: contrastive long- and short-term interests, target-free and causal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.dataset import TARGETS_SUFFIX, Events
from ..data.times import SECONDS
from ..diagnosis.measures import Measures, measure
from ..errors import UsageError
from ..losses import (
    Background,
    BPRLoss,
    InterestContrastiveLoss,
    Offsets,
    all_logits,
    info_nce,
    logits_dtype,
    mixture_cross_entropy,
    same_class,
    sampled_log_probability,
)
from ..nn import (
    BitDropout,
    GapEmbedding,
    InterestFusion,
    ItemDirection,
    LongTermEncoder,
    Neighbours,
    ProxyResidual,
    RepeatOffsets,
    ShortTermEncoder,
    Trend,
    causal_proxies,
    dropout_of,
    seen_items,
)
from ..nn.rows import chosen, similar_lengths, take_rows
from ..sampling import Anchors, augmented, halves, negative_sampler
from ..settings.schedule import Schedule

WEIGHTED = ("contrastive_loss", "augmentation", "continuity", "same_target")
PREDICTED_AT_ONCE = 512  # histories, of all whose items the scores are made
SINCE_SIZE = 16  # of the embedding of the time since the last interaction
BESIDE_PROXIES = 0.3  # the start of the weights of a normalised interest, so that its proxy is heard first


class Interests(NamedTuple):
    """What histories say at the positions asked for; every tensor ``[N, D]`` but the weight."""

    user: Tensor
    long_interest: Tensor
    short_interest: Tensor
    long_proxy: Tensor
    short_proxy: Tensor
    log_weight: Tensor  # [N, 2], logs of alpha and of 1 - alpha
    offsets: Offsets | None = None  # what items of the history and their neighbours have beside the inner product
    background: Background | None = None  # what all items have

    @property
    def alpha(self) -> Tensor:
        """Weight of the long-term interest, ``[N, 1]``."""
        return self.log_weight[:, :1].exp()


class CLIA(SequentialRecommender):  # type: ignore[misc]
    """Contrastive learning of long- and short-term interests.

    The interests at position ``t`` are a function of the first ``t`` items only, and meet an item in an inner product.
    Hence one pass over a history trains all its prefixes, and ranking the catalogue is one matrix product.  The
    probability of the next item is ``softmax_i(<alpha long + (1 - alpha) short, i>)`` (Zheng et al., WWW 2022, equation
    14), or with ``fusion: mixture`` a mixture over what drives it::

        p(i) = alpha softmax_i(<long, i>) + (1 - alpha) softmax_i(<short, i>)

    so that alpha is the probability that the long-term interest does, and each interest learns from the targets that it
    explains.

    What meets the interests is an item's direction, ``scale e_i / |e_i|`` (:class:`ItemDirection`), with ``item_norm:
    False`` its embedding ``e_i`` itself; in training ``item_dropout`` drops elements of ``e_i`` before.

    With ``proxy_residual`` each interest is its own proxy's direction, of the items' own space, plus what the encoder
    says (:class:`ProxyResidual`).

    Beside the inner product stands what does not depend on taste: whether the user has had the item, and how long ago
    (:class:`RepeatOffsets`), how close it has been to the last items in the histories of others (:class:`Neighbours`),
    and how popular it has lately been at the time of the request (:class:`Trend`).  So the request has a time, as in
    CLSR; a row without one is taken to follow its last interaction at once.

    Shapes below: B rows, L history length, D embedding size, I items, N positions trained.
    """

    seconds: Tensor

    input_type = InputType.POINTWISE  # negatives are drawn here

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.TARGETS = self.ITEM_ID + TARGETS_SUFFIX
        self.TIME = config["TIME_FIELD"]
        self.TIME_SEQ = self.TIME + config["LIST_SUFFIX"]
        seconds = SECONDS.get(getattr(dataset, "time_unit", None) or "", 1.0) * getattr(dataset, "time_scale", 1.0)
        self.register_buffer("seconds", torch.tensor(seconds, dtype=torch.float64))
        self.n_users = dataset.num(self.USER_ID)
        dim = config["embedding_size"]
        self.loss_type = config["loss_type"]
        budget = config["softmax_budget_mib"]
        self.softmax_budget = None if budget is None else int(budget * 2**20)
        self.softmax_dtype = config["softmax_dtype"]
        self.recent_k = config["contrastive_recent_k"]
        self.length_threshold = config["contrastive_length_threshold"]
        self.temperature = config["temperature"]
        self.contrastive_rows = config["contrastive_rows"]
        self.operations = config["augmentation"]
        self.ratios = {name: config[f"{name}_ratio"] for name in self.operations}
        self.epoch = 0
        negatives = config["negative_num"]
        self.negative_num = Schedule({"SSM": 128}.get(self.loss_type, 1) if negatives is None else negatives)
        self.correction = config["negative_correction"]
        self.weights = {name: Schedule(config[f"{name}_weight"]) for name in WEIGHTED}

        self.item_embedding = nn.Embedding(self.n_items, dim, padding_idx=0)
        nn.init.normal_(self.item_embedding.weight, std=config["initializer_range"])
        with torch.no_grad():
            self.item_embedding.weight[0].zero_()
        self.direction = ItemDirection() if config["item_norm"] else nn.Identity()
        self.input_norm = nn.LayerNorm(dim)
        dropout = config["dropout_prob"]
        if dropout is None:
            dropout = dropout_of(len(dataset) / max(1, self.n_items - 1))
        self.dropout, self.item_dropout = BitDropout(dropout), BitDropout(config["item_dropout"])
        self.long_term = LongTermEncoder(
            dim, self.n_users if config["user_query"] else 0, config["long_term_attention"]
        )
        self.short_term = ShortTermEncoder(
            dim, config["hidden_size"], config["short_term_encoder"], config["short_term_attention"]
        )
        state_size = self.short_term.output_size
        self.gap = self.since = None
        if config["time_gaps"]:
            self.gap, self.since = GapEmbedding(dim, config["initializer_range"]), GapEmbedding(SINCE_SIZE, 0.1)
            state_size += SINCE_SIZE
        self.residuals = None
        if config["proxy_residual"]:
            self.residuals = nn.ModuleList([ProxyResidual(dim), ProxyResidual(dim)])
        start = 1.0 if self.residuals is None else BESIDE_PROXIES
        self.long_output, self.short_output = _output(dim, dim, start), _output(state_size, dim, start)
        self.mixture = config["fusion"] == "mixture"
        self.fusion = InterestFusion(dim, state_size, config["fixed_alpha"])
        self.repeats = RepeatOffsets(state_size) if config["repeats"] else None
        # Without data, weights are loaded next, and what they rest on.
        events = Events(*np.zeros((3, 0), dtype=np.int64))
        if hasattr(dataset, "events") and (config["trend"] or config["neighbours"]):
            events = dataset.events()
        self.trend = self._make_trend(config, events, state_size) if config["trend"] else None
        self.neighbours = self._make_neighbours(config, events, state_size) if config["neighbours"] else None

        try:
            self.contrastive_loss = InterestContrastiveLoss(
                config["contrastive_loss"],
                config["triplet_margin"],
                config["temperature"],
                config["triplet_form"],
                config["contrastive_task_weights"],
                config["contrastive_rows"],
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.negatives = None if self.loss_type == "CE" else negative_sampler(config, dataset)

    def start_epoch(self, epoch: int) -> None:
        """Take the schedules' values of this epoch, and cluster the items anew where negatives come from clusters."""
        self.epoch = epoch
        if self.negatives is not None:
            self.negatives.refresh(self.item_embedding.weight)

    def _make_trend(self, config: Any, events: Events, state_size: int) -> Trend:
        return Trend(
            state_size,
            events.time * float(self.seconds),
            events.item,
            self.n_items,
            config["trend_periods"],
            config["trend_half_lives"],
        )

    def _make_neighbours(self, config: Any, events: Events, state_size: int) -> Neighbours:
        return Neighbours(
            state_size,
            events.user,
            events.item,
            self.n_items,
            config["neighbour_window"],
            config["neighbour_num"],
            config["neighbour_recent"],
            progress=config["show_progress"],
        )

    def forward(
        self, user: Tensor, items: Tensor, where: Tensor, times: Tensor | None = None, now: Tensor | None = None
    ) -> Interests:
        """Interests at chosen positions of right-padded histories.

        Args:
            user: ``[B]`` user ids; one that the model was not built for counts as unknown.
            items: ``[B, L]`` item ids, 0 for padding.
            where: boolean ``[B, L]``, the ``N`` positions asked for.
            times: ``[B, L]`` float64, when each interaction was, in the dataset's unit.  Without them all were at once:
                at ``now``, one position of each row being asked for, or at 0.
            now: ``[N]`` float64, when the next item is asked for; at the time of the last one, if not given.
        """
        index = chosen(where)  # [N]
        user = user.where(user < self.n_users, torch.zeros_like(user))  # [B]
        if times is None:
            times = (
                torch.zeros_like(items, dtype=torch.float64) if now is None else now.unsqueeze(1).expand(items.shape)
            )
        times = times * self.seconds  # [B, L]
        last_time = take_rows(times.unsqueeze(-1), index).squeeze(-1)  # [N]
        now = last_time if now is None else now * self.seconds  # [N]
        embedded = self.item_embedding(items)  # [B, L, D]
        inputs = self.dropout(self.input_norm(embedded))  # [B, L, D]
        long_state = take_rows(self.long_term(inputs, user), index)  # [N, D]
        timed = self._timed(inputs, times)  # [B, L, D]
        states = [take_rows(part, index) for part in self.short_term(timed)]
        if self.since is not None:
            states.append(self.since(now - last_time))
        short_state = torch.cat(states, -1)  # [N, S]
        long_interest = self.long_output(long_state)  # [N, D]
        short_interest = self.short_output(short_state)  # [N, D]
        if self.residuals is not None:
            dropped = (take_rows(p, index) for p in causal_proxies(self.dropout(embedded), self.recent_k))
            interests = zip(self.residuals, (long_interest, short_interest), dropped, strict=True)
            long_interest, short_interest = (residual(interest, proxy) for residual, interest, proxy in interests)
        fused, log_weight = self.fusion(short_state, long_interest, short_interest)  # [N, D], [N, 2]
        long_proxy, short_proxy = (take_rows(p, index) for p in causal_proxies(embedded, self.recent_k))  # [N, D] each
        added, background = [], None
        if self.repeats is not None:
            seen = seen_items(items, index, times, now)
            added.append((seen.item, self.repeats(seen, short_state)))
        if self.neighbours is not None:
            added.append(self.neighbours(items, index, user, short_state))
        offsets = Offsets(*(torch.cat(parts, 1) for parts in zip(*added, strict=True))) if added else None
        if self.trend is not None:
            background = Background(self.trend.features, *self.trend(short_state, now))
        of_history = (fused, long_interest, short_interest, long_proxy, short_proxy, log_weight)
        return Interests(*of_history, offsets, background)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """The recommendation loss, the weighted contrast of the interests, and that of each further kind of positives
        that has a weight; means over the positions trained.

        Takes a packed batch, where every position with a target is trained, or RecBole's rows,
        where the last position of each row is.
        """
        if self.TARGETS in interaction:
            where = interaction[self.TARGETS] > 0  # [B, L]
            target = interaction[self.TARGETS][where]  # [N]
            now = interaction[self.TIME + TARGETS_SUFFIX][where].double()  # [N]
        else:
            where = self._last_position(interaction)  # [B, L]
            target = interaction[self.POS_ITEM_ID]  # [N]
            now = self._now(interaction)  # [N]
        user_id, items = interaction[self.USER_ID], interaction[self.ITEM_SEQ]
        interests = self.forward(user_id, items, where, self._times(interaction), now)
        length = torch.arange(1, where.shape[1] + 1, device=where.device).expand_as(where)[where]  # [N]
        contrast = self.contrastive_loss(*interests[1:5], mask=length > self.length_threshold)
        user = interaction[self.USER_ID].unsqueeze(1).expand_as(where)[where]  # [N]
        losses = [
            self._recommendation_loss(interests, target, user),
            self.weights["contrastive_loss"].at(self.epoch) * contrast,
        ]
        further = {
            "augmentation": lambda: self._augmentation(interaction),
            "continuity": lambda: self._continuity(interaction),
            "same_target": lambda: self._same_target(interests.user, target),
        }
        for name, loss in further.items():
            if not self.weights[name].is_zero:
                weight = self.weights[name].at(self.epoch)
                losses.append(weight * loss() if weight else target.new_zeros((), dtype=contrast.dtype))
        return tuple(losses)

    def scored_items(self) -> Tensor:
        """The vectors of the items that meet the interests, ``[I, D]``."""
        items: Tensor = self.direction(self.item_dropout(self.item_embedding.weight))
        return items

    def _queries(self, interests: Interests) -> tuple[Tensor, Tensor]:
        """The vectors that meet the items, ``[K, N, D]``, and the logs of their weights, ``[N, K]``."""
        if self.mixture:
            return torch.stack([interests.long_interest, interests.short_interest]), interests.log_weight
        return interests.user.unsqueeze(0), interests.user.new_zeros((len(interests.user), 1))

    def _recommendation_loss(self, interests: Interests, target: Tensor, user_id: Tensor) -> Tensor:
        queries, log_weight = self._queries(interests)
        offsets, background = interests.offsets, interests.background
        if self.loss_type == "CE":
            weight = self.scored_items()
            dtype = logits_dtype(self.softmax_dtype, weight)
            if self.trend is not None and background is not None:
                background = background._replace(features=self.trend.features_in(dtype))
            return mixture_cross_entropy(
                queries, log_weight, weight, target, self.softmax_budget, offsets, background, dtype
            )
        assert self.negatives is not None  # a model is trained with its data

        def score(candidates: Tensor) -> Tensor:  # [N or 1, n] -> [K, N, n]
            items = self.direction(self.item_dropout(self.item_embedding(candidates)))  # [N or 1, n, D]
            scores = queries @ items[0].T if len(items) == 1 else torch.einsum("knd,nmd->knm", queries, items)
            for part in (offsets, background):
                if part is not None:
                    scores = scores + part.of(candidates)
            return scores

        anchors = Anchors(target, user_id, lambda candidates: _mixed(score(candidates), log_weight))
        draw = self.negatives(anchors, round(self.negative_num.at(self.epoch)))
        positive, negative = score(target.unsqueeze(1)).squeeze(-1), score(draw.items)  # [K, N], [K, N, n]
        if self.loss_type == "BPR":
            return BPRLoss.of_mixture(positive.unsqueeze(-1), negative, log_weight, draw.usable)
        count = draw.log_count if self.correction else None
        of_part = [sampled_log_probability(p, n, count, draw.usable) for p, n in zip(positive, negative, strict=True)]
        joint = torch.stack(of_part, -1) + log_weight  # [N, K]
        return -joint.logsumexp(-1).mean() if len(joint) else joint.sum()

    def _augmentation(self, interaction: Any) -> Tensor:
        """Two random views of each history lead to the same user."""
        user, items, length = (interaction[name] for name in (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN))
        views = [augmented(items, length, self.operations, self.ratios) for _ in range(2)]
        one, other = (self.forward(user, *self._at_the_end(*view)).user for view in views)  # [B, D] each
        return info_nce(one, other, user, self.temperature)

    def _continuity(self, interaction: Any) -> Tensor:
        """The older and the newer half of a history have the same long-term interest."""
        long = interaction[self.ITEM_SEQ_LEN] > 1
        user, items, length = (interaction[name][long] for name in (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN))
        older, older_length, newer, newer_length = halves(items, length)
        one = self.forward(user, *self._at_the_end(older, older_length)).long_interest  # [B, D]
        other = self.forward(user, *self._at_the_end(newer, newer_length)).long_interest  # [B, D]
        return info_nce(one, other, user, self.temperature)

    def _same_target(self, user: Tensor, target: Tensor) -> Tensor:
        """Histories that lead to the same item lead to similar users."""
        if len(target) > self.contrastive_rows:
            rows = torch.randperm(len(target), device=target.device)[: self.contrastive_rows]
            user, target = user[rows], target[rows]
        return same_class(user, target, self.temperature)

    @staticmethod
    def _at_the_end(items: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Histories, and where their last items are, ``[B, L]`` each."""
        return items, torch.arange(1, items.shape[1] + 1, device=items.device) == length.unsqueeze(-1)

    def _last_position(self, interaction: Any) -> Tensor:
        return self._at_the_end(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])[1]

    def _timed(self, inputs: Tensor, times: Tensor) -> Tensor:
        """``inputs [B, L, D]`` with the time since the interaction before in them, from ``times [B, L]`` in seconds."""
        return inputs if self.gap is None else inputs + self.gap(times.diff(dim=1, prepend=times[:, :1]))

    def _times(self, interaction: Any) -> Tensor | None:
        """When each interaction of a history was, ``[B, L]``, where the rows say it."""
        return interaction[self.TIME_SEQ].double() if self.TIME_SEQ in interaction else None

    def _now(self, interaction: Any) -> Tensor | None:
        """When the next item of each row is asked for, ``[B]``, where the rows say it."""
        return interaction[self.TIME].double() if self.TIME in interaction else None

    def _at_the_rows(self, interaction: Any) -> Interests:
        """The interests at the end of each row; rows of similar length are encoded together, with little padding."""
        user, items, length = (interaction[name] for name in (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN))
        times, now = self._times(interaction), self._now(interaction)
        groups, back = similar_lengths(length)
        parts = []
        for rows in groups:
            width = int(length[rows].max()) if len(rows) else 1
            of_rows, where = self._at_the_end(items[rows, :width], length[rows])
            of_time = None if times is None else times[rows, : of_rows.shape[1]]
            parts.append(self.forward(user[rows], of_rows, where, of_time, None if now is None else now[rows]))
        return _joined(parts, back)

    def predict(self, interaction: Any) -> Tensor:
        """Score of each row's item, ``[B]``, as :meth:`full_sort_predict` gives it.

        A history that several rows share, as in sampled evaluation, is encoded once.
        """
        fields = [self.USER_ID, self.ITEM_SEQ_LEN, self.TIME, self.TIME_SEQ, self.ITEM_SEQ]
        fields = [field for field in fields if field in interaction]
        item = interaction[self.ITEM_ID]
        if not len(item):
            return self.item_embedding.weight.new_zeros(0)
        known = torch.cat([interaction[field].double().view(len(item), -1) for field in fields], 1)
        same, of_row = known.unique(dim=0, return_inverse=True)  # [H, ...], [B]
        one_row = of_row.new_empty(len(same)).scatter(0, of_row, torch.arange(len(item), device=item.device))  # [H]
        scores = torch.empty_like(item, dtype=self.item_embedding.weight.dtype)  # [B]
        for histories in torch.arange(len(same), device=item.device).split(PREDICTED_AT_ONCE):
            rows = one_row[histories]
            all_scores = self.full_sort_predict({field: interaction[field][rows] for field in fields})  # [h, I]
            mine = ((of_row >= histories[0]) & (of_row <= histories[-1])).nonzero().squeeze(1)
            scores[mine] = all_scores[of_row[mine] - histories[0], item[mine]].to(scores.dtype)
        return scores

    @contextmanager
    def fixed_alpha(self, alpha: float) -> Iterator[None]:
        """Score with this weight of the long-term interest meanwhile: 1 and 0 are each branch alone."""
        before, self.fusion.fixed_alpha = self.fusion.fixed_alpha, alpha
        try:
            yield
        finally:
            self.fusion.fixed_alpha = before

    def measure(self, interaction: Any) -> Measures:
        """What the interests, the attention and the fusion are like at the end of each row."""
        items, length, user = (interaction[name] for name in (self.ITEM_SEQ, self.ITEM_SEQ_LEN, self.USER_ID))
        found = self._at_the_rows(interaction)
        user = user.where(user < self.n_users, torch.zeros_like(user))
        inputs = self.input_norm(self.item_embedding(items))  # [B, L, D]
        times = self._times(interaction)
        at_once = torch.zeros_like(items, dtype=torch.float64)
        timed = self._timed(inputs, at_once if times is None else times * self.seconds)
        return measure(
            found.alpha.squeeze(-1),
            (found.long_interest, found.short_interest),
            (found.long_proxy, found.short_proxy),
            (self.long_term.weights(inputs, user), self.short_term.weights(timed, length)),
            torch.arange(items.shape[1], device=items.device) < length.unsqueeze(-1),
        )

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, ``[B, I]``: logs of their probabilities, or with fusion: vector their logits."""
        found = self._at_the_rows(interaction)
        queries, log_weight = self._queries(found)
        scores = all_logits(queries, self.scored_items(), found.offsets, found.background)  # [K, B, I]
        return _mixed(scores, log_weight)


def _output(state_size: int, dim: int, start: float) -> nn.Sequential:
    """From a state to a normalised interest, whose length starts at ``start sqrt(D)``."""
    norm = nn.LayerNorm(dim)
    nn.init.constant_(norm.weight, start)
    return nn.Sequential(nn.Linear(state_size, dim), norm)


def _joined(parts: list[Interests], order: Tensor) -> Interests:
    """Interests of several groups of rows in one, taken in this order ``[N]``."""
    one = parts[0]
    vectors: Any = [torch.cat(tensors)[order] for tensors in zip(*(part[:6] for part in parts), strict=True)]
    offsets, background = None, None
    if one.offsets is not None:
        found = [part.offsets for part in parts if part.offsets is not None]
        width = max(part.item.shape[1] for part in found)
        padded = [[F.pad(tensor, (0, width - tensor.shape[1])) for tensor in part] for part in found]
        offsets = Offsets(*(torch.cat(tensors)[order] for tensors in zip(*padded, strict=True)))
    if one.background is not None:
        moments = [part.background[1:] for part in parts if part.background is not None]
        background = Background(one.background.features, *(torch.cat(t)[order] for t in zip(*moments, strict=True)))
    return Interests._make([*vectors, offsets, background])


def _mixed(scores: Tensor, log_weight: Tensor) -> Tensor:
    """Logarithms ``[N, n]`` of the mixed softmaxes of ``scores [K, N, n]``; one part's scores stay as they are."""
    if len(scores) == 1:
        return scores[0]
    return (scores.log_softmax(-1) + log_weight.T.unsqueeze(-1)).logsumexp(0)
