"""What an evaluation is asked to do, as a TOML file that a person writes (docs/reference/evaluation-config.md).

    outcome = "outcome"
    positive = "Poor"
    probabilities = ["p_pcr", "p_clinical"]

    [keep]
    etype = 1

    [endpoints.recurrence]
    time = "days"
    event = "recurred"

Keys and defaults are those of config.EvaluationConfig; a key that is not known is refused. [keep], [cuts], [references], [study] and [endpoints]
hold names of the user's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.config import EvaluationConfig, GateLimits
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io.tables import short
from MRDeltaNetLib.io.toml_settings import Key, Range, Settings

MAX_SEED = 2**32 - 1
MAX_CURVE_POINTS = 1000
ANY_NUMBER = Range(-1e9, 1e9)
TIMES = Range(0, 1e7)

RANGES: Mapping[str, Range] = {
    "threshold": ANY_NUMBER, "specificities": Range(0, 1, open_low=True, open_high=True), "cost_ratio": Range(0, 1e6, open_low=True),
    "thresholds": Range(0, 1, open_low=True, open_high=True), "cuts.*": ANY_NUMBER, "endpoints.*.times": TIMES, "endpoints.*.landmark": TIMES,
    "bootstrap": Range(10, 100_000), "seed": Range(0, MAX_SEED)}
"""Every number of an evaluation, dotted name -> what it may be; each number of a list likewise."""

SETTINGS = Settings(EvaluationConfig, "evaluation", RANGES, plain=frozenset({"positive", "keep.*", "references.*"}))
"""How such a file is read; a value of the outcome, of [keep] or [references] may be written as a number too, and is compared as one."""


def read_evaluation_config(path: Path | str, limits: GateLimits = GateLimits()) -> EvaluationConfig:
    """Read an evaluation file.

    raises  InputError MRD-E480 (not a readable file), E481 (not TOML); UsageError as config_from_mapping
    """
    return config_from_mapping(SETTINGS.file(path, limits))


def config_from_mapping(given: Mapping[str, Any]) -> EvaluationConfig:
    """The one validation of an evaluation's settings; tables and keys as in the file.

    raises  UsageError MRD-E482 (unknown key or table), E483 (an endpoint without time or event), E484 (wrong type),
            E485 (out of range), E486 (two values that do not go together)
    """
    config = EvaluationConfig(**SETTINGS.values(given))
    _refuse_contradictions(config)
    return config


def keys() -> tuple[Key, ...]:
    """Every key that an evaluation file may hold, in the order of config.py; "*" stands for a name of the user's."""
    return SETTINGS.keys()


def default_words(key: Key) -> str:
    """A key's default as it would be written in the file."""
    return "needed" if key.dotted in ("endpoints.*.time", "endpoints.*.event") else SETTINGS.default_words(key)


def _refuse_contradictions(config: EvaluationConfig) -> None:
    low, high, step = config.thresholds
    both = set(config.probabilities or ()) & set(config.scores)
    empty = [name for name, wanted in config.keep.items() if not wanted]
    contradictions = (
        (both, "A column is named as a probability and as a score that is none", f"'{short(min(both, default=''))}'", "keep it in one of the two lists"),
        (low >= high, "The thresholds of decision curves do not rise", f"thresholds {list(config.thresholds)}", "write low, high and step, such as [0.01, 0.99, 0.01]"),
        (low < high and (high - low) / step > MAX_CURVE_POINTS, "Decision curves have too many thresholds", f"step {step:g}", f"choose a step that gives at most {MAX_CURVE_POINTS}"),
        (empty, "A column of [keep] has no value, so that no row would be kept", f"'{short(empty[0] if empty else '')}'", "name the values of the rows that are kept"),
    )
    for wrong, what, found, fix in contradictions:
        if wrong:
            raise UsageError(what, code="MRD-E486", found=found, fix=fix)
