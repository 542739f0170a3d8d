"""Simulated cases at a reduced geometry, made once with a margin, and cropped with any misalignment and outline error.

Voxels, tokens and preparation are those of the real network (0.75 x 0.75 x 3 mm, tokens of 6 mm); only the crop is smaller. The scans
are simulated with just the field of view that crop and margin need. On disk lie, for each case, both scans on one grid, aligned by the
true bony transform, and both outlines; the soft motion of the bowel and the filling of rectum and bladder are in the scans already.
Misalignment (the post scan moved in plane) and errors of the outlines are applied when a crop is taken, so that one set of cases serves
the whole curve. A crop is interpolated in plane once (bicubic), whatever the misalignment, so that no shift has a noise of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.cohort.training import Crops
from MRDeltaNetLib.config import PreprocessingConfig
from MRDeltaNetLib.errors import require
from MRDeltaNetLib.imaging import phantom
from MRDeltaNetLib.imaging import preprocessing as preprocessing_package
from MRDeltaNetLib.imaging.phantom import simulate_pair
from MRDeltaNetLib.imaging.preprocessing import body_mask, in_axial_order, prepare
from MRDeltaNetLib.imaging.preprocessing.intensity import Normalisation, grown, normalisation
from MRDeltaNetLib.progress import Progress, silent

FIRST_SEED = {"training": 10_000_000, "validation": 20_000_000, "test": 30_000_000}
"""Seeds of the sets never meet, nor those of the demo model's cases or of simulated cohorts."""

SPACING_MM = (0.75, 0.75, 3.0)
CROP_MM = (48.0, 48.0, 36.0)
"""x, y, z of what the network sees: 64 x 64 x 12 voxels."""
STORED_MM = (72.0, 72.0, 42.0)
"""x, y, z of what is kept: room for half of the largest shift (the crop is centred between both outlines) and for outline errors."""
SCAN_VOXELS = (136, 136, 18)
"""Simulated scan (x, y, z) of SPACING_MM voxels: 102 x 102 x 54 mm around the tumour."""
WHOLE_VOXELS = (56, 56, 10)
"""The same scan of the whole pelvis with large voxels, for the normalisation: around the tumour alone, the z-score would follow the
filling of bladder and rectum (the hand-made number of `hand_made` fell from AUC 0.998 to 0.77). Against the full scan, mean and SD
differ by 0.002 and 0.003 SD from case to case, and every SD is 6 % smaller."""
ROI_SIGMA_MM = PreprocessingConfig().roi_sigma_mm


@dataclass(frozen=True)
class OutlineError:
    """How far a reader's outlines are from the truth; each visit's own value (pre, post).

    centre_sd_mm   SD of the centre's error, each in-plane axis
    size           range (low, high) of the in-plane size, log-uniform, 1 = true
    dropped_slices largest number of slices missing at either end, uniform from 0
    """

    centre_sd_mm: tuple[float, float] = (0.35, 0.35)
    size: tuple[tuple[float, float], tuple[float, float]] = ((0.97, 1.03), (0.97, 1.03))
    dropped_slices: tuple[int, int] = (0, 0)


OUTLINES = {
    "exact": OutlineError((0.0, 0.0), ((1.0, 1.0), (1.0, 1.0))),
    "good": OutlineError(),
    "bad": OutlineError((1.5, 3.6), ((0.85, 1.2), (0.7, 1.5)), (1, 3)),
}
"""good: exact to 0.5 mm (root mean square). bad: the post outline overlaps the true one as little as two readers' do."""


@dataclass(frozen=True)
class Condition:
    """How a crop is taken: shift_mm (low, high) of the post scan in plane, uniform, in a random direction; outlines: names of OUTLINES,
    one drawn for each case."""

    shift_mm: tuple[float, float] = (0.0, 0.0)
    outlines: tuple[str, ...] = ("good",)


