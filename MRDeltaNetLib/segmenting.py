"""One automatic segmentation, from files to files: a scan and an approved model in, a mask and its probabilities out.

The mask is a suggestion for a person to check. Both files lie on the scan's own grid; the mask is written last.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, Notice, UsageError
from MRDeltaNetLib.imaging.nnunet import NnUnetSegmenter
from MRDeltaNetLib.imaging.nnunet.environment import find_python
from MRDeltaNetLib.imaging.outline_place import check_place
from MRDeltaNetLib.imaging.registration import align, assess
from MRDeltaNetLib.imaging.segmentation import segment
from MRDeltaNetLib.io.drawings import HIGH, LOW, header_of, program_of
from MRDeltaNetLib.io.gate.outlines import check_outline
from MRDeltaNetLib.io.images import read_image, write_image
from MRDeltaNetLib.io.nnunet_model import NnUnetModel, read_nnunet_model
from MRDeltaNetLib.io.results import refuse_broken_name, require_room
from MRDeltaNetLib.io.segment_jobs import SegmentJob, probability_file
from MRDeltaNetLib.io.tables import short
from MRDeltaNetLib.io.transforms import read_transform
from MRDeltaNetLib.progress import Progress, part, silent

NOTE = "Drawn by a program, not by a person: a suggestion to be checked and corrected. Research use only."
SCANS = {"pre": "the scan before treatment", "post": "the scan after treatment"}


@dataclass(frozen=True)
class Segmented:
    """What one segmentation left behind.

    mask, probability  the files
    facts              as imaging.nnunet.Drawn
    notices            warnings
    """

    mask: Path
    probability: Path
    facts: Mapping[str, Any]
    notices: tuple[Notice, ...] = ()


def run_segmentation(job: SegmentJob, progress: Progress = silent) -> Segmented:
    """Do one job.

    raises  UsageError MRD-E384 if a mask of that name is there, MRD-E821 if a scan would be replaced, EnvironmentProblem MRD-E811 to E813, E824
            and E826 if its folder cannot be written to, all before anything is computed; what reading a scan, the registration and
            imaging.nnunet raise; InputError MRD-E355 if nothing was found; EnvironmentProblem as io/atomic
    """
    places = {"mask": job.out, "probability": probability_file(job)}
    _check_places(job, places)
    python, model = find_python(job.python), read_nnunet_model(job.model)
    progress(0.0, "Reading the scan")
    scan = read_image(job.image, volume_index=job.volume_index, assume_ras=job.assume_ras, series=job.series, role=job.role)
    second, notices = _second(job, scan, part(progress, 0.02, 0.3))
    segmenter = NnUnetSegmenter(model, python, second=second, label=job.label, device=job.device, threads=job.threads, mirroring=job.mirroring)
    mask = segment(scan.image, segmenter, role=job.role, progress=part(progress, 0.05 if second is None else 0.3, 0.97))
    facts = segmenter.drawn.facts
    header = {"note": NOTE} | header_of(program_of(facts, mask))
    write_image(segmenter.drawn.probability, places["probability"], header=header | {"mrdeltanet.facts": json.dumps(facts, sort_keys=True)})
    write_image(mask, places["mask"], header=header if places["mask"].suffix.lower() == ".nrrd" else None)
    progress(1.0, "Done")
    return Segmented(places["mask"], places["probability"], facts, (*scan.notices, *notices, *_doubts(job, model), *_judged(scan, mask, job.role)))


def describe(done: Segmented) -> list[str]:
    """What a person is told, in a few lines."""
    facts = done.facts
    return [f"Drawn '{short(facts['label'])}': {facts['volume_ml']:.1f} mL; {facts['certain_volume_ml']:.1f} mL of it with a probability of at least {HIGH:g}, "
            f"{facts['possible_volume_ml']:.1f} mL with at least {LOW:g}",
            f"nnU-Net {facts.get('nnunetv2', '?')} on {facts.get('device', '?')}; model SHA-256 {facts['model']['sha256'][:16]}...",
            f"Mask:          {done.mask}", f"Probabilities: {done.probability}", NOTE]


def as_summary(done: Segmented) -> dict[str, Any]:
    """The same for a program: files, facts, warnings."""
    return {"files": [done.mask.name, done.probability.name], **done.facts,
            "warnings": [{"code": notice.code, "text": notice.text, "fix": notice.fix} for notice in done.notices]}


def _second(job: SegmentJob, scan: Timepoint, progress: Progress) -> tuple[sitk.Image | None, tuple[Notice, ...]]:
    """The other scan on the first one's grid."""
    if job.other is None:
        return None, ()
    other = read_image(job.other, assume_ras=job.assume_ras, series=job.other_series, role="post" if job.role == "pre" else "pre")
    if job.transform is not None:
        transform = read_transform(job.transform)
        notices = assess(scan.image, other.image, transform)[1]
    else:
        found = align(scan.image, other.image, progress=progress)
        transform, notices = found.transform, found.notices
    return on_grid(other.image, scan.image, transform), (*other.notices, *notices)


def on_grid(other: sitk.Image, scan: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """The other scan resampled linearly onto a scan's grid, 0 outside of it, float32.

    transform  LPS of scan -> LPS of other, mm
    """
    return sitk.Resample(other, scan, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)


def _doubts(job: SegmentJob, model: NnUnetModel) -> tuple[Notice, ...]:
    notices = []
    if job.role == "post":
        notices.append(Notice("MRD-W370", "No program is known to draw reliably after treatment, where readers agree with a Dice of 0.36 only",
                              "compare with the first scan and draw the whole original site yourself; take this as a hint at best"))
    if model.role is not None and model.role != job.role:
        notices.append(Notice("MRD-W371", f"The model learned from outlines on {SCANS[model.role]}, and draws on {SCANS[job.role]} here",
                              "choose a model that was trained for this scan"))
    return tuple(notices)


def _judged(scan: Timepoint, mask: sitk.Image, role: str) -> tuple[Notice, ...]:
    """What a run would say of the mask. Not even a refusal takes it away, because a person corrects it anyway."""
    notices = []
    for check in (lambda: check_outline(mask, role), lambda: check_place(replace(scan, mask=mask), role)):
        try:
            notices += check()
        except InputError as refusal:
            notices.append(Notice("MRD-W372", f"A run would refuse what nnU-Net drew: {refusal.what} ({refusal.found})", refusal.fix))
    return tuple(notices)


def _check_places(job: SegmentJob, places: Mapping[str, Path]) -> None:
    reads = {given.resolve() for given in (job.image, job.other, job.transform) if given is not None}
    for place in places.values():
        if place.resolve() in reads or any(given.is_dir() and given in place.resolve().parents for given in {*reads, job.model.resolve()}):
            raise EnvironmentProblem("The mask would replace a scan that is read, or lie inside a folder that is read", code="MRD-E821",
                                     fix="choose another folder for the mask")
        if place.exists() and not job.replace:
            raise UsageError("There is a file of that name already, perhaps a mask that somebody corrected", code="MRD-E384",
                             fix="choose another name, or give --replace")
    if places["mask"].resolve() == places["probability"].resolve():
        raise UsageError("Mask and probabilities would be one file", code="MRD-E384", fix="choose another name for one of them")
    for place in places.values():
        refuse_broken_name(place)
        require_room(place.parent)
