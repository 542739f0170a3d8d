"""nnU-Net at work, in a process and an environment of its own: the only place where a pickled checkpoint is read.

    python child.py check              says which nnU-Net and torch there are
    python child.py predict JOB.json   segments one scan

Standard library and what nnU-Net itself needs; nothing of MRDeltaNetLib, because its Python may be another one. It talks as doorway does: one
JSON object a line, {"done", "message"}, at the end {"finished": ...} or {"error": ...}. Its standard input is a lifeline: when that ends, whoever
started it is gone, and it ends itself and its group.

JOB.json: model (folder), files (name in it -> SHA-256), channels (NRRD files, all on one grid), label, device, threads, mirroring,
mask and probability (NRRD files to be written, on the same grid)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import threading
from pathlib import Path
from typing import Any, Callable, NoReturn

MAJOR = 2
"""The nnU-Net that is spoken to here."""

OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
WORK_PREFIX = "mrd-nnunet-"
"""How the name of the folder begins that whoever starts us makes for one drawing."""

STATUS = {"usage": 2, "input": 3, "environment": 4, "memory": 5}

_answers = sys.stdout


class Refusal(Exception):
    """What ends the work with a message: kind (of STATUS), code, what, found, fix."""

    def __init__(self, kind: str, code: str, what: str, found: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.facts = {"code": code, "what": what, "found": found, "fix": fix, "exit_status": STATUS[kind]}


def main(arguments: list[str]) -> int:
    """Do what was asked; returns the exit status."""
    _keep_answers_apart()
    _die_with_parent(Path(arguments[1]).absolute().parent if len(arguments) == 2 else None)
    try:
        if arguments == ["check"]:
            finished = check()
        elif len(arguments) == 2 and arguments[0] == "predict":
            finished = predict(json.loads(Path(arguments[1]).read_text(encoding="utf-8")))
        else:
            raise Refusal("usage", "MRD-E381", "The process that draws was started wrongly", f"{len(arguments)} arguments")
    except Refusal as refusal:
        _say({"error": refusal.facts})
        return refusal.facts["exit_status"]
    except Exception as fault:                                   # nnU-Net's own: its text may hold a path, so its kind is told
        refusal = _of_fault(fault)
        _say({"error": refusal.facts})
        return refusal.facts["exit_status"]
    _say({"finished": finished})
    return 0


def check() -> dict[str, Any]:
    """Whether this environment can work: versions and devices."""
    torch = _torch()
    version = _nnunet()
    return {"nnunetv2": version, "torch": torch.__version__, "python": sys.version.split()[0], "devices": _devices(torch)}


def predict(job: dict[str, Any]) -> dict[str, Any]:
    """Segment one scan."""
    _tell(0.01, "Loading nnU-Net")
    os.environ["nnUNet_def_n_proc"] = str(max(1, job["threads"] or (os.cpu_count() or 1)))
    os.environ["nnUNet_compile"] = "F"
    torch = _torch()
    version = _nnunet()
    device = _device(torch, job["device"])
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    predictor = _predictor(torch, device, job)
    _check_files(Path(job["model"]), job["files"])
    _tell(0.15, "Loading the model")
    folds = tuple(sorted(name.split("/")[0].removeprefix("fold_") for name in job["files"] if "/" in name))
    try:
        predictor.initialize_from_trained_model_folder(job["model"], use_folds=folds)
    except Exception as fault:
        if _is_memory(fault):
            raise
        raise Refusal("input", "MRD-E381", "nnU-Net could not load the model", type(fault).__name__,
                      "see that it was trained with nnU-Net v2 and that its trainer class is installed in this environment") from fault
    _check_model(predictor, len(job["channels"]))
    _tell(0.2, "Reading the scan")
    data, spacing, image = _read(job["channels"])
    predictor.watch(len(folds))
    labels, probabilities = predictor.predict_single_npy_array(data, {"spacing": spacing}, None, None, True)
    _tell(0.95, "Writing the mask")
    mask, share = _of_label(labels, probabilities, predictor.dataset_json, job["label"])
    _write(mask, image, job["mask"])
    _write(share, image, job["probability"])
    return {"nnunetv2": version, "torch": torch.__version__, "device": device.type, "folds": list(folds), "trainer": predictor.trainer_name,
            "patch_size": list(predictor.configuration_manager.patch_size), "spacing_mm_zyx": list(predictor.configuration_manager.spacing)}


def _torch() -> Any:
    try:
        import torch
        torch.zeros(1) + 1
    except Exception as fault:
        raise Refusal("environment", "MRD-E378", "PyTorch does not work in the environment of nnU-Net", type(fault).__name__,
                      "make it anew: make setup-nnunet; or install PyTorch there again") from fault
    return torch


def _nnunet() -> str:
    """Import nnU-Net; returns its version."""
    from importlib import metadata
    try:
        version = metadata.version("nnunetv2")
    except metadata.PackageNotFoundError as absent:
        raise Refusal("environment", "MRD-E378", "The Python that was named for nnU-Net has no nnunetv2", "not installed",
                      "install nnunetv2 there, or let `make setup-nnunet` make an environment") from absent
    if version.split(".")[0] != str(MAJOR):
        raise Refusal("environment", "MRD-E378", "The nnU-Net of this environment is another version than the one that is spoken to", version,
                      "install nnunetv2==2.8.1 there, or let `make setup-nnunet` make an environment")
    mend_torchvision()
    try:
        import nnunetv2.inference.predict_from_raw_data  # noqa: F401
    except Exception as fault:
        raise Refusal("environment", "MRD-E378", "nnU-Net is installed but does not load", f"nnunetv2 {version}, {type(fault).__name__}",
                      "make the environment anew: make setup-nnunet") from fault
    return version


def mend_torchvision() -> None:
    """Declare two operators that a torchvision built for CUDA registers in its binary part only: beside a torch for CPUs that part does not
    load, and importing torchvision, which nnU-Net's list of networks does, would end in a RuntimeError. Nothing here ever calls them."""
    import torch
    try:
        import torchvision  # noqa: F401
        return
    except ImportError:
        return
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    global _declared
    _declared = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _declared.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _devices(torch: Any) -> list[str]:
    found = ["cpu"]
    if torch.cuda.is_available():
        found.insert(0, "cuda")
    elif getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        found.insert(0, "mps")
    return found


