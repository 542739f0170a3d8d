"""What rows say about each other: one patient in two rows, names that look alike, a file used twice, folds that are not whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.io.cohort_table.problems import Problems, named_lines
from MRDeltaNetLib.io.cohort_table.rows import MASKS, SCANS, SERIES, Row
from MRDeltaNetLib.io.cohort_table.values import likeness


def check_across(rows: tuple[Row, ...], found: Problems) -> tuple[Notice, ...]:
    """Check rows against each other; the later line of two is the one refused.

    rows     of every line; ids are compared in all of them, the rest only in those without a refusal so far
    found    gets InputError MRD-E442 (names that are one or look like one), E456 (one patient in two folds or sets), E451 (folds not whole),
             E453 (a file used twice)
    returns  warnings MRD-W433
    """
    clean = tuple(row for row in rows if row.line not in found.lines)
    _names(tuple(row for row in rows if row.id), {row.line for row in clean}, found)
    _centres(clean, found)
    _folds(clean, found)
    _files(clean, found)
    return _leading_zeros(clean)


def _names(rows: tuple[Row, ...], clean: set[int], found: Problems) -> None:
    """One patient in two rows; whether in two sets or folds can be said of clean lines only."""
    seen: dict[str, Row] = {}
    for row in rows:
        other = seen.setdefault(likeness(row.id), row)
        if other is row:
            continue
        if other.id == row.id:
            apart = [name for name in ("set", "fold") if getattr(other, name) != getattr(row, name)]
            if apart and {row.line, other.line} <= clean:
                found.cell(row.line, "id", f"one patient is in two {'sets' if 'set' in apart else 'folds'}, so that the test would know the training",
                           code="MRD-E456", found=f"the id of line {other.line} again", fix="give each patient one row, in one set and fold")
            else:
                found.cell(row.line, "id", "the id stands in two rows", code="MRD-E442", found=f"the id of line {other.line} again",
                           fix="give each patient one row; two courses of treatment of one patient cannot both be used")
        else:
            found.cell(row.line, "id", "the id looks like another one", code="MRD-E442",
                       found=f"it differs from line {other.line} only in capitals, spaces or look-alike letters",
                       fix="if it is one patient, keep one row; if not, give them names that differ in a letter or digit")


def _centres(rows: tuple[Row, ...], found: Problems) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        if row.centre is not None and (other := seen.setdefault(likeness(row.centre), row)).centre != row.centre:
            found.cell(row.line, "centre", "the centre is written in two ways", code="MRD-E442",
                       found=f"it differs from line {other.line} only in capitals, spaces or look-alike letters", fix="write each centre in one way")


def _folds(rows: tuple[Row, ...], found: Problems) -> None:
    training = [row for row in rows if row.set == "train"]
    given = {row.fold for row in training if row.fold is not None}
    if not given:
        return
    for row in training:
        if row.fold is None:
            found.cell(row.line, "fold", "the patient is in no fold, while others are", code="MRD-E451", fix="give every training patient a fold, or none")
    if len(given) == 1:
        found.cell(training[0].line, "fold", "there is one fold only", code="MRD-E451", found="every patient in the same fold", fix="make two folds or more, or leave the column out")


def _files(rows: tuple[Row, ...], found: Problems) -> None:
    """A file stands for one thing: a scan, or a mask of one visit. Two DICOM series of one folder, and two labels of one mask file of one
    patient, are different things."""
    users: dict[str, list[tuple[Row, str, Any]]] = {}
    for row in rows:
        for name in (*SCANS, *MASKS):
            if name not in row.files:
                continue
            part = row.options.get(SERIES[name])
            earlier = users.setdefault(_real(row.files[name]), [])
            clash = next((use for use in earlier if not _different(use, (row, name, part))), None)
            if clash:
                place = "in this row" if clash[0] is row else f"in line {clash[0].line}"
                found.cell(row.line, name, "the file is used twice", code="MRD-E453", found=f"it stands under '{clash[1]}' {place} already",
                           fix="name the file that is meant; two labels of one mask file need pre_label, post_label or residual_label")
            earlier.append((row, name, part))


def _different(first: tuple[Row, str, Any], second: tuple[Row, str, Any]) -> bool:
    (row, name, part), (other_row, other_name, other_part) = first, second
    both = part is not None and other_part is not None and part != other_part
    if name in SCANS and other_name in SCANS:
        return both
    return both and row is other_row and name in MASKS and other_name in MASKS


def _real(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _leading_zeros(rows: tuple[Row, ...]) -> tuple[Notice, ...]:
    seen: dict[str, Row] = {}
    pairs = [row.line for row in rows if seen.setdefault(row.id.lstrip("0") or "0", row) is not row]
    if not pairs:
        return ()
    return (Notice("MRD-W433", f"Ids differ only in leading zeros, and are taken for different patients ({named_lines(pairs)}, column 'id')",
                   fix="see that a spreadsheet did not take zeros away from some of them"),)
