"""A tumour drawn by nnU-Net v2, in a child process: a suggestion for a person to check, with the probability of every voxel.

The scan goes there, and mask and probability come back, on one grid in one file format that keeps every digit, so that nobody's reader decides
over geometry. The model goes there as a private copy, made while its digest was taken and compared with what the user approved.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import EnvironmentProblem, InputError
from MRDeltaNetLib.imaging.nnunet.child import WORK_PREFIX
from MRDeltaNetLib.imaging.nnunet.environment import CHILD, child_variables
from MRDeltaNetLib.imaging.preprocessing.grids import in_axial_order
from MRDeltaNetLib.io.approvals import require_approval
from MRDeltaNetLib.io.atomic import output_problem, sha256, write_text
from MRDeltaNetLib.io.drawings import HIGH, LOW
from MRDeltaNetLib.io.gate.grids import same_grid
from MRDeltaNetLib.io.gate.outlines import volume_ml
from MRDeltaNetLib.io.images import read_plain, write_image
from MRDeltaNetLib.io.nnunet_model import AS_STORED, LPS, NnUnetModel, digest
from MRDeltaNetLib.io.tables import short
from MRDeltaNetLib.processes.attending import attend
from MRDeltaNetLib.progress import Progress, part, silent


@dataclass(frozen=True, eq=False)
class Drawn:
    """What nnU-Net drew.

    mask         uint8 {0, 1} on the scan's own grid; may be empty
    probability  float32, 0 to 1, on the same grid
    facts        plain JSON: label, model (name, sha256, folds), versions, device, and in mL volume_ml, certain_volume_ml (probability at least
                 HIGH) and possible_volume_ml (at least LOW)
    """

    mask: sitk.Image
    probability: sitk.Image
    facts: Mapping[str, Any] = field(default_factory=dict)


class NnUnetSegmenter:
    """A Segmenter (imaging.segmentation): called with a scan, it gives its mask, and keeps the rest as `drawn`."""

    def __init__(self, model: NnUnetModel, python: Path, *, second: sitk.Image | None = None, label: str | None = None, device: str = "auto",
                 threads: int = 0, mirroring: bool = True) -> None:
        """
        model      what read_nnunet_model gives; its bytes must be approved when it is called
        python     of the environment with nnU-Net
        second     the other scan on the first one's grid, for a model of two channels
        label      which of the model's labels is drawn; None where it has one
        device     "auto", "cpu", "cuda" or "mps"
        threads    0: what the libraries choose
        mirroring  average over mirrored scans, as nnU-Net does by default; without it about eight times as fast
        raises     InputError MRD-E374 for another number of channels, MRD-E375 for the label
        """
        given = 1 if second is None else 2
        if len(model.channels) != given:
            raise InputError("The model wants another number of scans than it was given", code="MRD-E374",
                             found=f"it wants {len(model.channels)} ({', '.join(map(short, model.channels))[:200]}), given {given}",
                             fix="give the second scan with --other" if len(model.channels) == 2 else "choose another model, or leave out --other")
        self._model, self._python, self._second, self._label = model, python, second, model.label(label)
        self._device, self._threads, self._mirroring = device, threads, mirroring
        self.drawn: Drawn | None = None

    def __call__(self, image: sitk.Image, progress: Progress = silent) -> sitk.Image:
        """Draw on a scan.

        image    sitk.Image, 3-D float32, LPS mm
        returns  uint8 {0, 1} on the image's grid; may be empty
        raises   InputError MRD-E371 to E373 (model not approved, changed or unreadable), E370, E374, E381 (nnU-Net refused or stopped), E382 (what
                 came back does not fit); EnvironmentProblem E378, E379, E870, E871; OutOfMemory E380; Cancelled
        """
        if self._second is not None and not same_grid(self._second, image):
            raise InputError("The second scan is not on the first one's grid", code="MRD-E374", fix="align the two scans and resample the second one first")
        try:
            place = tempfile.TemporaryDirectory(prefix=WORK_PREFIX)
        except OSError as problem:
            raise output_problem(problem) from problem
        with place:
            self.drawn = self._draw(image, Path(place.name), progress)
        return self.drawn.mask

    def _draw(self, image: sitk.Image, work: Path, progress: Progress) -> Drawn:
        progress(0.0, "Checking the model")
        copies = {name: work / "model" / name for name in self._model.loaded_files}
        found = digest(self._model.folder, keep=copies)
        require_approval(self._model.folder, found)
        job = {"model": str(work / "model"), "files": {name: sha256(path) for name, path in copies.items()}, "channels": self._channels(image, work),
               "label": self._label, "device": self._device, "threads": self._threads, "mirroring": self._mirroring,
               "mask": str(work / "mask.nrrd"), "probability": str(work / "probability.nrrd")}
        write_text(work / "job.json", json.dumps(job))
        told = attend([str(self._python), str(CHILD), "predict", str(work / "job.json")], work, child_variables(self._python, work), part(progress, 0.05, 0.95))
        mask, probability = (_back(_returned(work / name, job), image) for name in ("mask.nrrd", "probability.nrrd"))
        values, shares = sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(probability)
        if not np.isin(values, (0, 1)).all() or not np.isfinite(shares).all() or shares.min() < -1e-3 or shares.max() > 1 + 1e-3:
            raise _unfit("values that are no mask or no probabilities")
        facts = {"label": self._label, "model": {"name": self._model.name, "sha256": found.sha256, "folds": list(self._model.folds)}, **told,
                 "mirroring": self._mirroring, "volume_ml": round(volume_ml(mask), 4),
                 "certain_volume_ml": round(volume_ml(probability >= HIGH), 4), "possible_volume_ml": round(volume_ml(probability >= LOW), 4)}
        progress(1.0, "Drawn")
        return Drawn(sitk.Cast(mask, sitk.sitkUInt8), sitk.Cast(probability, sitk.sitkFloat32), facts)

    def _channels(self, image: sitk.Image, work: Path) -> list[str]:
        names = []
        for number, channel in enumerate((image,) if self._second is None else (image, self._second)):
            path = work / f"scan_{number:04d}.nrrd"
            write_image(sitk.Cast(in_order(channel, self._model.order), sitk.sitkFloat32), path)
            names.append(str(path))
        return names


def in_order(image: sitk.Image, order: str) -> sitk.Image:
    """The same voxels at the same places, stored with axes that run as a model wants them (io.nnunet_model); nothing is resampled."""
    if order == AS_STORED:
        return image
    return in_axial_order(image) if order == LPS else sitk.DICOMOrient(image, order)


def _returned(path: Path, job: Mapping[str, Any]) -> sitk.Image:
    """An image that the child wrote, on the very grid that it was given."""
    if not path.is_file():
        raise _unfit("a file is missing")
    try:
        found, given = read_plain(path), read_plain(job["channels"][0])
    except InputError as problem:
        raise _unfit(problem.what) from problem
    if not same_grid(found, given):
        raise _unfit("another grid than the scan's")
    return found


def _back(image: sitk.Image, scan: sitk.Image) -> sitk.Image:
    """On the scan's own grid again, whose voxels lie at the same places in another order: nothing is interpolated."""
    back = sitk.Resample(image, scan, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor, 0.0, image.GetPixelID())
    back.CopyInformation(scan)
    return back


def _unfit(found: str) -> EnvironmentProblem:
    return EnvironmentProblem("What nnU-Net's process left behind cannot be used", code="MRD-E382", found=found,
                              fix="try again; if it happens again, report it with what `mrdeltanet info` prints")
