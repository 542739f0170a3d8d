"""Which part of the model earns its place? The same study again and again with one thing changed, on the same folds and cases.

Every variant is a study of its own in OUT/variants/<name> (cohort.study), so a stopped ablation goes on where it was. Each is compared with the
reference on the out-of-fold scores of the same cases by DeLong's paired test. Nothing is corrected for the number of comparisons, and
out-of-fold scores of many variants are no untouched test: the table says so.

Not among the variants, because the networks have no setting for them: the number of latents, a network without gate or without change keys,
one scale only, an ROI that masks the image or is left out. Changed inputs (another patient's baseline, swapped visits, random ROI, scanner
only) belong to `mrdeltanet controls`.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Mapping

import numpy as np

from MRDeltaNetLib.cohort.statistics import auc_with_ci, paired_delong
from MRDeltaNetLib.config import StudyConfig
from MRDeltaNetLib.errors import Cancelled, InputError, Notice, UsageError, require
from MRDeltaNetLib.io.atomic import atomic, write_text
from MRDeltaNetLib.progress import Progress, part, silent

REFERENCE = "reference"
RESULTS, TABLE, FIGURE = "ablation.json", "ablation.md", "ablation"
SCHEMA = "mrdeltanet.ablation/1"
COMPARISONS = {"anchored": "anchored in both outlines", "subtract": "subtraction of tokens", "pool": "against the pooled baseline", "local": "attention in a window",
               "full": "full attention", "latent": "latent attention", "anchored+latent": "anchored, then latents"}
OTHERS = {
    "subtract": ("subtract", {}, "plain Siamese subtraction"), "siamese_subtraction": ("siamese_subtraction", {}, "multi-level Siamese subtraction"),
    "roi_pooled": ("roi_pooled", {}, "pooled over each outline"), "slice2p5d": ("slice2p5d", {}, "slice by slice with neighbours"),
    "pre_only": ("roi_pooled", {"visits": "pre"}, "pooled, scan before treatment only"), "post_only": ("roi_pooled", {"visits": "post"}, "pooled, scan after treatment only"),
    "resnet18": ("resnet18", {}, "ResNet-18, both scans as channels"), "resnet18_pre": ("resnet18", {"visits": "pre"}, "ResNet-18, before only"),
    "resnet18_post": ("resnet18", {"visits": "post"}, "ResNet-18, after only"), "vit": ("vit", {}, "vision transformer, both scans as channels"),
}


@dataclass(frozen=True)
class Variant:
    """One study. name: of its folder; words: for the table; config: with its own out."""

    name: str
    words: str
    config: StudyConfig


@dataclass(frozen=True)
class Ablation:
    """rows: one a variant, the reference first, as in ablation.json; notices; folder."""

    folder: Path
    rows: tuple[Mapping[str, Any], ...]
    notices: tuple[Notice, ...]


def variants(config: StudyConfig) -> tuple[Variant, ...]:
    """The reference and everything that differs from it in one thing. Variants that would equal the reference are left out.

    Centres are not left out in turn here: that would double the time and answer another question.
    """
    config = replace(config, validation=replace(config.validation, leave_one_centre_out=False))
    found = [(REFERENCE, "as configured", config)]
    model, training, loss = config.model, config.training, config.training.loss
    shared = {name: value for name, value in model.settings.items() if name == "preset"}
    if model.name == "deltanet":
        for compare, words in COMPARISONS.items():
            if compare != model.settings.get("compare", "anchored"):
                found.append((f"compare_{compare.replace('+', '_')}", words, replace(config, model=replace(model, settings={**model.settings, "compare": compare}))))
        if model.settings.get("content", True):
            found.append(("no_content", "alignment by position alone", replace(config, model=replace(model, settings={**model.settings, "content": False}))))
    for name, (network, settings, words) in OTHERS.items():
        found.append((name, words, replace(config, model=replace(model, name=network, settings={**shared, **settings}))))

    def trained(name: str, words: str, **changes: Any) -> None:
        found.append((name, words, replace(config, training=replace(training, **changes))))

    trained("no_response_contrast", "without the contrast of responses", loss=replace(loss, response_weight=0.0))
    trained("no_identity_contrast", "without the contrast of identities", loss=replace(loss, identity_weight=0.0))
    trained("no_auxiliary", "without decoding of intensities", loss=replace(loss, auxiliary_weight=0.0))
    trained("no_gate_budget", "without the budget of the gates", loss=replace(loss, gate_weight=0.0))
    trained("cross_entropy", "cross-entropy", loss=replace(loss, gamma=0.0, beta=0.0))
    trained("focal", "focal loss without class balance", loss=replace(loss, beta=0.0))
    trained("sampler_off", "batches as they come", balanced=False)
    trained("no_augmentation", "without augmentation", augmentation=replace(training.augmentation, probability_minority=0.0, probability_majority=0.0))
    for method in ("none", "rigid", "affine"):
        found.append((f"registration_{method}", f"registration: {method}", replace(config, registration=replace(config.registration, method=method))))
    for level in ("off", "fast"):
        found.append((f"bias_{level}", f"bias correction: {level}", replace(config, preprocessing=replace(config.preprocessing, bias_correction=level))))
    isotropic = replace(config.preprocessing, spacing_mm=(1.0, 1.0, 1.0))
    found.append(("isotropic", "voxels of 1 mm in all directions", replace(config, preprocessing=isotropic)))
    if config.start is not None:
        found.append(("no_pretraining", "from random weights", replace(config, start=None)))
    different = [one for number, one in enumerate(found) if number == 0 or one[2] != config]
    return tuple(Variant(name, words, replace(one, out=config.out / "variants" / name)) for name, words, one in different)


def ablate(config: StudyConfig, *, only: tuple[str, ...] = (), progress: Progress = silent,
           train: Callable[..., Any] | None = None) -> Ablation:
    """Train every variant that is not done yet, and write config.out's ablation.json, .md, .svg and .png anew after each.

    only    names of variants to do (the reference always is); (): all
    train   cohort.study.train, or what a test puts in its place
    raises  UsageError MRD-E863 for an unknown name; what cohort.study.train raises for the reference. A variant that cannot be trained
            with this cohort stands in the table with its reason, and in the notices (MRD-W863); Cancelled passes through.
    """
    if train is None:
        from MRDeltaNetLib.cohort.study import train
    every = variants(config)
    unknown = set(only) - {variant.name for variant in every}
    if unknown:
        raise UsageError("No variant of this study has such a name", code="MRD-E863", found=", ".join(f"'{name}'" for name in sorted(unknown)),
                         fix=f"choose among {', '.join(variant.name for variant in every)}")
    chosen = [variant for variant in every if not only or variant.name in only or variant.name == REFERENCE]
    rows, notices, reference = [], [], None
    for number, variant in enumerate(chosen):
        bar = part(progress, number / len(chosen), (number + 1) / len(chosen))
        try:
            train(variant.config, progress=lambda done, message, name=variant.name: bar(done, f"{name}: {message}"))
        except Cancelled:
            raise
        except (InputError, UsageError) as problem:
            if variant.name == REFERENCE:
                raise
            rows.append({"name": variant.name, "words": variant.words, "refused": problem.what, "code": problem.code})
            notices.append(Notice("MRD-W863", f"The variant '{variant.name}' could not be trained: {problem.what[:1].lower()}{problem.what[1:]}", problem.fix or ""))
        else:
            scores = out_of_fold(variant.config.out / "oof.csv")
            reference = scores if reference is None else reference
            rows.append({"name": variant.name, "words": variant.words, **compared(scores, reference, variant.name)})
        _write(config.out, rows)
    return Ablation(config.out, tuple(rows), tuple(notices))


def out_of_fold(path: Path) -> dict[str, tuple[int, float]]:
    """id -> (outcome, logit) of an oof.csv."""
    with open(path, encoding="utf-8", newline="") as stream:
        return {row["id"]: (int(row["outcome"]), float(row["logit"])) for row in csv.DictReader(stream)}


def compared(scores: Mapping[str, tuple[int, float]], reference: Mapping[str, tuple[int, float]], name: str) -> dict[str, Any]:
    """AUC with its interval, and the paired difference to the reference on the cases that both have."""
    shared = sorted(set(scores) & set(reference))
    outcome, score, other = (np.array(column) for column in zip(*((scores[key][0], scores[key][1], reference[key][1]) for key in shared)))
    value, low, high = auc_with_ci(outcome, score)
    found = {"cases": len(shared), "auc": value, "ci": [low, high]}
    if name == REFERENCE:
        return found
    difference = paired_delong(outcome, score, other)
    return found | {"difference": difference.difference, "difference_ci": [difference.lower, difference.upper], "p": difference.p}


def markdown(rows: list[Mapping[str, Any]]) -> str:
    """The table."""
    lines = ["# Ablation", "", "Out-of-fold AUC; differences to the reference on the same cases by DeLong's paired test. The p values are not corrected for",
             "the number of variants, and choosing the best row makes its number too good: check a choice on cases that were never used.", "",
             "| variant | what it is | cases | AUC (95 % CI) | minus reference (95 % CI) | p |", "|---|---|---|---|---|---|"]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['name']} | {row['words']} | | not trained ({row['code']}): {row['refused']} | | |")
            continue
        against = "| |" if "p" not in row else (f"{row['difference']:+.3f} ({row['difference_ci'][0]:+.3f} to {row['difference_ci'][1]:+.3f}) | "
                                                f"{'< 0.0001' if row['p'] < 1e-4 else format(row['p'], '.4f')} |")
        lines.append(f"| {row['name']} | {row['words']} | {row['cases']} | {row['auc']:.3f} ({row['ci'][0]:.3f} to {row['ci'][1]:.3f}) | {against}")
    return "\n".join(lines) + "\n"


def _write(out: Path, rows: list[Mapping[str, Any]]) -> None:
    write_text(out / TABLE, markdown(rows))
    _draw(out, [row for row in rows if "auc" in row])
    write_text(out / RESULTS, json.dumps({"schema": SCHEMA, "rows": rows}, indent=1, allow_nan=False) + "\n")          # last: vouches for the rest


def _draw(out: Path, rows: list[Mapping[str, Any]]) -> None:
    """Every AUC with its interval, the reference's as a band."""
    matplotlib = require("matplotlib", "The figure of the ablation", "pip install 'mrdeltanet[cohort]'")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"svg.hashsalt": "mrdeltanet", "svg.fonttype": "none"}):
        figure, axis = plt.subplots(figsize=(8, 0.32 * len(rows) + 1.2))
        axis.axvspan(*rows[0]["ci"], color="#00224d", alpha=0.08, linewidth=0)
        axis.axvline(0.5, color="grey", linewidth=0.7, linestyle="--")
        for place, row in enumerate(rows):
            clear = "p" in row and row["p"] < 0.05
            axis.plot(row["ci"], [-place, -place], color="#575d6d")
            axis.plot(row["auc"], -place, "D" if place == 0 else "s" if clear else "o", color="#00224d" if place == 0 else "#b8541a" if clear else "#575d6d")
        axis.set_yticks([-place for place in range(len(rows))], [row["words"] for row in rows])
        axis.set_xlabel("out-of-fold AUC with 95 % interval; band: reference; square: p < 0.05 against it, uncorrected")
        for suffix in (".svg", ".png"):
            with atomic(out / f"{FIGURE}{suffix}") as temporary:
                figure.savefig(temporary, dpi=150, format=suffix[1:], bbox_inches="tight", metadata={"Date": None} if suffix == ".svg" else None)
        plt.close(figure)
