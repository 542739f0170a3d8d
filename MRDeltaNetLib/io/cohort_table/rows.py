"""From cells to typed rows: which columns the table's schema defines, and what each patient's row says."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.io.cohort_table import values
from MRDeltaNetLib.io.cohort_table.cells import Table
from MRDeltaNetLib.io.cohort_table.dictionary import LATENT_PREFIX, Column
from MRDeltaNetLib.io.cohort_table.problems import Problems
from MRDeltaNetLib.io.cohort_table.row_reader import RowReader
from MRDeltaNetLib.io.jobs import MAX_VOLUME_INDEX, MRTRG
from MRDeltaNetLib.io.tables import short

SETS = ("train", "internal", "external")
"""What a patient is for: training (with its out-of-fold scores), an untouched test of the same centres, an untouched test of others."""

SCANS = ("pre", "post")
MASKS = ("pre_mask", "post_mask", "residual_mask")
SERIES = {"pre": "pre_series", "post": "post_series", "pre_mask": "pre_label", "post_mask": "post_label", "residual_mask": "residual_label"}
"""File column -> the column that chooses a part of that file."""

TIME, EVENT = "_time_months", "_event"
"""How the two columns of a follow-up endpoint end: death_time_months and death_event."""

VOLUMES = ("pre_volume_ml", "post_volume_ml")
OWN_COLUMNS = frozenset({"id", "centre", "set", "fold", "mrtrg", *SCANS, *MASKS, *SERIES.values(), "volume_index", "complete_response", "pre_date",
                         "post_date", "interval_days", "outcome", "transform_pre_to_post", *VOLUMES})
"""Columns that the table's schema defines, beside the follow-up's."""

MAX_FOLDS = 100


@dataclass(frozen=True)
class Row:
    """One patient.

    line         line in the table
    id, centre   text; centre None if the table has no such column
    set          one of SETS; "train" if the table has no such column
    fold         the user's own fold, None if there is none
    outcome      1 for pathological complete response, 0 for none, None if unknown
    complete_response  a reader sees no viable tumour after treatment
    mrtrg        a reader's magnetic resonance tumour regression grade, 1 to 5; None if unknown. An opinion, no input of any model
    files        those of pre, post, pre_mask, post_mask, residual_mask that are named; absolute paths
    options      those of pre_series, post_series, pre_label, post_label, residual_label, volume_index that are given
    dates        pre_date, post_date and the dictionary's dates that are given
    interval_days  between the visits, None if unknown
    clinical     value of every column with the role number, category or text; None if unknown
    follow_up    endpoint -> (months above zero, event 0 or 1)
    volumes_ml   those of pre_volume_ml, post_volume_ml that are given: measured by the table's author, never input
    """

    line: int
    id: str
    centre: str | None = None
    set: str = "train"
    fold: int | None = None
    outcome: int | None = None
    complete_response: bool = False
    files: Mapping[str, Path] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    dates: Mapping[str, date] = field(default_factory=dict)
    interval_days: int | None = None
    clinical: Mapping[str, float | str | None] = field(default_factory=dict)
    follow_up: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    mrtrg: int | None = None


def endpoints(header: tuple[str, ...]) -> tuple[str, ...]:
    """Follow-up endpoints that have both of their columns."""
    return tuple(name.removesuffix(TIME) for name in header if name.endswith(TIME) and name != TIME and name.removesuffix(TIME) + EVENT in header)


def own_columns(header: tuple[str, ...]) -> frozenset[str]:
    """Columns of this header that the schema defines, the follow-up's included."""
    return OWN_COLUMNS | {endpoint + end for endpoint in endpoints(header) for end in (TIME, EVENT)}


