"""Which methods of explanation passed the tests of `mrdeltanet explain verify` on a model: the key "maps" of the bundle's own metadata.

    {"default": "occlusion" or null, "passed": ["occlusion"], "failed": ["attention", "gradcam"]}

A method in neither list was not judged, or not to the end. Where some passed, they alone are asked and shown by default; else all that did not fail. Who
names another gets it; one that failed carries a caution.
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


def verdict(own: Mapping[str, Any], key: str) -> bool | None:
    """Whether a method passed its tests on this model; None: it was not judged, or not to the end.

    own  the "mrdeltanet" section of a bundle's metadata, or the model's facts in a result
    """
    maps = own.get("maps") or {}
    return True if key in maps.get("passed", ()) else False if key in maps.get("failed", ()) else None


def passed(own: Mapping[str, Any]) -> tuple[str, ...]:
    """The methods that passed on this model, the default first; empty where none did or none was judged."""
    maps = own.get("maps") or {"default": None, "passed": ()}
    return tuple(sorted(maps["passed"], key=lambda key: key != maps["default"]))


def offered(own: Mapping[str, Any], methods: Iterable[str]) -> tuple[str, ...]:
    """Those of some methods that are asked and shown by default: those that passed, the default first; where none passed on this model, all that did
    not fail."""
    known, good = tuple(methods), passed(own)
    return tuple(key for key in good if key in known) if good else tuple(key for key in known if verdict(own, key) is not False)


def why_not_offered(own: Mapping[str, Any], key: str) -> str:
    """What to say of a method that `offered` left out."""
    return CAUTION if verdict(own, key) is False else "was not judged on this model, of which other maps passed their tests"


def caution(own: Mapping[str, Any], key: str) -> str:
    """What has to be said with a method's map on this model; "" if nothing."""
    return CAUTION if verdict(own, key) is False else ""
