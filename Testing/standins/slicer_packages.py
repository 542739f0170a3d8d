"""`slicer.i18n`, `slicer.packaging`, `SampleData`, a fake `PyTorchUtils`, and the dialogs of `slicer.util` as recorders."""

from __future__ import annotations

import inspect
import logging
import re
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Callable

from packaging.requirements import Requirement

from Testing.standins.qt_module import Application


def i18n_module(translations: dict[str | tuple[str, str], str]) -> ModuleType:
    """`tr` and `translate`: texts through a table, text or (context, text) -> text. The context of `tr` is the file that calls it, with its
    folder before it if that is a package; `tr` alone refuses a translation that loses a placeholder."""
    module = ModuleType("slicer.i18n")

    def translate(context: str, text: str) -> str:
        return translations.get((context, text), translations.get(text, text))

    def tr(text: str) -> str:
        file = Path(inspect.currentframe().f_back.f_code.co_filename)
        found = translate(f"{file.parent.name}.{file.stem}" if (file.parent / "__init__.py").is_file() else file.stem, text)
        return found if sorted(re.findall(r"\{[^{}]*\}", text)) == sorted(re.findall(r"\{[^{}]*\}", found)) else text

    module.translate, module.tr = translate, tr
    return module


def packaging_module(recorder: Application) -> ModuleType:
    """`slicer.packaging`: checks are real, installations are recorded and never done."""
    module = ModuleType("slicer.packaging")

    def load_requirements(path) -> list[Requirement]:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
        return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]

    def pip_check(requirements) -> bool:
        wanted = requirements if isinstance(requirements, (list, tuple)) else [requirements]
        return all(_satisfied(Requirement(str(each))) for each in wanted)

    def pip_ensure(requirements, constraints=None, skip_packages=None, prompt_install=True, prompt_restart=True, requester=None,
                   skip_in_testing=True, show_progress=True) -> None:
        if skip_in_testing and recorder.testing or pip_check(requirements):
            return
        if not recorder.show("pip_ensure", str(requester), False, requirements=[str(each) for each in requirements], constraints=constraints,
                             skip_packages=skip_packages):
            raise RuntimeError("User declined installation of the required Python packages")

    def pip_install(requirements, **options) -> None:
        recorder.show("pip_install", "", None, requirements=requirements, **options)

    module.load_requirements, module.pip_check, module.pip_ensure, module.pip_install = load_requirements, pip_check, pip_ensure, pip_install
    module.isPipInstallInProgress = lambda: False
    return module


class DicomDatabase:
    """`slicer.dicomDatabase`: the files that a test added, by instance UID."""

    def __init__(self):
        self.isOpen, self._files = True, {}

    def add(self, instance_uid: str, path: Path | str) -> None:
        self._files[instance_uid] = str(path)

    def fileForInstance(self, instance_uid: str) -> str:
        return self._files.get(instance_uid, "")

    def fileValue(self, path: str, tag: str) -> str:
        """The element's text, empty where the file does not have it; tag: 'gggg,eeee'."""
        import pydicom
        group, element = (int(part, 16) for part in tag.split(","))
        found = pydicom.dcmread(path, stop_before_pixels=True).get((group, element))
        return "" if found is None else str(found.value)

    def instanceValue(self, instance_uid: str, tag: str) -> str:
        return self.fileValue(self._files[instance_uid], tag) if instance_uid in self._files else ""


def _satisfied(requirement: Requirement) -> bool:
    if requirement.marker and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def sample_data_module(application) -> ModuleType:
    """`SampleData`: registered sources are kept. A source's own downloader is called by its button in the module, `press(source)`, and by
    nothing else: `downloadSamples` fetches the addresses and does not know it."""
    module = ModuleType("SampleData")
    sources: list[SimpleNamespace] = []

    class SampleDataLogic:
        sourcesRegistered = sources

        @staticmethod
        def registerCustomSampleDataSource(category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
                                           thumbnailFileName=None, loadFileTypes=None, loadFiles=None, loadFileProperties={}, checksums=None):
            if not isinstance(uris, (str, list, tuple)):
                raise TypeError("a real Slicer counts the uris even where a customDownloader does the work")
            if not isinstance(uris, str) and any(len(each) != len(uris) for each in (fileNames, nodeNames, loadFiles, loadFileTypes, checksums) if isinstance(each, (list, tuple))):
                raise ValueError("all fields of a sample must have the same length")
            sources[:] = [each for each in sources if (each.category, each.sampleName) != (category, sampleName)]
            sources.append(SimpleNamespace(category=category, sampleName=sampleName, uris=uris, fileNames=fileNames, nodeNames=nodeNames,
                                           customDownloader=customDownloader, thumbnailFileName=thumbnailFileName, checksums=checksums))

        def downloadSamples(self, sampleName):
            if self.sourceForSampleName(sampleName) is None:
                return []
            raise NotImplementedError("a real Slicer fetches the addresses here and never asks a customDownloader; the stand-in fetches nothing")

        @staticmethod
        def sourceForSampleName(sampleName):
            return next((each for each in sources if each.sampleName == sampleName), None)

    def press(source):
        if source.customDownloader is None:
            raise NotImplementedError("the stand-in fetches nothing")
        return source.customDownloader(source)

    module.SampleDataLogic, module.press = SampleDataLogic, press
    module.downloadSample = module.downloadSamples = lambda name: SampleDataLogic().downloadSamples(name)
    return module


def pytorch_module(installed: bool, device: str = "cpu", installs: bool = True) -> ModuleType:
    """A fake `PyTorchUtils`: torch is there or not, and an installation succeeds or is declined (None)."""
    module = ModuleType("PyTorchUtils")
    state = SimpleNamespace(installed=installed, asked=[])

    class PyTorchUtilsLogic:
        def torchInstalled(self):
            return state.installed

        @property
        def torch(self):
            return self.importTorch()

        def importTorch(self):
            return __import__("torch") if state.installed else None

        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None, torchvisionVersionRequirement=None):
            state.asked.append(torchVersionRequirement)
            state.installed = installs
            return self.importTorch()

        @staticmethod
        def getDevice():
            return device

    module.PyTorchUtilsLogic, module.state = PyTorchUtilsLogic, state
    return module


def dialogs_of_util(recorder: Application, process_events: Callable) -> dict[str, Callable]:
    """Replacements for the functions of slicer.util that show something. The confirm* functions stay Slicer's own, and so give False under
    --testing although their description promises True (trap A19)."""

    def message(level, text, testing_value, mainWindowNeeded=False, parent=None, windowTitle=None, **more) -> Any:
        kind = "confirm" if testing_value is not None else {logging.ERROR: "error", logging.WARNING: "warning"}.get(level, "info")
        return recorder.show(kind, text, testing_value if recorder.testing else None, title=windowTitle,
                             detailedText=more.get("detailedText", ""))

    def messageBox(text, parent=None, **more):
        from PySide6.QtWidgets import QMessageBox
        return recorder.show("messageBox", text, QMessageBox.Ok if recorder.testing else QMessageBox.Cancel)

    def delayDisplay(message, autoCloseMsec=1000, parent=None, **more):
        process_events()

    return {"_messageDisplay": message, "messageBox": messageBox, "delayDisplay": delayDisplay}
