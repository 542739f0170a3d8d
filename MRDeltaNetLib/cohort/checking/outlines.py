"""What the masks of a table look like on their scans: every check of a run that needs no alignment, told by line."""

from __future__ import annotations

from MRDeltaNetLib.cohort.checking.counts import Findings
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, Notice
from MRDeltaNetLib.imaging.outline_place import check_place
from MRDeltaNetLib.io.cases import inspect
from MRDeltaNetLib.io.cohort_table import Row
from MRDeltaNetLib.io.cohort_table.problems import named_lines
from MRDeltaNetLib.io.jobs import job_from_mapping
from MRDeltaNetLib.progress import Progress, silent

NEEDLESS = frozenset({"MRD-W330", "MRD-W331"})
"""Warnings of a pair that a whole table of image files has in every line, and that are not about its masks."""


def check_outlines(rows: tuple[Row, ...], limits: GateLimits = GateLimits(), progress: Progress = silent) -> Findings:
    """Read both scans and every mask of each row, which takes seconds a row.

    returns  a line; warnings, one a code with the lines that it is about; refusals, one a line and code
    """
    told: dict[str, list[tuple[int, Notice]]] = {}
    errors: list[MRDeltaNetError] = []
    wanted = [row for row in rows if "pre" in row.files and "post" in row.files]
    for index, row in enumerate(wanted):
        progress(index / len(wanted), f"Looking at patient {index + 1} of {len(wanted)}")
        found = inspect(job_from_mapping({**row.options, **{name: str(path) for name, path in row.files.items()}, "out": ".", "mrtrg": row.mrtrg,
                                          "complete_response": row.complete_response}), limits, look=check_place)
        for notice in {notice.code: notice for notice in found.notices}.values():
            if notice.code not in NEEDLESS:
                told.setdefault(notice.code, []).append((row.line, notice))
        errors += [InputError(f"Line {row.line}: {error.what}", code=error.code, found=error.found, fix=error.fix) for error in found.errors]
    return [f"Scans and masks read: {len(wanted)} of {len(rows)} patients"], [_together(about) for _, about in sorted(told.items())], errors


def _together(about: list[tuple[int, Notice]]) -> Notice:
    """One warning for all lines of a code: in the words of the first."""
    first = about[0][1]
    if len(about) == 1:
        return Notice(first.code, f"Line {about[0][0]}: {first.text}", first.fix)
    return Notice(first.code, f"{named_lines(line for line, _ in about).capitalize()}; in line {about[0][0]}: {first.text}", first.fix)
