"""Simulated cases, prepared as a real case would be, and kept on disk as one float16 array a case.

The alignment is the true rigid transform with a small error added, as large as a good registration leaves behind, because
registering hundreds of pairs would take longer than training on them.
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

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.config import PreprocessingConfig
from MRDeltaNetLib.cohort.training import Crops
from MRDeltaNetLib.imaging import phantom
from MRDeltaNetLib.imaging import preprocessing as preprocessing_package
from MRDeltaNetLib.imaging.phantom import simulate_pair
from MRDeltaNetLib.imaging.preprocessing import prepare
from MRDeltaNetLib.progress import Progress, silent

FIRST_SEED = {"training": 1_000_000, "validation": 2_000_000, "test": 4_000_000}
"""Seeds of the splits never meet, and lie far from those that `simulate` and `demo` use by default.

The seeds from 3,000,000 on are spent: some of those cases were scored while the network and its training were still being chosen.
"""


@dataclass(frozen=True)
class AlignmentError:
    """Standard deviation of the error added to the true transform, each axis."""

    translation_mm: float = 0.7
    rotation_deg: float = 0.7


@dataclass(frozen=True)
class Split:
    """crops for a network; volumes_ml (n, 2) of tumour and bed; the case with number k of a split has seed FIRST_SEED + k."""

    crops: Crops
    volumes_ml: np.ndarray


def load_or_make(split: str, cases: int, setting: str, preprocessing: PreprocessingConfig, cache: Path, workers: int = 1,
                 progress: Progress = silent, error: AlignmentError = AlignmentError()) -> Split:
    """The first `cases` cases of a split; those that the cache holds, made by the same code with the same settings, are not made again."""
    folder = Path(cache) / digest([setting, asdict(preprocessing), asdict(error), code_sha256(phantom, preprocessing_package)])
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [FIRST_SEED[split] + k for k in range(cases)]
    jobs = [(seed, setting, preprocessing, error, folder) for seed in seeds if not _facts_path(folder, seed).exists()]
    if jobs:
        # Spawned, because a forked child of a process that has used torch threads can hang.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            for k, _ in enumerate(pool.map(_store_case, jobs, chunksize=4)):
                progress((k + 1) / len(jobs), f"{split}: case {k + 1} of {len(jobs)}")
    facts = [json.loads(_facts_path(folder, seed).read_text()) for seed in seeds]
    crops = [np.memmap(_crop_path(folder, seed), np.float16, "r", shape=tuple(fact["shape"])) for seed, fact in zip(seeds, facts)]
    return Split(Crops(crops, np.array([fact["outcome"] for fact in facts])), np.array([fact["volumes_ml"] for fact in facts]))


def make_case(seed: int, setting: str, preprocessing: PreprocessingConfig,
              error: AlignmentError) -> tuple[np.ndarray, dict[str, Any]]:
    """One simulated case: crop float16 (2, 2, D, H, W), and its outcome and volumes_ml of tumour and bed."""
    pair = simulate_pair(seed, setting=setting)
    rng = np.random.default_rng([seed, 99])
    prepared = prepare(Timepoint(pair.pre, pair.pre_mask), Timepoint(pair.post, pair.post_mask),
                       misplaced(pair.transform_pre_to_post, pair.post_mask, error, rng), preprocessing)
    volumes = [float(sitk.GetArrayViewFromImage(mask).sum() * np.prod(mask.GetSpacing()) / 1000) for mask in (pair.pre_mask, pair.post_mask)]
    return np.asarray(prepared.tensor, dtype=np.float16), {"outcome": int(pair.outcome), "volumes_ml": volumes}


def misplaced(transform: sitk.Transform, post_mask: sitk.Image, error: AlignmentError, rng: np.random.Generator) -> sitk.Transform:
    """The transform, then a small random rigid motion about the middle of the post scan's mask."""
    inside = np.argwhere(sitk.GetArrayViewFromImage(post_mask))[:, ::-1].mean(0)
    wrong = sitk.Euler3DTransform()
    wrong.SetCenter(post_mask.TransformContinuousIndexToPhysicalPoint(inside.tolist()))
    wrong.SetRotation(*np.deg2rad(rng.normal(0, error.rotation_deg, 3)).tolist())
    wrong.SetTranslation(rng.normal(0, error.translation_mm, 3).tolist())
    return sitk.CompositeTransform([wrong, transform])


def _store_case(job: tuple) -> None:
    seed, setting, preprocessing, error, folder = job
    crop, facts = make_case(seed, setting, preprocessing, error)
    crop.tofile(_crop_path(folder, seed))
    _facts_path(folder, seed).write_text(json.dumps(facts | {"shape": crop.shape}))            # last: marks the case as complete


def _crop_path(folder: Path, seed: int) -> Path:
    return folder / f"{seed}.float16"


def _facts_path(folder: Path, seed: int) -> Path:
    return folder / f"{seed}.json"


def digest(facts: Any) -> str:
    """Short name for what some plain facts describe."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def code_sha256(*packages: ModuleType) -> str:
    """Digest of the packages' own files, so that a cache made by other code is never taken for this one's."""
    found = hashlib.sha256()
    for package in packages:
        for path in sorted(Path(package.__file__).parent.glob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    import torch

    torch.set_num_threads(1)
