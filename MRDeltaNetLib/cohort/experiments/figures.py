"""Plots of the records: the misalignment curve, the ordering, reliability, centres. SVG and PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from MRDeltaNetLib.cohort.experiments import alignment, ordering
from MRDeltaNetLib.cohort.experiments.grid import CURVE, SHIFTS_MM, TRAININGS, VOLUMES
from MRDeltaNetLib.cohort.experiments.tables import AVERAGE, Records, auc, curve, seeds_of
from MRDeltaNetLib.errors import require
from MRDeltaNetLib.imaging.phantom.contrast import SCANNERS
from MRDeltaNetLib.io.atomic import atomic

STYLES = {"anchored": ("#0072B2", "o", "-"), "roi_pooled": ("#E69F00", "s", "-"), AVERAGE: ("#000000", "D", "-"), "subtract": ("#D55E00", "x", "--"),
          "gated_subtract": ("#D55E00", "+", ":"), "local": ("#009E73", "^", "--"), "full": ("#009E73", "v", ":"), "latent": ("#CC79A7", "<", "--"),
          "anchored+latent": ("#56B4E9", ">", "-."), "prior": ("#0072B2", ".", ":")}
"""Colour (Okabe and Ito, told apart with colour vision deficiency), marker and line of each model: nothing is told by colour alone."""

TRAINED = {"aligned": "on aligned scans with good outlines", "random": "with random misplacement and outline errors"}


def draw(records: Records, out: Path) -> list[Path]:
    """Every plot that the records allow; returns the files."""
    found = []
    for name, plot in (("alignment", _alignment), ("ordering", _ordering), ("centres", _centres)):
        figure = plot(records)
        if figure is not None:
            found += _saved(figure, Path(out) / name)
    return found


def _plt():
    require("matplotlib", "The plots of the experiments", "pip install 'mrdeltanet[cohort]'").use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _saved(figure, stem: Path) -> list[Path]:
    files = [stem.with_suffix(suffix) for suffix in (".svg", ".png")]
    for file in files:
        with atomic(file) as temporary:
            figure.savefig(temporary, dpi=150, bbox_inches="tight", metadata={"Date": None} if file.suffix == ".svg" else None)
    _plt().close(figure)
    return files


def _alignment(records: Records):
    found = {(model, training): values for training in TRAININGS for model in (*alignment.MODELS, AVERAGE)
             if (values := curve(records, model, training)) is not None}
    if not found:
        return None
    figure, axes = _plt().subplots(len(TRAININGS), 2, figsize=(11, 3.9 * len(TRAININGS)), sharex=True, sharey=True, squeeze=False,
                                   layout="constrained")
    names = list(CURVE)
    for row, training in zip(axes, TRAININGS):
        for axis, outline in zip(row, ("good", "bad")):
            columns = [names.index(f"{shift}-{outline}") for shift in SHIFTS_MM]
            for (model, trained), values in found.items():
                if trained == training:
                    colour, marker, line = STYLES[model]
                    mean = values[:, columns].mean(0)
                    axis.plot(SHIFTS_MM, mean, color=colour, marker=marker, linestyle=line, label=model)
                    axis.vlines(SHIFTS_MM, values[:, columns].min(0), values[:, columns].max(0), color=colour, alpha=0.4)
            axis.axhline(0.5, color="grey", linewidth=0.7)
            axis.set_title(f"trained {TRAINED[training]}\ntested with {outline} outlines", fontsize=10)
            axis.set_xticks(SHIFTS_MM)
            axis.grid(alpha=0.3)
        row[0].set_ylabel("test AUC (bars: seeds)")
    for axis in axes[-1]:
        axis.set_xlabel("post scan misplaced in plane, mm")
    shown = {label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels())}
    models = [model for model in (*alignment.MODELS, AVERAGE) if model in shown]
    figure.legend([shown[model] for model in models], models, loc="outside lower center", ncol=5, frameon=False)
    return figure


def _ordering(records: Records):
    rows = [("volumes only", [records[VOLUMES]] if VOLUMES in records else [], "0-good")]
    rows += [(label, seeds_of(records, model, "aligned"), "0-good")
             for label, model in (("shuffled labels", "shuffled"), ("pre only", "pre_only"), ("post only", "post_only"), *((m, m) for m in ordering.LONGITUDINAL))]
    rows += [(f"{model}, {words}", seeds_of(records, model, "aligned"), change) for model in ordering.LONGITUDINAL
             for change, words in (("wrong_patient", "another's baseline"), ("swapped", "visits exchanged"))]
    rows = [(label, [auc(record, condition) for record in found]) for label, found, condition in rows if found]
    if not rows:
        return None
    figure, axis = _plt().subplots(figsize=(7, 0.35 * len(rows) + 1.2))
    for height, (_, values) in enumerate(reversed(rows)):
        axis.plot(values, [height] * len(values), "o", color="#0072B2", alpha=0.6)
        axis.plot([np.mean(values)], [height], "|", color="black", markersize=14)
    axis.set_yticks(range(len(rows)), [label for label, _ in reversed(rows)])
    axis.axvline(0.5, color="grey", linewidth=0.7)
    axis.set_xlabel("test AUC (dot: seed, bar: mean)")
    axis.grid(alpha=0.3, axis="x")
    return figure


def _centres(records: Records):
    mixes = [mix for mix in ("balanced", "confounded")
             if all(f"centres-{mix}-{kind}-0" in records for kind in (*(f"without-{s}" for s in SCANNERS), *(f"random-{f}" for f in range(len(SCANNERS)))))]
    if not mixes:
        return None
    figure, axis = _plt().subplots(figsize=(6, 3.2))
    for height, (mix, kind) in enumerate((mix, kind) for mix in mixes for kind in ("random", "without")):
        ends = range(len(SCANNERS)) if kind == "random" else SCANNERS
        values = [auc(records[f"centres-{mix}-{kind}-{end}-0"]) for end in ends]
        axis.plot(values, [height] * len(values), "o" if kind == "random" else "s", color="#0072B2" if kind == "random" else "#D55E00")
        axis.plot([np.mean(values)], [height], "|", color="black", markersize=14)
    axis.set_ylim(-0.5, 2 * len(mixes) - 0.5)
    axis.set_yticks(range(2 * len(mixes)), [f"{mix}, {words}" for mix in mixes for words in ("random quarter", "scanner left out")])
    axis.set_xlabel("test AUC")
    axis.grid(alpha=0.3, axis="x")
    return figure
