"""Train the demo model on simulated cases, measure it on held-out ones, and write it as a bundle.

    python -m MRDeltaNetLib.cohort.demo_model --out Resources/models/demo

Choices (epoch, threshold, recalibration) use the validation cases only; the test cases are made and scored after that.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import MRDeltaNetLib
from MRDeltaNetLib.cohort.statistics import auc_with_ci, youden_threshold
from MRDeltaNetLib.config import PreprocessingConfig
from MRDeltaNetLib.errors import require
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.versions import versions

NAME = "mrdeltanet-demo"
INTENDED_USE = "Research and demonstration only. Trained on made-up data. Not for diagnosis or treatment decisions."

NOISE = 0.03
"""Differences in AUC below this are not worth a word with one training seed and a few hundred cases."""


@dataclass(frozen=True)
class Evaluation:
    """What the card tells: name -> (AUC, lower, upper) on held-out simulated cases, and sizes and times."""

    aucs: dict[str, tuple[float, float, float]]
    cases: dict[str, int]
    minutes: float


def main(arguments: list[str] | None = None) -> int:
    """Command line; see --help."""
    options = _parser().parse_args(arguments)
    import torch

    from MRDeltaNetLib.cohort import demo_cases, training

    start = time.perf_counter()
    torch.set_num_threads(options.threads)
    cache = Path(options.cache or tempfile.mkdtemp(prefix="mrdeltanet-demo-"))
    preprocessing = PreprocessingConfig(crop_mm=tuple(options.crop_mm))
    splits = {name: demo_cases.load_or_make(name, count, options.setting, preprocessing, cache, options.workers, _say)
              for name, count in (("training", options.cases), ("validation", options.validation))}
    # As the shipped model was trained: the same rate in all stages, every crop augmented from the first epoch on, the lowest log-loss kept.
    config = training.TrainingConfig(epochs=options.epochs, batch_size=options.batch_size, learning_rate=options.learning_rate,
                                     layer_decay=1.0, monitor="nll", smoothing=0.0, precision=options.precision, seed=options.seed,
                                     augmentation=training.AugmentationConfig(probability_minority=1.0, probability_majority=1.0, ramp_epochs=0))
    settings = {"spacing_mm": list(preprocessing.spacing_mm), "crop_mm": list(preprocessing.crop_mm), "preset": options.preset}
    own = {"compare": options.compare, "content": options.content}
    network = _trained("deltanet", settings | own, splits, config, cache)
    calibration, threshold = _calibrated(training.scores(network, splits["validation"].crops), splits["validation"].crops.outcomes)

    splits["test"] = demo_cases.load_or_make("test", options.test, options.setting, preprocessing, cache, options.workers, _say)
    golden = torch.from_numpy(np.array(splits["test"].crops.crops[0], dtype=np.float32))
    aucs = _evaluate(network, splits)
    for baseline in (None, *options.baselines):
        if baseline is not None:
            aucs[baseline] = _auc(splits["test"].crops, training.scores(_trained(baseline, settings, splits, config, cache), splits["test"].crops))
        evaluation = Evaluation(aucs, {name: len(split.crops) for name, split in splits.items()}, (time.perf_counter() - start) / 60)
        # Written again after every baseline, so that a run that is stopped leaves a whole bundle.
        _write(options, network, settings | own | {"auxiliary": False}, preprocessing, config, calibration, threshold, evaluation, golden)
        print(json.dumps(asdict(evaluation)), flush=True)
    return 0


def _trained(name: str, settings: dict[str, Any], splits, config, cache: Path):
    """A trained network without the parts that only training needs; one that an earlier, stopped run left in the cache is taken up.

    cache  folder; the file's name holds a digest of settings, number of cases and code
    """
    import torch

    from MRDeltaNetLib import models
    from MRDeltaNetLib.cohort import training
    from MRDeltaNetLib.cohort.demo_cases import code_sha256, digest
    from MRDeltaNetLib.imaging import phantom, preprocessing
    from MRDeltaNetLib.models import registry

    files = require("safetensors.torch", "Training", "pip install safetensors")
    facts = [settings, asdict(config), *(len(splits[split].crops) for split in ("training", "validation")),
             code_sha256(models, phantom, preprocessing)]
    stored = cache / f"{name}-{digest(facts)}.safetensors"
    network = registry.build(name, **settings, auxiliary=False)
    if not stored.exists():
        torch.manual_seed(config.seed)
        learner = registry.build(name, **settings)
        training.fit(learner, splits["training"].crops, splits["validation"].crops, config,
                     progress=lambda done, message: _say(done, f"{name}, {message}"))
        kept = network.state_dict().keys()
        with atomic(stored) as temporary:
            files.save_file({key: value.contiguous() for key, value in learner.state_dict().items() if key in kept}, temporary)
    network.load_state_dict(files.load_file(stored))
    return network.eval()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m MRDeltaNetLib.cohort.demo_model", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle; an old bundle there is replaced")
    parser.add_argument("--cases", type=int, default=440, help="training cases")
    parser.add_argument("--validation", type=int, default=120)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--setting", choices=("controlled", "realistic"), default="controlled")
    parser.add_argument("--crop-mm", type=float, nargs=3, default=(60.0, 60.0, 48.0), metavar=("X", "Y", "Z"))
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--compare", default="anchored")
    parser.add_argument("--content", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--precision", choices=("auto", "32-true", "bf16-mixed"), default="auto",
                        help="auto: full precision, because bfloat16 on a CPU learned less")
    parser.add_argument("--baselines", nargs="*", default=["roi_pooled", "subtract"], help="also train these, for the card")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes that simulate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", help="folder for prepared cases; kept if named")
    parser.add_argument("--licence", type=Path, default=Path(MRDeltaNetLib.__file__).parents[1] / "LICENSE.txt")
    return parser


def _evaluate(network, splits) -> dict[str, tuple[float, float, float]]:
    """AUCs on the test cases: the pair, each post with another patient's baseline, and volumes alone."""
    from MRDeltaNetLib.cohort import training

    test = splits["test"].crops
    wrong = np.roll(np.arange(len(test)), 1)
    return {"deltanet": _auc(test, training.scores(network, test)),
            "deltanet, baseline of another patient": _auc(test, training.scores(network, test, pre_of=wrong)),
            "volumes alone": _auc(test, _volume_scores(splits["training"], splits["test"]))}


