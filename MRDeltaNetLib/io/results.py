"""What a run leaves behind: images, transform, result.json, and manifest.json as the last file.

A folder with a manifest holds a finished run; one without it does not. All files of a run are first written into a folder of
their own beside the earlier ones and then take their place together, so that a full disk or a stop costs no earlier result.
The formats are in Resources/schemas/result-1.schema.json and manifest-1.schema.json.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.config import EXPLAIN_METHODS, NATIVE_METHODS
from MRDeltaNetLib.errors import EnvironmentProblem, MRDeltaNetError
from MRDeltaNetLib.io import correspondence, drawings, network_input
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, atomic, folder_to_disk, output_problem, replace, sha256, try_to_write, write_text
from MRDeltaNetLib.io.images import write_image
from MRDeltaNetLib.io.measure_rows import COLUMNS as MEASURE_COLUMNS
from MRDeltaNetLib.io.measure_rows import measure_rows
from MRDeltaNetLib.io.tables import is_unicode, write_csv
from MRDeltaNetLib.io.transforms import write_transform

RESULT, MANIFEST, MEASURES = "result.json", "manifest.json", "measures.csv"
REPORT, SCENE = "report.html", "scene.mrb"
TRANSFORM, BENT_TRANSFORM = "registration.tfm", "registration.h5"
"""Rigid and affine transforms as text; those that bend as HDF5. Both: pre LPS -> post LPS, mm (resamples post onto pre)."""

IMAGE_FILES = {name: f"{name}.nrrd" for name in ("pre_common", "post_common", "pre_mask", "post_mask", "residual_mask",
                                                 "attention_pre", "attention_post", "change_post")}
"""Key of Result.images -> file. Scans on the common grid (the pre scan's); masks and maps each on its own scan's grid."""

PROBABILITY_FILES = {f"{visit}_probability": f"{visit}_probability.nrrd" for visit in ("pre", "post")}
"""The same of the probabilities that a program gave beside a mask; only where the run was given them."""

METHOD_FILES = {f"{key}_{visit}": f"{key}_{visit}.nrrd" for key in EXPLAIN_METHODS if key not in NATIVE_METHODS for visit in ("pre", "post")}
"""The same of maps that a run makes only if it is asked to, or that are added to it later (io/added_maps)."""

ALL_IMAGE_FILES = IMAGE_FILES | PROBABILITY_FILES | METHOD_FILES

OWN_FILES = frozenset({*ALL_IMAGE_FILES.values(), RESULT, MEASURES, MANIFEST, REPORT, SCENE, TRANSFORM, BENT_TRANSFORM, correspondence.FILE, network_input.FILE})
"""Every name that a run may write into its output folder."""

RESULT_SCHEMA, MANIFEST_SCHEMA = "mrdeltanet.result/1", "mrdeltanet.manifest/1"

P_PCR_MEANING = ("p_pcr is the probability of a pathological complete response (pCR) after treatment, from 0 to 1: the higher, the "
                 "likelier a complete response. It is never the probability of residual tumour.")
RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment decisions."

PROBABILITY_MEANING = f"probability by the program that drew the mask, 0 to 1; uncertain between {drawings.LOW:g} and {drawings.HIGH:g}; not a probability of being right"

MASK_MEANINGS = {"pre_mask": "1: tumour before treatment", "residual_mask": "1: residual viable tumour; empty: none is left (complete response)",
                 "post_mask": "1: tumour bed after treatment, the whole original site with residual tumour and fibrosis"}

LEFTOVER_AGE_S = 24 * 3600
"""No run writes for longer than this."""

_NOT_IN_RESULT = ("device", "card")
"""Model facts that result.json leaves out: the device is in the manifest, the card in the bundle and the report."""

_HANDED_ON = frozenset({IMAGE_FILES["pre_mask"], IMAGE_FILES["post_mask"], IMAGE_FILES["residual_mask"], *PROBABILITY_FILES.values(), TRANSFORM, BENT_TRANSFORM})
"""What a run may read from the folder that it then writes: masks and an alignment, accepted or edited there, come out as they went in."""

_HARMLESS = frozenset({".ds_store", "thumbs.db", "desktop.ini"})


def check_output_folder(out: Path | str, inputs: Iterable[Path | str] = ()) -> None:
    """Refuse an output folder before anything is computed. Changes nothing on the disk.

    out     the folder; need not exist yet
    inputs  every file and folder that the run reads
    raises  EnvironmentProblem MRD-E820 (a file), E821 (inside an input folder), E822 (holds files that are not ours),
            E824 (too little space), E826 (a name that is not Unicode), E811 to E813 (cannot be written to)
    """
    check_place(out, lambda place: _refuse_what_is_there(place, inputs))


def check_place(out: Path | str, further: Callable[[Path], None]) -> None:
    """Refuse a folder that cannot be written to. Changes nothing on the disk.

    further  more checks of it, which may raise OSError too
    raises   EnvironmentProblem MRD-E820 (a file), E824 (too little space), E826 (a name that is not Unicode), E811 to E813 (cannot be written to)
    """
    out = Path(out)
    try:
        refuse_broken_name(out)
        _refuse_file(out)
        further(out)
        try_to_write(out)
    except OSError as problem:
        raise output_problem(problem) from problem


def require_room(folder: Path) -> None:
    """Refuse a folder that nothing can be written into. raises EnvironmentProblem MRD-E824 (too little space), E811 to E813"""
    try:
        try_to_write(folder)
    except OSError as problem:
        raise output_problem(problem) from problem


@contextlib.contextmanager
def staged(out: Path | str) -> Iterator[Path]:
    """All files of a run appear together: yields an empty folder to write into, which then takes the earlier run's place.

    On success every file of ours from an earlier run is replaced or removed, the manifest last; on failure earlier files stay
    as they were and the new ones are removed. A run killed while files change places leaves a folder without manifest.
    raises  EnvironmentProblem as io/atomic
    """
    with taking_place(out, _take_place) as folder:
        yield folder


@contextlib.contextmanager
def taking_place(out: Path | str, take_place: Callable[[Path, Path], None]) -> Iterator[Path]:
    """Files that appear together: yields an empty folder inside `out` to write into; what is left of it is removed, and so are other writers' old leftovers.

    take_place  (that folder, out) -> brings its files into `out` when everything is written; not called after a failure
    raises      EnvironmentProblem as io/atomic
    """
    out = Path(out)
    folder = out / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        try:
            folder.mkdir(parents=True)
        except OSError as problem:
            raise output_problem(problem) from problem
        yield folder
        try:
            take_place(folder, out)
            remove_leftovers(out)
        except OSError as problem:
            raise output_problem(problem) from problem
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_results(result: Result, out: Path | str, *, manifest: Mapping[str, Any],
                  also: Callable[[Path], Iterable[str]] = lambda folder: ()) -> tuple[str, ...]:
    """Write everything, all or nothing.

    manifest  as write_manifest, without "outputs", which are filled in here; read only after `also` is done, which may add times to it
    also      writes further files (report, scene) into the folder it is given and returns their names
    returns   names of the files in out, the manifest last
    """
    with staged(out) as folder:
        names = [*_write_files(result, folder), *also(folder)]
        write_manifest({**manifest, "outputs": {name: sha256(folder / name) for name in names}}, folder)
    return (*names, MANIFEST)


def write_images_and_numbers(result: Result, out: Path | str) -> tuple[str, ...]:
    """Write images, transform and result.json, without report, scene and manifest; an earlier run's files go. Returns their names."""
    with staged(out) as folder:
        return _write_files(result, folder)


def write_manifest(manifest: Mapping[str, Any], out: Path | str) -> None:
    """Write manifest.json, the sign that the run is finished: call it last.

    manifest  versions, system, device, seed, config, options, model, inputs (SHA-256), outputs (SHA-256), seconds; no path, no name
    """
    write_text(Path(out) / MANIFEST, as_text({"schema": MANIFEST_SCHEMA, **manifest}, MANIFEST))


def result_json(result: Result) -> dict[str, Any]:
    """The numbers of a run as result.json holds them. Wall times are in the manifest, so equal runs give equal bytes.

    raises  MRDeltaNetError MRD-E819 if a number is not finite
    """
    model = None if result.model is None else {k: v for k, v in result.model.items() if k not in _NOT_IN_RESULT}
    return _plain({
        "schema": RESULT_SCHEMA,
        "intended_use": RESEARCH_USE,
        "p_pcr": result.p_pcr,
        "p_pcr_meaning": P_PCR_MEANING,
        "p_pcr_low": result.p_pcr_low,
        "p_pcr_high": result.p_pcr_high,
        "spread": result.spread or None,
        "familiarity": result.familiarity,
        "logit": result.logit,
        "predicted_class": result.predicted_class,
        "threshold": result.threshold,
        "measures": result.measures,
        "response": result.response or None,
        "features": result.features or None,
        "mrtrg": result.mrtrg,
        "registration": result.registration,
        "mask_sources": result.mask_sources,
        "mask_programs": result.mask_programs or None,
        "interval_days": result.interval_days,
        "model": model,
        "maps": {name: {"file": ALL_IMAGE_FILES[name], **facts} for name, facts in result.map_facts.items()} | _looks(result),
        "files": {name: file for name, file in ALL_IMAGE_FILES.items() if name in result.images},
        **({} if result.network_input is None else {"network_input_file": network_input.FILE}),
        "transform_file": None if result.transform is None else _transform_name(result.transform),
        "warnings": [{"code": notice.code, "text": notice.text, "fix": notice.fix} for notice in result.warnings],
        "history": [{key: value for key, value in entry.items() if key != "seconds"} for entry in result.history],
    }, RESULT)


def _looks(result: Result) -> dict[str, Any]:
    """The entry of the correspondence among the maps: its facts, or why there is none."""
    if result.correspondence is not None:
        return {"correspondence": correspondence.facts(result.correspondence)}
    return {"correspondence": {"file": None, "why": result.no_correspondence}} if result.no_correspondence else {}


def _write_files(result: Result, folder: Path) -> tuple[str, ...]:
    names = []
    for name, file in ALL_IMAGE_FILES.items():
        if name in result.images:
            write_image(result.images[name], folder / file, header=_header(name, result))
            names.append(file)
    if result.correspondence is not None:
        correspondence.write_correspondence(result.correspondence, folder / correspondence.FILE)
        names.append(correspondence.FILE)
    if result.network_input is not None:
        network_input.write_network_input(result.network_input, folder / network_input.FILE)
        names.append(network_input.FILE)
    if result.transform is not None:
        names.append(_transform_name(result.transform))
        _write_transform(result.transform, folder / names[-1])
    if result.measures:
        write_csv(folder / MEASURES, measure_rows(result), MEASURE_COLUMNS)
        names.append(MEASURES)
    write_text(folder / RESULT, as_text(result_json(result), RESULT))
    return (*names, RESULT)


def _header(name: str, result: Result) -> dict[str, str]:
    """What an image says about itself to whoever opens it alone."""
    facts = result.map_facts.get(name, {})
    texts = {"intended_use": RESEARCH_USE, "meaning": PROBABILITY_MEANING if name in PROBABILITY_FILES else MASK_MEANINGS.get(name, "")}
    if name == "post_mask" and result.mask_sources.get("post") == "carried":
        texts["caution"] = "carried over from the pre-treatment mask as a suggestion; nobody drew it"
    program = result.mask_programs.get(name.removesuffix("_mask").removesuffix("_probability")) or {}
    return _header_texts(texts | dict(facts)) | (drawings.header_of(program) if "mask_sha256" in program else {})


def map_header(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a map says about itself to whoever opens it alone."""
    return _header_texts({"intended_use": RESEARCH_USE, **facts})


def _header_texts(values: Mapping[str, Any]) -> dict[str, str]:
    texts = {f"mrdeltanet_{key}": _in_words(value) for key, value in values.items() if value is not None}
    return {key: text for key, text in texts.items() if text}


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_in_words(inner)}" for key, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_in_words, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _transform_name(transform: sitk.Transform) -> str:
    return TRANSFORM if transform.IsLinear() else BENT_TRANSFORM


def _write_transform(transform: sitk.Transform, path: Path) -> None:
    try:
        if transform.IsLinear():
            return write_transform(transform, path)
        flat = transform
        if transform.GetTransformEnum() == sitk.sitkComposite:
            flat = sitk.CompositeTransform(transform)
            flat.FlattenTransform()                        # the file format holds no composite inside a composite
        with atomic(path) as temporary:
            sitk.WriteTransform(flat, str(temporary))
    except RuntimeError as cause:
        raise EnvironmentProblem("The transform could not be written", code="MRD-E825", found="the transform writer stopped",
                                 fix="check free space and permissions of the output folder") from cause


def as_text(value: Mapping[str, Any], name: str) -> str:
    return json.dumps(_plain(value, name), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any, place: str) -> Any:
    """The value in JSON's own types; a number that is not finite is an error that names its place."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, f"{place}: {key}") for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry, place) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise MRDeltaNetError("A number of the result is not finite, so the result is not written", code="MRD-E819", found=place,
                              fix="report this together with what `mrdeltanet info` prints")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{place} holds a {type(value).__name__}, which JSON does not know")


def _take_place(folder: Path, out: Path) -> None:
    """Move the earlier files aside and the new ones in; back again if one of them cannot be moved (held open on Windows)."""
    new = sorted((file.name for file in folder.iterdir()), key=_manifest_last)
    if foreign := set(new) - OWN_FILES:
        raise ValueError(f"not among the names that a run may write: {sorted(foreign)}")
    earlier = sorted((name for name in OWN_FILES if (out / name).exists()), key=_manifest_last, reverse=True)
    aside = folder / "earlier"
    aside.mkdir()
    try:
        _move(earlier, out, aside)
        _move(new, folder, out)
    except OSError:
        _move([name for name in new if not (folder / name).exists()], out, folder)
        _move([name for name in reversed(earlier) if (aside / name).exists()], aside, out)
        raise
    folder_to_disk(out)


def _move(names: Iterable[str], source: Path, target: Path) -> None:
    for name in names:
        replace(source / name, target / name)


def _manifest_last(name: str) -> tuple[bool, str]:
    return name == MANIFEST, name


def remove_leftovers(out: Path) -> None:
    """Unfinished files of runs that were killed, unless they are so new that another run may still be writing them."""
    for entry in out.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime > LEFTOVER_AGE_S:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def refuse_broken_name(out: Path) -> None:
    """raises  EnvironmentProblem MRD-E826: the native writers end the whole process when a name on the way is not Unicode"""
    if not is_unicode(str(out.absolute())):
        raise EnvironmentProblem("The name of the output folder, or of a folder above it, is not Unicode text", code="MRD-E826",
                                 found="bytes that are no letters", fix="choose another output folder, or rename that folder")


def _refuse_file(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise EnvironmentProblem("The output folder is a file", code="MRD-E820", fix="choose a folder, new or empty")


def _refuse_what_is_there(out: Path, inputs: Iterable[Path | str]) -> None:
    _refuse_input_folder(out, inputs)
    if out.is_dir():
        _refuse_foreign_files(out)


def _refuse_input_folder(out: Path, inputs: Iterable[Path | str]) -> None:
    place = _real(out)
    for given in inputs:
        read = _real(Path(given))
        if read == place or (read in place.parents and read.is_dir()):
            raise EnvironmentProblem("The output folder lies inside a folder that is read", code="MRD-E821",
                                     fix="choose an output folder outside the folders of the scans")
        if read.parent == place and read.name in OWN_FILES - _HANDED_ON:
            raise EnvironmentProblem("A scan that is read lies in the output folder and would be replaced by the result", code="MRD-E821",
                                     fix="choose another output folder")


def _real(path: Path) -> Path:
    """The path without links."""
    try:
        return path.resolve()
    except RuntimeError as cause:                          # Python's word for links that go round in a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from cause


def _refuse_foreign_files(out: Path) -> None:
    foreign = sum(1 for entry in out.iterdir() if not _is_ours(entry))
    if foreign:
        raise EnvironmentProblem("The output folder holds files that are not from an earlier run", code="MRD-E822",
                                 found=f"{foreign} other file{'' if foreign == 1 else 's'} or folder{'' if foreign == 1 else 's'}",
                                 fix="choose a new or empty folder, so that nothing of yours is mixed with results")


def _is_ours(entry: Path) -> bool:
    if entry.name.startswith(TEMPORARY_PREFIX) or entry.name.casefold() in _HARMLESS:
        return True
    return entry.name in OWN_FILES and not entry.is_dir()
