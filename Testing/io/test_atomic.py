"""Whole files or none."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import EnvironmentProblem
from MRDeltaNetLib.io import atomic as module
from MRDeltaNetLib.io.atomic import atomic, sha256, write_text

posix_only = pytest.mark.skipif(os.name != "posix", reason="tests POSIX permissions or limits")


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "result.json"
    with atomic(target) as temporary:
        temporary.write_text("new")
        assert not target.exists() and temporary.parent == tmp_path
    assert target.read_text() == "new" and os.listdir(tmp_path) == ["result.json"]


def test_a_failure_leaves_the_earlier_file_and_no_temporary(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["result.json"]


def test_a_stop_by_the_user_leaves_the_earlier_file(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["result.json"]


@pytest.mark.parametrize("name, ending", [("a.nii.gz", ".nii.gz"), ("a.b.nrrd", ".nrrd"), ("a.tfm", ".tfm"), ("plain", ""),
                                          ("A.NII.GZ", ".NII.GZ"), ("x" * 240 + ".mha", ".mha")])
def test_the_temporary_file_keeps_the_ending_by_which_writers_choose_a_format(tmp_path, name, ending):
    with atomic(tmp_path / name) as temporary:
        assert temporary.name.endswith(ending) and temporary.exists()
        assert "".join(temporary.suffixes) == ending


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_simpleitk_writes_through_it(tmp_path, name):
    image = sitk.Image(4, 5, 6, sitk.sitkInt16) + 7
    with atomic(tmp_path / name) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))).sum() == 7 * 120
    assert os.listdir(tmp_path) == [name]


def test_missing_folders_are_made_and_odd_names_are_just_names(tmp_path):
    target = tmp_path / "ä b" / "#%&'日本" / "-r.txt"
    write_text(target, "tumour\n")
    assert target.read_bytes() == b"tumour\n"


@posix_only
def test_a_new_file_has_the_permissions_of_any_saved_file(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "b").write_bytes(b"x" * 3_000_001)
    assert sha256(tmp_path / "b") == hashlib.sha256(b"x" * 3_000_001).hexdigest()


@posix_only
def test_a_full_disk_is_an_error_with_a_remedy_and_keeps_the_earlier_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    script = ("import resource, sys; from MRDeltaNetLib.io.atomic import write_text; from MRDeltaNetLib.errors import EnvironmentProblem\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
              "try: write_text(sys.argv[1], 'x' * 100_000)\n"
              "except EnvironmentProblem as problem: print(problem)\n")
    done = subprocess.run([sys.executable, "-c", script, str(target)], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert "MRD-E810" in done.stdout and "free some space" in done.stdout and str(tmp_path) not in done.stdout
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number, code, remedy", [
    (errno.ENOSPC, "MRD-E810", "free some space"), (errno.EACCES, "MRD-E811", "permission"), (errno.EROFS, "MRD-E811", "permission"),
    (errno.EIO, "MRD-E813", "connected")])
def test_what_the_system_says_while_syncing_becomes_an_error_with_a_remedy(tmp_path, monkeypatch, number, code, remedy):
    def fails(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.os, "fsync", fails)
    with pytest.raises(EnvironmentProblem) as caught:
        write_text(tmp_path / "a.txt", "x")
    assert caught.value.code == code and remedy in caught.value.fix and os.listdir(tmp_path) == []


@posix_only
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="the super-user may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(EnvironmentProblem) as caught:
            write_text(tmp_path / "a.txt", "x")
    finally:
        tmp_path.chmod(0o700)
    assert caught.value.code == "MRD-E811" and "permission" in caught.value.fix


def test_a_write_protected_file_system_is_refused(tmp_path, monkeypatch):
    def fails(path, temporary):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(module, "_create", fails)
    with pytest.raises(EnvironmentProblem) as caught:
        write_text(tmp_path / "secret name", "x")
    assert caught.value.code == "MRD-E811" and "secret" not in str(caught.value)


def test_a_folder_where_the_file_shall_be_is_refused(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(EnvironmentProblem) as caught:
        write_text(tmp_path / "a.txt", "x")
    assert caught.value.code == "MRD-E812" and "another output folder" in caught.value.fix


def test_a_file_where_a_folder_shall_be_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    for target in (tmp_path / "out" / "a.txt", tmp_path / "out" / "deeper" / "a.txt"):
        with pytest.raises(EnvironmentProblem) as caught:
            write_text(target, "x")
        assert caught.value.code == "MRD-E812" and str(tmp_path) not in str(caught.value)


def test_an_error_about_another_file_is_not_called_an_output_problem(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.txt"):
        open(tmp_path / "input that is not there.nrrd", "rb")
    assert os.listdir(tmp_path) == []


def test_a_file_held_for_a_moment_on_windows_is_replaced_after_a_wait(tmp_path, monkeypatch):
    tries, waits, replace = [], [], os.replace

    def held_twice(source, target):
        tries.append(1)
        if len(tries) < 3:
            raise PermissionError(errno.EACCES, "held", str(source))
        replace(source, target)

    monkeypatch.setattr(module, "_WINDOWS", True)
    monkeypatch.setattr(module.os, "replace", held_twice)
    monkeypatch.setattr(module.time, "sleep", waits.append)
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x" and waits == list(module.REPLACE_WAITS_S[:2])


def test_a_file_held_for_good_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    def held(source, target):
        raise PermissionError(errno.EACCES, "held", str(source))

    monkeypatch.setattr(module, "_WINDOWS", True)
    monkeypatch.setattr(module.os, "replace", held)
    monkeypatch.setattr(module.time, "sleep", lambda s: None)
    with pytest.raises(EnvironmentProblem) as caught:
        write_text(tmp_path / "a.txt", "x")
    assert caught.value.code == "MRD-E811" and "close programs" in caught.value.fix and os.listdir(tmp_path) == []