@dataclass(frozen=True)
class Cases:
    """Stored cases: scans (2, D, H, W) float16 z-scores and outlines (2, D, H, W) uint8 0..255, memory-mapped; facts of each."""

    scans: tuple[np.ndarray, ...]
    outlines: tuple[np.ndarray, ...]
    facts: tuple[dict[str, Any], ...]

    @property
    def outcomes(self) -> np.ndarray:
        return np.array([fact["outcome"] for fact in self.facts])

    @property
    def volumes_ml(self) -> np.ndarray:
        """(n, 2): tumour, bed."""
        return np.array([fact["volumes_ml"] for fact in self.facts])

    def __len__(self) -> int:
        return len(self.facts)

    def subset(self, members) -> "Cases":
        """The cases with these numbers."""
        return Cases(*(tuple(part[int(k)] for k in members) for part in (self.scans, self.outlines, self.facts)))


def load_or_make(split: str, count: int, cache: Path, *, workers: int = 1, progress: Progress = silent, setting: str = "controlled",
                 scanner: str | None = None, first: int = 0) -> Cases:
    """`count` cases of a set, from number `first` on; those in the cache that the same code made with the same settings are not made again.

    split    a key of FIRST_SEED; case k has seed FIRST_SEED[split] + k
    cache    folder; cases lie in a folder of it that is named by a digest of code and settings
    scanner  of imaging.phantom.contrast.SCANNERS; None: the default one
    """
    facts = [setting, scanner, SPACING_MM, STORED_MM, SCAN_VOXELS, WHOLE_VOXELS, code_sha256(phantom, preprocessing_package)]
    folder = Path(cache) / f"cases-{digest(facts)}"
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [FIRST_SEED[split] + first + k for k in range(count)]
    jobs = [(seed, setting, scanner, folder) for seed in seeds if not (folder / f"{seed}.json").exists()]
    if workers == 1:
        for done, job in enumerate(jobs, start=1):
            _store_case(job)
            progress(done / len(jobs), f"{split}: case {done} of {len(jobs)}")
    elif jobs:
        # Spawned, because a forked child of a process that has used torch threads can hang.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            for done, _ in enumerate(pool.map(_store_case, jobs, chunksize=4), start=1):
                progress(done / len(jobs), f"{split}: case {done} of {len(jobs)}")
    stored = [json.loads((folder / f"{seed}.json").read_text()) for seed in seeds]
    scans = tuple(np.memmap(folder / f"{seed}.scans", np.float16, "r", shape=tuple(fact["shape"])) for seed, fact in zip(seeds, stored))
    outlines = tuple(np.memmap(folder / f"{seed}.outlines", np.uint8, "r", shape=tuple(fact["shape"])) for seed, fact in zip(seeds, stored))
    return Cases(scans, outlines, tuple(stored))


def make_case(seed: int, setting: str = "controlled", scanner: str | None = None) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """One case on the stored grid: scans float16 and outlines uint8, each (2, D, H, W), and its facts.

    Scan and whole pelvis come from the same random draws, so they share patient, coil and gain.
    """
    options = {"setting": setting} if scanner is None else {"setting": setting, "scanner": scanner}
    pair = simulate_pair(seed, size=SCAN_VOXELS, spacing_mm=SPACING_MM, **options)
    whole = simulate_pair(seed, size=WHOLE_VOXELS, **options)
    wide = PreprocessingConfig(spacing_mm=SPACING_MM, crop_mm=STORED_MM, roi_sigma_mm=0.0)      # softened when a crop is taken
    prepared = prepare(Timepoint(pair.pre, pair.pre_mask), Timepoint(pair.post, pair.post_mask), pair.transform_pre_to_post, wide)
    tensor = np.array(prepared.tensor)
    for visit, role in enumerate(("pre", "post")):
        small, large = prepared.parameters[role], _normalisation(getattr(whole, role), getattr(whole, f"{role}_mask"))
        tensor[visit, 0] = (tensor[visit, 0] * small["sd"] + small["mean"] - large.mean) / large.sd
    volumes = [float(sitk.GetArrayViewFromImage(mask).sum() * np.prod(mask.GetSpacing()) / 1000) for mask in (pair.pre_mask, pair.post_mask)]
    padded = max(prepared.parameters[role]["padded_fraction"] for role in ("pre", "post"))
    facts = {"seed": seed, "outcome": int(pair.outcome), "volumes_ml": volumes, "padded_fraction": padded, "soft_mm": float(_soft_mm(seed, setting)),
             "shape": list(tensor[:, 0].shape)}
    return tensor[:, 0].astype(np.float16), np.round(tensor[:, 1] * 255).astype(np.uint8), facts


