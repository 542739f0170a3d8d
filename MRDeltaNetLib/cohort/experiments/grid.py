"""Cells: one training and everything it is scored on, kept as one JSON. Resumable, and shared by any number of processes.

    OUT/cells/<name>.json     a finished cell, written whole; believed only if it was made with the same plan and the same cases
    OUT/claims/<name>/.lock   held by the process that works on it; the system takes it back when that process ends, however it ends
"""

from __future__ import annotations

import fnmatch
import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort.experiments.cases import CROP_MM, SPACING_MM, Cases, Condition, MisalignedCrops, digest, load_or_make
from MRDeltaNetLib.cohort.statistics import logistic
from MRDeltaNetLib.config import UNPERTURBED, AugmentationConfig, LossConfig, TrainingConfig
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.versions import versions

SCHEMA = "mrdeltanet.experiment-cell/1"
VOLUMES = "volume_logistic"
"""The one model that is no network: logistic regression on the logarithms of tumour and bed volume."""

RECIPE = TrainingConfig(
    epochs=25, warmup_epochs=2, batch_size=16, learning_rate=1.5e-3, layer_decay=1.0, ema_decay=0.98, monitor="nll", smoothing=0.0, patience=25,
    precision="32-true",
    loss=LossConfig(response_weight=0.0, identity_weight=0.0, gate_weight=0.0),
    augmentation=AugmentationConfig(misplaced_mm=0.0, misplaced_deg=1.0, roi_shift_mm=0.0, roi_scale=0.0, ramp_epochs=0,
                                      **UNPERTURBED))
"""How every network of the experiments is trained: the same for all. Misplacement and outline errors come from the cells' conditions, so
the augmentation has none of its own. The contrastive terms have weight 0, because several of the networks have no embedding of change.
Full precision, because on one thread bfloat16 is no faster here, and on a CPU its gradients are doubtful for some networks."""

LATER = {"gamma_probability": ("gamma",), "bias_field_probability": ("bias_field_sd",), "blur_probability": ("blur_sigma_mm",), "slice_drop_probability": (),
         "outlines": ()}
"""Switches of the augmentation that came after the first cells, and the settings that mean nothing without them. A plan leaves out those that are off, so
that cells from before stay valid."""

EXACT = Condition((0.0, 0.0), ("good",))
RANDOM = Condition((0.0, 12.0), ("good", "bad"))
TRAININGS = {"aligned": EXACT, "random": RANDOM}
RAMPS = {"aligned": 0, "random": 12}
"""Epochs, about, over which a training's condition comes on. All of it at once taught `anchored` less (validation AUC 0.916 against 0.941, seed 0)."""
SHIFTS_MM = (0, 3, 6, 9, 12)
CURVE = {f"{shift}-{outline}": Condition((float(shift), float(shift)), (outline,)) for outline in ("good", "bad") for shift in SHIFTS_MM}
CHANGES = ("wrong_patient", "swapped")
"""What is done to the test cases beside the curve, at 0 mm with good outlines: another patient's baseline; both visits exchanged."""


@dataclass(frozen=True)
class Cell:
    """One training.

    name       of its JSON
    model      of models.registry, or VOLUMES; settings its own keyword arguments
    training   a key of TRAININGS
    seed       of weights, order and draws
    shuffled   train on outcomes in random order (validation cases too)
    cases, validation, test   how many
    curve      names of CURVE to score on; changes: of CHANGES
    scanners   (training, test) scanners; None: the measured one. See centres
    mix        "balanced" or "confounded" where scanners are given
    longer     times the epochs, the patience and the ramp of the recipe
    """

    name: str
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: str = "aligned"
    seed: int = 0
    shuffled: bool = False
    cases: int = 800
    validation: int = 120
    test: int = 400
    curve: tuple[str, ...] = tuple(CURVE)
    changes: tuple[str, ...] = ()
    scanners: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    mix: str = "balanced"
    longer: int = 1

    @property
    def plan(self) -> str:
        """Digest of everything that decides over the cell's numbers, except the code of networks and training."""
        recipe = asdict(RECIPE)
        off = [name for name in LATER if getattr(RECIPE.augmentation, name) == UNPERTURBED[name]]
        left_out = {*off, *(setting for name in off for setting in LATER[name])}
        recipe["augmentation"] = {name: value for name, value in recipe["augmentation"].items() if name not in left_out}
        own = {name: value for name, value in asdict(self).items() if name != "longer" or value != 1}
        facts = json.loads(json.dumps(own | {"recipe": recipe, "conditions": {k: asdict(v) for k, v in (CURVE | TRAININGS).items()},
                                                      "crop": [SPACING_MM, CROP_MM]}))
        return digest(facts | ({"ramp": RAMPS[self.training]} if RAMPS[self.training] else {}))


