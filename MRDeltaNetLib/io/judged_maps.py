"""Which methods of explanation passed the tests of `mrdeltanet explain verify` on a model: the key "maps" of the bundle's own metadata.

    {"default": "occlusion" or null, "passed": ["occlusion"], "failed": ["attention", "gradcam"]}

A method in neither list was not judged. One that failed is not offered by default; who names it gets it, with a caution.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping

KEYS = {"default", "passed", "failed"}
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
CAUTION = "did not pass the tests of its kind on this model; its card says which"


def problem(maps: Any) -> str | None:
    """Why the entry cannot be used; None if it can, or is not there. Names of other versions' methods may stand in it."""
    if maps is None:
        return None
    if not isinstance(maps, dict) or set(maps) != KEYS or not all(isinstance(maps[key], list) for key in ("passed", "failed")):
        return "not a default with lists of what passed and failed"
    if not all(isinstance(name, str) and NAME.fullmatch(name) for name in (*maps["passed"], *maps["failed"])):
        return "not plain lower-case names"
    if set(maps["passed"]) & set(maps["failed"]) or maps["default"] not in (None, *maps["passed"]):
        return "a method both passed and failed, or a default that did not pass"
    return None


def offered(own: Mapping[str, Any], methods: Iterable[str]) -> tuple[str, ...]:
    """Those of some methods that are offered by default: the default first, and none that failed.

    own  the "mrdeltanet" section of a bundle's metadata, or the model's facts in a result; without the key "maps" all are offered
    """
    maps = own.get("maps") or {"default": None, "failed": []}
    return tuple(sorted((key for key in methods if key not in maps["failed"]), key=lambda key: key != maps["default"]))


def caution(own: Mapping[str, Any], key: str) -> str:
    """What has to be said with a method's map on this model; "" if nothing."""
    return CAUTION if key in (own.get("maps") or {"failed": ()})["failed"] else ""
