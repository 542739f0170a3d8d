"""What a model's training cases looked like, as a file of its bundle: the yardstick of response/familiarity.

models/reference.safetensors holds numbers only; the header ranges stand as strict JSON in the file's own metadata, under "header".
It is optional: a bundle without it reads as before, and then nobody can say how like the training cases a case is.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, require
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.io.tables import read_json

NUMBERS = ("field_strength_t", "repetition_time_ms", "echo_time_ms", "spacing_x_mm", "spacing_y_mm", "spacing_z_mm")
"""Header facts of each visit that are kept as a range."""

VISITS = ("pre", "post")
PERCENTS = 101
MAX_EMBEDDING, MAX_CASES, MAX_MAKERS, MAX_MAKER_CHARACTERS = 4096, 100_000, 100, 64
"""Larger is not ours: a 4096 x 4096 precision takes 64 MiB."""

SHAPES = {"embedding_mean": ("k",), "embedding_precision": ("k", "k"), "embedding_distances": ("n",), "percentile_mean": (2, PERCENTS),
          "percentile_sd": (2, PERCENTS), "percentile_distances": ("n",)}
"""Tensors of the file, float32; k: length of the embedding, n: number of training cases."""


@dataclass(frozen=True)
class Header:
    """Ranges of the training scans' header facts; a fact that no training scan told is missing.

    numbers   visit ("pre", "post") -> name of NUMBERS -> (smallest, largest)
    makers    visit -> scanner makers, lower case
    interval_days  (smallest, largest) between the visits, None if unknown
    """

    numbers: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    makers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    interval_days: tuple[float, float] | None = None


@dataclass(frozen=True)
class Reference:
    """The training cases in numbers that name nobody. Arrays are float32.

    embedding_mean        (k,);  embedding_precision (k, k): inverse of the shrunk covariance
    embedding_distances   (n,) ascending: each training case's distance from the others (leave-one-out)
    percentile_mean, percentile_sd   (visit 2, percent 101) of the T2 channel of the crops, z-score units
    percentile_distances  (n,) ascending, leave-one-out
    header                ranges of the header facts
    """

    embedding_mean: np.ndarray
    embedding_precision: np.ndarray
    embedding_distances: np.ndarray
    percentile_mean: np.ndarray
    percentile_sd: np.ndarray
    percentile_distances: np.ndarray
    header: Header = Header()

    @property
    def cases(self) -> int:
        """How many training cases the reference was made from."""
        return len(self.embedding_distances)


def write_reference(reference: Reference, path: Path) -> None:
    """Write the reference; atomic, and the same reference gives the same bytes.

    raises  InputError MRD-E508 if it could not be read back; EnvironmentProblem MRD-E810 to E813
    """
    data = reference_bytes(reference)
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def reference_bytes(reference: Reference) -> bytes:
    """What write_reference writes.

    raises  InputError MRD-E508 if it could not be read back
    """
    save = require("safetensors.numpy", "Writing a model", "pip install safetensors").save
    with np.errstate(over="ignore"):                           # what float32 cannot hold is refused by the check
        tensors = {name: np.ascontiguousarray(getattr(reference, name), dtype=np.float32) for name in SHAPES}
    _check(replace(reference, **tensors))
    return save(tensors, metadata={"header": json.dumps(_header_json(reference.header), sort_keys=True, allow_nan=False)})


def read_reference(path: Path, limits: GateLimits = GateLimits()) -> Reference:
    """Read and check a reference.

    raises  InputError MRD-E508 if it is damaged, of a wrong shape, not finite, or holds anything else
    """
    safe_open = require("safetensors", "Prediction", "pip install safetensors").safe_open
    try:
        with safe_open(path, framework="numpy") as stored:
            names, texts = set(stored.keys()), stored.metadata() or {}
            _require(names == set(SHAPES), "tensors missing or unknown: " + ", ".join(sorted(names ^ set(SHAPES)))[:120])
            _require(set(texts) == {"header"}, "no header, or something beside it")
            for name in SHAPES:                                    # sizes are judged before a byte of them is taken into memory
                stated = stored.get_slice(name)
                _require(stated.get_dtype() == "F32", f"{name} is {stated.get_dtype()}, not F32")
                _require_shape(name, tuple(stated.get_shape()))
            arrays = {name: stored.get_tensor(name) for name in SHAPES}
    except MRDeltaNetError:
        raise
    except Exception as cause:  # noqa: BLE001 safetensors raises its own and several built-in types for a damaged file
        raise _unusable(type(cause).__name__) from cause
    try:
        header = _header_from(read_json(texts["header"].encode("utf-8"), limits, what="the reference's header"))
    except InputError as cause:
        raise cause if cause.code == "MRD-E508" else _unusable(f"its header: {cause.code}") from cause
    reference = Reference(**arrays, header=header)
    _check(reference)
    return reference


def _check(reference: Reference) -> None:
    """Sizes agree, every number is finite, distances are sorted and not negative, spreads are positive."""
    sizes: dict[str, int] = {}
    for name, shape in SHAPES.items():
        array = np.asarray(getattr(reference, name))
        _require_shape(name, array.shape)
        for letter, size in zip(shape, array.shape):
            _require(not isinstance(letter, str) or sizes.setdefault(letter, size) == size, f"{name} has the shape {array.shape}")
        _require(bool(np.isfinite(array).all()), f"{name} holds values that are not numbers")
    for name in ("embedding_distances", "percentile_distances"):
        array = np.asarray(getattr(reference, name))
        _require(bool((array >= 0).all() and (np.diff(array) >= 0).all()), f"{name} are negative or not in order")
    _require(bool((np.asarray(reference.percentile_sd) > 0).all()), "percentile_sd is not positive")
    precision = np.asarray(reference.embedding_precision, dtype=np.float64)
    _require(bool(np.allclose(precision, precision.T, rtol=1e-3, atol=1e-6 * max(1.0, float(np.abs(precision).max())))), "embedding_precision is not symmetric")
    _require(bool((precision.diagonal() > 0).all()), "embedding_precision is not positive")
    _header_from(_header_json(reference.header))


def _require_shape(name: str, shape: tuple[int, ...]) -> None:
    """Within the limits, of the right number of axes; k and n are compared later."""
    largest = {"k": MAX_EMBEDDING, "n": MAX_CASES}
    fits = len(shape) == len(SHAPES[name]) and all(1 <= size <= largest[want] if isinstance(want, str) else size == want
                                                   for want, size in zip(SHAPES[name], shape))
    _require(fits, f"{name} has the shape {shape}")


def _header_json(header: Header) -> dict[str, Any]:
    return {"numbers": {visit: {name: list(map(float, limits)) for name, limits in facts.items()} for visit, facts in header.numbers.items()},
            "makers": {visit: list(names) for visit, names in header.makers.items()},
            "interval_days": None if header.interval_days is None else list(map(float, header.interval_days))}


def _header_from(value: Any) -> Header:
    """The header's ranges; every key and type is checked."""
    _require(isinstance(value, dict) and set(value) == {"numbers", "makers", "interval_days"}, "a header with other keys")
    for part in ("numbers", "makers"):
        _require(isinstance(value[part], dict) and set(value[part]) <= set(VISITS), f"the header's {part} are not by visit")
    numbers = {}
    for visit, facts in value["numbers"].items():
        _require(isinstance(facts, dict) and set(facts) <= set(NUMBERS), "an unknown header fact")
        numbers[visit] = {name: _range(limits) for name, limits in facts.items()}
    for names in value["makers"].values():
        _require(isinstance(names, list) and len(names) <= MAX_MAKERS and all(
            isinstance(name, str) and 0 < len(name) <= MAX_MAKER_CHARACTERS and name.isprintable() for name in names), "makers that are no short names")
    return Header(numbers=numbers, makers={visit: tuple(names) for visit, names in value["makers"].items()},
                  interval_days=None if value["interval_days"] is None else _range(value["interval_days"]))


def _range(value: Any) -> tuple[float, float]:
    numbers = isinstance(value, list) and len(value) == 2 and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in value)
    _require(numbers and all(map(math.isfinite, value)) and value[0] <= value[1], "a header range that is not two ordered numbers")
    return float(value[0]), float(value[1])


def _require(fits: bool, found: str) -> None:
    if not fits:
        raise _unusable(found)


def _unusable(found: str) -> InputError:
    return InputError("The model bundle's reference of its training cases cannot be used", code="MRD-E508", found=found,
                      fix="export or download the bundle again, or train it again")
