"""What this user keeps between sessions: a folder where the system wants settings to be, and small JSON files in it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.tables import read_json

PLACE = "MRDELTANET_SETTINGS"
"""Environment variable: a folder to be used instead of the system's."""

SETTINGS = "settings.json"


def settings_folder() -> Path:
    """Where this user's settings are; need not exist yet."""
    if given := os.environ.get(PLACE):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "MRDeltaNet"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "MRDeltaNet"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "mrdeltanet"


def read_setting(name: str) -> Any:
    """One kept choice; None if there is none.

    raises  InputError MRD-E420 to E427 if the file is damaged
    """
    return _settings().get(name)


def keep_setting(name: str, value: Any) -> None:
    """Keep a choice; None forgets it.

    raises  as read_setting; EnvironmentProblem as io/atomic
    """
    kept = {**_settings(), name: value}
    write_text(settings_folder() / SETTINGS, json.dumps({key: entry for key, entry in kept.items() if entry is not None}, indent=1) + "\n")


def _settings() -> dict[str, Any]:
    path = settings_folder() / SETTINGS
    if not path.is_file():
        return {}
    found = read_json(path, what="the file of settings")
    if not isinstance(found, dict):
        raise InputError("The file of settings does not hold names with values", code="MRD-E420", fix="remove settings.json from the folder of settings")
    return found
