"""The study: what one training, pretraining or ablation is asked to do, as a TOML file that a person writes.

    cohort = "cohort.csv"
    cache = "cache"
    out = "trained"

    [model]
    name = "deltanet"
    preset = "tiny"

    [training]
    epochs = 60

Keys and defaults are those of config.StudyConfig and the dataclasses in it; a key that is left out has its default, and a key that
is not known is refused, because a default in its place would train something else than was asked for. Keys of [model] beside
`name` are settings of that model. Relative paths are relative to the file.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.config import BIAS_CORRECTIONS, REGISTRATION_METHODS, START_PARTS, GateLimits, ModelConfig, StudyConfig
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io.tables import short
from MRDeltaNetLib.io.toml_settings import MAX_TEXT_CHARACTERS, Key, Range, Settings, found_words, path_value, wrong_type

ACCELERATORS = ("auto", "cpu", "cuda")
MONITORS = ("f1", "auc", "nll")
PRECISIONS = ("auto", "32-true", "bf16-mixed")
GROUPS = ("auto", "centre", "none")
RULES = ("youden", "specificity", "cost")

MAX_SEED = 2**32 - 1
MAX_SETTINGS = 64
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


SHARE = Range(0, 1)
RANGES: Mapping[str, Range] = {
    "devices": Range(1, 64), "workers": Range(1, 1024), "threads": Range(0, 1024),
    "preprocessing.spacing_mm": Range(0.1, 10), "preprocessing.crop_mm": Range(8, 500),
    "preprocessing.clip_percentiles": Range(0, 100), "preprocessing.exclusion_margin_mm": Range(0, 100),
    "preprocessing.roi_sigma_mm": Range(0, 20),
    "registration.histogram_bins": Range(8, 512), "registration.samples_per_level": Range(100, 10**7),
    "registration.iterations": Range(1, 10_000), "registration.exclusion_margin_mm": Range(0, 100),
    "registration.max_rotation_deg": Range(0, 180), "registration.warn_rotation_deg": Range(0, 180),
    "registration.max_volume_change_percent": Range(0, 1000), "registration.min_similarity_gain_percent": Range(-100, 1000),
    "registration.min_mutual_information_nats": Range(0, 10), "registration.min_similarity_peak": Range(0, 100),
    "registration.warn_similarity_peak": Range(0, 100),
    "training.epochs": Range(1, 100_000), "training.warmup_epochs": Range(0, 100_000), "training.batch_size": Range(1, 4096),
    "training.learning_rate": Range(0, 1, open_low=True), "training.layer_decay": Range(0, 1, open_low=True),
    "training.weight_decay": Range(0, 10), "training.clip_norm": Range(0, 1e6, open_low=True),
    "training.ema_decay": Range(0, 1, open_high=True), "training.smoothing": Range(0, 1, open_high=True),
    "training.patience": Range(1, 100_000), "training.seed": Range(0, MAX_SEED),
    "training.loss.gamma": Range(0, 10), "training.loss.beta": Range(0, 1, open_high=True),
    "training.loss.auxiliary_weight": Range(0, 100), "training.loss.response_weight": Range(0, 100),
    "training.loss.identity_weight": Range(0, 100), "training.loss.gate_weight": Range(0, 100), "training.loss.gate_budget": SHARE,
    "training.loss.temperature": Range(0.001, 100), "training.loss.queue": Range(0, 100_000), "training.loss.ramp_epochs": Range(0, 100_000),
    "training.augmentation.probability_minority": SHARE, "training.augmentation.probability_majority": SHARE,
    "training.augmentation.ramp_epochs": Range(0, 100_000), "training.augmentation.flip": SHARE,
    "training.augmentation.rotation_deg": Range(0, 180), "training.augmentation.scale": Range(0, 1, open_high=True),
    "training.augmentation.shift_mm": Range(0, 100), "training.augmentation.misplaced_mm": Range(0, 100),
    "training.augmentation.misplaced_deg": Range(0, 180), "training.augmentation.misplaced_slices": Range(0, 100),
    "training.augmentation.roi_shift_mm": Range(0, 100), "training.augmentation.roi_scale": Range(0, 1, open_high=True),
    "training.augmentation.roi_dropout": SHARE, "training.augmentation.gain_sd": Range(0, 10),
    "training.augmentation.offset_sd": Range(0, 10), "training.augmentation.noise_sd": Range(0, 10),
    "training.augmentation.gamma": Range(0.1, 10), "training.augmentation.gamma_probability": SHARE,
    "training.augmentation.bias_field_sd": Range(0, 2), "training.augmentation.bias_field_probability": SHARE,
    "training.augmentation.blur_sigma_mm": Range(0, 20), "training.augmentation.blur_probability": SHARE,
    "training.augmentation.slice_drop_probability": SHARE,
    "training.augmentation.outlines.probability": SHARE, "training.augmentation.outlines.ramp_epochs": Range(0, 100_000),
    "training.augmentation.outlines.carried": SHARE, "training.augmentation.outlines.shift_sd_mm": Range(0, 100),
    "training.augmentation.outlines.size": Range(1, 10), "training.augmentation.outlines.dropped_slices": Range(0, 1000),
    "pretraining.epochs": Range(1, 100_000), "pretraining.masked_share": Range(0, 1, open_high=True),
    "pretraining.reconstruction_weight": Range(0, 100),
    "validation.folds": Range(2, 1000), "validation.repeats": Range(1, 1000),
    "validation.inner_fraction": Range(0, 0.5, open_low=True), "validation.seeds": Range(0, MAX_SEED),
    "validation.min_events": Range(2, 100_000),
    "threshold.specificity": Range(0, 1, open_low=True, open_high=True), "threshold.cost_ratio": Range(0, 1e6, open_low=True),
    "threshold.prevalence": Range(0, 1, open_low=True, open_high=True),
}
"""Every number of a study, dotted name -> what it may be; each number of a list likewise."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "accelerator": ACCELERATORS, "start_parts": START_PARTS, "registration.method": REGISTRATION_METHODS, "preprocessing.bias_correction": BIAS_CORRECTIONS,
    "training.monitor": MONITORS, "training.precision": PRECISIONS, "validation.group": GROUPS, "threshold.rule": RULES}

