"""Outlines that nnU-Net draws for a sitting: the run, the suggestion that it leaves in the scene, and what a job says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io.drawings import header_of, read_probability
from MRDeltaNetLib.io.images import read_plain, write_image
from MRDeltaNetLib.io.nnunet_model import read_nnunet_model
from MRDeltaNetLib.io.segment_jobs import segment_job
from MRDeltaNetLib.io.transforms import write_transform
from MRDeltaNetLib.mrml import drawn, hierarchy, outlines
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting import outlining
from MRDeltaNetLib.workflow.texts import _

STEPS = {"pre": "automatic_pre", "post": "automatic_post"}
"""Whose outline is drawn -> the name of its run."""

MASK, PROBABILITY = "mask.nrrd", "mask-probability.nrrd"

REMARKS = "MRDeltaNet.drawnByProgram"
"""Attribute of a segmentation: what the last drawing run told of its outline, JSON."""

TOLD = ("volume_ml", "certain_volume_ml", "possible_volume_ml", "warnings")


def start(sitting: Any, role: str, model: Path | None, before: Callable[[Any], None] = lambda segmentation: None) -> None:
    """Let a model draw on one scan, in a child process; sitting.poll() tells how it goes.

    role    "pre" or "post"
    model   folder of a trained nnU-Net model that the user approved, or None
    before  called with the segmentation, or None, right before the drawing replaces what is in it: strokes drawn meanwhile can be kept for undo
    raises  UsageError MRD-E843 if another run goes on, MRD-E389 without a model; what sitting.inputs() raises
    """
    sitting.refuse_second_run()
    if model is None:
        raise UsageError(_("No model was chosen that could draw"), code="MRD-E389", fix=_("choose the folder of a trained nnU-Net model"))
    pair, out = sitting.inputs(), sitting.fresh_folder("automatic")
    job = {"image": str(sitting.session.write(role, pair.scans[role])), "model": str(model), "out": str(out / MASK), "role": role,
           "device": sitting.choices.device}
    if len(read_nnunet_model(model).channels) == 2:
        job |= _other_scan(sitting, pair, role)
    checked = segment_job(job)

    def bring(folder: Path) -> None:
        before(getattr(sitting.choices, given.OUTLINES[role][1]))
        bring_drawing(sitting.choices, role, folder)
        keep_remarks(sitting.choices, role, sitting.told)

    sitting.start_other(STEPS[role], lambda worker: worker.start_segmentation(checked), out, bring)


def bring_drawing(choices: Any, role: str, out: Path) -> None:
    """The drawing of a finished run in place of that outline, named as what it is until a reader changes it; its probabilities beside it.

    raises  InputError of io.images and io.drawings; then nothing of the scene has changed
    """
    volume_name, segmentation_name, segment_id = given.OUTLINES[role]
    volume = getattr(choices, volume_name)
    mask, share = read_plain(out / MASK), read_probability(out / PROBABILITY, scan_from_node(volume, volume.GetParentTransformNode()))
    outlining.set_mask(choices, role, mask)
    segmentation = getattr(choices, segmentation_name)
    outlines.mark_automatic(segmentation, segment_id)
    scene, shown = volume.GetScene(), segmentation.GetDisplayNode()
    views = filter(None, (scene.GetNodeByID(shown.GetNthViewNodeID(index)) for index in range(shown.GetNumberOfViewNodeIDs())))
    for node in drawn.keep(volume, role, *share, views):
        hierarchy.file_under(scene, node, volume)


def write_drawings(choices: Any, session: Any, masks: Mapping[str, Any]) -> dict[str, str]:
    """What a job says of outlines that nnU-Net began: "pre_probability", "post_probability" -> file.

    session  folder.Session; masks  the outlines that the job names
    """
    found = {}
    for role in STEPS:
        kept = drawn.kept(getattr(choices, given.OUTLINES[role][0]), role) if role in masks else None
        if kept is not None:
            path = session.path(f"{role}_probability.nrrd")
            write_image(kept[0], path, header=header_of(kept[1]))
            found[f"{role}_probability"] = str(path)
    return found


def drawn_by_program(choices: Any, role: str) -> bool:
    """Whether an outline ("pre" or "post") is as the program drew it: its name says so until a reader changes a voxel."""
    segmentation = getattr(choices, given.OUTLINES[role][1])
    segment = None if segmentation is None else segmentation.GetSegmentation().GetSegment(given.OUTLINES[role][2])
    return segment is not None and segment.GetName().endswith(outlines.AUTOMATIC)


def keep_remarks(choices: Any, role: str, summary: Mapping[str, Any]) -> None:
    """What the run told of its drawing, kept with the outline. summary: of segmenting.as_summary"""
    kept = {name: summary[name] for name in TOLD if name in summary}
    getattr(choices, given.OUTLINES[role][1]).SetAttribute(REMARKS, json.dumps(kept))


def remarks(choices: Any, role: str) -> dict[str, Any]:
    """The same while the outline is as the program drew it; else nothing."""
    if not drawn_by_program(choices, role):
        return {}
    try:
        found = json.loads(getattr(choices, given.OUTLINES[role][1]).GetAttribute(REMARKS) or "{}")
    except ValueError:                                   # somebody wrote into it
        return {}
    return found if isinstance(found, dict) else {}


def _other_scan(sitting: Any, pair: given.Inputs, role: str) -> dict[str, str]:
    """The second channel, and the accepted alignment if there is one."""
    other = "post" if role == "pre" else "pre"
    found = {"other": str(sitting.session.write(other, pair.scans[other]))}
    if pair.transform is not None:
        path = sitting.session.path("between.tfm")
        write_transform(pair.transform if role == "pre" else sitk.Transform(pair.transform).GetInverse(), path)
        found["transform"] = str(path)
    return found
