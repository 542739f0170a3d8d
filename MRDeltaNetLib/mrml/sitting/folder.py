"""The files of one sitting: what is handed to the child process, and what it leaves. They go with the sitting."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import SimpleITK as sitk

from MRDeltaNetLib.errors import EnvironmentProblem
from MRDeltaNetLib.io.images import write_image
from MRDeltaNetLib.io.locking import abandoned, folder_lock
from MRDeltaNetLib.workflow import image_digest
from MRDeltaNetLib.workflow.texts import _

PREFIX = "mrd-"
"""How its name begins. It is short: Windows counts."""


class Session:
    """A folder of its own, made when it is first needed, and held by a lock that a killed process does not leave behind."""

    def __init__(self, base: Path | None = None) -> None:
        """
        base  folder in which it is made, made if need be; None: the system's folder for temporary files
        """
        self._base = base
        self._folder: Path | None = None
        self._written: dict[str, str] = {}
        self._hold = contextlib.ExitStack()

    @property
    def folder(self) -> Path:
        """The session's own folder. The first one that is made takes those of killed sittings away: scans of a patient lie in them."""
        if self._folder is None:
            if self._base is not None:
                self._base.mkdir(parents=True, exist_ok=True)
            sweep(Path(tempfile.gettempdir()) if self._base is None else self._base)
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._base))
            with contextlib.suppress(EnvironmentProblem):    # a disk that knows no locks: then nobody takes the folder for a killed sitting's, ever
                self._hold.enter_context(folder_lock(self._folder, _held))
        return self._folder

    def path(self, name: str) -> Path:
        """A file or folder of the session."""
        return self.folder / name

    def write(self, name: str, image: sitk.Image, digest: str | None = None) -> Path:
        """Write an image unless the same one lies there already.

        name    without ending
        digest  workflow.image_digest of it; None: not known yet
        """
        path, digest = self.path(f"{name}.nrrd"), digest or image_digest(image)
        if self._written.get(name) != digest or not path.is_file():
            write_image(image, path)
            self._written[name] = digest
        return path

    def close(self) -> None:
        """Remove everything; may be called again, and the session may be used again."""
        folder, self._folder, self._written = self._folder, None, {}
        self._hold.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(base: Path) -> None:
    """Remove the folders of sittings that were killed on this computer, of this user's alone. What another process holds, or nobody ever held, stays."""
    for folder in base.glob(f"{PREFIX}*"):
        if not folder.is_symlink() and folder.is_dir() and _is_mine(folder) and abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_mine(folder: Path) -> bool:
    return os.name == "nt" or folder.lstat().st_uid == os.getuid()


def _held(who: str, more: str) -> EnvironmentProblem:
    """A folder with a fresh name is held by nobody, unless somebody plays tricks."""
    return EnvironmentProblem(_("The folder for temporary files is in use"), code="MRD-E813", fix=_("try again"))