@dataclass(frozen=True)
class Sets:
    """Stored cases of one cell."""

    training: Cases
    validation: Cases
    test: Cases


def run(cells: Sequence[Cell], out: Path, cache: Path, *, only: str = "*", hours: float | None = None, workers: int = 1,
        progress: Progress = silent) -> list[str]:
    """Do every cell that is not done and that nobody else is doing; returns the names of those still missing at the end.

    only   pattern of names (fnmatch)
    hours  no new cell is begun after so many
    raises UsageError MRD-E858 if the pattern fits no cell, Cancelled from progress, and what training raises
    """
    from MRDeltaNetLib.cohort.training.locking import folder_lock

    out, begun = Path(out), time.monotonic()
    wanted = [cell for cell in cells if fnmatch.fnmatch(cell.name, only)]
    if not wanted:
        raise UsageError("No cell of the experiment has such a name", code="MRD-E858", found=f"'{only}'", fix="leave the pattern out, or see the names with --list")
    for number, cell in enumerate(wanted):
        if hours is not None and time.monotonic() - begun > 3600 * hours:
            break
        if finished(out, cell) is not None:
            continue
        bar = part(progress, number / len(wanted), (number + 1) / len(wanted))
        try:
            with folder_lock(out / "claims" / cell.name) as beat:
                if finished(out, cell) is not None:          # somebody else ended it between our look and our claim
                    continue

                def alive(done: float, message: str, cell=cell, beat=beat, bar=bar) -> None:
                    beat()
                    bar(done, f"{cell.name}: {message}")

                record = run_cell(cell, sets_of(cell, cache, workers, alive), alive)
                write_text(out / "cells" / f"{cell.name}.json", json.dumps(record, allow_nan=False) + "\n")
        except EnvironmentProblem as problem:
            if problem.code != "MRD-E763":                   # somebody else's cell
                raise
    return [cell.name for cell in wanted if finished(out, cell) is None]


def finished(out: Path, cell: Cell) -> dict[str, Any] | None:
    """The cell's record, if it was made with the same plan; None otherwise.

    raises  InputError MRD-E859 for a damaged file
    """
    path = Path(out) / "cells" / f"{cell.name}.json"
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        same = record["schema"] == SCHEMA and record["plan"] == cell.plan
    except (ValueError, KeyError, TypeError) as cause:
        raise InputError("The record of an experiment is damaged", code="MRD-E859", found=type(cause).__name__, fix="remove that file; the cell is then done again") from cause
    return record if same else None


def sets_of(cell: Cell, cache: Path, workers: int = 1, progress: Progress = silent) -> Sets:
    """The cell's cases, made if the cache lacks them."""
    if cell.scanners is not None:
        from MRDeltaNetLib.cohort.experiments.centres import scanner_sets

        return scanner_sets(cell, cache, workers, progress)
    quiet = part(progress, 0.0, 0.0)
    return Sets(*(load_or_make(split, count, cache, workers=workers, progress=quiet)
                  for split, count in (("training", cell.cases), ("validation", cell.validation), ("test", cell.test))))


