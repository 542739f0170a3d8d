"""Values that can be but hardly are: the arithmetic that a critical reader does with a table, done before anything is trained on it."""

from __future__ import annotations

import math
from datetime import date
from typing import Any, Callable, Iterable, Mapping

import numpy as np

from MRDeltaNetLib.cohort.checking.counts import Findings
from MRDeltaNetLib.cohort.statistics import auc_with_ci
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.io.cohort_table import Cohort, Column, Row
from MRDeltaNetLib.io.cohort_table.problems import named_lines
from MRDeltaNetLib.io.cohort_table.values import UNIT_FACTORS
from MRDeltaNetLib.io.tables import short

FAR = 4.5
"""Robust standard deviations (1.4826 times the median absolute deviation) from the median, on the linear and the logarithmic scale."""

NEAR = 2.5
"""A value that lies so near to the median once its unit is changed was probably in the other unit."""

MIN_VALUES = 10
WOMEN_SHARE = 288_852 / 732_210
"""Share of women among new cancers of the rectum, world, 2020 (Sung et al., GLOBOCAN 2020, CA Cancer J Clin 2021;71:209-249)."""

FEMALE = frozenset({"f", "female", "w", "woman", "women"})
Z_CLEAR = 3.0
"""Standard errors from which a difference of shares is told."""

GIVES_AWAY_AUC = 0.99
MANY_MISSING = 0.3
MEDIAN_VOLUME_ML = (1.0, 300.0)
"""Where the median volume of rectal tumours before treatment lies in any cohort; outside, the unit is probably another one."""

BED_GROWTH = GateLimits.max_growth_ratio
"""A tumour bed of more than this many times the tumour is not what the mask was meant to show."""


def check_plausibility(cohort: Cohort, limits: GateLimits = GateLimits()) -> Findings:
    """Look at clinical values, dates, intervals and volumes.

    returns  a line a column; warnings MRD-W434 to W438, W443 to W448, W450; nothing is refused here
    """
    rows = cohort.rows
    lines, notices = [], []
    for name, column in cohort.dictionary.items():
        known = [row for row in rows if row.clinical.get(name) is not None]
        if column.role in ("number", "category"):
            lines.append(f"{short(name)}: {len(known)} of {len(rows)} known" + _described(known, name, column))
            notices += _unknown(rows, name)
            notices += _stated(known, name, column)
            notices += _says_nothing(rows, known, name) + _gives_away(known, name, column)
        if column.role == "number":
            notices += _heap(known, name) + _far_values(known, name) + _units_of_centres(known, name)
        if column.role == "category" and (women := {c for c in column.categories if c.casefold() in FEMALE}):
            notices += _sexes(known, name, women)
    notices += _intervals(rows, limits) + _future(rows) + _entered_twice(cohort)
    volume_lines, volume_notices = _volumes(rows)
    return lines + volume_lines + _grades(rows), notices + volume_notices, []


def _grades(rows: tuple[Row, ...]) -> list[str]:
    """The readers' mrTRG: how many there are, and what they alone say about the outcome (a low grade means little tumour)."""
    known = [row for row in rows if row.mrtrg is not None]
    if not known:
        return []
    line = f"mrTRG by readers: {len(known)} of {len(rows)} known"
    judged = [row for row in known if row.outcome is not None]
    outcome = np.array([row.outcome for row in judged])
    if judged and min((outcome == 1).sum(), (outcome == 0).sum()) >= 5:
        line += "; alone AUC {:.2f} (95 % interval {:.2f} to {:.2f})".format(*auc_with_ci(outcome, [-row.mrtrg for row in judged]))
    return [line]


def _described(known: list[Row], name: str, column: Column) -> str:
    if not known:
        return ""
    if column.role == "category":
        return ": " + ", ".join(f"{short(c)} {sum(row.clinical[name] == c for row in known)}" for c in column.categories)
    low, first, median, third, high = np.percentile(_values(known, name), (0, 25, 50, 75, 100))
    return f"; median {median:.4g} (quartiles {first:.4g} to {third:.4g}, range {low:.4g} to {high:.4g})" + (f" {short(column.unit)}" if column.unit else "")


def _values(known: Iterable[Row], name: str) -> np.ndarray:
    return np.array([row.clinical[name] for row in known], dtype=float)


def _heap(known: list[Row], name: str) -> list[Notice]:
    """A median on a quartile: a quarter of the patients share one value, as after filling in unknown ones."""
    values = _values(known, name)
    if len(values) < 2 * MIN_VALUES or len(np.unique(values)) < MIN_VALUES:
        return []
    first, median, third = np.percentile(values, (25, 50, 75))
    if median not in (first, third):
        return []
    return [Notice("MRD-W434", f"The median of '{short(name)}' equals a quartile: {int((values == median).sum())} of {len(values)} patients have the value {median:g}",
                   fix="see whether that value was filled in where none was known; leave those cells empty")]