class MisalignedCrops(Crops):
    """Crops of stored cases under a condition, for training and scoring: item k is (crop (2, 2, D, H, W) float32, outcome).

    again  True: every visit of a case draws anew (training: the n-th visit is a function of seed, case and n);
           False: always the same draw (validation, test)
    ramp   visits of a case over which the condition comes on, from aligned scans with good outlines; 0: it is there from the start
    """

    def __init__(self, cases: Cases, condition: Condition, *, seed: int, again: bool = False, outcomes: np.ndarray | None = None, ramp: int = 0) -> None:
        self.cases, self.condition, self.seed, self.again, self.ramp = cases, condition, seed, again, ramp
        self.visits = np.zeros(len(cases), int)
        super().__init__(_Drawn(self), cases.outcomes if outcomes is None else outcomes,
                         keys=[f"{fact['seed']}-{condition}-{seed}-{again}" for fact in cases.facts])

    def draw(self, index: int) -> np.ndarray:
        """Crop float32 (2, 2, D, H, W) of one case, of its next visit."""
        visit = int(self.visits[index])
        self.visits[index] += self.again
        rng = np.random.default_rng([self.seed, self.cases.facts[index]["seed"], visit])
        condition = growing(self.condition, visit / self.ramp, rng) if self.ramp else self.condition
        return taken(self.cases.scans[index], self.cases.outlines[index], condition, rng)[0]


class _Drawn:
    """Makes MisalignedCrops' own draws look like a sequence of arrays."""

    def __init__(self, owner: MisalignedCrops) -> None:
        self.owner = owner

    def __len__(self) -> int:
        return len(self.owner.cases)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.owner.draw(index)


def growing(condition: Condition, share: float, rng: np.random.Generator) -> Condition:
    """The condition while it comes on: shifts up to `share` (at most 1) of the whole, and its outlines with that probability, otherwise good ones."""
    share = min(1.0, share)
    whole = rng.random() < share
    return Condition(tuple(share * shift for shift in condition.shift_mm), condition.outlines if whole else ("good",))


