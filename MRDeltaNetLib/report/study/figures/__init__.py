"""Every kind of figure of a study: how it is drawn, and what it says in words. One file a family; the data of a kind is told at its function."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from MRDeltaNetLib.report.study.figures.boxes import boxes, say_boxes
from MRDeltaNetLib.report.study.figures.calibration import calibration, say_calibration
from MRDeltaNetLib.report.study.figures.decision import decision_curve, say_decision_curve
from MRDeltaNetLib.report.study.figures.discrimination import precision_recall, roc, say_precision_recall, say_roc
from MRDeltaNetLib.report.study.figures.flow import flow, say_flow
from MRDeltaNetLib.report.study.figures.forest import forest, say_forest
from MRDeltaNetLib.report.study.figures.heatmap import heatmap, say_heatmap
from MRDeltaNetLib.report.study.figures.survival import kaplan_meier, say_kaplan_meier, say_schoenfeld, say_time_dependent_auc, schoenfeld, time_dependent_auc

DRAWN: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "flow": flow, "roc": roc, "precision_recall": precision_recall, "calibration": calibration, "decision_curve": decision_curve, "forest": forest,
    "kaplan_meier": kaplan_meier, "time_dependent_auc": time_dependent_auc, "schoenfeld": schoenfeld, "boxes": boxes, "heatmap": heatmap}
"""Kind of an evaluation.Figure -> function that draws its data and gives a matplotlib figure; to be called within style.drawing()."""

SAID: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "flow": say_flow, "roc": say_roc, "precision_recall": say_precision_recall, "calibration": say_calibration, "decision_curve": say_decision_curve,
    "forest": say_forest, "kaplan_meier": say_kaplan_meier, "time_dependent_auc": say_time_dependent_auc, "schoenfeld": say_schoenfeld, "boxes": say_boxes,
    "heatmap": say_heatmap}
"""Kind -> function that says in a few sentences what its data shows, for readers who do not see the figure."""
