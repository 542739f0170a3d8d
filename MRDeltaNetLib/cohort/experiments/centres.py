"""Experiment 3b: centre shift. Four simulated scanners; each left out in turn, beside a random split of the same size.

"balanced": every scanner has the same share of responders. "confounded": shares differ (simulation.CONFOUNDED_PREVALENCE), so that looks alone tell something: a random
split rewards a network that reads the scanner, a left-out centre does not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from MRDeltaNetLib.cohort.experiments.alignment import MODELS
from MRDeltaNetLib.cohort.experiments.cases import Cases, load_or_make
from MRDeltaNetLib.cohort.experiments.grid import Cell, Sets
from MRDeltaNetLib.cohort.simulation import CONFOUNDED_PREVALENCE
from MRDeltaNetLib.imaging.phantom.contrast import SCANNERS
from MRDeltaNetLib.progress import Progress, part

EACH = 200
"""Cases of each scanner that a confounded draw chooses from and a balanced one takes whole."""
MODEL = "roi_pooled"
VALIDATION = 0.2


def cells(model: str = MODEL, seed: int = 0) -> tuple[Cell, ...]:
    """For either mix: four cells with a scanner left out, four with a random quarter left out."""
    name, settings = MODELS[model]
    common = {"model": name, "settings": settings, "seed": seed, "curve": ("0-good",), "cases": 3 * EACH, "validation": 0, "test": EACH}
    found = []
    for mix in ("balanced", "confounded"):
        for scanner in SCANNERS:
            others = tuple(other for other in SCANNERS if other != scanner)
            found.append(Cell(f"centres-{mix}-without-{scanner}-{seed}", scanners=(others, (scanner,)), mix=mix, **common))
        for fold, _ in enumerate(SCANNERS):
            found.append(Cell(f"centres-{mix}-random-{fold}-{seed}", scanners=(tuple(SCANNERS), (str(fold),)), mix=mix, **common))
    return tuple(found)


def scanner_sets(cell: Cell, cache: Path, workers: int, progress: Progress) -> Sets:
    """Training, validation and test cases of a cell; the validation cases are a fifth of the training cases.

    Scanner number s has the cases s * EACH to (s + 1) * EACH of the training seeds, so that no patient is seen on two scanners.
    """
    pools = []
    for number, scanner in enumerate(SCANNERS):
        cases = load_or_make("training", EACH, cache, workers=workers, progress=part(progress, 0.0, 0.0), scanner=scanner, first=number * EACH)
        chosen = chosen_by_share(cases.outcomes, 0.5 if cell.mix == "balanced" else CONFOUNDED_PREVALENCE[scanner])
        pools.append(replace(cases.subset(chosen), facts=tuple(cases.facts[int(k)] | {"scanner": scanner} for k in chosen)))
    inside, outside = cell.scanners
    if outside[0] in SCANNERS:
        seen, test = _joined([pool for pool, name in zip(pools, SCANNERS) if name in inside]), pools[list(SCANNERS).index(outside[0])]
    else:
        fold = int(outside[0])
        everyone = _joined(pools)
        part_of = np.random.default_rng(17).permutation(len(everyone)) % len(SCANNERS)
        seen, test = everyone.subset(np.flatnonzero(part_of != fold)), everyone.subset(np.flatnonzero(part_of == fold))
    order = np.random.default_rng([cell.seed, 18]).permutation(len(seen))
    count = round(VALIDATION * len(seen))
    return Sets(seen.subset(order[count:]), seen.subset(order[:count]), test)


def chosen_by_share(outcomes: np.ndarray, share: float) -> np.ndarray:
    """Numbers of as many cases as there can be with this share of responders, the first ones of either class; ascending.

    The count is the same for a share and for one minus it if the classes are equally many; a pool of EACH with half responders gives
    EACH / 2 / max(share, 1 - share).
    """
    members = [np.flatnonzero(np.asarray(outcomes) == label) for label in (0, 1)]
    total = int(min(len(members[0]) / (1 - share), len(members[1]) / share))
    responders = round(total * share)
    return np.sort(np.concatenate([members[1][:responders], members[0][:total - responders]]))


def _joined(parts: list[Cases]) -> Cases:
    return Cases(*(tuple(item for one in parts for item in getattr(one, name)) for name in ("scans", "outlines", "facts")))
