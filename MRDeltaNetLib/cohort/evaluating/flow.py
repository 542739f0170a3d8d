"""Section "flow": how many rows were looked at, why some are not evaluated, and with how many cases each question is answered."""

from __future__ import annotations

import numpy as np

from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.evaluation import Figure, Part, Table

UNKNOWN_OUTCOME, NO_SCORE = "outcome not known", "no score"


def section(subset: Subset) -> Part:
    """Counts of one set.

    values  enrolled, excluded {reason: n}, evaluated, outcome {pcr, non_pcr, unknown}, analysed {score: cases with score and outcome},
            follow_up {endpoint: {cases, events}}
    """
    evaluated, outcome = len(subset.outcome), subset.outcome
    known = ~np.isnan(outcome)
    analysed = {name: int((known & ~np.isnan(score.values)).sum()) for name, score in subset.scores.items()}
    follow_up = {}
    for name, endpoint in subset.config.endpoints.items():
        there = subset.frame[[endpoint.time, endpoint.event]].notna().all(axis=1)
        follow_up[name] = {"cases": int(there.sum()), "events": int(subset.frame.loc[there, endpoint.event].sum())}
    counts = {"pcr": int((outcome == 1).sum()), "non_pcr": int((outcome == 0).sum()), "unknown": int((~known).sum())}
    values = {"enrolled": evaluated + sum(subset.excluded.values()), "excluded": dict(subset.excluded), "evaluated": evaluated, "outcome": counts,
              "analysed": analysed, "follow_up": follow_up}
    return Part(values, {"flow": _table(subset, values)}, {"flow": _figure(subset, values)})


def _table(subset: Subset, values: dict) -> Table:
    rows = [("rows of the tables", values["enrolled"])]
    rows += [(f"left out: {reason}", n) for reason, n in values["excluded"].items()]
    rows += [("evaluated", values["evaluated"]), ("of these with pCR", values["outcome"]["pcr"]), ("of these without pCR", values["outcome"]["non_pcr"]),
             (f"of these {UNKNOWN_OUTCOME}", values["outcome"]["unknown"])]
    rows += [(f"with outcome and score: {subset.scores[name].label}", n) for name, n in values["analysed"].items()]
    rows += [(f"with follow-up: {name}", counts["cases"]) for name, counts in values["follow_up"].items()]
    return Table("Flow of cases", ("step", "cases"), tuple(rows))


def _figure(subset: Subset, values: dict) -> Figure:
    """Boxes from top to bottom; what leaves between two boxes stands in the upper one."""
    listed = [{"reason": reason, "n": n} for reason, n in values["excluded"].items()]
    boxes = [{"label": "Rows of the tables", "n": values["enrolled"], "excluded": listed}, {"label": "Evaluated", "n": values["evaluated"], "excluded": []}]
    if subset.model is not None and subset.config.outcome:
        unknown = values["outcome"]["unknown"]
        no_score = values["evaluated"] - unknown - values["analysed"][subset.model.name]
        boxes[1]["excluded"] = [{"reason": reason, "n": n} for reason, n in ((UNKNOWN_OUTCOME, unknown), (NO_SCORE, no_score)) if n]
        boxes.append({"label": f"Analysed with outcome and {subset.model.label}: {values['outcome']['pcr']} with pCR" if not no_score
                      else f"Analysed with outcome and {subset.model.label}", "n": values["analysed"][subset.model.name], "excluded": []})
    return Figure("flow", "Flow of cases", {"boxes": boxes})
