"""The files of one sitting: what is handed to the child process, and what it leaves. They go with the sitting."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import SimpleITK as sitk

from MRDeltaNetLib.io.images import write_image
from MRDeltaNetLib.workflow import image_digest


class Session:
    """A folder of its own, made when it is first needed."""

    def __init__(self, base: Path | None = None) -> None:
        """
        base  folder in which it is made, made if need be; None: the system's folder for temporary files
        """
        self._base = base
        self._folder: Path | None = None
        self._written: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        """The session's own folder. Its name is short: Windows counts."""
        if self._folder is None:
            if self._base is not None:
                self._base.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix="mrd-", dir=self._base))
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
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
