"""Which cases the controls are taken on, and which the rivals learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.preparing.recognition import met
from MRDeltaNetLib.cohort.tabular import features
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.bundle import Bundle

HELD_OUT_SETS = ("internal", "external")
LINES_NAMED = 5


@dataclass(frozen=True)
class Selection:
    """held_out, training: parts of the prepared cohort (training may be empty); without_outcome: rows that were left out for that."""

    held_out: Any
    training: Any
    without_outcome: int


def select(bundle: Bundle, prepared) -> Selection:
    """Held-out cases: those of the sets "internal" and "external". Training cases: those of the set "train", which are never held out, whatever
    the bundle lists: a row without a set counts as "train".

    raises  InputError MRD-E790 (no held-out case), MRD-E792 (fewer than two of a class, or a held-out case that the bundle was trained on)
    """
    known = [k for k, row in enumerate(prepared.rows) if row.outcome is not None]
    held = [k for k in known if prepared.rows[k].set in HELD_OUT_SETS]
    if not held:
        raise InputError("Controls on the cases that the model learned from say nothing", code="MRD-E790",
                         found=f"{len(known)} cases with an outcome, none of the sets {' and '.join(HELD_OUT_SETS)}",
                         fix="give a table with held-out rows, marked internal or external in the column 'set'; on training cases only "
                             "out-of-fold scores count, and the training folder's oof.csv holds them")
    learned = met(bundle.own, prepared)
    if leaked := [prepared.rows[k].line for k in held if learned[k]]:
        raise InputError("Cases that are marked as held out are among those that the model was trained on", code="MRD-E792",
                         found=f"{len(leaked)} rows, the first on line {', '.join(map(str, leaked[:LINES_NAMED]))}",
                         fix="mark them as train in the column 'set'")
    held_out = features.subset(prepared, held)
    counts = np.bincount(features.outcomes(held_out), minlength=2)
    if counts.min() < features.MIN_OF_EACH_CLASS:
        raise InputError("The held-out cases are too few for an AUC", code="MRD-E792", found=f"{counts[1]} with complete response, {counts[0]} without",
                         fix="give at least two of each, better some dozens")
    return Selection(held_out, features.subset(prepared, [k for k in known if prepared.rows[k].set == "train"]),
                     len(prepared.rows) - len(known))
