"""A sitting's runs: what comes in, what does not, whatever the child process wrote and whatever became of the scans meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace

import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import MRDeltaNetError, UsageError
from MRDeltaNetLib.mrml import drawn
from MRDeltaNetLib.mrml.sitting import Door, drawing, further, jobs, leaving, sample
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting.look import Look
from MRDeltaNetLib.mrml.sitting.runs import Run
from MRDeltaNetLib.mrml.worker import Failed, Finished
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
from Testing.made_up_result import complete_result
from Testing.mrml.made_up_case import same_image, scans

SAYS_IT_IS_DONE = [sys.executable, "-c", "import json; print(json.dumps({'finished': {}}))"]


def nodes(scene):
    return sorted(scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes()))


def children_that(sitting, monkeypatch, command):
    """Whatever step is started, this runs in place of the library."""
    from MRDeltaNetLib.mrml.worker import Worker
    monkeypatch.setattr(Worker, "start", lambda self, job: self.start_command(command))


def run_done(sitting):
    events = sitting.wait(120)
    return [event for event in events if isinstance(event, (Finished, Failed))]


def test_something_of_the_doors_own_runs_and_is_brought_in(sitting, tmp_path):
    brought = []
    out = sitting.fresh_folder("own")
    command = SAYS_IT_IS_DONE
    sitting.start_other("own", lambda worker: worker.start_command(command), out, brought.append, of_this_pair=False)
    with pytest.raises(UsageError) as caught:
        sitting.refuse_second_run()
    assert caught.value.code == "MRD-E843" and sitting.running
    assert run_done(sitting) and brought == [out] and not sitting.running


def test_a_result_that_cannot_be_brought_in_is_told_and_the_sitting_goes_on(sitting):
    def bring(_out):
        raise KeyError("broken")

    command = SAYS_IT_IS_DONE
    sitting.start_other("own", lambda worker: worker.start_command(command), sitting.fresh_folder("own"), bring, of_this_pair=False)
    with pytest.raises(MRDeltaNetError) as caught:
        sitting.wait(120)
    assert caught.value.code == "MRD-E899" and not sitting.running


def test_a_result_of_scans_that_left_meanwhile_is_not_brought_in(scene, case):
    sitting, _ = case
    command = SAYS_IT_IS_DONE
    sitting.start_other("own", lambda worker: worker.start_command(command), sitting.fresh_folder("own"), lambda out: pytest.fail("brought in"))
    leaving.remove_scan(sitting.choices, "post")
    with pytest.raises(MRDeltaNetError) as caught:
        sitting.wait(120)
    assert caught.value.code == "MRD-E845"


@pytest.mark.parametrize("fault", [TypeError("'NoneType' object"), AttributeError("x"), IndexError("x"), OSError(5, "Input/output error", "/home/doe/scan.nrrd")], ids=lambda fault: type(fault).__name__)
def test_whatever_is_wrong_with_a_result_is_told_without_a_word_of_what_was_in_it(sitting, fault):
    def bring(_out):
        raise fault

    sitting.start_other("own", lambda worker: worker.start_command(SAYS_IT_IS_DONE), sitting.fresh_folder("own"), bring, of_this_pair=False)
    with pytest.raises(MRDeltaNetError) as caught:
        sitting.wait(120)
    assert caught.value.code == "MRD-E899" and "doe" not in caught.value.text() + "".join(sitting.log) and sitting.poll() == []


def rewritten(folder, name, content):
    """One file of a finished run replaced, with its digest in the manifest as if the run had written it so."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["outputs"][name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


RUBBISH = {"nothing": lambda folder: shutil.rmtree(folder), "no manifest": lambda folder: (folder / "manifest.json").unlink(),
           "a cut result": lambda folder: (folder / "result.json").write_bytes((folder / "result.json").read_bytes()[:-40]),
           "a result of another kind": lambda folder: rewritten(folder, "result.json", b'{"schema": "mrdeltanet.result/1", "maps": {}}'),
           "a result that is none": lambda folder: rewritten(folder, "result.json", b"[1, 2]"),
           "a cut map": lambda folder: rewritten(folder, "attention_post.nrrd", (folder / "attention_post.nrrd").read_bytes()[:-40]),
           "a changed report": lambda folder: (folder / "report.html").write_bytes(b"<p>another"),
           "a transform of text": lambda folder: rewritten(folder, "registration.tfm", b"rubbish")}


