"""CLSR, as its published code computes it: a score for each pair of a history and a candidate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from ..data.times import SECONDS
from ..diagnosis.measures import Measures, measure
from ..errors import UsageError
from ..losses import InterestContrastiveLoss, sampled_softmax
from ..losses.discrepancy import discrepancy_loss
from ..nn.gated_cells import TensorFlowGRU, TensorFlowLSTM, Time4LSTM
from ..nn.mlp import BatchNormMLP, truncated_normal_
from ..nn.proxies import long_term_proxy, short_term_proxy
from ..nn.target_attention import TargetAttention
from ..nn.time_inputs import time_inputs
from ..sampling import Anchors, negative_sampler
from ..settings.schedule import Schedule


class History(NamedTuple):
    """What a history says before a candidate is known."""

    items: Tensor  # [B, L, D]
    mask: Tensor  # [B, L]
    long_interest: Tensor  # [B, D]
    query: Tensor  # [B, D]
    values: Tensor  # [B, L, D]
    state: Tensor  # [B, D]
    last_time: Tensor  # [B, 1]


class Interests(NamedTuple):
    """What a history and a candidate say."""

    user: Tensor  # [B, G, D]
    short_interest: Tensor  # [B, G, D]
    alpha: Tensor  # [B, G, 1]


class CLSR(SequentialRecommender):  # type: ignore[misc]
    """Disentangling long- and short-term interests (Zheng et al., WWW 2022, arXiv 2202.13090).

    Target-aware: the short-term attention, the fusion and the score see the candidate.  Every point on which
    the published code and the paper differ is a property that defaults to the code.

    Shapes below: B rows, L history length, D embedding size, G candidates, I items.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.time_field = config["TIME_FIELD"]
        self.time_list_field = self.time_field + config["LIST_SUFFIX"]
        if hasattr(dataset, "inter_feat") and not hasattr(dataset, f"{self.time_field}_list_field"):
            raise UsageError(
                f"CLSR needs the times of the histories, and {dataset.dataset_name!r} has none; benchmark files have "
                f"them in the columns {self.time_field}:float and {self.time_list_field}:float_seq"
            )
        self.n_users = dataset.num(self.USER_ID)
        self.category_field = config["category_field"]
        if self.category_field:
            self._check_category(dataset)
        if config["gradient_norm"] is not None and config["enable_scaler"]:
            raise UsageError(
                "gradient_norm: enable_scaler scales the gradients before they are cut; set gradient_norm: None, or "
                "enable_scaler: False"
            )
        self.size_fields = [self.USER_ID, self.ITEM_ID, *([self.category_field] if self.category_field else [])]
        of_category = config["category_embedding_size"]
        dim = config["embedding_size"] + of_category
        self.epoch = 0
        self.negative_num = Schedule(config["negative_num"])
        self.correction = config["negative_correction"]
        self.contrastive_loss_weight = Schedule(config["contrastive_loss_weight"])
        self.recent_k = config["contrastive_recent_k"]
        self.length_threshold = config["contrastive_length_threshold"]
        self.discrepancy_loss_weight = Schedule(config["discrepancy_loss_weight"])
        self.discrepancy_bound = config["discrepancy_bound"]
        self.l2_weight = config["l2_weight"]
        self.query_start, self.interest_evolve = config["query_start"], config["interest_evolve"]
        self.target_in_query = config["target_in_query"]
        self.alpha_sees_time = config["alpha_inputs"] == "code"
        self.last_time_index = config["last_time_index"]
        self.manual_alpha = config["manual_alpha"]
        self.budget = int(config["full_sort_budget_mib"] * 2**20)

        self.item_embedding = self._table(self.n_items, dim - of_category if self.category_field else dim)
        if self.category_field:
            self.category_embedding = self._table(dataset.num(self.category_field), of_category)
        self.user_long, self.user_short = self._table(self.n_users, dim), self._table(self.n_users, dim)
        self.long_attention = TargetAttention(dim, dim)
        self.short_attention = TargetAttention(dim, dim, dim if self.target_in_query else 0)
        self.query_gru = TensorFlowGRU(dim, dim) if self.interest_evolve else None
        kinds = {"time4lstm": Time4LSTM, "gru": TensorFlowGRU, "lstm": TensorFlowLSTM}
        self.short_encoder = kinds[config["sequential_model"]](dim, dim)
        if self.manual_alpha is None:
            self.fusion_gru = TensorFlowGRU(dim, dim)
            self.alpha_mlp = BatchNormMLP(4 * dim + self.alpha_sees_time, (80, 40))
        self.score_mlp = BatchNormMLP(2 * dim, (100, 64))
        self.contrastive_loss = InterestContrastiveLoss(
            config["contrastive_loss"], config["triplet_margin"], config["temperature"], config["triplet_form"]
        )
        self.negatives = negative_sampler(config, dataset)
        self._keep_data(config, dataset)
        self.gradient_norm = config["gradient_norm"]
        self._cut_gradients()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._cut_gradients()  # a copy of a parameter has no hooks

    def _cut_gradients(self) -> None:
        if self.gradient_norm is not None:
            for parameter in self.parameters():
                parameter.register_hook(_cut_to(self.gradient_norm))

    def _keep_data(self, config: Any, dataset: Any) -> None:
        """What the model needs of the data stays with its weights: categories, and each user's first time."""
        seconds = SECONDS.get(getattr(dataset, "time_unit", None) or "s", 1.0) * getattr(dataset, "time_scale", 1.0)
        self.register_buffer("time_unit", torch.tensor(config["time_unit_seconds"] / seconds, dtype=torch.float64))
        first = torch.full((self.n_users,), torch.nan, dtype=torch.float64)
        log = getattr(dataset, "log", None)
        if log is not None:
            start, end = log.start[:-1], log.start[1:]
            times = log.columns[self.time_field]
            first[start < end] = times[start[start < end]].double()
        self.register_buffer("first_time", first)
        if self.category_field:
            features = getattr(dataset, "item_feat", None)  # none where the weights come from a file
            category = (
                torch.zeros(self.n_items, dtype=torch.long) if features is None else features[self.category_field]
            )
            self.register_buffer("category", category if category.dim() == 1 else category[:, 0])

    def _check_category(self, dataset: Any) -> None:
        features = getattr(dataset, "item_feat", None)
        if hasattr(dataset, "item_feat") and (features is None or self.category_field not in features):
            raise UsageError(
                f"category_field: there is no field {self.category_field!r} of items; load it from the .item file, "
                f"as in load_col: {{item: [{self.ITEM_ID}, {self.category_field}]}}"
            )

    @staticmethod
    def _table(rows: int, size: int) -> nn.Embedding:
        table = nn.Embedding(rows, size)
        truncated_normal_(table.weight)
        return table

    def embed(self, items: Tensor) -> Tensor:
        """Item and category embedding of item ids ``[...]``, ``[..., D]``."""
        if not self.category_field:
            return self.item_embedding(items)
        return torch.cat([self.item_embedding(items), self.category_embedding(self.category[items])], -1)

    def encode(self, user: Tensor, items: Tensor, length: Tensor, times: Tensor, now: Tensor) -> History:
        """The parts that no candidate changes.

        Args:
            user: ``[B]``; one that the model was not built for counts as unknown.
            items: ``[B, L]`` item ids, 0 for padding.
            length: ``[B]`` number of items.
            times: ``[B, L]`` times of the items; now: ``[B]`` time of the target.
        """
        user = user.where(user < self.n_users, torch.zeros_like(user))  # [B]
        mask = torch.arange(items.shape[1], device=items.device) < length.unsqueeze(1)  # [B, L]
        x = self.embed(items)  # [B, L, D]
        long_interest = self.long_attention(x, self.user_long(user), None, mask)[0].squeeze(1)  # [B, D]
        query = self.user_short(user)  # [B, D]
        if self.query_gru is not None:
            query = self.query_gru(x, mask, query if self.query_start == "user" else None)[1]  # [B, D]
        first = self.first_time[user]  # [B]
        origin = torch.where(first.isnan() | (first > times[:, 0]), times[:, 0].double(), first)
        from_first, to_now = time_inputs(times.double(), mask, origin, now.double(), float(self.time_unit))
        from_first, to_now = from_first.to(x.dtype), to_now.to(x.dtype)  # [B, L] each
        if isinstance(self.short_encoder, Time4LSTM):
            values = self.short_encoder(x, from_first, to_now, mask)[0]  # [B, L, D]
        else:
            values = self.short_encoder(x, mask)[0]  # [B, L, D]
        state = self.fusion_gru(x, mask)[1] if self.manual_alpha is None else query  # [B, D]
        last = to_now[:, -1:] if self.last_time_index == "code" else to_now.gather(1, length.unsqueeze(1) - 1)  # [B, 1]
        return History(x, mask, long_interest, query, values, state, last)

    def interests(self, history: History, target: Tensor) -> Interests:
        """Short-term interest, fusion and user vector before each candidate.

        Args:
            history: of ``B`` rows.
            target: embeddings of the candidates, ``[B, G, D]``, or ``[G, D]`` for the same ones in each row.
        """
        groups = target.shape[-2]
        query = target if self.target_in_query else None
        short = self.short_attention(history.values, history.query, query, history.mask)[0]  # [B, G or 1, D]
        rows = len(short)
        short = short.expand(rows, groups, -1)  # [B, G, D]
        long = history.long_interest.unsqueeze(1).expand_as(short)  # [B, G, D]
        if self.manual_alpha is not None:
            alpha = short.new_full((rows, groups, 1), self.manual_alpha)
        else:
            state = history.state.unsqueeze(1).expand_as(short)
            inputs = [state, target.expand(rows, -1, -1), long, short]
            if self.alpha_sees_time:
                inputs.append(history.last_time.unsqueeze(1).expand(-1, groups, -1))
            alpha = torch.sigmoid(self.alpha_mlp(torch.cat(inputs, -1))).unsqueeze(-1)  # [B, G, 1]
        return Interests(alpha * long + (1 - alpha) * short, short, alpha)

    def score(self, user: Tensor, target: Tensor) -> Tensor:
        """Score of each candidate, ``[B, G]``."""
        return self.score_mlp(torch.cat([user, target.expand(len(user), -1, -1)], -1))

    def forward(self, interaction: Any, candidates: Tensor) -> tuple[Tensor, History, Interests]:
        """Scores of candidates ``[B, G]``, or ``[G]`` for the same ones in each row, and what they come from."""
        history = self._history(interaction)
        target = self.embed(candidates)
        interests = self.interests(history, target)
        return self.score(interests.user, target), history, interests

    def _history(self, interaction: Any) -> History:
        return self.encode(
            interaction[self.USER_ID],
            interaction[self.ITEM_SEQ],
            interaction[self.ITEM_SEQ_LEN],
            interaction[self.time_list_field],
            interaction[self.time_field],
        )

    def start_epoch(self, epoch: int) -> None:
        """Take the schedules' values of this epoch, and cluster the items anew where negatives come from clusters."""
        self.epoch = epoch
        if self.negatives is not None:
            self.negatives.refresh(self.embed(torch.arange(self.n_items, device=self.item_embedding.weight.device)))

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """Data loss, weighted contrast, weighted discrepancy and weighted L2."""
        assert self.negatives is not None  # a model is trained with its data
        positive = interaction[self.POS_ITEM_ID]  # [B]
        anchors = Anchors(positive, interaction[self.USER_ID], lambda items: self._score_of_pool(interaction, items))
        draw = self.negatives(anchors, round(self.negative_num.at(self.epoch)))
        candidates = torch.cat([positive.unsqueeze(1), draw.items], 1)
        scores, history, interests = self.forward(interaction, candidates)  # [B, G]
        data = sampled_softmax(scores[:, 0], scores[:, 1:], draw.log_count if self.correction else None)
        return (
            data,
            self.contrastive_loss_weight.at(self.epoch) * self._contrast(history, interests),
            self.discrepancy_loss_weight.at(self.epoch) * self._discrepancy(interaction[self.USER_ID]),
            self.l2_weight * self._squares(interaction, candidates),
        )

    def _score_of_pool(self, interaction: Any, items: Tensor) -> Tensor:
        """Scores ``[B, n]`` of candidates ``[B, n]``, which leave no trace in the statistics of the batch norms."""
        was_training = self.training
        self.eval()
        scores = self.forward(interaction, items)[0]
        self.train(was_training)
        return scores

    def _contrast(self, history: History, interests: Interests) -> Tensor:
        shape = interests.short_interest.shape  # [B, G, D]
        proxies = [
            long_term_proxy(history.items, history.mask),
            short_term_proxy(history.items, history.mask, self.recent_k),
        ]
        views = [view.unsqueeze(1).expand(shape) for view in (history.long_interest, *proxies)]
        counts = (history.mask.sum(1) > self.length_threshold).unsqueeze(1).expand(shape[:2])  # [B, G]
        history_of = torch.arange(len(counts), device=counts.device).unsqueeze(1).expand(shape[:2])  # [B, G]
        return self.contrastive_loss(views[0], interests.short_interest, views[1], views[2], counts, history_of)

    def _discrepancy(self, users: Tensor) -> Tensor:
        users = users.unique()
        return discrepancy_loss(self.user_long(users), self.user_short(users), self.discrepancy_bound)

    def _squares(self, interaction: Any, candidates: Tensor) -> Tensor:
        """Half the sum of squares of the rows involved and of all layers."""
        items = torch.cat([interaction[self.ITEM_SEQ].flatten(), candidates.flatten()]).unique()
        users = interaction[self.USER_ID].unique()
        rows = [self.item_embedding(items), self.user_long(users), self.user_short(users)]
        if self.category_field:
            rows.append(self.category_embedding(self.category[items].unique()))
        tables = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding)}
        rows += [parameter for parameter in self.parameters() if id(parameter) not in tables]
        return torch.stack([(row**2).sum() for row in rows]).sum() / 2

    def predict(self, interaction: Any) -> Tensor:
        """Score of each row's item, ``[B]``; a history that many rows share is encoded once."""
        item = interaction[self.ITEM_ID]
        if not len(item):
            return self.item_embedding.weight.new_zeros(0)
        fields = [self.USER_ID, self.ITEM_SEQ_LEN, self.time_field, self.ITEM_SEQ, self.time_list_field]
        known = torch.cat([interaction[field].double().view(len(item), -1) for field in fields], 1)
        same, of_row = known.unique(dim=0, return_inverse=True)  # [H, ...], [B]
        if self.training or len(same) == len(item):  # statistics of a batch count every row
            return self.forward(interaction, item.unsqueeze(1))[0].squeeze(1)
        # Candidates of a history in lines of G, as many as a history has on average, so that at most half is padding.
        size = of_row.bincount()  # [H]
        width = -(-len(item) // len(size))
        lines = -(-size // width)  # [H]
        order = of_row.argsort(stable=True)  # [B], rows by history
        place = torch.arange(len(item), device=item.device) - (size.cumsum(0) - size)[of_row[order]]
        line, column = (lines.cumsum(0) - lines)[of_row[order]] + place // width, place % width  # [B] each
        candidates = item.new_zeros((int(lines.sum()), width))
        candidates[line, column] = item[order]
        one_row = order[size.cumsum(0) - size]  # [H], a row of each history
        history = self._history({field: interaction[field][one_row] for field in fields})
        history = History(*(part.repeat_interleave(lines, 0) for part in history))
        target = self.embed(candidates)
        scores = self.score(self.interests(history, target).user, target)[line, column]  # [B]
        return torch.empty_like(scores).scatter(0, order, scores)

    @contextmanager
    def fixed_alpha(self, alpha: float) -> Iterator[None]:
        """Score with this weight of the long-term interest meanwhile: 1 and 0 are each branch alone."""
        before, self.manual_alpha = self.manual_alpha, alpha
        try:
            yield
        finally:
            self.manual_alpha = before

    def measure(self, interaction: Any) -> Measures:
        """What the interests, the attention and the fusion are like at the end of each row, before the row's item."""
        history = self._history(interaction)
        target = self.embed(interaction[self.ITEM_ID]).unsqueeze(1)  # [B, 1, D]
        found = self.interests(history, target)
        user = interaction[self.USER_ID]
        own = self.user_long(user.where(user < self.n_users, torch.zeros_like(user)))  # [B, D]
        query = target if self.target_in_query else None
        weights = (
            self.long_attention(history.items, own, None, history.mask)[1],
            self.short_attention(history.values, history.query, query, history.mask)[1],
        )
        return measure(
            found.alpha[:, 0, 0],
            (history.long_interest, found.short_interest[:, 0]),
            (
                long_term_proxy(history.items, history.mask),
                short_term_proxy(history.items, history.mask, self.recent_k),
            ),
            (weights[0][:, 0], weights[1][:, 0]),
            history.mask,
        )

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, ``[B, I]``, in blocks of rows and of items that keep to ``full_sort_budget_mib``."""
        history = self._history(interaction)
        items = self.embed(torch.arange(self.n_items, device=history.items.device))  # [I, D]
        # Bytes of a pair's hidden layer, and of what comes of it.
        of_pair = 4 * items.element_size() * history.mask.shape[1] * self.short_attention.hidden
        of_row = of_pair * (items.shape[1] if self.target_in_query else 1)
        rows = max(1, self.budget // (2 * of_row))
        scores = [items.new_zeros((0, len(items)))]
        for begin in range(0, len(history.mask), rows):
            part = History(*(field[begin : begin + rows] for field in history))
            at_once = max(1, self.budget // (2 * of_pair * len(part.mask)))
            blocks = items.split(at_once)
            scores.append(torch.cat([self.score(self.interests(part, block).user, block) for block in blocks], 1))
        return torch.cat(scores)


def _cut_to(norm: float) -> Any:
    """A hook that cuts a gradient to this norm, as TensorFlow's ``clip_by_norm``."""
    return lambda gradient: gradient * (norm / gradient.norm().clamp(min=norm))
