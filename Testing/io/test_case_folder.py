"""A case folder comes back as it was written, or not at all, whatever was done to it and whenever its door was killed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError
from MRDeltaNetLib.io import case_folder, locking
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX
from MRDeltaNetLib.io.case_folder import FILE, KeptCase, held, read_case_folder, write_case_folder


@pytest.fixture
def source(tmp_path):
    """Files of a made-up case outside of the folder: scans with odd geometry, a mask, a run's folder."""
    place = tmp_path / "session"
    (place / "run").mkdir(parents=True)
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    image.SetSpacing((0.7, 1.3, 4.0))
    image.SetDirection((0, 0, -1, 1, 0, 0, 0, 1, 0))
    sitk.WriteImage(image, str(place / "pre.nrrd"))
    sitk.WriteImage(sitk.Cast(image > 5, sitk.sitkUInt8), str(place / "mask.nrrd"))
    (place / "one.dcm").write_bytes(b"header")
    (place / "run" / "result.json").write_text('{"p_pcr": 0.5}')
    (place / "run" / "report.html").write_text("<p>report")
    return place


def kept(source, **more):
    return KeptCase(**{"scans": {"pre": source / "pre.nrrd"}, "headers": {"pre": source / "one.dcm"}, "masks": {"pre": source / "mask.nrrd"},
                       "suggestions": {"post": source / "mask.nrrd"}, "alignment": source / "run", "result": source / "run", "choices": {"registration": "rigid"},
                       "rests_on": {"result": {"pre": "abc"}}} | more)


def test_a_case_comes_back_byte_for_byte(tmp_path, source):
    write_case_folder(tmp_path / "case", kept(source))
    found = read_case_folder(tmp_path / "case")
    assert found.scans["pre"].read_bytes() == (source / "pre.nrrd").read_bytes() and found.masks["pre"].read_bytes() == (source / "mask.nrrd").read_bytes()
    assert found.headers["pre"].read_bytes() == b"header" and sorted(path.name for path in found.result.iterdir()) == ["report.html", "result.json"]
    assert found.choices == {"registration": "rigid"} and found.rests_on == {"result": {"pre": "abc"}}
    assert found.alignment.name.startswith("alignment-") and found.suggestions["post"].read_bytes() == (source / "mask.nrrd").read_bytes()
    assert set(found.scans) == {"pre"} and set(found.masks) == {"pre"} and found.own and case_folder.kept_result(tmp_path / "case") == found.result


def test_the_same_case_gives_the_same_bytes_and_touches_nothing(tmp_path, source):
    folder = tmp_path / "case"
    write_case_folder(folder, kept(source))
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in folder.rglob("*") if path.is_file() and path.name != FILE}
    text = (folder / FILE).read_text()
    write_case_folder(folder, kept(source))
    assert {path: (path.read_bytes(), path.stat().st_ino) for path in folder.rglob("*") if path.is_file() and path.name != FILE} == before
    assert (folder / FILE).read_text() == text


def test_what_is_not_named_any_more_goes_and_foreign_files_stay(tmp_path, source):
    folder = tmp_path / "case"
    folder.mkdir()
    for name in ("pre.nrrd", "notes.txt", "pre_mask.nrrd"):
        (folder / name).write_text("mine")
    run = folder / "a run of theirs"                     # which goes on: its unfinished files are not ours to judge
    run.mkdir()
    (run / ".writing-0123.nrrd").write_text("theirs")
    (folder / ".writing-4567.nrrd").write_text("left by a killed door")
    write_case_folder(folder, kept(source))
    write_case_folder(folder, KeptCase(scans={"pre": source / "pre.nrrd"}))
    assert sorted(path.relative_to(folder).as_posix().split("-")[0] for path in folder.rglob("*")) == [
        "a run of theirs", "a run of theirs/.writing", "case.json", "notes.txt", "pre", "pre.nrrd", "pre_mask.nrrd"]


def kill(monkeypatch, at):
    """The next write ends before its first, second, ... file, and leaves what a killed process leaves: nobody tidies up, and case.json never comes."""
    count = 0

    @contextlib.contextmanager
    def atomic(path):
        nonlocal count
        count += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{TEMPORARY_PREFIX}{count}{path.suffix}")
        unfinished.write_bytes(b"half")
        if count == at:
            raise KeyboardInterrupt
        yield unfinished
        unfinished.replace(path)

    def write_text(_path, _text):
        raise KeyboardInterrupt

    monkeypatch.setattr(case_folder, "atomic", atomic)
    monkeypatch.setattr(case_folder, "write_text", write_text)


