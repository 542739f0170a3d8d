"""Held-out cases with the true outline, the drawn one and its uncertain border, from the worst Dice to the best, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.imaging.preprocessing.grids import in_axial_order
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.io.drawings import HIGH, LOW
from MRDeltaNetLib.io.images import read_plain

CASES = 6
HALF_MM = 45.0
"""Half the width of what is shown, about the tumour's middle."""


def write_figure(cases: Sequence[tuple[str, float, Path, Path, Path]], path: Path) -> None:
    """Write the picture.

    cases  (id, Dice, scan, true mask, probabilities), all files on one grid; six of them are shown, evenly from the worst to the best
    """
    matplotlib = require("matplotlib", "The figure of drawn outlines", "pip install 'mrdeltanet[cohort]'")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    ordered = sorted(cases, key=lambda case: case[1])
    chosen = [ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, min(CASES, len(ordered)))]
    figure, axes = plt.subplots(1, len(chosen), figsize=(2.4 * len(chosen), 2.8), squeeze=False, layout="constrained")
    for axis, case in zip(axes[0], chosen):
        _show(axis, *case)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=130)
    plt.close(figure)


def _show(axis, name: str, dice: float, scan_file: Path, truth_file: Path, probability_file: Path) -> None:
    """The slice with most of the true tumour."""
    scan, truth, share = (in_axial_order(read_plain(path)) for path in (scan_file, truth_file, probability_file))
    marked = sitk.GetArrayFromImage(truth) > 0
    number = int(marked.sum(axis=(1, 2)).argmax())
    middle = np.argwhere(marked[number]).mean(0)
    spacing = np.array(scan.GetSpacing())[:2][::-1]
    low, high = (np.clip(np.rint(middle + sign * HALF_MM / spacing).astype(int), 0, marked.shape[1:]) for sign in (-1, 1))
    window = (number, slice(low[0], high[0]), slice(low[1], high[1]))
    image = sitk.GetArrayFromImage(scan)[window]
    axis.imshow(image, cmap="gray", vmin=np.percentile(image, 1), vmax=np.percentile(image, 99), aspect=spacing[0] / spacing[1], interpolation="bilinear")
    axis.contour(marked[window], levels=[0.5], colors="#00c800", linewidths=1.2)
    axis.contour(sitk.GetArrayFromImage(share)[window], levels=[LOW, 0.5, HIGH], colors=["#ffd000", "#ff3030", "#ffd000"], linewidths=[0.6, 1.2, 0.6])
    axis.set_title(f"{name}: {dice:.2f}", fontsize=8)
    axis.axis("off")
