"""What an evaluation of many cases found: plain numbers, tables and curves, without a word on how they are drawn or stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

SECTIONS = ("flow", "discrimination", "comparisons", "calibration", "decision_curve", "heterogeneity", "logistic", "fusion", "table_one", "survival",
            "overview")
"""Sections of an evaluation, in the order in which they are told. Each is a key of evaluation.json."""

OF_ALL_SETS = "_by_set"
"""How the names of tables end that compare the sets with each other; they stand with the main set."""


@dataclass(frozen=True)
class Table:
    """One table, as it is written to CSV and shown on the page.

    title    a heading that says of what
    columns  names; units are part of them
    rows     as many plain values a row as there are columns: text, number, True, False or None (not known)
    notes    what has to be said below it
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("every row of a table has as many cells as there are columns")


@dataclass(frozen=True)
class Figure:
    """The numbers of one figure.

    kind   how it is drawn: a key of report.study.figures.DRAWN
    title  what it shows
    data   plain numbers, texts, lists and mappings; what belongs into it is documented at the function that draws the kind
    """

    kind: str
    title: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Omission:
    """A part that is not there, and why.

    section  of SECTIONS
    what     what is left out
    reason   what was found
    fix      what to do
    """

    section: str
    what: str
    reason: str
    fix: str


@dataclass(frozen=True)
class Part:
    """What one section found on one set.

    values     what evaluation.json holds under the section's name: a mapping, or a list of mappings
    tables     name of the CSV file without its ending -> table
    figures    name of the file without its ending -> figure
    notes      sentences that have to be read with the numbers
    omissions  what of the section is not there; a section that is wholly left out has empty values
    """

    values: Mapping[str, Any] | list[Mapping[str, Any]]
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    omissions: tuple[Omission, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """The whole study.

    main_set  the set whose sections stand at the top of evaluation.json
    sets      set -> section -> what was found, sections in the order of SECTIONS
    facts     what was evaluated and how: counts, scores, settings, digests, versions, seed
    aids      reporting guideline -> items, each with what the software knows or None (report/study fills the page from it)
    """

    main_set: str
    sets: Mapping[str, Mapping[str, Part]]
    facts: Mapping[str, Any]
    aids: Mapping[str, Any]