@pytest.mark.parametrize("when", range(1, 10))
def test_killed_at_its_very_first_write_the_folder_is_as_good_as_new(tmp_path, source, monkeypatch, when):
    folder = tmp_path / "case"
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        kill(killed, when)
        write_case_folder(folder, kept(source))
    assert list(folder.iterdir()) and read_case_folder(folder) == KeptCase()
    write_case_folder(folder, kept(source))
    assert read_case_folder(folder).choices == {"registration": "rigid"} and not list(folder.rglob(f"{TEMPORARY_PREFIX}*"))


@pytest.mark.parametrize("when", range(1, 9))
def test_killed_while_it_is_written_the_last_whole_state_comes_back(tmp_path, source, monkeypatch, when):
    folder = tmp_path / "case"
    write_case_folder(folder, kept(source))
    changed = sitk.ReadImage(str(source / "mask.nrrd")) * 0
    sitk.WriteImage(changed, str(source / "mask.nrrd"))
    (source / "run" / "result.json").write_text('{"p_pcr": 0.7}')
    (source / "one.dcm").write_bytes(b"another header")

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        kill(killed, when)
        write_case_folder(folder, kept(source))
    found = read_case_folder(folder)
    assert (found.result / "result.json").read_text() == '{"p_pcr": 0.5}' and found.headers["pre"].read_bytes() == b"header"
    write_case_folder(folder, kept(source))
    found = read_case_folder(folder)
    assert (found.result / "result.json").read_text() == '{"p_pcr": 0.7}' and len(list(folder.glob("result-*"))) == 1 and not list(folder.rglob(f"{TEMPORARY_PREFIX}*"))


def test_a_stored_file_that_was_damaged_is_whole_again_after_the_next_write(tmp_path, source):
    write_case_folder(tmp_path / "case", kept(source))
    next((tmp_path / "case").glob("pre-*.nrrd")).write_bytes(b"damaged")
    write_case_folder(tmp_path / "case", kept(source))
    assert read_case_folder(tmp_path / "case").scans["pre"].read_bytes() == (source / "pre.nrrd").read_bytes()


def test_a_new_and_an_empty_folder_give_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with held(tmp_path / name):
            assert read_case_folder(tmp_path / name) == KeptCase()


def test_a_simulated_case_is_taken_as_one_that_nothing_was_done_with(tmp_path):
    for name in ("pre.nrrd", "post.nrrd", "pre_mask.nrrd"):
        (tmp_path / name).write_text("")
    found = read_case_folder(tmp_path)
    assert set(found.scans) == {"pre", "post"} and set(found.masks) == {"pre"} and found.result is None


def test_a_folder_of_other_things_and_a_file_are_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("")
    with pytest.raises(UsageError) as caught:
        read_case_folder(tmp_path)
    assert caught.value.code == "MRD-E920" and "letter" not in caught.value.text()
    with pytest.raises(UsageError, match="is a file"), held(tmp_path / "letter.txt"):
        pass


def tampered(folder, change):
    written = json.loads((folder / FILE).read_text())
    change(written)
    (folder / FILE).write_text(json.dumps(written))


@pytest.mark.parametrize("change", [lambda w: w.update(schema="mrdeltanet.case/9"), lambda w: w.update(files=[]), lambda w: w.update(choices=None),
                                    lambda w: w["files"].update({"pre.nrrd": {"file": "../../etc/passwd", "sha256": "0"}}),
                                    lambda w: w["files"].update({"pre.nrrd": {"file": "/etc/passwd", "sha256": "0"}}),
                                    lambda w: w["files"].update({"result/x": {"file": "result-0123456789ab/../../x", "sha256": "0"}}),
                                    lambda w: w["files"].update({"pre.nrrd": "pre.nrrd"}),
                                    lambda w: w["files"].update({"pre.nrrd": w["files"]["pre_mask.nrrd"]}),
                                    lambda w: w["files"].update({"post_mask.nrrd": w["files"]["post_suggestion.nrrd"]}),
                                    lambda w: w["files"].update({"result/x": w["files"]["result/result.json"]}),
                                    lambda w: w["files"].update({"alignment/result.json": w["files"]["result/result.json"]}),
                                    lambda w: w["files"].update({"": w["files"]["pre.nrrd"]}), lambda w: w["files"].update({"result": w["files"]["pre.nrrd"]}),
                                    lambda w: w["rests_on"].update(result="abc"), lambda w: w["rests_on"].update(result={"pre": 3}),
                                    lambda w: w["files"]["pre.nrrd"].update(sha256="0" * 64)])
