"""One case as a door keeps it on disk, so that it can be stopped and started again: scans, outlines, alignment, results, choices.

    case.json                      what there is: each file's stored name and SHA-256; replaced last, in one piece
    pre-*.nrrd, post-*.nrrd        the scans; pre-*.dcm, post-*.dcm: one DICOM file of each, if it came as DICOM
    pre_mask-*.nrrd, post_mask-*.nrrd, residual_mask-*.nrrd   what a person drew
    post_suggestion-*.nrrd         a tumour bed that was carried over and that nobody has touched
    alignment-*/                   transform and result.json of the run that made it
    result-*/                      the last result, as a run leaves it
    .lock                          held by the door that has it open

The star is the beginning of a digest: what changes gets another name, and what case.json names stays until the next case.json is there. So a
door that is killed at any moment leaves its last whole state. A folder without case.json that holds pre.nrrd, post.nrrd and masks (a case of
`mrdeltanet simulate`) is taken as a case that nothing was done with; those files are read and never written or removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Mapping

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, atomic, output_problem, sha256, write_text
from MRDeltaNetLib.io.locking import LOCK, beating, folder_lock
from MRDeltaNetLib.io.tables import read_json

FILE, SCHEMA = "case.json", "mrdeltanet.case/1"
SCANS = ("pre", "post")
MASKS = ("pre", "post", "residual")
SUGGESTIONS = ("post",)
ALIGNMENT, RESULT = "alignment", "result"
DIGITS = 12

IMAGE, HEADER, MASK, SUGGESTION = "{}.nrrd", "{}.dcm", "{}_mask.nrrd", "{}_suggestion.nrrd"
"""Names of a case's files by the role of what they hold."""

_WRITING = threading.Lock()
"""A folder has one door, but a door may have two threads: what one has just written the other must not take for a leftover."""

_DIGEST = rf"-[0-9a-f]{{{DIGITS}}}"
_FOLDERS = rf"(?:{ALIGNMENT}|{RESULT}){_DIGEST}"
_STORED = re.compile(rf"(?:(?:pre|post){_DIGEST}\.(?:nrrd|dcm)|(?:pre|post|residual)_mask{_DIGEST}\.nrrd|post_suggestion{_DIGEST}\.nrrd|"
                     rf"{_FOLDERS}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+)")
"""Names under which files of a case are stored; nothing else is read, and nothing else removed."""


@dataclass(frozen=True)
class KeptCase:
    """What a case folder holds.

    scans        "pre", "post" -> image file; headers: the same -> one DICOM file
    masks        "pre", "post", "residual" -> mask file
    suggestions  "post" -> mask file of an outline that nobody drew
    alignment    folder of transform and result.json, None without any; result: folder of the last result
    choices      plain values by name, of mrml.sitting.Choices
    rests_on     "alignment", "result" -> fingerprint of what it rests on
    own          a door wrote all of it, and nothing has changed since; False: files of somebody else
    """

    scans: Mapping[str, Path] = field(default_factory=dict)
    headers: Mapping[str, Path] = field(default_factory=dict)
    masks: Mapping[str, Path] = field(default_factory=dict)
    suggestions: Mapping[str, Path] = field(default_factory=dict)
    alignment: Path | None = None
    result: Path | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    rests_on: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    own: bool = False


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Have a case folder for one door alone, for as long as it is open; made if need be. Other computers are shown all the time that it is.

    raises  EnvironmentProblem MRD-E922 if another door has it, E810 to E813 if it cannot be written; UsageError MRD-E920 if it is a file
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("The case folder is a file", code="MRD-E920", fix="name a folder, or a new one")
    with folder_lock(folder, _in_use) as beat, beating(beat):
        yield


def read_case_folder(folder: Path, limits: GateLimits = GateLimits()) -> KeptCase:
    """What the folder holds; nothing if it is new or empty.

    raises  UsageError MRD-E920 if it holds other things only; InputError MRD-E921 if case.json is none of ours, or a file that it names is gone
            or was changed
    """
    if not (folder / FILE).is_file():
        return _plain(folder)
    try:
        written = read_json(folder / FILE, limits, what="case.json")
    except InputError as problem:
        raise _damaged("case.json cannot be read") from problem
    files = _entries(written)
    for stored, digest in files.values():
        path = folder / stored
        if not path.is_file() or sha256(path) != digest:
            raise _damaged("a file of the case is gone or was changed")
    at = lambda roles, form: {role: folder / files[form.format(role)][0] for role in roles if form.format(role) in files}
    inside = lambda part: next((folder / stored.split("/")[0] for name, (stored, _) in files.items() if name.startswith(f"{part}/")), None)
    return KeptCase(at(SCANS, IMAGE), at(SCANS, HEADER), at(MASKS, MASK), at(SUGGESTIONS, SUGGESTION), inside(ALIGNMENT), inside(RESULT),
                    written["choices"], written["rests_on"], own=True)


