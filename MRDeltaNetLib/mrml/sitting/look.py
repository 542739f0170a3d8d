"""What every look at a sitting needs: the choices, what is known of things that have not changed, and what only the door can tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from MRDeltaNetLib.mrml.kept import Kept
from MRDeltaNetLib.workflow.texts import Translate


def no_header(volume: Any) -> Path | None:
    """Nobody knows a DICOM file of any scan."""
    return None


@dataclass(frozen=True)
class Look:
    """One who looks.

    choices    of choices.Choices, or an object with its attributes
    kept       values of nodes that have not changed since the last look
    header_of  volume node -> one DICOM file of its series, or None
    translate  English template -> template in the user's language
    """

    choices: Any
    kept: Kept = field(default_factory=Kept)
    header_of: Callable[[Any], Path | None] = no_header
    translate: Translate = str

    def header(self, volume: Any) -> Path | None:
        """One DICOM file of the volume's series that is there; None without any, or where it is gone."""
        path = self.header_of(volume)
        return path if path is not None and path.is_file() else None
