"""All controls beside the model: AUC with its interval, one line each, and the difference in words."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.cohort.controls.story import CONTROLS, TITLES, is_open, is_worse, p_text
from MRDeltaNetLib.errors import require
from MRDeltaNetLib.io.atomic import atomic

MODEL_COLOUR, WORSE_COLOUR, LEVEL_COLOUR = "#00224d", "#575d6d", "#b8541a"
"""Model; controls that are worse, as they should be; controls that are not. The last also have another marker."""


def draw(folder: Path, results: Mapping[str, Mapping[str, Any]], sentence: str) -> tuple[Path, Path]:
    """Write controls.png and controls.svg; the model on top, its interval as a band through all lines."""
    matplotlib = require("matplotlib", "The figure of the controls", "pip install 'mrdeltanet[cohort]'")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in ("model", *CONTROLS) if name in results]
    wrapped = textwrap.fill(re.sub(r"p ([<=]) ", "p\u00a0\\1\u00a0", sentence), 108)                     # "p = 0.03" stays on one line
    head = 0.62 + 0.2 * (wrapped.count("\n") + 1)
    height = 0.42 * len(names) + 1.0 + head
    with matplotlib.rc_context({"font.size": 10, "svg.hashsalt": "mrdeltanet", "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        figure, axis = plt.subplots(figsize=(10, height))
        figure.subplots_adjust(left=0.235, right=0.70, top=1 - head / height, bottom=0.72 / height)
        lower, upper = results["model"]["ci"]
        axis.axvspan(lower, upper, color=MODEL_COLOUR, alpha=0.08, linewidth=0)
        axis.axvline(0.5, color="black", linewidth=0.8, linestyle=(0, (4, 3)))
        for place, name in enumerate(names):
            _line(axis, -place, name, results[name])
        axis.set_yticks([-k for k in range(len(names))], [TITLES[name] for name in names])
        axis.get_yticklabels()[0].set_fontweight("bold")
        axis.set_ylim(-len(names) + 0.4, 0.6)
        axis.set_xlim(min(0.3, *(results[name]["ci"][0] - 0.03 for name in names)), 1.0)
        axis.set_xlabel("AUC with 95 % interval; dashed: chance; band: the model's interval")
        axis.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
        axis.text(1.03, 1.0, "AUC", transform=axis.transAxes, ha="left", va="bottom", fontsize=9, color="#444444")
        axis.text(1.17, 1.0, "control - model (DeLong)", transform=axis.transAxes, ha="left", va="bottom", fontsize=9, color="#444444")
        figure.text(0.02, 1 - 0.12 / height, wrapped, ha="left", va="top", fontsize=10, linespacing=1.25)
        made = folder / "controls.png", folder / "controls.svg"
        for path in made:
            with atomic(path) as temporary:
                figure.savefig(temporary, dpi=150, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)
    return made


def _line(axis, height: float, name: str, result: Mapping[str, Any]) -> None:
    plain = name == "model" or is_worse(result)
    colour = MODEL_COLOUR if name == "model" else WORSE_COLOUR if plain else LEVEL_COLOUR
    axis.plot(result["ci"], [height, height], color=colour, linewidth=2.2 if name == "model" else 1.5, solid_capstyle="round")
    axis.plot(result["auc"], height, marker="o" if plain else "D", color=colour, markersize=8 if name == "model" else 6, clip_on=False)
    text = {"transform": axis.get_yaxis_transform(), "va": "center", "ha": "left", "color": colour, "fontsize": 9.5}
    axis.text(1.03, height, f"{result['auc']:.2f}", **text)
    if name != "model":
        axis.text(1.17, height, f"{result['difference']:+.2f}, {p_text(result['delong_p'])}{'' if plain else ': too few cases' if is_open(result) else ': not worse'}", **text)
