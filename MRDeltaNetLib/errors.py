"""Errors and notices: what happened, what was found, what to do.

Every error carries a stable code (listed in docs/reference/messages.md) and the exit status that the command line returns.
Texts never hold a patient name, an identifier, a date or a path; a file is named by its role ("the pre-treatment scan").

Codes: E1xx volume files, E2xx DICOM, E3xx masks and pairing, E4xx tables, JSON and jobs, E5xx model bundles,
E6xx registration, E7xx prediction and explanation, E8xx outputs and environment. W-codes (warnings) use the same hundreds.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType


class MRDeltaNetError(Exception):
    """Base of every error that MRDeltaNet raises on purpose.

    what   one sentence: what is wrong, without a full stop
    code   stable identifier such as "MRD-E101"
    found  what was found (numbers, names of header fields); empty if there is nothing to add
    fix    what the user can do about it
    """

    exit_status = 1

    def __init__(self, what: str, *, code: str, found: str = "", fix: str = "") -> None:
        self.what, self.code, self.found, self.fix = what, code, found, fix
        super().__init__(self.text())

    def text(self) -> str:
        """The whole message on one to three lines."""
        lines = [f"{self.code}: {self.what}."]
        if self.found:
            lines.append(f"Found: {self.found}.")
        if self.fix:
            lines.append(f"What to do: {self.fix}.")
        return "\n".join(lines)

    def about(self, role: str) -> "MRDeltaNetError":
        """The same error, naming whose file it is about (role: "the pre-treatment scan")."""
        return type(self)(f"{role[:1].upper()}{role[1:]}: {self.what}", code=self.code, found=self.found, fix=self.fix)


class UsageError(MRDeltaNetError):
    """The command or job was put wrongly (exit status 2)."""

    exit_status = 2


class InputError(MRDeltaNetError):
    """A file, table, mask or pair cannot be used (exit status 3)."""

    exit_status = 3


class EnvironmentProblem(MRDeltaNetError):
    """The machine lacks something: a package, a device, a writable folder (exit status 4)."""

    exit_status = 4


class MissingPackage(EnvironmentProblem):
    """An optional Python package is not installed."""


class OutOfMemory(MRDeltaNetError):
    """The work does not fit into memory (exit status 5)."""

    exit_status = 5


class Cancelled(MRDeltaNetError):
    """The user stopped the work (exit status 6)."""

    exit_status = 6

    def __init__(self, what: str = "The work was stopped on request", *, code: str = "MRD-E890", found: str = "",
                 fix: str = "start it again when you are ready; nothing finished was lost") -> None:
        super().__init__(what, code=code, found=found, fix=fix)


class PartialFailure(MRDeltaNetError):
    """Part of a batch failed; the rest is done (exit status 7)."""

    exit_status = 7


@dataclass(frozen=True)
class Notice:
    """A warning that goes to the user, result.json and the report.

    code  stable identifier such as "MRD-W301"
    text  one sentence without a full stop
    fix   what the user can do about it
    """

    code: str
    text: str
    fix: str = ""


def require(module: str, feature: str, install: str = "") -> ModuleType:
    """Import an optional package when a feature first needs it.

    module   name to import, e.g. "torch"
    feature  who needs it, e.g. "Prediction"
    install  how to install it; default "pip install <module>"
    raises   MissingPackage, whose text says how to install it
    """
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        raise MissingPackage(f"{feature} needs the Python package '{module}', which could not be imported",
                             code="MRD-E801", found=type(cause).__name__,
                             fix=install or f"pip install {module.split('.')[0]}") from cause