NEEDED = ("cohort", "cache", "out")
_TOP = tuple(field.name for field in fields(StudyConfig) if field.name != "name")
OF_THE_CROP = ("spacing_mm", "crop_mm")
"""Settings of every network that [preprocessing] says, so that crops and network cannot disagree."""


def read_study(path: Path | str, limits: GateLimits = GateLimits()) -> StudyConfig:
    """Read a study file; relative paths in it are relative to the file.

    raises  InputError MRD-E480 (not a readable file), E481 (not TOML); UsageError as study_from_mapping
    """
    return study_from_mapping(SETTINGS.file(path, limits), base=Path(path).absolute().parent)


def study_from_mapping(given: Mapping[str, Any], *, base: Path | None = None) -> StudyConfig:
    """The one validation of a study.

    given   tables and keys as in the file
    base    folder that relative paths are relative to; None: the working folder
    raises  UsageError MRD-E482 (unknown key or table), E483 (missing), E484 (wrong type), E485 (out of range or no such choice),
            E486 (two keys that do not go together), E487 (impossible path)
    """
    values = SETTINGS.values(given, base)
    if missing := [name for name in NEEDED if name not in values]:
        raise UsageError("The study does not say everything that is needed", code="MRD-E483", found=f"missing: {', '.join(missing)}",
                         fix="name the table (cohort), the folder of prepared crops (cache) and the output folder (out), above the first [table]")
    study = StudyConfig(**values)
    _refuse_contradictions(study)
    return study


def plain(study: Any) -> Any:
    """A study, or a part of it, as plain JSON: mappings, lists, numbers, texts; paths as texts."""
    if is_dataclass(study):
        return plain(asdict(study))
    if isinstance(study, Mapping):
        return {str(name): plain(value) for name, value in study.items()}
    if isinstance(study, (list, tuple)):
        return [plain(value) for value in study]
    return str(study) if isinstance(study, Path) else study


def keys() -> tuple[Key, ...]:
    """Every key that a study file may hold, in the order of config.py; what docs/reference/study-config.md lists."""
    return SETTINGS.keys()


def default_words(key: Key) -> str:
    """A key's default as it would be written in the file; "needed" or "none" without one."""
    return SETTINGS.default_words(key)


def _words(dotted: str, value: str) -> None:
    if dotted == "name" and not _NAME.fullmatch(value):
        raise UsageError("'name' cannot name a model", code="MRD-E485", found=f"{len(value)} characters",
                         fix="take 1 to 64 letters, digits, points, hyphens and underscores, the first a letter or digit")