def _auc(crops, score: np.ndarray) -> tuple[float, float, float]:
    return tuple(round(value, 4) for value in auc_with_ci(crops.outcomes, score))


def _volume_scores(training, test) -> np.ndarray:
    """Logistic regression on the logarithms of tumour and bed volume (so their ratio too), fitted on the training cases."""
    linear = require("sklearn.linear_model", "Training", "pip install 'mrdeltanet[cohort]'")
    return linear.LogisticRegression(C=1e6).fit(np.log(training.volumes_ml), training.crops.outcomes).decision_function(np.log(test.volumes_ml))


def _calibrated(logit: np.ndarray, outcome: np.ndarray) -> tuple[dict[str, float], float]:
    """Platt's slope and intercept on the validation cases, and Youden's threshold on the recalibrated probability.

    The intercept holds the shift from the balanced batches' prior of 0.5 to the validation cases' own.
    """
    linear = require("sklearn.linear_model", "Training", "pip install 'mrdeltanet[cohort]'")
    fitted = linear.LogisticRegression(C=1e6).fit(logit[:, None], outcome)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    probability = 1 / (1 + np.exp(-(slope * logit + intercept)))
    return {"slope": slope, "intercept": intercept}, youden_threshold(outcome, probability)


def _write(options, network, settings, preprocessing, config, calibration, threshold, evaluation: Evaluation, golden) -> None:
    from MRDeltaNetLib.io.bundle import write_bundle

    metadata = bundle_metadata(settings, preprocessing, calibration, threshold, evaluation, options.setting)
    metadata["mrdeltanet"]["training"] = json.loads(json.dumps(asdict(config)))
    options.out.mkdir(parents=True, exist_ok=True)
    write_bundle(options.out, network=network, metadata=metadata, card=card(evaluation, options.setting, settings, preprocessing, threshold),
                 golden_input=golden, licence=options.licence.read_text(encoding="utf-8"))


