"""Every section of an evaluation on every set. A section that fails takes no other with it; that it failed is told."""

from __future__ import annotations

import importlib
import json
import traceback
import warnings
from dataclasses import replace
from typing import Any, Mapping

from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.errors import Cancelled, MRDeltaNetError
from MRDeltaNetLib.evaluation import OF_ALL_SETS, SECTIONS, Omission, Part
from MRDeltaNetLib.progress import Progress

LISTS = ("comparisons", "logistic", "table_one")
"""Sections whose values are a list; those of the others are a mapping."""

WORDS = {"flow": "counting cases", "discrimination": "discrimination", "comparisons": "comparing scores", "calibration": "calibration",
         "decision_curve": "decision curves", "heterogeneity": "subgroups", "logistic": "logistic regression", "fusion": "score with clinical values",
         "table_one": "table 1", "survival": "survival", "overview": "overview"}


def run(subsets: Mapping[str, Subset], together: Subset, progress: Progress) -> tuple[dict[str, dict[str, Part]], list[dict[str, str]]]:
    """Set -> section -> what was found, and the sections that failed: {"set", "section", "code", "found"}.

    together  all cases; Table 1 compares the sets on them, and stands with the main set's, unless the settings name another column
    raises    Cancelled
    """
    found: dict[str, dict[str, Part]] = {name: {} for name in subsets}
    failed: list[dict[str, str]] = []
    steps = [(name, section) for name in subsets for section in SECTIONS]
    for number, (name, section) in enumerate(steps):
        progress(number / len(steps), f"{name}: {WORDS[section]}")
        try:
            found[name][section] = _of_all(subsets, together, name) if section == "table_one" else part(section, subsets[name])
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 whatever a section meets, the others are still wanted
            problem = as_problem(error)
            failed.append({"set": name, "section": section, "code": problem.code, "found": problem.found or problem.what})
            found[name][section] = Part([] if section in LISTS else {}, omissions=(Omission(section, "the whole section", f"{problem.code}: {problem.what}"
                                        + (f" ({problem.found})" if problem.found else ""), problem.fix),))
    progress(1.0, "Evaluated")
    return found, failed


def part(section: str, subset: Subset) -> Part:
    """What one section finds on one set; raises what it raises, and TypeError for what evaluation.json cannot hold."""
    function = importlib.import_module(f"MRDeltaNetLib.cohort.evaluating.{section}").section
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                  # numerical packages warn of what sections tell as omissions and notes
        found = function(subset)
    if not isinstance(found, Part) or not isinstance(found.values, list if section in LISTS else Mapping):
        raise TypeError("a section gives a Part with values of its own kind")
    json.dumps([found.values, [figure.data for figure in found.figures.values()], [table.rows for table in found.tables.values()]])
    return found


def _of_all(subsets: Mapping[str, Subset], together: Subset, name: str) -> Part:
    """Table 1 of one set; the main set's also holds that of all cases by set."""
    column, wanted = together.config.set, together.config.table_one
    if len(subsets) < 2 or wanted.by not in (None, column):
        return part("table_one", subsets[name])
    outcome = (together.config.outcome,) if together.config.outcome else ()
    by_outcome = replace(together.config, table_one=replace(wanted, by=None))
    by_set = replace(together.config, table_one=replace(wanted, by=column, variables=wanted.variables or (*together.clinical, *outcome)))
    own = part("table_one", replace(subsets[name], config=by_outcome))
    if name != together.config.main_set:
        return own
    whole = part("table_one", replace(together, config=by_set))
    of_all = tuple(note for note in whole.notes if note not in own.notes)               # below their own table, as they are not of the main set
    tables = {f"{key}{OF_ALL_SETS}": replace(table, notes=(*table.notes, *of_all)) for key, table in whole.tables.items()}
    return replace(own, tables={**own.tables, **tables}, omissions=(*own.omissions, *whole.omissions))


def as_problem(error: BaseException) -> MRDeltaNetError:
    """An error that says what, found and fix; one of ours as it is, a fault named by its place in the code, as its own text may hold a value."""
    if isinstance(error, MRDeltaNetError):
        return error
    if isinstance(error, MemoryError):
        return MRDeltaNetError("There was not enough memory for this section", code="MRD-E498", fix="close other programs, or evaluate fewer cases or bootstrap samples")
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "MRDeltaNetLib" in frame.filename]
    place = f"{ours[-1].filename.split('MRDeltaNetLib')[-1].lstrip('/').replace(chr(92), '/')}:{ours[-1].lineno}" if ours else "unknown"
    return MRDeltaNetError("Software error in this section", code="MRD-E494", found=f"{type(error).__name__} at {place}",
                           fix="please report this code together with what `mrdeltanet info` prints; the other sections do not depend on it")

