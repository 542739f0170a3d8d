"""Diagnostics that a person may send: no path, no user's and no machine's name, and what helps is left."""

from __future__ import annotations

import getpass
import json
import platform
import time
import unicodedata
from pathlib import Path

import pytest

from MRDeltaNetLib.workflow import own_names, redacted

HOME = "/home/Jörg Müller"
NAMES = ("Jörg Müller", "mri-3.klinik.example")


def clean(text: str, home: str = HOME, names: tuple[str, ...] = NAMES) -> str:
    return redacted(text, home=home, names=names)


@pytest.mark.parametrize("path", [
    "/data/Doe_John.nrrd", "/data/Doe, John (2)/scan one.nrrd", "/home/Jörg Müller/Patienten/Doe.nii.gz", "/Users/zoë/Documents/O'Neill Doe/x.mha", "~/Doe/a.nrrd",
    "~zoë/Doe/a.nrrd", "./Doe John/a.nrrd", "../Doe/a.nrrd", r"C:\Users\Jörg Müller\Doe John\scan 1.nrrd", "c:/Users/Jörg Müller/Doe/x", r"D:\Doe",
    r"\\server\Klinik für Radiologie\Doe\x.dcm", r"\\?\C:\Users\Doe John\x", "//server/share/Doe/x.dcm", "file:///home/Jörg Müller/Doe.nrrd", "file:///C:/Users/Doe/x y.nrrd",
    "/mnt/日本 太郎/Doe", "/tmp/Doe", "/Doe"])
@pytest.mark.parametrize("around", ["{}", "cannot read {}", "cannot read '{}' twice", 'File "{}", line 3', "path={}", "({})", "[{}]", "first: {}", "a, {}", "|{}|", "`{}`"])
def test_no_part_of_a_path_is_left(path, around):
    if "'" in path and "'{}'" in around:
        around = '"{}"'                                    # as repr() quotes it
    shown = clean(around.format(path))
    assert "<path>" in shown or "<address>" in shown
    for word in ("Doe", "John", "Jörg", "Müller", "zoë", "server", "Klinik", "日本", "Neill", "Users"):
        assert word not in shown, shown


@pytest.mark.parametrize("path", [r"C:\Users\Jörg Müller\Doe John.nrrd", r"\\server\share\Doe\x.dcm", "/home/Jörg Müller/Doe"])
def test_paths_as_repr_and_json_write_them_go_too(path):
    for text in (repr(path), json.dumps({"path": path}, ensure_ascii=False), repr(Path(path))):
        shown = clean(text)
        assert "<path>" in shown and not any(word in shown for word in ("Doe", "Jörg", "Müller", "server")), shown


def test_a_path_ends_with_its_clause_and_what_follows_stays():
    assert clean("/data/Doe John/x.nrrd: Permission denied") == "<path>: Permission denied"
    assert clean(r"C:\Doe\x.nrrd: No such file; try again") == "<path>: No such file; try again"
    assert clean("opened '/a b/c' in 3 s") == "opened '<path>' in 3 s"
    assert clean("one /a/b\ntwo /c d/e\nthree") == "one <path>\ntwo <path>\nthree"


def test_the_place_in_our_code_stays_and_the_folders_above_go():
    for line, shown in [('File "/home/Jörg Müller/Slicer 5/lib/MRDeltaNetLib/io/images.py", line 12, in read', 'File "<path>/MRDeltaNetLib/io/images.py", line 12, in read'),
                        (r'File "C:\Users\Doe\MRDeltaNetLib\pipeline.py", line 3', r'File "<path>/MRDeltaNetLib\pipeline.py", line 3'),
                        ("/opt/py/site-packages/torch/nn/module.py:10: warning", "<path>/site-packages/torch/nn/module.py:10: warning"),
                        ("/x/MRDeltaNetLib/a.py read /home/Doe John/y", "<path>/MRDeltaNetLib/a.py read <path>")]:
        assert clean(line) == shown


