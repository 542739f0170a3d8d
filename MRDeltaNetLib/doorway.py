"""What every door needs: progress on a terminal, stopping on request, and errors turned into exit statuses."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Callable, Iterator, Mapping

from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, MRDeltaNetError, OutOfMemory
from MRDeltaNetLib.io.results import RESEARCH_USE
from MRDeltaNetLib.progress import Progress, json_lines, silent

UNEXPECTED = 1
"""Exit status of a fault in MRDeltaNet itself."""

PATIENCE_S = 1.5
"""A stop that the work has not asked about for so long (packages load, one long batch) is heard wherever the work stands."""

LOADING_S = 0.05
"""So often a stop asks whether the package that was loading has loaded."""

_stop_requested = False
_stop_raised = False
"""A stop was raised where the work stood: native code may have made another exception of it."""


class Stop(BaseException):
    """A stop that did not wait for the next sign of progress. No KeyboardInterrupt: one that passes through code which a native library runs
    (torch does while it loads) makes Python end by the signal, whoever catches it."""


@contextmanager
def progress_for(mode: str) -> Iterator[Progress]:
    """Progress as the user asked for it: "bar" (standard error), "json" (one object a line, standard output) or "none"."""
    if mode == "json":
        yield json_lines(sys.stdout)
    elif mode == "bar":
        with _bar() as bar:
            yield bar
    else:
        yield silent


def interruptible() -> None:
    """From now on Ctrl-C and SIGTERM raise KeyboardInterrupt, so that what was begun is put in order; while a package loads, as soon as it
    has loaded, because a native library whose loading is broken off takes the whole process with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def stoppable(progress: Progress) -> Progress:
    """Let Ctrl-C and SIGTERM stop the work at its next sign of progress, or after PATIENCE_S without one, with everything in order."""
    global _stop_requested, _stop_raised
    _stop_requested = _stop_raised = False
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _stop_here)
    signal.signal(signal.SIGINT, _request_stop)
    signal.signal(signal.SIGTERM, _request_stop)

    def report(done: float, message: str) -> None:
        if _stop_requested:
            _wait_for_a_stop(0.0)
            raise Cancelled()
        progress(done, message)

    return report


def guarded(action: Callable[[], int], mode: str) -> int:
    """Do the work of a command; whatever stops it becomes its text and exit status. A stop that comes after the end finds nothing.

    action  returns the exit status
    """
    try:
        status = action()
    except (Exception, KeyboardInterrupt, Stop) as error:  # noqa: BLE001 failed() tells every kind apart
        settled()
        return failed(error, mode)
    settled()
    return status


def finish(action: Callable[[], Any], mode: str) -> int:
    """Do a job, tell how it ended, and return the exit status.

    action  returns runner.Outcome
    """
    def told() -> int:
        outcome = action()
        settled()                                        # what is written is whole; telling it is not broken off
        _tell_outcome(outcome, mode)
        return 0

    return guarded(told, mode)


def draw_and_tell(job: Any) -> int:
    """Do one automatic segmentation (io.segment_jobs.SegmentJob) and tell how it ended; returns the exit status."""
    from MRDeltaNetLib.segmenting import as_summary, describe, run_segmentation
    with progress_for(job.progress) as progress:
        done = run_segmentation(job, stoppable(progress))
    settled()
    if job.progress == "json":
        print(json.dumps({"finished": as_summary(done)}, ensure_ascii=False), flush=True)
    else:
        print("\n".join([*(_warning(notice) for notice in done.notices), *describe(done)]))
    return 0


def explain_and_tell(job: Any) -> int:
    """Ask a finished run for more maps (io.explain_jobs.ExplainJob) and tell what was written; returns the exit status."""
    from MRDeltaNetLib.explainer import explain_result
    with progress_for(job.progress) as progress:
        done = explain_result(job.result, job.methods, model=job.model, device=job.device, again=job.again, progress=stoppable(progress))
    settled()
    if job.progress == "json":
        told = asdict(done)
        told["warnings"] = told.pop("notices")
        print(json.dumps({"finished": told}), flush=True)
        return 0
    lines = [_warning(notice) for notice in done.notices]
    lines += [f"Written: {job.result / name}" for name in done.files] + [f"There already: {key}" for key in done.kept]
    lines += [f"Left out: {key} ({why})" for key, why in done.left_out.items()]
    lines += [f"{name}: " + ", ".join(f"{key} {value:+.2f}" for key, value in numbers.items()) for name, numbers in done.numbers.items()]
    print("\n".join(lines), flush=True)
    return 0