def _far_values(known: list[Row], name: str) -> list[Notice]:
    """Values far from all others; those that another unit would bring back are told as such."""
    values = _values(known, name)
    if len(values) < MIN_VALUES:
        return []
    distance = _distances(values)
    far = np.flatnonzero(distance(values) > FAR)
    mixed = {index: factor for index in far for factor in UNIT_FACTORS
             if min(distance(values[index] * factor), distance(values[index] / factor)) < NEAR}
    notices = []
    for factor, words in UNIT_FACTORS.items():
        if lines := [known[index].line for index, first in mixed.items() if first == factor]:
            notices.append(Notice("MRD-W437", f"Values of '{short(name)}' differ from the others about {words} ({named_lines(lines)})",
                                  fix="see unit and decimal point of these values, and bring all to the unit of the data dictionary"))
    for index in [index for index in far if index not in mixed][:5]:
        notices.append(Notice("MRD-W436", f"Line {known[index].line}, column '{short(name)}': {values[index]:g} lies far from all other values "
                              f"(median {np.median(values):.4g})", fix="see unit and decimal point; keep the value if it is right"))
    return notices


def _distances(values: np.ndarray) -> Callable[[Any], Any]:
    """Distance from the median in robust standard deviations: the smaller of the linear and, for positive values, the logarithmic one."""
    scales = [lambda v: np.asarray(v, dtype=float)]
    if (values > 0).all():
        scales.append(lambda v: np.log(np.asarray(v, dtype=float)))
    centres = [(scale, np.median(scale(values))) for scale in scales]
    spreads = [(scale, centre, 1.4826 * np.median(np.abs(scale(values) - centre))) for scale, centre in centres]
    if any(spread == 0 for _, _, spread in spreads):
        return lambda v: np.zeros_like(np.asarray(v, dtype=float))        # half of the values are one value: no scale to judge by
    return lambda v: np.min([np.abs(scale(v) - centre) / spread for scale, centre, spread in spreads], axis=0)


def _units_of_centres(known: list[Row], name: str) -> list[Notice]:
    """Centres that wrote a value in another unit: their middle is a unit's factor away, and the middle 80 % do not overlap."""
    notices = []
    for centre in sorted({row.centre for row in known if row.centre is not None}):
        own, others = (_values((row for row in known if (row.centre == centre) == inside), name) for inside in (True, False))
        if min(len(own), len(others)) < 5 or min(own.min(), others.min()) <= 0:
            continue
        (low, middle, high), (other_low, other_middle, other_high) = (np.percentile(v, (10, 50, 90)) for v in (own, others))
        ratio = max(middle / other_middle, other_middle / middle)
        word = next((words for factor, words in UNIT_FACTORS.items() if abs(math.log(ratio / factor)) < math.log(1.15)), None)
        if word and (low > other_high or high < other_low):
            notices.append(Notice("MRD-W437", f"The values of '{short(name)}' of centre {short(centre)} differ from the others' about {word}: "
                                  f"median {middle:.4g} against {other_middle:.4g}", fix="see in which unit that centre wrote them, and bring all to one unit"))
    # two centres: each is "the other" of the other one, and one notice is enough
    return notices[:1] if len({row.centre for row in known}) == 2 else notices


def _sexes(known: list[Row], name: str, women: set[str]) -> list[Notice]:
    """Shares of women that look as if the two codes were swapped, in all or in one set or centre."""
    female = np.array([row.clinical[name] in women for row in known])
    if len(female) < 3 * MIN_VALUES:
        return []
    share = female.mean()
    if (share - 0.5) / math.sqrt(0.25 / len(female)) > Z_CLEAR:
        return [Notice("MRD-W435", f"{100 * share:.0f} % of the patients are women by '{short(name)}'; of people with rectal cancer {100 * WOMEN_SHARE:.0f} % are",
                       fix="see whether the two sexes are swapped")]
    notices = []
    for word, of in (("set", lambda row: row.set), ("centre", lambda row: row.centre)):
        for value in sorted({of(row) for row in known if of(row) is not None}):
            inside = np.array([of(row) == value for row in known])
            if min(inside.sum(), (~inside).sum()) < MIN_VALUES:
                continue
            own, rest = female[inside].mean(), female[~inside].mean()
            if own > rest and abs(own - (1 - rest)) < abs(own - rest) and _differ(female[inside], female[~inside]):
                notices.append(Notice("MRD-W435", f"{100 * own:.0f} % are women in {word} {short(value)}, {100 * rest:.0f} % elsewhere, by '{short(name)}'",
                                      fix="see whether the two sexes are swapped there"))
    return notices


