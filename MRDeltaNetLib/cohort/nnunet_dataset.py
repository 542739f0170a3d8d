"""A cohort as a dataset for training nnU-Net v2: the scans before treatment with their tumour outlines, as the training cases of a table have them.

    OUT/Dataset501_RectalTumour/imagesTr/case_0001_0000.nii.gz     before treatment
                                         case_0001_0001.nii.gz     after treatment on the first one's grid (channels "pre+post")
                                labelsTr/case_0001.nii.gz          1: tumour before treatment
                                dataset.json                       written last, for the cases that are there
                                mrdeltanet-cases.json              what each number was made from, as digests: for resuming
    OUT/Dataset501_RectalTumour-failures.csv                       line, id and reason of each case that could not be written

Numbers count up and say nothing about a patient; a key is written only on request. Cases of the sets internal and external never get in, and what
earlier runs wrote of cases that are no longer training cases is removed. Scans are stored in one order of axes (left, posterior, superior), and
dataset.json says so, so that a scan that is stored otherwise is turned the same way before the trained network sees it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import AUTOMATIC, Timepoint
from MRDeltaNetLib.cohort.preparing.cache import COLUMNS, Failure
from MRDeltaNetLib.cohort.preparing.cases import fingerprint, task_of
from MRDeltaNetLib.config import PreprocessingConfig, RegistrationConfig
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, MRDeltaNetError, PartialFailure, UsageError
from MRDeltaNetLib.imaging.nnunet import in_order
from MRDeltaNetLib.imaging.outline_place import check_place
from MRDeltaNetLib.imaging.registration import align
from MRDeltaNetLib.io import drawings
from MRDeltaNetLib.io.atomic import output_problem, write_text
from MRDeltaNetLib.io.cases import read_case
from MRDeltaNetLib.io.gate.facts import OneVolumeOnly
from MRDeltaNetLib.io.images import read_image, read_told_mask, write_image
from MRDeltaNetLib.io.jobs import job_from_mapping
from MRDeltaNetLib.io.nnunet_model import DATASET, LPS, OWN_ENTRY
from MRDeltaNetLib.io.tables import read_json, write_csv
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.segmenting import on_grid

if TYPE_CHECKING:
    from MRDeltaNetLib.io.cohort_table import Cohort, Row

CHANNELS = {"pre": ("T2 before treatment",), "pre+post": ("T2 before treatment", "T2 after treatment")}
LABELS = {"background": 0, "tumour": 1}
ENDING = ".nii.gz"
IMAGES, MASKS, STATE = "imagesTr", "labelsTr", "mrdeltanet-cases.json"
STATE_FORMAT = "mrdeltanet-nnunet-dataset/1"
MAX_CASES = 9999
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,59}")


@dataclass(frozen=True)
class Written:
    """What a run did.

    folder    of the dataset
    cases     how many training cases the table has; made: new, kept: already there
    unedited  how many of the new ones have an outline that a program drew and nobody changed
    held_out  how many cases of other sets were left out
    removed   how many of an earlier run are training cases no longer
    failures  the rest
    """

    folder: Path
    cases: int
    made: int
    unedited: int
    kept: int
    held_out: int
    removed: int
    failures: tuple[Failure, ...]

    def text(self) -> str:
        """A few words for a person."""
        more = [f"{self.held_out} of other sets left out"] * bool(self.held_out) + [f"{self.removed} of an earlier run removed"] * bool(self.removed)
        return f"{self.cases} training cases: {self.made} written, {self.kept} already there, {len(self.failures)} failed" + \
            (f"; {', '.join(more)}" if more else "") + f"\nDataset: {self.folder}" + \
            (f"\n{self.unedited} of the outlines written now were drawn by a program and changed by nobody: a network learns its errors from them" if self.unedited else "")


class CasesNotWritten(PartialFailure):
    """Some cases could not be written; everything else is done. written says what."""

    written: Written | None = None


def write_dataset(cohort: "Cohort", out: Path | str, *, dataset_id: int = 501, name: str = "RectalTumour", channels: str = "pre",
                  key: Path | str | None = None, progress: Progress = silent) -> Written:
    """Write the dataset, or what of it is not there yet.

    out       nnU-Net's folder of raw datasets
    channels  "pre", or "pre+post": the scan after treatment as second channel, rigidly aligned to the first
    key       table of number, line and id, for whoever may know; None: none is written
    raises    CasesNotWritten (a PartialFailure) MRD-E386 after everything else is done; InputError MRD-E387 if no case can be written;
              UsageError MRD-E385 for an impossible name, number or key, or a folder with another dataset; EnvironmentProblem as io/atomic; Cancelled
    """
    folder = Path(out) / f"Dataset{dataset_id:03d}_{name}"
    _check(folder, dataset_id, name, channels, key)
    rows = [row for row in cohort.rows if row.set == "train"]
    if not rows or len(rows) > MAX_CASES:
        raise InputError("The table has no case to train on" if not rows else "The table has too many cases to train on", code="MRD-E387",
                         found=f"{len(rows)} of {len(cohort.rows)} in the set train", fix=f"see the column 'set'; 1 to {MAX_CASES} cases are written")
    named = {_fingerprint(row, cohort.folder, channels): row for row in rows}
    numbers = _State(folder, channels)
    removed = numbers.drop(set(named))
    made, unedited, kept, failures = 0, 0, 0, []
    for done, (print_, row) in enumerate(named.items()):
        progress(done / len(named), f"case {done + 1} of {len(named)}" + (f", {len(failures)} failed" if failures else ""))
        if numbers.has(print_):
            kept += 1
            continue
        try:
            images, mask, source = _images(row, cohort.folder, channels)
        except MRDeltaNetError as error:
            failures.append(Failure(row.line, row.id, error.code, error.what, error.found, error.fix))
            continue
        numbers.write(print_, images, mask)
        made, unedited = made + 1, unedited + (source == AUTOMATIC)
    written = Written(folder, len(rows), made, unedited, kept + len(rows) - len(named), len(cohort.rows) - len(rows), removed, tuple(failures))
    write_csv(folder.with_name(folder.name + "-failures.csv"), [asdict(failure) for failure in failures], COLUMNS)
    if len(failures) == len(named):
        raise InputError("No case of the table could be written", code="MRD-E387", found=", ".join(sorted({failure.code for failure in failures})),
                         fix="the table of failures beside the dataset gives the reason of each")
    _write_description(folder, numbers, channels)
    if key is not None:
        write_csv(key, [{"case": _case(numbers.of(print_)), "line": row.line, "id": row.id} for print_, row in named.items() if numbers.has(print_)],
                  ("case", "line", "id"))
    progress(1.0, "Done")
    if failures:
        error = CasesNotWritten(f"{len(failures)} of {len(rows)} cases could not be written; all others are done", code="MRD-E386",
                                found=", ".join(sorted({failure.code for failure in failures})[:8]),
                                fix=f"{folder.name}-failures.csv gives line, reason and remedy of each; after mending them, run the same command again")
        error.written = written
        raise error
    return written


class _State:
    """Which number each case has; a case counts as there when its files are and the state says so."""

    def __init__(self, folder: Path, channels: str) -> None:
        self.folder, self.channels = folder, channels
        self.cases: dict[str, int] = {}
        path = folder / STATE
        if path.is_file():
            found = read_json(path, what="the dataset's list of cases")
            if not isinstance(found, dict) or found.get("format") != STATE_FORMAT or found.get("channels") != channels:
                raise _other_dataset("other channels, or a list of another version")
            self.cases = {str(name): int(number) for name, number in found["cases"].items()}
        elif folder.is_dir() and any(folder.iterdir()):
            raise _other_dataset("files, but no list of what they were made from")
        else:
            self._keep()
        try:
            for name in (IMAGES, MASKS):
                (folder / name).mkdir(exist_ok=True)
        except OSError as problem:
            raise output_problem(problem) from problem
        self._remove_strays()

    def of(self, name: str) -> int:
        return self.cases[name]

    def has(self, name: str) -> bool:
        return name in self.cases and all(path.is_file() for path in self._paths(self.cases[name]))

    def drop(self, wanted: set[str]) -> int:
        """Forget and remove the cases that are not wanted; returns how many."""
        gone = [name for name in self.cases if name not in wanted]
        for name in gone:
            self._remove(self.cases.pop(name))
        self._keep()
        return len(gone)

    def write(self, name: str, images: tuple[sitk.Image, ...], mask: sitk.Image) -> None:
        """The files of one case first, then its number."""
        number = self.cases.get(name) or max(self.cases.values(), default=0) + 1
        *places, place = self._paths(number)
        for image, path in zip(images, places):
            write_image(image, path)
        write_image(mask, place)
        self.cases[name] = number
        self._keep()

    def numbers(self) -> list[int]:
        return sorted(number for name, number in self.cases.items() if self.has(name))

    def _paths(self, number: int) -> list[Path]:
        images = [self.folder / IMAGES / f"{_case(number)}_{channel:04d}{ENDING}" for channel in range(len(CHANNELS[self.channels]))]
        return [*images, self.folder / MASKS / f"{_case(number)}{ENDING}"]

    def _remove(self, number: int) -> None:
        for path in self._paths(number):
            path.unlink(missing_ok=True)

    def _remove_strays(self) -> None:
        """Files of a case whose number was not kept, because the run was stopped between them."""
        known = {path for number in self.cases.values() for path in self._paths(number)}
        for path in [*(self.folder / IMAGES).iterdir(), *(self.folder / MASKS).iterdir()]:
            if path not in known and re.fullmatch(rf"case_\d{{4}}(_\d{{4}})?{re.escape(ENDING)}", path.name):
                path.unlink()

    def _keep(self) -> None:
        write_text(self.folder / STATE, json.dumps({"format": STATE_FORMAT, "channels": self.channels, "cases": self.cases}, indent=0) + "\n")


def _images(row: "Row", folder: Path, channels: str) -> tuple[tuple[sitk.Image, ...], sitk.Image, str | None]:
    """The channels and the outline of one case, on one grid, float32 and uint8, and where the outline comes from."""
    if row.files.get("pre_mask") is None:
        raise InputError("The case has no outline of the tumour before treatment", code="MRD-E388", fix="draw it and name it in the column pre_mask")
    if channels == "pre":
        pre, other = _pre(row, folder), None
    else:
        pre, other = _aligned(row, folder)
    check_place(pre, "pre")                          # refuses what lies in the air: a network would learn it
    images = [pre.image] if other is None else [pre.image, other]
    turned = tuple(sitk.Cast(in_order(image, LPS), sitk.sitkFloat32) for image in images)
    mask = sitk.Cast(in_order(pre.mask, LPS) > 0, sitk.sitkUInt8)
    if not np.isfinite(sitk.GetArrayViewFromImage(turned[0])).all():
        raise InputError("The scan holds values that are no numbers", code="MRD-E388", fix="export it again")
    return turned, mask, pre.mask_source


def _pre(row: "Row", folder: Path) -> Timepoint:
    """The scan before treatment with its outline; nothing else of the row is looked at."""
    options = {"series": row.options.get("pre_series"), "role": "pre"}
    path = folder / row.files["pre"] if row.files.get("pre") is not None else folder / "."
    try:
        scan = read_image(path, volume_index=row.options.get("volume_index"), **options)
    except OneVolumeOnly:
        scan = read_image(path, **options)
    mask = read_told_mask(folder / row.files["pre_mask"], scan.image, role="pre", label=row.options.get("pre_label"), frame_uid=scan.frame_uid)
    return Timepoint(image=scan.image, mask=mask.image, mask_source=drawings.source(drawings.program_told(mask), mask.image))


def _aligned(row: "Row", folder: Path) -> tuple[Timepoint, sitk.Image]:
    """The pair through the gate of a single run, and the second scan on the first one's grid."""
    files = {role: os.path.abspath(folder / row.files[role]) for role in ("pre", "post", "pre_mask", "post_mask") if row.files.get(role) is not None}
    options = {name: value for name, value in row.options.items() if name != "residual_label"}
    case, _ = read_case(job_from_mapping({**options, **files, "out": ".", "complete_response": bool(row.complete_response), "steps": ("align", "masks")}))
    found = align(case.pre.image, case.post.image, pre_mask=case.pre.mask, post_mask=case.post.mask)
    return case.pre, on_grid(case.post.image, case.pre.image, found.transform)


