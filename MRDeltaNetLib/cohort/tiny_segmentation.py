"""A small nnU-Net trained on simulated pelvises, and how well it draws on others: shows that the whole chain works, on a CPU and in minutes.

    python -m MRDeltaNetLib.cohort.tiny_segmentation --out tiny-segmentation

OUT gets  cohort/       the simulated cohort; the same as from `mrdeltanet simulate --external`
          nnUNet_raw/   the dataset of `mrdeltanet segment train-dataset`; nnUNet_preprocessed/, nnUNet_results/ what nnU-Net makes of it
          masks/        what `mrdeltanet segment` draws on the held-out scans, with probabilities
          cases.png     six held-out cases: true outline green, drawn red, its uncertain border yellow
          dice.csv, dice.json   each held-out case, and their summary, written last
A run that was stopped goes on: what is simulated, written and trained stays. No patient is in it; the Dice is no claim about patients.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.nnunet_dataset import write_dataset
from MRDeltaNetLib.cohort.segmentation_figure import write_figure
from MRDeltaNetLib.cohort.simulation import COARSE, simulate_cohort
from MRDeltaNetLib.errors import InputError, MRDeltaNetError
from MRDeltaNetLib.imaging.agreement import agreement
from MRDeltaNetLib.imaging.nnunet import NnUnetSegmenter
from MRDeltaNetLib.imaging.nnunet.environment import CHILD, child_variables, find_python
from MRDeltaNetLib.io import approvals
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.cohort_table import Row, read_cohort
from MRDeltaNetLib.io.images import read_image, read_mask, write_image
from MRDeltaNetLib.io.nnunet_model import digest, read_nnunet_model
from MRDeltaNetLib.io.tables import read_json, write_csv
from MRDeltaNetLib.processes.attending import attend
from MRDeltaNetLib.progress import Progress, part, silent

TRAINING = Path(__file__).resolve().with_name("nnunet_training.py")
SEED, DATASET = 503, 501
TRAINED = "trained.json"


@dataclass(frozen=True)
class Plan:
    """How small it is.

    cases, external  of the cohort, and the share that is held out
    coarse           quick scans of about 2 x 2 x 5 mm
    spacing_mm_zyx, patch_zyx   grid and patch that the network sees
    features         of each stage of the network
    epochs, iterations          of the training; batches of two patches
    """

    cases: int = 200
    external: float = 0.1
    coarse: bool = False
    spacing_mm_zyx: tuple[float, ...] = (4.0, 1.5, 1.5)
    patch_zyx: tuple[int, ...] = (16, 96, 96)
    features: tuple[int, ...] = (12, 24, 48, 96)
    epochs: int = 80
    iterations: int = 50


def main(arguments: list[str] | None = None) -> int:
    """Command line; see --help."""
    options = _parser().parse_args(arguments)
    plan = Plan(cases=options.cases, external=options.external, epochs=options.epochs, iterations=options.iterations)
    try:
        found = run(options.out, plan, python=options.python, threads=options.threads, workers=options.workers, seed=options.seed, progress=_tell)
    except MRDeltaNetError as problem:
        print(problem.text(), file=sys.stderr)
        return problem.exit_status
    print(f"Dice on {found['cases']} held-out simulated scans before treatment: mean {found['mean']:.3f}, median {found['median']:.3f}, "
          f"lowest {found['lowest']:.3f}; {found['train_seconds'] / 60:.1f} minutes of training")
    return 0


def run(out: Path, plan: Plan = Plan(), *, python: Path | None = None, threads: int = 1, workers: int = 1, seed: int = SEED,
        progress: Progress = silent) -> dict[str, Any]:
    """Simulate, write the dataset, train, draw, compare.

    returns  cases, mean, median, lowest, sd of the Dice; seconds of each step
    raises   what the steps raise
    """
    python = find_python(python)
    started = time.perf_counter()
    table = out / "cohort" / "cohort.csv"
    if not table.is_file():
        simulate_cohort(plan.cases, seed, "controlled", out / "cohort", workers=workers, size=COARSE if plan.coarse else None,
                        sets={"train": 1 - plan.external, "external": plan.external}, progress=part(progress, 0.0, 0.2))
    cohort = read_cohort(table)
    write_dataset(cohort, out / "nnUNet_raw", dataset_id=DATASET, progress=part(progress, 0.2, 0.25))
    prepared = time.perf_counter()
    trained = _trained(out, plan, python, threads, seed, part(progress, 0.25, 0.9))
    rows = [row for row in cohort.rows if row.set == "external"]
    if not rows:
        raise InputError("No case is held out, so nothing can be said about the trained model", code="MRD-E387", found=f"{len(cohort.rows)} cases",
                         fix="simulate more cases, or hold out a larger share")
    drawn = _drawn(out, out / trained["model"], rows, python, threads, part(progress, 0.9, 1.0))
    write_csv(out / "dice.csv", drawn, ("id", "dice", "drawn_ml", "true_ml", "seconds"))
    write_figure([(row.id, entry["dice"], row.files["pre"], row.files["pre_mask"], out / "masks" / f"{row.id}-probability.nrrd")
                  for row, entry in zip(rows, drawn)], out / "cases.png")
    dice = np.array([entry["dice"] for entry in drawn])
    summary = {"cases": len(dice), "mean": round(float(dice.mean()), 4), "median": round(float(np.median(dice)), 4), "lowest": round(float(dice.min()), 4),
               "sd": round(float(dice.std(ddof=1)), 4) if len(dice) > 1 else None, "prepare_seconds": round(prepared - started, 1),
               **{name: trained[name] for name in ("plan_seconds", "train_seconds")}, "plan": {**vars(plan)}, "seed": seed, "threads": threads}
    write_text(out / "dice.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _trained(out: Path, plan: Plan, python: Path, threads: int, seed: int, progress: Progress) -> dict[str, Any]:
    """The training, unless an earlier call has done it with the same settings."""
    job = {"dataset_id": DATASET, "spacing_mm_zyx": plan.spacing_mm_zyx, "patch_zyx": plan.patch_zyx, "features": plan.features,
           "epochs": plan.epochs, "iterations": plan.iterations, "threads": threads, "seed": seed}
    job = json.loads(json.dumps(job))
    if (out / TRAINED).is_file() and (kept := read_json(out / TRAINED)).get("job") == job:
        return kept
    write_text(out / "training-job.json", json.dumps({**job, "root": str(out.absolute()), "child": str(CHILD)}))
    told = attend([str(python), str(TRAINING), str((out / "training-job.json").absolute())], out, child_variables(python), progress)
    write_text(out / TRAINED, json.dumps({**told, "job": job}, indent=1) + "\n")
    return {**told, "job": job}


def _drawn(out: Path, folder: Path, rows: list[Row], python: Path, threads: int, progress: Progress) -> list[dict[str, Any]]:
    """Each held-out case: what was drawn, against what the simulation knows; an empty drawing has Dice 0. The model was made here a moment ago, so it is approved for this
    user by the command that made it."""
    approvals.approve(folder, digest(folder), {"name": "made by tiny_segmentation"})
    segmenter = NnUnetSegmenter(read_nnunet_model(folder), python, threads=threads)
    found = []
    for number, row in enumerate(rows):
        started = time.perf_counter()
        image = read_image(row.files["pre"]).image
        mask = segmenter(image, part(progress, number / len(rows), (number + 1) / len(rows)))
        write_image(mask, out / "masks" / f"{row.id}.nrrd")
        write_image(segmenter.drawn.probability, out / "masks" / f"{row.id}-probability.nrrd")
        truth = read_mask(row.files["pre_mask"], image, role="pre")[0]
        compared = agreement(mask, truth)
        found.append({"id": row.id, "dice": round(compared.dice or 0.0, 4), "drawn_ml": round(compared.volume_a_ml, 3),
                      "true_ml": round(compared.volume_b_ml, 3), "seconds": round(time.perf_counter() - started, 1)})
    return found


_last = ""


def _tell(done: float, message: str) -> None:
    global _last
    if message != _last:
        print(f"{100 * done:3.0f} %  {message}", file=sys.stderr, flush=True)
    _last = message


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m MRDeltaNetLib.cohort.tiny_segmentation", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--cases", type=int, default=Plan.cases, help="simulated pairs")
    parser.add_argument("--external", type=float, default=Plan.external, help="share of them that is held out")
    parser.add_argument("--epochs", type=int, default=Plan.epochs)
    parser.add_argument("--iterations", type=int, default=Plan.iterations, help="of each epoch")
    parser.add_argument("--python", type=Path, help="a Python with nnU-Net; default: as mrdeltanet segment environment says")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate")
    parser.add_argument("--seed", type=int, default=SEED)
    return parser


if __name__ == "__main__":
    sys.exit(main())
