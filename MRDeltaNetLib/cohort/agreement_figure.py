"""Bland and Altman's picture of two readers' volumes: difference against mean, one panel an outline."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort.agreement_statistics import limits_of_agreement
from MRDeltaNetLib.errors import require
from MRDeltaNetLib.io.atomic import atomic

FIGURE = "bland_altman.png"
POINT, LINE = "#00224d", "#b8541a"


def draw(path: Path, volumes_ml: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Write the picture. volumes_ml: title -> (A, B) of each pair, mL; titles without a pair are left out"""
    matplotlib = require("matplotlib", "The Bland-Altman figure", "pip install 'mrdeltanet[cohort]'")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = {title: np.array(pairs, float) for title, pairs in volumes_ml.items() if len(pairs)}
    with matplotlib.rc_context({"font.size": 10, "font.family": "DejaVu Sans"}):
        figure, axes = plt.subplots(1, len(shown), figsize=(4.6 * len(shown), 3.8), squeeze=False, constrained_layout=True)
        for axis, (title, pairs) in zip(axes[0], shown.items()):
            _panel(axis, title, pairs)
        axes[0][0].set_ylabel("volume, reader B - reader A (mL)")
        with atomic(path) as temporary:
            figure.savefig(temporary, dpi=150, format="png")
        plt.close(figure)


def _panel(axis, title: str, pairs: np.ndarray) -> None:
    means, differences = pairs.mean(1), pairs[:, 1] - pairs[:, 0]
    axis.axhline(0, color="black", linewidth=0.8)
    axis.plot(means, differences, "o", color=POINT, markersize=5, alpha=0.7, markeredgewidth=0)
    found = limits_of_agreement(differences)
    for value, style, name in ((found.bias, "-", "mean"), (found.lower, "--", "lower limit"), (found.upper, "--", "upper limit")):
        if value is not None:
            axis.axhline(value, color=LINE, linewidth=1.3, linestyle=style)
            axis.annotate(f"{name} {value:+.1f}", (1.0, value), xycoords=("axes fraction", "data"), xytext=(-3, 3), textcoords="offset points", ha="right",
                          va="bottom", fontsize=8.5, color=LINE)
    axis.set_title(f"{title} (n = {len(pairs)})", fontsize=10)
    axis.set_xlabel("mean of both readers (mL)")
    axis.margins(x=0.08, y=0.2)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
