"""One flat log: each interaction once, user after user, each user's in order of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor


@dataclass(frozen=True)
class Log:
    """The columns of a log and where each user begins.

    Attributes:
        columns: ``[N]`` or ``[N, ...]`` each; ids are int32 here and int64 where they are given out.
        start: ``[U + 1]`` position of the first interaction of each user id, and ``N``.
        user_field, time_field: names among the columns.
    """

    columns: Mapping[str, Tensor]
    start: Tensor
    user_field: str
    time_field: str

    def __len__(self) -> int:
        return int(self.start[-1])

    def column(self, name: str, where: Any = slice(None)) -> Tensor:
        """Values of a column at some positions, or everywhere, as models take them."""
        values = self.columns[name][where]
        return values.long() if values.dtype == torch.int32 else values

    def begin(self, position: Tensor) -> Tensor:
        """Where the user of each position begins."""
        return self.start[self.columns[self.user_field][position].long()]

    def history(self, position: Tensor, longest: int) -> Tensor:
        """Number of interactions before each position, at most ``longest``."""
        return (position - self.begin(position)).clamp(max=longest)

    def positions(self) -> Tensor:
        """Positions of all interactions, in 32 bits where that suffices."""
        return torch.arange(len(self), dtype=torch.int32 if len(self) < 2**31 else torch.int64)

    def targets(self) -> Tensor:
        """Positions of all interactions but each user's first."""
        return torch.from_numpy(_runs(*self.target_runs()))

    def target_runs(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each user with a target: the position of the first one, and the number of them."""
        start = self.start.numpy().astype(np.int32 if len(self) < 2**31 else np.int64)
        size = np.diff(start).astype(np.int64)
        return start[:-1][size > 1] + 1, size[size > 1] - 1

    @staticmethod
    def slots(start: Tensor, length: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Positions ``start .. start + length - 1`` of each row, ``[B, width]``, and which are real."""
        step = torch.arange(width)
        is_item = step < length[:, None]  # [B, width]
        start = start.long()
        return (start[:, None] + step).where(is_item, torch.tensor(0)), is_item

    def cut(self, name: str, where: Tensor, is_item: Tensor) -> Tensor:
        """Values of a column at ``where [B, width]``, 0 where it is no item."""
        values = self.column(name, where)  # [B, width, ...]
        is_item = is_item.view(is_item.shape + (1,) * (values.dim() - 2))
        return values.where(is_item, torch.zeros((), dtype=values.dtype))


def _runs(first: np.ndarray, size: np.ndarray) -> np.ndarray:
    """``first[0], first[0] + 1, ...``, ``size[0] > 0`` of them, then ``first[1], ...``."""
    step = np.ones(int(size.sum()), dtype=first.dtype)
    if len(step):
        step[0] = first[0]
        step[np.cumsum(size[:-1])] = first[1:] - first[:-1] - size[:-1] + 1
    return np.cumsum(step, out=step)


@dataclass(frozen=True)
class Groups:
    """Rows of a log, group after group.

    Attributes:
        begin, size: ``[G]`` where each group begins, and how many rows it has.
        position: ``[T]`` the positions that ``begin`` counts in; the log's own, if not given.
    """

    begin: np.ndarray
    size: np.ndarray
    position: Tensor | None = None

    def rows(self, before: np.ndarray | int = 0, size: np.ndarray | None = None) -> Tensor:
        """Positions of some rows of each group: ``size`` of them (or all) after the first ``before``."""
        size = self.size if size is None else size
        begin = (self.begin + before).astype(self.begin.dtype)
        runs = torch.from_numpy(_runs(begin[size > 0], size[size > 0]))
        return runs if self.position is None else self.position[runs]


class ListColumn:
    """The histories of some rows in one column, cut when rows are asked for; it stands for a ``[T, width]`` tensor."""

    def __init__(self, rows: Rows, name: str) -> None:
        self._rows, self._name = rows, name

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Tensor:
        return self._rows.histories(self._rows.at(index), [self._name])[self._name]


class Rows(Interaction):  # type: ignore[misc]
    """Interactions of a log that stand for RecBole's rows; columns are made when they are asked for.

    Args:
        log: the log.
        position: ``[T]`` positions in the log; if not given all, or with a width all that have a history.
        width: items of the padded histories, or 0 for rows without history.
        lists: the name of the history of each column.
        length_field: the name of the length of the histories.
    """

    def __init__(
        self,
        log: Log,
        position: Tensor | None = None,
        width: int = 0,
        lists: Mapping[str, str] | None = None,
        length_field: str = "",
    ) -> None:
        self.log, self._position, self.width = log, position, width
        self.lists = dict(lists or {})
        self.length_field = length_field
        self.dropped: set[str] = set()
        self.sorted_by_time = False  # to be sorted by time once the order matters

    @property
    def position(self) -> Tensor:
        """``[T]`` position in the log of each row."""
        if self._position is None:
            self._position = self.log.targets() if self.width else self.log.positions()
        if self.sorted_by_time:
            time = self.log.columns[self.log.time_field][self._position]
            self._position = self._position[time.argsort(stable=True)]
            self.sorted_by_time = False
        return self._position

    @property
    def grouped(self) -> Groups:
        """The rows by user, in order of each user's first row."""
        time, user = (self.log.columns[name] for name in (self.log.time_field, self.log.user_field))
        if self._position is None and self.sorted_by_time and self.width:
            # As sorting them all and grouping them would give, at the cost of the users.
            first, size = self.log.target_runs()
            order = time[torch.from_numpy(first)].argsort(stable=True).numpy()
            return Groups(first[order], size[order])
        by_user = user[self.position].argsort(stable=True)
        own = self.position[by_user]
        values = user[own].numpy()
        begin = np.flatnonzero(np.r_[True, values[1:] != values[:-1]][: len(values)])
        order = by_user.numpy()[begin].argsort()
        return Groups(begin[order], np.diff(begin, append=len(values))[order], own)

    @property
    def whole(self) -> Groups:
        """All rows as one group, in their order."""
        return Groups(np.zeros(1, dtype=np.int64), np.array([len(self)]), self.position)

    @property
    def length(self) -> int:
        if self._position is not None:
            return len(self._position)
        return int(self.log.target_runs()[1].sum()) if self.width else len(self.log)

    @property
    def interaction(self) -> dict[str, Tensor]:
        """All columns at once, padded histories included: as large as RecBole's."""
        return self._columns(self.position)

    def at(self, index: Any) -> Tensor:
        """Positions of the rows ``index``."""
        if isinstance(index, (list, range, np.ndarray)):
            index = np.asarray(index)
            index = torch.from_numpy(index if index.dtype == bool else index.astype(np.int64))
        return self.position[index]

    def _columns(self, position: Tensor) -> dict[str, Tensor]:
        columns = {name: self.log.column(name, position) for name in self.log.columns if name not in self.dropped}
        if self.width:
            columns[self.length_field] = self.log.history(position, self.width)
            columns.update(self.histories(position, [name for name in self.lists if name not in self.dropped]))
            if self.length_field in self.dropped:
                del columns[self.length_field]
        return columns

    def histories(self, position: Tensor, names: Any) -> dict[str, Tensor]:
        """The padded history before each position, by the name of its list."""
        length = self.log.history(position, self.width)
        where, is_item = self.log.slots((position - length).view(-1), length.view(-1), self.width)
        cut = {name: self.log.cut(self.lists[name], where, is_item) for name in names}
        return {name: values.squeeze(0) if position.dim() == 0 else values for name, values in cut.items()}

    def __iter__(self) -> Any:
        names = [*self.log.columns, *([self.length_field, *self.lists] if self.width else [])]
        return iter([name for name in names if name not in self.dropped])

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    @property
    def columns(self) -> list[str]:
        return list(self)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and "log" in self.__dict__ and name in self:
            return self[name]
        raise AttributeError(f"'Rows' object has no attribute {name!r}")

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, str):
            return Interaction(self._columns(self.at(index)))
        if index in self.dropped:
            raise KeyError(index)
        if index in self.log.columns:
            return self.log.column(index, self.position)
        if self.width and index == self.length_field:
            return self.log.history(self.position, self.width)
        if index in self.lists:
            return ListColumn(self, index)
        raise KeyError(index)

    def __setitem__(self, name: Any, value: Any) -> None:
        raise TypeError(f"{name}: rows of a log cannot be given a new column")

    def update(self, new_inter: Any) -> None:
        self[", ".join(new_inter)] = None

    def __len__(self) -> int:
        return self.length

    def __deepcopy__(self, memo: Any) -> Rows:
        return self.with_positions(self.position.clone())

    def with_positions(self, position: Tensor) -> Rows:
        """Other rows of the same log."""
        rows = Rows(self.log, position, self.width, self.lists, self.length_field)
        rows.dropped = set(self.dropped)
        return rows

    def drop(self, column: str) -> None:
        if column not in self:
            raise ValueError(f"Column [{column}] is not in [{list(self)}].")
        self.dropped.add(column)

    def _reindex(self, index: Any) -> None:
        self._position = self.at(index)

    def sort(self, by: Any, ascending: Any = True) -> None:
        """As RecBole sorts; to sort by time alone is put off until the order matters."""
        fields = [by] if isinstance(by, str) else list(by)
        upward = [ascending] if isinstance(ascending, bool) else list(ascending)
        upward *= len(fields) if len(upward) == 1 else 1
        if self._position is None and fields == [self.log.time_field] and upward == [True]:
            self.sorted_by_time = True
            return
        for field, up in reversed(list(zip(fields, upward, strict=True))):
            key = self[field]
            index = (key if key.dim() == 1 else key[..., 0]).argsort(descending=not up, stable=True)
            self._position = self.position[index]