def _write_description(folder: Path, numbers: _State, channels: str) -> None:
    """dataset.json by nnU-Net's rules, with one entry of ours, which it does not read and its models keep."""
    names = CHANNELS[channels]
    description = {"channel_names": {str(number): name for number, name in enumerate(names)}, "labels": LABELS, "numTraining": len(numbers.numbers()),
                   "file_ending": ENDING, "name": folder.name.split("_", 1)[1], "overwrite_image_reader_writer": "SimpleITKIO",
                   OWN_ENTRY: {"order": LPS, "role": "pre"} | ({"second": "post"} if len(names) == 2 else {})}
    write_text(folder / DATASET, json.dumps(description, indent=1) + "\n")


def _fingerprint(row: "Row", folder: Path, channels: str) -> str:
    """Names a case by sizes and times of its files and by the code that reads them; a changed file is another case."""
    task = task_of(row, folder, Path("."), PreprocessingConfig(), RegistrationConfig())
    wanted = ("pre", "pre_mask") if channels == "pre" else ("pre", "post", "pre_mask", "post_mask")
    task |= {"files": {role: path for role, path in task["files"].items() if role in wanted}, "channels": channels, "preprocessing": None, "interval_days": None}
    return hashlib.sha256(fingerprint(task).encode()).hexdigest()[:32]


