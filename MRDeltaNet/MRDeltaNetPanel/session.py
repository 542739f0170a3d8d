"""The files of one sitting: what is handed to the child process, and what it leaves. They go when the scene is closed or Slicer ends."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import SimpleITK as sitk
import slicer

from MRDeltaNetLib.io.images import write_image
from MRDeltaNetLib.workflow import image_digest


class Session:
    """A folder below Slicer's folder for temporary files, made when it is first needed."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._written: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        """The session's own folder. Its name is short: Windows counts."""
        if self._folder is None:
            base = Path(slicer.app.temporaryPath)
            base.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix="mrd-", dir=base))
        return self._folder

    def path(self, name: str) -> Path:
        """A file or folder of the session."""
        return self.folder / name

    def write(self, name: str, image: sitk.Image) -> Path:
        """Write an image unless the same one lies there already.

        name  without ending
        """
        path, digest = self.path(f"{name}.nrrd"), image_digest(image)
        if self._written.get(name) != digest or not path.is_file():
            write_image(image, path)
            self._written[name] = digest
        return path

    def close(self) -> None:
        """Remove everything; may be called again, and the session may be used again."""
        folder, self._folder, self._written = self._folder, None, {}
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
