"""Table 1 of the MR-DELTAnet paper, rebuilt from its printed counts: which test its p values come from, and the one that no test gives.

Cao et al., "MR-DELTAnet", Table 1: counts of complete responders and others in the training (TC), internal (IVC) and external (EVC) cohort. The text at
hand has lost the names of two rows, Negative and Positive both; they are extramural vascular invasion and mesorectal fascia, in an order that is not known.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest

from MRDeltaNetLib.cohort.evaluating.table_one import section
from MRDeltaNetLib.cohort.statistics.contingency import chi_square, fisher
from MRDeltaNetLib.config import TableOneConfig
from Testing.cohort.evaluating.clinical_subset import subset

PAGE = Path(__file__).resolve().parents[3] / "docs" / "experiments" / "table-one.md"
SIZES = {"TC": (104, 529), "IVC": (35, 177), "EVC": (31, 150)}
COUNTS = {
    "Gender": {"TC": ([(33, 167), (71, 362)], "1.00"), "IVC": ([(13, 51), (22, 126)], "0.44"), "EVC": ([(12, 38), (19, 112)], "0.20")},
    "CEA": {"TC": ([(89, 386), (15, 143)], "0.01"), "IVC": ([(29, 137), (6, 40)], "0.62"), "EVC": ([(27, 114), (4, 36)], "0.26")},
    "T stage": {"TC": ([(67, 319), (37, 210)], "0.50"), "IVC": ([(22, 108), (13, 69)], "0.99"), "EVC": ([(15, 80), (16, 70)], "0.76")},
    "N stage": {"TC": ([(17, 84), (37, 192), (50, 253)], "0.99"), "IVC": ([(3, 37), (16, 54), (16, 86)], "0.11"),
                "EVC": ([(6, 18), (9, 46), (16, 86)], "0.54")},
    "First row without a name": {"TC": ([(79, 414), (25, 115)], "0.70"), "IVC": ([(29, 130), (6, 47)], "0.34"), "EVC": ([(26, 103), (5, 47)], "0.14")},
    "Second row without a name": {"TC": ([(52, 230), (52, 299)], "0.28"), "IVC": ([(20, 81), (15, 96)], "0.30"), "EVC": ([(14, 45), (17, 105)], "0.15")},
    "Share of the circumference": {"TC": ([(13, 42), (38, 168), (53, 319)], "0.14"), "IVC": ([(5, 22), (10, 54), (20, 101)], "0.94"),
                                   "EVC": ([(5, 14), (8, 37), (18, 99)], "0.50")},
    "Distance to the anal verge": {"TC": ([(51, 187), (47, 272), (6, 70)], "0.01"), "IVC": ([(17, 84), (15, 72), (3, 21)], "0.85"),
                                   "EVC": ([(14, 59), (15, 75), (2, 16)], "0.71")}}
ODD = ("Second row without a name", "TC")
ROWS = [(name, cohort, np.array(table), printed) for name, cohorts in COUNTS.items() for cohort, (table, printed) in cohorts.items()]


def candidates(table):
    """p by each test that may have been used: Pearson with and without Yates, Fisher."""
    plain = chi_square(table, yates=False).p
    return {"Yates": chi_square(table).p if table.shape == (2, 2) else None, "plain": plain, "Fisher": fisher(table, most=2_000_000).p}


@pytest.mark.parametrize("name,cohort,table,printed", ROWS, ids=lambda value: value if isinstance(value, str) else "")
def test_counts_add_up_and_p_is_the_printed_one(name, cohort, table, printed):
    assert tuple(table.sum(0)) == SIZES[cohort]
    agrees = f"{chi_square(table).p:.2f}" == printed                    # Yates in tables of two by two, as in R
    assert agrees == ((name, cohort) != ODD)


def test_no_other_test_gives_all_the_printed_values():
    by = {test: sum(p is not None and f"{p:.2f}" == printed for _, _, table, printed in ROWS for each, p in candidates(table).items() if each == test)
          for test in ("Yates", "plain", "Fisher")}
    assert by["Yates"] + sum(table.shape != (2, 2) and f"{candidates(table)['plain']:.2f}" == printed for _, _, table, printed in ROWS) == 23
    assert by["plain"] < 15 and by["Fisher"] < 10


def test_the_odd_one_is_given_by_no_test_and_by_one_patient_less():
    table = np.array(COUNTS[ODD[0]][ODD[1]][0])
    assert all(f"{p:.2f}" != "0.28" for p in candidates(table).values())
    assert f"{chi_square(table + [[0, 1], [0, -1]]).p:.2f}" == "0.28" and round(100 * 230 / 529, 1) == 43.5 != round(100 * 231 / 529, 1)


@pytest.mark.parametrize("cohort", SIZES)
def test_the_section_gives_the_same_table_from_cases(cohort):
    """One row a patient, as a site has it. Our rule takes Fisher's test where an expected count is below 5; the paper's chi-square stands beside it."""
    frame, outcome = {}, np.repeat([1.0, 0.0], SIZES[cohort])
    for name, cohorts in COUNTS.items():
        table = np.array(cohorts[cohort][0])
        frame[name] = np.concatenate([np.repeat([f"level {k}" for k in range(len(table))], table[:, group]) for group in (0, 1)]).astype(object)
    part = section(subset(pandas.DataFrame(frame), outcome, table_one=TableOneConfig(variables=tuple(COUNTS))))
    for row in part.values:
        printed = COUNTS[row["variable"]][cohort][1]
        assert (f"{row['chi_square']['p']:.2f}" == printed) == ((row["variable"], cohort) != ODD)
        assert ("Fisher" in row["test"]) == (row["chi_square"]["least_expected"] < 5)
        assert row["p"] == (row["fisher"]["p"] if "Fisher" in row["test"] else row["chi_square"]["p"])


def page_rows():
    """The lines of the documented table."""
    for name, cohort, table, printed in ROWS:
        p = candidates(table)
        yates = "" if p["Yates"] is None else f"{p['Yates']:.4f}"
        in_r = p["plain"] if p["Yates"] is None else p["Yates"]
        counts = "; ".join(f"{a}, {b}" for a, b in table)
        yield f"| {name} | {cohort} | {counts} | {printed} | {yates} | {p['plain']:.4f} | {p['Fisher']:.4f} | {'yes' if f'{in_r:.2f}' == printed else '**no**'} |"


def test_the_page_shows_what_is_computed():
    text = PAGE.read_text(encoding="utf-8")
    assert [row for row in page_rows() if row not in text] == []