def check_columns(table: Table, dictionary: Mapping[str, Column], found: Problems, *, has_dictionary: bool, require_outcome: bool,
                  require_files: bool) -> bool:
    """Whether the header names what is needed; every other column must be declared.

    found   gets InputError MRD-E438 (a needed column is missing), E439 (not declared), E450 (half of an endpoint)
    returns False if the rows cannot be read
    """
    needed = ("id",) + (SCANS if require_files else ()) + (("outcome",) if require_outcome else ())
    for name in needed:
        if name not in table.header:
            # the header may be missing, and its cells a patient's: only names that are nearly right are said back
            near = difflib.get_close_matches(name, [h.strip().casefold() for h in table.header], 1, 0.7)
            found.cell(table.line, name, "the column is missing", code="MRD-E438", found="a column is named nearly so" if near else "",
                       fix=f"name the column exactly '{name}', in small letters, in the first line" if near or name == "id" else f"add a column '{name}'")
    if "id" not in table.header:
        return False
    own = own_columns(table.header)
    for name in table.header:
        if name in own or name in dictionary or name.startswith(LATENT_PREFIX):
            continue
        half = next((end for end in (TIME, EVENT) if name.endswith(end)), None)
        if half:
            found.cell(table.line, name, "the other column of this follow-up endpoint is missing", code="MRD-E450",
                       fix=f"give both <endpoint>{TIME} and <endpoint>{EVENT}, or declare the column in the data dictionary")
            continue
        near = difflib.get_close_matches(name.casefold(), sorted(own | dictionary.keys()), 1, 0.75)
        found.cell(table.line, name, "the column is not declared" + ("" if has_dictionary else "; the table has no data dictionary"), code="MRD-E439",
                   fix=(f"perhaps '{short(near[0])}' is meant; else " if near else "") + "say in the data dictionary (the .json file beside the table) what it is"
                   + ("" if has_dictionary else "; `mrdeltanet cohort check --write-dictionary` writes a first draft to edit"))
    return True


def read_rows(table: Table, dictionary: Mapping[str, Column], folder: Path, found: Problems, *, require_outcome: bool, require_files: bool) -> tuple[Row, ...]:
    """Every row; found gets the cells that cannot be used (MRD-E441 to E452, E454), which are None (or empty, or the default) in their row."""
    reader = _RowReader(table.header, dictionary, folder, found, require_outcome, require_files)
    return tuple(reader.read(line, cells) for line, cells in table.rows)


