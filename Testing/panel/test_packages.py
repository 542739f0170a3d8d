"""What prediction needs beyond Slicer's own: asked for in one place, of versions written in one place, and nothing of Slicer's is replaced."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from packaging.requirements import Requirement

from MRDeltaNetLib import workflow
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem
from Testing.panel.conftest import MODULE, REPOSITORY

STEPS = [step.key for step in workflow.STEPS]
ACTIONS = {"align": "alignButton", "predict": "runButton", "report": "writeButton"}
"""Page -> its button that starts a run."""

SYSTEMS = {"Linux": {"sys_platform": "linux", "platform_machine": "x86_64"}, "Windows": {"sys_platform": "win32", "platform_machine": "AMD64"},
           "macOS": {"sys_platform": "darwin", "platform_machine": "x86_64"}}
"""Row of the how-to's table -> what Slicer's Python says there."""


def ui(panel, step):
    return panel.pages[step].ui


def told(application):
    """The dialogs so far, and none from now on counts as old."""
    found = list(application.dialogs)
    application.dialogs.clear()
    return found


def listed(name):
    lines = (MODULE.parent / "Resources" / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def at_least(requirement):
    return next(each.version for each in requirement.specifier if each.operator == ">=")


@pytest.fixture
def packages(panel):
    from MRDeltaNetPanel import packages
    return packages


@pytest.fixture
def without_torch(packages, monkeypatch):
    monkeypatch.setattr(packages, "missing", lambda: ("torch", "monai"))


@pytest.fixture
def no_torch_fits(without_torch, packages, monkeypatch, tmp_path):
    (tmp_path / "torch.txt").write_text('torch>=2.6; sys_platform == "somewhere else"\n', encoding="utf-8")
    monkeypatch.setattr(packages, "TORCH", tmp_path / "torch.txt")


@pytest.fixture
def extension(application, packages, monkeypatch):
    """The PyTorch extension; torch is there when it has been asked once, and the rest when pip has."""
    left = [("torch", "monai", "safetensors")]
    monkeypatch.setattr(packages, "missing", lambda: left[0])
    found = application.add_pytorch_utils(installed=False)
    monkeypatch.setattr(found.PyTorchUtilsLogic, "installTorch", lambda self, **asked: left.__setitem__(0, ("monai", "safetensors")) or object())
    import slicer.packaging
    monkeypatch.setattr(slicer.packaging, "pip_ensure", lambda wanted, **more: left.__setitem__(0, ()))
    return found


# One truth about versions

def test_the_panel_asks_for_the_versions_that_the_library_asks_for():
    library = {each.name: each for each in map(Requirement, tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"])}
    for requirement in (*listed("requirements.txt"), *listed("torch.txt")):
        assert at_least(requirement) == at_least(library[requirement.name]), requirement


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_how_to_says_of_each_system_what_the_panel_asks_for(system):
    page = (REPOSITORY / "docs/how-to/install-in-slicer.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| {system} |")).split("|")[2]
    fitting = [each for each in listed("torch.txt") if each.marker.evaluate(SYSTEMS[system])]
    assert len(fitting) < 2
    if not fitting:
        assert row.strip() == "none that fits"
        return
    assert set(re.findall(r"\d+\.\d+", row)) == {each.version for each in fitting[0].specifier}


def test_the_how_to_downloads_for_any_system_what_fits_all():
    page = (REPOSITORY / "docs/how-to/install-in-slicer.md").read_text(encoding="utf-8")
    download = Requirement(re.search(r'pip download.*"(torch[^"]*)"', page).group(1))
    assert download.specifier == listed("torch.txt")[1].specifier and "win32" in str(listed("torch.txt")[1].marker)


@pytest.mark.parametrize("system, versions", [("Linux", {">=2.6"}), ("Windows", {">=2.6", "<2.13"}), ("macOS", None)])
def test_each_system_asks_for_its_own_torch(packages, monkeypatch, system, versions):
    from packaging import markers
    whole = markers.default_environment() | SYSTEMS[system]
    monkeypatch.setattr(markers, "default_environment", lambda: whole)
    asked = packages.torchVersions()
    assert (None if asked is None else set(asked.split(","))) == versions


# Nothing of Slicer's is replaced

def test_while_the_extension_installs_torch_pip_holds_what_slicer_brings(packages, extension, monkeypatch):
    monkeypatch.setenv("PIP_CONSTRAINT", "https://example.org/own.txt")
    seen = []

    def install(self, askConfirmation, torchVersionRequirement):
        own, ours = os.environ["PIP_CONSTRAINT"].split()
        seen.append((own, Path(url2pathname(urlsplit(ours).path)).read_text(encoding="utf-8"), torchVersionRequirement))

    monkeypatch.setattr(extension.PyTorchUtilsLogic, "installTorch", install)
    with pytest.raises(Cancelled):                       # it gave None: declined
        packages.install()
    own, held, versions = seen[0]
    assert own == "https://example.org/own.txt" and "numpy==" in held and "SimpleITK==" in held and versions == packages.torchVersions()
    assert os.environ["PIP_CONSTRAINT"] == "https://example.org/own.txt"


def test_pip_itself_keeps_to_it_in_a_folder_with_a_blank_and_an_accent(packages, monkeypatch, tmp_path):
    import tempfile
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("needs pip in this Python")
    odd = tmp_path / "Jan Nov\u00e1k"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    monkeypatch.setattr(packages, "versions", lambda names: {"numpy": "0.0.1"})
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    with packages.held():
        asked = subprocess.run([sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-input", "numpy>=1"],
                               capture_output=True, text=True, encoding="utf-8", errors="replace")
    assert asked.returncode and "numpy==0.0.1" in asked.stdout + asked.stderr, asked.stderr
    assert "PIP_CONSTRAINT" not in os.environ


def test_a_package_that_was_replaced_all_the_same_is_told_with_its_earlier_version(application, panel, packages, extension, monkeypatch):
    found = [{"numpy": "2.4.6", "SimpleITK": "2.5.5"}, {"numpy": "1.26.4", "SimpleITK": "2.5.5"}]
    monkeypatch.setattr(packages, "versions", lambda names: found[0] if "torch" in packages.missing() else found[1])
    panel.go("predict")
    ui(panel, "predict").installButton.click()
    dialogs = told(application)
    assert [each.kind for each in dialogs] == ["error"]
    assert "MRD-E874" in dialogs[0].text and "numpy 2.4.6 -> 1.26.4" in dialogs[0].text and "SimpleITK" not in dialogs[0].text


def test_torch_comes_first_then_the_rest_and_what_slicer_bundles_is_held(packages, extension, monkeypatch):
    import slicer.packaging
    asked, ensure = [], slicer.packaging.pip_ensure

    def ensured(wanted, constraints, requester):
        asked.append(([each.name for each in wanted], Path(constraints).read_text(encoding="utf-8")))
        ensure(wanted)

    monkeypatch.setattr(slicer.packaging, "pip_ensure", ensured)
    packages.install()
    names, held = asked[0]
    assert len(asked) == 1 and names == ["monai", "safetensors"] and "numpy==" in held and "SimpleITK==" in held and "torch==" in held


# What the page says

def test_without_torch_what_makes_a_prediction_waits_and_install_is_offered(application, panel, case, without_torch):
    for step in STEPS:
        panel.go(step)
        if step in ACTIONS:
            assert getattr(ui(panel, step), ACTIONS[step]).enabled is (step not in ("predict", "report")), step
    panel.go("predict")
    button = ui(panel, "predict").installButton
    assert button.visible and button.enabled and "torch, monai" in button.text
    assert ui(panel, "predict").runButton.toolTip == "Install torch, monai first; all else works without."
    panel.go("explain")
    assert ui(panel, "explain").mapBox.enabled and not application.dialogs


def test_where_no_torch_fits_the_page_says_so_and_offers_nothing(application, panel, case, no_torch_fits, packages):
    panel.go("predict")
    button = ui(panel, "predict").installButton
    assert button.visible and not button.enabled and "No PyTorch fits" in button.toolTip and "command line" in button.toolTip
    assert ui(panel, "predict").runButton.toolTip == "No PyTorch fits this system; all else works without."
    panel.go("report")
    assert not ui(panel, "report").writeButton.enabled   # there is a prediction, which a report would make anew
    with pytest.raises(EnvironmentProblem, match="MRD-E873"):
        packages.install()


def test_install_without_the_pytorch_extension_is_one_dialog_that_says_what_to_do(application, panel, without_torch):
    panel.go("predict")
    ui(panel, "predict").installButton.click()
    dialogs = told(application)
    assert [each.kind for each in dialogs] == ["error"] and "Extensions Manager" in dialogs[0].text


def test_declining_to_install_installs_nothing_and_says_so(application, panel, without_torch):
    extension = application.add_pytorch_utils(installed=False, installs=False)
    panel.go("predict")
    ui(panel, "predict").installButton.click()
    assert len(extension.state.asked) == 1 and [each.kind for each in told(application)] == ["info"]


@pytest.mark.parametrize("fault", [OSError("a half of torch"), subprocess.CalledProcessError(1, "pip")])
def test_an_installation_of_torch_that_fails_is_told_and_the_panel_goes_on(application, panel, extension, monkeypatch, fault):
    def install(self, **asked):
        raise fault

    monkeypatch.setattr(extension.PyTorchUtilsLogic, "installTorch", install)
    panel.go("predict")
    ui(panel, "predict").installButton.click()
    dialogs = told(application)
    assert [each.kind for each in dialogs] == ["error"] and "MRD-E841" in dialogs[0].text and not application.errors
