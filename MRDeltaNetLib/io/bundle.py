"""Model bundles: a folder with weights, what they need and promise, and digests of every file.

    manifest.json               SHA-256 of every other file
    configs/metadata.json       MONAI bundle metadata, with what MRDeltaNet needs under "mrdeltanet"
    models/model.safetensors    the weights; never a pickle
    models/golden.safetensors   one input and the output that this network gave for it when the bundle was written
    models/reference.safetensors   optional: what the training cases looked like (io/reference)
    docs/README.md              the model card
    LICENSE

Reading a bundle hashes it, parses JSON strictly and reads tensors. It never unpickles, never imports and never evaluates
anything that the bundle holds; the network is built by a function that the caller hands in.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Callable, Mapping

from MRDeltaNetLib.config import BIAS_CORRECTIONS, GateLimits, PreprocessingConfig
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, require
from MRDeltaNetLib.io import judged_maps
from MRDeltaNetLib.io.atomic import atomic, output_problem, sha256, write_text
from MRDeltaNetLib.io.reference import Reference, read_reference, reference_bytes
from MRDeltaNetLib.io.table_model import is_table_model
from MRDeltaNetLib.io.tables import is_unicode, read_json

if TYPE_CHECKING:
    import torch

MANIFEST, METADATA = "manifest.json", "configs/metadata.json"
WEIGHTS, GOLDEN = "models/model.safetensors", "models/golden.safetensors"
CARD, LICENCE = "docs/README.md", "LICENSE"
FILES = (METADATA, WEIGHTS, GOLDEN, CARD, LICENCE)
"""What every bundle holds beside its manifest."""

REFERENCE = "models/reference.safetensors"
OPTIONAL = (REFERENCE,)
"""What a bundle may hold too, if its manifest lists it. Any other file is foreign."""

FORMAT = 1
MAX_WEIGHT_BYTES, MAX_GOLDEN_BYTES, MAX_REFERENCE_BYTES, MAX_TEXT_BYTES = 2 * 1024**3, 256 * 1024**2, 80 * 1024**2, 1024**2
MAX_METADATA_BYTES = 64 * 1024**2                 # they list digests of every training case
MAX_BYTES = {METADATA: MAX_METADATA_BYTES, WEIGHTS: MAX_WEIGHT_BYTES, GOLDEN: MAX_GOLDEN_BYTES, REFERENCE: MAX_REFERENCE_BYTES,
             CARD: MAX_TEXT_BYTES, LICENCE: MAX_TEXT_BYTES}
MAX_MEMBERS = 100
NUMBERS_OF = {"spacing_mm": 3, "crop_mm": 3, "clip_percentiles": 2}
"""How many numbers a preprocessing setting has; one where it is not named."""

GOLDEN_OUTPUTS = ("logit", "attention_post", "attention_pre", "change_post")
"""Outputs of a network that the stored example may hold; the logit always."""

SETTINGS_TYPES = (str, int, float, bool, type(None))

MONAI_REQUIRED = {"version": str, "monai_version": str, "pytorch_version": str, "numpy_version": str,
                  "required_packages_version": dict, "task": str, "description": str, "authors": str, "copyright": str,
                  "network_data_format": dict}
"""The keys that the MONAI bundle specification makes mandatory in metadata.json."""

OWN_REQUIRED = {"format": int, "name": str, "anatomy": str, "is_demo": bool, "intended_use": str, "trained_on": str,
                "sequences": list, "network": dict, "preprocessing": dict, "bias_corrections_allowed": list,
                "recalibration": dict, "threshold": float, "threshold_source": str, "held_out_auc": float,
                "held_out_auc_ci": list, "held_out_on": str, "golden_tolerance": float}
"""The keys of the "mrdeltanet" section and their types."""

DIGESTS = ("training_keys", "training_crops_sha256", "training_scans_sha256")
"""Lists of SHA-256 that the section may hold: of the training cases' files and settings, of their crops, and of their scans. They name nobody."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and checked.

    metadata        configs/metadata.json, the whole of it
    weights         parameter name -> torch.Tensor, on the CPU, all finite
    golden          "input" (2, 2, D, H, W), "logit" (), and other tensors of the stored example
    card            the model card, Markdown
    weights_sha256  of models/model.safetensors
    sha256          of manifest.json: names the bundle as a whole
    reference       what the training cases looked like; None in bundles that do not say
    """

    metadata: Mapping[str, Any]
    weights: Mapping[str, "torch.Tensor"]
    golden: Mapping[str, "torch.Tensor"]
    card: str
    weights_sha256: str
    sha256: str
    reference: Reference | None = None

    @property
    def own(self) -> Mapping[str, Any]:
        """The "mrdeltanet" section of the metadata."""
        return self.metadata["mrdeltanet"]

    @property
    def preprocessing(self) -> PreprocessingConfig:
        """How scans must be prepared for these weights."""
        return preprocessing_from(self.own["preprocessing"])

    @property
    def members(self) -> int:
        """How many networks answer together; 1 for a single one."""
        return self.own["network"]["settings"].get("members", 1)

    def public_facts(self) -> dict[str, Any]:
        """What result.json and the report say about the model."""
        own = self.own
        return {"name": own["name"], "version": self.metadata["version"], "bundle_sha256": self.sha256,
                "weights_sha256": self.weights_sha256, "is_demo": own["is_demo"], "intended_use": own["intended_use"],
                "trained_on": own["trained_on"], "held_out_on": own["held_out_on"], "held_out_auc": own["held_out_auc"],
                "held_out_auc_ci": list(own["held_out_auc_ci"]), "threshold_source": own["threshold_source"],
                "network": own["network"]["name"], "members": self.members, "maps": own.get("maps"),
                "reference_cases": None if self.reference is None else self.reference.cases, "card": self.card}


def read_bundle(folder: Path, limits: GateLimits = GateLimits(), *, weights: bool = True) -> Bundle:
    """Read and check a bundle.

    folder   the bundle's folder
    weights  False: files, digests, metadata and card only, without any tensor: for a door that shows the card; needs no torch
    raises  InputError MRD-E501 (no bundle), E502 (wrong or foreign files), E503 (hash differs), E504 (metadata),
            E505 (weights unreadable or not finite), E508 (reference unusable)
    """
    folder = Path(folder)
    digests = _checked_digests(folder, limits)
    metadata = _metadata_from(folder / METADATA, limits)
    tensors, golden = (_tensors(folder / WEIGHTS, "the weights"), _tensors(folder / GOLDEN, "the stored example")) if weights else ({}, {})
    if weights:
        _require_golden(golden)
    reference = read_reference(folder / REFERENCE, limits) if weights and REFERENCE in digests else None
    return Bundle(metadata=metadata, weights=tensors, golden=golden, card=_card(folder / CARD),
                  weights_sha256=digests[WEIGHTS], sha256=sha256(folder / MANIFEST), reference=reference)


def load_network(bundle: Bundle, build: Callable[..., "torch.nn.Module"]) -> "torch.nn.Module":
    """The bundle's network with its weights, in evaluation mode on the CPU.

    build   build(name, **settings) -> torch.nn.Module, where settings may hold "members", the number of networks in an ensemble; handed in because networks are the models package's affair
    raises  InputError MRD-E506 if name, settings or weights do not fit each other
    """
    network_facts = bundle.own["network"]
    try:
        network = build(network_facts["name"], **network_facts["settings"])
        network.load_state_dict(dict(bundle.weights), strict=True)
    except (MRDeltaNetError, MemoryError):
        raise
    except Exception as cause:  # noqa: BLE001 whatever foreign settings make a network raise, they do not fit it
        raise InputError("The model's weights do not fit the network that its metadata names", code="MRD-E506",
                         found=f"network '{network_facts['name']}', {len(bundle.weights)} tensors ({type(cause).__name__})",
                         fix="use the bundle with the MRDeltaNet version that wrote it, or export the model again") from cause
    return network.eval()


def check_golden(bundle: Bundle, network: "torch.nn.Module") -> float:
    """How far the network's output for the stored input is from the stored output: the largest absolute difference.

    raises InputError MRD-E507 if it is more than the bundle's own tolerance
    """
    torch = require("torch", "Checking a model")
    with torch.inference_mode():
        output = network(bundle.golden["input"].float()[None])
    difference = max(_largest_difference(bundle.golden[name], getattr(output, name)[0])
                     for name in bundle.golden if name != "input")
    if not difference <= bundle.own["golden_tolerance"]:
        raise InputError("The model does not give the output that was stored with it", code="MRD-E507",
                         found=f"difference {difference:.3g}, allowed {bundle.own['golden_tolerance']:.3g}",
                         fix="do not use this model on this machine; export it again or report the versions that `mrdeltanet info` prints")
    return difference


def write_bundle(folder: Path, *, network: "torch.nn.Module", metadata: Mapping[str, Any], card: str,
                 golden_input: "torch.Tensor", licence: str, reference: Reference | None = None) -> str:
    """Write a bundle that read_bundle accepts; an existing bundle in the folder is replaced. What is refused leaves the folder as it was.

    golden_input  (2, 2, D, H, W); stored as float16 together with the output for exactly these stored values
    licence       text of the licence
    reference     of the training cases (response/familiarity.fit_reference), made with this very network; None leaves the light "not known"
    returns       SHA-256 of the manifest
    raises        InputError MRD-E502 (a file too large, foreign files in the folder), E504 (metadata, texts), E505 (values that are not numbers,
                  or an example that is none), E508 (reference), as read_json what its JSON does not let through; EnvironmentProblem MRD-E810 to E813 (cannot write)
    """
    torch = require("torch", "Writing a model")
    save = require("safetensors.torch", "Writing a model", "pip install safetensors").save
    texts = {METADATA: _metadata_bytes(metadata), CARD: _text_bytes(card, "model card"), LICENCE: _text_bytes(licence, "licence")}
    stored = golden_input.half()
    with torch.inference_mode():
        output = network.eval()(stored.float()[None])
    golden = {"input": stored.contiguous()} | {name: getattr(output, name)[0].float().contiguous().clone()
                                                 for name in GOLDEN_OUTPUTS}
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    _require_numbers(weights, "the weights")
    _require_numbers(golden, "the stored example")
    _require_golden(golden)
    contents = {GOLDEN: save(golden), WEIGHTS: save(weights), **texts}
    if reference is not None:
        contents[REFERENCE] = reference_bytes(reference)
    folder = Path(folder)
    for name, content in contents.items():
        _refuse_large(name, len(content))
    _remove_earlier(folder)
    for name, content in contents.items():
        with atomic(folder / name) as temporary:
            temporary.write_bytes(content)
    return _write_manifest(folder)


def rewrite_bundle(folder: Path, *, card: str, metadata: Mapping[str, Any]) -> str:
    """Give a bundle another card and other metadata, and its manifest the new digests; weights and stored example stay.

    returns  SHA-256 of the new manifest
    raises   InputError MRD-E502 (too large), E504 (metadata, card); what read_bundle raises for the bundle as it was
    """
    folder = Path(folder)
    read_bundle(folder)                                          # a damaged file must not get a digest that fits it
    contents = {METADATA: _metadata_bytes(metadata), CARD: _text_bytes(card, "model card")}
    for name, content in contents.items():
        _refuse_large(name, len(content))
    for name, content in contents.items():
        with atomic(folder / name) as temporary:
            temporary.write_bytes(content)
    return _write_manifest(folder)


def _remove_earlier(folder: Path) -> None:
    """Take an earlier bundle away, or what a killed run left of one.

    raises  InputError MRD-E502 if the folder is no bundle and holds other files: with them it would not be one
    """
    try:
        if (folder / MANIFEST).exists():
            shutil.rmtree(folder)
        elif foreign := [path for path in folder.rglob("*") if not path.is_dir() and path.relative_to(folder).as_posix() not in MAX_BYTES]:
            raise InputError("The folder for a model bundle holds other files", code="MRD-E502", found=f"{len(foreign)} files",
                             fix="choose a new or empty folder; a bundle holds its own files alone")
        else:
            (folder / REFERENCE).unlink(missing_ok=True)
    except OSError as problem:
        raise output_problem(problem) from problem


def _write_manifest(folder: Path) -> str:
    manifest = {"format": FORMAT, "files": {name: sha256(folder / name) for name in FILES + tuple(name for name in OPTIONAL if (folder / name).exists())}}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return sha256(folder / MANIFEST)


def _metadata_bytes(metadata: Mapping[str, Any]) -> bytes:
    """The metadata as they are written, after they were found to be what read_bundle accepts.

    raises InputError MRD-E502 (too large), E504, or as read_json
    """
    try:
        data = (json.dumps(metadata, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError, RecursionError) as cause:
        raise _metadata_error("metadata", "values that JSON cannot hold") from cause
    _refuse_large(METADATA, len(data))
    _metadata_from(data)
    return data


def _metadata_from(source: Path | bytes, limits: GateLimits = GateLimits()) -> dict[str, Any]:
    """Metadata from their file or its bytes, checked."""
    metadata = read_json(source, replace(limits, max_json_bytes=MAX_BYTES[METADATA]), what="the model bundle's file of metadata")
    check_metadata(metadata)
    return metadata


def _text_bytes(text: str, what: str) -> bytes:
    if not is_unicode(text):
        raise InputError(f"The {what} is not UTF-8 text", code="MRD-E504", found="a half surrogate", fix="write it without that character")
    return text.encode()


def check_metadata(metadata: Any) -> None:
    """Refuse metadata that lack a key, hold a wrong type, or ask for something that is not a plain value.

    raises InputError MRD-E504 naming the key
    """
    _check_keys(metadata, MONAI_REQUIRED, "")
    _check_keys(metadata.get("mrdeltanet"), OWN_REQUIRED, "mrdeltanet.")
    own = metadata["mrdeltanet"]
    if own["format"] != FORMAT:
        raise _metadata_error("mrdeltanet.format", f"{own['format']}, this version reads {FORMAT}")
    _check_network(own["network"])
    preprocessing_from(own["preprocessing"])
    if not own["bias_corrections_allowed"] or not all(one in BIAS_CORRECTIONS for one in own["bias_corrections_allowed"]):
        raise _metadata_error("mrdeltanet.bias_corrections_allowed", str(own["bias_corrections_allowed"])[:80])
    if not all(isinstance(one, str) for one in own["sequences"]):
        raise _metadata_error("mrdeltanet.sequences", "not a list of texts")
    if not _numbers(own["held_out_auc_ci"], 2):
        raise _metadata_error("mrdeltanet.held_out_auc_ci", "not two finite numbers")
    if not 0.0 < own["threshold"] < 1.0:
        raise _metadata_error("mrdeltanet.threshold", f"{own['threshold']}; it must lie between 0 and 1")
    for name in DIGESTS:
        listed = own.get(name, [])
        if not isinstance(listed, list) or not all(isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) for one in listed):
            raise _metadata_error(f"mrdeltanet.{name}", "not a list of digests")
    if (problem := judged_maps.problem(own.get("maps"))) is not None:
        raise _metadata_error("mrdeltanet.maps", problem)
    if not is_unicode(json.dumps(metadata, ensure_ascii=False)):
        raise _metadata_error("metadata", "a half surrogate, which no text can hold")
    recalibration = own["recalibration"]
    if set(recalibration) != {"slope", "intercept"} or not all(_finite(v) for v in recalibration.values()):
        raise _metadata_error("mrdeltanet.recalibration", "not a finite slope and intercept")


def preprocessing_from(values: Mapping[str, Any]) -> PreprocessingConfig:
    """The bundle's preprocessing as a PreprocessingConfig; every field must be there, none beside them.

    raises InputError MRD-E504
    """
    names = {field.name for field in fields(PreprocessingConfig)}
    if not isinstance(values, dict) or set(values) != names:
        different = names ^ set(values if isinstance(values, dict) else ())
        raise _metadata_error("mrdeltanet.preprocessing", "missing or unknown: " + ", ".join(sorted(different))[:160])
    if values["bias_correction"] not in BIAS_CORRECTIONS:
        raise _metadata_error("mrdeltanet.preprocessing.bias_correction", f"none of {', '.join(BIAS_CORRECTIONS)}")
    for name in sorted(names - {"bias_correction"}):
        found = values[name] if name in NUMBERS_OF else [values[name]]
        if not _numbers(found, NUMBERS_OF.get(name, 1)) or min(found) < 0:
            raise _metadata_error(f"mrdeltanet.preprocessing.{name}", f"wanted: {NUMBERS_OF.get(name, 1)} finite, none negative")
    if min(values["spacing_mm"]) < 0.1 or max(values["crop_mm"]) > 500:
        raise _metadata_error("mrdeltanet.preprocessing", "a spacing below 0.1 mm or a crop above 500 mm")
    return PreprocessingConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _checked_digests(folder: Path, limits: GateLimits) -> dict[str, str]:
    """File name -> SHA-256, after every file was found to be the one that the manifest names."""
    if folder.is_file() and is_table_model(folder):
        raise InputError("This is not a model bundle", code="MRD-E501", found="a tabular model, which scores rows of a table, not one pair of scans",
                         fix="score a table with it: `mrdeltanet predict MODEL.json COHORT.csv --out DIR`; a table may have one row")
    if not folder.is_dir() or not (folder / MANIFEST).is_file():
        raise InputError("This is not a model bundle", code="MRD-E501", found=f"a folder with {MANIFEST} is missing",
                         fix="choose the bundle's folder, the one that holds manifest.json")
    manifest = read_json(folder / MANIFEST, limits)
    expected = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(expected, dict) or not set(FILES) <= set(expected) <= {*FILES, *OPTIONAL}:
        raise InputError("The model bundle's manifest does not list exactly the files of a bundle", code="MRD-E502",
                         found=", ".join(sorted(map(str, (set(expected or ()) ^ set(FILES)) - set(OPTIONAL))))[:200] or "no list",
                         fix="export or download the bundle again")
    _refuse_foreign_files(folder, tuple(expected))
    for name in expected:
        _refuse_large(name, (folder / name).stat().st_size)
        if sha256(folder / name) != expected[name]:
            raise InputError("A file of the model bundle is not the one that was written with it", code="MRD-E503",
                             found=f"the digest of {name} differs from the manifest",
                             fix="export or download the bundle again; do not use this copy")
    return dict(expected)


def _refuse_large(name: str, size: int) -> None:
    """name: of a file of the bundle; size: bytes."""
    if size > MAX_BYTES[name]:
        raise InputError("A file of the model bundle is too large", code="MRD-E502", found=name, fix="export or download the bundle again")


def _refuse_foreign_files(folder: Path, listed: tuple[str, ...]) -> None:
    """Refuse links, and files that the manifest does not know (a pickled model.pt, a script)."""
    found = {str(PurePosixPath(path.relative_to(folder))): path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
    links = [name for name, path in found.items() if path.is_symlink()]
    foreign = sorted(name for name, path in found.items() if name not in {*listed, MANIFEST} or not path.is_file())    # a pipe would be read for ever
    missing = sorted(set(listed) - set(found))
    if links or foreign or missing:
        raise InputError("The model bundle does not hold exactly the files of a bundle", code="MRD-E502",
                         found=f"{len(links)} links, {len(foreign)} foreign files, missing: {', '.join(missing) or 'none'}",
                         fix="use the bundle as it was exported; MRDeltaNet reads safetensors only and never a pickled model")


def _tensors(path: Path, what: str) -> dict[str, "torch.Tensor"]:
    load_file = require("safetensors.torch", "Prediction", "pip install safetensors").load_file
    try:
        tensors = load_file(path)
    except Exception as cause:  # safetensors raises its own and several built-in types for a damaged header
        raise InputError(f"The model bundle's file with {what} cannot be read", code="MRD-E505", found=type(cause).__name__,
                         fix="export or download the bundle again") from cause
    _require_numbers(tensors, what)
    return tensors


def _require_numbers(tensors: Mapping[str, "torch.Tensor"], what: str) -> None:
    torch = require("torch", "Prediction", "install torch (in Slicer: the PyTorch extension)")
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not torch.isfinite(value.float()).all()]
    if broken or not tensors:
        raise InputError(f"In the model bundle, {what} hold values that are not numbers", code="MRD-E505",
                         found=f"{len(broken)} of {len(tensors)} tensors", fix="train or export the model again")


def _card(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as cause:
        raise InputError("The model card is not UTF-8 text", code="MRD-E504", found=f"byte {cause.start + 1}", fix="export the bundle again") from cause


def _require_golden(golden: Mapping[str, "torch.Tensor"]) -> None:
    if not {"input", "logit"} <= set(golden) <= {"input", *GOLDEN_OUTPUTS} or golden["input"].ndim != 5 or tuple(golden["input"].shape[:2]) != (2, 2):
        raise InputError("The example stored in the model bundle is not one input with its output", code="MRD-E505",
                         found=", ".join(f"{name} {tuple(value.shape)}" for name, value in golden.items())[:200], fix="export the bundle again")


def _check_network(network: Mapping[str, Any]) -> None:
    if set(network) != {"name", "settings"} or not isinstance(network["settings"], dict):
        raise _metadata_error("mrdeltanet.network", "not a name with settings")
    if not isinstance(network["name"], str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", network["name"]):
        raise _metadata_error("mrdeltanet.network.name", "not a plain lower-case name")
    for key, value in network["settings"].items():
        items = value if isinstance(value, list) else [value]
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", key) or not all(isinstance(item, SETTINGS_TYPES) for item in items):
            raise _metadata_error(f"mrdeltanet.network.settings.{key[:40]}", "not a plain value")
        if any(isinstance(item, float) and not math.isfinite(item) or isinstance(item, int) and abs(item) > 10**6 for item in items):
            raise _metadata_error(f"mrdeltanet.network.settings.{key}", "a number out of range")
    members = network["settings"].get("members", 1)
    if isinstance(members, bool) or not isinstance(members, int) or not 1 <= members <= MAX_MEMBERS:
        raise _metadata_error("mrdeltanet.network.settings.members", f"not a whole number from 1 to {MAX_MEMBERS}")


def _check_keys(values: Any, required: Mapping[str, type], prefix: str) -> None:
    if not isinstance(values, dict):
        raise _metadata_error(prefix.rstrip(".") or "metadata", "not a JSON object")
    for key, kind in required.items():
        value = values.get(key)
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int) and not isinstance(value, bool))
        if not fits or (kind is int and isinstance(value, bool)):
            raise _metadata_error(prefix + key, "missing" if key not in values else f"{type(value).__name__}, not {kind.__name__}")


def _metadata_error(key: str, found: str) -> InputError:
    return InputError(f"The model bundle's metadata cannot be used: '{key}'", code="MRD-E504", found=found,
                      fix="export the bundle again with a version of MRDeltaNet that this one reads")


def _largest_difference(stored: "torch.Tensor", found: "torch.Tensor") -> float:
    if tuple(stored.shape) != tuple(found.shape):
        return math.inf
    return float((stored - found.float().cpu()).abs().max())


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(values: Any, count: int) -> bool:
    """Whether this is a list of so many finite numbers."""
    return isinstance(values, list) and len(values) == count and all(map(_finite, values))
