"""Seconds of a whole study: 1,026 cases in three sets, three scores, two endpoints, from tables to page and figures."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Callable

CASES, SETS, THRESHOLD = 1026, 3, 0.3


def run() -> list[dict]:
    """Seconds of the evaluation, of page and figures, and of both, once each, after what they import was loaded by a small study."""
    from MRDeltaNetLib.cohort.evaluating import evaluate
    from MRDeltaNetLib.config import EvaluationConfig
    from MRDeltaNetLib.report.study import write_study
    from Testing.made_up_study import tables
    with tempfile.TemporaryDirectory() as folder:
        write_study(evaluate(*tables(120), EvaluationConfig(bootstrap=100)), Path(folder) / "small")
        found, evaluation = _timed(lambda: evaluate(*tables(CASES), EvaluationConfig(threshold=THRESHOLD)))
        files, page = _timed(lambda: write_study(found, Path(folder) / "whole"))
    return [{"what": f"evaluation, {CASES} cases in {SETS} sets", "unit": "s", "ours": evaluation[0], "note": f"bootstraps of 2000; {evaluation[1]:.1f} s of processor time"},
            {"what": "its page and figures", "unit": "s", "ours": page[0], "note": f"{len(files) // 2} figures, each as PNG and SVG; {page[1]:.1f} s of processor time"},
            {"what": "both", "unit": "s", "ours": evaluation[0] + page[0], "note": f"aim: below 20 s; {evaluation[1] + page[1]:.1f} s of processor time"}]


def _timed(action: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What it gives, and its seconds on the clock and of the processor: a busy machine shows in the first alone."""
    start, busy = time.perf_counter(), time.process_time()
    found = action()
    return found, (time.perf_counter() - start, time.process_time() - busy)
