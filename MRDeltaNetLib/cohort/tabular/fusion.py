"""The imaging score together with clinical values, and whether that gains anything over the imaging score alone.

The imaging score of a training case must be out of fold: a network knows its own training cases too well, and a fusion fitted on such
scores trusts them too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np

from MRDeltaNetLib.cohort.statistics import Difference, auc_with_ci, paired_delong
from MRDeltaNetLib.cohort.tabular import clinical_logistic, features
from MRDeltaNetLib.io.table_model import TableModel, Value

NAME = "fusion"
READS_SCANS = False

SCORE = "imaging logit"
LEVEL = 0.05
LEAST_OF_A_CLASS = 5
"""With fewer cases of a class nothing is said about a gain."""


@dataclass(frozen=True)
class Comparison:
    """Fusion beside the imaging score alone, on the same cases.

    imaging, fusion  AUC with its 95 % interval
    gain             fusion minus imaging, DeLong's paired test
    cases, events    how many, how many with pCR
    sentence         what that means
    """

    imaging: tuple[float, float, float]
    fusion: tuple[float, float, float]
    gain: Difference
    cases: int
    events: int
    sentence: str

    def plain(self) -> dict[str, Any]:
        """As training.json has it."""
        both = {name: {"auc": value[0], "ci": list(value[1:])} for name, value in (("imaging", self.imaging), ("fusion", self.fusion))}
        return both | {"difference": self.gain.difference, "difference_ci": [self.gain.lower, self.gain.upper], "delong_p": self.gain.p,
                       "cases": self.cases, "events": self.events, "sentence": self.sentence}


def values(prepared, *, logits: np.ndarray, **_: Any) -> list[dict[str, Value]]:
    """Each case's clinical values and imaging logit (n,)."""
    if len(logits) != len(prepared.rows):
        raise ValueError("every case needs one imaging logit")
    return [clinical | {SCORE: float(logit)} for clinical, logit in zip(clinical_logistic.values(prepared), logits)]


def fit(prepared, *, dictionary: Mapping[str, Any], logits: np.ndarray, seed: int = 0, **settings: Any) -> TableModel:
    """The model; logits: out-of-fold imaging logits (n,) of the training cases."""
    rows, lines = values(prepared, logits=logits), features.lines(prepared)
    columns = clinical_logistic.columns(prepared, dictionary) | features.number_columns([SCORE], rows, lines)
    return features.fit_model(NAME, columns, rows, lines, features.outcomes(prepared), prepared.keys, solver=features.ridge, seed=seed,
                              settings=settings)


def compare(outcome: np.ndarray, imaging: np.ndarray, fusion: np.ndarray) -> Comparison:
    """What the clinical values add. Both scores must be of cases that neither was fitted on (held-out, or crossed())."""
    alone, both, gain = auc_with_ci(outcome, imaging), auc_with_ci(outcome, fusion), paired_delong(outcome, fusion, imaging)
    outcome = np.asarray(outcome)
    return Comparison(alone, both, gain, len(outcome), int(outcome.sum()), _sentence(alone[0], both[0], gain, int(np.bincount(outcome.astype(int), minlength=2).min())))


def _sentence(alone: float, both: float, gain: Difference, rarer: int) -> str:
    numbers = (f"AUC {both:.3f} with clinical values, {alone:.3f} for the imaging score alone; difference {gain.difference:+.3f}, "
               f"{gain.lower:+.3f} to {gain.upper:+.3f}, p {'< 0.001' if gain.p < 0.001 else f'= {gain.p:.3f}'}")
    if rarer < LEAST_OF_A_CLASS:
        return f"Too few cases to tell whether clinical values add anything: {rarer} of the rarer outcome ({numbers})."
    if gain.p >= LEVEL:
        return f"Clinical values give no gain over the imaging score that these cases could show ({numbers})."
    return f"Clinical values {'improve' if gain.difference > 0 else 'worsen'} the imaging score ({numbers})."
