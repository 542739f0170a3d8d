"""The verdict as a plot: five tests, one line a method, what passes in one colour and what fails in another, with another marker."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort.verifying.judging import NULL, POINTING_MIN, SPEARMAN_MAX, STABILITY_MIN, Verdict
from MRDeltaNetLib.errors import require
from MRDeltaNetLib.io.atomic import atomic

PNG, SVG = "verify.png", "verify.svg"
PASSES, FAILS, GREY = "#00224d", "#b8541a", "#777777"
PANELS = ("rank correlation with the\nmap of random weights", "deletion: area less than\nof random orders", "pointing: share of hits",
          "stability: shifts (o), outlines (x)", "energy in the tumour\nminus the null's")


def draw(out: Path, verdict: Verdict, cases: Sequence[Mapping[str, Any]]) -> tuple[Path, Path]:
    """Write verify.png and verify.svg: tests on top, mean curves of deletion and insertion below."""
    matplotlib = require("matplotlib", "The plot of the maps' tests", "pip install 'mrdeltanet[cohort]'")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    keys = list(verdict.methods)
    with matplotlib.rc_context({"font.size": 9, "svg.hashsalt": "mrdeltanet", "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        top = 0.34 * len(keys) + 0.6
        figure = plt.figure(figsize=(13, top + 4.6))
        grid = figure.add_gridspec(2, 10, height_ratios=(top, 3.2), left=0.155, right=0.985, top=1 - 0.55 / (top + 4.6), bottom=0.07, hspace=0.32, wspace=0.6)
        axes = [figure.add_subplot(grid[0, 2 * place:2 * place + 2]) for place in range(len(PANELS))]
        for axis, title in zip(axes, PANELS):
            axis.set_title(title, fontsize=9)
            axis.set_ylim(-len(keys) + 0.4, 0.6)
            axis.set_yticks([-place for place in range(len(keys))], [""] * len(keys))
            axis.tick_params(axis="y", length=0)
            axis.grid(axis="y", color="#eeeeee")
            for side in ("top", "right", "left"):
                axis.spines[side].set_visible(False)
        axes[0].set_yticklabels([verdict.methods[key]["label"].split(" (")[0].split(":")[0] for key in keys])
        for key, tick in zip(keys, axes[0].get_yticklabels()):
            tick.set_color(PASSES if key in verdict.passed else FAILS if key in verdict.failed else GREY)
        for place, key in enumerate(keys):
            _line(axes, -place, verdict.methods[key], key == NULL)
        for axis, limit in ((axes[0], SPEARMAN_MAX), (axes[1], 0.0), (axes[2], POINTING_MIN), (axes[3], STABILITY_MIN), (axes[4], 0.0)):
            axis.axvline(limit, color="black", linewidth=0.8, linestyle=(0, (4, 3)))
        _curves(figure.add_subplot(grid[1, :5]), "deletion", keys, verdict, cases)
        _curves(figure.add_subplot(grid[1, 5:]), "insertion", keys, verdict, cases)
        made = out / PNG, out / SVG
        for path in made:
            with atomic(path) as temporary:
                figure.savefig(temporary, dpi=130, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)
    return made


def _line(axes: Sequence[Any], height: float, found: Mapping[str, Any], is_null: bool) -> None:
    deletion, pointing, stable = found["deletion"], found["pointing"], found["stability"]
    _point(axes[0], height, found["cascade"]["spearman"], found["cascade"]["ci"], found["cascade"]["passes"], is_null)
    _point(axes[1], height, deletion["gain"], deletion["ci"], deletion["passes"], is_null)
    if pointing["cases"]:
        _point(axes[2], height, pointing["share"], pointing["ci"], pointing["passes"], is_null)
        axes[2].plot(pointing["by_chance"], height, "|", color=GREY, markersize=9)
    for kind, marker in (("shift", "o"), ("outline", "x")):
        _point(axes[3], height, stable[kind]["spearman"], None, stable["passes"], is_null, marker)
    if not is_null:
        _point(axes[4], height, found["null"]["energy"]["difference"], found["null"]["energy"]["ci"], found["null"]["passes"], False)


def _point(axis: Any, height: float, value: float | None, ci: Sequence[float] | None, passes: bool | None, is_null: bool, marker: str = "") -> None:
    if value is None:
        axis.text(0.02, height, "not done", transform=axis.get_yaxis_transform(), va="center", fontsize=8, color=GREY)
        return
    colour = GREY if is_null or passes is None else PASSES if passes else FAILS
    if ci:
        axis.plot(ci, [height, height], color=colour, linewidth=1.5)
    axis.plot(value, height, marker=marker or ("o" if passes else "D"), color=colour, markersize=6, linestyle="none")


def _curves(axis: Any, name: str, keys: Sequence[str], verdict: Verdict, cases: Sequence[Mapping[str, Any]]) -> None:
    """Mean P of the favoured class; every method over the cases that it was asked about."""
    styles = ("-", "--", "-.", ":")
    import matplotlib.pyplot as plt

    table = plt.get_cmap("tab10")
    for place, key in enumerate(keys):
        found = [case["answer"][key][f"{name}_curve"] for case in cases if case["answer"].get(key, {}).get("finite")]
        if found:
            mean = np.mean(found, 0)
            label = verdict.methods[key]["label"].split(" (")[0].split(":")[0]
            axis.plot(np.linspace(0, 1, len(mean)), mean, styles[place % 4], color=table(place % 10), linewidth=1.4, label=f"{label} ({len(found)})")
    chance = np.mean([case["chance"][f"{name}_curve"] for case in cases], 0)
    axis.plot(np.linspace(0, 1, len(chance)), chance, color="black", linewidth=2.2, label=f"random orders ({len(cases)})")
    axis.set_title("deletion: P of the favoured class while pieces are taken away" if name == "deletion" else "insertion: while they come back", fontsize=9)
    axis.set_xlabel("share of the pieces (6 mm, both scans, outline and shell)")
    axis.set_ylim(0, 1)
    if name == "insertion":                                # its curves end above: there is room
        axis.legend(fontsize=7.5, loc="lower right", ncol=2, frameon=False, title="method (cases)", title_fontsize=7.5)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
