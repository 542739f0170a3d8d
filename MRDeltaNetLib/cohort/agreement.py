"""Two readers over a cohort: every pair of outlines compared, and how well the readers agree, with intervals by patient.

Written into the output folder: pairs.csv (a row a pair), agreement.json (the numbers), agreement.md (the same for people), bland_altman.png, and
failures.csv with the rows that could not be read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort.agreement_figure import FIGURE, draw
from MRDeltaNetLib.cohort.agreement_statistics import LEAST_PATIENTS, RESAMPLES, icc_2_1, interval, limits_of_agreement
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import EnvironmentProblem, MRDeltaNetError, Notice, PartialFailure
from MRDeltaNetLib.imaging.agreement import BOTH, DRAWN, Agreement, agreement
from MRDeltaNetLib.io import drawings
from MRDeltaNetLib.io.agreement_table import ROLES, Pair, Pairs
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, output_problem, write_text
from MRDeltaNetLib.io.images import read_image, read_told_mask
from MRDeltaNetLib.io.results import RESEARCH_USE
from MRDeltaNetLib.io.tables import write_csv
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.versions import versions

PAIRS, NUMBERS, PAGE, FAILURES = "pairs.csv", "agreement.json", "agreement.md", "failures.csv"
OWN_FILES = frozenset({PAIRS, NUMBERS, PAGE, FAILURES, FIGURE})
SCHEMA = "mrdeltanet.agreement/1"

PAIR_COLUMNS = ("line", "id", "role", "drawn", "dice", "hd95_mm", "volume_a_ml", "volume_b_ml", "volume_difference_ml", "volume_difference_percent", "warnings")
FAILURE_COLUMNS = ("line", "id", "code", "what", "found", "fix")
TITLES = {"pre": "Tumour before treatment", "post": "Tumour bed after treatment", "residual": "Residual viable tumour"}

DEFINITIONS = {
    "dice": "2 |A and B| / (|A| + |B|); pairs in which both readers drew something",
    "hd95_mm": "95th percentile Hausdorff distance, mm: distances from each border voxel's centre of one outline to the nearest of the other, 95th percentile "
               "by linear interpolation, the larger of both directions; pairs in which both readers drew something",
    "volume_difference_ml": "B minus A, mL; every pair, an empty outline counts as 0 mL; limits of agreement are mean plus and minus 1.96 standard deviations",
    "icc": "ICC(2,1): two-way random effects, absolute agreement, single measures (Shrout and Fleiss 1979); every pair, an empty outline counts as 0 mL; ci from "
           "the F distribution, bootstrap_ci over patients",
    "volume_change_percent": "change of the volume from the tumour before treatment to the bed after it, each reader's own, %; patients with both "
                             "outlines of both readers",
    "drawn": "pairs with an empty outline have no Dice and no distance: two empty outlines neither agree by overlap nor disagree, and one empty outline is another "
             "kind of disagreement; both are counted instead",
    "ci": f"95 %, percentile bootstrap of {RESAMPLES} resamples of patients; null with fewer than {LEAST_PATIENTS} patients",
}


@dataclass(frozen=True)
class Compared:
    """One row that was compared."""

    row: Pair
    found: Agreement
    notices: tuple[Notice, ...]


def compare_readers(pairs: Pairs, out: Path | str, *, seed: int = 0, limits: GateLimits = GateLimits(), progress: Progress = silent) -> dict[str, Any]:
    """Compare every pair, write everything, and return what agreement.json holds.

    seed    of the bootstrap
    raises  EnvironmentProblem MRD-E492 for a folder with other files; PartialFailure MRD-E491 if rows could not be compared: all else is written then
    """
    out = _folder(Path(out))
    compared, failures = [], []
    for index, row in enumerate(pairs.rows):
        progress(index / len(pairs.rows), f"Comparing outline {index + 1} of {len(pairs.rows)}")
        try:
            compared.append(_compared(row, limits))
        except MRDeltaNetError as error:
            failures.append({"line": row.line, "id": row.id, "code": error.code, "what": error.what, "found": error.found, "fix": error.fix})
    numbers = {"schema": SCHEMA, "intended_use": RESEARCH_USE, "table_sha256": pairs.sha256, "seed": seed, "rows": len(pairs.rows), "failed": len(failures),
               "definitions": DEFINITIONS, "outlines": summarise(compared, seed=seed), "versions": versions()}
    write_csv(out / PAIRS, map(_row, compared), PAIR_COLUMNS)
    write_csv(out / FAILURES, failures, FAILURE_COLUMNS)
    if compared:
        draw(out / FIGURE, {TITLES[role]: [(entry.found.volume_a_ml, entry.found.volume_b_ml) for entry in compared if entry.row.role == role] for role in ROLES})
    write_text(out / PAGE, page(numbers))
    write_text(out / NUMBERS, json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    progress(1.0, "Done")
    if failures:
        raise PartialFailure(f"{len(failures)} of {len(pairs.rows)} pairs of outlines could not be compared; all others are done", code="MRD-E491",
                             found=", ".join(sorted({failure["code"] for failure in failures})),
                             fix=f"{FAILURES} in the output folder gives line, reason and remedy of each; after mending them, run the same command again")
    return numbers


def summarise(compared: Sequence[Compared], *, seed: int = 0) -> dict[str, Any]:
    """Role -> counts, Dice, distance, volume difference, ICC; and the change of volume where readers drew both visits."""
    found: dict[str, Any] = {}
    for role in ROLES:
        rows = [entry.found for entry in compared if entry.row.role == role]
        if rows:
            found[role] = _summary(rows, seed)
    if change := _changes(compared):
        found["volume_change_percent"] = {"patients": len(change), **_volumes(change, seed, unit="percentage points")}
    return found


def _compared(row: Pair, limits: GateLimits) -> Compared:
    visit = "pre" if row.role == "pre" else "post"
    scan = read_image(row.scan, series=row.scan_series, limits=limits, role=visit)
    masks, notices = [], []
    for reader, path, label in (("A", row.mask_a, row.label_a), ("B", row.mask_b, row.label_b)):
        told = read_told_mask(path, scan.image, role=f"reader {reader}'s outline", label=label, may_be_empty=True, limits=limits, frame_uid=scan.frame_uid)
        masks.append(told.image)
        notices += (*told.notices, *drawings.unedited(drawings.program_told(told), told.image, f"reader {reader}'s outline"))
    return Compared(row, agreement(*masks), tuple(notices))


def _row(entry: Compared) -> dict[str, Any]:
    found = asdict(entry.found)
    renamed = {"volume_difference_ml": found.pop("difference_ml"), "volume_difference_percent": found.pop("difference_percent")}
    return {"line": entry.row.line, "id": entry.row.id, "role": entry.row.role, **found, **renamed,
            "warnings": " ".join(sorted({notice.code for notice in entry.notices}))}


def _summary(rows: Sequence[Agreement], seed: int) -> dict[str, Any]:
    both = [row for row in rows if row.drawn == BOTH]
    counts = {f"{name.replace(' ', '_').lower()}": sum(row.drawn == name for row in rows) for name in DRAWN}
    return {"patients": len(rows), "drawn": counts, "dice": _spread([row.dice for row in both], seed), "hd95_mm": _spread([row.hd95_mm for row in both], seed),
            **_volumes([(row.volume_a_ml, row.volume_b_ml) for row in rows], seed, unit="ml")}


def _spread(values: Sequence[float], seed: int) -> dict[str, Any]:
    if not values:
        return {"n": 0, "mean": None, "mean_ci": None, "median": None, "median_ci": None, "lowest": None, "highest": None}
    mean, median = (lambda sample: float(np.mean(sample))), (lambda sample: float(np.median(sample)))
    return {"n": len(values), "mean": mean(values), "mean_ci": interval(values, mean, seed=seed), "median": median(values),
            "median_ci": interval(values, median, seed=seed), "lowest": min(values), "highest": max(values)}


def _volumes(pairs: Sequence[tuple[float, float]], seed: int, *, unit: str) -> dict[str, Any]:
    """Difference B minus A with limits of agreement, and ICC(2,1), of (A, B)."""
    differences = [b - a for a, b in pairs]
    found = limits_of_agreement(differences)
    limits = None if found.lower is None else [found.lower, found.upper]
    part = lambda name: interval(pairs, lambda sample: getattr(limits_of_agreement([b - a for a, b in sample]), name), seed=seed)
    icc = icc_2_1(np.array(pairs)) if len(pairs) > 1 else None
    return {"volume_difference": {"unit": unit, "n": len(pairs), "mean": found.bias, "mean_ci": part("bias"), "sd": found.sd, "limits_of_agreement": limits,
                                  "lower_limit_ci": part("lower"), "upper_limit_ci": part("upper")},
            "icc": {"n": len(pairs), "value": None if icc is None else icc.value,
                    "ci": None if icc is None or icc.lower is None else [icc.lower, icc.upper], "bootstrap_ci": interval(pairs, _icc_of, seed=seed)}}


def _icc_of(sample: Sequence[tuple[float, float]]) -> float | None:
    return icc_2_1(np.array(sample)).value


def _changes(compared: Sequence[Compared]) -> list[tuple[float, float]]:
    """Each reader's change of volume, %, of the patients whose tumour and bed both readers drew."""
    by_role: dict[str, dict[str, Agreement]] = {role: {entry.row.id: entry.found for entry in compared if entry.row.role == role and entry.found.drawn == BOTH}
                                                for role in ("pre", "post")}
    return [tuple(100 * (getattr(by_role["post"][patient], name) / getattr(before, name) - 1) for name in ("volume_a_ml", "volume_b_ml"))
            for patient, before in by_role["pre"].items() if patient in by_role["post"]]


