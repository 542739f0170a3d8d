"""Prepared crops as a data set, and the batches of an epoch as a function of (seed, epoch)."""

from __future__ import annotations

from typing import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from MRDeltaNetLib.errors import InputError, UsageError


class Crops(Dataset):
    """Prepared crops, each (2, 2, D, H, W) (arrays or memory maps), with outcomes (n,) 1 = pCR; keys name their contents.

    Memory maps stay memory maps when the data set goes to another process: only the file's name travels.
    outcomes  None: unlabelled pairs, which pretraining and scoring take and training refuses
    keys      digests of what the crops were made from; they enter the identity of a training, so that a folder with a half-finished
              training is not taken up with other data
    """

    def __init__(self, crops: Sequence[np.ndarray], outcomes: np.ndarray | None = None, keys: Sequence[str] = ()) -> None:
        self.crops, self.keys = crops, tuple(keys)
        self.outcomes = np.full(len(crops), np.nan) if outcomes is None else np.asarray(outcomes)
        if len(self.crops) != len(self.outcomes):
            raise ValueError(f"{len(self.crops)} crops and {len(self.outcomes)} outcomes")

    def __len__(self) -> int:
        return len(self.outcomes)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        crop = torch.from_numpy(np.array(self.crops[index], dtype=np.float32))
        return crop, torch.tensor(float(self.outcomes[index]))

    def counts(self) -> tuple[int, int]:
        """Cases without and with complete response. Raises InputError MRD-E760 unless both are there."""
        without, with_pcr = (int((self.outcomes == label).sum()) for label in (0, 1))
        if not without or not with_pcr or without + with_pcr != len(self):
            raise InputError("Training needs cases with and without complete response", code="MRD-E760",
                             found=f"{with_pcr} with, {without} without, {len(self) - with_pcr - without} unknown",
                             fix="add cases of the missing class, and leave out cases without an outcome")
        return without, with_pcr

    def __getstate__(self) -> dict:
        where = [(crop.filename, crop.dtype.str, crop.offset, crop.shape) if _is_whole_map(crop) else crop for crop in self.crops]
        return self.__dict__ | {"crops": where}

    def __setstate__(self, state: dict) -> None:
        opened = [np.memmap(crop[0], crop[1], "r", crop[2], crop[3]) if isinstance(crop, tuple) else crop for crop in state["crops"]]
        self.__dict__.update(state | {"crops": opened})


class Batches(Sampler[list[int]]):
    """The batches of one epoch: a function of (seed, epoch) and of nothing else. len() is their number.

    batch_size   of all ranks together; every rank gets an equal share of every batch
    rank, ranks  of DDP
    raises       UsageError MRD-E767 for a batch that cannot be shared equally
    """

    multiple = 1

    def __init__(self, batch_size: int, seed: int, rank: int, ranks: int) -> None:
        if batch_size < self.multiple * ranks or batch_size % (self.multiple * ranks):
            raise UsageError("The batch cannot be shared equally" + (" between both outcomes" if self.multiple == 2 else "")
                             + (f" and {ranks} devices" if ranks > 1 else ""), code="MRD-E767", found=f"batch_size {batch_size}",
                             fix=f"take a multiple of {self.multiple * ranks}")
        self.share, self.seed, self.rank, self.ranks = batch_size // (self.multiple * ranks), seed, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration gives."""
        self.epoch = epoch

    def _random(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.epoch])

    def _own(self, drawn: np.ndarray, batch: int) -> list[int]:
        start = (batch * self.ranks + self.rank) * self.share
        return [int(index) for index in drawn[start:start + self.share]]


class BalancedBatches(Batches):
    """Batches with equally many cases of both classes; an epoch goes once through the larger class. With fewer cases than a batch
    holds, cases come more than once in it.

    raises  InputError MRD-E760 without cases of both classes, UsageError MRD-E767 unless batch_size is a multiple of 2 ranks
    """

    multiple = 2

    def __init__(self, outcomes: np.ndarray, batch_size: int, seed: int, *, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(batch_size, seed, rank, ranks)
        self.classes = [np.flatnonzero(np.asarray(outcomes) == label) for label in (0, 1)]
        if not all(len(members) for members in self.classes):
            raise InputError("Training needs cases with and without complete response", code="MRD-E760",
                             found=f"{len(self.classes[1])} with, {len(self.classes[0])} without", fix="add cases of the missing class")

    def __len__(self) -> int:
        return -(-max(len(members) for members in self.classes) // (self.share * self.ranks))

    def __iter__(self) -> Iterator[list[int]]:
        random = self._random()
        drawn = [_rounds(members, len(self) * self.share * self.ranks, random) for members in self.classes]
        for batch in range(len(self)):
            yield [index for members in drawn for index in self._own(members, batch)]


class ShuffledBatches(Batches):
    """An epoch goes once through all cases in random order; the last batch is filled up from a second order."""

    def __init__(self, cases: int, batch_size: int, seed: int, *, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(batch_size, seed, rank, ranks)
        self.members = np.arange(cases)

    def __len__(self) -> int:
        return -(-len(self.members) // (self.share * self.ranks))

    def __iter__(self) -> Iterator[list[int]]:
        drawn = _rounds(self.members, len(self) * self.share * self.ranks, self._random())
        for batch in range(len(self)):
            yield self._own(drawn, batch)


def _rounds(members: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """count of the members: whole permutations one after the other, the last one cut."""
    return np.concatenate([random.permutation(members) for _ in range(-(-count // len(members)))])[:count]


def _is_whole_map(crop: np.ndarray) -> bool:
    """A read-only memory map of a file with contiguous contents (a view of a part would lose its place)."""
    return isinstance(crop, np.memmap) and crop.filename is not None and crop.flags.c_contiguous and not isinstance(crop.base, np.memmap)
