"""What the records say, as Markdown. Choices between models use validation scores; the test columns are only read."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort.experiments import alignment, calibration, ordering
from MRDeltaNetLib.cohort.experiments.grid import CURVE, TRAININGS, VOLUMES
from MRDeltaNetLib.cohort.statistics import auc_with_ci, paired_delong
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging.phantom.contrast import SCANNERS

Records = Mapping[str, Mapping[str, Any]]
AVERAGE = " + ".join(alignment.AVERAGE)
CORNERS = ("0-good", "12-good", "0-bad", "12-bad")
"""Corners of CURVE."""


def auc(record: Mapping[str, Any], condition: str = "0-good", split: str = "test") -> float:
    """AUC of one cell."""
    return auc_with_ci(np.array(record[split]["outcome"]), np.array(record[split]["logits"][condition]))[0]


def averaged(records: Sequence[Mapping[str, Any]], condition: str, split: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and the mean of several cells' scores, each divided by its SD (and less its mean) over the validation cases of that condition.

    raises  ValueError if the cells were scored on different cases
    """
    if len({tuple(record[split]["seed"]) for record in records}) != 1:
        raise ValueError("these cells were scored on different cases")
    total = 0
    for record in records:
        reference = np.array(record["validation"]["logits"][condition])
        total = total + (np.array(record[split]["logits"][condition]) - reference.mean()) / max(reference.std(), 1e-9)
    return np.array(records[0][split]["outcome"]), total / len(records)


def seeds_of(records: Records, model: str, training: str) -> list[Mapping[str, Any]]:
    """Finished cells of one model and training, by seed."""
    return [records[name] for seed in alignment.SEEDS if (name := f"{model}-{training}-{seed}") in records]


def ordering_table(records: Records) -> str:
    """One row a model: mean and range over seeds, the seeds' mean score with its interval, and its paired difference to post only."""
    lines = ["| model | seeds | AUC of each | mean of seeds (95 % CI) | minus post only (95 % CI) | p |", "|---|---|---|---|---|---|"]
    posts = seeds_of(records, "post_only", "aligned")
    reference = averaged(posts, "0-good")[1] if posts else None
    rows: list[tuple[str, list[Mapping[str, Any]], str]] = []
    if VOLUMES in records:
        rows.append(("volumes only", [records[VOLUMES]], "0-good"))
    for label, model in (("pre only", "pre_only"), ("post only", "post_only"), *((name, name) for name in ordering.LONGITUDINAL)):
        rows.append((label, seeds_of(records, model, "aligned"), "0-good"))
    for model in ordering.LONGITUDINAL:
        for change, words in (("wrong_patient", "another patient's baseline"), ("swapped", "visits exchanged")):
            rows.append((f"{model}, {words}", seeds_of(records, model, "aligned"), change))
    rows.append(("shuffled labels", seeds_of(records, "shuffled", "aligned"), "0-good"))
    for label, found, condition in rows:
        if found:
            lines.append(_row(label, found, condition, reference))
    return "\n".join(lines) + "\n"


