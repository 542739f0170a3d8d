"""The simulated sample pair: nothing is downloaded, a child process simulates it, so that the truth about it is known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

import SimpleITK as sitk

from MRDeltaNetLib.io.images import read_plain
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting import outlining
from MRDeltaNetLib.mrml.sitting.choices import SCANS
from MRDeltaNetLib.processes.launching import module_command

STEP = "sample"
"""The name of its run."""

SEED = 1
"""The pair of `make demo`."""


def start(sitting: Any, choose: Callable[[dict[str, sitk.Image]], None]) -> None:
    """Simulate the pair in a child process; sitting.poll() brings it in when it is done.

    choose  puts both scans ("pre", "post" -> image) into the scene and chooses them, in the door's own way
    raises  UsageError MRD-E843 if another run goes on
    """
    sitting.refuse_second_run()
    out = sitting.fresh_folder(STEP)
    command = module_command("MRDeltaNetLib.sample", str(out), "--seed", str(SEED), python=sitting.door.python or sys.executable)

    sitting.start_other(STEP, lambda worker: worker.start_command(command), out, lambda folder: bring(sitting, folder, choose), of_this_pair=False)


def bring(sitting: Any, folder: Path, choose: Callable[[dict[str, sitk.Image]], None]) -> None:
    """The pair with the outlines that the simulation knows, and its truth as the reader's statement: an empty outline alone states nothing."""
    masks = {role: read_plain(folder / f"{role}_mask.nrrd") for role in given.OUTLINES}
    choose({role: read_plain(folder / f"{role}.nrrd") for role in SCANS})
    sitting.settle()
    for role, mask in masks.items():
        outlining.set_mask(sitting.choices, role, mask)
    sitting.choices.complete_response = not sitk.GetArrayViewFromImage(masks["residual"]).any()
    sitting.choices.mrtrg = None
