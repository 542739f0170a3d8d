"""The folder of an evaluation: tables as CSV and evaluation.json, which is written last and names every other file with its digest.

A folder without evaluation.json holds no finished evaluation. Schema: Resources/schemas/evaluation-1.schema.json, meaning: docs/reference/evaluation.md.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from dataclasses import replace as replace_fields
from hashlib import sha256 as digest
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import EnvironmentProblem, MRDeltaNetError
from MRDeltaNetLib.evaluation import SECTIONS, Evaluation, Table
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, folder_to_disk, replace, sha256, write_text
from MRDeltaNetLib.io.results import RESEARCH_USE, check_place, taking_place
from MRDeltaNetLib.io.tables import read_json, write_csv

EVALUATION = "evaluation.json"
TABLES, FIGURES, PAGE = "tables", "figures", "report.html"
FOLDERS = (TABLES, FIGURES)
CHANGING = f"{TEMPORARY_PREFIX}files.json"
"""There only while files take their place: the names of the earlier ones and of the new ones."""

SCHEMA = "mrdeltanet.evaluation/1"

JSON_LIMITS = replace_fields(GateLimits(), max_json_bytes=256 * 1024**2)
"""evaluation.json of a study with many sets is larger than other JSON that is read."""

_HARMLESS = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def stem(set_name: str, name: str) -> str:
    """Name of a table's or figure's file without its ending: "external_discrimination_roc".

    A set's name, and whatever a user's word brings into the other one, becomes letters, digits and underscores; where that changed it, a few digits of
    its digest keep two names apart.
    """
    return f"{_safe(set_name)}_{_safe(name)}"


def check_folder(out: Path | str) -> None:
    """Refuse an output folder before anything is computed. Changes nothing on the disk.

    raises  EnvironmentProblem MRD-E493 (it holds files that are not from an earlier evaluation), E820, E824, E826, E811 to E813
    """
    check_place(out, _refuse_foreign)


@contextlib.contextmanager
def staged(out: Path | str) -> Iterator[Path]:
    """All files of an evaluation appear together: yields an empty folder to write into, whose files then take the place of an earlier evaluation's.

    On failure the earlier files stay as they were. An evaluation that is killed while files change places leaves no evaluation.json; the next one goes on.
    raises  EnvironmentProblem as check_folder and io/atomic
    """
    out = Path(out)
    check_folder(out)
    with taking_place(out, _take_place) as folder:
        yield folder


def write_evaluation(evaluation: Evaluation, folder: Path | str, others: Iterable[str] = ()) -> tuple[str, ...]:
    """Write tables, then evaluation.json.

    folder   that of `staged`
    others   names, relative to the folder, of files that somebody else wrote there (page, figures)
    returns  names of all files, sorted
    raises   EnvironmentProblem as io/atomic
    """
    folder = Path(folder)
    written = list(others)
    for set_name, parts in evaluation.sets.items():
        for part in parts.values():
            for name, table in part.tables.items():
                written.append(f"{TABLES}/{stem(set_name, name)}.csv")
                _write_table(folder / written[-1], table)
    files = {name: sha256(folder / name) for name in sorted(written)}
    write_text(folder / EVALUATION, as_json(evaluation, files))
    return (*files, EVALUATION)


def as_json(evaluation: Evaluation, files: Mapping[str, str] | None = None) -> str:
    """The text of evaluation.json: the main set's sections at the top, those of every set below `sets`; the same input gives the same text."""
    sets = {name: _sections(parts) for name, parts in evaluation.sets.items()}
    omitted = [{"set": name, "section": entry.section, "what": entry.what, "reason": entry.reason, "fix": entry.fix}
               for name, parts in evaluation.sets.items() for part in parts.values() for entry in part.omissions]
    whole = {"schema": SCHEMA, "intended_use": RESEARCH_USE, "main_set": evaluation.main_set, **sets[evaluation.main_set], "sets": sets, "omissions": omitted,
             "notes": {name: {section: list(part.notes) for section, part in parts.items() if part.notes} for name, parts in evaluation.sets.items()},
             "facts": evaluation.facts, "aids": evaluation.aids, "files": dict(files or {})}
    return json.dumps(finite(whole), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """The value in JSON's own types; a number that is not known or not finite is null."""
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()                              # a number of numpy's
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sections(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {section: parts[section].values for section in SECTIONS}


def _write_table(path: Path, table: Table) -> None:
    """One table; its notes stand in evaluation.json and on the page, because a CSV file has no place for them."""
    write_csv(path, (dict(zip(table.columns, map(finite, row))) for row in table.rows), table.columns)


def _safe(name: str) -> str:
    plain = _UNSAFE.sub("_", name).strip("_")[:80]
    return plain if plain == name and plain else f"{plain}_{digest(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}".lstrip("_")


def _ours(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX) or name.casefold() in _HARMLESS


def _refuse_foreign(out: Path) -> None:
    foreign = _foreign(out) if out.is_dir() else 0
    if foreign:
        raise EnvironmentProblem("The output folder holds files that are not from an earlier evaluation", code="MRD-E493",
                                 found=f"{foreign} other file{'' if foreign == 1 else 's'} or folder{'' if foreign == 1 else 's'}",
                                 fix="choose a new or empty folder, so that nothing of yours is mixed with results")


def _foreign(out: Path) -> int:
    """How many files and folders no evaluation has written."""
    known, count = _known(out), 0
    for entry in out.iterdir():
        if entry.name in FOLDERS and entry.is_dir() and not entry.is_symlink():
            count += sum(f"{entry.name}/{inner.name}" not in known and not _ours(inner.name) for inner in entry.iterdir())
        elif not _ours(entry.name) and (entry.name not in known or entry.is_dir()):
            count += 1
    return count


def _known(out: Path) -> set[str]:
    """Names that an earlier evaluation says it has written, finished or broken off while its files took their place."""
    known: set[str] = set()
    for name in (EVALUATION, CHANGING):
        with contextlib.suppress(MRDeltaNetError):
            told = read_json(out / name, JSON_LIMITS, what="the earlier evaluation")
            if isinstance(told, dict) and str(told.get("schema")).startswith("mrdeltanet.evaluation/") and isinstance(told.get("files"), dict):
                known |= {name, *filter(_possible, told["files"])}
    return known


def _possible(name: str) -> bool:
    """Whether an evaluation may have written a file of this name; evaluation.json may come from anybody."""
    folder, _, file = name.rpartition("/")
    return (folder in FOLDERS and "\\" not in file and file not in ("", ".", "..")) or name == PAGE or name == EVALUATION


def _take_place(folder: Path, out: Path) -> None:
    """The new files instead of the earlier ones, evaluation.json first away and last there; CHANGING says meanwhile which files are whose."""
    earlier = _known(out) - {EVALUATION, CHANGING}
    new = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    write_text(out / CHANGING, json.dumps({"schema": SCHEMA, "files": dict.fromkeys(sorted({*earlier, *new}), "")}))
    (out / EVALUATION).unlink(missing_ok=True)
    for name in sorted(earlier - set(new)):
        (out / name).unlink(missing_ok=True)
    for name in sorted(new, key=lambda name: name == EVALUATION):
        (out / name).parent.mkdir(exist_ok=True)
        replace(folder / name, out / name)
    for place in (*(out / name for name in FOLDERS), out):
        if place.is_dir():
            folder_to_disk(place)
    (out / CHANGING).unlink()
