"""Which part of the model earns its place? The same study again and again with one thing changed, on the same folds and cases.

Every variant is a study of its own in OUT/variants/<name> (cohort.study), so a stopped ablation goes on where it was. Each is compared with the
reference on the out-of-fold scores of the same cases by DeLong's paired test. Nothing is corrected for the number of comparisons, and
out-of-fold scores of many variants are no untouched test: the table says so.

Variants of a part that the reference does not have (latents) differ in one thing from another variant that has it, their base, and are
compared with both. All variants share the study's cache of crops: another preparation has other keys there.

Not among the variants: deformable registration, because it is for display only and networks get the rigid one; changed inputs (another
patient's baseline, swapped visits, random ROI, scanner only) and shuffled labels, which belong to `mrdeltanet controls`.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Callable, Mapping

import numpy as np

from MRDeltaNetLib.cohort.statistics import auc_with_ci, paired_delong
from MRDeltaNetLib.config import UNPERTURBED, LossConfig, ModelConfig, PreprocessingConfig, StudyConfig
from MRDeltaNetLib.errors import Cancelled, InputError, Notice, OutOfMemory, UsageError, require
from MRDeltaNetLib.io.atomic import atomic, write_text
from MRDeltaNetLib.progress import Progress, part, silent

REFERENCE = "reference"
RESULTS, TABLE, FIGURE = "ablation.json", "ablation.md", "ablation"
SCHEMA = "mrdeltanet.ablation/1"
UNSTARTED = "no_pretraining"
"""The variant from which those differ in one thing that the weights of `start` do not fit."""
COMPARISONS = {"anchored": "anchored in both outlines", "subtract": "subtraction of tokens", "pool": "against the pooled baseline", "local": "anchored in the scanner's frame alone",
               "full": "full attention", "latent": "latent attention", "anchored+latent": "anchored, then latents"}
OTHERS = {
    "subtract": ("subtract", {}, "plain Siamese subtraction"), "siamese_subtraction": ("siamese_subtraction", {}, "multi-level Siamese subtraction"),
    "roi_pooled": ("roi_pooled", {}, "pooled over each outline"),
    "pre_only": ("roi_pooled", {"visits": "pre"}, "pooled, scan before treatment only"), "post_only": ("roi_pooled", {"visits": "post"}, "pooled, scan after treatment only"),
    "resnet18": ("resnet18", {}, "ResNet-18, both scans as channels"), "resnet18_pre": ("resnet18", {"visits": "pre"}, "ResNet-18, before only"),
    "resnet18_post": ("resnet18", {"visits": "post"}, "ResNet-18, after only"), "vit": ("vit", {}, "vision transformer, both scans as channels"),
}
ALIGNMENT_NETWORKS = {"deltanet": "the network in three dimensions", "slice2p5d": "slice by slice with neighbours"}
"""Networks that take the same settings."""

OF_LATENTS = ("latents", "gate", "change_keys")
LATENTS = (16, 32, 64, 128)
SCALES = {"both": "both scales", "fine": "the fine scale alone", "coarse": "the coarse scale alone"}
ROI_MODES = {"channel": "outline as a second channel", "mask": "nothing outside the outline shown", "none": "outline not seen (crops are still cut around it)"}
ISOTROPIC_MM = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Variant:
    """One study. name: of its folder; words: for the table; config: with its own out; base: the variant from which it differs in one thing;
    pretrained: it starts from weights that the study's pretraining makes first."""

    name: str
    words: str
    config: StudyConfig
    base: str = REFERENCE
    pretrained: bool = False


@dataclass(frozen=True)
class Ablation:
    """rows: one a variant, the reference first, as in ablation.json; notices; folder."""

    folder: Path
    rows: tuple[Mapping[str, Any], ...]
    notices: tuple[Notice, ...]


def variants(config: StudyConfig) -> tuple[Variant, ...]:
    """The reference and everything that differs from it, or from its own base, in one thing. Variants that would equal the reference, or change
    what the model does not have, are left out.

    Centres are not left out in turn here: that would double the time and answer another question.
    """
    from MRDeltaNetLib.models import registry

    config = replace(config, validation=replace(config.validation, leave_one_centre_out=False))
    if config.start is not None:
        config = replace(config, start_parts="stages")           # one start for all: comparisons that it does not know begin at random
    found = [Variant(REFERENCE, "as configured", config)]
    if config.start is not None and config.model.name in registry.names():
        found.append(Variant(UNSTARTED, "from random weights", replace(config, start=None)))
    if config.model.name in ALIGNMENT_NETWORKS:
        found += _of_the_comparison(config)
    found += _other_networks(config)
    if config.model.name in registry.names():
        found += _of_the_training(config)
    found += _of_the_preparation(config)
    different = [one for one in found if one.name == REFERENCE or one.pretrained or one.config != config]
    return tuple(replace(one, config=replace(one.config, out=config.out / "variants" / one.name)) for one in different)