def alignment_table(records: Records, split: str = "test") -> str:
    """Rows: model and training; columns: shift and outlines; mean AUC of the seeds (smallest to largest), and the mean over the curve."""
    lines = [f"AUC on the {split} cases, mean of the seeds (smallest to largest)", "",
             "| model | trained on | seeds | " + " | ".join(name.replace("-", " mm, ") for name in CURVE) + " | mean |", "|---" * (len(CURVE) + 4) + "|"]
    for training in TRAININGS:
        for model in (*alignment.MODELS, AVERAGE):
            found = curve(records, model, training, split)
            if found is not None:
                cells = [f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" for values in found.T]
                lines.append(f"| {model} | {training} | {len(found)} | " + " | ".join(cells) + f" | {found.mean():.3f} |")
    model, training, _, times = alignment.LONGER
    if longer := records.get(alignment.longer_cell().name):
        values = [auc(longer, name, split) for name in CURVE]
        lines.append(f"| {model}, {times} times the epochs | {training} | 1 | " + " | ".join(f"{value:.3f}" for value in values) + f" | {np.mean(values):.3f} |")
    return "\n".join(lines) + "\n"


def anchoring_table(records: Records) -> str:
    """What anchoring brings over each other comparison: difference of the mean scores of the seeds that both have, DeLong's paired interval
    and p, which is not corrected for their number."""
    lines = ["| anchored minus | trained on | seeds | condition | difference (95 % CI) | p |", "|---|---|---|---|---|---|"]
    for training in TRAININGS:
        for model in alignment.MODELS:
            pairs = [(records[f"anchored-{training}-{seed}"], records[f"{model}-{training}-{seed}"]) for seed in alignment.SEEDS
                     if {f"anchored-{training}-{seed}", f"{model}-{training}-{seed}"} <= set(records)]
            if model == "anchored" or not pairs:
                continue
            for condition in CORNERS:
                (outcome, score), (_, other) = (averaged(found, condition) for found in zip(*pairs))
                found = paired_delong(outcome, score, other)
                lines.append(f"| {model} | {training} | {len(pairs)} | {condition.replace('-', ' mm, ')} | {found.difference:+.3f} "
                             f"({found.lower:+.3f} to {found.upper:+.3f}) | {_p(found.p)} |")
    return "\n".join(lines) + "\n"


def curve(records: Records, model: str, training: str, split: str = "test") -> np.ndarray | None:
    """AUC (seeds, conditions of CURVE) of a model or of the average; None without any cell."""
    if model != AVERAGE:
        found = seeds_of(records, model, training)
        return np.array([[auc(record, name, split) for name in CURVE] for record in found]) if found else None
    rows = []
    for seed in alignment.SEEDS:
        names = [f"{member}-{training}-{seed}" for member in alignment.AVERAGE]
        if all(name in records for name in names):
            rows.append([auc_with_ci(*averaged([records[name] for name in names], condition, split))[0] for condition in CURVE])
    return np.array(rows) if rows else None


def winner(records: Records) -> str | None:
    """Model and training with the highest mean AUC over the whole curve on the validation cases; None without any."""
    means = {(model, training): found.mean() for training in TRAININGS for model in (*alignment.MODELS, AVERAGE)
             if (found := curve(records, model, training, "validation")) is not None}
    if not means:
        return None
    (model, training), value = max(means.items(), key=lambda item: item[1])
    return f"{model}, trained on {training} scans: mean validation AUC over the curve {value:.3f}"


def calibration_table(records: Records) -> str:
    """Slope, intercept and Brier score on the test cases before and after recalibration."""
    lines = ["| cell | slope before | slope after (95 % CI) | intercept after (95 % CI) | Brier before | Brier after |", "|---|---|---|---|---|---|"]
    for model in ordering.LONGITUDINAL:
        for seed, record in enumerate(seeds_of(records, model, "aligned")):
            try:
                found = calibration.calibrated(record)
            except InputError as problem:
                lines.append(f"| {model}, seed {seed} | not recalibrated: {problem.what} | | | | |")
                continue
            before, after = found["before"], found["after"]
            lines.append(f"| {model}, seed {seed} | {before['slope']:.2f} | {_with_ci(after, 'slope')} | {_with_ci(after, 'intercept')} | "
                         f"{before['brier']:.3f} | {after['brier']:.3f} |")
    return "\n".join(lines) + "\n"


def centres_table(records: Records) -> str:
    """AUC of each left-out scanner beside the random quarters, for both mixes."""
    lines = ["| mix | " + " | ".join(f"without {name}" for name in SCANNERS) + " | mean | random quarters | mean | gap |", "|---" * (len(SCANNERS) + 5) + "|"]
    for mix in ("balanced", "confounded"):
        left = [records.get(f"centres-{mix}-without-{name}-0") for name in SCANNERS]
        drawn = [records.get(f"centres-{mix}-random-{fold}-0") for fold in range(len(SCANNERS))]
        if all(left) and all(drawn):
            out, random = [auc(record) for record in left], [auc(record) for record in drawn]
            lines.append(f"| {mix} | " + " | ".join(f"{value:.3f}" for value in out) + f" | {np.mean(out):.3f} | "
                         + ", ".join(f"{value:.3f}" for value in random) + f" | {np.mean(random):.3f} | {np.mean(random) - np.mean(out):+.3f} |")
    return "\n".join(lines) + "\n"


TABLES = {"ordering": ordering_table, "alignment": alignment_table, "anchoring": anchoring_table, "calibration": calibration_table, "centres": centres_table}


def _row(label: str, found: Sequence[Mapping[str, Any]], condition: str, reference: np.ndarray | None) -> str:
    each = [auc(record, condition) for record in found]
    # a changed input has no validation scores of its own, so its mean is taken at the scale of the unchanged one
    outcome, score = _changed(found, condition) if condition not in CURVE else averaged(found, condition)
    value, low, high = auc_with_ci(outcome, score)
    against = "| |"
    if reference is not None and label != "post only":
        found_difference = paired_delong(outcome, score, reference)
        against = f"{found_difference.difference:+.3f} ({found_difference.lower:+.3f} to {found_difference.upper:+.3f}) | {_p(found_difference.p)} |"
    return f"| {label} | {len(found)} | {', '.join(f'{one:.3f}' for one in each)} | {value:.3f} ({low:.3f} to {high:.3f}) | {against}"


def _changed(found: Sequence[Mapping[str, Any]], condition: str) -> tuple[np.ndarray, np.ndarray]:
    scaled = [np.array(record["test"]["logits"][condition]) / max(np.std(record["test"]["logits"]["0-good"]), 1e-9) for record in found]
    return np.array(found[0]["test"]["outcome"]), np.mean(scaled, axis=0)


def _with_ci(found: Mapping[str, Any], name: str) -> str:
    low, high = found[f"{name}_ci"]
    return f"{found[name]:.2f} ({low:.2f} to {high:.2f})"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
