"""Patients in groups, by a column: its categories, or where its numbers are cut."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.evaluation import Omission

SECTION = "heterogeneity"
KNOWN = {"scanner": {"scanner", "manufacturer", "vendor"}, "sex": {"sex", "gender"}, "age": {"age"}, "stage": {"stage", "ct", "cn"}}
"""What studies are told apart by, beside the centre, and the words in a column's name that say so."""
CATEGORIES_AT_MOST = 6
"""Numbers with so few different values, all whole, are categories such as a stage; others are cut."""


@dataclass(frozen=True)
class Grouping:
    """One column as groups.

    column  its name; labels: of the groups, in order; group: (m,) object, the label of each case, None where the column is empty
    """

    column: str
    labels: tuple[str, ...]
    group: np.ndarray


def groupings(subset: Subset, places: np.ndarray, omissions: list[Omission]) -> list[Grouping]:
    """The groupings of config.subgroups, or of what studies are told apart by, of the cases at `places` (m,); those with one group are left out."""
    found = []
    for column in _columns(subset):
        if column not in subset.frame.columns:
            omissions.append(Omission(SECTION, f"groups of {column}", "there is no such column", "correct `subgroups`"))
            continue
        grouping = _grouping(subset, column, places)
        if len(grouping.labels) < 2:
            omissions.append(Omission(SECTION, f"groups of {column}", f"{len(grouping.labels)} group has cases", "choose another column in `subgroups`"))
            continue
        if (empty := sum(label is None for label in grouping.group)):
            omissions.append(Omission(SECTION, f"{empty} cases in groups of {column}", "the column is empty there", "fill it in"))
        found.append(grouping)
    if not found:
        omissions.append(Omission(SECTION, "groups", "no column splits the cases into groups", "add centre, scanner, sex, age or stage, or name columns in `subgroups`"))
    return found


def _columns(subset: Subset) -> list[str]:
    if subset.config.subgroups is not None:
        return list(subset.config.subgroups)
    centre = [subset.config.centre] if subset.config.centre in subset.frame.columns else []
    words = {column: set(re.split("[^a-z0-9]+", column.lower())) for column in subset.clinical}
    return centre + [column for names in KNOWN.values() for column in subset.clinical if words[column] & names and column not in centre]


def _grouping(subset: Subset, column: str, places: np.ndarray) -> Grouping:
    values = subset.frame[column].to_numpy()[places]
    if values.dtype == object:
        group = np.array([None if _empty(value) else str(value) for value in values], dtype=object)
        return Grouping(column, tuple(sorted({label for label in group if label is not None})), group)
    numbers = values.astype(float)
    there = np.unique(numbers[np.isfinite(numbers)])
    if column not in subset.config.cuts and len(there) <= CATEGORIES_AT_MOST and (there == there.round()).all():
        group = np.array([f"{value:g}" if np.isfinite(value) else None for value in numbers], dtype=object)
        return Grouping(column, tuple(f"{value:g}" for value in there), group)
    return _cut(column, numbers, _cut_points(subset, column, numbers))


def _cut_points(subset: Subset, column: str, numbers: np.ndarray) -> list[float]:
    """Those of the config, else the median: of the training cases where there are any, so that all sets are cut alike."""
    if column in subset.config.cuts:
        return sorted({float(cut) for cut in subset.config.cuts[column]})
    source = numbers
    if subset.training is not None and column in subset.training.frame.columns:
        taught = subset.training.frame[column].to_numpy()
        source = taught if taught.dtype != object and np.isfinite(taught.astype(float)).any() else numbers
    return [float(np.nanmedian(np.asarray(source, dtype=float)))] if np.isfinite(np.asarray(source, dtype=float)).any() else []


def _cut(column: str, numbers: np.ndarray, points: list[float]) -> Grouping:
    """Groups below the first point, from each point to below the next, and from the last point on."""
    if not points:
        return Grouping(column, (), np.full(len(numbers), None, dtype=object))
    names = [f"< {points[0]:g}", *(f"{low:g} to < {high:g}" for low, high in zip(points, points[1:])), f"≥ {points[-1]:g}"]
    place = np.searchsorted(points, numbers, side="right")
    group = np.array([names[at] if np.isfinite(number) else None for at, number in zip(place, numbers)], dtype=object)
    return Grouping(column, tuple(name for name in names if (group == name).any()), group)


def _empty(value: object) -> bool:
    return value is None or value != value
