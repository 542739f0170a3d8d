"""Prepared crops on disk: a memory-mapped array, one of other outlines, and a file of facts a case, named by what they were made from.

    <key>.npy            float16 (timepoint 2, channel 2, depth, height, width)
    <key>.outlines.npy   float16 (stored channel, depth, height, width) of the smallest box that holds them: the ROI channels of outlines
                         drawn otherwise, each once; not there without any
    <key>.json           facts; written last: it marks the case as complete
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import atomic, output_problem, sha256, write_text
from MRDeltaNetLib.io.tables import read_json

_KEY = re.compile(r"[0-9a-f]{64}")


class CropStore:
    """A folder of prepared crops.

    A key is a SHA-256 of everything that made the crop, so equal keys mean equal bytes: any number of processes may write into one
    folder at once, and nothing is ever changed after it was written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def has(self, key: str, *, check: bool = False) -> bool:
        """Whether the case is there, whole as far as sizes and facts tell.

        check   also compare the SHA-256 of both arrays with those that the facts hold, which takes one reading
        """
        try:
            self._stored_outlines(key, self.read(key, check=check)[1], check)
            return True
        except InputError:
            return False

    def remove(self, key: str) -> None:
        """Take a damaged case away, so that it is made again: without its facts it does not count.

        raises  EnvironmentProblem as io/atomic
        """
        try:
            self._facts_path(key).unlink(missing_ok=True)
        except OSError as problem:
            raise output_problem(problem) from problem

    def read(self, key: str, *, check: bool = False) -> tuple[np.memmap, dict[str, Any]]:
        """The crop, memory-mapped and read-only, float16 (timepoint 2, channel 2, depth, height, width), and its facts.

        check   also compare the file's SHA-256 with the one that the facts hold
        raises  InputError MRD-E466 if the case is not there or damaged
        """
        crop, facts = _array(self._crop_path(key)), self._facts(key)
        try:
            _compare(crop, 5, self._crop_path(key), facts["crop"], check)
        except (KeyError, TypeError) as cause:
            raise _damaged("incomplete facts") from cause
        return crop, facts

    def outlines(self, key: str, *, check: bool = False) -> dict[str, np.ndarray]:
        """Name -> both ROI channels as another outline makes them, float16 (timepoint 2, depth, height, width); empty if none were kept.

        check   also compare the file's SHA-256 with the one that the facts hold
        raises  InputError MRD-E466 if the case is not there or damaged
        """
        crop, facts = self.read(key)
        stored = self._stored_outlines(key, facts, check)
        if stored is None:
            return {}
        try:
            box = tuple(slice(start, stop) for start, stop in facts["outlines"]["box"])
            whole = np.zeros((len(stored), *crop.shape[2:]), np.float16)
            whole[:, *box] = stored
            return {name: np.stack([crop[visit, 1] if place is None else whole[place] for visit, place in enumerate(places)])
                    for name, places in facts["outlines"]["channels"]}
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as cause:
            raise _damaged("incomplete facts") from cause

    def write(self, key: str, tensor: Any, facts: Mapping[str, Any], outlines: Mapping[str, Any] | None = None) -> None:
        """Keep a case, the facts last.

        tensor    torch.Tensor or array, (timepoint 2, channel 2, depth, height, width), finite; stored as float16
        facts     plain JSON; "crop" (shape, SHA-256 of the file) and "outlines" (the same, box, and where each channel is) are added
        outlines  name -> ROI channels (timepoint 2, depth, height, width), finite; stored as float16
        raises    EnvironmentProblem as io/atomic; ValueError for another shape or values that are not finite as float16
        """
        crop = _half(tensor)
        if crop.ndim != 5 or crop.shape[:2] != (2, 2) or not np.isfinite(crop).all():
            raise ValueError(f"not a finite crop of two visits and two channels: {crop.shape}")
        whole = {**facts, "crop": _write_array(self._crop_path(key), crop), "outlines": None}
        if outlines:
            channels, places = _distinct(crop, {name: _half(one) for name, one in outlines.items()})
            box = _box(channels)
            stored = np.ascontiguousarray(channels[:, *(slice(start, stop) for start, stop in box)])
            whole["outlines"] = {**_write_array(self._outlines_path(key), stored), "box": box, "channels": places}
        write_text(self._facts_path(key), json.dumps(whole, indent=1, sort_keys=True, allow_nan=False) + "\n")

    def _stored_outlines(self, key: str, facts: Mapping[str, Any], check: bool = False) -> np.memmap | None:
        """The array of other outlines, None if none were kept."""
        try:
            if facts["outlines"] is None:
                return None
            found = _array(self._outlines_path(key))
            _compare(found, 4, self._outlines_path(key), facts["outlines"], check)
            return found
        except (KeyError, TypeError) as cause:
            raise _damaged("incomplete facts") from cause

    def _facts(self, key: str) -> dict[str, Any]:
        return read_json(self._facts_path(key), what="the file of facts of a prepared crop")

    def _crop_path(self, key: str) -> Path:
        return self.folder / f"{_checked(key)}.npy"

    def _outlines_path(self, key: str) -> Path:
        return self.folder / f"{_checked(key)}.outlines.npy"

    def _facts_path(self, key: str) -> Path:
        return self.folder / f"{_checked(key)}.json"


