"""An MRML scene without the Slicer application, kept quiet, and packing it into an .mrb file."""

from __future__ import annotations

import contextlib
import re
import tempfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator
from urllib.parse import unquote

from MRDeltaNetLib.errors import EnvironmentProblem, require
from MRDeltaNetLib.io.atomic import atomic

FEATURE = "A 3D Slicer scene"
INSTALL = "pip install 'mrdeltanet[scene]' (slicer-core), or run inside 3D Slicer, which brings it"

_FOLDER = "MRDeltaNet"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
MAX_PACKED_BYTES = 2 * 1024**3
"""A scan's file is far smaller; what says that it becomes larger when it is unpacked is no scan of ours."""

_PACKED_ALREADY = {".nrrd", ".h5"}


def slicer_module() -> ModuleType:
    """The package slicer (slicer-core, or Slicer's own).

    raises  MissingPackage MRD-E801 if it is not installed
    """
    return require("slicer", FEATURE, INSTALL)


NEEDED = ("vtkMRMLScene", "vtkMRMLApplicationLogic", "vtkMRMLColorLegendDisplayNode", "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsFiducialDisplayNode",
          "vtkMRMLMarkupsJsonStorageNode", "vtkSlicerSegmentationsModuleLogic")
"""Classes without which no scene of our own can be made. slicer-core has them all; in Slicer the application adds those of its modules when it
starts, so that a child process (PythonSlicer) has a package slicer without them."""


def is_whole() -> bool:
    """Whether the package slicer of this Python can make a scene of our own."""
    slicer = slicer_module()
    return all(hasattr(slicer, name) for name in NEEDED)


def quiet_for_good() -> None:
    """Keep VTK's remarks away from the console for the rest of the process: what fails is seen from return values, and told as an error."""
    core = require("vtkmodules.vtkCommonCore", FEATURE, INSTALL)
    core.vtkOutputWindow.SetInstance(core.vtkStringOutputWindow())
    core.vtkLogger.SetStderrVerbosity(core.vtkLogger.VERBOSITY_OFF)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep VTK's remarks away from the console; failures are seen from return values. Restores what was set before."""
    core = require("vtkmodules.vtkCommonCore", FEATURE, INSTALL)
    window, cutoff = core.vtkOutputWindow.GetInstance(), core.vtkLogger.GetCurrentVerbosityCutoff()
    core.vtkOutputWindow.SetInstance(core.vtkStringOutputWindow())
    core.vtkLogger.SetStderrVerbosity(core.vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        core.vtkOutputWindow.SetInstance(window)
        core.vtkLogger.SetStderrVerbosity(cutoff)


def register_classes(scene: Any) -> None:
    """Make the classes known to a scene that no Slicer application made: nodes of theirs can be added by name and read from files then."""
    slicer = slicer_module()
    for node_class in (slicer.vtkMRMLColorLegendDisplayNode, slicer.vtkMRMLMarkupsFiducialNode, slicer.vtkMRMLMarkupsFiducialDisplayNode,
                       slicer.vtkMRMLMarkupsJsonStorageNode):
        if not scene.GetTagByClassName(node_class.__name__):
            scene.RegisterNodeClass(node_class())


@contextlib.contextmanager
def own_scene() -> Iterator[Any]:
    """A fresh vtkMRMLScene of our own, beside whatever scene a running Slicer shows; emptied at the end."""
    slicer = slicer_module()
    with quiet():
        scene, application = slicer.vtkMRMLScene(), slicer.vtkMRMLApplicationLogic()
        application.SetMRMLScene(scene)
        colours = application.GetColorLogic()
        colours.SetMRMLScene(scene)
        colours.AddDefaultColorNodes()
        register_classes(scene)
        segmentations = slicer.vtkSlicerSegmentationsModuleLogic()      # registers the labelmap converters
        segmentations.SetMRMLApplicationLogic(application)
        segmentations.SetMRMLScene(scene)
        try:
            yield scene
        finally:
            segmentations.SetMRMLScene(None)
            application.SetMRMLScene(None)
            scene.Clear(True)


def save_bundle(scene: Any, path: Path | str) -> None:
    """Write the scene as an .mrb file, whole or not at all.

    The archive's inner folder has a fixed name, entries are sorted and dated 1980, and items are numbered anew, so that the same scene
    gives the same bytes (except for free-form transforms: their .h5 file carries the time of writing).
    raises  EnvironmentProblem MRD-E832 if Slicer's library could not write the scene's files; atomic's errors
    """
    with tempfile.TemporaryDirectory(prefix="mrdeltanet-scene-") as temporary:
        folder = Path(temporary) / _FOLDER
        folder.mkdir()
        with quiet():
            done = scene.SaveSceneToSlicerDataBundleDirectory(str(folder), None)
        if not done:
            raise EnvironmentProblem("The 3D Slicer scene could not be written", code="MRD-E832",
                                     fix="see that the disk with the folder for temporary files has some space left, then try again")
        with atomic(path) as unfinished:
            _pack(folder, unfinished)


def packed_file(path: Path | str, name: str) -> bytes | None:
    """The content of one data file of an .mrb that save_bundle wrote; None if it holds none of this name, of more than MAX_PACKED_BYTES, or is no such
    archive."""
    try:
        with zipfile.ZipFile(path) as bundle:
            entry = next((entry for entry in bundle.infolist() if unquote(entry.filename.rsplit("/", 1)[-1]) == name), None)
            return None if entry is None or entry.file_size > MAX_PACKED_BYTES else bundle.read(entry)
    except (OSError, zipfile.BadZipFile):
        return None


def _pack(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as bundle:
        for file in sorted(item for item in folder.rglob("*") if item.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder.parent).as_posix(), _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_STORED if file.suffix in _PACKED_ALREADY else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            content = file.read_bytes()
            bundle.writestr(entry, _numbered_from_one(content) if file.suffix == ".mrml" else content)


_ITEM = re.compile(rb'(<SubjectHierarchyItem id=")(\d+)(?=")|( parent=")(\d+)(?=")')


def _numbered_from_one(mrml: bytes) -> bytes:
    """Subject hierarchy items numbered by their place in the file; VTK counts on through all scenes of a process."""
    numbers = {b"0": b"0"}

    def renumber(found: re.Match[bytes]) -> bytes:
        start, old = (found[1], found[2]) if found[1] else (found[3], found[4])
        return start + numbers.setdefault(old, b"%d" % len(numbers))

    return _ITEM.sub(renumber, mrml)