def _of_the_comparison(config: StudyConfig) -> list[Variant]:
    """Ways to compare, latents, scales and outline."""
    model, found = config.model, []
    own = model.settings.get("compare", "anchored")

    def add(name: str, words: str, settings: Mapping[str, Any], base: str = REFERENCE) -> None:
        found.append(Variant(name, words, replace(config, model=replace(model, settings=settings)), base))

    for compare, words in COMPARISONS.items():
        if compare != own:
            kept = {name: value for name, value in model.settings.items() if name not in OF_LATENTS or "latent" in compare}
            add(f"compare_{compare.replace('+', '_')}", words, {**kept, "compare": compare})
    if own in ("anchored", "local", "anchored+latent") and model.settings.get("content", True):
        add("no_content", "alignment by position alone", {**model.settings, "content": False})
    base, settings = (REFERENCE, dict(model.settings)) if "latent" in own else ("compare_latent", {**model.settings, "compare": "latent"})
    for count in LATENTS:
        if count != _latents(settings):
            add(f"latents_{count}", f"latents: {count} (coarse {count // 2})", {**settings, "latents": count}, base)
    if settings.get("change_keys", True):
        if settings.get("gate", True):
            add("no_gate", "latents without change gates", {**settings, "gate": False}, base)
            ungoverned = replace(config.training, loss=replace(config.training.loss, gate_weight=0.0))
            if ungoverned != config.training:
                found.append(Variant("no_gate_budget", "latents without the budget of the gates",
                                     replace(config, model=replace(model, settings=settings), training=ungoverned), base))
        add("no_change_keys", "latents that read both visits, not their change", {**settings, "change_keys": False}, base)
    for scales, words in SCALES.items():
        if scales != model.settings.get("scales", "both"):
            add(f"scales_{scales}", words, {**model.settings, "scales": scales})
            if model.settings.get("scales") == "fine":                  # its weights lack the coarse stage
                found[-1] = _unstarted(found[-1])
    return found


def _latents(settings: Mapping[str, Any]) -> int:
    """Latents at the fine scale of a network with these settings."""
    from MRDeltaNetLib.models.pair import sizes_of

    own = settings.get("latents")
    return sizes_of(settings.get("preset", "base"))["latents"][0] if own is None else own


def _other_networks(config: StudyConfig) -> list[Variant]:
    """Other networks, and the outline given in another way to those that take it."""
    model, found = config.model, []
    shared = {name: value for name, value in model.settings.items() if name == "preset"}
    like = model.name in ALIGNMENT_NETWORKS
    for name, words in ALIGNMENT_NETWORKS.items():
        if name != model.name:
            found.append(_unstarted(Variant(name, words, replace(config, model=ModelConfig(name, dict(model.settings) if like else shared)))))
    for name, (network, settings, words) in OTHERS.items():
        other = Variant(name, words, replace(config, model=ModelConfig(network, {**shared, **settings})))
        same_encoder = model.name in _ENCODED_ALIKE and network in _ENCODED_ALIKE and model.settings.get("roi_mode", "channel") == "channel"
        found.append(other if same_encoder else _unstarted(other))
    if like or model.name == "roi_pooled":
        for mode, words in ROI_MODES.items():
            if mode != model.settings.get("roi_mode", "channel"):
                found.append(_unstarted(Variant(f"roi_{mode}", words, replace(config, model=replace(model, settings={**model.settings, "roi_mode": mode})))))
    return found


def _unstarted(variant: Variant) -> Variant:
    """The variant from random weights, beside the reference from random weights, if the study starts from others: they do not fit this one."""
    if variant.config.start is None:
        return variant
    return replace(variant, words=f"{variant.words}, from random weights", config=replace(variant.config, start=None), base=UNSTARTED)


_ENCODED_ALIKE = ("deltanet", "subtract", "roi_pooled")


