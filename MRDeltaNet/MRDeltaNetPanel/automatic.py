"""The logic's part that lets nnU-Net draw an outline: the model that was chosen and approved. The rest is mrml.sitting.drawing's.

nnU-Net is the one that Slicer's NNUNet extension installed into Slicer's own Python, or the user's own (imaging.nnunet.environment). The
extension's own runner is not used: it would read a checkpoint that nobody approved, and its stop ends the first process alone.
"""

from __future__ import annotations

from pathlib import Path

import slicer

from MRDeltaNetLib.errors import InputError, MRDeltaNetError
from MRDeltaNetLib.imaging.nnunet.environment import find_python
from MRDeltaNetLib.io import approvals
from MRDeltaNetLib.io.nnunet_model import FolderDigest, describe, digest, read_nnunet_model

MODEL_SETTING = "MRDeltaNet/SegmentationModel"


class Automatic:
    """Mixed into the logic."""

    _shown: FolderDigest | None = None
    """Of the model that the user was asked about."""

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
            self._shown = found
            return "\n".join([refusal.what + ".", "", *describe(read_nnunet_model(folder), found)])
        return None

    def approveSegmentationModel(self) -> None:
        """The user trusts the chosen model as `unapproved` showed it. raises InputError MRD-E372 if its folder changed meanwhile"""
        approvals.approve_shown(self.segmentationModel, self._shown)
