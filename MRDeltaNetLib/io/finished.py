"""A finished run's folder, opened: only what the manifest says the run wrote, and unchanged since."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.images import read_plain
from MRDeltaNetLib.io.results import MANIFEST, RESULT
from MRDeltaNetLib.io.tables import read_json


class FinishedRun:
    """What a run left in its folder.

    folder    where it is
    manifest  manifest.json as a dict
    result    result.json as a dict
    text      result.json as it is on the disk
    maps      key of Result.images -> facts of each map (formula, resolution_mm ...)
    """

    def __init__(self, folder: Path | str) -> None:
        """raises  InputError MRD-E883 if no run was finished there, E884 if result.json was changed since; what io.tables.read_json raises"""
        self.folder = Path(folder)
        for name in (MANIFEST, RESULT):
            if not (self.folder / name).is_file():
                raise _unfinished(f"no {name}")
        self.manifest: Mapping[str, Any] = read_json(self.folder / MANIFEST, what="the run's manifest")
        self._outputs = _mapping(self.manifest, "outputs")
        if not self._outputs:
            raise _unfinished(f"a {MANIFEST} that is not a run's")
        self.text = self.path(RESULT).read_text(encoding="utf-8")
        self.result: Mapping[str, Any] = read_json(self.text.encode(), what="the run's result")
        if not isinstance(self.result, Mapping):
            raise _unfinished(f"a {RESULT} that is not a run's")
        self.maps = _mapping(self.result, "maps")

    def path(self, name: str) -> Path:
        """A file that the run wrote, as it wrote it. raises InputError MRD-E884"""
        if not self.holds(name):
            raise InputError("A file of the result is gone or was changed since the run", code="MRD-E884", found=name,
                             fix="run the job again, with the changed file if that is meant, or choose the folder of another run")
        return self.folder / name

    def wrote(self, name: str) -> bool:
        """Whether the run wrote a file of this name, whatever became of it."""
        return name in self._outputs

    def holds(self, name: str) -> bool:
        """Whether a file that the run wrote is there as it wrote it."""
        path = self.folder / name
        return self.wrote(name) and path.is_file() and sha256(path) == self._outputs[name]

    def image(self, name: str) -> sitk.Image:
        """One image of the run, voxel type kept. raises InputError MRD-E884, and what io.images raises"""
        return read_plain(self.path(name))

    def provenance(self, key: str) -> dict[str, str]:
        """What a map's node says about itself, see map_provenance."""
        return map_provenance(_mapping(self.result, "model"), _mapping(self.maps, key))


def map_provenance(model: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, str]:
    """What a map's node says about itself: the model and its weights, the method and its formula, the true resolution in mm (x y z), and what else has to
    be said of it; what is not known is left out.

    model, facts  of the model and of the map, as in a Result or in result.json
    """
    told = {"model": model.get("name"), "model_version": model.get("version"), "weights_sha256": model.get("weights_sha256"), "formula": facts.get("formula"),
            "resolution_mm": " ".join(f"{value:g}" for value in facts.get("resolution_mm") or ())}
    told |= {name: facts.get(name) for name in ("method", "unit", "normalisation", "resolution_note", "toward", "caution")}
    return {name: str(value) for name, value in told.items() if value}


def _unfinished(found: str) -> InputError:
    return InputError("The folder holds no finished run", code="MRD-E883", found=found, fix="name the output folder of a run that has ended")


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