def _of_the_training(config: StudyConfig) -> list[Variant]:
    """Losses, sampler, augmentation, first weights."""
    training, loss, found = config.training, config.training.loss, []
    stacked = config.model.name in ("resnet18", "vit")
    both_visits, auxiliary = config.model.settings.get("visits", "both") == "both", config.model.settings.get("auxiliary", True)

    def add(name: str, words: str, **changes: Any) -> None:
        found.append(Variant(name, words, replace(config, training=replace(training, **changes))))

    add("no_response_contrast", "without the contrast of responses", loss=replace(loss, response_weight=0.0))
    if auxiliary and both_visits and not stacked:
        add("no_identity_contrast", "without the contrast of identities", loss=replace(loss, identity_weight=0.0))
        if loss.response_weight and loss.identity_weight:
            add("no_contrast", "without both contrasts", loss=replace(loss, response_weight=0.0, identity_weight=0.0))
    if auxiliary:
        add("no_auxiliary", "without decoding of intensities", loss=replace(loss, auxiliary_weight=0.0))
    add("cross_entropy", "cross-entropy", loss=replace(loss, gamma=0.0, beta=0.0))
    add("focal", "focal loss without class balance", loss=replace(loss, gamma=loss.gamma or LossConfig().gamma, beta=0.0))
    add("class_balanced_focal", "class-balanced focal loss", loss=replace(loss, gamma=loss.gamma or LossConfig().gamma, beta=loss.beta or None))
    if training.balanced:
        add("sampler_off", "batches as they come; class weights of the loss for the frequency", balanced=False)
        add("unbalanced", "batches as they come, no class weights", balanced=False, loss=replace(loss, beta=0.0))
    else:
        add("sampler_on", "balanced batches", balanced=True)
    add("no_augmentation", "without augmentation", augmentation=replace(
        training.augmentation, probability_minority=0.0, probability_majority=0.0, **UNPERTURBED))
    if training.augmentation.outlines.probability:
        add("no_poor_outlines", "without poor outlines in training", augmentation=replace(training.augmentation, outlines=UNPERTURBED["outlines"]))
    if config.start is None and both_visits and auxiliary:
        found.append(Variant("pretrained", "pretrained on all training cases, without outcomes", config, pretrained=True))
    return found


def _of_the_preparation(config: StudyConfig) -> list[Variant]:
    """Registration, bias correction, voxels. A deformable registration gives networks the rigid one, so that rigid would be the reference."""
    found, preprocessing = [], config.preprocessing
    for method in ("none", "rigid", "affine"):
        if (method, config.registration.method) != ("rigid", "deformable"):
            found.append(Variant(f"registration_{method}", f"registration: {method}", replace(config, registration=replace(config.registration, method=method))))
    for level in ("off", "fast"):
        found.append(Variant(f"bias_{level}", f"bias correction: {level}", replace(config, preprocessing=replace(preprocessing, bias_correction=level))))
    for name, spacing_mm in (("isotropic", ISOTROPIC_MM), ("anisotropic", PreprocessingConfig().spacing_mm)):
        if spacing_mm != tuple(preprocessing.spacing_mm):
            crop_mm = whole_crop(preprocessing.crop_mm, spacing_mm)
            words = f"voxels of {' x '.join(f'{size:g}' for size in spacing_mm)} mm, crop {' x '.join(f'{size:g}' for size in crop_mm)} mm"
            found.append(_unstarted(Variant(name, words, replace(config, preprocessing=replace(preprocessing, spacing_mm=spacing_mm, crop_mm=crop_mm)))))
    return found