def test_a_patient_s_folder_inside_a_folder_of_our_name_is_no_code():
    assert "Doe" not in clean("/data/MRDeltaNetLib/Doe John/scan.nrrd") and "Doe" not in clean('"/data/MRDeltaNetLib/Doe John/scan.py"')


@pytest.mark.parametrize("text", ["P(pCR) 0.62 (0.48 to 0.71)", "MRD-E330: the order is wrong", "1.5 T and/or 3 T, 0.6 mm/voxel", "320 x 320 / 30", "ratio 1/2, 0.5/0.7",
                                  "T2/T1", "torch 2.4.1; numpy 2.4", "a: b; c", "x ~ 3", "..., then", "MRDeltaNetLib/io/images.py:12", "", "Slicer 5.12.0 (r33000)"])
def test_what_is_no_path_stays(text):
    assert clean(text) == text


@pytest.mark.parametrize("text", ["scans/Doe_John.nrrd", r"scans\Doe.dcm", "load a/Doe/b.nii.gz now", "https://pacs.klinik.example/Doe", "dicomweb+http://server:8042/Doe"])
def test_relative_files_and_addresses_go_too(text):
    assert "Doe" not in clean(text) and "server" not in clean(text) and "klinik" not in clean(text)


@pytest.mark.parametrize("text", ["user Jörg Müller", "user JÖRG MÜLLER", "owner=Müller", "on mri-3.klinik.example now", unicodedata.normalize("NFD", "user Jörg Müller"),
                                  unicodedata.normalize("NFD", "at /home/Jörg Müller/x")])
def test_names_go_in_any_case_and_any_unicode_form(text):
    shown = unicodedata.normalize("NFC", clean(text)).casefold()
    assert "müller" not in shown and "jörg" not in shown and "klinik" not in shown and "<" in shown


def test_a_name_is_a_whole_word():
    assert redacted("annotation by Ann, Ann's and ann", home="/h/ann", names=("Ann",)) == "annotation by <name>, <name>'s and <name>"


def test_names_of_one_letter_and_empty_ones_are_left_alone():
    assert redacted("a b c", home="/", names=("a", "", " ")) == "a b c"


def test_a_home_at_the_root_does_not_eat_the_text():
    assert redacted("mm / s", home="/", names=()) == "mm / s"


def test_a_home_that_no_rule_would_know_goes_as_well():
    assert redacted("at /srv/h; x: y/Doe now", home="/srv/h; x: y", names=()) == "at <path>"
    assert redacted("at /srv/h; x: y", home="/srv/h; x: y", names=()) == "at <path>"


def test_this_machine_s_names_are_the_default(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "zoë.doe")
    monkeypatch.setattr(platform, "node", lambda: "workstation7.klinik.example")
    assert {"zoë.doe", "workstation7.klinik.example", "workstation7"} <= set(own_names())
    assert redacted(f"zoë.doe at WORKSTATION7 in {Path.home()}/x") == "<name> at <name> in <path>"


def test_a_system_that_knows_no_user_is_no_error(monkeypatch):
    def nobody():
        raise KeyError("uid")

    def homeless():
        raise RuntimeError("no home")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr(Path, "home", homeless)
    assert redacted("text /a/b") == "text <path>" and "" not in own_names()


@pytest.mark.parametrize("unit", ["a", "a/", "'/a", "/MRDeltaNetLib/", "/a/site-packages/x.py ", "a/b.c ", "\\", "x:", "file:///", "~/"])
def test_an_endless_line_holds_nobody_up(unit):
    started = time.process_time()
    clean(unit * (10_000 // len(unit)))
    assert time.process_time() - started < 1.0


def test_redacting_again_changes_nothing():
    once = clean("Jörg Müller read '/a b/c' and /x/MRDeltaNetLib/a.py and https://x.example/y")
    assert clean(once) == once