def test_a_case_json_that_was_meddled_with_is_refused(tmp_path, source, change):
    write_case_folder(tmp_path / "case", kept(source))
    tampered(tmp_path / "case", change)
    with pytest.raises(InputError) as caught:
        read_case_folder(tmp_path / "case")
    assert caught.value.code == "MRD-E921"


def test_a_case_json_that_is_no_json_is_refused(tmp_path, source):
    write_case_folder(tmp_path / "case", kept(source))
    (tmp_path / "case" / FILE).write_text("{")
    with pytest.raises(InputError, match="cannot be taken up"):
        read_case_folder(tmp_path / "case")


@pytest.mark.parametrize("what", ["pre-*.nrrd", "pre_mask-*.nrrd", "result-*/result.json", "pre-*.dcm"])
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_file_that_is_gone_or_was_changed_is_seen(tmp_path, source, what, how):
    write_case_folder(tmp_path / "case", kept(source))
    path = next((tmp_path / "case").glob(what))
    path.unlink() if how == "gone" else path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match="gone or was changed|cannot be taken up"):
        read_case_folder(tmp_path / "case")


def test_a_second_door_is_refused_and_a_closed_one_gives_the_folder_back(tmp_path):
    with held(tmp_path / "case"):
        with pytest.raises(EnvironmentProblem) as caught, held(tmp_path / "case"):
            pass
        assert caught.value.code == "MRD-E922" and "end that one first" in caught.value.fix
    with held(tmp_path / "case"):
        pass


def test_other_computers_are_shown_that_a_folder_is_open_for_as_long_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "BEAT_S", 0.01)
    monkeypatch.setattr(locking, "BEAT_EVERY_S", 0.03)
    monkeypatch.setattr(locking, "_take", lambda stream: True)      # a share that carries no locks: the file alone tells
    with held(tmp_path):
        then = time.time() - 2 * locking.SILENT_S
        os.utime(tmp_path / locking.LOCK, (then, then))
        until = time.monotonic() + 10
        while time.time() - (tmp_path / locking.LOCK).stat().st_mtime > locking.SILENT_S and time.monotonic() < until:
            time.sleep(0.01)
        with monkeypatch.context() as elsewhere, pytest.raises(EnvironmentProblem) as caught:
            elsewhere.setattr(locking.platform, "node", lambda: "some-other-computer")
            with held(tmp_path):
                pass
    assert caught.value.code == "MRD-E922" and "another computer" in caught.value.found
    assert "mrdeltanet-lock" not in {thread.name for thread in threading.enumerate()}


def test_a_disk_that_knows_no_locks_is_told(tmp_path, monkeypatch):
    def no_locks(_stream):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locking, "_take", no_locks)
    with pytest.raises(EnvironmentProblem) as caught, held(tmp_path):
        pass
    assert caught.value.code == "MRD-E813" and not locking.abandoned(tmp_path)


def test_two_threads_of_one_door_do_not_take_each_others_files_away(tmp_path, source):
    folder = tmp_path / "case"
    states = [kept(source), kept(source, suggestions={}, result=None, rests_on={})]
    threads = [threading.Thread(target=lambda state=state: [write_case_folder(folder, state) for _ in range(5)]) for state in states]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_case_folder(folder).scans


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="a folder is write-protected only for users who are not root, on POSIX")
def test_a_write_protected_folder_is_told(tmp_path, source):
    (tmp_path / "case").mkdir(mode=0o500)
    with pytest.raises(EnvironmentProblem) as caught:
        write_case_folder(tmp_path / "case", kept(source))
    assert caught.value.code == "MRD-E811"


def test_a_disk_that_is_full_is_told_and_the_last_state_stays(tmp_path, source, monkeypatch):
    write_case_folder(tmp_path / "case", kept(source))
    (source / "one.dcm").write_bytes(b"another")

    def full(_one, _other):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(case_folder.shutil, "copyfile", full)
    with pytest.raises(EnvironmentProblem) as caught:
        write_case_folder(tmp_path / "case", kept(source))
    assert caught.value.code == "MRD-E810" and read_case_folder(tmp_path / "case").headers["pre"].read_bytes() == b"header"
