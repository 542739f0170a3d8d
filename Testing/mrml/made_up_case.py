"""A whole made-up case in a scene, as two runs would have brought it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.io.results import write_results
from MRDeltaNetLib.mrml.nodes import image_to_node
from MRDeltaNetLib.mrml.sitting import outlining, results
from MRDeltaNetLib.report.html import write_report
from Testing.made_up_result import complete_result

NAMES = {"pre": "Before treatment", "post": "After treatment"}


def finished_run(folder, kind_pre="straight", kind_post="oblique"):
    """(made-up result, its folder as a run leaves it)"""
    result = complete_result(kind_pre, kind_post)
    result = replace(result, map_facts={name: {**facts, "unit": "a share of one"} for name, facts in result.map_facts.items()})
    write_results(result, folder, manifest={}, also=lambda unfinished: [write_report(result, unfinished / "report.html").name])
    return result, folder


def scans(scene, choices, result):
    """Both scans of a result, chosen."""
    choices.pre_volume, choices.post_volume = (image_to_node(result.images[role], scene, NAMES[role]) for role in ("pre", "post"))


def outlined(choices, result):
    """The outlines of a result as a person drew them."""
    for role in ("pre", "post", "residual"):
        outlining.set_mask(choices, role, result.images[f"{role}_mask"])


def brought(sitting, folder):
    """Alignment and prediction of a finished run, made with what is in the scene now."""
    results.bring_alignment(sitting.choices, folder, sitting.fingerprint("align", sitting.inputs()))
    results.bring_result(sitting.choices, folder, sitting.fingerprint("predict", sitting.inputs()))
    sitting.last_result = sitting.last_alignment = folder
    sitting.settle()


def filled(scene, sitting, result, folder):
    """A whole case: scans, outlines, alignment, prediction, maps, report."""
    scans(scene, sitting.choices, result)
    outlined(sitting.choices, result)
    brought(sitting, folder)


def same_image(one, other):
    return (np.array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other)) and np.allclose(one.GetOrigin(), other.GetOrigin(), atol=1e-4)
            and np.allclose(one.GetSpacing(), other.GetSpacing(), atol=1e-5) and np.allclose(one.GetDirection(), other.GetDirection(), atol=1e-5))
