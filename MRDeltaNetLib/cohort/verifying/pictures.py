"""One case as a picture: both scans with their outlines, and every method's maps on the slice of the tumour. For looking at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from MRDeltaNetLib.colours import CIVIDIS, OUTLINES, OVERLAY_OPACITY, OVERLAY_THRESHOLD, SIGNED
from MRDeltaNetLib.cohort.verifying.measuring import Subject, maps_of
from MRDeltaNetLib.errors import require
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution import METHODS
from MRDeltaNetLib.response.attribution.readout import VISITS

if TYPE_CHECKING:
    import torch

FOLDER = "pictures"
WINDOW = (-2.5, 3.5)
"""Grey scale of the prepared scans, z-score units."""

TITLES = {"pre": "before treatment", "post": "after treatment"}


def draw(path: Path, network: "torch.nn.Module", subject: Subject, keys: Sequence[str], progress: Progress = silent) -> None:
    """Write a PNG: a column a method, the scan before treatment above, the one after below; residual tumour dotted.

    Maps are towards the class that the model favours (signed ones: orange for it, blue against it), both scans of a method on one scale, inside outline and
    shell as they are judged; what is near zero is clear.
    """
    matplotlib = require("matplotlib", "Pictures of maps", "pip install 'mrdeltanet[cohort]'")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    x, spacing = subject.x.cpu().numpy(), network.geometry.spacing_mm
    made = {key: maps for key in keys if (maps := maps_of(key, network, subject, progress=progress)) is not None}
    slices = [_slice(x[time, 1], subject.blob.inside if time == 1 and subject.blob is not None else None) for time in (0, 1)]
    with matplotlib.rc_context({"font.size": 8, "font.family": "DejaVu Sans"}):
        figure, axes = plt.subplots(2, len(made) + 1, figsize=(1.55 * (len(made) + 1), 3.75), squeeze=False)
        figure.subplots_adjust(left=0.03, right=0.995, top=0.84, bottom=0.01, wspace=0.04, hspace=0.04)
        for column, key in enumerate((None, *made)):
            maps = made.get(key, {})
            top = max((float(np.abs(values[subject.regions[visit]]).max()) for visit, values in maps.items()), default=0.0) or 1.0
            for time, visit in enumerate(VISITS):
                axis, at = axes[time][column], slices[time]
                axis.imshow(x[time, 0, at], cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], aspect=spacing[1] / spacing[0], interpolation="nearest")
                if visit in maps:
                    signed = METHODS[key].signed
                    clear = ~subject.regions[visit][at] | (np.abs(maps[visit][at]) < OVERLAY_THRESHOLD * top)
                    values = np.ma.masked_where(clear, maps[visit][at])
                    axis.imshow(values, cmap=ListedColormap((SIGNED if signed else CIVIDIS) / 255), vmin=-top if signed else 0.0, vmax=top, alpha=OVERLAY_OPACITY,
                                aspect=spacing[1] / spacing[0])
                _outlines(axis, subject, x, time, at)
                axis.set_xticks([]), axis.set_yticks([])
                if key is not None and visit not in maps:
                    axis.text(0.5, 0.04, "no map", transform=axis.transAxes, ha="center", color="white", fontsize=7)
            axes[0][column].set_title("scan" if key is None else METHODS[key].label.split(" (")[0].split(":")[0].replace(" ", "\n", 1), fontsize=8)
        for time, visit in enumerate(VISITS):
            axes[time][0].set_ylabel(TITLES[visit], fontsize=8)
        right = {True: "right", False: "wrong", None: "outcome not known"}[subject.right]
        residual = "; dotted: residual tumour" if subject.blob is not None else "; no residual tumour"
        figure.suptitle(f"P(pCR) {subject.p_pcr:.2f}, favours {subject.toward} ({right}); maps towards {subject.toward}{residual}", fontsize=9)
        with atomic(path) as temporary:
            figure.savefig(temporary, dpi=120, format="png")
        plt.close(figure)


def _slice(roi: np.ndarray, residual: np.ndarray | None) -> int:
    """The slice with most of the residual tumour, or of the outline."""
    return int((roi if residual is None else residual).sum((1, 2)).argmax())


def _outlines(axis: Any, subject: Subject, x: np.ndarray, time: int, at: int) -> None:
    name = ("pre_mask", "post_mask")[time]
    drawn = [(OUTLINES[name], x[time, 1, at])]
    if time == 1 and subject.blob is not None:
        drawn.append((OUTLINES["residual_mask"], subject.blob.inside[at].astype(float)))
    for look, values in drawn:
        if values.max() > 0.5:
            axis.contour(values, [0.5], colors=[tuple(part / 255 for part in look.rgb)], linewidths=1.0, linestyles=look.style)
