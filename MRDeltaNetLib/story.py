"""What a run tells while it goes on and afterwards: progress by step, warnings, and a history with wall times."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Iterator

from MRDeltaNetLib.errors import InputError, Notice, OutOfMemory
from MRDeltaNetLib.progress import Progress, part

SHARES = {"align": (0.05, 0.55), "masks": (0.55, 0.62), "predict": (0.62, 0.80), "explain": (0.80, 1.0), "prepare": (0.62, 1.0)}
"""Each step's share of the bar, by how long it takes on a CPU; "prepare" ends a case of a cohort."""

TITLES = {"align": "Aligning the scans", "masks": "Measuring the tumour", "predict": "Predicting", "explain": "Explaining",
          "prepare": "Preparing the crop"}


class Story:
    """What happened so far: warnings, and one history entry a step with its wall time."""

    def __init__(self, notices: list[Notice], progress: Progress) -> None:
        self.notices, self.history, self._progress = notices, [], progress

    @contextmanager
    def step(self, name: str, parameters: dict[str, Any]) -> Iterator[Progress]:
        """Run one step; an ITK or memory failure inside becomes an error that says what to do."""
        bar = part(self._progress, *SHARES[name])
        bar(0.0, TITLES[name])
        start = time.perf_counter()
        try:
            yield bar
        except MemoryError as cause:
            raise _out_of_memory(name) from cause
        except RuntimeError as cause:
            if "allocate" in str(cause).lower() or "out of memory" in str(cause).lower():
                raise _out_of_memory(name) from cause
            raise InputError(f"The step '{name}' stopped inside an image library", code="MRD-E720", found=type(cause).__name__,
                             fix="run `mrdeltanet check` on the same scans; if it finds nothing, report the log") from cause
        self.history.append({"step": name, "parameters": parameters, "seconds": round(time.perf_counter() - start, 3)})


def _out_of_memory(step: str) -> OutOfMemory:
    return OutOfMemory(f"The step '{step}' ran out of memory", code="MRD-E721",
                       fix="close other programs, or crop the scans to the pelvis; 4 GB of free memory are enough for 320 x 320 x 30 voxels")