def whole_crop(crop_mm: tuple[float, float, float], spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """The crop (x, y, z), mm, of whole tokens of the coarsest scale at these voxels that is nearest to a wanted one; at least one token."""
    from MRDeltaNetLib.models.encoder import STRIDES

    token_mm = [stride * step for stride, step in zip(STRIDES[-1][::-1], spacing_mm)]
    return tuple(max(1, int(wanted / size + 0.5)) * size for wanted, size in zip(crop_mm, token_mm))


def chosen(config: StudyConfig, only: tuple[str, ...] = ()) -> tuple[Variant, ...]:
    """The variants that these names or patterns (*, ?, [...]) mean, with the reference and the bases that they are compared with; (): all.

    raises  UsageError MRD-E863 for a name or pattern that means none
    """
    every = variants(config)
    unknown = [pattern for pattern in only if not any(fnmatchcase(variant.name, pattern) for variant in every)]
    if unknown:
        raise UsageError("No variant of this study has such a name", code="MRD-E863", found=", ".join(f"'{name}'" for name in sorted(unknown)),
                         fix=f"choose among {', '.join(variant.name for variant in every)}")
    wanted = {variant.name for variant in every if not only or any(fnmatchcase(variant.name, pattern) for pattern in only)}
    wanted |= {variant.base for variant in every if variant.name in wanted} | {REFERENCE}
    return tuple(variant for variant in every if variant.name in wanted)


def ablate(config: StudyConfig, *, only: tuple[str, ...] = (), progress: Progress = silent,
           train: Callable[..., Any] | None = None, pretrain: Callable[..., Any] | None = None) -> Ablation:
    """Train every variant that is not done yet, and write config.out's ablation.json, .md, .svg and .png anew after each.

    only             names or patterns of variants to do, see chosen
    train, pretrain  cohort.study.train and cohort.study.pretraining.pretrain, or what a test puts in their place
    raises  UsageError MRD-E863 for an unknown name; what cohort.study.train raises for the reference. A variant that cannot be trained
            with this cohort or in this memory stands in the table with its reason, and in the notices (MRD-W863); Cancelled passes through.
    """
    if train is None:
        from MRDeltaNetLib.cohort.study import train
    if pretrain is None:
        from MRDeltaNetLib.cohort.study.pretraining import pretrain
    todo = chosen(config, only)
    rows, notices, scores = [], [], {}
    for number, variant in enumerate(todo):
        bar = part(progress, number / len(todo), (number + 1) / len(todo))
        try:
            _do(variant, config.out, train, pretrain, lambda done, message, name=variant.name: bar(done, f"{name}: {message}"))
        except Cancelled:
            raise
        except (InputError, UsageError, OutOfMemory) as problem:
            if variant.name == REFERENCE:
                raise
            rows.append({"name": variant.name, "words": variant.words, "refused": problem.what, "code": problem.code})
            notices.append(Notice("MRD-W863", f"The variant '{variant.name}' could not be trained: {problem.what[:1].lower()}{problem.what[1:]}", problem.fix or ""))
        else:
            scores[variant.name] = out_of_fold(variant.config.out / "oof.csv")
            rows.append({"name": variant.name, "words": variant.words, **compared(scores, variant)})
        _write(config.out, rows)
    return Ablation(config.out, tuple(rows), tuple(notices))


def _do(variant: Variant, out: Path, train: Callable[..., Any], pretrain: Callable[..., Any], progress: Progress) -> None:
    """One study; its pretraining first, in the ablation's own folder, where `mrdeltanet pretrain` of the same study works too."""
    study = variant.config
    if variant.pretrained:
        study = replace(study, start=pretrain(replace(study, out=out), progress=part(progress, 0.0, 0.3)).weights)
        progress = part(progress, 0.3, 1.0)
    train(study, progress=progress)


def out_of_fold(path: Path) -> dict[str, tuple[int, float]]:
    """id -> (outcome, logit) of an oof.csv."""
    with open(path, encoding="utf-8", newline="") as stream:
        return {row["id"]: (int(row["outcome"]), float(row["logit"])) for row in csv.DictReader(stream)}


def compared(scores: Mapping[str, Mapping[str, tuple[int, float]]], variant: Variant) -> dict[str, Any]:
    """AUC with its interval, and the paired differences to the reference, and to a base that is not the reference, on the cases that both have.

    scores  variant -> id -> (outcome, logit), of the reference and of every other variant that was trained
    """
    own, shared = scores[variant.name], sorted(set(scores[variant.name]) & set(scores[REFERENCE]))
    outcome, score = (np.array(column) for column in zip(*(own[key] for key in shared)))
    value, low, high = auc_with_ci(outcome, score)
    found = {"cases": len(shared), "auc": value, "ci": [low, high]}
    if variant.name == REFERENCE:
        return found
    found |= _difference(own, scores[REFERENCE])
    if variant.base != REFERENCE and variant.base in scores:
        found |= {"base": variant.base} | {f"base_{name}": value for name, value in _difference(own, scores[variant.base]).items()}
    return found


def _difference(one: Mapping[str, tuple[int, float]], other: Mapping[str, tuple[int, float]]) -> dict[str, Any]:
    """Paired difference of the AUCs on the cases that both have."""
    shared = sorted(set(one) & set(other))
    outcome, score, against = (np.array(column) for column in zip(*((one[key][0], one[key][1], other[key][1]) for key in shared)))
    difference = paired_delong(outcome, score, against)
    return {"difference": difference.difference, "difference_ci": [difference.lower, difference.upper], "p": difference.p}


def markdown(rows: list[Mapping[str, Any]]) -> str:
    """The table."""
    lines = ["# Ablation", "", "Out-of-fold AUC; differences to the reference on the same cases by DeLong's paired test. The p values are not corrected for",
             "the number of variants, and choosing the best row makes its number too good: check a choice on cases that were never used.",
             "A variant of a part that the reference does not have is also compared with its base, from which it differs in that part alone.", "",
             "| variant | what it is | cases | AUC (95 % CI) | minus reference (95 % CI) | p | minus its base (95 % CI), p |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['name']} | {row['words']} | | not trained ({row['code']}): {row['refused']} | | | |")
            continue
        against = f"{_interval(row, '')} | {_p(row['p'])}" if "p" in row else " | "
        base = f"{row['base']}: {_interval(row, 'base_')}, {_p(row['base_p'])}" if "base" in row else ""
        lines.append(f"| {row['name']} | {row['words']} | {row['cases']} | {row['auc']:.3f} ({row['ci'][0]:.3f} to {row['ci'][1]:.3f}) | {against} | {base} |")
    return "\n".join(lines) + "\n"


def _interval(row: Mapping[str, Any], which: str) -> str:
    low, high = row[f"{which}difference_ci"]
    return f"{row[f'{which}difference']:+.3f} ({low:+.3f} to {high:+.3f})"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else format(value, ".4f")


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
