"""A trained nnU-Net v2 model: what its folder says of itself, its digest, and a private copy of what is loaded.

    FOLDER/dataset.json, plans.json, fold_0/checkpoint_final.pth, fold_1/...

Nothing here loads a checkpoint: those are pickles, which run code when they are read. The plans may name code too. Only a folder whose digest
a user has approved (io/approvals) is handed to nnU-Net, and as the copy that was made while its digest was taken.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Mapping

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import output_problem
from MRDeltaNetLib.io.checkpoint_names import unusual_names
from MRDeltaNetLib.io.tables import read_json, short

DATASET, PLANS, CHECKPOINT = "dataset.json", "plans.json", "checkpoint_final.pth"
OWN_ENTRY = "mrdeltanet"
"""What `segment train-dataset` adds to dataset.json: the order of the axes, and whose scans and outlines these are."""

AS_STORED, LPS, RAS = "as stored", "LPS", "RAS"
ORDERS = {"SimpleITKIO": AS_STORED, "NibabelIO": AS_STORED, "SimpleITKIOWithReorient": RAS, "NibabelIOWithReorient": RAS}
"""nnU-Net's reader -> in which order of axes the network sees a scan; all give (z, y, x)."""

BLOCK_BYTES = 1024**2
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_FOLD = re.compile(r"fold_(all|\d{1,3})")
_SELECT = ("choose the folder that holds dataset.json, plans.json and fold_0, as nnUNetv2_train leaves it: "
           "nnUNet_results/DatasetNNN_NAME/nnUNetTrainer__nnUNetPlans__3d_fullres")


@dataclass(frozen=True)
class NnUnetModel:
    """What a model folder says of itself, without anything of it being run.

    folder    where it lies
    name      of the dataset it was trained on
    channels  name of each input, in order
    labels    name -> label values, without background; several values: a region
    regions   whether labels may overlap (sigmoid instead of softmax)
    order     AS_STORED, LPS or RAS: how the axes must run when the network sees a scan
    role      "pre" or "post", which scan the outlines of its training lie on; None if it does not say
    second    "pre" or "post", the scan of the second channel; None if it does not say
    folds     names of the folds that have a final checkpoint
    """

    folder: Path
    name: str
    channels: tuple[str, ...]
    labels: Mapping[str, tuple[int, ...]]
    regions: bool
    order: str
    role: str | None
    second: str | None
    folds: tuple[str, ...]

    @property
    def loaded_files(self) -> tuple[str, ...]:
        """What nnU-Net reads of it, relative to the folder, with "/"."""
        return (DATASET, PLANS, *(f"fold_{fold}/{CHECKPOINT}" for fold in self.folds))

    def label(self, name: str | None) -> str:
        """The label that is meant.

        raises  InputError MRD-E375 if there is no such label, or several and none was named
        """
        if name is None and len(self.labels) == 1:
            return next(iter(self.labels))
        if name not in self.labels:
            known = ", ".join(short(label) for label in list(self.labels)[:20])
            raise InputError("The model has no such label" if name else "The model draws several things, and it was not said which is the tumour",
                             code="MRD-E375", found=f"it has: {known}", fix="name one with --label")
        return name


@dataclass(frozen=True)
class FolderDigest:
    """What a folder is, byte for byte.

    sha256  over names, sizes and contents of all its files
    files   how many; size: bytes
    """

    sha256: str
    files: int
    size: int


def read_nnunet_model(folder: Path | str) -> NnUnetModel:
    """Read what a model folder says of itself.

    raises  InputError MRD-E370 if it is no trained nnU-Net v2 model that can be used here; MRD-E420 to E427 if its JSON is broken
    """
    folder = Path(folder)
    for name in (DATASET, PLANS):
        if not (folder / name).is_file():
            raise _no_model(f"no {name}")
    dataset, plans = (_mapping(read_json(folder / name, what=f"the model's {name}"), name) for name in (DATASET, PLANS))
    folds = tuple(sorted(match[1] for entry in os.scandir(folder)
                         if (match := _FOLD.fullmatch(entry.name)) and (folder / entry.name / CHECKPOINT).is_file()))
    if not folds:
        raise _no_model(f"no fold with a {CHECKPOINT}")
    channels = _mapping(dataset.get("channel_names"), "channel_names")
    if not channels or sorted(channels) != sorted(map(str, range(len(channels)))):
        raise _no_model("channel_names that do not count from 0")
    own = dataset.get(OWN_ENTRY) if isinstance(dataset.get(OWN_ENTRY), dict) else {}
    return NnUnetModel(folder, short(str(plans.get("dataset_name", ""))), tuple(str(channels[str(k)]) for k in range(len(channels))), _labels(dataset),
                       "regions_class_order" in dataset, _order(plans, own), _one_of(own, "role"), _one_of(own, "second"), folds)


def describe(model: NnUnetModel, found: FolderDigest) -> list[str]:
    """What a model is, in lines for who has to decide whether to trust it."""
    orders = {AS_STORED: "as they are stored", LPS: "left, posterior, superior", RAS: "right, anterior, superior"}
    return [f"Dataset   {model.name or 'not named'}", f"Channels  {', '.join(map(short, model.channels))}",
            f"Labels    {', '.join(map(short, model.labels))}" + (" (may overlap)" if model.regions else ""), f"Axes      {orders[model.order]}",
            f"Folds     {', '.join(model.folds)}", f"Code      {_code(model)}", f"Files     {found.files}, {found.size / 1e6:.1f} MB", f"SHA-256   {found.sha256}"]