def taken(scans: np.ndarray, outlines: np.ndarray, condition: Condition, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
    """One crop (2, 2, D, H, W) float32 of CROP_MM, and what was done to it: shift_mm (y, x), outline, dice (pre, post).

    The crop is centred, as `prepare` does it, on the centroid of the union of both outlines as drawn and placed: so with a shift of r
    both scans lie r/2 away from where they were, in opposite directions.
    """
    radius, angle = rng.uniform(*condition.shift_mm), rng.uniform(0, 2 * np.pi)
    moved = np.array([[0.0, 0.0], [np.sin(angle) * radius, np.cos(angle) * radius]])             # (visit, (y, x)), mm
    name = condition.outlines[int(rng.integers(len(condition.outlines)))]
    shifts, sizes, keeps = [], [], []
    for visit in (0, 1):
        shift, size, keep = _reader(outlines[visit], OUTLINES[name], visit, rng)
        shifts.append(shift), sizes.append(size), keeps.append(keep)
    masks = torch.from_numpy(outlines.astype(np.float32) / 255)
    centres = np.array([_centroid_mm(mask) for mask in outlines])
    keep = torch.tensor(np.array(keeps), dtype=torch.float32)[..., None, None]
    placed = _resampled(masks, -(moved + np.array(shifts)), np.array(sizes), centres + moved + np.array(shifts), "zeros", outlines.shape[-2:]) * keep
    middle_mm, slice_ = _union_centre(placed.numpy())
    voxels = tuple(round(size / step) for size, step in zip(CROP_MM[::-1], SPACING_MM[::-1]))
    first = int(np.clip(round(slice_ - (voxels[0] - 1) / 2), 0, outlines.shape[1] - voxels[0]))
    window = slice(first, first + voxels[0])
    ones = np.ones(2)
    image = _resampled(torch.from_numpy(scans[:, window].astype(np.float32)), middle_mm - moved, ones, np.zeros((2, 2)), "border", voxels[1:], "bicubic")
    roi = _resampled(masks[:, window], middle_mm - moved - np.array(shifts), np.array(sizes), centres + moved + np.array(shifts) - middle_mm, "zeros",
                     voxels[1:]) * keep[:, window]
    crop = torch.stack([image, _softened(roi.clamp(0, 1))], 1)
    return crop.numpy(), {"shift_mm": moved[1].tolist(), "outline": name}


def _reader(outline: np.ndarray, error: OutlineError, visit: int, rng: np.random.Generator) -> tuple[np.ndarray, float, np.ndarray]:
    """One reader's error: shift (y, x) mm, size, and the slices kept (D,)."""
    low, high = np.log(error.size[visit])
    shift, size = rng.normal(0, error.centre_sd_mm[visit], 2), float(np.exp(rng.uniform(low, high)))
    there = np.flatnonzero(outline.any((1, 2)))
    top, bottom = rng.integers(0, error.dropped_slices[visit] + 1, 2)
    keep = np.ones(len(outline), bool)
    if len(there) > top + bottom:
        keep[there[:top]] = False
        keep[there[len(there) - bottom:]] = False
    return shift, size, keep


def dice(cases: Cases, outline: str, seed: int = 0) -> np.ndarray:
    """(n, 2) Dice overlap of the drawn outline with the true one, before and after treatment."""
    found = np.empty((len(cases), 2))
    for k, outlines in enumerate(cases.outlines):
        rng = np.random.default_rng([seed, k])
        for visit in (0, 1):
            shift, size, keep = _reader(outlines[visit], OUTLINES[outline], visit, rng)
            true = torch.from_numpy(outlines[visit:visit + 1].astype(np.float32) / 255)
            centre = np.array([_centroid_mm(outlines[visit])])
            drawn = _resampled(true, -shift[None], np.array([size]), centre + shift, "zeros", true.shape[-2:])[0].numpy() * keep[:, None, None]
            a, b = true[0].numpy() >= 0.5, drawn >= 0.5
            found[k, visit] = 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)
    return found


def _centroid_mm(mask: np.ndarray) -> np.ndarray:
    """In-plane centroid (y, x), mm from the middle of the stored grid; the middle for an empty mask."""
    weight = mask.sum(0, dtype=np.float64)
    total = max(weight.sum(), 1e-9)
    y, x = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip(weight.shape, SPACING_MM[1::-1]))
    return np.array([(weight.sum(1) * y).sum() / total, (weight.sum(0) * x).sum() / total])


def _union_centre(masks: np.ndarray) -> tuple[np.ndarray, float]:
    """Centroid of the union of both masks (2, D, H, W): (y, x) mm from the middle of the grid, and the slice."""
    union = (masks >= 0.5).any(0)
    slices = union.sum((1, 2))
    middle = (len(slices) - 1) / 2 if not slices.any() else float((slices * np.arange(len(slices))).sum() / slices.sum())
    return _centroid_mm(union), middle


