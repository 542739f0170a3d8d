"""Maps that are added to a finished run: new files, their entries in result.json, their digests in manifest.json.

The new files are first written into a folder of their own beside the run's and then take their place, the maps first, result.json and
manifest.json last. A process that is killed between those two leaves a manifest that does not fit; `mend` finishes what it began.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, folder_to_disk, output_problem, replace, sha256, write_text
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.images import write_image
from MRDeltaNetLib.io.results import ALL_IMAGE_FILES, MANIFEST, RESULT, as_text, map_header
from MRDeltaNetLib.io.tables import read_json

STAGE, LOCK = f"{TEMPORARY_PREFIX}maps-", f"{TEMPORARY_PREFIX}lock"
LOCK_LOOK_S, LOCK_STALE_S = 0.05, 20.0
"""How often a process that waits looks, and after how long it takes a lock for one that a killed process left."""


def read_run(folder: Path | str) -> FinishedRun:
    """A finished run, mended if a process was killed while it added maps. raises what FinishedRun raises"""
    mend(Path(folder))
    return FinishedRun(folder)


def add_maps(folder: Path | str, maps: Mapping[str, tuple[sitk.Image, Mapping[str, Any]]], *, history: Mapping[str, Any], seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Add maps to a finished run; those of the same names are replaced, those that another process adds meanwhile stay.

    maps     name (key of io.results.ALL_IMAGE_FILES) -> (sitk.Image float32 on its scan's grid, facts)
    history  the entry of result.json's history; one that is there already is not repeated
    seconds  wall times by step, for the manifest
    returns  names of the files
    raises   as read_run; EnvironmentProblem as io/atomic, with the run as it was
    """
    folder = Path(folder)
    files = {name: ALL_IMAGE_FILES[name] for name in maps}
    entries = {name: {"file": files[name], **facts} for name, (_, facts) in maps.items()}
    entry = {key: value for key, value in history.items() if key != "seconds"}
    with _stage(folder) as stage:
        for name, (image, facts) in maps.items():
            write_image(image, stage / files[name], header=map_header(facts))
        with _alone(folder):
            run = FinishedRun(folder)
            said, times = run.result, run.manifest["seconds"]
            said = {**said, "maps": _in_order({**said.get("maps", {}), **entries}), "files": _in_order({**said.get("files", {}), **files}),
                    "history": [*said["history"], *([] if entry in said["history"] else [entry])]}
            write_text(stage / RESULT, as_text(said, RESULT))
            manifest = {**run.manifest, "seconds": {**times, "steps": {**times.get("steps", {}), **seconds}}}
            _take_places(stage, folder, (*files.values(), RESULT), manifest)
    return tuple(files.values())


def put_file(folder: Path | str, name: str, write: Callable[[Path], Any]) -> None:
    """Give a finished run another of its files (report, scene). write: is given the path to write to. raises as add_maps, and what write raises"""
    folder = Path(folder)
    with _stage(folder) as stage:
        write(stage / name)
        with _alone(folder):
            _take_places(stage, folder, (name,), FinishedRun(folder).manifest)


def mend(folder: Path) -> None:
    """Finish what a killed process began: its files have taken their places, its manifest.json has not."""
    for stage in folder.glob(f"{STAGE}*"):
        if not _half_done(folder, stage):
            continue
        with _alone(folder):                               # the process may only be a moment from its end
            try:
                if _half_done(folder, stage):
                    replace(stage / MANIFEST, folder / MANIFEST)
                    shutil.rmtree(stage, ignore_errors=True)
            except OSError as problem:
                raise output_problem(problem) from problem


@contextlib.contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """A folder of its own for new files; removed at the end, unless a manifest that has to be put in its place is left in it."""
    stage = folder / f"{STAGE}{secrets.token_hex(8)}"
    try:
        stage.mkdir()
        yield stage
    except OSError as problem:
        raise output_problem(problem) from problem
    finally:
        if not _half_done(folder, stage):
            shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time lets its files take their places: of two that read the same result.json each would forget the other's maps.

    The lock is held for moments. One that stays for LOCK_STALE_S while somebody waits was left by a process that was killed, and is taken over.
    raises  OSError
    """
    path, waited = folder / LOCK, 0.0
    while True:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            break
        except FileExistsError:
            if waited >= LOCK_STALE_S:
                path.unlink(missing_ok=True)
                waited = 0.0
            time.sleep(LOCK_LOOK_S)
            waited += LOCK_LOOK_S
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _take_places(stage: Path, folder: Path, files: tuple[str, ...], manifest: Mapping[str, Any]) -> None:
    """Staged files take the place of the run's, in this order; then the manifest."""
    outputs = {**manifest["outputs"], **{file: sha256(stage / file) for file in files}}
    write_text(stage / MANIFEST, as_text({**manifest, "outputs": outputs}, MANIFEST))
    for file in (*files, MANIFEST):
        replace(stage / file, folder / file)
    folder_to_disk(folder)


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
