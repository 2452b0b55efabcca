"""RecBole's sequential dataset, kept as one flat log instead of a padded copy of every prefix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType
from recbole.utils.argument_list import dataset_arguments

from ..errors import UsageError
from . import splitting
from .atomic import give_back
from .cache import Cache, Stored
from .loading import ColumnDataset
from .log import Groups, Log, Rows
from .order import count_ids, is_ordered, order_by_user_and_time, repeated_rows
from .times import SECONDS, Times
from .token_ids import TokenIds
from .windows import Windows, cut_windows

TARGETS_SUFFIX = "_targets"  # of fields of the interaction after each input of a window

# Settings that change what is kept of the files; MAX_ITEM_LIST_LENGTH, for one, is not among them.
CUT_LATER = {
    "ITEM_LIST_LENGTH_FIELD",
    "LIST_SUFFIX",
    "MAX_ITEM_LIST_LENGTH",
    "POSITION_FIELD",
    "NEG_PREFIX",
    "unused_col",
}
_KEYS = sorted({*dataset_arguments, "encoding", "exact_time", "time_unit", "duplicate_rows"} - CUT_LATER)
# What comes of these is not kept on disk.
_NOT_CACHED = ("benchmark_filename", "additional_feat_suffix", "preload_weight", "numerical_features", "discretization")


class Events(NamedTuple):
    """Interactions, user after user, each in order of time; ``[T]`` each."""

    user: np.ndarray
    time: np.ndarray  # in the unit of the file
    item: np.ndarray


class LogDataset(ColumnDataset, SequentialDataset):  # type: ignore[misc]
    """Gives RecBole's rows for any sequential model, and windows for packed training, from one log.

    ``log`` holds every interaction once, sorted by user and time.  A row of ``inter_feat`` is a position
    in it; its padded history is cut out of the log when the row is asked for, and equals RecBole's
    row in every column.  With ``exact_time: False`` the order is RecBole's too.

    Raises:
        UsageError: for files that cannot be read or from which nothing can be learnt.
    """

    log: Log

    def _from_scratch(self) -> None:
        self._get_preset()
        self._get_field_from_config()
        if self.benchmark_filename_list is not None:
            super()._from_scratch()
            return
        for key in ("numerical_features", "threshold"):
            if self.time_field in (self.config[key] or ()):
                raise UsageError(f"{key}: {self.time_field!r} (TIME_FIELD) orders the log and stays as it is")
        cache = self._cache()
        stored = cache.load() if cache else None
        if stored is None:
            self._load_data(self.dataset_name, self.dataset_path)
            if self.time_field not in self.inter_feat:
                raise UsageError(f"load_col: its 'inter' must hold {self.time_field!r} (TIME_FIELD)")
            self._init_alias()
            self._data_processing()
            give_back()
            self._make_log()
            give_back()
            self.check_size()
            if cache:
                cache.save(self._to_store())
                stored = cache.load()
        if stored is not None:
            self._restore(stored)

    def _cache(self) -> Cache | None:
        if not self.config["data_cache"] or any(self.config[key] for key in _NOT_CACHED):
            return None
        folder = Path(self.dataset_path)
        sources = [folder / f"{self.dataset_name}.{suffix}" for suffix in ("inter", "user", "item")]
        return Cache(
            Path(self.config["data_cache"]), self.dataset_name, sources, {key: self.config[key] for key in _KEYS}
        )

    def _make_log(self) -> None:
        frame = {field: self.inter_feat[field].array for field in self.inter_feat}
        self.inter_feat = None
        users = self.num(self.uid_field)
        user, time = (np.asarray(frame[field]) for field in (self.uid_field, self.time_field))
        time = time if self.exact_time else time.astype(np.float32)
        order = None if is_ordered(user, time) else torch.from_numpy(order_by_user_and_time(user, time, users))
        del time
        columns: dict[str, torch.Tensor] = {}
        for field in list(frame):
            values = torch.from_numpy(self._values(frame.pop(field), field))
            columns[field] = values if order is None else values.index_select(0, order)
        start = np.zeros(users + 1, dtype=np.int64)
        np.cumsum(count_ids(user, users), out=start[1:])
        self._keep_log(columns, torch.from_numpy(start))
        for name in self.feat_name_list:
            if name != "inter_feat":
                setattr(self, name, self._dataframe_to_interaction(getattr(self, name)))
        if self.config["duplicate_rows"] not in ("keep", "first"):
            self._refuse_repeated_rows()

    def _values(self, column: Any, field: str) -> np.ndarray:
        kind = self.field2type[field]
        if kind == FeatureType.TOKEN:
            return np.asarray(column)
        if field == self.time_field and self.exact_time:
            times = Times(np.asarray(column), self.time_unit or "step")
            self.time_origin = times.origin
            return times.exact()
        if kind == FeatureType.FLOAT and field not in self.config["numerical_features"]:
            return np.asarray(column).astype(np.float32)
        return self._dataframe_to_interaction(pd.DataFrame({field: column}))[field].numpy()

    def _keep_log(self, columns: dict[str, torch.Tensor], start: torch.Tensor) -> None:
        self.log = Log(columns, start, self.uid_field, self.time_field)
        self.inter_feat = Rows(self.log)

    def _number_of_each(self, field: str) -> np.ndarray:
        rows = self.inter_feat
        if not isinstance(rows, Rows):
            return super()._number_of_each(field)
        ids = self.log.columns[field].numpy()
        return count_ids(ids if len(rows) == len(ids) else ids[rows.position.numpy()], self.num(field))

    def _refuse_repeated_rows(self) -> None:
        names = [self.uid_field, self.time_field]
        names += [name for name in self.log.columns if name not in names and self.log.columns[name].dim() == 1]
        repeated = repeated_rows([self.log.columns[name].numpy() for name in names])
        if not len(repeated):
            return
        self.refuse_repeated(self.log.columns[self.uid_field].numpy()[repeated], list(self.log.columns))

    def _to_store(self) -> Stored:
        arrays = {"start": self.log.start.numpy()}
        arrays.update({f"inter {name}": values.numpy() for name, values in self.log.columns.items()})
        feats = [name for name in self.feat_name_list if name != "inter_feat"]
        for feat in feats:
            arrays.update(
                {f"{feat} {name}": values.numpy() for name, values in getattr(self, feat).interaction.items()}
            )
        tokens: dict[str, str] = {}
        for field, words in self.field2id_token.items():
            same = next((f for f in tokens.values() if self.field2id_token[f] is words), field)
            tokens[field] = same
            arrays[f"tokens {same}"] = words
        facts = {
            "types": {field: kind.value for field, kind in self.field2type.items()},
            "sources": {field: getattr(s, "value", s) for field, s in self.field2source.items()},
            "lengths": self.field2seqlen,
            "buckets": self.field2bucketnum,
            "tokens": tokens,
            "feats": feats,
            "time_unit": self.time_unit,
            "time_origin": self.time_origin,
            "time_scale": self.time_scale,
        }
        return Stored(facts, arrays)

    def _restore(self, stored: Stored) -> None:
        facts, arrays = stored.facts, stored.arrays
        self.field2type = {field: FeatureType(kind) for field, kind in facts["types"].items()}
        self.field2source = {field: FeatureSource(source) for field, source in facts["sources"].items()}
        self.field2seqlen, self.field2bucketnum = dict(facts["lengths"]), dict(facts["buckets"])
        self.time_unit, self.time_origin = facts["time_unit"], facts["time_origin"]
        self.time_scale = facts["time_scale"]
        token_ids = {same: TokenIds(arrays[f"tokens {same}"]) for same in set(facts["tokens"].values())}
        self.field2id_token = {field: arrays[f"tokens {same}"] for field, same in facts["tokens"].items()}
        self.field2token_id = {field: token_ids[same] for field, same in facts["tokens"].items()}
        self._init_alias()
        self.feat_name_list = ["inter_feat", *facts["feats"]]
        self.user_feat = self.item_feat = None

        def columns(feat: str) -> dict[str, torch.Tensor]:
            found = {name: array for name, array in arrays.items() if name.startswith(f"{feat} ")}
            return {name.split(" ", 1)[1]: torch.from_numpy(np.asarray(array)) for name, array in found.items()}

        for feat in facts["feats"]:
            setattr(self, feat, Interaction(columns(feat)))
        self._keep_log(columns("inter"), torch.from_numpy(np.asarray(arrays["start"])))

    def _change_feat_format(self) -> None:
        if self.benchmark_filename_list is not None:
            super()._change_feat_format()
        else:
            self.data_augmentation()

    def data_augmentation(self) -> None:
        """Make each interaction but a user's first one a row with its history."""
        self.inter_feat = Rows(self.log)
        self._aug_presets()
        lists = {getattr(self, f"{name}_list_field"): name for name in self.log.columns if name != self.uid_field}
        self.inter_feat = Rows(self.log, None, self.max_item_list_len, lists, self.item_list_length_field)

    def _part(self, rows: Rows) -> LogDataset:
        padded = self.config["lazy_augmentation"] is False and not self.config["packed"]
        return self.copy(Interaction(rows.interaction) if padded else rows)

    def _parts(self, groups: Groups, parts: Sequence[splitting.Part]) -> list[LogDataset]:
        self._drop_unused_col()
        return [self._part(self.inter_feat.with_positions(groups.rows(*part))) for part in parts]

    def leave_one_out(self, group_by: str | None, leave_one_mode: str) -> list[LogDataset]:
        """RecBole's leave-one-out split."""
        held_out = {"valid_and_test": 2, "valid_only": 1, "test_only": 1}
        if leave_one_mode not in held_out or group_by != self.uid_field:
            return super().leave_one_out(group_by, leave_one_mode)
        groups = self.inter_feat.grouped
        parts = splitting.leave_one_out(groups.size, held_out[leave_one_mode])
        nothing = splitting.Part(np.zeros_like(groups.size), np.zeros_like(groups.size))
        if leave_one_mode == "valid_only":
            parts = [*parts, nothing]
        if leave_one_mode == "test_only":
            parts = [parts[0], nothing, parts[1]]
        return self._parts(groups, parts)

    def split_by_ratio(self, ratios: Sequence[float], group_by: str | None = None) -> list[LogDataset]:
        """RecBole's split by ratio."""
        groups = self.inter_feat.whole if group_by is None else self.inter_feat.grouped
        return self._parts(groups, splitting.by_ratio(groups.size, ratios, self._calcu_split_ids))

    def time_based_split(self, ratios: Sequence[Any], group_by: str | None) -> list[LogDataset]:
        """RecBole's split by a point in time; with ``["period"]`` the plugin's, by periods before the end of the log.

        Raises:
            UsageError: if there are no times to split by, or nothing is left for a part.
        """
        if {"TS": list(ratios)} == splitting.BY_PERIOD:
            return self._split_by_period()
        if group_by is None:
            return super().time_based_split(ratios, group_by)
        groups = self.inter_feat.grouped
        time = self.log.column(self.time_field, groups.rows()).numpy()
        return self._parts(groups, splitting.by_time(groups.size, time, ratios))

    def _split_by_period(self) -> list[LogDataset]:
        seconds, unit = self.config["split_period_seconds"], self.time_unit or "step"
        if not seconds:
            raise UsageError(f"split_period_seconds: the split {splitting.BY_PERIOD} needs the length of a period")
        if not self.exact_time:
            raise UsageError(f"exact_time: the split {splitting.BY_PERIOD} needs the times as they are; set it to True")
        if unit not in SECONDS:
            raise UsageError(
                f"{self.inter_file()}: the split {splitting.BY_PERIOD} needs times, and {self.time_field!r} only "
                "counts steps; if they are times, name their unit with time_unit"
            )
        groups = self.inter_feat.grouped
        time = self.log.column(self.time_field, groups.rows()).numpy()
        end = float(self.log.column(self.time_field).max())
        parts = splitting.by_period(groups.size, time, end, splitting.in_unit(seconds, unit))
        sizes = {name: int(part.size.sum()) for name, part in zip(splitting.PERIODS, parts, strict=True)}
        for name, size in sizes.items():
            if not size:
                raise UsageError(
                    f"{self.inter_file()}: nothing is left for {name}; {splitting.PERIODS[name]} of {seconds:g} s "
                    "there is no interaction with one of the same user before it (see split_period_seconds)"
                )
        self.logger.info("Split by period: " + ", ".join(f"{size:,} rows for {name}" for name, size in sizes.items()))
        return self._parts(groups, parts)

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
        target = self.inter_feat.position.sort().values  # [T]
        start = self.log.begin(target).numpy()  # [T]
        target = target.long().numpy()
        first = np.flatnonzero(np.r_[True, start[1:] != start[:-1]]) if len(target) else np.zeros(0, dtype=np.int64)
        last = np.r_[first[1:], len(target)] - 1 if len(target) else first
        return cut_windows(start[first], target[first], target[last], self.max_item_list_len, stride)

    def pack(self, start: torch.Tensor, end: torch.Tensor, first: torch.Tensor, trained: torch.Tensor) -> Interaction:
        """A batch of windows, trimmed to the longest.

        Args:
            start, end, first: ``[W]``, as in :class:`Windows`.
            trained: boolean ``[N]``, the positions of the log that are training targets.

        Returns:
            ``user_id [W]``, every column of the log as ``<field>_list [W, l]``, ``item_length [W]``,
            ``item_id_targets [W, l]``, the item to predict after each input, and ``timestamp_targets [W, l]``, its
            time; both are 0 where there is none to train.
        """
        log, length = self.log, end - start
        where, is_item = log.slots(start, length, int(length.max()))
        target = (where + 1).where(is_item & (where + 1 >= first[:, None]), torch.tensor(0))
        is_target = trained[target] & (target > 0)
        columns = {self.uid_field: log.column(self.uid_field, start), self.item_list_length_field: length}
        for field in log.columns:
            if field != self.uid_field:
                columns[getattr(self, f"{field}_list_field")] = log.cut(field, where, is_item)
        for field in (self.iid_field, self.time_field):
            columns[field + TARGETS_SUFFIX] = log.cut(field, target, is_target)
        return Interaction(columns)

    def events(self) -> Events:
        """The interactions that are targets here, and each user's first one; user after user, each in order of time.

        Raises:
            UsageError: if the rows are of benchmark files without times.
        """
        rows, names = self.inter_feat, (self.uid_field, self.time_field, self.iid_field)
        times = self.time_field and self.time_field + self.config["LIST_SUFFIX"]
        if not isinstance(rows, Rows) and not {self.time_field, times} <= set(rows.columns):
            raise UsageError(
                f"benchmark_filename: the files of {self.dataset_name!r} have no times of the histories ({times}), on "
                "which the trend and the neighbours rest; set trend: False and neighbours: False"
            )
        if isinstance(rows, Rows):
            position = torch.cat([rows.position, self._openings()]).sort().values
            user, time, item = (self.log.column(name, position) for name in names)
        else:
            # A window of one item does not show whether it is the first one.
            first = rows[self.item_list_length_field] == (1 if self.max_item_list_len > 1 else 0)
            lists = [rows[getattr(self, f"{name}_list_field")][first, 0] for name in names[1:]]
            openings = [rows[self.uid_field][first], *lists]
            user, time, item = (torch.cat([o, rows[name]]) for name, o in zip(names, openings, strict=True))
            order = np.lexsort((time.numpy(), user.numpy()))  # where times are tied, an opening stays before
            user, time, item = user[order], time[order], item[order]
        return Events(user.numpy(), time.double().numpy(), item.numpy())

    def _openings(self) -> torch.Tensor:
        """Positions of the first interactions of the users whose second one is a target here."""
        target = self.inter_feat.position
        begin = self.log.begin(target)
        return begin[target == begin + 1]

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """Sparse matrix of the interactions that are targets here, and of each user's first one."""
        if not isinstance(self.inter_feat, Rows):
            return super().inter_matrix(form, value_field)
        names = [self.uid_field, self.iid_field, *([value_field] if value_field else [])]
        seen = torch.cat([self.inter_feat.position, self._openings()])
        columns = Interaction({name: self.log.column(name, seen) for name in names})
        return self._create_sparse_matrix(columns, self.uid_field, self.iid_field, form, value_field)
