"""What `mrdeltanet cohort check` tells about a table: everything that is refused, what is there, and what does not look right.

counts: sets, centres, folds, events; plausibility: clinical values, dates, volumes; files: masks and twins; outlines: the masks on their scans;
draft: a first data dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from MRDeltaNetLib.cohort.checking.counts import check_counts, enough_events, expected_auc_interval
from MRDeltaNetLib.cohort.checking.draft import DRAFT, write_dictionary
from MRDeltaNetLib.cohort.checking.files import check_files
from MRDeltaNetLib.cohort.checking.outlines import check_outlines
from MRDeltaNetLib.cohort.checking.plausibility import check_plausibility
from MRDeltaNetLib.config import GateLimits, ValidationConfig
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, Notice
from MRDeltaNetLib.io.cohort_table import Row, examine
from MRDeltaNetLib.progress import Progress, silent

__all__ = ["Report", "check_cohort", "enough_events", "expected_auc_interval", "write_dictionary"]


@dataclass(frozen=True)
class Report:
    """What a check of a cohort table tells.

    lines    what is in the table, in words
    notices  warnings
    errors   refusals, each with its remedy; empty if the table can be used
    """

    lines: tuple[str, ...]
    notices: tuple[Notice, ...]
    errors: tuple[MRDeltaNetError, ...]


def check_cohort(path: Path | str, limits: GateLimits = GateLimits(), validation: ValidationConfig = ValidationConfig(), *,
                 seed: int | None = None, require_outcome: bool = True, require_files: bool = True, images: bool = False,
                 progress: Progress = silent) -> Report:
    """Check a cohort table; nothing is written, and no image is read unless asked for (files of equal size are compared byte by byte).

    validation       its min_events are what a training would ask for
    seed             of a study's training: its folds are drawn too, and what it would refuse or warn about is told; None: not
    require_outcome  False for a table that is for prediction only
    require_files    False for a table whose images are not looked at
    images           whether every scan and mask is read and judged as a run would before its alignment, which takes seconds a row
    returns          Report; counts and values are those of the rows without a refusal. Whether events are enough is only judged when
                     every row can be read: those that cannot might be the missing ones
    """
    examined = examine(path, limits, require_outcome=require_outcome, require_files=require_files)
    if examined.cohort is None or not examined.cohort.rows:
        return Report((), examined.notices, examined.errors)
    cohort = examined.cohort
    complete = len(cohort.rows) == examined.total and not examined.errors
    first = f"{examined.total} patient{'' if examined.total == 1 else 's'}"
    if len(cohort.rows) < examined.total:
        first += f"; the numbers below are of the {len(cohort.rows)} without a refusal, and whether events are enough is told once all can be read"
    lines, notices, errors = [first], list(examined.notices), list(examined.errors)
    for part_lines, part_notices, part_errors in (check_counts(cohort.rows, validation, complete and require_outcome), check_plausibility(cohort, limits),
                                                  check_files(cohort.rows, require_files)):
        lines, notices, errors = lines + part_lines, notices + part_notices, errors + part_errors
    if images:
        part_lines, part_notices, part_errors = check_outlines(cohort.rows, limits, progress)
        lines, notices, errors = lines + part_lines, notices + part_notices, errors + part_errors
    if seed is not None and complete and require_outcome and not errors:
        more, refused = _folds(cohort.rows, validation, seed)
        notices, errors = notices + more, errors + refused
    if drafts := [name for name, column in cohort.dictionary.items() if column.meaning.startswith(DRAFT)]:
        notices.append(Notice("MRD-W449", f"The data dictionary is a draft for {len(drafts)} columns: {', '.join(drafts)}",
                              fix=f"write unit, range and meaning of each, and take the word '{DRAFT}' away"))
    return Report(tuple(lines), tuple(notices), tuple(errors))


def _folds(rows: tuple[Row, ...], validation: ValidationConfig, seed: int) -> tuple[list[Notice], list[InputError]]:
    """Warnings MRD-W775 to W779 and the refusal (MRD-E775, E779) of the folds that a training would draw; nothing if nobody is for training."""
    from MRDeltaNetLib.cohort import splitting

    if not any(row.set == splitting.TRAIN for row in rows):
        return [], []
    try:
        plan = splitting.plan([row.outcome for row in rows], [row.centre for row in rows], [row.set for row in rows], [row.fold for row in rows], validation, seed)
    except InputError as problem:
        return [], [problem]
    return list(plan.notices), []