def _resampled(stack: torch.Tensor, offset_mm: np.ndarray, size: np.ndarray, about_mm: np.ndarray, outside: str, plane: tuple[int, int],
               kind: str = "bilinear") -> torch.Tensor:
    """(V, D, H, W) on a plane of (y, x) voxels, interpolated in plane: value at p is read from about + (p - about) / size + offset.

    p, about_mm (V, 2) and offset_mm (V, 2) in (y, x) mm; p from the middle of the new plane, what is read from the middle of the old one
    """
    height, width = stack.shape[-2:]
    axes = []
    for axis, (count, step) in enumerate(zip(plane, SPACING_MM[1::-1])):
        place = (np.arange(count) - (count - 1) / 2) * step
        read = about_mm[:, axis:axis + 1] + (place[None] - about_mm[:, axis:axis + 1]) / size[:, None] + offset_mm[:, axis:axis + 1]
        axes.append(torch.from_numpy((2 * read / (step * (height, width)[axis])).astype(np.float32)))
    grid = torch.stack([axes[1][:, None, :].expand(-1, plane[0], -1), axes[0][:, :, None].expand(-1, -1, plane[1])], -1)
    return F.grid_sample(stack, grid, mode=kind, padding_mode=outside, align_corners=False)


def _softened(roi: torch.Tensor) -> torch.Tensor:
    """Outlines (V, D, H, W) with the in-plane Gaussian that `prepare` gives the ROI channel."""
    intensity = require("monai.transforms.intensity.array", "Preprocessing", "pip install monai")
    soft = intensity.GaussianSmooth(sigma=(0.0, ROI_SIGMA_MM / SPACING_MM[1], ROI_SIGMA_MM / SPACING_MM[0]))(roi)
    return require("monai.utils.type_conversion", "Preprocessing", "pip install monai").convert_to_tensor(soft, track_meta=False).clamp(0.0, 1.0)


def _normalisation(image: sitk.Image, mask: sitk.Image) -> Normalisation:
    """As `prepare` does it."""
    config = PreprocessingConfig()
    image, mask = in_axial_order(sitk.Cast(image, sitk.sitkFloat32)), in_axial_order(mask)
    return normalisation(image, body_mask(image), grown(mask, config.exclusion_margin_mm), config.clip_percentiles)


def hand_made(crop: np.ndarray) -> float:
    """The number that the simulation lets one write down: 95th percentile of the bed after treatment minus median of the tumour before,
    both without their border, which is blurred with what lies beside.

    crop  (2, 2, D, H, W); a case with hardly an outline has 0
    """
    (pre, tumour), (post, bed) = crop
    if min((tumour > 0.8).sum(), (bed > 0.8).sum()) < 10:
        return 0.0
    return float(np.percentile(post[bed > 0.8], 95) - np.median(pre[tumour > 0.8]))


def _soft_mm(seed: int, setting: str) -> float:
    """Size of the soft motion that the simulation gave this case."""
    return phantom.draw_case(seed, setting=setting, size=SCAN_VOXELS, spacing_mm=SPACING_MM).visits[1].soft_mm


def _store_case(job: tuple) -> None:
    seed, setting, scanner, folder = job
    scans, outlines, facts = make_case(seed, setting, scanner)
    for name, array in (("scans", scans), ("outlines", outlines)):
        temporary = folder / f".{seed}.{name}.{os.getpid()}"
        array.tofile(temporary)
        os.replace(temporary, folder / f"{seed}.{name}")
    temporary = folder / f".{seed}.json.{os.getpid()}"
    temporary.write_text(json.dumps(facts))
    os.replace(temporary, folder / f"{seed}.json")                                            # last: marks the case as complete


def digest(facts: Any) -> str:
    """Short name for what some plain facts describe."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def code_sha256(*packages: ModuleType) -> str:
    """Digest of the packages' own files, so that cases made by other code are never taken for this one's."""
    found = hashlib.sha256()
    for package in packages:
        for path in sorted(Path(package.__file__).parent.glob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    torch.set_num_threads(1)