def _half(values: Any) -> np.ndarray:
    with np.errstate(over="ignore"):                              # the caller refuses infinities
        return np.ascontiguousarray(np.asarray(values), dtype=np.float16)


def _distinct(crop: np.ndarray, outlines: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[list[Any]]]:
    """Channels (n, depth, height, width) that the crop does not hold, and in the given order [name, [channel of pre, of post]]: None is the
    crop's own ROI of that visit."""
    channels, named = [], []
    for name, pair in outlines.items():
        if pair.shape != (2, *crop.shape[2:]) or not np.isfinite(pair).all():
            raise ValueError(f"not finite ROI channels of two visits on the crop: {pair.shape}")
        places: list[int | None] = []
        for visit, channel in enumerate(pair):
            drawn = np.array_equal(channel, crop[visit, 1])
            places.append(None if drawn else len(channels))
            channels += [] if drawn else [channel]
        named.append([name, places])
    return np.array(channels, np.float16).reshape(-1, *crop.shape[2:]), named


def _box(channels: np.ndarray) -> list[list[int]]:
    """[start, stop] along depth, height and width of the smallest box outside which all channels are 0."""
    inside = (channels != 0).any(0)
    places = (np.flatnonzero(inside.any(tuple(other for other in range(3) if other != axis))) for axis in range(3))
    return [[int(found[0]), int(found[-1]) + 1] if len(found) else [0, 0] for found in places]


def _write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Write an array; its shape, type and the file's SHA-256."""
    with atomic(path) as temporary:
        with open(temporary, "wb") as stream:
            np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
            if array.size:
                stream.write(memoryview(array).cast("B"))         # not ndarray.tofile, whose error on a full disk hides the reason
        digest = sha256(temporary)
    return {"shape": list(array.shape), "dtype": "float16", "sha256": digest}


def _compare(array: np.ndarray, axes: int, path: Path, stored: Mapping[str, Any], check: bool) -> None:
    if list(array.shape) != stored["shape"] or array.dtype != np.float16 or array.ndim != axes:
        raise _damaged("another shape than when it was written")
    if check and _digest(path) != stored["sha256"]:
        raise _damaged("other bytes than when it was written")


def _digest(path: Path) -> str:
    """SHA-256 of an array's file; a disk that cannot read it any more is damage."""
    try:
        return sha256(path)
    except OSError as cause:
        raise _damaged("the file cannot be read") from cause


def _array(path: Path) -> np.memmap:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as cause:
        raise _damaged("the file is not there or cannot be opened") from cause
    except ValueError as cause:                                # cut short, another header, or Python objects inside
        raise _damaged("a file that is not a whole array") from cause


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError("a key is 64 hexadecimal digits")
    return key


def _damaged(found: str) -> InputError:
    return InputError("A prepared crop in the cache cannot be used", code="MRD-E466", found=found,
                      fix="run `mrdeltanet cohort prepare` again with the same settings and the same cache, which makes damaged crops again")