def bundle_metadata(settings: dict[str, Any], preprocessing: PreprocessingConfig, calibration: dict[str, float], threshold: float,
                    evaluation: Evaluation, setting: str) -> dict[str, Any]:
    """configs/metadata.json: MONAI's keys, and MRDeltaNet's own."""
    found = versions()
    auc, lower, upper = evaluation.aucs["deltanet"]
    voxels = [round(size / step) for size, step in zip(preprocessing.crop_mm[::-1], preprocessing.spacing_mm[::-1])]
    image = {"type": "image", "format": "magnitude", "modality": "MR", "num_channels": 4, "spatial_shape": voxels, "dtype": "float32",
             "value_range": [], "is_patch_data": False,
             "channel_def": {"0": "pre T2, z-score", "1": "pre soft ROI", "2": "post T2, z-score", "3": "post soft ROI"}}
    probability = {"type": "probabilities", "format": "classes", "modality": "n/a", "num_channels": 1, "spatial_shape": [1],
                   "dtype": "float32", "value_range": [0, 1], "is_patch_data": False, "channel_def": {"0": "P(pCR)"}}
    cases = evaluation.cases
    return {
        "version": "0.1.0", "changelog": {"0.1.0": "first demo model"}, "monai_version": found["monai"], "pytorch_version": found["torch"],
        "numpy_version": found["numpy"], "required_packages_version": {"safetensors": found["safetensors"], "SimpleITK": found["SimpleITK"]},
        "task": "P(pCR) from rectal T2-weighted MRI before and after neoadjuvant treatment; demonstration on made-up data",
        "description": "DELTA-style network re-implemented from a published description; trained on simulated pelvises only.",
        "authors": "MRDeltaNet contributors", "copyright": "Copyright MRDeltaNet contributors", "intended_use": INTENDED_USE,
        "data_type": "simulated", "network_data_format": {"inputs": {"pair": image}, "outputs": {"p_pcr": probability}},
        "mrdeltanet": {
            "format": 1, "name": NAME, "anatomy": "rectum (simulated)", "is_demo": True, "intended_use": INTENDED_USE,
            "trained_on": f"made-up data: {cases['training']} simulated pelvis pairs ('{setting}'); no patient", "sequences": ["T2"],
            "network": {"name": "deltanet", "settings": settings},
            "preprocessing": {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(preprocessing).items()},
            "bias_corrections_allowed": ["off", "fast", "full"], "recalibration": calibration, "threshold": threshold,
            "threshold_source": f"Youden index on {cases['validation']} simulated validation cases", "held_out_auc": auc,
            "held_out_auc_ci": [lower, upper], "held_out_on": f"{cases['test']} simulated test cases ('{setting}'), scored after every choice",
            "golden_tolerance": 1e-3}}


def card(evaluation: Evaluation, setting: str, settings: dict[str, Any], preprocessing: PreprocessingConfig, threshold: float) -> str:
    """The model card, Markdown."""
    cases, rows = evaluation.cases, []
    for name, (auc, lower, upper) in evaluation.aucs.items():
        rows.append(f"| {name} | {auc:.3f} | {lower:.3f} to {upper:.3f} |")
    auc, lower, upper = evaluation.aucs["deltanet"]
    level = [f"`{name}`" for name in ("roi_pooled", "subtract") if name in evaluation.aucs and evaluation.aucs[name][0] > auc - NOISE]
    crop, spacing = (" x ".join(f"{value:g}" for value in values) for values in (preprocessing.crop_mm, preprocessing.spacing_mm))
    return "\n".join([
        "# MRDeltaNet demo model", "",
        f"**Trained on made-up data.** No patient was involved. On {cases['test']} held-out made-up cases its AUC is "
        f"**{auc:.3f}** (95 % interval {lower:.3f} to {upper:.3f}). Nothing is known about real scans.", "",
        f"Intended use: {INTENDED_USE}", "",
        "## What it does", "",
        "It reads a T2-weighted pelvis before and after treatment, with the tumour outlined before and the tumour bed after, and gives "
        "P(pCR), the probability of pathological complete response. It is a DELTA-style network re-implemented from a published "
        "description, not the authors' weights or code.", "",
        f"Network `deltanet`, settings `{json.dumps(settings)}`; crop {crop} mm at {spacing} mm; threshold {threshold:.3f} on P(pCR).", "",
        "## What it learned from", "",
        f"{cases['training']} training, {cases['validation']} validation and {cases['test']} test pairs simulated by "
        f"`imaging/phantom/` in the setting '{setting}'. In `controlled` the volume change is the same in both classes, and what is left "
        "in the bed has either this patient's tumour signal (no complete response) or that signal plus a fixed offset (inflammation, "
        "complete response), so that only comparing both scans can tell. The alignment is the true one with a small random error.", "",
        "## AUC on the held-out made-up cases", "",
        "| score | AUC | 95 % interval (DeLong, logit) |", "|---|---|---|", *rows, "",
        "The epoch, the threshold and the recalibration were chosen on the validation cases; the test cases were scored after that. "
        f"One training seed: differences below about {NOISE} mean nothing."
        + (f" {' and '.join(level)} did as well or better here, so this simulation does not show that alignment pays." if level else ""), "",
        "## Limits", "",
        "It knows only simulated pelvises, which are simpler than real ones; masks there are nearly exact, so expect less with worse "
        "outlines. Do not use it on patients.", "",
        f"Made {date.today().isoformat()} in {evaluation.minutes:.0f} minutes, simulation included, unless prepared cases were kept.", ""])


_last = {"time": 0.0}


def _say(done: float, message: str) -> None:
    """Progress to standard error: every tenth second, and every epoch."""
    now = time.monotonic()
    if "epoch" in message and "batch" not in message or done >= 1 or now - _last["time"] > 10:
        _last["time"] = now
        print(f"{done:6.1%}  {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