def page(numbers: Mapping[str, Any]) -> str:
    """agreement.json as a page in Markdown."""
    lines = ["# Agreement of two readers", "", f"{numbers['rows'] - numbers['failed']} of {numbers['rows']} pairs of outlines were compared. {RESEARCH_USE}", "",
             "| outline | patients | both drew | both empty | one drew | Dice, median (95 %) | HD95, median (95 %), mm | volume B - A, mean (limits), mL | ICC(2,1) of volume (95 %) |",
             "|---|---|---|---|---|---|---|---|---|"]
    for role in ROLES:
        if role in numbers["outlines"]:
            found = numbers["outlines"][role]
            drawn = found["drawn"]
            lines.append(f"| {TITLES[role]} | {found['patients']} | {drawn['both_drew']} | {drawn['both_empty']} | {drawn['only_a_drew'] + drawn['only_b_drew']} | "
                         + " | ".join((_with(found["dice"]["median"], found["dice"]["median_ci"], 2), _with(found["hd95_mm"]["median"], found["hd95_mm"]["median_ci"], 1),
                                       _difference(found["volume_difference"]), _with(found["icc"]["value"], found["icc"]["ci"], 2))) + " |")
    if change := numbers["outlines"].get("volume_change_percent"):
        lines += ["", f"Change of volume, {change['patients']} patients: B - A {_difference(change['volume_difference'])} percentage points, "
                  f"ICC(2,1) {_with(change['icc']['value'], change['icc']['ci'], 2)}."]
    if numbers["rows"] > numbers["failed"]:
        lines += ["", f"![Bland-Altman plots of the volumes]({FIGURE})"]
    return "\n".join([*lines, "", "## What the numbers are", "", *(f"- **{name}**: {meaning}." for name, meaning in numbers["definitions"].items()), ""])


def _with(value: float | None, ci: Sequence[float] | None, digits: int) -> str:
    if value is None:
        return "not defined"
    return f"{value:.{digits}f}" + ("" if ci is None else f" ({ci[0]:.{digits}f} to {ci[1]:.{digits}f})")


def _difference(found: Mapping[str, Any]) -> str:
    if found["mean"] is None:
        return "not defined"
    return f"{found['mean']:+.1f}" + ("" if found["limits_of_agreement"] is None else " ({:+.1f} to {:+.1f})".format(*found["limits_of_agreement"]))


def _folder(out: Path) -> Path:
    try:
        if out.is_dir() and any(entry.name not in OWN_FILES and not entry.name.startswith(TEMPORARY_PREFIX) for entry in out.iterdir()):
            raise EnvironmentProblem("The output folder holds other files", code="MRD-E492", fix="choose a new or empty folder, so that nothing of yours is overwritten")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise output_problem(problem) from problem
    return out
