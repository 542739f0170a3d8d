"""One case and one method: every number that the verdict rests on. Plain JSON, so that it can be kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from MRDeltaNetLib.cohort.verifying import ordering, steadiness
from MRDeltaNetLib.cohort.verifying.agreement import rank_correlation, structural_similarity
from MRDeltaNetLib.cohort.verifying.randomising import Fresh, cascade, randomised
from MRDeltaNetLib.cohort.verifying.truth import Blob, localisation
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.response.attribution import METHODS, Readout, attribute
from MRDeltaNetLib.response.attribution.readout import VISITS, Maps, logit_of
from MRDeltaNetLib.response.attribution.regions import SHELL_MM, shells

if TYPE_CHECKING:
    import torch

NOT_FINITE = "MRD-E725"


@dataclass(frozen=True)
class Subject:
    """One case as every test wants it.

    x         (2, 2, depth, height, width) float32
    readout   what the logit means;  p_pcr  the network's answer, 0 to 1;  toward  the class that it favours
    right     whether that is the outcome; None where the outcome is not known
    regions   visit -> the outline and its shell of SHELL_MM, bool (depth, height, width): where maps are judged
    blob      residual tumour on the crop; None without any
    outlines  other outlines of the case, see steadiness.variants
    seed      of everything random about this case
    """

    x: "torch.Tensor"
    readout: Readout
    p_pcr: float
    toward: str
    right: bool | None
    regions: Mapping[str, np.ndarray]
    blob: Blob | None = None
    outlines: Mapping[str, np.ndarray] = field(default_factory=dict)
    seed: int = 0


def subject_of(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, outcome: int | None = None, residual: np.ndarray | None = None,
               outlines: Mapping[str, np.ndarray] | None = None, seed: int = 0) -> Subject:
    """outcome: 1 pCR, 0 not, None not known; residual: bool (depth, height, width), None without any.

    raises  InputError MRD-E722 if an outline is empty on the crop
    """
    spacing, logit = network.geometry.spacing_mm, logit_of(network, x)
    toward = readout.toward(logit)
    regions = {visit: ~shells(x, time, spacing, SHELL_MM)["elsewhere"] for time, visit in enumerate(VISITS)}
    return Subject(x, readout, readout.p_pcr(logit), toward, None if outcome is None else (toward == "pCR") == bool(outcome), regions,
                   None if residual is None else Blob.of(residual, spacing), outlines or {}, seed)


def maps_of(key: str, network: "torch.nn.Module", subject: Subject, x: "torch.Tensor | None" = None, progress: Progress = silent) -> Maps | None:
    """A method's maps towards the class that the network favours on the case as it is: larger where more speaks for that class.

    x        the case in another state; None: as it is
    returns  None where the map is not finite, which a network with new weights may do
    """
    method = METHODS[key]
    try:
        found = attribute(key, network, subject.x if x is None else x, readout=subject.readout, toward=subject.toward, progress=progress).maps
    except InputError as refusal:
        if refusal.code != NOT_FINITE:
            raise
        return None
    turned = method.signed and not method.directed and subject.toward != "pCR"
    return {visit: -values if turned else values for visit, values in found.items()}


def answer(key: str, network: "torch.nn.Module", subject: Subject, progress: Progress = silent) -> dict[str, Any]:
    """Deletion, insertion and localisation of one map. Keys: those of ordering.curves; "pointing" (truth.localisation, or None without a tumour)."""
    maps = maps_of(key, network, subject, progress=part(progress, 0.0, 0.5))
    if maps is None:
        return {"finite": False}
    found = ordering.pieces(subject.regions, network.geometry.spacing_mm)
    order = ordering.order_of(maps, found, subject.seed)
    said = ordering.curves(network, subject.x, subject.readout, subject.toward, found, order, progress=part(progress, 0.5, 1.0))
    pointing = localisation(maps["post"], subject.regions["post"], subject.blob, subject.seed) if subject.blob is not None and "post" in maps else None
    return {"finite": True, **said, "pointing": pointing}


def by_chance(network: "torch.nn.Module", subject: Subject, orders: int, progress: Progress = silent) -> dict[str, Any]:
    """What needs no map: the case's facts, curves in random orders (means of `orders`), and what pointing reaches by chance."""
    found = ordering.pieces(subject.regions, network.geometry.spacing_mm)
    runs = []
    for number, order in enumerate(ordering.random_orders(orders, found, subject.seed)):
        bar = part(progress, number / orders, (number + 1) / orders)
        runs.append(ordering.curves(network, subject.x, subject.readout, subject.toward, found, order, progress=bar))
    return {"p_pcr": subject.p_pcr, "toward": subject.toward, "right": subject.right, "pieces": len(found),
            **{name: np.mean([run[name] for run in runs], 0).tolist() for name in runs[0]},
            "chance": None if subject.blob is None else subject.blob.chance(subject.regions["post"])}