def _model(given: Mapping[str, Any], base: Path | None) -> dict[str, Any]:
    """[model]: its name, and plain settings that the model itself checks when it is built; fusion's `imaging` is a folder."""
    settings = {name: value for name, value in given.items() if name != "name"}
    values: dict[str, Any] = {"settings": settings}
    if "name" in given:
        values["name"] = SETTINGS.text("model.name", given["name"])
        if not _SETTING.fullmatch(values["name"]):
            raise UsageError("'model.name' is not a plain lower-case name", code="MRD-E485", found=f"{len(values['name'])} characters",
                             fix="take a name that `mrdeltanet train --help` lists")
    if values.get("name") == "fusion" and "imaging" in settings:
        settings["imaging"] = str(path_value("model.imaging", settings["imaging"], base))
    if len(settings) > MAX_SETTINGS:
        raise UsageError("[model] has too many settings", code="MRD-E485", found=f"{len(settings)}", fix=f"at most {MAX_SETTINGS} are possible")
    for name, value in settings.items():
        if not _SETTING.fullmatch(name):
            raise UsageError("A setting in [model] is not a plain lower-case name", code="MRD-E482", found=f"'{short(name)}'",
                             fix="write settings as the model's documentation names them")
        if name in _TOP:
            raise UsageError(f"'{name}' is not a setting of a model", code="MRD-E482", found=f"'{name}' in [model]",
                             fix=f"'{name}' belongs into the top, above the first [table]")
        if name in OF_THE_CROP:
            raise UsageError(f"'{name}' is not set in [model]", code="MRD-E486", found=f"'{name}' in [model]",
                             fix="write it into [preprocessing], which crops and network both follow")
        if name == "members":
            raise UsageError("'members' is not set in [model]", code="MRD-E486", found="'members' in [model]",
                             fix="write more seeds, repeats or folds into [validation]: each gives the bundle another member")
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, (str, int, float, bool)):
                raise wrong_type(f"model.{name}", item, "a number, a text, true, false, or a list of these")
            if isinstance(item, (int, float)) and (not math.isfinite(item) or abs(item) > 10**6):
                raise UsageError(f"'model.{name}' is out of range", code="MRD-E485", found=found_words(item), fix="choose a number up to a million")
            if isinstance(item, str) and len(item) > MAX_TEXT_CHARACTERS:
                raise UsageError(f"'model.{name}' is too long", code="MRD-E485", found=f"{len(item)} characters", fix="shorten it")
    return values


def _refuse_contradictions(study: StudyConfig) -> None:
    """Values that each are possible but not together."""
    training, preprocessing = study.training, study.preprocessing
    contradictions = (
        (training.balanced and training.batch_size % 2, "A balanced batch holds both classes equally often",
         f"training.batch_size {training.batch_size} is odd", "choose an even training.batch_size, or training.balanced = false"),
        (preprocessing.clip_percentiles[0] >= preprocessing.clip_percentiles[1], "The lower clipping percentile is not below the upper one",
         f"preprocessing.clip_percentiles {list(preprocessing.clip_percentiles)}", "write the smaller number first"),
        (any(crop < step for crop, step in zip(preprocessing.crop_mm, preprocessing.spacing_mm)), "The crop is smaller than one voxel",
         f"crop_mm {list(preprocessing.crop_mm)}, spacing_mm {list(preprocessing.spacing_mm)}", "choose a larger crop_mm or a smaller spacing_mm"),
        (training.augmentation.gamma[0] > training.augmentation.gamma[1], "The range of gamma is turned round",
         f"training.augmentation.gamma {list(training.augmentation.gamma)}", "write the smaller number first"),
        (len(set(study.validation.seeds)) < len(study.validation.seeds), "A seed stands twice, and would train the same network twice",
         f"validation.seeds {list(study.validation.seeds)}", "write every seed once"),
        (study.accelerator == "cpu" and study.devices > 1, "The CPU counts as one device", f"devices {study.devices} with accelerator cpu",
         "leave devices at 1, and choose threads instead"),
        (study.out == study.cache, "'out' and 'cache' are the same folder", "one folder named twice", "name two folders"),
    )
    for wrong, what, found, fix in contradictions:
        if wrong:
            raise UsageError(what, code="MRD-E486", found=found, fix=fix)


SETTINGS = Settings(StudyConfig, "study", RANGES, CHOICES, NEEDED, own={ModelConfig: _model}, words=_words)
"""How a study file is read."""