def _case(number: int) -> str:
    return f"case_{number:04d}"


def _check(folder: Path, dataset_id: int, name: str, channels: str, key: Path | str | None) -> None:
    if channels not in CHANNELS or not NAME.fullmatch(name) or not 1 <= dataset_id <= 999:
        raise UsageError("The dataset cannot have this name, number or channels", code="MRD-E385", found=f"number {dataset_id}, {len(name)} characters",
                         fix="give a number from 1 to 999, a name of up to 60 letters and digits, and the channels pre or pre+post")
    if key is not None and folder.absolute() in Path(key).absolute().parents:
        raise UsageError("The key would lie inside the dataset, which may be given away", code="MRD-E385", fix="keep it where the table is")
    if folder.parent.is_dir():
        for entry in os.scandir(folder.parent):
            if entry.is_dir() and entry.name.startswith(f"Dataset{dataset_id:03d}_") and entry.name != folder.name:
                raise UsageError("Another dataset has this number, and nnU-Net knows datasets by their numbers", code="MRD-E385",
                                 found=f"number {dataset_id}", fix="choose another number with --dataset-id")


def _other_dataset(found: str) -> EnvironmentProblem:
    return EnvironmentProblem("The folder of the dataset holds something else", code="MRD-E385", found=found,
                              fix="choose another number or name, or another folder")