class _RowReader(RowReader):
    """Reads a cohort's rows."""

    def __init__(self, header: tuple[str, ...], dictionary: Mapping[str, Column], folder: Path, found: Problems, require_outcome: bool,
                 require_files: bool) -> None:
        super().__init__(header, folder, found)
        self.require_outcome, self.require_files = require_outcome, require_files
        self.declared = {name: column for name, column in dictionary.items() if name in self.place and name not in own_columns(header)
                         and not name.startswith(LATENT_PREFIX)}
        self.endpoints = endpoints(header)

    def read(self, line: int, cells: tuple[str, ...]) -> Row:
        """What the row says."""
        self.turn_to(line, cells)
        outcome = self.take("outcome", lambda c: values.binary(c, "the outcome", "1 for pathological complete response and 0 for none, as numbers"))
        if outcome is None and self.require_outcome and not self.text("outcome") and "outcome" in self.place:
            self.refuse("outcome", "the outcome is unknown", code="MRD-E449", fix="leave out patients without an outcome, or give them to `predict` only")
        response = self.take("complete_response", lambda c: values.binary(c, "complete_response", "1 if a reader sees no viable tumour after treatment, else 0"))
        return Row(line, self.take("id", values.identifier) or "", self.take("centre", values.identifier), self._set(), self._fold(), outcome, bool(response),
                                   self._files(), self._options(), *self._dates(), self._clinical(), self._follow_up(), self._volumes(),
                   self.take("mrtrg", lambda c: values.whole(c, *MRTRG, "the mrTRG", code="MRD-E454")))

    def _set(self) -> str:
        given = self.text("set")
        if "set" not in self.place or given in SETS:
            return given or "train"
        near = difflib.get_close_matches(given.casefold(), SETS, 1, 0.5)
        self.refuse("set", "there is no such set" if given else "the cell is empty", code="MRD-E451", found=values.seen(given) if given else "",
                    fix=(f"perhaps '{near[0]}' is meant; " if near else "") + f"write one of {', '.join(SETS)}")
        return "train"

    def _fold(self) -> int | None:
        fold = self.take("fold", lambda c: values.whole(c, 0, MAX_FOLDS, "the fold", code="MRD-E451"))
        if fold is not None and self.text("set") in ("internal", "external"):
            self.refuse("fold", "a patient of a test set is in a fold of the training", code="MRD-E451", fix="leave the fold empty for internal and external patients")
        return fold

    def _files(self) -> dict[str, Path]:
        files = {}
        for name in (*SCANS, *MASKS):
            text = self.text(name)
            if text.casefold() in values.MISSING_CODES and text not in ("", "."):
                self.refuse(name, "the cell may hold a code for a file that there is not", code="MRD-E443", found=f"'{text}'", fix="leave the cell empty")
            elif text:
                files[name] = self.folder / text
                if self.require_files:
                    self.look_for(name, files[name], folder=name in SCANS)
            elif name in SCANS and self.require_files and name in self.place:
                self.refuse(name, "no scan is named", code="MRD-E452", fix="name the file or DICOM folder, relative to the table's folder or absolute")
        return files

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"volume_index": self.take("volume_index", lambda c: values.whole(c, 0, MAX_VOLUME_INDEX, "'volume_index'", code="MRD-E454"))}
        for name in (name for name in SERIES.values() if name.endswith("_label")):
            options[name] = self.take(name, lambda c: values.label(c, f"'{name}'"))
        for name in ("pre_series", "post_series"):
            options[name] = self.series(name)
        for file, name in SERIES.items():
            if options[name] is not None and not self.text(file):
                self.refuse(name, f"this chooses a part of '{file}', which is not named", code="MRD-E454", fix=f"name '{file}', or leave the cell empty")
        return {name: value for name, value in options.items() if value is not None}

    def _dates(self) -> tuple[dict[str, date], int | None]:
        """The dates, and the interval between the visits, which must agree with them."""
        others = {name: column for name, column in self.declared.items() if column.role == "date"}
        dates = {name: self.take(name, lambda c: values.day(c, others[name].missing if name in others else ()))
                 for name in ("pre_date", "post_date", *others)}
        dates = {name: value for name, value in dates.items() if value is not None}
        stated = self.take("interval_days", lambda c: values.whole(c, 1, values.MAX_DAYS, "the interval", code="MRD-E448"))
        between = None
        if "pre_date" in dates and "post_date" in dates:
            between = (dates["post_date"] - dates["pre_date"]).days
            if between <= 0:
                self.refuse("post_date", "the scan after treatment is not later than the one before", code="MRD-E448",
                            found="the same day" if between == 0 else f"{-between} days earlier", fix="see whether dates, scans and masks of the two visits are swapped")
            elif stated is not None and stated != between:
                self.refuse("interval_days", "the interval does not agree with the dates", code="MRD-E448", found=f"{stated} days stated, {between} days between the dates",
                            fix="correct the dates or the interval, or leave the interval empty")
        for name, column in others.items():
            if column.after in dates and name in dates and dates[name] < dates[column.after]:
                self.refuse(name, f"the date lies before '{column.after}'", code="MRD-E448", found=f"{(dates[column.after] - dates[name]).days} days earlier",
                            fix="see which of the two dates is wrong")
        return dates, stated if between is None else between

    def _clinical(self) -> dict[str, float | str | None]:
        readers = {"number": values.number, "category": values.category, "text": values.free_text}
        return {name: self.take(name, lambda c: readers[column.role](c, column)) for name, column in self.declared.items() if column.role in readers}

    def _follow_up(self) -> dict[str, tuple[float, int]]:
        found = {}
        for endpoint in self.endpoints:
            time = self.take(endpoint + TIME, values.months)
            event = self.take(endpoint + EVENT, lambda c: values.binary(c, "the event", "1 if it happened at that time and 0 if it had not by then", code="MRD-E450"))
            if bool(self.text(endpoint + TIME)) != bool(self.text(endpoint + EVENT)):
                empty = endpoint + (TIME if not self.text(endpoint + TIME) else EVENT)
                self.refuse(empty, "the cell is empty, while the other half of the follow-up is given", code="MRD-E450", fix="give both time and event, or neither")
            elif time is not None and event is not None:
                found[endpoint] = (time, event)
        return found

    def _volumes(self) -> dict[str, float]:
        """Volumes that the table's author measured; zero is possible after treatment only."""
        read = {name: self.take(name, lambda c: values.number(c, Column("number", "mL", minimum=0.0, maximum=5000.0))) for name in VOLUMES}
        return {name: value for name, value in read.items() if value is not None}
