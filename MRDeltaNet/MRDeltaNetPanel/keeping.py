"""The logic's part that keeps results where Slicer does it: the report for the web browser, the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError
from MRDeltaNetLib.io import results as files
from MRDeltaNetLib.io.atomic import write_text


class Keeping:
    """Mixed into the logic; `self.session` is the logic's."""

    def reportFile(self, parameters: Any) -> Path:
        """The report as a file that a web browser opens; written from the scene, so that it is there after a scene was loaded too.

        raises  UsageError MRD-E846 if there is no report
        """
        if parameters.report is None:
            raise UsageError(_("There is no report yet"), code="MRD-E846", fix=_("write one"))
        path = self.session.path(files.REPORT)
        write_text(path, parameters.report.GetText())
        return path

    def saveScene(self, path: Path) -> None:
        """Save the scene as .mrb; numbers and what they rest on are in its text nodes.

        raises  InputError MRD-E848 for another ending; EnvironmentProblem MRD-E832 if Slicer could not write it
        """
        if path.suffix.lower() != ".mrb":
            raise InputError(_("A scene is saved as .mrb"), code="MRD-E848", found=path.suffix, fix=_("choose a name that ends in .mrb"))
        if not slicer.util.saveScene(str(path)):
            raise EnvironmentProblem(_("The scene could not be saved"), code="MRD-E832", fix=_("see that the disk has some space left and that the folder may be written to"))