def write_case_folder(folder: Path, case: KeptCase) -> None:
    """Bring the folder up to date; what is there already stays.

    raises  EnvironmentProblem MRD-E810 to E813 if it cannot be written; the folder's last state is whole then
    """
    wanted = {form.format(role): path for form, paths in ((IMAGE, case.scans), (HEADER, case.headers), (MASK, case.masks), (SUGGESTION, case.suggestions))
              for role, path in paths.items()}
    with _WRITING:
        try:
            files = {name: _stored(folder, name, path) for name, path in sorted(wanted.items())}
            for part, source in ((ALIGNMENT, case.alignment), (RESULT, case.result)):
                files |= {} if source is None else _stored_folder(folder, part, source)
            write_text(folder / FILE, json.dumps({"schema": SCHEMA, "files": files, "choices": dict(case.choices), "rests_on": dict(case.rests_on)},
                                                 indent=1, sort_keys=True))
            _remove_others(folder, {entry["file"] for entry in files.values()})
        except OSError as problem:
            raise output_problem(problem) from problem


def kept_result(folder: Path) -> Path | None:
    """The copy of the last result that the folder holds, of whichever state; None without one."""
    return next((path for path in sorted(folder.glob(f"{RESULT}-*")) if path.is_dir() and re.fullmatch(_FOLDERS, path.name)), None)


def _entries(written: Any) -> dict[str, tuple[str, str]]:
    """Name -> (stored name, SHA-256) out of case.json."""
    if not isinstance(written, dict) or written.get("schema") != SCHEMA or not all(isinstance(written.get(part), dict) for part in ("files", "choices", "rests_on")):
        raise _damaged("case.json is of another version, or not of MRDeltaNet")
    if not all(isinstance(parts, dict) and all(isinstance(digest, str) for digest in parts.values()) for parts in written["rests_on"].values()):
        raise _damaged("case.json does not say what its results rest on")
    found = {}
    for name, entry in written["files"].items():
        stored, digest = (entry.get("file"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if not isinstance(stored, str) or not isinstance(digest, str) or not _belongs(name, stored, digest):
            raise _damaged("case.json names a file that no door has put there")
        found[name] = (stored, digest)
    return found


def _belongs(name: str, stored: str, digest: str) -> bool:
    """Whether a file of a case would be stored under this name."""
    part, inside, rest = name.partition("/")
    if not inside:
        return stored == _stored_name(name, digest) and _STORED.fullmatch(stored) is not None
    return _STORED.fullmatch(stored) is not None and stored.split("/", 1)[-1] == rest and stored.startswith(f"{part}-")


def _stored_name(name: str, digest: str) -> str:
    stem, ending = name.rsplit(".", 1) if "." in name else (name, "")
    return f"{stem}-{digest[:DIGITS]}.{ending}"


def _stored(folder: Path, name: str, source: Path) -> dict[str, str]:
    digest = sha256(source)
    return _copied(source, folder, _stored_name(name, digest), digest)


def _stored_folder(folder: Path, part: str, source: Path) -> dict[str, dict[str, str]]:
    """All files of a run's folder under one name that stands for all of them."""
    digests = {path.relative_to(source).as_posix(): (path, sha256(path)) for path in sorted(source.rglob("*")) if path.is_file()}
    whole = hashlib.sha256("\n".join(f"{name} {digest}" for name, (_, digest) in digests.items()).encode()).hexdigest()[:DIGITS]
    return {f"{part}/{name}": _copied(path, folder, f"{part}-{whole}/{name}", digest) for name, (path, digest) in digests.items()}


def _copied(source: Path, folder: Path, stored: str, digest: str) -> dict[str, str]:
    target = folder / stored
    if not target.is_file() or sha256(target) != digest:
        with atomic(target) as unfinished:
            shutil.copyfile(source, unfinished)
    return {"file": stored, "sha256": digest}


def _remove_others(folder: Path, names: set[str]) -> None:
    """Take away what an earlier state left, and what a killed door had begun to write: names of ours, in places of ours only."""
    for path in _ours(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in names:
            path.unlink()


def _ours(folder: Path) -> list[Path]:
    """Everything that a door has put there, or begun to, but case.json and the lock; what lies in a folder before the folder."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            found += [*sorted(path.rglob("*"), reverse=True), path] if re.fullmatch(_FOLDERS, path.name) else []
        elif _STORED.fullmatch(path.name) or path.name.startswith(TEMPORARY_PREFIX):
            found.append(path)
    return found


def _plain(folder: Path) -> KeptCase:
    """Somebody else's scans and masks; nothing, where a door was killed before its first case.json."""
    at = lambda roles, form: {role: path for role in roles if (path := folder / form.format(role)).is_file()}
    found = KeptCase(at(SCANS, IMAGE), {}, at(MASKS, MASK))
    if folder.is_dir() and not found.scans and any(path.name != LOCK and path not in _ours(folder) for path in folder.iterdir()):
        raise UsageError("The case folder holds other files and no case", code="MRD-E920", fix="name a new or empty folder, or one that a page left")
    return found


def _damaged(found: str) -> InputError:
    return InputError("The case folder cannot be taken up again", code="MRD-E921", found=found, fix="name a new folder and load the scans again")


def _in_use(who: str, more: str) -> EnvironmentProblem:
    return EnvironmentProblem("The case folder is open already", code="MRD-E922", found=f"a lock held by {who}{more}",
                              fix="use the page that has it open, or end that one first; or name another folder")
