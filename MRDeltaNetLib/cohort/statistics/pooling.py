"""One value from several groups of patients, such as centres, that differ by more than chance: random-effects summary.

statsmodels' combine_effects is not used: its search for Paule and Mandel's variance gives 0 where its last step lands past the root by
rounding (values 0, 0, 1 of equal variance), and DerSimonian and Laird's comes out below 0. SciPy finds the root here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import Z_95, package


@dataclass(frozen=True)
class Pooled:
    """Random-effects summary of k groups, on the scale of the values.

    mean, lower, upper      95 %, Hartung and Knapp 2001 (doi:10.1002/sim.1009), t with k - 1 degrees of freedom, never narrower than with the
                            error without their factor (Röver 2015, doi:10.1186/s12874-015-0091-1)
    predicted               95 % prediction interval of a new group (Higgins 2009, doi:10.1111/j.1467-985X.2008.00552.x), t with k - 2; None for k = 2.
                            Of few groups it holds fewer new ones than it says: 85 % at 8 groups in the test's simulation
    tau2                    variance between groups (Paule and Mandel 1982, doi:10.6028/jres.087.022)
    i2                      share of the variation that is more than chance, max(0, (q - (k - 1)) / q) (Higgins 2002, doi:10.1002/sim.1186)
    q, p                    Cochran's test that all groups are alike
    groups                  k
    """

    mean: float
    lower: float
    upper: float
    predicted: tuple[float, float] | None
    tau2: float
    i2: float
    q: float
    p: float
    groups: int


def pooled(values: np.ndarray, variances: np.ndarray) -> Pooled:
    """Summary of values (k,) with their variances (k,).

    raises ValueError with fewer than two groups, or a variance that is not above 0
    """
    values, variances = np.asarray(values, dtype=float), np.asarray(variances, dtype=float)
    if len(values) < 2 or len(values) != len(variances) or not np.isfinite(values).all() or not ((variances > 0) & np.isfinite(variances)).all():
        raise ValueError("a summary needs two groups, each with a finite value and a variance above 0")
    student, chi2 = package("scipy.stats").t, package("scipy.stats").chi2
    k, tau2 = len(values), between_groups(values, variances)
    q = _cochran(0.0, values, variances)
    weights = 1 / (variances + tau2)
    mean = float(np.average(values, weights=weights))
    error = math.sqrt(max(1.0, _cochran(tau2, values, variances) / (k - 1)) / weights.sum())
    half = float(student.ppf(0.975, k - 1)) * error
    wide = float(student.ppf(0.975, k - 2)) * math.sqrt(tau2 + error**2) if k > 2 else None
    return Pooled(mean, mean - half, mean + half, None if wide is None else (mean - wide, mean + wide), tau2, max(0.0, (q - (k - 1)) / q) if q > 0 else 0.0, q,
                  float(chi2.sf(q, k - 1)), k)


def between_groups(values: np.ndarray, variances: np.ndarray) -> float:
    """Paule and Mandel's variance between groups: the one at which Cochran's Q, with it in the weights, is k - 1; 0 if Q is no larger without it."""
    beyond = lambda tau2: _cochran(tau2, values, variances) - (len(values) - 1)
    if beyond(0.0) <= 0:
        return 0.0
    largest = float(((values - values.mean()) ** 2).sum())                     # Q is at most this over tau2
    return float(package("scipy.optimize").brentq(beyond, 0.0, largest, xtol=1e-14, rtol=1e-12))


def _cochran(tau2: float, values: np.ndarray, variances: np.ndarray) -> float:
    """Sum of weighted squares around the weighted mean, weights 1 / (variance + tau2)."""
    weights = 1 / (variances + tau2)
    return float((weights * (values - np.average(values, weights=weights)) ** 2).sum())


def logit_auc(auc: float, lower: float, upper: float, with_pcr: int, without: int) -> tuple[float, float]:
    """The logit of an AUC and its variance, for pooling, from its 95 % interval on the logit scale (auc_with_ci).

    An AUC of 1 or 0 has no logit: half a pair is taken from it, (m n + 1/2) / (m n + 1), and the error is such that the bound that its interval
    has stays where it is.
    """
    logit = lambda share: math.log(share / (1 - share))
    if 0 < auc < 1:
        return logit(auc), ((logit(upper) - logit(lower)) / (2 * Z_95)) ** 2
    pairs = with_pcr * without
    value, bound = logit((pairs + 0.5) / (pairs + 1)), logit(lower if auc == 1 else 1 - upper)
    return (value if auc == 1 else -value), ((value - bound) / Z_95) ** 2
