"""Text for strangers' eyes (diagnostics, logs): without paths, user and host names.

Rather too much goes than too little: an unquoted path may hold spaces, so all up to the end of its clause goes with it.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import unicodedata
from pathlib import Path
from typing import Iterable

PATH, NAME, ADDRESS = "<path>", "<name>", "<address>"

MIN_NAME_CHARACTERS = 2
MIN_WORD_CHARACTERS = 3
"""Words of a longer name go too, if they have so many characters."""

_OWN_CODE = re.compile(r"[\\/]((?:MRDeltaNetLib|site-packages)[\\/]+[A-Za-z0-9_.\\/-]*\.py)\b")
"""The end of a path that names a place in program code and nobody's file."""

_START = r"(?:[A-Za-z]:[\\/]+|\\{2,}|/{1,2}(?=[^\s/])|~[^\s\\/]*[\\/]+|\.{1,2}[\\/]+)"
"""A drive, a share, a root, a home, or here."""

_BEFORE = r"(?<![^\s\"'`(\[{=,:;|])"
_QUOTED = re.compile(rf"(?P<quote>[\"'`])(?P<path>{_START}.*?)(?P=quote)(?!\w)")
_UNQUOTED = re.compile(rf"{_BEFORE}{_START}(?:(?!: |; |[\"<>|\t\r\n]).)*")
_TOKEN = re.compile(r"[^\s\"'<>|:;,=()\[\]]+")
_FILE_NAME = re.compile(r".*\.[A-Za-z]\w{0,7}")
_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
_FILE_ADDRESS = re.compile(r"\bfile:/{1,3}(?=/|[A-Za-z]:)", re.IGNORECASE)


def redacted(text: str, *, home: Path | str | None = None, names: Iterable[str] | None = None) -> str:
    """The text with <path>, <name> and <address> in place of what tells whose machine it is.

    home   the user's home folder; None: this user's
    names  user, host and other names that must not be seen, with the words that they consist of; None: those of this machine
    """
    text = unicodedata.normalize("NFC", text)
    for place in _spellings(str(_home() if home is None else home)):
        text = re.sub(re.escape(place) + r"(?=[\\/])", "~", text, flags=re.IGNORECASE)
        text = re.sub(re.escape(place) + r"(?![^\s\"'])", PATH, text, flags=re.IGNORECASE)
    text = _ADDRESS.sub(ADDRESS, _FILE_ADDRESS.sub("", text))
    text = _QUOTED.sub(lambda found: found["quote"] + _replaced(found["path"]) + found["quote"], text)
    text = _UNQUOTED.sub(lambda found: _replaced(found[0]), text)
    text = _TOKEN.sub(lambda found: PATH if _is_relative_file(found[0]) else found[0], text)
    for name in _forms(own_names() if names is None else names):
        text = re.sub(rf"(?<![\w<]){re.escape(name)}(?!\w)", NAME, text, flags=re.IGNORECASE)
    return text


def own_names() -> tuple[str, ...]:
    """Names of this user and this machine, as far as the system tells them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):               # a system account without an entry; Windows without the variables
        user = ""
    host = platform.node()
    return tuple(filter(None, (user, os.environ.get("USERDOMAIN", ""), Path(_home()).name, host, host.partition(".")[0])))


def _home() -> str:
    """This user's home folder; empty where the system knows none."""
    try:
        return str(Path.home())
    except RuntimeError:
        return ""


def _replaced(path: str) -> str:
    """<path>, with the place in our own or a package's code that it may end in."""
    code = _OWN_CODE.search(path)
    if code is None:
        return PATH
    rest = path[code.end():]
    another = _UNQUOTED.search(rest)
    return f"{PATH}/{code[1]}" + (rest if another is None else rest[:another.start()] + PATH)


def _is_relative_file(token: str) -> bool:
    """Whether a word is a file in a folder, as "scans/doe.nrrd", and no place in code that was left on purpose."""
    token = token.strip("\\/").rstrip(".!?`")
    folder, name = re.split(r"[\\/]", token)[0], re.split(r"[\\/]", token)[-1]
    return folder != token and folder not in ("MRDeltaNetLib", "site-packages") and _FILE_NAME.fullmatch(name) is not None


def _spellings(home: str) -> list[str]:
    """A folder as it may stand in a text: with either slash, and doubled as in JSON and repr. A root is none."""
    home = unicodedata.normalize("NFC", home).rstrip("\\/")
    if len(home.strip("\\/.~:")) < MIN_NAME_CHARACTERS:
        return []
    forms = {home, home.replace("\\", "/"), home.replace("\\", "\\\\")}
    return sorted(forms, key=len, reverse=True)


def _forms(names: Iterable[str]) -> list[str]:
    """Longest first: whole names, then their words."""
    whole = {unicodedata.normalize("NFC", name.strip()) for name in names}
    words = {word for name in whole for word in name.split() if len(word) >= MIN_WORD_CHARACTERS}
    return sorted({name for name in whole if len(name) >= MIN_NAME_CHARACTERS} | words, key=len, reverse=True)