def _differ(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two shares differ by more than Z_CLEAR standard errors (pooled two-proportion test)."""
    pooled = np.concatenate([first, second]).mean()
    error = math.sqrt(pooled * (1 - pooled) * (1 / len(first) + 1 / len(second)))
    return error > 0 and abs(first.mean() - second.mean()) / error > Z_CLEAR


def _stated(known: list[Row], name: str, column: Column) -> list[Notice]:
    """What the source states about a column, against itself and against the table."""
    stated: Mapping[str, Any] = column.stated
    wrong = []
    if "n" in stated and stated["n"] != len(known):
        wrong.append(f"{stated['n']:g} patients stated, {len(known)} in the table")
    first, median, third = (stated.get(key) for key in ("lower_quartile", "median", "upper_quartile"))
    if median is not None and ((first is not None and median < first) or (third is not None and median > third)):
        wrong.append("the stated median lies outside the stated quartiles")
    if column.role == "number" and known:
        own = dict(zip(("lower_quartile", "median", "upper_quartile"), np.percentile(_values(known, name), (25, 50, 75))))
        slack = 0.1 * (own["upper_quartile"] - own["lower_quartile"]) + 0.5      # quartiles have several definitions, and are printed rounded
        wrong += [f"{key.replace('_', ' ')} {stated[key]:g} stated, {own[key]:.4g} in the table" for key in own if key in stated and abs(stated[key] - own[key]) > slack]
    counts = stated.get("counts", {})
    if counts:
        own_counts = {c: sum(row.clinical[name] == c for row in known) for c in counts}
        if "n" in stated and set(counts) == set(column.categories) and sum(counts.values()) != stated["n"]:
            wrong.append(f"the stated counts add up to {sum(counts.values()):g}, not to {stated['n']:g}")
        if own_counts != counts:
            swapped = len(counts) == 2 and list(own_counts.values()) == list(counts.values())[::-1]
            wrong.append("the stated counts are those of the table with the two values swapped" if swapped else
                         "stated are " + ", ".join(f"{short(c)} {n:g}" for c, n in counts.items()) + "; the table has " + ", ".join(f"{short(c)} {n}" for c, n in own_counts.items()))
    return [Notice("MRD-W450", f"What is stated about '{short(name)}' does not hold: {text}", fix="find out which is right before you use either") for text in wrong]


def _unknown(rows: tuple[Row, ...], name: str) -> list[Notice]:
    missing = np.array([row.clinical.get(name) is None for row in rows])
    if 0 < missing.mean() <= MANY_MISSING:
        classes = [missing[[row.outcome == value for row in rows]] for value in (0, 1)]
        if min(len(c) for c in classes) < 5 or not _differ(*classes):
            return []
        return [Notice("MRD-W444", f"'{short(name)}' is unknown for {100 * classes[1].mean():.0f} % of pCR and {100 * classes[0].mean():.0f} % of non-pCR",
                       fix="see why: a model can learn from what is missing instead of from values")]
    if missing.mean() > MANY_MISSING and not missing.all():
        return [Notice("MRD-W444", f"'{short(name)}' is unknown for {int(missing.sum())} of {len(rows)} patients", fix="leave the column out, or find the values")]
    return []


def _says_nothing(rows: tuple[Row, ...], known: list[Row], name: str) -> list[Notice]:
    if len({row.clinical[name] for row in known}) > 1 or len(rows) < 5:
        return []
    return [Notice("MRD-W446", f"'{short(name)}' says nothing: " + ("one value for all patients" if known else "no value is known"), fix="leave the column out")]


def _gives_away(known: list[Row], name: str, column: Column) -> list[Notice]:
    """A clinical value known before treatment never tells the outcome: one that does was written after it."""
    rows = [row for row in known if row.outcome is not None]
    outcome = np.array([row.outcome for row in rows])
    if min((outcome == 1).sum(), (outcome == 0).sum()) < 5:
        return []
    if column.role == "number":
        auc = auc_with_ci(outcome, _values(rows, name))[0]
        tells = max(auc, 1 - auc) >= GIVES_AWAY_AUC
    else:
        groups = [{row.outcome for row in rows if row.clinical[name] == c} for c in {row.clinical[name] for row in rows}]
        tells = len(groups) <= len(rows) / 5 and all(len(group) == 1 for group in groups)
    return [Notice("MRD-W447", f"'{short(name)}' alone tells the outcome almost without error", fix="see that it was known before the outcome; if not, ignore the column")] if tells else []


def _intervals(rows: tuple[Row, ...], limits: GateLimits) -> list[Notice]:
    odd = [row.line for row in rows if row.interval_days is not None and not limits.min_interval_days <= row.interval_days <= limits.max_interval_days]
    if not odd:
        return []
    return [Notice("MRD-W438", f"The visits are less than {limits.min_interval_days} or more than {limits.max_interval_days} days apart "
                   f"({named_lines(odd)}, column 'interval_days' or the dates)", fix="see that these are the scans at staging and restaging")]


def _future(rows: tuple[Row, ...]) -> list[Notice]:
    today = date.today()
    return [Notice("MRD-W445", f"Line {row.line}, column '{short(name)}': the date lies in the future", fix="correct it")
            for row in rows for name, day in row.dates.items() if day > today][:10]


def _entered_twice(cohort: Cohort) -> list[Notice]:
    """Patients with the same clinical values, where these are many enough that chance does not do it."""
    names = [name for name, column in cohort.dictionary.items() if column.role in ("number", "category")]
    varied = [name for name in names if cohort.dictionary[name].role == "number"
              and len({row.clinical.get(name) for row in cohort.rows}) >= min(MIN_VALUES, max(len(cohort.rows) - 2, 2))]
    if len(varied) < 2 or len(names) < 4:
        return []
    seen: dict[tuple, Row] = {}
    notices = []
    for row in cohort.rows:
        values = tuple(row.clinical.get(name) for name in names)
        if None not in values and (other := seen.setdefault(values, row)) is not row:
            notices.append(Notice("MRD-W448", f"Lines {other.line} and {row.line} have the same values in all {len(names)} clinical columns",
                                  fix="see that one patient was not entered under two ids"))
    return notices[:10]


def _volumes(rows: tuple[Row, ...]) -> tuple[list[str], list[Notice]]:
    """Volumes that the table's author gives: against each other, their unit, and what their change alone says about the outcome."""
    pre = [row.volumes_ml["pre_volume_ml"] for row in rows if "pre_volume_ml" in row.volumes_ml]
    both = [row for row in rows if len(row.volumes_ml) == 2]
    notices, lines = [], []
    if zero := [row.line for row in rows if row.volumes_ml.get("pre_volume_ml") == 0]:
        notices.append(Notice("MRD-W443", f"The tumour has no volume before treatment ({named_lines(zero)}, column 'pre_volume_ml')", fix="leave unknown volumes empty"))
    if len(pre) >= MIN_VALUES and not MEDIAN_VOLUME_ML[0] <= np.median(pre) <= MEDIAN_VOLUME_ML[1]:
        notices.append(Notice("MRD-W443", f"The median tumour volume before treatment is {np.median(pre):.4g} mL, which no cohort of rectal cancer has",
                              fix="see the unit: 1 mL is 1 cm3 or 1000 mm3"))
    if grown := [row.line for row in both if row.volumes_ml["post_volume_ml"] > BED_GROWTH * row.volumes_ml["pre_volume_ml"] > 0]:
        notices.append(Notice("MRD-W443", f"The tumour bed is more than {BED_GROWTH:g} times as large as the tumour was ({named_lines(grown)}, column 'post_volume_ml')",
                              fix="see whether the visits are swapped, and what the mask shows"))
    if equal := [row.line for row in both if row.volumes_ml["post_volume_ml"] == row.volumes_ml["pre_volume_ml"]]:
        notices.append(Notice("MRD-W443", f"The volumes before and after treatment are equal ({named_lines(equal)}, column 'post_volume_ml')",
                              fix="see that one mask was not measured twice"))
    usable = [row for row in both if row.outcome is not None and row.volumes_ml["pre_volume_ml"] > 0]
    outcome = np.array([row.outcome for row in usable])
    if usable and min((outcome == 1).sum(), (outcome == 0).sum()) >= 5:
        shrunk = np.array([1 - row.volumes_ml["post_volume_ml"] / row.volumes_ml["pre_volume_ml"] for row in usable])
        auc, low, high = auc_with_ci(outcome, shrunk)
        lines.append(f"Shrinkage by the table's volumes alone: AUC {auc:.2f} (95 % interval {low:.2f} to {high:.2f}); a model has to do better than this")
        if high < 0.5:
            notices.append(Notice("MRD-W443", f"Tumours of complete responders shrink less than the others by these volumes (AUC {auc:.2f})",
                                  fix="see whether outcomes or visits are swapped"))
    return lines, notices