def _device(torch: Any, wanted: str) -> Any:
    """The device that was asked for; one that is not there is refused, never replaced."""
    there = _devices(torch)
    if wanted != "auto" and wanted not in there:
        raise Refusal("environment", "MRD-E379", "The environment of nnU-Net cannot use the device that was asked for",
                      f"{wanted} asked for; there is {', '.join(there)}", "choose the device 'auto', or install a PyTorch there that knows the device")
    return torch.device(there[0] if wanted == "auto" else wanted)


def _predictor(torch: Any, device: Any, job: dict[str, Any]) -> Any:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    class Watched(nnUNetPredictor):
        """Tells how many of its tiles are done, as far as this version's parts have the names that are known here."""

        tiles = done = networks = 0

        def watch(self, networks: int) -> None:
            self.networks = networks

        def _internal_get_sliding_window_slicers(self, *arguments: Any) -> Any:
            slicers = super()._internal_get_sliding_window_slicers(*arguments)
            self.tiles = len(slicers) * max(1, self.networks)
            return slicers

        def _internal_maybe_mirror_and_predict(self, *arguments: Any) -> Any:
            _tell(0.25 + 0.6 * min(1.0, self.done / max(1, self.tiles)), f"Drawing, part {self.done + 1} of {max(self.tiles, self.done + 1)}")
            self.done += 1
            return super()._internal_maybe_mirror_and_predict(*arguments)

    return Watched(use_mirroring=job["mirroring"], perform_everything_on_device=device.type == "cuda", device=device, allow_tqdm=False)


def _check_files(folder: Path, expected: dict[str, str]) -> None:
    """The very last look before the checkpoints are read."""
    for name, digest in expected.items():
        found = hashlib.sha256()
        with open(folder / name, "rb") as stream:
            for block in iter(lambda: stream.read(1024**2), b""):
                found.update(block)
        if found.hexdigest() != digest:
            raise Refusal("input", "MRD-E372", "A file of the model changed after it was compared with what was approved", name, "try again")