def repeated(key: str, network: "torch.nn.Module", fresh: Fresh, subject: Subject, randomisations: int, progress: Progress = silent) -> dict[str, Any]:
    """The map of the same case again, many times.

    returns  "cascade": one a randomisation, stage -> alike(); of the first every stage, of the others the last alone, with which nothing is left
             "shift", "outline": variant -> rank correlation, mean over visits
    """
    original = maps_of(key, network, subject)
    if original is None:
        return {"finite": False}
    several = list(steadiness.variants(subject.x, subject.outlines, network.geometry.spacing_mm))
    seeds, first = [subject.seed + number for number in range(randomisations)], 0.4
    found: list[dict[str, Any]] = []
    for number, seed in enumerate(seeds):
        bar = part(progress, first * number / len(seeds), first * (number + 1) / len(seeds))
        bar(0.0, f"{METHODS[key].label}: weights randomised, {number + 1} of {len(seeds)}")
        changed = cascade(network, fresh, seed) if number == 0 else [("all", randomised(network, fresh, seed))]
        found.append({stage: alike(original, maps_of(key, other, subject, progress=_heard(bar)), subject, network.geometry.spacing_mm)
                      for stage, other in changed})
    steady: dict[str, dict[str, float | None]] = {"shift": {}, "outline": {}}
    for number, (kind, name, x) in enumerate(several):
        bar = part(progress, first + (1 - first) * number / len(several), first + (1 - first) * (number + 1) / len(several))
        bar(0.0, f"{METHODS[key].label}: case changed a little, {number + 1} of {len(several)}")
        maps = maps_of(key, network, subject, x, progress=bar)
        if kind == "shift" and maps is not None:
            maps = {visit: steadiness.moved_back(values, name, network.geometry.spacing_mm) for visit, values in maps.items()}
        steady[kind][name] = correlation(original, maps, subject, absolute=False)
    return {"finite": True, "cascade": found, **steady}


def alike(original: Maps, other: Maps | None, subject: Subject, spacing_mm: tuple[float, float, float]) -> dict[str, float | None]:
    """"spearman" and "ssim" of |map|, mean over visits; None where the other map is empty or not finite."""
    spearman = correlation(original, other, subject, absolute=True)
    if spearman is None:
        return {"spearman": None, "ssim": None}
    return {"spearman": spearman, "ssim": float(np.mean([structural_similarity(np.abs(original[visit]), np.abs(other[visit]), subject.regions[visit], spacing_mm)
                                                         for visit in original]))}


def correlation(original: Maps, other: Maps | None, subject: Subject, *, absolute: bool) -> float | None:
    """Rank correlation inside each visit's region, mean over the visits where both maps have an order; None where there is none."""
    if other is None:
        return None
    taken = [[np.abs(maps[visit])[subject.regions[visit]] if absolute else maps[visit][subject.regions[visit]] for maps in (original, other)] for visit in original]
    found = [value for pair in taken if (value := rank_correlation(*pair)) is not None]
    return float(np.mean(found)) if found else None


def of_shuffled(key: str, network: "torch.nn.Module", shuffled: "torch.nn.Module", subject: Subject, progress: Progress = silent) -> dict[str, Any]:
    """The map of a network that was trained on shuffled labels, beside the network's own."""
    original = maps_of(key, network, subject, progress=part(progress, 0.0, 0.5))
    if original is None:
        return {"finite": False}
    return {"finite": True, **alike(original, maps_of(key, shuffled, subject, progress=part(progress, 0.5, 1.0)), subject, network.geometry.spacing_mm)}


def _heard(progress: Progress) -> Progress:
    """A step that can be cancelled, but does not move the bar."""
    return lambda done, message: progress(0.0, message)
