"""Results stand under the patient and the study of their scan, and no patient's name is written anywhere new."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.mrml.alignment import show_alignment  # noqa: E402
from MRDeltaNetLib.mrml.bootstrap import save_bundle  # noqa: E402
from MRDeltaNetLib.mrml.hierarchy import CASE, STUDIES, file_scans, file_under, file_under_patient, hierarchy_of, place  # noqa: E402
from MRDeltaNetLib.mrml.nodes import image_to_node  # noqa: E402
from MRDeltaNetLib.mrml.outlines import tumour_segmentation  # noqa: E402
from Testing.made_up_result import CENTRE_MM, body_with_ball, empty_image, rigid  # noqa: E402

NAME = "Doe^Jane"


@pytest.fixture
def scans(scene):
    return {role: image_to_node(body_with_ball(empty_image(), CENTRE_MM, 15), scene, role) for role in ("pre", "post")}


def parent(scene, node) -> int:
    hierarchy = hierarchy_of(scene)
    return hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))


def name(scene, item) -> str:
    return hierarchy_of(scene).GetItemName(item)


def items_named(scene, wanted) -> int:
    core = pytest.importorskip("vtkmodules.vtkCommonCore")
    found, hierarchy = core.vtkIdList(), hierarchy_of(scene)
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), found, True)
    return sum(hierarchy.GetItemName(found.GetId(index)) == wanted for index in range(found.GetNumberOfIds()))


def dicom_like(scene, scans):
    """Patient and studies as DICOM import makes them; returns (patient, role -> study)."""
    hierarchy = hierarchy_of(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), NAME)
    studies = {role: hierarchy.CreateStudyItem(patient, f"MR Pelvis {role}") for role in scans}
    for role, node in scans.items():
        place(scene, node, studies[role])
    return patient, studies


def test_scans_from_dicom_keep_their_patient_and_study_and_results_join_them(scene, scans):
    patient, studies = dicom_like(scene, scans)
    file_scans(scene, scans)
    segmentation = tumour_segmentation(scans["post"], "post")
    file_under(scene, segmentation, scans["post"])
    transform = show_alignment(scene, rigid(), scans["pre"], scans["post"], [segmentation])
    file_under_patient(scene, transform, scans["pre"])
    assert {role: parent(scene, node) for role, node in scans.items()} == studies
    assert parent(scene, segmentation) == studies["post"] and parent(scene, transform) == patient
    assert items_named(scene, CASE) == 0


def test_loose_scans_get_one_case_with_two_studies_once(scene, scans):
    for _ in range(2):
        file_scans(scene, scans)
    assert items_named(scene, CASE) == 1
    hierarchy = hierarchy_of(scene)
    for role, node in scans.items():
        study = parent(scene, node)
        assert (name(scene, study), hierarchy.GetItemLevel(study)) == (STUDIES[role], "Study")
        assert name(scene, hierarchy.GetItemParent(study)) == CASE and hierarchy.GetItemLevel(hierarchy.GetItemParent(study)) == "Patient"
    text = scene.AddNewNodeByClass("vtkMRMLTextNode", "text")
    file_under_patient(scene, text, scans["post"])
    assert name(scene, parent(scene, text)) == CASE


def test_swapped_scans_change_their_studies(scene, scans):
    file_scans(scene, scans)
    file_scans(scene, {"pre": scans["post"], "post": scans["pre"]})
    assert name(scene, parent(scene, scans["pre"])) == STUDIES["post"] and name(scene, parent(scene, scans["post"])) == STUDIES["pre"]
    assert items_named(scene, CASE) == items_named(scene, STUDIES["pre"]) == items_named(scene, STUDIES["post"]) == 1


def test_a_folder_that_the_reader_made_is_left_as_it_is(scene, scans):
    hierarchy = hierarchy_of(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "my folder")
    for node in scans.values():
        place(scene, node, folder)
    file_scans(scene, scans)
    text = scene.AddNewNodeByClass("vtkMRMLTextNode", "text")
    file_under_patient(scene, text, scans["pre"])
    assert parent(scene, scans["pre"]) == parent(scene, text) == folder and items_named(scene, CASE) == 0


def test_two_loose_pairs_are_two_cases(scene, scans):
    file_scans(scene, scans)
    other = {role: image_to_node(empty_image(), scene, f"other {role}") for role in ("pre", "post")}
    file_scans(scene, other)
    assert items_named(scene, CASE) == 2
    hierarchy = hierarchy_of(scene)
    assert len({hierarchy.GetItemParent(parent(scene, node)) for node in (*scans.values(), *other.values())}) == 2


def test_a_patients_name_is_written_nowhere_but_where_it_was(scene, scans, load, tmp_path):
    dicom_like(scene, scans)
    file_scans(scene, scans)
    node = tumour_segmentation(scans["pre"], "pre")
    file_under(scene, node, scans["pre"])
    save_bundle(scene, tmp_path / "scene.mrb")
    again = load(tmp_path / "scene.mrb")
    assert again.GetNumberOfNodes() > 0 and items_named(again, NAME) == 1
    names = [again.GetNthNode(index).GetName() or "" for index in range(again.GetNumberOfNodes())]
    assert not any("Doe" in name for name in names)
    loaded = again.GetFirstNodeByName("Pre-treatment segmentation")
    assert name(again, parent(again, loaded)) == "MR Pelvis pre"
