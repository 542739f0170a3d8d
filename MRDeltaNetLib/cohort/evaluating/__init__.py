"""Many cases with outcome and follow-up, evaluated as a study would be: one file a section, all called alike (sections.py).

columns: what a column holds; doubts: what looks wrong in it; joining: two tables become one; frame: the cases of each set; subset: what a section sees; aids: reporting guidelines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from MRDeltaNetLib.config import EvaluationConfig
from MRDeltaNetLib.errors import Notice, require
from MRDeltaNetLib.evaluation import Evaluation
from MRDeltaNetLib.io.evaluation_table import INSTALL
from MRDeltaNetLib.progress import Progress, part, silent

if TYPE_CHECKING:
    import pandas

    from MRDeltaNetLib.io.cohort_table import Column

def evaluate(predictions: "pandas.DataFrame", cohort: "pandas.DataFrame | None" = None, config: EvaluationConfig = EvaluationConfig(), *,
             dictionary: "Mapping[str, Column] | None" = None, digests: Mapping[str, str] | None = None, notices: tuple[Notice, ...] = (),
             progress: Progress = silent) -> Evaluation:
    """The whole study on two tables.

    predictions  a row a case: id, outcome, scores, and whatever else is known of it
    cohort       clinical and follow-up columns by id; None if the first table holds them
    dictionary   what a data dictionary says about the cohort table's columns
    digests      role of each file that the tables were read from -> its SHA-256
    notices      what reading them said
    returns      Evaluation; sections that failed are listed in facts["failed"], and left out with the reason
    raises       InputError, UsageError as frame.cases; MissingPackage; Cancelled
    """
    for package in ("pandas", "scipy", "statsmodels"):
        require(package, "Evaluating a study", INSTALL)
    from MRDeltaNetLib.cohort.evaluating import aids, sections
    from MRDeltaNetLib.cohort.evaluating.facts import facts_of
    from MRDeltaNetLib.cohort.evaluating.frame import cases
    aids.check_study(config.study)
    progress(0.0, "Reading the tables")
    found = cases(predictions, cohort, config, dictionary or {})
    sets, failed = sections.run(found.subsets, found.together, part(progress, 0.05, 1.0))
    facts = facts_of(found, failed, digests or {}, notices)
    return Evaluation(found.config.main_set, sets, facts, aids.filled(facts, sets))


def failures(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Sections that failed for a reason that is not in the data; empty where all is well."""
    return list(evaluation.facts["failed"])
