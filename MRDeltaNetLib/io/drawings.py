"""Masks that a program drew, known again: `mrdeltanet segment` says in the header of what it writes which model drew, and which voxels.

A mask is known by its voxels, wherever it went meanwhile. As long as none changed it counts as the program's; afterwards a reader has edited it.
The words stand in a file that anybody can write: they are a record, no proof.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import AUTOMATIC, EDITED
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.gate.grids import same_grid
from MRDeltaNetLib.io.gate.headers import check_header
from MRDeltaNetLib.io.images import ReadMask, read_plain
from MRDeltaNetLib.io.tables import read_json, short

KEY = "mrdeltanet.program"
"""Of the header text that holds what drew a mask, as JSON."""

LOW, HIGH = 0.25, 0.75
"""Between these probabilities a border is called uncertain."""

_TEXTS, _VOLUMES = ("program", "version", "model", "label"), ("volume_ml", "certain_volume_ml", "possible_volume_ml")
_DIGESTS = ("model_sha256", "mask_sha256")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def program_of(facts: Mapping[str, Any], mask: sitk.Image) -> dict[str, Any]:
    """What drew a mask, plain JSON, out of what nnU-Net's run told (imaging.nnunet.Drawn.facts).

    returns  program, version, model (name), model_sha256, label, volume_ml, certain_volume_ml (probability at least HIGH), possible_volume_ml
             (at least LOW), mask_sha256: of the voxels that it drew
    """
    told = {"program": "nnU-Net", "version": str(facts.get("nnunetv2") or "unknown"), "model": facts["model"]["name"] or "not named",
            "model_sha256": facts["model"]["sha256"], "label": facts["label"], **{name: facts[name] for name in _VOLUMES}}
    return told | {"mask_sha256": voxels_sha256(mask)}


def header_of(program: Mapping[str, Any]) -> dict[str, str]:
    """The header text by which a mask, or its probabilities, is known again."""
    return {KEY: json.dumps(dict(program), sort_keys=True, ensure_ascii=False)}


def program_in(texts: Mapping[str, str]) -> dict[str, Any] | None:
    """What drew a mask, as the texts of its header say (io.gate.facts.FileFacts.texts); None if they do not, or not as we write it."""
    if KEY not in texts:
        return None
    try:
        found = read_json(texts[KEY].encode(), what="the text of the header")
    except InputError:
        return None
    return _checked(found)


def program_told(read: ReadMask) -> dict[str, Any] | None:
    """What drew a mask, as the file says that it was read from: header text of ours, or a DICOM segmentation that names no person; None if it says nothing."""
    return {"program": read.algorithm} if read.algorithm else program_in(read.texts)


def source(program: Mapping[str, Any] | None, mask: sitk.Image) -> str:
    """"drawn" where nothing says that a program drew it, AUTOMATIC while the mask holds what it drew, EDITED afterwards.

    mask  sitk.Image uint8 {0, 1} on its scan's own grid
    """
    if program is None:
        return "drawn"
    return AUTOMATIC if program.get("mask_sha256") in (None, voxels_sha256(mask)) else EDITED


def unedited(program: Mapping[str, Any] | None, mask: sitk.Image, name: str) -> tuple[Notice, ...]:
    """The warning MRD-W373 that nobody changed what a program drew; of a DICOM segmentation that says so itself, its reader has warned already.

    name  how messages name the mask
    """
    if program is None or "mask_sha256" not in program or source(program, mask) != AUTOMATIC:
        return ()
    return (Notice("MRD-W373", f"A program drew {name}, and no reader has changed it ({in_words(program)})",
                   fix="look at the outline on every slice and correct it before you believe a number"),)


def read_probability(path: Path | str, scan: sitk.Image, limits: GateLimits = GateLimits()) -> tuple[sitk.Image, dict[str, Any]]:
    """The probabilities that `mrdeltanet segment` wrote beside a mask, and what drew it.

    returns  sitk.Image float32, 0 to 1, on the scan's own grid; as program_of
    raises   InputError MRD-E390 if it is no such file, or lies on another grid than the scan; MRD-E1xx as a scan
    """
    path = Path(path)
    program = program_in(check_header(path, limits).texts)
    if program is None:
        raise _no_probabilities("its header does not say what drew")
    image = read_plain(path, limits)
    if not same_grid(image, scan):
        raise InputError("The probabilities lie on another grid than the scan", code="MRD-E390", found=f"{image.GetSize()} voxels, the scan {scan.GetSize()}",
                         fix="give the file that `mrdeltanet segment` wrote for this very scan; in 3D Slicer remove the volume 'probability (nnU-Net)' and draw again")
    values = sitk.GetArrayViewFromImage(image)
    if image.GetPixelID() != sitk.sitkFloat32 or not np.isfinite(values).all() or values.min() < -1e-3 or values.max() > 1 + 1e-3:
        raise _no_probabilities("values that are no probabilities")
    image.CopyInformation(scan)
    return image, program


def voxels_sha256(mask: sitk.Image) -> str:
    """SHA-256 of a mask's voxels, above 0 or not, in the order of its grid."""
    voxels = sitk.GetArrayViewFromImage(mask)
    return hashlib.sha256(repr(voxels.shape).encode() + np.packbits(voxels > 0).tobytes()).hexdigest()


def in_words(program: Mapping[str, Any]) -> str:
    """What drew a mask, for people: "nnU-Net 2.8.1, model Dataset501_RectalTumour, SHA-256 0123456789abcdef..."."""
    digest = program.get("model_sha256")
    parts = [" ".join(filter(None, (program["program"], program.get("version")))), f"model {program['model']}" if program.get("model") else "",
             f"SHA-256 {digest[:16]}..." if digest else ""]
    return ", ".join(filter(None, parts))


def _checked(found: Any) -> dict[str, Any] | None:
    """Only what program_of gives, each of its kind; None if the mask or its model cannot be told by it."""
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) and _SHA256.fullmatch(found[name]) for name in _DIGESTS):
        return None
    texts = {name: short(found[name]) for name in _TEXTS if isinstance(found.get(name), str) and found[name].strip()}
    volumes = {name: float(found[name]) for name in _VOLUMES if _is_volume(found.get(name))}
    return None if "program" not in texts else texts | volumes | {name: found[name] for name in _DIGESTS}


def _is_volume(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _no_probabilities(found: str) -> InputError:
    return InputError("This is no file of probabilities that `mrdeltanet segment` wrote", code="MRD-E390", found=found,
                      fix="give the file NAME-probability.nrrd that it wrote beside the mask, or leave the option out")
