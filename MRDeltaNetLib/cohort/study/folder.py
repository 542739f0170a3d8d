"""The output folder of a study: one training at a time, and never two studies in one folder.

    study.json          what is trained here: digests of everything that decides over the weights, and the software that began it
    members/<name>/     one folder a network: checkpoints, logs, weights, and scores.json, written last
    oof.csv, oof_embeddings.csv, predictions.csv, embeddings.csv, training.json
    bundle/             the model
    .lock               held by the training that runs
    pretraining/        may stand beside these: `mrdeltanet pretrain` with the same `out`; so may a cache of crops
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Iterator, Mapping

import MRDeltaNetLib
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, write_text
from MRDeltaNetLib.io.locking import BEAT_EVERY_S, beating
from MRDeltaNetLib.io.tables import read_json

STUDY, LOCK, MEMBERS, BUNDLE, RECORD = "study.json", ".lock", "members", "bundle", "training.json"
SCHEMA = "mrdeltanet.study/1"
PRETRAINING, CACHE_MARK = "pretraining", "cache.json"

OURS = frozenset({"ablation.json", "ablation.md", "bundle", "cache.json", "card.md", "controls.csv", "controls.json", "controls.txt", "crops", "embeddings.csv",
                  "failures.csv", "manifest.json", "members", "metrics.csv", "model.json", "oof.csv", "oof_embeddings.csv", "parts", "prediction.json",
                  "predictions.csv", "report.html", "result.json", "scores", "state", "training.json", "variants", "verify.csv", "verify.json", "verify.md"})
"""Names that commands of this package give: a refusal may say them, while any other name may be a patient's."""

NAMED = 3
"""Names that one refusal says."""

PARTS = {"model": "another model or other settings of it", "preprocessing": "other preprocessing", "registration": "another registration",
         "training": "other settings of the training", "validation": "other folds, seeds or events wanted", "start": "other weights to start from",
         "keys": "other cases, or other scans or masks of them", "rows": "other outcomes, centres, sets or folds in the table, or rows in another order",
         "predicts with": "another model bundle", "verifies": "maps of another model"}
"""Part of a study's or prediction's facts -> what it means that it differs."""


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a folder for this process alone; the system lets go of it when the process ends, however it ends.

    While the block runs, other computers are shown that this one is alive: a share may carry no locks between them.
    raises  EnvironmentProblem MRD-E777 if another process holds it; E810 to E813 if the folder cannot be made
    """
    from MRDeltaNetLib.cohort.training.locking import folder_lock

    with contextlib.ExitStack() as stack:
        try:
            beat = stack.enter_context(folder_lock(out))
        except EnvironmentProblem as problem:
            if problem.code != "MRD-E763":
                raise
            raise EnvironmentProblem("Another command is writing into this output folder", code="MRD-E777", found=problem.found,
                                     fix="wait until that command has ended, or choose another output folder") from problem
        stack.enter_context(beating(beat, BEAT_EVERY_S))
        yield


def claim(out: Path, facts: Mapping[str, Any]) -> None:
    """Note what this folder is for, or see that it is the same as what was begun here.

    facts   plain JSON of everything that decides over the result, part by part
    raises  UsageError MRD-E776 if the folder holds another study's work, or files of somebody else; it says what differs, and whether another
            version of MRDeltaNet, of its code or of its libraries began the work, for that makes other crops
    """
    place = out / STUDY
    note = {"schema": SCHEMA, "sha256": digest(facts), "parts": {name: digest(value) for name, value in facts.items()}, "software": software()}
    if not place.exists():
        refuse_foreign(out)
        write_text(place, json.dumps(note, indent=1) + "\n")
        return
    try:
        begun = read_json(place, what="the note of what the folder is for")
        same = begun["schema"] == SCHEMA and begun["sha256"] == note["sha256"]
    except (InputError, KeyError, TypeError):
        begun, same = {}, False
    if not same:
        raise _another(begun if isinstance(begun, Mapping) else {}, note)


def refuse_foreign(out: Path) -> None:
    """See that a folder in which nothing was begun holds nothing of somebody else.

    raises  UsageError MRD-E776
    """
    if not (out / STUDY).exists() and (foreign := [path for path in out.iterdir() if not _may_stay(path)]):
        raise _foreign(foreign)


def software() -> dict[str, str]:
    """What makes crops: the versions of MRDeltaNet and of the libraries under it, and SHA-256 of the code."""
    from MRDeltaNetLib.cohort.preparing.cases import code_versions

    return {"mrdeltanet": MRDeltaNetLib.__version__, **code_versions()}


def _may_stay(path: Path) -> bool:
    """Whether something may stand in a folder in which a study begins: locks, what killed runs left, pretraining with the same `out`, a cache."""
    return path.name == LOCK or path.name.startswith(TEMPORARY_PREFIX) or path.is_dir() and (path.name == PRETRAINING or (path / CACHE_MARK).is_file())


def _foreign(paths: list[Path]) -> UsageError:
    ours = sorted(path.name for path in paths if path.name in OURS)
    named = f", among them {', '.join(ours[:NAMED])}" if ours else ""
    first = "each command that writes needs an 'out' of its own (pretrain and train may share one); " if ours else ""
    return UsageError("The output folder holds other files, which could be overwritten", code="MRD-E776",
                      found=f"{len(paths)} file{'s or folders' if len(paths) > 1 else ' or folder'}{named}",
                      fix=f"{first}choose a folder that is new or empty; it is made if it is not there")


def _another(begun: Mapping[str, Any], note: Mapping[str, Any]) -> UsageError:
    """What differs between what was begun and what is wanted; a note of an earlier version does not tell it."""
    parts, then, now = begun.get("parts"), begun.get("software"), note["software"]
    if not isinstance(parts, Mapping) or not isinstance(then, Mapping):
        found = "another model, other settings or cases, or another version of MRDeltaNet, which makes other crops"
        return _not_this(found, "choose a new output folder, or repeat the earlier command with the configuration, table and version it was begun with")
    if not set(parts) & set(note["parts"]):
        return _not_this("a training's folder is wanted for a prediction, or the other way round", "choose a new output folder")
    changed = [words for name, words in PARTS.items() if parts.get(name) != note["parts"].get(name)]
    moved = _moved(then, now) if parts.get("keys") != note["parts"].get("keys") else ""
    if moved:
        changed = [words for words in changed if words != PARTS["keys"]] + [f"crops of {moved}"]
        fix = "choose a new output folder; or, to go on with the earlier work, use what began it"
    else:
        fix = "choose a new output folder, or repeat the earlier command with the configuration and table it was begun with"
    return _not_this("; ".join(changed) or "what decides over the result", fix)


def _moved(then: Mapping[str, Any], now: Mapping[str, str]) -> str:
    """Which software is another than that which began; "" if none."""
    if then.get("mrdeltanet") != now["mrdeltanet"]:
        return f"another version of MRDeltaNet (begun with {str(then.get('mrdeltanet'))[:20]}, now {now['mrdeltanet']})"
    if then.get("code") != now["code"]:
        return f"another version of MRDeltaNet (both call themselves {now['mrdeltanet']}, but the code that makes crops is another)"
    libraries = [f"{name} {str(then.get(name))[:20]}, now {version}" for name, version in now.items() if then.get(name) != version]
    return f"other versions of libraries ({'; '.join(libraries)})" if libraries else ""


def _not_this(found: str, fix: str) -> UsageError:
    return UsageError("The output folder holds the work of another training or prediction", code="MRD-E776", found=found, fix=fix)


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
