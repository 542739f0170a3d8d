"""The model's own network on input that was changed on purpose. Nothing is trained here."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Callable, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.config import PreprocessingConfig
from MRDeltaNetLib.imaging.preprocessing import roi_channel

if TYPE_CHECKING:
    import torch

CHANGES = ("wrong_patient_baseline", "swapped_times", "random_roi")

CANDIDATES = 64
"""Random places tried for a ROI that lies apart from the true ones."""

MOST_OVERLAP = 0.05
"""Share of the true ROI's voxels that a random ROI may cover; of CANDIDATES that all cover more, the one that covers least is taken."""


class Changed(Sequence):
    """Crops that are changed when they are read: change(number, crop float32 (2, 2, D, H, W)) -> crop of the same shape."""

    def __init__(self, crops: Sequence[np.ndarray], change: Callable[[int, np.ndarray], np.ndarray]) -> None:
        self.crops, self.change = crops, change

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.change(index, np.array(self.crops[index], dtype=np.float32))


def changed(name: str, held_out, preprocessing: PreprocessingConfig, seed: int) -> Sequence[np.ndarray]:
    """The held-out crops as a control shows them to the network; name: one of CHANGES, or "model" for no change.

    wrong_patient_baseline  the case's post visit with the pre visit (image and ROI) of another patient of the same set
    swapped_times           post first, pre second
    random_roi              both ROIs replaced by ellipsoids of equal volume at one random place, see random_roi()
    """
    crops = held_out.crops
    if name == "model":
        return crops
    if name == "swapped_times":
        return Changed(crops, lambda _, crop: crop[::-1].copy())
    if name == "wrong_patient_baseline":
        other = other_patients([row.set for row in held_out.rows], seed)
        return Changed(crops, lambda k, crop: np.stack([np.array(crops[other[k]][0], dtype=np.float32), crop[1]]))
    if name == "random_roi":
        random = lambda k: np.random.default_rng([seed, zlib.crc32(held_out.keys[k].encode())])      # by case, not by its place in the table
        return Changed(crops, lambda k, crop: random_roi(crop, preprocessing, random(k)))
    raise ValueError(f"no change of this name: {name}")


def other_patients(sets: Sequence[str], seed: int) -> np.ndarray:
    """For each case another one of the same set, (n,): one random cycle through each set (Sattolo 1986), so nobody keeps his own.

    A set of a single case joins the largest one. raises ValueError if there is only one case
    """
    sets = np.asarray(sets, dtype=str)
    if len(sets) < 2:
        raise ValueError("one case has no other patient")
    names, counts = np.unique(sets, return_counts=True)
    largest = names[np.argmax(counts)]
    groups = np.where(np.isin(sets, names[counts == 1]), largest, sets)
    random, found = np.random.default_rng(seed), np.empty(len(sets), dtype=int)
    for name in np.unique(groups):                         # groups of two and more, since the largest takes in the single ones
        cycle = random.permutation(np.flatnonzero(groups == name))
        found[cycle] = np.roll(cycle, 1)
    return found


def random_roi(crop: np.ndarray, preprocessing: PreprocessingConfig, random: np.random.Generator) -> np.ndarray:
    """The crop with each visit's ROI replaced by an ellipsoid of as many voxels and of the ROI's own proportions, softened as
    preparation does it. Both visits get the same random centre, where both ellipsoids lie inside the crop (which lies inside the
    body) and, if there is room, apart from the true ROIs. An empty ROI stays empty.

    crop  float32 (timepoint 2, channel 2, depth, height, width)
    """
    steps = np.array(preprocessing.spacing_mm, dtype=float)[::-1]
    size = np.array(crop.shape[2:])
    rois = [np.asarray(crop[time, 1], dtype=float) for time in (0, 1)]
    halves = [_semi_axes(roi, steps) for roi in rois]
    found = crop.copy()
    if all(half is None for half in halves):
        return found
    centre = _place([half for half in halves if half is not None], np.argwhere(np.maximum(*rois) >= 0.5), size, steps, random)
    for time in (0, 1):
        if halves[time] is not None:
            mask = _ellipsoid(centre, halves[time], max(1, round(float(rois[time].sum()))), size, steps)
            found[time, 1] = _softened(mask, preprocessing)
    return found


def network_logits(network: "torch.nn.Module", crops: Sequence[np.ndarray], device: str = "cpu") -> np.ndarray:
    """Logits (n,) of a network for crops."""
    from MRDeltaNetLib.cohort.training import Crops, scores

    return np.asarray(scores(network, Crops(crops, np.zeros(len(crops))), device=device), dtype=float)


def _semi_axes(roi: np.ndarray, steps: np.ndarray) -> np.ndarray | None:
    """Semi-axes (z, y, x), mm, of the ellipsoid with the ROI's volume and the proportions of its second moments; None for an empty ROI."""
    mass = roi.sum()
    if mass <= 0:
        return None
    spread = np.empty(3)
    for axis in range(3):
        profile = roi.sum(axis=tuple(other for other in range(3) if other != axis))
        place = np.arange(len(profile)) * steps[axis]
        mean = (profile * place).sum() / mass
        spread[axis] = np.sqrt((profile * (place - mean) ** 2).sum() / mass + steps[axis] ** 2 / 12)      # a voxel has a width too
    volume = mass * np.prod(steps)
    return spread * (3 * volume / (4 * np.pi * np.prod(spread))) ** (1 / 3)


def _place(halves: list[np.ndarray], true: np.ndarray, size: np.ndarray, steps: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A centre (z, y, x) in voxels; true (n, 3): voxels of the true ROIs."""
    reach = np.minimum(np.max(halves, axis=0) / steps, (size - 1) / 2)
    best, least = None, np.inf
    for centre in random.uniform(reach, size - 1 - reach, (CANDIDATES, 3)):
        covered = 0.0 if not len(true) else max(float(((((true - centre) * steps / half) ** 2).sum(1) <= 1).mean()) for half in halves)
        if covered < least:
            best, least = centre, covered
        if covered <= MOST_OVERLAP:
            break
    return best


def _ellipsoid(centre: np.ndarray, half: np.ndarray, voxels: int, size: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """uint8 (z, y, x): exactly so many voxels, those nearest to the centre in the ellipsoid's own metric."""
    grids = np.meshgrid(*(((np.arange(n) - c) * step / h) ** 2 for n, c, step, h in zip(size, centre, steps, half)), indexing="ij", sparse=True)
    distance = sum(grids).ravel()
    mask = np.zeros(distance.size, dtype=np.uint8)
    mask[np.argsort(distance, kind="stable")[:min(voxels, distance.size)]] = 1
    return mask.reshape(tuple(size))


def _softened(mask: np.ndarray, preprocessing: PreprocessingConfig) -> np.ndarray:
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing([float(step) for step in preprocessing.spacing_mm])
    return roi_channel(image, image, sitk.Transform(3, sitk.sitkIdentity), preprocessing.roi_sigma_mm).numpy()
