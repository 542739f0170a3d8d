"""training.json: everything that happened, as plain JSON that is checked before it is written and when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.tables import read_json

SCHEMA = "mrdeltanet.training/1"

KEYS: Mapping[str, tuple[type, ...]] = {
    "schema": (str,), "made": (str,), "name": (str,), "kind": (str,), "config": (dict,), "versions": (dict,), "cohort": (dict,), "folds": (dict,), "members": (list,),
    "out_of_fold": (dict,), "per_centre": (dict,), "leave_one_centre_out": (dict, type(None)), "other_sets": (dict,), "held_out": (dict,),
    "calibration": (dict,), "threshold": (dict,), "bundle": (dict,), "notices": (list,)}
"""Keys of training.json and their types; all of them, and no other. docs/reference/study-config.md says what they mean."""

MAY = {"fusion": dict}
"""Keys that some studies have: of a fusion, set -> what the clinical values add to the imaging score."""

MEMBER_KEYS = ("name", "seed", "repeat", "fold", "centre", "epochs", "best_epoch", "best_value", "monitor", "training", "stopping", "held_out",
               "history", "weights_sha256")
MEMBER_MAY = ("assumed",)
"""Of tabular models alone: code of a warning -> columns that it held for when the fold's model scored all cases."""
MAX_BYTES = 64 * 1024**2


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write training.json; atomic. raises ValueError if it is not what KEYS says, or holds a number that is not finite."""
    if problem := _problem(record):
        raise ValueError(problem)
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Read training.json. raises InputError as read_json, and MRD-E784 if it is of another version or not whole."""
    record = read_json(path, GateLimits(max_json_bytes=MAX_BYTES), what="the training record")
    if problem := _problem(record):
        raise InputError("The training record cannot be used", code="MRD-E784", found=problem, fix="run `mrdeltanet train` again in this folder")
    return record


def _problem(record: Any) -> str:
    """What is wrong, in words; empty if nothing is."""
    if not isinstance(record, Mapping) or record.get("schema") != SCHEMA:
        return f"not {SCHEMA}"
    if set(record) - set(MAY) != set(KEYS):
        return "missing or unknown: " + ", ".join(sorted((set(record) - set(MAY)) ^ set(KEYS)))[:200]
    if wrong := [name for name, kinds in {**KEYS, **MAY}.items() if name in record and not isinstance(record[name], kinds)]:
        return "of the wrong kind: " + ", ".join(wrong)
    if any(not isinstance(member, Mapping) or set(member) - set(MEMBER_MAY) != set(MEMBER_KEYS) for member in record["members"]):
        return "a member without " + ", ".join(MEMBER_KEYS)
    return ""
