"""RecBole's sequential dataset, kept as one flat log instead of a padded copy of every prefix."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from ..errors import UsageError
from .windows import Windows, cut_windows

LOG_POSITION = "log_position"
TARGETS_SUFFIX = "_targets"


class CLIADataset(SequentialDataset):  # type: ignore[misc]
    """Gives RecBole's rows for evaluation, and windows for packed training, from one log.

    ``log`` holds every interaction once, sorted by user and time as RecBole sorts.  A row of
    ``inter_feat`` is a target with its position in the log; its padded history is cut out of the
    log when the row is asked for, and equals RecBole's row in every column.
    """

    log: Interaction  # the flat log; ``user_start`` gives the position of each one's first interaction
    user_start: torch.Tensor  # [N]
    inter_feat: Interaction

    def data_augmentation(self) -> None:
        """Sort the log and make each interaction but a user's first one a target."""
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        self.sort(by=[self.uid_field, self.time_field], ascending=True)
        self.log = self.inter_feat
        user = self.log[self.uid_field]  # [N]
        position = torch.arange(len(user))  # [N]
        is_first = torch.ones_like(user, dtype=torch.bool)
        is_first[1:] = user[1:] != user[:-1]
        self.user_start = torch.cummax(position.where(is_first, torch.tensor(0)), 0).values  # [N]
        target = position[~is_first]  # [T]
        rows = {field: self.log[field][target] for field in self.log}
        rows[self.item_list_length_field] = (target - self.user_start[target]).clamp(max=self.max_item_list_len)
        rows[LOG_POSITION] = target
        self.set_field_property(LOG_POSITION, FeatureType.TOKEN, FeatureSource.INTERACTION, 1)
        self.inter_feat = Interaction(rows)

    def __getitem__(self, index: Any, join: bool = True) -> Interaction:
        rows = self.inter_feat[index]
        if LOG_POSITION in rows:
            rows = self._with_history(rows)
        return self.join(rows) if join else rows

    def _with_history(self, rows: Interaction) -> Interaction:
        """Cut the history before each target out of the log, padded to RecBole's width."""
        columns = dict(rows.interaction)
        target = columns.pop(LOG_POSITION)  # [B]
        length = columns[self.item_list_length_field]  # [B]
        where, is_item = self._slots(target - length, length, self.max_item_list_len)
        for field in self.log:
            if field != self.uid_field:
                columns[getattr(self, f"{field}_list_field")] = self._cut(field, where, is_item)
        return Interaction(columns)

    @staticmethod
    def _slots(start: torch.Tensor, length: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions ``start .. start + length - 1`` of each row, ``[B, width]``, and which are real."""
        step = torch.arange(width)
        is_item = step < length[:, None]  # [B, width]
        return (start[:, None] + step).where(is_item, torch.tensor(0)), is_item

    def _cut(self, field: str, where: torch.Tensor, is_item: torch.Tensor) -> torch.Tensor:
        values = self.log[field][where]  # [B, width, ...]
        is_item = is_item.view(is_item.shape + (1,) * (values.dim() - 2))
        return values.where(is_item, torch.zeros((), dtype=values.dtype))

    def windows(self, stride: int) -> Windows:
        """Windows that train each target of this dataset once; see :func:`cut_windows`.

        Raises:
            UsageError: if the data come as RecBole's benchmark files, which hold no log, or the
                stride is beyond the window.
        """
        if not 1 <= stride <= self.max_item_list_len:
            raise UsageError(
                f"packed_stride must be in [1, MAX_ITEM_LIST_LENGTH = {self.max_item_list_len}], not {stride}"
            )
        if self.config["benchmark_filename"] is not None:
            raise UsageError("packed: benchmark files hold rows, not a log; set packed: False")
        target = np.sort(self.inter_feat[LOG_POSITION].numpy())  # [T]
        start = self.user_start[torch.from_numpy(target)].numpy()  # [T]
        first = np.flatnonzero(np.r_[True, start[1:] != start[:-1]]) if len(target) else np.zeros(0, dtype=np.int64)
        last = np.r_[first[1:], len(target)] - 1 if len(target) else first
        return cut_windows(start[first], target[first], target[last], self.max_item_list_len, stride)

    def pack(self, start: torch.Tensor, end: torch.Tensor, first: torch.Tensor, trained: torch.Tensor) -> Interaction:
        """A batch of windows, trimmed to the longest.

        Args:
            start, end, first: ``[W]``, as in :class:`Windows`.
            trained: boolean ``[N]``, the positions of the log that are training targets.

        Returns:
            ``user_id [W]``, every column of the log as ``<field>_list [W, l]``, ``item_length [W]``
            and ``item_id_targets [W, l]``, the item to predict after each input, 0 where there is
            none to train.
        """
        length = end - start
        where, is_item = self._slots(start, length, int(length.max()))
        target = (where + 1).where(is_item & (where + 1 >= first[:, None]), torch.tensor(0))
        is_target = trained[target] & (target > 0)
        columns = {self.uid_field: self.log[self.uid_field][start], self.item_list_length_field: length}
        for field in self.log:
            if field != self.uid_field:
                columns[getattr(self, f"{field}_list_field")] = self._cut(field, where, is_item)
        columns[self.iid_field + TARGETS_SUFFIX] = self._cut(self.iid_field, target, is_target)
        return Interaction(columns)

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """Sparse matrix of the interactions that are targets here, and of each user's first one."""
        if self.config["benchmark_filename"] is not None:
            return super().inter_matrix(form, value_field)
        target = self.inter_feat[LOG_POSITION]
        opening = self.user_start[target[self.inter_feat[self.item_list_length_field] == 1]]
        seen = self.log[torch.cat([target, opening])]
        return self._create_sparse_matrix(seen, self.uid_field, self.iid_field, form, value_field)