def _check_model(predictor: Any, channels: int) -> None:
    """What the plans alone cannot tell, because the checkpoint says which of their configurations it is."""
    if getattr(predictor.configuration_manager, "previous_stage_name", None) is not None:
        raise Refusal("input", "MRD-E370", "The model is the second stage of a cascade, which needs the drawing of its first stage", "a cascade",
                      "choose a model of the configuration 3d_fullres, 3d_lowres or 2d")
    wanted = len(predictor.dataset_json["channel_names"])
    if wanted != channels:
        raise Refusal("input", "MRD-E374", "The model wants another number of scans than it was given", f"it wants {wanted}, given {channels}",
                      "give the second scan, or choose another model")


def _read(channels: list[str]) -> tuple[Any, list[float], Any]:
    """(channel, z, y, x) float32, spacing (z, y, x) in mm, and the first image for its place."""
    import numpy
    import SimpleITK
    images = [SimpleITK.ReadImage(name) for name in channels]
    data = numpy.stack([SimpleITK.GetArrayFromImage(image).astype(numpy.float32) for image in images])
    return data, [float(step) for step in images[0].GetSpacing()[::-1]], images[0]


def _of_label(labels: Any, probabilities: Any, dataset: dict[str, Any], label: str) -> tuple[Any, Any]:
    """uint8 {0, 1} and float32 [0, 1], (z, y, x), of one label; a region is where its own probability is above one half."""
    import numpy
    names = [name for name in dataset["labels"] if name not in ("background", "ignore")]
    if "regions_class_order" in dataset:
        share = numpy.asarray(probabilities[names.index(label)], dtype=numpy.float32)
        return (share > 0.5).astype(numpy.uint8), share
    value = dataset["labels"][label]
    value = int(value[0] if isinstance(value, (list, tuple)) else value)
    return (numpy.asarray(labels) == value).astype(numpy.uint8), numpy.asarray(probabilities[value], dtype=numpy.float32)


def _write(values: Any, like: Any, path: str) -> None:
    import SimpleITK
    image = SimpleITK.GetImageFromArray(values)
    image.CopyInformation(like)
    SimpleITK.WriteImage(image, path, True)


def _of_fault(fault: Exception) -> Refusal:
    if _is_memory(fault):
        return Refusal("memory", "MRD-E380", "nnU-Net ran out of memory", type(fault).__name__,
                       "close other programs, choose the device 'cpu', or crop the scan to the pelvis")
    place = fault.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" in {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
    return Refusal("input", "MRD-E381", "nnU-Net stopped while it drew", type(fault).__name__ + where,
                   "see that the scan is of the kind that the model was trained on; if it is, report this")


def _is_memory(fault: BaseException) -> bool:
    return isinstance(fault, MemoryError) or "OutOfMemory" in type(fault).__name__ or any(word in str(fault).lower() for word in OUT_OF_MEMORY)


def _tell(done: float, message: str) -> None:
    _say({"done": round(done, 4), "message": message})


def _say(line: dict[str, Any]) -> None:
    _answers.write(json.dumps(line) + "\n")
    _answers.flush()


def _keep_answers_apart() -> None:
    """What nnU-Net prints goes to standard error; standard output is for the answers."""
    global _answers
    sys.stdout.flush()
    _answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def _die_with_parent(work: Path | None = None) -> None:
    """End when standard input ends, if it is a pipe: it lives as long as whoever started us.

    work  folder with the scan and the model, which nobody else is left to remove then; only one of tempfile's making is
    """
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def end() -> None:
        if work is not None and work.name.startswith(WORK_PREFIX):
            shutil.rmtree(work, ignore_errors=True)
        _end_group()

    threading.Thread(target=_wait_for_end, args=(sys.stdin.buffer.raw.read, end), daemon=True).start()


def _wait_for_end(read: Callable[[int], bytes], end: Callable[[], Any]) -> None:
    while read(1024):
        pass
    end()


def _end_group() -> NoReturn:
    if os.name == "posix" and os.getpid() == os.getpgrp():
        import signal
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    del sys.path[0]                                              # this file's folder: nothing in it shall stand in for a package of the environment
    sys.exit(main(sys.argv[1:]))
