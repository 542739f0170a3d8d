"""The values of a job, whatever job it is: each of the right kind and within its range, or refused with a remedy; and a job as the text of a file."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Iterable, Mapping, TypeVar

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io.tables import short

Form = TypeVar("Form")

MAX_UID_CHARACTERS = 128


def refuse_unknown(given: Mapping[str, Any], names: Iterable[str], command: str) -> None:
    """raises UsageError MRD-E403 for a name that is none of these; command: whose --help lists them"""
    names = tuple(names)
    for name in given:
        if name in names or name == "schema":
            continue
        if not isinstance(name, str):
            raise UsageError("A name in the job is not text", code="MRD-E403", found=type(name).__name__, fix=f"see mrdeltanet {command} --help")
        wanted = name.strip().lstrip("-").replace("-", "_").casefold()
        raise UsageError("The job holds a name that is not known, perhaps a typing error", code="MRD-E403", found=f"'{short(name)}'",
                         fix=nearest(wanted, names, 0.5) + f"known are {', '.join(names)}")


def refuse_other_schema(given: Mapping[str, Any], schema: str) -> None:
    """raises UsageError MRD-E406 for a job file of another kind or version"""
    if given.get("schema", schema) != schema:
        raise UsageError("The job file is of another kind, or of another version of MRDeltaNet", code="MRD-E406",
                         found=f"schema {short(str(given['schema']))}", fix=f"write it again with this version, which reads {schema}")


def path(name: str, value: Any, base: Path | None) -> Path:
    """A path, relative to base if one is given. raises UsageError MRD-E405, E409"""
    if not isinstance(value, (str, os.PathLike)):
        raise wrong_kind(name, value, "a path, which is a text")
    text = os.fspath(value)
    if not text or "\0" in text:
        raise UsageError(f"'{name}' is not a possible path", code="MRD-E409", found="an empty text" if not text else "a NUL character in it",
                         fix="name a file or folder, or leave it out")
    return Path(text) if base is None else base / text


def whole_number(name: str, value: Any, low: int, high: int, wanted: str = "a whole number") -> int:
    """A whole number from low to high. raises UsageError MRD-E405, E406"""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_kind(name, value, wanted)
    if not low <= value <= high:
        raise UsageError(f"'{name}' is out of range", code="MRD-E406", found=short(str(value)) if abs(value) < 10**20 else "a huge number",
                         fix=f"choose a whole number from {low} to {high}")
    return value


def switch(name: str, value: Any) -> bool:
    """True or false. raises UsageError MRD-E405"""
    if not isinstance(value, bool):
        raise wrong_kind(name, value, "true or false")
    return value


def choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """One of the choices. raises UsageError MRD-E405, E406"""
    choices = tuple(choices)
    if not isinstance(value, str):
        raise wrong_kind(name, value, "a text")
    if value not in choices:
        raise UsageError(f"'{name}' has no such choice", code="MRD-E406", found=f"'{short(value)}'",
                         fix=nearest(value.casefold(), choices) + f"choose one of {', '.join(choices)}")
    return value


def series_uid(name: str, value: Any) -> str:
    """The UID of a DICOM series. raises UsageError MRD-E405, E406"""
    if not isinstance(value, str):
        raise wrong_kind(name, value, "a text")
    if not value.strip() or len(value) > MAX_UID_CHARACTERS or not value.isprintable():
        raise UsageError(f"'{name}' is not the UID of a DICOM series", code="MRD-E406", found=f"{len(value)} characters",
                         fix="copy the UID from what mrdeltanet check lists")
    return value


def wrong_kind(name: str, value: Any, wanted: str) -> UsageError:
    """UsageError MRD-E405: what is wanted, and what kind of thing was found."""
    kinds = {bool: "true or false", int: "a number", float: "a number with a decimal point", str: "a text", list: "a list", tuple: "a list", dict: "an object"}
    return UsageError(f"'{name}' is of the wrong kind", code="MRD-E405", found=kinds.get(type(value), type(value).__name__), fix=f"write {wanted}")


def nearest(wanted: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """The beginning of a remedy: the name that may be meant; "" if none is near."""
    near = difflib.get_close_matches(wanted, tuple(names), 1, cutoff)
    return f"perhaps '{near[0]}' is meant; " if near else ""


def with_absolute_paths(job: Form, names: Iterable[str]) -> Form:
    """The same job wherever its file lies."""
    return replace(job, **{name: Path(os.path.abspath(getattr(job, name))) for name in names if getattr(job, name) is not None})


def as_text(job: Any, schema: str) -> str:
    """A job as the text of a job file; what is the default is left out."""
    chosen = {field.name: getattr(job, field.name) for field in fields(job) if getattr(job, field.name) != field.default}
    plain = {name: os.fspath(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value for name, value in chosen.items()}
    return json.dumps({"schema": schema, **plain}, indent=2) + "\n"
