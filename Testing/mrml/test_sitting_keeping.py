"""A case folder gives a sitting back as it was, whatever way its scans are stored and whatever was going on when it was left."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.case_folder import FILE
from MRDeltaNetLib.mrml.nodes import image_from_node, image_to_node
from MRDeltaNetLib.mrml.sitting import Choices, Door, Sitting, keeping, outlining, results
from MRDeltaNetLib.mrml.sitting.runs import Run
from MRDeltaNetLib.workflow import Outline
from Testing.made_up_result import complete_result
from Testing.mrml.made_up_case import NAMES, brought, filled, same_image, scans


@pytest.fixture
def again(scene, tmp_path):
    """again() -> a fresh sitting that took the case folder up."""
    made = []

    def taken_up():
        made.append(Sitting(Choices(), Door(), base=tmp_path / f"other{len(made)}"))
        keeping.take_up(made[-1], tmp_path / "case", scene, NAMES, lambda volume, path: None)
        return made[-1]

    yield taken_up
    for sitting in made:
        sitting.close()


def keep(sitting, tmp_path):
    keeping.write(keeping.collected(sitting), sitting.session, tmp_path / "case")


@pytest.mark.parametrize("kinds", [("oblique", "axis-permuted"), ("left-handed", "oblique"), ("axis-permuted", "flipped")], ids="-".join)
def test_a_case_comes_back_from_its_folder_whatever_way_its_scans_are_stored(scene, tmp_path, again, finished, kinds):
    result, folder = finished(*kinds)
    first = Sitting(Choices(mrtrg=3, map_opacity=0.25), Door(), base=tmp_path / "base")
    filled(scene, first, result, folder)
    keep(first, tmp_path)
    first.close()
    back = again()
    found = back.inputs()
    assert all(same_image(found.scans[role], result.images[role]) for role in ("pre", "post"))
    assert all(same_image(found.masks[role], result.images[f"{role}_mask"]) for role in ("pre", "post", "residual"))
    maps = results.maps(back.choices)
    assert {"attention_pre", "attention_post", "change_post"} <= set(maps)
    assert all(same_image(image_from_node(node, node.GetParentTransformNode()), result.images[name]) for name, node in maps.items())
    situation = back.situation()
    assert situation.aligned and situation.prediction is not None and not situation.prediction.stale and not situation.report_outdated
    assert (back.choices.mrtrg, back.choices.map_opacity) == (3, 0.25) and (back.result_folder() / "report.html").is_file()
    kept = (tmp_path / "case" / FILE).read_bytes()
    keep(back, tmp_path)
    assert (tmp_path / "case" / FILE).read_bytes() == kept


def test_a_collection_is_equal_exactly_while_nothing_changed(case):
    sitting, result = case
    before = keeping.collected(sitting).state()
    assert keeping.collected(sitting).state() == before
    outlining.set_mask(sitting.choices, "pre", sitk.BinaryErode(result.images["pre_mask"], (1, 1, 0)))
    assert keeping.collected(sitting).state() != before


def test_an_empty_folder_gives_nothing_and_one_scan_alone_comes_back(scene, sitting, tmp_path, again):
    assert again().choices.pre_volume is None
    sitting.choices.pre_volume = image_to_node(complete_result().images["pre"], scene, "one")
    keep(sitting, tmp_path)
    back = again()
    assert back.choices.pre_volume is not None and back.choices.post_volume is None


@pytest.mark.parametrize("name, value", [("registration", "by hand"), ("mrtrg", 9), ("mrtrg", True), ("device", "../x"), ("device", ["cpu"]), ("legend", 1), ("outline_step_mm", 50), ("map_opacity", 7), ("map_opacity", "1"),
                                         ("outline_step_mm", -1), ("shown_map", 3), ("complete_response", "yes"), ("unheard_of", 1), ("pre_volume", None)])
def test_choices_that_nobody_could_have_made_are_refused(scene, case, tmp_path, name, value):
    sitting, _ = case
    keeping.write(keeping.collected(sitting), sitting.session, tmp_path / "case")
    written = json.loads((tmp_path / "case" / FILE).read_text())
    written["choices"][name] = value
    (tmp_path / "case" / FILE).write_text(json.dumps(written))
    with pytest.raises(InputError) as caught:
        keeping.take_up(Sitting(Choices()), tmp_path / "case", scene, NAMES, lambda volume, path: None)
    assert caught.value.code == "MRD-E921"


def test_the_dicom_file_of_a_scan_is_kept_with_it(scene, tmp_path):
    header = tmp_path / "one.dcm"
    header.write_bytes(b"header")
    noted = {}
    sitting = Sitting(Choices(), Door(header_of=lambda volume: header), base=tmp_path / "base")
    sitting.choices.pre_volume = image_to_node(complete_result().images["pre"], scene, "one")
    keeping.write(keeping.collected(sitting), sitting.session, tmp_path / "case")
    keeping.take_up(Sitting(Choices()), tmp_path / "case", scene, NAMES, lambda volume, path: noted.update({volume.GetID(): path}))
    path, = noted.values()
    assert path.read_bytes() == b"header" and path != header
    header.unlink()                                      # as whatever tidies up temporary files does
    assert keeping.collected(sitting).headers == {} and sitting.reading().findings.lines
    sitting.close()


def test_a_bed_that_was_carried_over_comes_back_as_nobodys_drawing(scene, sitting, tmp_path, again, finished):
    result, folder = finished("oblique", "left-handed")
    scans(scene, sitting.choices, result)
    outlining.set_mask(sitting.choices, "pre", result.images["pre_mask"])
    brought(sitting, folder)
    outlining.carry_over(sitting.choices)
    carried = outlining.outline_state(sitting.look(), "post")
    kept = keeping.collected(sitting)
    keep(sitting, tmp_path)
    back = again()
    assert carried is outlining.outline_state(back.look(), "post") is Outline.CARRIED
    assert same_image(keeping.collected(back).suggestions["post"][0], kept.suggestions["post"][0]) and np.any(sitk.GetArrayFromImage(kept.suggestions["post"][0]))
    assert set(back.inputs().masks) == {"pre"} and not back.situation().prediction.stale


def test_one_stroke_that_no_run_would_take_comes_back_and_is_told_by_its_step(scene, sitting, tmp_path, again):
    result = complete_result()
    scans(scene, sitting.choices, result)
    stroke = result.images["pre_mask"] * 0
    stroke[30, 30, 10] = 1
    outlining.set_mask(sitting.choices, "pre", stroke)
    keep(sitting, tmp_path)
    back = again()
    assert [error.code for error in back.situation().outline_errors] == ["MRD-E314"] and same_image(back.inputs().masks["pre"], stroke)


def test_maps_that_come_later_are_kept_and_while_they_come_the_result_stays_as_it_was_kept(case, tmp_path):
    """A run that adds maps writes into the very folder of the result."""
    sitting, _ = case
    mine = tmp_path / "mine"
    sitting.save_result(mine)
    sitting.last_result = mine
    keep(sitting, tmp_path)
    before, state = (tmp_path / "case" / FILE).read_text(), keeping.collected(sitting).state()
    sitting.run = Run("maps", mine)
    (mine / ".writing-maps-0123").mkdir()
    (mine / ".writing-maps-0123" / "half.nrrd").write_bytes(b"half")
    (mine / "result.json").write_text("half")
    assert keeping.collected(sitting).result == mine
    keep(sitting, tmp_path)
    assert (tmp_path / "case" / FILE).read_text() == before
    sitting.run = None
    told = json.loads(sitting.choices.result.GetText()) | {"history": []}
    sitting.choices.result.SetText(json.dumps(told))
    (mine / "result.json").write_text(json.dumps(told))
    assert keeping.collected(sitting).state() != state


def test_a_result_whose_files_are_not_at_hand_is_not_kept_under_its_name(case, tmp_path):
    sitting, _ = case
    sitting.last_result = tmp_path
    found = keeping.collected(sitting)
    assert found.result is None and "result" not in found.rests_on


def test_files_on_their_way_do_not_become_more_with_every_stroke(case, tmp_path):
    sitting, result = case
    keep(sitting, tmp_path)
    there = sorted(sitting.session.folder.iterdir())
    for radius in (1, 2):
        outlining.set_mask(sitting.choices, "pre", sitk.BinaryErode(result.images["pre_mask"], (radius, radius, 0)))
        keep(sitting, tmp_path)
    assert sorted(sitting.session.folder.iterdir()) == there and len(list((tmp_path / "case").glob("pre_mask-*"))) == 1
