"""RecBole's loading and filtering with the same results, in columns instead of row by row, and with exact times."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from ..errors import UsageError
from .atomic import AtomicFile
from .filtering import filter_by_number
from .order import ROWS_AT_ONCE, by_first_appearance, count_ids
from .times import Times
from .token_ids import TokenIds


class ColumnDataset(Dataset):  # type: ignore[misc]
    """A dataset that reads files with Arrow, keeps tokens as codes, and times as they are in the file.

    Each method that it replaces gives what RecBole's gives; only times differ, where
    ``exact_time`` is set: they are float64 (see :meth:`Times.exact`), are never normalised, and
    order the log exactly.

    Attributes:
        time_unit: what one unit of the times is, as in :class:`Times`; ``None`` without times.
        time_origin: what they count from, in that unit.
        time_scale: units in 1, where RecBole has normalised the times to [0, 1].
    """

    time_unit: str | None = None
    time_origin: int = 0
    time_scale: float = 1.0
    inter_feat: Any

    @property
    def exact_time(self) -> bool:
        return bool(self.config["exact_time"])

    def _file(self, path: str | Path) -> AtomicFile:
        return AtomicFile(Path(path), self.config["field_separator"], self.config["encoding"] or "utf-8")

    def _load_feat(self, filepath: str, source: Any) -> pd.DataFrame | None:
        load_col, unload_col = self._get_load_and_unload_col(source)
        if load_col == set():
            return None
        file = self._file(filepath)
        header = file.header()
        self._check_ids(file, header, source)
        for key, named in (("load_col", load_col), ("unload_col", unload_col)):
            for field in sorted(set(named or ()) - header.keys()):
                self.logger.warning(f"{key}: {file.path} has no field {field!r}, only {', '.join(header)}")
        chosen = [
            field
            for field in header
            if (load_col is None or field in load_col) and (unload_col is None or field not in unload_col)
        ]
        has_time = source == FeatureSource.INTERACTION and self.time_field in chosen
        for field in chosen:
            kind = FeatureType.FLOAT if has_time and field == self.time_field else FeatureType(header[field])
            if source != "link":
                self.field2source[field] = source
                self.field2type[field] = kind
                if not kind.value.endswith("seq"):
                    self.field2seqlen[field] = 1
                if "float" in kind.value:
                    self.field2bucketnum[field] = 2
        if not chosen:
            self.logger.warning(f"No columns has been loaded from [{source}]")
            return None
        frame, unit = file.read(chosen, self.time_field if has_time else None, self.config["time_unit"] or "auto")
        self.time_unit = unit or self.time_unit
        if has_time and not self.exact_time:
            frame[self.time_field] = frame[self.time_field].astype(np.float64)
        if source == FeatureSource.INTERACTION and self.config["duplicate_rows"] == "first":
            frame = frame.drop_duplicates()
        for field in chosen:
            if self.field2type[field].value.endswith("seq"):
                self._split_sequences(frame, field, file)
        frame.index = pd.RangeIndex(len(frame))
        return frame

    def _check_ids(self, file: AtomicFile, header: dict[str, str], source: Any) -> None:
        for field, own in ((self.uid_field, FeatureSource.USER), (self.iid_field, FeatureSource.ITEM)):
            if source == own and field not in header:
                raise UsageError(f"{file.path}, line 1: there is no field {field!r} among {', '.join(header)}")
            kind = header.get(field, "token")
            if kind != "token" and source in (own, FeatureSource.INTERACTION):
                raise UsageError(f"{file.path}, line 1: the type of the field {field!r} must be token, not {kind}")

    def _split_sequences(self, frame: pd.DataFrame, field: str, file: AtomicFile) -> None:
        """Text such as ``"3 5 8"`` as arrays, as RecBole makes them."""
        separator = self.config["seq_separator"]
        number = float if self.field2type[field] == FeatureType.FLOAT_SEQ else str
        texts = ["" if text is None else text for text in frame[field].to_numpy()]
        values = []
        for row, text in enumerate(texts):
            try:
                values.append(np.array([number(part) for part in text.split(separator) if part]))
            except ValueError:
                raise UsageError(
                    f"{file.path}, line {file.line_of(frame.index[row])}: {text!r} in the field {field!r} must be "
                    f"numbers with {separator!r} between them"
                ) from None
        longest = max(map(len, values), default=0)
        limit = (self.config["seq_len"] or {}).get(field)
        self.field2seqlen[field] = longest if limit is None else min(limit, longest)
        column = pd.Series(index=frame.index, dtype=object)
        column[:] = values if limit is None else [value[:limit] for value in values]
        frame[field] = column

    def _download(self) -> None:
        """Fetch RecBole's own copy of a dataset.

        Raises:
            UsageError: if it cannot be had.
        """
        try:
            super()._download()
        except (OSError, ValueError, RuntimeError, BadZipFile) as error:
            # Without several processes RecBole ends by waiting for them, which fails, with the files in place.
            if self.inter_file().is_file():
                return
            folder = Path(self.dataset_path)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            from ..converters.catalogue import how_to_get

            raise UsageError(
                f"dataset {self.dataset_name!r}: RecBole's copy could not be fetched ({error}); "
                f"{how_to_get(self.dataset_name, folder)}"
            ) from error

    def _load_inter_feat(self, token: str, dataset_path: str) -> None:
        super()._load_inter_feat(token, dataset_path)
        if self.inter_feat is None or not len(self.inter_feat):
            raise UsageError(f"{self.inter_file()}: it holds no interaction; each line after the first must be one")

    def _reset_index(self) -> None:
        if self.inter_feat.empty:
            raise UsageError(
                f"{self.inter_file()}: no interaction passes the filters; see val_interval, user_inter_num_interval, "
                "item_inter_num_interval and filter_inter_by_user_or_item"
            )
        super()._reset_index()

    def _filter_nan_user_or_item(self) -> None:
        """Rows without a user or an item leave; where both are missing, RecBole may take other rows instead."""
        for name, field in (
            ("inter_feat", self.uid_field),
            ("inter_feat", self.iid_field),
            ("user_feat", self.uid_field),
            ("item_feat", self.iid_field),
        ):
            feat = getattr(self, name, None)
            if feat is None or field is None:
                continue
            missing = feat[field].isna().to_numpy()
            if missing.any():
                self.logger.warning(f"In {name}, {field} is missing in {missing.sum()} rows, which are left out.")
                setattr(self, name, _rows(feat, ~missing))

    def _remove_duplication(self) -> None:
        keep = self.config["rm_dup_inter"]
        if keep is None or not self.exact_time or self.time_field not in self.inter_feat:
            super()._remove_duplication()
            return
        # RecBole sorts by time unstably, so that ties come out in any order; here they keep the file's.
        self.inter_feat = self.inter_feat.sort_values(by=[self.time_field], kind="stable")
        self.inter_feat = self.inter_feat.drop_duplicates(subset=[self.uid_field, self.iid_field], keep=keep)

    def _filter_inter_by_user_or_item(self) -> None:
        if self.config["filter_inter_by_user_or_item"] is not True:
            return
        for feat, field in ((self.user_feat, self.uid_field), (self.item_feat, self.iid_field)):
            if feat is not None:
                known = self.inter_feat[field].isin(feat[field].astype(object)).to_numpy()
                if not known.all():
                    self.inter_feat = _rows(self.inter_feat, known)

    def _filter_by_inter_num(self) -> None:
        if self.uid_field is None or self.iid_field is None:
            return
        intervals = [
            self._parse_intervals_str(self.config[key])
            for key in ("user_inter_num_interval", "item_inter_num_interval")
        ]
        if intervals == [None, None]:
            return
        fields = (self.uid_field, self.iid_field)
        columns = [_categorical(self.inter_feat[field]) for field in fields]
        user, item = (np.asarray(column.codes) for column in columns)
        known = [
            None if feat is None else column.categories.isin(feat[field].astype(object))
            for feat, field, column in zip((self.user_feat, self.item_feat), fields, columns, strict=True)
        ]
        kept, *banned = filter_by_number(user, item, intervals[0], intervals[1], known)
        if not kept.all():
            self.inter_feat = _rows(self.inter_feat, kept)
        for field, name, allowed, column, out in zip(
            fields, ("user_feat", "item_feat"), intervals, columns, banned, strict=True
        ):
            feat = getattr(self, name)
            if feat is None or allowed is None:
                continue
            number = count_ids(np.asarray(column.codes)[kept], len(column.categories))
            here = column.categories.get_indexer(feat[field].astype(object))
            too_few = np.append(number, 0)[here] < (allowed[0][1] if allowed else -1)  # -1 is not there
            setattr(self, name, _rows(feat, ~(too_few | np.isin(here, out))))

    def _remap(self, remap_list: list[tuple[pd.DataFrame, str, FeatureType]]) -> None:
        if any(kind != FeatureType.TOKEN for _, _, kind in remap_list) or not remap_list:
            for feat, field, kind in remap_list:  # RecBole concatenates them as plain arrays
                if kind == FeatureType.TOKEN:
                    feat[field] = feat[field].astype(object)
            super()._remap(remap_list)
            return
        known = pd.Index([], dtype=object)
        for feat, field, _ in remap_list:
            column = _categorical(feat[field])
            codes = np.asarray(column.codes)
            seen = by_first_appearance(codes, len(column.categories))
            words = column.categories.take(seen)
            place = known.get_indexer(words)
            fresh = place < 0
            place[fresh] = len(known) + np.arange(fresh.sum())
            known = known.append(words[fresh])
            new = np.zeros(len(column.categories) + 1, dtype=np.int32)  # the last is for a missing token, the padding
            new[seen] = place + 1
            _set_taken(feat, field, new, codes)
        id_token = np.array(["[PAD]", *known])
        token_id = TokenIds(id_token)
        for _, field, _ in remap_list:
            if field not in self.field2id_token:
                self.field2id_token[field] = id_token
                self.field2token_id[field] = token_id

    def _fill_nan(self) -> None:
        """Ids become 0, numbers their mean, sequences empty; times and remapped interactions lack nothing."""
        for name in self.feat_name_list:
            feat = getattr(self, name)
            for field in list(feat):
                kind = self.field2type[field]
                if name == "inter_feat" and (kind == FeatureType.TOKEN or field == self.time_field):
                    continue
                if kind == FeatureType.TOKEN:
                    feat[field] = feat[field].fillna(0).astype(np.int64)
                elif kind == FeatureType.FLOAT:
                    feat[field] = feat[field].fillna(feat[field].mean())
                else:
                    nothing = np.array([], dtype=np.int64 if kind == FeatureType.TOKEN_SEQ else np.float64)
                    feat[field] = feat[field].apply(
                        lambda value, nothing=nothing: nothing if isinstance(value, float) else value
                    )

    def _normalize(self) -> None:
        times = self.inter_feat.get(self.time_field)
        super()._normalize()
        if times is None:
            return
        if self.exact_time:
            self.inter_feat[self.time_field] = times
        elif len(times) and not np.array_equal(self.inter_feat[self.time_field], times):
            self.time_scale = float(times.max() - times.min()) or 1.0

    def _dataframe_to_interaction(self, data: pd.DataFrame) -> Interaction:
        if not self.exact_time or self.time_field not in data:
            return super()._dataframe_to_interaction(data)
        times = Times(data[self.time_field].to_numpy(), self.time_unit or "step")
        self.time_origin = times.origin
        rest = super()._dataframe_to_interaction(data.drop(columns=self.time_field)).interaction
        exact = {self.time_field: torch.from_numpy(times.exact())}
        return Interaction({field: exact[field] if field in exact else rest[field] for field in data})

    @property
    def avg_actions_of_users(self) -> float:
        return self._mean_number(self.uid_field)

    @property
    def avg_actions_of_items(self) -> float:
        return self._mean_number(self.iid_field)

    def _mean_number(self, field: str) -> float:
        return self.inter_num / int((self._number_of_each(field) > 0).sum())

    def _number_of_each(self, field: str) -> np.ndarray:
        """Interactions of each id of users or items."""
        return count_ids(np.asarray(self.inter_feat[field]), self.num(field))

    def check_size(self) -> None:
        """Refuse data that cannot be learnt from.

        Raises:
            UsageError: if one user or one item is all that there is.
        """
        for field, what in ((self.uid_field, "user"), (self.iid_field, "item")):
            if (self._number_of_each(field) > 0).sum() < 2:
                raise UsageError(
                    f"{self.inter_file()}: one {what} is all that is left of it; two are needed at least "
                    "(see the filters, such as user_inter_num_interval)"
                )

    def refuse_repeated(self, users: np.ndarray, fields: list[str]) -> None:
        """Refuse interactions of these users that are there twice in ``fields``.

        Raises:
            UsageError: naming both lines.
        """
        tokens = set(self.field2id_token[self.uid_field][users].tolist())
        twice = self._file(self.inter_file()).repeated_line(self.uid_field, tokens, fields)
        if twice is not None:
            raise UsageError(
                f"{self.inter_file()}, line {twice[1]}: it repeats line {twice[0]} in all that is loaded "
                f"({', '.join(fields)}); set duplicate_rows to 'first' to count such rows once, "
                "or to 'keep' to count them all"
            )

    def save(self) -> None:
        """Keep the dataset in ``checkpoint_dir``, under the name of the class that RecBole asked for and will again."""
        folder = Path(self.config["checkpoint_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.dataset_name}-{getattr(self, 'saved_as', type(self).__name__)}.pth"
        self.logger.info(f"Saving filtered dataset into [{file}]")
        with file.open("wb") as stream:
            pickle.dump(self, stream)

    def inter_file(self) -> Path:
        """The file of the interactions."""
        return Path(self.dataset_path) / f"{self.dataset_name}.inter"


class GeneralDataset(ColumnDataset):
    """A dataset of a model that takes single interactions, refused for the same faults as a log."""

    def _data_processing(self) -> None:
        super()._data_processing()
        if self.benchmark_filename_list is not None:
            return
        self.check_size()
        fields = [field for field in self.inter_feat if not self.field2type[field].value.endswith("seq")]
        if self.config["duplicate_rows"] not in ("keep", "first") and not self.config["numerical_features"]:
            repeated = self.inter_feat.duplicated(fields)
            if repeated.any():
                self.refuse_repeated(self.inter_feat[self.uid_field].to_numpy()[repeated], fields)


def _rows(frame: pd.DataFrame, kept: np.ndarray) -> pd.DataFrame:
    """The rows that are kept, as a frame of their own: pandas warns where a part of another one is changed."""
    return pd.DataFrame(frame[kept], copy=False)


def _categorical(column: pd.Series) -> pd.Categorical:
    return column.array if isinstance(column.dtype, pd.CategoricalDtype) else pd.Categorical(column)


def _set_taken(frame: pd.DataFrame, field: str, values: np.ndarray, index: np.ndarray) -> None:
    """``frame[field] = values[index]``, without a copy of the result, which pandas makes, or of the index."""
    frame[field] = np.int32(0)
    room = frame[field].to_numpy()
    is_view = room.flags.writeable and np.may_share_memory(room, frame[field].to_numpy())
    if not is_view:
        room = np.empty(len(index), dtype=np.int32)
    for begin in range(0, len(index), ROWS_AT_ONCE):
        room[begin : begin + ROWS_AT_ONCE] = values[index[begin : begin + ROWS_AT_ONCE]]
    if not is_view:
        frame[field] = room
