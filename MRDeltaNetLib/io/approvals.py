"""Which models from elsewhere this user trusts: by the digest of all their files, in the user's folder of settings.

An nnU-Net checkpoint is a pickle: reading it runs what its maker put there. So none is read before somebody said, of exactly these bytes, that
they come from where they should. Where the folder lies is not kept, but its digest is, so that a change can be told from a new folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.nnunet_model import FolderDigest, digest
from MRDeltaNetLib.io.settings import settings_folder
from MRDeltaNetLib.io.tables import read_json

FILE = "approved-models.json"
SCHEMA = "mrdeltanet.approved-models/1"


def approve(folder: Path | str, found: FolderDigest, facts: Mapping[str, Any] | None = None) -> None:
    """Keep that the user trusts these bytes.

    facts   what the model is, for a person who reads the file later; plain JSON
    raises  InputError MRD-E376 if the list is damaged; EnvironmentProblem as io/atomic
    """
    kept = [entry for entry in approved() if entry["sha256"] != found.sha256]
    _write([*kept, {"sha256": found.sha256, "files": found.files, "bytes": found.size, "place_sha256": _place(folder), **(facts or {})}])


def approve_shown(folder: Path | str, shown: FolderDigest, facts: Mapping[str, Any] | None = None) -> None:
    """Approve what the user was shown, and nothing that was put into the folder while he read.

    shown   the digest that was taken before the model was described
    raises  InputError MRD-E372 if the folder is not that any more; what approve and io.nnunet_model.digest raise
    """
    found = digest(folder)
    if found != shown:
        raise InputError("The model folder changed while it was looked at", code="MRD-E372", found=f"SHA-256 {found.sha256[:16]}... of {found.files} files",
                         fix="find out what writes into it, and look again")
    approve(folder, found, facts)


def withdraw(folder: Path | str, found: FolderDigest) -> int:
    """Trust these bytes no longer, nor what else was approved in this folder. Returns how many approvals were taken back.

    raises  as approve
    """
    entries = approved()
    kept = [entry for entry in entries if entry["sha256"] != found.sha256 and entry.get("place_sha256") != _place(folder)]
    if len(kept) != len(entries):
        _write(kept)
    return len(entries) - len(kept)


def require_approval(folder: Path | str, found: FolderDigest) -> None:
    """raises  InputError MRD-E371 if nobody approved these bytes; MRD-E372 if what was approved in this folder was something else; MRD-E376"""
    entries = approved()
    if any(entry["sha256"] == found.sha256 for entry in entries):
        return
    how = "look where it comes from, then approve it: mrdeltanet segment approve FOLDER"
    if any(entry.get("place_sha256") == _place(folder) for entry in entries):
        raise InputError("The model folder is not what was approved: a file of it was changed, added or removed since", code="MRD-E372",
                         found=f"SHA-256 {found.sha256[:16]}... of {found.files} files", fix=f"find out who changed it and why; if it is right, {how}")
    raise InputError("Nobody has approved this model yet, and reading an nnU-Net checkpoint runs code that its maker chose", code="MRD-E371",
                     found=f"SHA-256 {found.sha256[:16]}... of {found.files} files", fix=how)


def approved() -> list[dict[str, Any]]:
    """Every approval: sha256, files, bytes, place_sha256 and what was told of the model.

    raises  InputError MRD-E376 if the list is damaged
    """
    path = settings_folder() / FILE
    if not path.exists():
        return []
    try:
        found = read_json(path, what="the list of approved models")
    except InputError as problem:
        raise _damaged() from problem
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or not isinstance(found.get("models"), list):
        raise _damaged()
    if not all(isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and len(entry["sha256"]) == 64 for entry in found["models"]):
        raise _damaged()
    return found["models"]


def _write(entries: list[dict[str, Any]]) -> None:
    write_text(settings_folder() / FILE, json.dumps({"schema": SCHEMA, "models": entries}, indent=1) + "\n")


def _place(folder: Path | str) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()


def _damaged() -> InputError:
    return InputError("The list of approved models is damaged, so no model counts as approved", code="MRD-E376",
                      fix=f"remove {FILE} from the folder of settings and approve your models again")
