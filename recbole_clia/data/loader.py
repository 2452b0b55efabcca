"""Batches of windows for RecBole's training loop."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from logging import getLogger
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.interaction import Interaction
from recbole.data.transform import construct_transform
from torch.utils.data import DataLoader, Sampler

from .dataset import LogDataset

# Batches whose windows are sorted by length together: enough for little padding, few enough
# that a batch is still a random sample.
POOL_BATCHES = 8


class LengthGroupedSampler(Sampler[list[int]]):
    """Batches of windows of similar length, about ``pairs_per_batch`` targets each.

    Windows are shuffled, sorted by length within pools of a few batches, cut into batches, and
    the batches shuffled.  Each of ``world_size`` processes gets every ``world_size``-th batch, and all get
    equally many, the first ones being given twice where needed.

    Args:
        length, span: ``[W]`` inputs and targets of each window.
        pairs_per_batch: a batch is closed once it holds this many targets.
        shuffle: whether the order changes from epoch to epoch.
        generator: source of the order in a single process.
        rank, world_size: this process and their number.
        seed: source of the order in several processes, which must agree on it.
    """

    def __init__(
        self,
        length: np.ndarray,
        span: np.ndarray,
        pairs_per_batch: int,
        shuffle: bool,
        generator: torch.Generator,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
    ) -> None:
        self.measure(length, span, pairs_per_batch)
        self.shuffle = shuffle
        self.generator = generator
        self.rank, self.world_size, self.seed = rank, world_size, seed
        self.epoch = 0

    def measure(self, length: np.ndarray, span: np.ndarray, pairs_per_batch: int) -> None:
        """Take other windows, or another size of the batches."""
        self.length, self.span = torch.from_numpy(length), torch.from_numpy(span)
        self.pairs_per_batch = pairs_per_batch

    def set_epoch(self, epoch: int) -> None:
        """Several processes draw the same order for the same epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self._batches_at_most() // self.world_size)

    def _batches_at_most(self) -> int:
        return max(1, -(-int(self.span.sum()) // self.pairs_per_batch)) if len(self.span) else 0

    def __iter__(self) -> Iterator[list[int]]:
        generator = self.generator
        if self.world_size > 1:
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
        count = len(self.span)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        pools = self._chunk_by_pairs(order, POOL_BATCHES * self.pairs_per_batch)
        order = torch.cat([pool[self.length[pool].argsort(stable=True)] for pool in pools]) if pools else order
        batches = self._chunk_by_pairs(order, self.pairs_per_batch)
        if self.shuffle:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=generator)]
        short = -len(batches) % self.world_size
        batches += itertools.islice(itertools.cycle(batches), short)
        for batch in batches[self.rank :: self.world_size]:
            yield batch.tolist()

    def _chunk_by_pairs(self, order: torch.Tensor, pairs: int) -> list[torch.Tensor]:
        """Cut ``order`` where the running number of targets passes a multiple of ``pairs``."""
        before = self.span[order].cumsum(0) - self.span[order]
        sizes = torch.bincount(before // pairs)
        return list(order.split(sizes[sizes > 0].tolist())) if len(order) else []


class _WindowTable:
    """What the loader indexes: a list of windows gives a batch."""

    def __init__(self, loader: PackedTrainDataLoader) -> None:
        self.loader = loader

    def __getitem__(self, index: list[int]) -> Interaction:
        return self.loader.batch(index)


class PackedTrainDataLoader(AbstractDataLoader):  # type: ignore[misc]
    """RecBole's training loader for windows; ``train_batch_size`` counts (prefix, target) pairs."""

    def __init__(self, config: Any, dataset: LogDataset, sampler: Any, shuffle: bool = False) -> None:
        self.logger = getLogger()
        self.shuffle = shuffle
        self.config = config
        self._dataset = dataset
        self._sampler = sampler
        self.model = None
        self.is_sequential = True
        self.transform = construct_transform(config)
        self.generator = torch.Generator()
        self.generator.manual_seed(config["seed"])
        self._init_batch_size_and_step()
        self._cut()
        batches = LengthGroupedSampler(
            self.windows.length,
            self.windows.span,
            self.step,
            shuffle,
            self.generator,
            *(() if config["single_spec"] else (torch.distributed.get_rank(), config["world_size"], config["seed"])),
        )
        DataLoader.__init__(
            self,
            dataset=_WindowTable(self),  # type: ignore[arg-type]
            batch_size=None,
            sampler=batches,
            num_workers=config["worker"],
            generator=self.generator,
        )

    def _init_batch_size_and_step(self) -> None:
        world_size = 1 if self.config["single_spec"] else self.config["world_size"]
        self.step = max(1, self.config["train_batch_size"] // world_size)

    def _cut(self) -> None:
        dataset, config = self._dataset, self.config
        self.windows = dataset.windows(config["packed_stride"] or -(-dataset.max_item_list_len // 2))
        self.start, self.end, self.first = (
            torch.from_numpy(a) for a in (self.windows.start, self.windows.end, self.windows.first)
        )
        self.trained = torch.zeros(len(dataset.log), dtype=torch.bool)
        self.trained[dataset.inter_feat.position] = True

    def update_config(self, config: Any) -> None:
        super().update_config(config)
        self._cut()
        batches: Any = self.sampler
        batches.measure(self.windows.length, self.windows.span, self.step)

    def batch(self, index: list[int]) -> Interaction:
        """The windows ``index`` as one padded batch; see :meth:`LogDataset.pack`."""
        dataset = self._dataset
        rows = torch.as_tensor(index)
        batch = dataset.pack(self.start[rows], self.end[rows], self.first[rows], self.trained)
        return self.transform(dataset, batch)

    def collate_fn(self, batch: Interaction) -> Interaction:
        return batch