def failed(error: BaseException, mode: str) -> int:
    """Tell what stopped the work; returns the exit status. A fault of ours is named by its place in the code only."""
    if isinstance(error, BrokenPipeError):                # whoever read our output has left; there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Cancelled.exit_status
    if _stop_raised or isinstance(error, (KeyboardInterrupt, Stop)):
        error = Cancelled()
    elif isinstance(error, MemoryError):
        error = OutOfMemory("The computer ran out of memory", code="MRD-E721", fix="close other programs and try again")
    elif not isinstance(error, MRDeltaNetError):
        _tell_error(_fault(error), mode)
        return UNEXPECTED
    _tell_error(error, mode)
    return error.exit_status


def describe_outcome(outcome: Any) -> list[str]:
    """What a finished run says in a few lines: the probability first, then where things are."""
    from MRDeltaNetLib.report.tables import class_lines
    from MRDeltaNetLib.response.uncertainty import varied
    result, out = outcome.result, outcome.out
    lines = [_warning(notice) for notice in result.warnings]
    if result.p_pcr is not None:
        said = (f"class '{result.predicted_class}' at the model's threshold {result.threshold:.3f}" if result.predicted_class
                else "no class, because nobody drew the tumour bed; the number may be far off")
        lines.append(f"P(pCR) = {result.p_pcr:.3f} ({result.p_pcr_low:.3f} to {result.p_pcr_high:.3f} over {varied(result.spread)}): {said}")
        lines.append(f"Like the training cases: {result.familiarity['light']} ({'; '.join(result.familiarity['reasons'])})")
        if result.model and result.model["is_demo"]:
            lines.append(f"{'The demo' if is_shipped_demo(result.model) else 'This'} model was trained on simulated pelvises only: on a real patient this number means nothing.")
    change = result.measures.get("volume_change_percent")
    if change is not None:
        lines.append(f"Tumour {result.measures['pre_volume_ml']:.1f} mL before, tumour bed {result.measures['post_volume_ml']:.1f} mL after ({change:+.0f} %)")
    lines += [f"{line}." for line in class_lines(result.response)]
    if result.mrtrg is not None:
        lines.append(f"mrTRG {result.mrtrg}, the reader's opinion.")
    labels = {"report.html": "Report", "scene.mrb": "Scene for 3D Slicer", "attention_post.nrrd": "Attention on the post-treatment scan",
              "attention_pre.nrrd": "Attention on the pre-treatment scan", "change_post.nrrd": "Change on the post-treatment scan", "correspondence.safetensors": "Where places look (mrdeltanet query)",
              **_more_maps(), "registration.tfm": "Transform", "result.json": "Numbers", "measures.csv": "Sizes, form and intensity as a table",
              "manifest.json": "Manifest"}
    lines += [f"{label + ':':38} {out / name}" for name, label in labels.items() if name in outcome.files]
    return lines + [RESEARCH_USE]


def _more_maps() -> dict[str, str]:
    """File -> label of every map that a run may be asked for."""
    from MRDeltaNetLib.io.results import METHOD_FILES
    from MRDeltaNetLib.response.attribution import METHODS
    when = {"pre": "before", "post": "after"}
    return {file: f"{METHODS[name.rsplit('_', 1)[0]].label.split(' (')[0]}, {when[name.rsplit('_', 1)[1]]} treatment" for name, file in METHOD_FILES.items()}


