"""Statistics of many cases, each with its uncertainty. outcome is 1 for pCR and 0 for non-pCR throughout; a larger score means closer to pCR.

Own code only where no well-kept library has it (DeLong's paired test); curves and Brier score are scikit-learn's, proportions and
regressions statsmodels', each loaded when first asked for.
"""

from MRDeltaNetLib.cohort.statistics.auc import (Difference, auc_with_ci, delong, expected_ci, hanley_mcneil_error, midranks, newcombe_bounds, paired_delong)
from MRDeltaNetLib.cohort.statistics.calibrating import (Calibration, brier, calibration, expected_over_observed, in_the_large, scaled_brier, slope_of)
from MRDeltaNetLib.cohort.statistics.operating import OperatingPoint, Proportion, operating_point, roc, wilson, youden_threshold
from MRDeltaNetLib.cohort.statistics.packages import Z_95
from MRDeltaNetLib.cohort.statistics.regression import logistic, sigmoid

__all__ = ["Calibration", "Difference", "OperatingPoint", "Proportion", "Z_95", "auc_with_ci", "brier", "calibration", "delong", "expected_ci",
           "expected_over_observed", "hanley_mcneil_error", "in_the_large", "logistic", "midranks", "newcombe_bounds", "operating_point", "paired_delong",
           "roc", "scaled_brier", "sigmoid", "slope_of", "wilson", "youden_threshold"]
