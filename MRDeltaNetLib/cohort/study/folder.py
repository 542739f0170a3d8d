"""The output folder of a study: one training at a time, and never two studies in one folder.

    study.json          what is trained here, as a digest of everything that decides over the weights
    members/<name>/     one folder a network: checkpoints, logs, weights, and scores.json, written last
    oof.csv, oof_embeddings.csv, predictions.csv, embeddings.csv, training.json
    bundle/             the model
    .lock               held by the training that runs
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Iterator

from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, write_text
from MRDeltaNetLib.io.tables import read_json

STUDY, LOCK, MEMBERS, BUNDLE, RECORD = "study.json", ".lock", "members", "bundle", "training.json"
SCHEMA = "mrdeltanet.study/1"


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a folder for this process alone; the system lets go of it when the process ends, however it ends.

    raises  EnvironmentProblem MRD-E777 if another process holds it; E810 to E813 if the folder cannot be made
    """
    from MRDeltaNetLib.cohort.training.locking import folder_lock

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder_lock(out))
        except EnvironmentProblem as problem:
            if problem.code != "MRD-E763":
                raise
            raise EnvironmentProblem("Another command is writing into this output folder", code="MRD-E777", found=problem.found,
                                     fix="wait until that command has ended, or choose another output folder") from problem
        yield


def claim(out: Path, facts: Any) -> None:
    """Note what this folder is for, or see that it is the same as what was begun here.

    facts   plain JSON of everything that decides over the result
    raises  UsageError MRD-E776 if the folder holds another study's work, or files of somebody else
    """
    wanted, place = digest(facts), out / STUDY
    if not place.exists():
        foreign = [path.name for path in out.iterdir() if path.name != LOCK and not path.name.startswith(TEMPORARY_PREFIX)]
        if foreign:
            raise UsageError("The output folder holds other files, which could be overwritten", code="MRD-E776",
                             found=f"{len(foreign)} files or folders", fix="choose a new or empty folder")
        write_text(place, json.dumps({"schema": SCHEMA, "sha256": wanted}, indent=1) + "\n")
        return
    try:
        begun = read_json(place, what="the note of what the folder is for")
        same = begun["schema"] == SCHEMA and begun["sha256"] == wanted
    except (InputError, KeyError, TypeError):
        same = False
    if not same:
        raise UsageError("The output folder holds the work of another training or prediction", code="MRD-E776",
                         found="another model, other settings or, of a training, other cases",
                         fix="choose a new output folder, or repeat the earlier command with what it was begun with")


def clean(out: Path) -> None:
    """Remove what a killed run left half written at the top of the folder; only while the lock is held."""
    for path in out.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def digest(facts: Any) -> str:
    """SHA-256 of plain JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()
