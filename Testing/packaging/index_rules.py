"""The rules of the Slicer Extensions Index (August 2026), as functions that need no network and answer with one line for each problem."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from urllib.parse import urlsplit

SCHEMA = "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
KEYS = {"$schema": str, "category": str, "scm_url": str, "scm_revision": str, "scm_type": str, "build_dependencies": list, "dicom_support_rule": str,
        "build_subdirectory": str, "enabled": bool, "tier": int}
"""Keys of schema 1.0.2 and their types; any other key is refused there."""
REQUIRED = ("$schema", "category", "scm_url")
CATEGORIES = {"Active Learning", "Analysis", "Cardiac", "Converters", "DICOM", "Diffusion", "Developer Tools", "Examples", "Exporter", "Filtering",
              "IGT", "Image Synthesis", "Informatics", "Neuroimaging", "Nuclear Medicine", "Planning", "Printing", "Quantification", "Radiotherapy",
              "Registration", "Remote", "Rendering", "Segmentation", "Sequences", "Shape Analysis", "Simulation", "Spectral Imaging", "Surface Models",
              "Tracking", "Tractography", "Training", "Ultrasound", "Utilities", "Virtual Reality", "Wizards"}
"""Those of the accepted categories that are no project's own name; there is none for oncology."""
LICENCE_NAMES = ("LICENSE", "LICENCE", "License.txt", "license.txt", "LICENSE.txt", "COPYING", "COPYING.txt")
SIZE_LIMIT_BYTES = 100 * 1024 ** 2
FILE_LIMIT_BYTES = 1024 ** 2
"""What the index's own repository takes as one file; our entry is far below."""


def entry_problems(path: Path) -> list[str]:
    """Problems of the catalogue entry NAME.json: form, keys and types, category, address, name."""
    content = path.read_bytes()
    if not _utf8(content):
        return ["not UTF-8"]
    found = []
    if b"\r" in content:
        found.append("line ends other than LF")
    if b"\t" in content or not content.endswith(b"\n") or re.search(rb"[ ]\n", content):
        found.append("a tab, a blank at the end of a line, or no line end at the end")
    try:
        entry = json.loads(content)
    except json.JSONDecodeError as error:
        return [*found, f"no JSON: {error}"]
    found += [f"key missing: {key}" for key in REQUIRED if key not in entry]
    for key, value in entry.items():
        if key not in KEYS:
            found.append(f"unknown key: {key}")
        elif type(value) is not KEYS[key]:
            found.append(f"{key} is {type(value).__name__}, not {KEYS[key].__name__}")
    if found:
        return found
    return found + _value_problems(entry) + name_problems(path.stem) + repository_problems(entry["scm_url"])


def _utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _value_problems(entry: dict) -> list[str]:
    found = []
    if entry["$schema"] != SCHEMA:
        found.append(f"$schema is {entry['$schema']}")
    if entry["category"] not in CATEGORIES:
        found.append(f"category '{entry['category']}' is not accepted")
    if not 1 <= entry.get("tier", 1) <= 5:
        found.append("tier is not 1 to 5")
    if entry.get("scm_type", "git") not in ("git", "local"):
        found.append("scm_type is neither git nor local")
    if not all(isinstance(name, str) and name for name in entry.get("build_dependencies", [])):
        found.append("build_dependencies are not names")
    return found


def name_problems(name: str) -> list[str]:
    """The extension's name must not begin with Slicer."""
    return ["the name begins with 'Slicer'"] if name.lower().startswith("slicer") else []


def repository_problems(url: str) -> list[str]:
    """The repository's address: scheme git or https, last part beginning with Slicer."""
    parts = urlsplit(url.strip().strip("/"))
    name = Path(parts.path).stem
    return ([] if "://" in url and parts.scheme in ("git", "https") else [f"scheme of {url} is neither git nor https"]) + (
        [] if name.startswith("Slicer") else [f"the repository's name '{name}' does not begin with 'Slicer'"])


def project_name(cmake: str) -> str | None:
    """The name that the first project(...) of a CMake text gives."""
    found = re.search(r"project\s*\(\s*([^\s)]+)", cmake, re.IGNORECASE)
    return found.group(1).strip("\"'") if found else None


def value(cmake: str, variable: str) -> str | None:
    """What set(variable "...") of a CMake text gives, in the only form that the index reads: one quoted string, then the bracket.

    None where the variable is not set in that form exactly once, or its value holds a variable
    """
    found = re.findall(rf'set\s*\({variable}\s*"([^"]+)"\)', cmake, re.IGNORECASE)
    return found[0].strip() if len(found) == 1 and "${" not in found[0] else None


def cmake_problems(cmake: str, name: str, repository: Path, dependencies: list[str]) -> list[str]:
    """Problems of the top-level CMakeLists.txt: name, metadata, pictures behind the addresses, what it depends on."""
    found = [] if project_name(cmake) == name else [f"project({project_name(cmake)}) is not {name}"]
    for variable in ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        if value(cmake, f"EXTENSION_{variable}") is None:
            found.append(f"EXTENSION_{variable} is not one quoted string")
        elif ";" in value(cmake, f"EXTENSION_{variable}"):
            found.append(f"EXTENSION_{variable} holds a semicolon, which CMake takes for the end of a list's item")
    if found:
        return found
    depends = [each for each in value(cmake, "EXTENSION_DEPENDS").split() if each != "NA"]
    if sorted(depends) != sorted(dependencies):
        found.append(f"EXTENSION_DEPENDS {depends} is not build_dependencies {dependencies}")
    home = value(cmake, "EXTENSION_HOMEPAGE")
    for url in pictures(cmake):
        found += picture_problems(url, home, repository)
    icon = picture_file(value(cmake, "EXTENSION_ICONURL"), home, repository)
    if icon is not None and icon.is_file() and png_size(icon) != (128, 128):
        found.append(f"the icon is {png_size(icon)}, not 128 x 128")
    return found


def pictures(cmake: str) -> list[str]:
    """Addresses of the icon and of every screenshot."""
    return [value(cmake, "EXTENSION_ICONURL"), *value(cmake, "EXTENSION_SCREENSHOTURLS").split()]


def picture_file(url: str, home: str, repository: Path) -> Path | None:
    """The file that a raw address of branch main stands for; None where it is no such address of the repository `home`."""
    raw = home.replace("https://github.com/", "https://raw.githubusercontent.com/") + "/main/"
    return repository / url.removeprefix(raw) if url.startswith(raw) and "?" not in url else None


def picture_problems(url: str, home: str, repository: Path) -> list[str]:
    """A picture's address must be the raw one of a PNG file that is there."""
    path = picture_file(url, home, repository)
    if path is None:
        return [f"{url} is no raw address of {home}, branch main"]
    if not path.is_file():
        return [f"missing on disk: {path.relative_to(repository).as_posix()}"]
    return [] if png_size(path) else [f"no PNG: {path.relative_to(repository).as_posix()}"]


def png_size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG file; None where the file is none."""
    head = path.read_bytes()[:24]
    return struct.unpack(">II", head[16:24]) if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR" else None


def licence_problems(repository: Path) -> list[str]:
    """A licence file under one of the names that the index knows."""
    return [] if any((repository / name).is_file() for name in LICENCE_NAMES) else ["no licence file in the repository's root"]


def size_problems(checked_out_bytes: int, history_bytes: int) -> list[str]:
    """Working tree and history together, as the index measures a clone."""
    total = checked_out_bytes + history_bytes
    return [f"{total / 1024 ** 2:.1f} MB with its history; the limit is 100"] if total > SIZE_LIMIT_BYTES else []
