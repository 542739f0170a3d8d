"""A finished run's report and scene, made to show the maps that its folder holds by now. What somebody changed stays as it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Container, Mapping

import SimpleITK as sitk

from MRDeltaNetLib import pipeline
from MRDeltaNetLib.case import Result
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.io.added_maps import put_file, read_run
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.gate.grids import same_grid
from MRDeltaNetLib.io.results import ALL_IMAGE_FILES, MASK_MEANINGS, METHOD_FILES, REPORT, SCENE, TRANSFORM
from MRDeltaNetLib.io.transforms import read_transform

COMMON = tuple(ALL_IMAGE_FILES[name] for name in ("pre_common", "post_common"))


def renew(folder: Path, own: Mapping[str, Any], written: Container[str]) -> tuple[Notice, ...]:
    """Bring report.html and scene.mrb up to date, where the run wrote them.

    own      the "mrdeltanet" section of the model's metadata
    written  names of maps that were made just now
    returns  what could not be renewed, and what to do about it
    raises   as io/added_maps.put_file
    """
    left = (*_renew_report(folder, own, written), *_renew_scene(folder, own))
    return left if any(name in METHOD_FILES for name in read_run(folder).maps) else ()


def _renew_report(folder: Path, own: Mapping[str, Any], written: Container[str]) -> tuple[Notice, ...]:
    """The scan after treatment is in the folder as it was brought onto the other one's grid, and only so: its maps and masks are brought there too. After
    a deformable alignment that scan is bent, which its maps are not.
    """
    run = read_run(folder)
    if not run.wrote(REPORT):
        return ()
    if not run.holds(REPORT):
        return (_stays("report.html", "it was changed since the run"),)
    if run.result["registration"].get("method") == "deformable":
        return (_stays("report.html", "it shows the scan after treatment bent by a deformable alignment, which maps are not"),)
    if not all(map(run.holds, (*COMMON, TRANSFORM))):
        return (_stays("report.html", "the scans or the alignment beside it are gone or were changed"),)
    from MRDeltaNetLib.report.gallery import with_further_maps
    text = run.path(REPORT).read_text(encoding="utf-8")
    page = with_further_maps(text, _on_one_grid(run), own, written)
    if page is None:
        return (_stays("report.html", "it is of an earlier version and has no place for them"),)
    if page != text:
        put_file(folder, REPORT, lambda path: write_text(path, page))
    return ()


def _renew_scene(folder: Path, own: Mapping[str, Any]) -> tuple[Notice, ...]:
    run = read_run(folder)
    if not run.wrote(SCENE):
        return ()
    if not run.holds(SCENE):
        return (_stays("scene.mrb", "it was changed since the run"),)
    if importlib.util.find_spec("slicer") is None:
        return (_no_library(),)
    from MRDeltaNetLib.mrml.bootstrap import is_whole
    from MRDeltaNetLib.mrml.scene import provenance_of, scans_of, write_scene
    scene = run.path(SCENE)
    if provenance_of(scene) == run.text:
        return ()
    if not is_whole():
        return (_no_library(),)
    if not run.holds(TRANSFORM) or not (scans := _placed(run, scans_of(scene))):
        return (_stays("scene.mrb", "its scans cannot be read back, or the alignment beside it is gone"),)
    result = _on_own_grids(run, scans, own)
    put_file(folder, SCENE, lambda path: write_scene(result, path, provenance=run.text))
    return ()


def _stays(name: str, why: str) -> Notice:
    return Notice("MRD-W726", f"{name} does not show the added maps, because {why}", "open the maps beside it (NRRD), or run the job again with --explain-methods")


def _no_library() -> Notice:
    return Notice("MRD-W726", "scene.mrb does not show the added maps, because this Python has no whole MRML library",
                  "pip install 'mrdeltanet[scene]' (slicer-core) and give the command again; or open the maps beside it (NRRD) in 3D Slicer")


def _on_one_grid(run: FinishedRun) -> Result:
    """The images of a run's folder, all on the pre scan's grid, with what is known of its maps."""
    said, transform = run.result, read_transform(run.path(TRANSFORM))
    pre, post = (run.image(file) for file in COMMON)
    found = {"pre": pre, "post": post}
    for name, image in _kept(run).items():
        if name == "pre_mask" or name.endswith("_pre"):
            found[name] = image
        else:
            found[name] = sitk.Resample(image, pre, transform, sitk.sitkNearestNeighbor if name in MASK_MEANINGS else sitk.sitkLinear, 0.0)
    return Result(images=found, transform=pipeline.IDENTITY, mask_sources=said["mask_sources"], map_facts=_facts(run, found))


def _on_own_grids(run: FinishedRun, scans: Mapping[str, sitk.Image], own: Mapping[str, Any]) -> Result:
    """The run as its scene wants it: every image on its own scan's grid."""
    images = {**scans, **_kept(run)}
    model = {**(run.result["model"] or {}), "maps": own.get("maps")}
    return Result(images=images, transform=read_transform(run.path(TRANSFORM)), mask_sources=run.result["mask_sources"], map_facts=_facts(run, images), model=model)


def _placed(run: FinishedRun, scans: Mapping[str, sitk.Image]) -> dict[str, sitk.Image]:
    """The scans of a scene on the very grids of the run's maps: the scene's files round a place in its last digits. Empty if they are other scans."""
    grids = {role: run.image(ALL_IMAGE_FILES[f"attention_{role}"]) for role in scans}
    if not all(same_grid(scan, grids[role]) for role, scan in scans.items()):
        return {}
    for role, scan in scans.items():
        scan.CopyInformation(grids[role])
    return dict(scans)


def _kept(run: FinishedRun) -> dict[str, sitk.Image]:
    """Masks and maps that are as they were written: one that somebody changed is not shown."""
    said = run.result
    names = [name for name in ALL_IMAGE_FILES if name in said["files"] and (name in MASK_MEANINGS or name in said["maps"])]
    return {name: run.image(ALL_IMAGE_FILES[name]) for name in names if run.holds(ALL_IMAGE_FILES[name])}


def _facts(run: FinishedRun, images: Container[str]) -> dict[str, Mapping[str, Any]]:
    return {name: facts for name, facts in run.result["maps"].items() if name in images}
