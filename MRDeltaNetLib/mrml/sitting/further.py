"""Further maps of the prediction that is shown, made in a child process that gets the files of that very run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from MRDeltaNetLib import workflow
from MRDeltaNetLib.config import EXPLAIN_METHODS, NATIVE_METHODS
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io import results as files
from MRDeltaNetLib.io.added_maps import mend
from MRDeltaNetLib.io.explain_jobs import explain_job
from MRDeltaNetLib.mrml.sitting import mapping, results
from MRDeltaNetLib.response.attribution import missing_package
from MRDeltaNetLib.workflow.texts import Translate, _

STEP = "maps"
"""The name of its run."""


def methods(sitting: Any, translate: Translate = str) -> tuple[workflow.MapGroup, ...]:
    """The methods that can still be asked, as the model's tests order them; some with the reason why not now."""
    facts = sitting.result_facts()
    if facts is None or facts["p_pcr"] is None:
        return ()
    return workflow.method_groups(results.maps(sitting.choices), mapping.judged(sitting.choices), translate)


def start(sitting: Any, asked: Sequence[str] | str) -> None:
    """Ask methods about the prediction that is shown; sitting.poll() tells how it goes.

    asked   of config.EXPLAIN_METHODS, or workflow.OFFERED: all that did not fail the model's tests and have their package
    raises  UsageError MRD-E843 if another run goes on, MRD-E847 if the prediction's files are not at hand; what the job is refused with
    """
    sitting.refuse_second_run()
    folder = sitting.result_folder()
    if folder is None:
        raise UsageError(_("The files of this result are not at hand any more"), code="MRD-E847", fix=_("predict again"))
    model = sitting.door.model_folder()
    job = explain_job({"result": str(folder), "methods": asked if isinstance(asked, str) else tuple(asked), "device": sitting.choices.device,
                       "model": None if model is None else str(model)})
    sitting.start_other(STEP, lambda worker: worker.start_explaining(job), folder, lambda out: bring(sitting, out, asked), also_unfinished=True)


def bring(sitting: Any, out: Path, asked: Sequence[str] | str) -> None:
    """What the run has added so far, in whatever way it ended; a method that was asked for alone is shown."""
    choices = sitting.choices
    mend(out)
    if choices.result is None or (out / files.RESULT).read_text(encoding="utf-8") == choices.result.GetText():
        return
    results.bring_result(choices, out, results.rests_on(choices.result) or {}, sitting.door.translate)
    found = results.maps(choices)
    if not isinstance(asked, str) and len(asked) == 1:
        choices.shown_map = next((name for name in (f"{asked[0]}_post", f"{asked[0]}_pre") if name in found), choices.shown_map)


def to_repeat(sitting: Any) -> tuple[str, ...]:
    """Methods whose maps are in the scene: a new prediction by the same model makes them too, so that none is lost unasked."""
    facts = sitting.result_facts()
    if facts is None or not facts.get("model") or facts["model"].get("weights_sha256") != sitting.bundle().weights_sha256:
        return ()
    there = {name.rsplit("_", 1)[0] for name in results.maps(sitting.choices)}
    return tuple(key for key in EXPLAIN_METHODS if key in there and key not in NATIVE_METHODS and missing_package(key) is None)
