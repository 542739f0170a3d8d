"""The lists of files in the CMake files: what they name, what they must name, and how to write them again.

`python -m Testing.packaging.file_lists` writes every list from the disk; Slicer packages what is listed and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_SHIPPED = {"Testing", "__pycache__"}
SHIPPED_RESOURCES = ("models", "schemas", "studies")
"""Folders of the top-level Resources/ that the library reads while it runs; icon and screenshots are for the index only."""


@dataclass(frozen=True)
class FileList:
    """One `set(variable ...)` of a CMake file; its names count from `base`, both relative to the repository."""

    cmake_file: str
    variable: str
    base: str
    folders: tuple[str, ...]
    scripts: bool
    """True: the .py files; False: every other file."""

    def wanted(self, repository: Path) -> list[str]:
        """Names, relative to base, of the files on the disk that must be listed."""
        base = repository / self.base
        found = [path.relative_to(base) for folder in self.folders for path in (base / folder).rglob("*") if path.is_file()]
        return sorted(path.as_posix() for path in found if not NOT_SHIPPED & set(path.parts) and path.name != "CMakeLists.txt"
                      and not path.name.startswith(".") and (path.suffix == ".py") == self.scripts and path.suffix != ".pyc")

    def written(self, repository: Path) -> list[str]:
        """Names that the CMake file lists.

        raises ValueError if the file does not set the variable exactly once
        """
        return self._found((repository / self.cmake_file).read_text(encoding="utf-8")).group("names").split()

    def write(self, repository: Path) -> None:
        """Put the names of wanted() into the CMake file."""
        path = repository / self.cmake_file
        text = path.read_text(encoding="utf-8")
        found = self._found(text)
        names = "".join(f"  {name}\n" for name in self.wanted(repository))
        path.write_bytes((text[:found.start("names")] + names + text[found.end("names"):]).encode())

    def _found(self, text: str) -> re.Match[str]:
        matches = list(re.finditer(rf"^set\({self.variable}\n(?P<names>[^)]*?)  \)$", text, re.MULTILINE))
        if len(matches) != 1:
            raise ValueError(f"{self.cmake_file} sets {self.variable} {len(matches)} times in the form of a list, one name a line")
        return matches[0]


LISTS = (FileList("MRDeltaNet/CMakeLists.txt", "MODULE_PYTHON_SCRIPTS", "MRDeltaNet", (".",), scripts=True),
         FileList("MRDeltaNet/CMakeLists.txt", "MODULE_PYTHON_RESOURCES", "MRDeltaNet", ("Resources",), scripts=False),
         FileList("MRDeltaNetLib/CMakeLists.txt", "LIBRARY_PYTHON_SCRIPTS", "MRDeltaNetLib", (".",), scripts=True),
         FileList("MRDeltaNetLib/CMakeLists.txt", "LIBRARY_PYTHON_RESOURCES", "MRDeltaNetLib", (".",), scripts=False),
         FileList("MRDeltaNetLib/CMakeLists.txt", "SHIPPED_RESOURCES", "Resources", SHIPPED_RESOURCES, scripts=False))


def differences(file_list: FileList, repository: Path) -> list[str]:
    """One line for each file that is listed but missing, on the disk but not listed, or listed twice."""
    written, wanted = file_list.written(repository), file_list.wanted(repository)
    return ([f"listed but missing: {name}" for name in sorted(set(written) - set(wanted))]
            + [f"not listed: {name}" for name in sorted(set(wanted) - set(written))]
            + [f"listed twice: {name}" for name in sorted({name for name in written if written.count(name) > 1})])


if __name__ == "__main__":
    for each in LISTS:
        each.write(REPOSITORY)
