"""Trust is given to bytes, kept in the user's settings, and gone with one byte."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import approvals
from MRDeltaNetLib.io.nnunet_model import digest
from MRDeltaNetLib.io.settings import keep_setting, read_setting, settings_folder
from Testing.nnunet_standin import model_folder


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("MRDELTANET_SETTINGS", str(tmp_path / "settings"))
    return tmp_path / "settings"


@pytest.fixture
def folder(tmp_path):
    return model_folder(tmp_path / "model")


def test_what_nobody_approved_is_refused(folder):
    with pytest.raises(InputError, match="MRD-E371"):
        approvals.require_approval(folder, digest(folder))


def test_approved_bytes_are_trusted_wherever_they_lie(folder, tmp_path):
    approvals.approve(folder, digest(folder), {"name": "x"})
    shutil.copytree(folder, tmp_path / "elsewhere")
    for place in (folder, tmp_path / "elsewhere"):
        approvals.require_approval(place, digest(place))


@pytest.mark.parametrize("name", ["dataset.json", "plans.json", "fold_0/checkpoint_final.pth"])
def test_one_flipped_bit_and_the_model_is_refused(folder, name):
    approvals.approve(folder, digest(folder))
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match="MRD-E372"):
        approvals.require_approval(folder, digest(folder))


def test_what_was_put_into_the_folder_while_it_was_shown_is_not_approved(folder):
    shown = digest(folder)
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"evil")
    with pytest.raises(InputError, match="MRD-E372"):
        approvals.approve_shown(folder, shown)
    assert approvals.approved() == []
    approvals.approve_shown(folder, digest(folder))
    approvals.require_approval(folder, digest(folder))


def test_an_approval_is_taken_back(folder):
    approvals.approve(folder, digest(folder))
    assert approvals.withdraw(folder, digest(folder)) == 1 and approvals.withdraw(folder, digest(folder)) == 0
    with pytest.raises(InputError, match="MRD-E371"):
        approvals.require_approval(folder, digest(folder))


def test_with_an_approval_goes_what_was_approved_in_the_same_folder_before(folder):
    """A user who no longer trusts a folder does not trust its earlier contents either."""
    path = next(each for each in sorted(folder.rglob("*")) if each.is_file())
    before, content = digest(folder), path.read_bytes()
    approvals.approve(folder, before)
    path.write_bytes(content + b" ")
    assert approvals.withdraw(folder, digest(folder)) == 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="MRD-E371"):
        approvals.require_approval(folder, before)


def test_the_list_names_no_place(folder, settings, tmp_path):
    approvals.approve(folder, digest(folder))
    approvals.approve(folder, digest(folder))
    text = (settings / approvals.FILE).read_text()
    assert len(json.loads(text)["models"]) == 1 and str(tmp_path) not in text and "model/" not in text


@pytest.mark.parametrize("content", ["", "[]", '{"schema": "mrdeltanet.approved-models/1"}', '{"schema": "other", "models": []}',
                                     '{"schema": "mrdeltanet.approved-models/1", "models": [{"sha256": "short"}]}'])
def test_a_damaged_list_approves_nothing(folder, settings, content):
    settings.mkdir()
    (settings / approvals.FILE).write_text(content)
    for action in (lambda: approvals.require_approval(folder, digest(folder)), lambda: approvals.approve(folder, digest(folder))):
        with pytest.raises(InputError, match="MRD-E376"):
            action()


def test_choices_are_kept_and_forgotten():
    assert read_setting("a") is None
    keep_setting("a", "x")
    keep_setting("b", [1])
    keep_setting("a", None)
    assert read_setting("a") is None and read_setting("b") == [1]


@pytest.mark.parametrize("content, code", [("[]", "MRD-E420"), ("{", "MRD-E420"), ('{"a": NaN}', "MRD-E421")])
def test_a_damaged_file_of_settings_is_told(settings, content, code):
    settings.mkdir()
    (settings / "settings.json").write_text(content)
    with pytest.raises(InputError, match=code):
        read_setting("a")


@pytest.mark.parametrize("platform, variables, wanted", [
    ("linux", {"XDG_CONFIG_HOME": "/x"}, Path("/x/mrdeltanet")), ("linux", {}, Path.home() / ".config/mrdeltanet"),
    ("darwin", {}, Path.home() / "Library/Application Support/MRDeltaNet"), ("win32", {"APPDATA": "/roaming"}, Path("/roaming/MRDeltaNet"))])
def test_the_folder_is_where_the_system_wants_it(monkeypatch, platform, variables, wanted):
    for name in ("MRDELTANET_SETTINGS", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert settings_folder() == wanted