def _code(model: NnUnetModel) -> str:
    """What code the checkpoints and the plans name, as far as that can be told without running any."""
    found = [unusual_names(model.folder / name) for name in model.loaded_files if name.endswith(CHECKPOINT)]
    if None in found:
        return "a checkpoint is not of the usual form, so it was not looked into"
    names = sorted({short(name, 80) for part in found for name in part} | _foreign_classes(read_json(model.folder / PLANS, what="the model's plans.json")))
    return "names beside what nnU-Net's own models name: " + ", ".join(names[:20]) if names else "the checkpoints and plans name what nnU-Net's own do"


def _foreign_classes(value: Any) -> set[str]:
    """Classes and functions in the plans, by dotted name, that are of no library that nnU-Net's own plans use."""
    if isinstance(value, dict):
        return set().union(*map(_foreign_classes, value.values()))
    if isinstance(value, list):
        return set().union(*map(_foreign_classes, value))
    dotted = isinstance(value, str) and _DOTTED.fullmatch(value) is not None
    return {short(value, 80)} if dotted and value.split(".")[0] not in ("torch", "dynamic_network_architectures", "nnunetv2") else set()


def digest(folder: Path | str, *, keep: Mapping[str, Path] | None = None) -> FolderDigest:
    """SHA-256 over every file of a folder, by name.

    keep    file, relative to the folder -> where the very bytes that were counted are copied to; what is loaded afterwards is then what was
            judged, whatever happens to the folder meanwhile
    raises  InputError MRD-E373 if it cannot be read, or holds a link to another folder or what is no file (a pipe would never end);
            EnvironmentProblem MRD-E810 if there is no room for the copies
    """
    folder, copies = Path(folder), dict(keep or {})
    found, count, size = hashlib.sha256(), 0, 0
    try:
        for name, path in _files(folder):
            own, length = hashlib.sha256(), 0
            with open(path, "rb") as source:
                target = _private(copies.pop(name)) if name in copies else None
                try:
                    for block in iter(lambda: source.read(BLOCK_BYTES), b""):
                        own.update(block)
                        length += len(block)
                        if target is not None:
                            target.write(block)
                finally:
                    if target is not None:
                        target.close()
            found.update(f"{name}\0{length}\0{own.hexdigest()}\n".encode("utf-8", "surrogateescape"))
            count, size = count + 1, size + length
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise output_problem(problem) from problem           # of the copy
        raise InputError("The model folder cannot be read", code="MRD-E373", found=problem.strerror or type(problem).__name__,
                         fix="see that it is there and that you may read it") from problem
    if copies:
        raise InputError("Files of the model are not where they were a moment ago", code="MRD-E373", found=f"{len(copies)} missing", fix="try again")
    return FolderDigest(found.hexdigest(), count, size)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file, relative name with "/" first, in the order of the names."""
    found = []
    for place, below, names in os.walk(folder, onerror=_raise):
        if any(os.path.islink(os.path.join(place, name)) for name in below):
            raise InputError("The model folder holds a link to another folder, which cannot be judged", code="MRD-E373", found="a link",
                             fix="copy the model's files into one folder")
        if not all(stat.S_ISREG(os.stat(os.path.join(place, name)).st_mode) for name in names):
            raise InputError("The model folder holds something that is no file, which cannot be judged", code="MRD-E373", found="a pipe or a device",
                             fix="copy the model's files into one folder")
        found += [Path(place, name) for name in names]
    return iter(sorted((path.relative_to(folder).as_posix(), path) for path in found))


def _raise(problem: OSError) -> None:
    raise problem


def _private(path: Path) -> BinaryIO:
    """A new file that only this user can read or write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600), "wb")


def _labels(dataset: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    labels = {}
    for name, value in _mapping(dataset.get("labels"), "labels").items():
        values = tuple(value) if isinstance(value, list) else (value,)
        if not values or not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in values):
            raise _no_model("labels that are no whole numbers")
        if name not in ("background", "ignore"):
            labels[str(name)] = values
    if not labels:
        raise _no_model("no label beside the background")
    return labels


def _order(plans: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """A dataset of ours holds its scans in one order, whatever reads them; other models see what nnU-Net's reader gives them."""
    reader = plans.get("image_reader_writer")
    if reader not in ORDERS:
        raise _no_model(f"it reads its images by {short(str(reader))}, which is not for 3-D scans with a place in space")
    return LPS if own.get("order") == LPS and ORDERS[reader] == AS_STORED else ORDERS[reader]


def _one_of(own: Mapping[str, Any], name: str) -> str | None:
    return own[name] if own.get(name) in ("pre", "post") else None


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _no_model(f"{name} is not an object of names and values")
    return value


def _no_model(found: str) -> InputError:
    return InputError("This is no folder of a trained nnU-Net v2 model that can be used here", code="MRD-E370", found=found, fix=_SELECT)
