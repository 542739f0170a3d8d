"""A finished run's folder, opened for a live scene: only what the manifest says the run wrote, and unchanged since."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.images import read_plain
from MRDeltaNetLib.io.results import MANIFEST, RESULT
from MRDeltaNetLib.io.tables import read_json

_RUN_AGAIN = "run again, or choose the folder of another run"


class FinishedRun:
    """What a run left in its folder.

    result  result.json as a dict
    text    result.json as it is on the disk
    maps    key of Result.images -> facts of each map (formula, resolution_mm ...)
    """

    def __init__(self, folder: Path | str) -> None:
        """raises  InputError MRD-E838 if no run was finished there, or a file is gone or changed; what io.tables.read_json raises"""
        self._folder = Path(folder)
        if not (self._folder / MANIFEST).is_file():
            raise InputError("The folder holds no finished run", code="MRD-E838", found=f"no {MANIFEST}", fix=_RUN_AGAIN)
        self._outputs = _mapping(read_json(self._folder / MANIFEST, what="the manifest"), "outputs")
        self.text = self._file(RESULT).read_text(encoding="utf-8")
        self.result: Mapping[str, Any] = read_json(self.text.encode(), what="the result")
        self.maps = _mapping(self.result, "maps")

    def image(self, name: str) -> sitk.Image:
        """One image of the run, voxel type kept. raises InputError MRD-E838, and what io.images raises"""
        return read_plain(self._file(name))

    def provenance(self, key: str) -> dict[str, str]:
        """What a map's node says about itself: the model and its weights, the formula, the true resolution in mm (x y z), and what else
        has to be said of it."""
        model, facts = _mapping(self.result, "model"), _mapping(self.maps, key)
        more = {name: facts.get(name) for name in ("unit", "normalisation", "toward", "caution")}
        told = {"model": model.get("name"), "model_version": model.get("version"), "weights_sha256": model.get("weights_sha256"),
                "formula": facts.get("formula"), "resolution_mm": " ".join(f"{value:g}" for value in facts.get("resolution_mm") or ()), **more}
        return {name: str(value) for name, value in told.items() if value}

    def _file(self, name: str) -> Path:
        """A file that the run wrote, if it still is what the run wrote."""
        path = self._folder / name
        if name not in self._outputs or not path.is_file() or sha256(path) != self._outputs[name]:
            raise InputError("A file of the run is gone or has changed since", code="MRD-E838", found=name, fix=_RUN_AGAIN)
        return path


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
