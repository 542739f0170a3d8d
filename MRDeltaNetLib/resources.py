"""The one place that knows where the files that ship with the product lie."""

from __future__ import annotations

from pathlib import Path

from MRDeltaNetLib.errors import EnvironmentProblem

_HERE = Path(__file__).resolve().parent
_PLACES = (_HERE / "Resources", _HERE.parent / "Resources")
"""Inside the installed package (wheel), beside it (checkout and Slicer extension)."""

DEMO_BUNDLE = "models/demo"
DEMO_STUDY = "studies/demo.toml"
"""What the demo bundle was trained with."""


def resource(name: str) -> Path:
    """Path of a shipped file or folder, e.g. resource("models/demo").

    raises EnvironmentProblem if this installation lacks it
    """
    for place in _PLACES:
        if (place / name).exists():
            return place / name
    raise EnvironmentProblem(f"The file '{name}' that ships with MRDeltaNet is missing", code="MRD-E802",
                             fix="install MRDeltaNet again; the installation is incomplete")
