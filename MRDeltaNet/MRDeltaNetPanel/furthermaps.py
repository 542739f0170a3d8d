"""The logic's part that asks for further maps of the prediction that is shown, in a child process that gets the files of that very run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from MRDeltaNetLib import workflow
from MRDeltaNetLib.config import EXPLAIN_METHODS, NATIVE_METHODS
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io import results as files
from MRDeltaNetLib.io.added_maps import mend
from MRDeltaNetLib.io.explain_jobs import explain_job
from MRDeltaNetLib.mrml.worker import Worker
from MRDeltaNetLib.response.attribution import missing_package
from MRDeltaNetPanel import results, state
from MRDeltaNetPanel.parameters import Map
from MRDeltaNetPanel.translating import libraryText

STEP = "maps"
"""The name of its run in the logic."""


class FurtherMaps:
    """Mixed into the logic; session, runs, worker and lastResult are the logic's."""

    def resultFolder(self, parameters: Any) -> Path | None:
        """The folder of the run whose result is in the scene; None if it is not at hand."""
        if parameters.result is None or self.lastResult is None:
            return None
        try:
            text = (self.lastResult / files.RESULT).read_text(encoding="utf-8")
        except OSError:
            return None
        return self.lastResult if text == parameters.result.GetText() else None

    def furtherMethods(self, parameters: Any) -> tuple[workflow.MapGroup, ...]:
        """The methods that can still be asked, as the model's tests order them; some with the reason why not now."""
        facts = results.facts(parameters.result)
        if facts is None or facts["p_pcr"] is None:
            return ()
        return workflow.method_groups(results.maps(parameters), self.judged(parameters), libraryText)

    def startMaps(self, parameters: Any, methods: tuple[str, ...] | str) -> None:
        """Ask methods about the prediction that is shown; poll() tells how it goes.

        methods  of config.EXPLAIN_METHODS, or "offered": all that did not fail the model's tests and have their package
        raises   UsageError MRD-E843 if another run goes on, MRD-E847 if the prediction's files are not at hand; what the job is refused with
        """
        self._refuseSecondRun()
        folder = self.resultFolder(parameters)
        if folder is None:
            raise UsageError(_("The files of this result are not at hand any more"), code="MRD-E847", fix=_("predict again"))
        self._worker = Worker(self.session.path("job"))
        self._worker.start_explaining(explain_job({"result": str(folder), "methods": methods, "device": parameters.device.value,
                                                   "model": None if self.modelFolder is None else str(self.modelFolder)}))
        self.run = self._runOf(STEP, folder, parameters, asked=methods if isinstance(methods, tuple) else ())

    def makeMaps(self, parameters: Any, methods: tuple[str, ...] | str, timeoutS: float = 600.0) -> list[Any]:
        """startMaps, and come back when they are there; for scripts and tests. Returns and raises as runAndWait."""
        self.startMaps(parameters, methods)
        return self._waited(timeoutS)

    def bringMaps(self, parameters: Any, run: Any) -> None:
        """What the run has added so far, in whatever way it ended; a method that was asked for alone is shown."""
        mend(run.out)
        if (run.out / files.RESULT).read_text(encoding="utf-8") == parameters.result.GetText():
            return
        results.bringResult(parameters, run.out, state.restsOn(parameters.result) or {})
        found = results.maps(parameters)
        if len(run.asked) == 1:
            parameters.shownMap = next((Map(name) for name in (f"{run.asked[0]}_post", f"{run.asked[0]}_pre") if name in found), parameters.shownMap)

    def methodsToRepeat(self, parameters: Any) -> tuple[str, ...]:
        """Methods whose maps are in the scene: a new prediction by the same model makes them too, so that none is lost unasked."""
        facts = results.facts(parameters.result)
        if facts is None or not facts.get("model") or facts["model"].get("weights_sha256") != self.bundle().weights_sha256:
            return ()
        there = {name.rsplit("_", 1)[0] for name in results.maps(parameters)}
        return tuple(key for key in EXPLAIN_METHODS if key in there and key not in NATIVE_METHODS and missing_package(key) is None)
