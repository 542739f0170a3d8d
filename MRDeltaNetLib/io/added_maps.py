"""Maps that are added to a finished run: new files, their entries in result.json, their digests in manifest.json.

The new files are first written into a folder of their own beside the run's and then take their place, the maps first, result.json and
manifest.json last. A process that is killed between those two leaves a manifest that does not fit; `mend` finishes what it began.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any, Callable, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, folder_to_disk, output_problem, replace, sha256, write_text
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.images import write_image
from MRDeltaNetLib.io.results import ALL_IMAGE_FILES, MANIFEST, REPORT, RESULT, as_text, map_header
from MRDeltaNetLib.io.tables import read_json

STAGE = f"{TEMPORARY_PREFIX}maps-"


def read_run(folder: Path | str) -> FinishedRun:
    """A finished run, mended if a process was killed while it added maps. raises what FinishedRun raises"""
    mend(Path(folder))
    return FinishedRun(folder)


def add_maps(folder: Path | str, maps: Mapping[str, tuple[sitk.Image, Mapping[str, Any]]], *, history: Mapping[str, Any], seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Add maps to a finished run; those of the same names are replaced.

    maps     name (key of io.results.ALL_IMAGE_FILES) -> (sitk.Image float32 on its scan's grid, facts)
    history  the entry of result.json's history; one that is there already is not repeated
    seconds  wall times by step, for the manifest
    returns  names of the files
    raises   as read_run; EnvironmentProblem as io/atomic, with the run as it was
    """
    folder = Path(folder)
    run = read_run(folder)
    said, manifest = run.result, run.manifest
    files = {name: ALL_IMAGE_FILES[name] for name in maps}
    entries = {name: {"file": files[name], **facts} for name, (_, facts) in maps.items()}
    entry = {key: value for key, value in history.items() if key != "seconds"}
    said = {**said, "maps": _in_order({**said.get("maps", {}), **entries}), "files": _in_order({**said.get("files", {}), **files}),
            "history": [*said["history"], *([] if entry in said["history"] else [entry])]}
    times = manifest["seconds"]
    manifest = {**manifest, "seconds": {**times, "steps": {**times.get("steps", {}), **seconds}}}

    def write(stage: Path) -> tuple[str, ...]:
        for name, (image, facts) in maps.items():
            write_image(image, stage / files[name], header=map_header(facts))
        write_text(stage / RESULT, as_text(said, RESULT))
        return (*files.values(), RESULT)

    _exchange(folder, manifest, write)
    return tuple(files.values())


def put_report(folder: Path | str, page: str) -> None:
    """Give a finished run another report.html. raises as add_maps"""
    folder = Path(folder)
    run = read_run(folder)

    def write(stage: Path) -> tuple[str, ...]:
        write_text(stage / REPORT, page)
        return (REPORT,)

    _exchange(folder, run.manifest, write)


def _exchange(folder: Path, manifest: Mapping[str, Any], write: Callable[[Path], tuple[str, ...]]) -> None:
    """Files that `write` puts into a folder of their own take the place of the run's, in the order in which it names them; then the manifest."""
    stage = folder / f"{STAGE}{secrets.token_hex(8)}"
    try:
        stage.mkdir()
        files = write(stage)
        outputs = {**manifest["outputs"], **{file: sha256(stage / file) for file in files}}
        write_text(stage / MANIFEST, as_text({**manifest, "outputs": outputs}, MANIFEST))
        for file in (*files, MANIFEST):
            replace(stage / file, folder / file)
        folder_to_disk(folder)
    except OSError as problem:
        raise output_problem(problem) from problem
    finally:
        if not _half_done(folder, stage):
            shutil.rmtree(stage, ignore_errors=True)


def mend(folder: Path) -> None:
    """Finish what a killed process began: its files have taken their places, its manifest.json has not."""
    for stage in folder.glob(f"{STAGE}*"):
        if _half_done(folder, stage):
            try:
                replace(stage / MANIFEST, folder / MANIFEST)
            except OSError as problem:
                raise output_problem(problem) from problem
            shutil.rmtree(stage, ignore_errors=True)


def _half_done(folder: Path, stage: Path) -> bool:
    """Whether the folder's files are those that this stage's manifest, which alone is left in it, knows."""
    try:
        told, known = (read_json(place / MANIFEST, what="the manifest")["outputs"] for place in (stage, folder))
        new = {name: digest for name, digest in told.items() if known.get(name) != digest}
        return [path.name for path in stage.iterdir()] == [MANIFEST] and all(sha256(folder / name) == digest for name, digest in new.items())
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        return False


def _in_order(entries: Mapping[str, Any]) -> dict[str, Any]:
    """As a run writes them: in the order of ALL_IMAGE_FILES, then what else there is."""
    known = {name: entries[name] for name in ALL_IMAGE_FILES if name in entries}
    return known | {name: value for name, value in entries.items() if name not in known}