def is_shipped_demo(model: Mapping[str, Any]) -> bool:
    """Whether a result's model is, byte for byte of its weights, the demo model that ships with MRDeltaNet; the name alone anyone may give."""
    from MRDeltaNetLib.io.atomic import sha256
    from MRDeltaNetLib.io.bundle import WEIGHTS
    from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
    try:
        return model["weights_sha256"] == sha256(resource(DEMO_BUNDLE) / WEIGHTS)
    except (EnvironmentProblem, OSError):                 # an installation without the demo model: then it is another one
        return False


def _interrupt(number: int, frame: Any) -> None:
    global _stop_raised
    if _put_off(frame, _interrupt):
        return
    _stop_raised = True
    raise KeyboardInterrupt


def _put_off(frame: Any, again: Callable[[int, Any], None]) -> bool:
    """While a package loads: call the handler again a little later; whether that was so. Not on Windows, which has no such timer."""
    if not hasattr(signal, "setitimer") or not _loads_a_package(frame):
        return False
    signal.signal(signal.SIGALRM, again)
    _wait_for_a_stop(LOADING_S)
    return True


def _loads_a_package(frame: Any) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _request_stop(number: int, frame: Any) -> None:
    global _stop_requested
    if _stop_requested and number == signal.SIGINT:
        _stop_here(number, frame)
        return
    if not _stop_requested:
        _wait_for_a_stop(PATIENCE_S)
    _stop_requested = True


def _stop_here(number: int, frame: Any) -> None:
    if _put_off(frame, _stop_here):
        return
    global _stop_raised
    _wait_for_a_stop(0.0)
    _stop_raised = True
    raise Stop


def settled() -> None:
    """The work has ended: a stop that comes late finds nothing to break off."""
    _wait_for_a_stop(0.0)


def _wait_for_a_stop(seconds: float) -> None:
    """Break the work off in so many seconds; 0.0: do not."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _warning(notice: Any) -> str:
    return f"Warning {notice.code}: {notice.text}." + (f" {notice.fix[0].upper()}{notice.fix[1:]}." if notice.fix else "")


def _tell_error(error: MRDeltaNetError, mode: str) -> None:
    if mode == "json":
        print(json.dumps({"error": {"code": error.code, "what": error.what, "found": error.found, "fix": error.fix,
                                    "exit_status": error.exit_status}}), flush=True)
    print(error.text(), file=sys.stderr)


def _fault(error: BaseException) -> MRDeltaNetError:
    """Our own fault, named by its place in the code; the exception's text may hold a path, so it is not shown."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "MRDeltaNetLib" in frame.filename]
    place = f"{ours[-1].filename.split('MRDeltaNetLib')[-1].lstrip('/')}:{ours[-1].lineno}" if ours else "unknown"
    return MRDeltaNetError("Something went wrong inside MRDeltaNet", code="MRD-E899", found=f"{type(error).__name__} at {place}",
                           fix="please report this code together with what `mrdeltanet info` prints")


def _tell_outcome(outcome: Any, mode: str) -> None:
    if mode == "json":
        print(json.dumps({"finished": {"p_pcr": outcome.result.p_pcr, "p_pcr_low": outcome.result.p_pcr_low,
                                       "p_pcr_high": outcome.result.p_pcr_high, "predicted_class": outcome.result.predicted_class,
                                       "warnings": [asdict(notice) for notice in outcome.result.warnings],
                                       "files": list(outcome.files)}}, ensure_ascii=False), flush=True)
        return
    print("\n".join(describe_outcome(outcome)))


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar where rich is installed and a person watches; else one line a step."""
    try:
        from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn
    except ImportError:
        Bar = None
    if Bar is None or not sys.stderr.isatty():
        yield _lines()
        return
    with Bar(TextColumn("{task.description:34}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
             transient=True, console=_standard_error()) as bar:
        task = bar.add_task("Starting", total=1.0)
        yield lambda done, message: bar.update(task, completed=done, description=message)


def _lines() -> Progress:
    """Each new message once, on standard error."""
    last = ""

    def tell(done: float, message: str) -> None:
        nonlocal last
        if message != last:
            print(f"{100 * done:3.0f} %  {message}", file=sys.stderr, flush=True)
        last = message

    return tell


def _standard_error():
    from rich.console import Console
    return Console(stderr=True)
