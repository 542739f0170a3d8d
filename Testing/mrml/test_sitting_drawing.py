"""What a program drew stays with its scan in a sitting: its name, its remarks, its probabilities in the next job, its border beside the outline."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.errors import UsageError  # noqa: E402
from MRDeltaNetLib.io.drawings import program_of, read_probability  # noqa: E402
from MRDeltaNetLib.mrml import drawn, outlines  # noqa: E402
from MRDeltaNetLib.mrml.scans import scan_from_node  # noqa: E402
from MRDeltaNetLib.mrml.sitting import drawing, jobs, outlining, results  # noqa: E402
from Testing.io.test_drawings import FACTS  # noqa: E402

TOLD = {"volume_ml": 4.5, "certain_volume_ml": 3.0, "possible_volume_ml": 6.0, "warnings": [{"code": "MRD-W370", "text": "look at it"}], "files": ["mask.nrrd"]}


def shown_in(node):
    """Ids of the views that alone show it; none: every view."""
    display = node.GetDisplayNode()
    return [display.GetNthViewNodeID(index) for index in range(display.GetNumberOfViewNodeIDs())]


@pytest.fixture
def drawing_of_post(case):
    """(sitting, mask, probability): the outline after treatment as a program drew it, with what it left beside it."""
    made, result = case
    choices, mask = made.choices, result.images["post_mask"]
    share = sitk.Cast(mask, sitk.sitkFloat32) * 0.75
    outlining.set_mask(choices, "post", mask)
    outlines.mark_automatic(choices.post_segmentation, "post_mask")
    drawing.keep_remarks(choices, "post", TOLD)
    drawn.keep(choices.post_volume, "post", share, program_of(FACTS, mask))
    return made, mask, share


def test_the_situation_says_which_outline_a_program_drew_until_a_voxel_is_changed(drawing_of_post):
    made, mask, _share = drawing_of_post
    assert made.situation().drawn_by_program == ("post",)
    assert drawing.remarks(made.choices, "post") == {name: value for name, value in TOLD.items() if name != "files"} and drawing.remarks(made.choices, "pre") == {}
    less = sitk.GetArrayFromImage(mask)
    less[tuple(np.argwhere(less)[0])] = 0
    edited = sitk.GetImageFromArray(less)
    edited.CopyInformation(mask)
    outlining.set_mask(made.choices, "post", edited)
    assert made.situation().drawn_by_program == () and drawing.remarks(made.choices, "post") == {}


def test_remarks_that_somebody_wrote_into_are_none(drawing_of_post):
    made, _mask, _share = drawing_of_post
    for text in ("{", "[]", ""):
        made.choices.post_segmentation.SetAttribute(drawing.REMARKS, text)
        assert drawing.remarks(made.choices, "post") == {}


def test_the_next_job_gets_the_probabilities_of_outlines_that_it_names(drawing_of_post):
    made, mask, share = drawing_of_post
    job = jobs.entries(made, "report", made.inputs(), made.session.path("out"))
    found, program = read_probability(job["post_probability"], scan_from_node(made.choices.post_volume, made.choices.alignment))
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(share)) and program == program_of(FACTS, mask)
    assert "pre_probability" not in job and drawing.write_drawings(made.choices, made.session, {"pre": mask}) == {}


def test_what_lies_beside_an_outline_goes_with_its_scan_and_is_shown_in_its_view_alone(scene, drawing_of_post):
    made, _mask, _share = drawing_of_post
    choices, (probability, border) = made.choices, drawn.nodes(made.choices.post_volume, "post")
    assert outlining.uncertain_borders(choices, "post") == [border] and outlining.uncertain_borders(choices, "pre") == []
    assert {probability, border, choices.post_segmentation} <= set(results.followers(choices))
    before, after = (scene.AddNewNodeByClass("vtkMRMLSliceNode", name) for name in ("before", "after"))
    outlining.keep_outlines_apart(choices, (before, after))
    assert shown_in(choices.pre_segmentation) == [before.GetID()] and shown_in(choices.post_segmentation) == shown_in(border) == [after.GetID()]
    outlining.keep_outlines_apart(choices, ())
    assert shown_in(choices.pre_segmentation) == shown_in(border) == []


def test_without_a_model_nothing_is_drawn(drawing_of_post):
    made, _mask, _share = drawing_of_post
    with pytest.raises(UsageError) as refused:
        drawing.start(made, "pre", None)
    assert refused.value.code == "MRD-E389" and not made.running


def test_an_alignment_s_and_a_report_s_node_have_names_in_the_door_s_language(scene, drawing_of_post):
    made, _mask, _share = drawing_of_post
    choices, words = made.choices, {results.ALIGNMENT_NAME: "Ausrichtung", results.REPORT_NAME: "Befund"}
    for name in ("report", "alignment_result"):
        scene.RemoveNode(getattr(choices, name))
        setattr(choices, name, None)
    results.bring_result(choices, made.last_result, {}, words.get)
    results.bring_alignment(choices, made.last_result, {}, words.get)
    assert (choices.report.GetName(), choices.alignment_result.GetName()) == ("Befund", "Ausrichtung")