def run_cell(cell: Cell, sets: Sets, progress: Progress = silent, recipe: TrainingConfig = RECIPE) -> dict[str, Any]:
    """Train and score one cell; its record, plain JSON.

    validation, test  {"outcome": [..], "seed": [..], "logits": {name of CURVE or CHANGES: [..]}}
    history           of the training; seconds: of training and of scoring
    """
    start = time.perf_counter()
    recipe = replace(recipe, epochs=cell.longer * recipe.epochs, patience=cell.longer * recipe.patience)
    if cell.model == VOLUMES:
        scorer, history, best = _volumes(sets), [], None
        trained = time.perf_counter()
        logits = {name: {"0-good": scorer(getattr(sets, name)).tolist()} for name in ("validation", "test")}
    else:
        network, fitted = _trained(cell, sets, part(progress, 0.0, 0.8), recipe)
        history, best = fitted.history, fitted.best_epoch
        trained = time.perf_counter()
        logits = {name: _scored(cell, network, getattr(sets, name), part(progress, low, high))
                  for name, low, high in (("validation", 0.8, 0.85), ("test", 0.85, 1.0))}
    end = time.perf_counter()
    found = {name: {"outcome": getattr(sets, name).outcomes.tolist(), "seed": [fact["seed"] for fact in getattr(sets, name).facts],
                    "scanner": [fact.get("scanner") for fact in getattr(sets, name).facts], "logits": logits[name]} for name in logits}
    return {"schema": SCHEMA, "plan": cell.plan, "cell": json.loads(json.dumps(asdict(cell))), "recipe": json.loads(json.dumps(asdict(recipe))),
            "training_cases": len(sets.training), "training_share": float(sets.training.outcomes.mean()), **found,
            "history": history, "best_epoch": best, "seconds": {"training": trained - start, "scoring": end - trained}, "versions": versions()}


def _trained(cell: Cell, sets: Sets, progress: Progress, recipe: TrainingConfig):
    import torch

    from MRDeltaNetLib.cohort.training import fit
    from MRDeltaNetLib.models import registry

    condition, outcomes = TRAININGS[cell.training], [cases.outcomes for cases in (sets.training, sets.validation)]
    if cell.shuffled:
        rng = np.random.default_rng([cell.seed, 31])
        outcomes = [rng.permutation(outcome) for outcome in outcomes]
    crops = [MisalignedCrops(cases, condition, seed=1000 * cell.seed + number, again=number == 0, outcomes=outcome, ramp=cell.longer * RAMPS[cell.training] * (number == 0))
             for number, (cases, outcome) in enumerate(zip((sets.training, sets.validation), outcomes))]
    torch.manual_seed(cell.seed)
    network = registry.build(cell.model, spacing_mm=list(SPACING_MM), crop_mm=list(CROP_MM), preset="tiny", **dict(cell.settings))
    return network, fit(network, *crops, replace(recipe, seed=cell.seed), progress=progress)


def _scored(cell: Cell, network, cases: Cases, progress: Progress) -> dict[str, list[float]]:
    """Logits by condition. The draws of a condition are the same for every cell, so that models are compared on the same crops."""
    from MRDeltaNetLib.cohort.training import Crops, scores

    found = {}
    for number, name in enumerate(cell.curve):
        progress(number / len(cell.curve), f"scoring {name}")
        found[name] = _floats(scores(network, MisalignedCrops(cases, CURVE[name], seed=7)))
    if cell.changes:
        exact = MisalignedCrops(cases, EXACT, seed=7)
        drawn = [exact.draw(k) for k in range(len(cases))]
        if "wrong_patient" in cell.changes:
            found["wrong_patient"] = _floats(scores(network, Crops(drawn, cases.outcomes), pre_of=np.roll(np.arange(len(cases)), 1)))
        if "swapped" in cell.changes:
            found["swapped"] = _floats(scores(network, Crops([crop[::-1] for crop in drawn], cases.outcomes)))
    return found


def _floats(logits: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in logits]


def _volumes(sets: Sets):
    """A function that scores cases by their volumes."""
    def design(cases: Cases) -> np.ndarray:
        return np.column_stack([np.log(cases.volumes_ml), np.ones(len(cases))])

    weights, _ = logistic(design(sets.training), sets.training.outcomes)
    return lambda cases: design(cases) @ weights


def records(out: Path) -> dict[str, dict[str, Any]]:
    """Every finished cell in a folder, by name."""
    found = {}
    for path in sorted((Path(out) / "cells").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("schema") == SCHEMA:
            found[path.stem] = record
    return found
