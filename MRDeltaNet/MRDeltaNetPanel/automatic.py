"""The logic's part that lets nnU-Net draw an outline: the model that was chosen and approved, the run, and the suggestion that it brings in.

nnU-Net is the one that Slicer's NNUNet extension installed into Slicer's own Python, or the user's own (imaging.nnunet.environment). The
extension's own runner is not used: it would read a checkpoint that nobody approved, and its stop ends the first process alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib.errors import InputError, MRDeltaNetError, UsageError
from MRDeltaNetLib.imaging.nnunet.environment import find_python
from MRDeltaNetLib.io import approvals
from MRDeltaNetLib.io.images import read_plain
from MRDeltaNetLib.io.nnunet_model import describe, digest, read_nnunet_model
from MRDeltaNetLib.io.segment_jobs import segment_job
from MRDeltaNetLib.io.transforms import write_transform
from MRDeltaNetLib.mrml import outlines
from MRDeltaNetLib.mrml.worker import Worker
from MRDeltaNetPanel import inputs as given

MODEL_SETTING = "MRDeltaNet/SegmentationModel"
STEPS = {"pre": "automatic_pre", "post": "automatic_post"}
"""Whose outline is drawn -> the name of the run in the logic."""

MASK = "mask.nrrd"

REMARKS = "MRDeltaNet.drawnByProgram"
"""Attribute of a segmentation: what the last drawing run told of its outline, JSON."""

VOLUMES = ("volume_ml", "certain_volume_ml", "possible_volume_ml")


class Automatic:
    """Mixed into the logic; session, runs and worker are the logic's."""

    def whyNoAutomatic(self) -> str | None:
        """Why nothing can draw an outline, and what to do about it; None if something can."""
        try:
            find_python()
        except MRDeltaNetError as error:
            return f"{error.what}. {error.fix[:1].upper()}{error.fix[1:]}."
        return None

    @property
    def segmentationModel(self) -> Path | None:
        """The folder of the chosen model, kept in this computer's settings."""
        kept = slicer.app.settings().value(MODEL_SETTING, "")
        return Path(kept) if kept else None

    def chooseSegmentationModel(self, folder: Path) -> None:
        """Draw with this model from now on. raises InputError MRD-E370 if it is none, and the earlier choice stays"""
        read_nnunet_model(folder)
        slicer.app.settings().setValue(MODEL_SETTING, str(folder))

    def unapproved(self) -> str | None:
        """What the chosen model is, for the user who has to decide whether to trust it; None if he has.

        raises  InputError MRD-E370, E373, E376
        """
        folder = self.segmentationModel
        found = digest(folder)
        try:
            approvals.require_approval(folder, found)
        except InputError as refusal:
            if refusal.code not in ("MRD-E371", "MRD-E372"):
                raise
            return "\n".join([refusal.what + ".", "", *describe(read_nnunet_model(folder), found)])
        return None

    def approveSegmentationModel(self) -> None:
        """The user trusts the chosen model as it is now."""
        approvals.approve(self.segmentationModel, digest(self.segmentationModel))

    def startAutomatic(self, parameters: Any, role: str) -> None:
        """Let the chosen model draw on one scan, in a child process; poll() tells how it goes.

        role    "pre" or "post"
        raises  UsageError MRD-E843 if another run goes on, MRD-E389 without a model; what inputs() raises
        """
        self._refuseSecondRun()
        if self.segmentationModel is None:
            raise UsageError(_("No model was chosen that could draw"), code="MRD-E389", fix=_("choose the folder of a trained nnU-Net model"))
        pair = self.inputs(parameters)
        out = self._freshFolder("automatic")
        job = {"image": str(self.session.write(role, pair.scans[role])), "model": str(self.segmentationModel), "out": str(out / MASK), "role": role,
               "device": parameters.device.value}
        if len(read_nnunet_model(self.segmentationModel).channels) == 2:
            job |= self._otherScan(pair, role)
        self._worker = Worker(self.session.path("job"))
        self._worker.start_segmentation(segment_job(job))
        self.run = self._runOf(STEPS[role], out, parameters)

    def bringAutomatic(self, parameters: Any, role: str, out: Path) -> None:
        """The drawing of a finished run in place of that outline, named as what it is until a reader changes it."""
        self.setMask(parameters, role, read_plain(out / MASK))
        segmentation = getattr(parameters, given.OUTLINES[role][1])
        outlines.mark_automatic(segmentation, given.OUTLINES[role][2])

    def drawnByProgram(self, parameters: Any, role: str) -> bool:
        """Whether an outline is as the program drew it: its name says so until a reader changes a voxel.

        role  "pre" or "post"
        """
        segmentation = getattr(parameters, given.OUTLINES[role][1])
        segment = None if segmentation is None else segmentation.GetSegmentation().GetSegment(given.OUTLINES[role][2])
        return segment is not None and segment.GetName().endswith(outlines.AUTOMATIC)

    def keepRemarks(self, parameters: Any, role: str, summary: Mapping[str, Any]) -> None:
        """What the run told of its drawing, kept with the outline.

        summary  of segmenting.as_summary
        """
        kept = {name: summary[name] for name in (*VOLUMES, "warnings") if name in summary}
        getattr(parameters, given.OUTLINES[role][1]).SetAttribute(REMARKS, json.dumps(kept))

    def remarks(self, parameters: Any, role: str) -> dict[str, Any]:
        """The same while the outline is as the program drew it; else nothing."""
        if not self.drawnByProgram(parameters, role):
            return {}
        try:
            found = json.loads(getattr(parameters, given.OUTLINES[role][1]).GetAttribute(REMARKS) or "{}")
        except ValueError:                               # somebody wrote into it
            return {}
        return found if isinstance(found, dict) else {}

    def _otherScan(self, pair: given.Inputs, role: str) -> dict[str, str]:
        """The second channel, and the accepted alignment if there is one."""
        other = "post" if role == "pre" else "pre"
        found = {"other": str(self.session.write(other, pair.scans[other]))}
        if pair.transform is not None:
            path = self.session.path("between.tfm")
            write_transform(pair.transform if role == "pre" else sitk.Transform(pair.transform).GetInverse(), path)
            found["transform"] = str(path)
        return found
