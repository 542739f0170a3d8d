"""The simulated pelvis beside a real one, in one figure: python -m MRDeltaNetLib.cohort.phantom_figure OUT.png [--real FOLDER]

FOLDER holds the DICOM files of the axial T2 series of ProstateX-0000. Every panel has the same window in units of its own pelvic fat.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.imaging.phantom import anatomy, draw_case
from MRDeltaNetLib.imaging.phantom.contrast import MEASURED_BOXES, measure_box, noise_sd
from MRDeltaNetLib.imaging.phantom.render import render
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.io.dicom import read_series

SEEDS = (11, 4, 7, 3, 25, 16)
WINDOW = (0.0, 1.45)
FIELD_MM = 190.0
MEASURED_TISSUES = ("fat", "muscle", "urine", "mesorectal_fat")


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--real", type=Path, help="folder with the DICOM files of the axial T2 series of ProstateX-0000")
    arguments = parser.parse_args()
    draw(arguments.out, arguments.real)


def draw(out: Path, real: Path | None = None, seeds: tuple[int, ...] = SEEDS) -> None:
    """Draw real slices (if given) and simulated cases before and after treatment, tumour and bed outlined.

    out   .png
    real  DICOM folder, or None
    """
    matplotlib = require("matplotlib", "The figure of the simulated pelvis")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = _real_panels(real) if real else []
    for seed in seeds:
        panels += _case_panels(seed)
    rows = len(panels) // 4
    figure, axes = plt.subplots(rows, 4, figsize=(13, 3.85 * rows), facecolor="black")
    for axis, (pixels, extent, outlines, title) in zip(axes.flat, panels):
        axis.imshow(pixels, cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], extent=extent, interpolation="bilinear")
        for mask, colour in outlines:
            if mask.any():
                axis.contour(mask, [0.5], colors=[colour], linewidths=0.7, extent=extent, origin="upper")
        middle = (extent[0] + extent[1]) / 2, (extent[2] + extent[3]) / 2
        axis.set_xlim(middle[0] - FIELD_MM / 2, middle[0] + FIELD_MM / 2)
        axis.set_ylim(middle[1] + FIELD_MM / 2, middle[1] - FIELD_MM / 2)
        axis.set_title(title, color="white", fontsize=7)
        axis.axis("off")
    figure.tight_layout(pad=0.5, h_pad=1.2)
    with atomic(out) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="black", format="png")
    plt.close(figure)


def _real_panels(folder: Path) -> list:
    image = read_series(folder, role="pre").image
    array = sitk.GetArrayFromImage(image)
    medians: dict[str, list[float]] = {}
    for tissue, centre_mm, size_mm in MEASURED_BOXES:
        medians.setdefault(tissue, []).append(measure_box(image, centre_mm, size_mm)[0])
    fat = float(np.median(medians["fat"]))
    ratios = ", ".join(f"{name} {min(medians[name]) / fat:.2f}-{max(medians[name]) / fat:.2f}" for name in ("muscle", "bladder"))
    noise = float(np.median([noise_sd(s) for s in array])) / fat
    slices = np.linspace(0.2, 0.9, 4) * (len(array) - 1)
    return [(array[int(k)] / fat, _extent(image), [], f"Real T2 (ProstateX-0000), slice {int(k) + 1} of {len(array)}\n"
             f"of fat: {ratios}, noise SD {noise:.3f}") for k in slices]


def _case_panels(seed: int) -> list:
    plan = draw_case(seed)
    fields = anatomy.Fields.of(plan.patient)
    panels = []
    for time, (grid, place, visit) in enumerate(zip(plan.grids, plan.placements, plan.visits)):
        scan = render(grid, place, plan.patient, visit, plan.latent, fields=fields, rng=np.random.default_rng([seed, 10 + time]),
                      tissues=MEASURED_TISSUES)
        array = sitk.GetArrayFromImage(scan.image)
        masks = {name: sitk.GetArrayFromImage(mask) for name, mask in scan.masks.items()}
        signal = {name: float(np.median(array[masks[name] > 0])) if masks[name].any() else np.nan for name in MEASURED_TISSUES}
        fat = signal["fat"]
        lesion = masks["bed" if time else "tumour"]
        k = int(np.argmax((masks["blob"] if time else lesion).sum(axis=(1, 2))))
        outlines = [(lesion[k], "#f0c040")]
        if time:
            outlines.append((masks["blob"][k], "#40c0f0" if plan.latent["outcome"] else "#f05050"))
        noise = float(np.median([noise_sd(s) for s in array])) / fat
        what = ("after: bed (yellow), " + ("inflammation only (blue)" if plan.latent["outcome"] else "viable tumour (red)")) if time else "before: tumour (yellow)"
        panels.append((array[k] / fat, _extent(scan.image), outlines,
                       f"Simulated {seed}, {what}\nof fat: muscle {signal['muscle'] / fat:.2f}, bladder {signal['urine'] / fat:.2f}, noise SD {noise:.3f}\n"
                       f"planted: {'blob' if time else 'tumour'} {plan.latent['blob_signal' if time else 'tumour_signal']:.2f}"
                       + (f", scar {plan.latent['fibrosis_signal']:.2f}" if time else "")))
    return panels


def _extent(image: sitk.Image) -> tuple[float, float, float, float]:
    width, height = (image.GetSize()[i] * image.GetSpacing()[i] for i in (0, 1))
    return 0.0, width, height, 0.0


if __name__ == "__main__":
    main()