@pytest.mark.parametrize("step", ["align", "report"])
@pytest.mark.parametrize("spoil", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_that_a_run_left_is_told_and_the_scene_stays_as_it_was(scene, case, tmp_path, step, spoil):
    sitting, _ = case
    out = tmp_path / "out"
    shutil.copytree(sitting.last_result, out)
    spoil(out)
    before, texts = nodes(scene), [getattr(sitting.choices, name).GetText() for name in ("result", "report", "alignment_result")]
    sitting.run = Run(step, out, sitting._ids(), {"pre": "another"})
    event = sitting._settled(Finished({}))
    if (step, spoil) in (("align", RUBBISH["a cut map"]), ("align", RUBBISH["a changed report"]), ("report", RUBBISH["a transform of text"])):
        assert isinstance(event, Finished)               # nothing of it is read
        return
    assert isinstance(event, Failed) and event.code.startswith("MRD-E") and event.code != "MRD-E899" and sitting.last_result != out
    assert nodes(scene) == before and [getattr(sitting.choices, name).GetText() for name in ("result", "report", "alignment_result")] == texts
    assert not sitting.situation().prediction.stale


@pytest.mark.parametrize("missing", [drawing.MASK, drawing.PROBABILITY])
def test_a_drawing_that_came_incomplete_leaves_the_outline_that_is_there(case, tmp_path, missing):
    from MRDeltaNetLib.io.drawings import header_of, program_of
    from MRDeltaNetLib.io.images import write_image
    from Testing.io.test_drawings import FACTS
    sitting, result = case
    mask = result.images["post_mask"]
    write_image(mask * 0 + 1, tmp_path / drawing.MASK)
    write_image(sitk.Cast(mask, sitk.sitkFloat32), tmp_path / drawing.PROBABILITY, header=header_of(program_of(FACTS, mask)))
    (tmp_path / missing).unlink()
    with pytest.raises((MRDeltaNetError, OSError)):
        drawing.bring_drawing(sitting.choices, "post", tmp_path)
    assert same_image(sitting.inputs().masks["post"], mask) and drawn.nodes(sitting.choices.post_volume, "post") == ()


def test_a_job_says_everything_that_was_chosen_and_names_files_that_hold_what_is_in_the_scene(case, tmp_path):
    sitting, result = case
    header, choices = tmp_path / "one.dcm", sitting.choices
    header.write_bytes(b"header")
    sitting.door = Door(model_folder=lambda: resource(DEMO_BUNDLE), job={"no_scene": True}, header_of=lambda volume: header if volume is choices.pre_volume else None)
    choices.registration, choices.complete_response, choices.mrtrg, choices.device, choices.outline_step_mm, choices.all_members = "affine", True, 2, "cpu", 3.5, False
    pair = replace(given.read(Look(choices)), headers={"pre": header, "post": None})      # the header's own contents play no part here
    asked = jobs.entries(sitting, "predict", pair, tmp_path / "out")
    said = {"registration": "affine", "complete_response": True, "mrtrg": 2, "device": "cpu", "outline_step_mm": 3.5, "members": "first", "no_scene": True,
            "model": str(resource(DEMO_BUNDLE)), "pre_header": str(header), "steps": ["masks", "predict", "explain", "report"], "out": str(tmp_path / "out")}
    assert {name: asked[name] for name in said} == said
    written = {name: asked[name] for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask")}
    assert all(same_image(sitk.ReadImage(path), result.images[name]) for name, path in written.items())
    assert set(asked) == {*said, *written, "transform"}
    report, align = (jobs.entries(sitting, step, pair, tmp_path / "out") for step in ("report", "align"))
    assert not {"members", "model", "outline_step_mm"} & {*report, *align} and report["mrtrg"] == 2 and align["steps"] == ["align"]
    choices.all_members, choices.mrtrg = True, None
    again = jobs.entries(sitting, "predict", pair, tmp_path / "out")
    assert again["members"] == "all" and "mrtrg" not in again


def test_maps_that_were_asked_for_are_made_again_by_the_same_model_only(case, monkeypatch):
    sitting, _ = case
    monkeypatch.setattr(further.results, "maps", lambda choices: dict.fromkeys(("gradcam_post", "gradcam_pre", "attention_post", "null_post")))
    facts = sitting.result_facts()
    for digest, again in ((sitting.bundle().weights_sha256, {"gradcam", "null"}), ("0" * 64, set())):
        facts["model"]["weights_sha256"] = digest
        sitting.choices.result.SetText(json.dumps(facts))
        assert set(further.to_repeat(sitting)) == again


def test_maps_of_a_run_that_was_killed_between_two_files_are_brought_in_all_the_same(case, tmp_path):
    sitting, _ = case
    mine = tmp_path / "mine"
    sitting.save_result(mine)
    sitting.last_result = mine
    stage = mine / ".writing-maps-0123"
    stage.mkdir()
    old = (mine / "manifest.json").read_bytes()
    text = (mine / "result.json").read_text().replace('"history": [', '"history": [\n  {"step": "explain", "parameters": {}},', 1)
    rewritten(mine, "result.json", text.encode())
    (mine / "manifest.json").rename(stage / "manifest.json")      # what it was about to put in place of the old one
    (mine / "manifest.json").write_bytes(old)
    further.bring(sitting, mine, "offered")
    assert sitting.choices.result.GetText() == text and sitting.result_folder() == mine and not stage.exists()


def test_folders_of_runs_that_nothing_shows_any_more_go_when_the_next_begins_and_those_that_are_shown_stay(case, tmp_path):
    sitting, _ = case
    theirs = tmp_path / "theirs"                         # out of a case folder, for instance: not the sitting's to take away
    sitting.save_result(theirs)
    sitting.start_other("maps", lambda worker: worker.start_command(SAYS_IT_IS_DONE), theirs, lambda out: None)
    assert isinstance(sitting.wait(120)[-1], Finished)
    shown = []
    for number in range(4):
        out = sitting.fresh_folder("own")
        sitting.start_other("own", lambda worker: worker.start_command(SAYS_IT_IS_DONE), out, lambda out: out.mkdir(), of_this_pair=False)
        assert isinstance(sitting.wait(120)[-1], Finished)
        shown.append(out)
        if number == 1:
            sitting.last_alignment = out
        if number >= 2:
            sitting.last_result = out
    sitting.fresh_folder("next")
    assert [out.is_dir() for out in shown] == [False, True, False, True] and theirs.is_dir()


def test_the_files_of_a_result_are_at_hand_only_while_they_are_those_that_are_shown(case, tmp_path):
    sitting, _ = case
    assert sitting.result_folder() == sitting.last_result
    text = sitting.choices.result.GetText()
    sitting.choices.result.SetText(text.replace("0.7312", "0.7313"))
    assert sitting.result_folder() is None
    with pytest.raises(UsageError) as caught:            # another patient's files under this one's number
        sitting.save_result(tmp_path / "out")
    assert caught.value.code == "MRD-E847" and not (tmp_path / "out").exists()
    sitting.run = Run(further.STEP, sitting.last_result)
    assert sitting.result_folder() == sitting.last_result
    sitting.run = None


def test_a_saved_result_has_no_file_that_a_run_is_still_writing(case, tmp_path):
    sitting, _ = case
    mine = tmp_path / "mine"
    names = sitting.save_result(mine)
    sitting.last_result = mine
    (mine / ".writing-maps-0").mkdir()
    (mine / ".writing-lock").write_bytes(b"")
    assert sitting.save_result(tmp_path / "more") == names


def test_a_run_that_is_shown_by_its_step_is_shown_whoever_started_it(sitting):
    from MRDeltaNetLib.mrml.sitting.standing import RUNNING
    for step, shown in {"sample": "scans", "align": "align", "automatic_pre": "tumour", "automatic_post": "tumour", "predict": "predict", "maps": "explain", "report": "report"}.items():
        sitting.run = Run(step, sitting.session.path("x"))
        assert sitting.situation().running == shown == RUNNING[step]
    sitting.run = None


def test_a_run_that_takes_longer_than_it_was_given_is_ended_and_another_may_begin(sitting):
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    sitting.start_other("own", lambda worker: worker.start_command(sleeps), sitting.fresh_folder("own"), lambda out: pytest.fail("brought in"), of_this_pair=False)
    pid = sitting._worker._process.pid
    with pytest.raises(UsageError) as caught:
        sitting.wait(0.05)
    assert caught.value.code == "MRD-E844" and not sitting.running and sitting.poll() == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_waiting_without_a_run_comes_back_at_once(sitting):
    assert sitting.wait(1) == [] and sitting.poll() == []
    sitting.cancel()


def test_a_stopped_run_brings_nothing_in(scene, case, monkeypatch):
    sitting, _ = case
    before, kept = nodes(scene), sitting.last_result
    children_that(sitting, monkeypatch, [sys.executable, "-c", "import time; time.sleep(60)"])
    sitting.start("align")
    assert sitting.running and sitting.situation().running == "align"
    sitting.cancel()
    events = sitting.wait(30)
    assert type(events[-1]).__name__ == "Stopped" and not sitting.running and nodes(scene) == before and sitting.last_result == kept


def test_a_child_that_dies_and_one_that_talks_rubbish_are_told_and_the_scene_stays(scene, case, monkeypatch):
    sitting, _ = case
    before = nodes(scene)
    for code in ("import os; os.abort()", "print('{\\'finished\\': '); print('[[[' * 1000); import sys; sys.exit(0)"):
        children_that(sitting, monkeypatch, [sys.executable, "-c", code])
        with pytest.raises(MRDeltaNetError) as caught:
            sitting.run_and_wait("align", 60)
        assert caught.value.code == "MRD-E871" and not sitting.running and nodes(scene) == before


def test_a_simulated_pair_comes_with_its_outlines_and_its_truth(scene, sitting, tmp_path):
    from MRDeltaNetLib.io.images import write_image
    result = complete_result()
    for role in ("pre", "post"):
        write_image(result.images[role], tmp_path / f"{role}.nrrd")
    for role in ("pre", "post", "residual"):
        write_image(result.images[f"{role}_mask"] * (role != "residual"), tmp_path / f"{role}_mask.nrrd")
    sitting.choices.mrtrg = 5
    sample.bring(sitting, tmp_path, lambda images: scans(scene, sitting.choices, result))
    assert sitting.choices.complete_response is True and sitting.choices.mrtrg is None and set(sitting.inputs().masks) == {"pre", "post"}
    (tmp_path / "post_mask.nrrd").unlink()
    with pytest.raises((MRDeltaNetError, OSError)):
        sample.bring(sitting, tmp_path, lambda images: pytest.fail("chosen before everything was read"))
