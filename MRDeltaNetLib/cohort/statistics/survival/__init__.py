"""Survival: curves, tests, Cox models, how well a number ranks times, and restricted means. time (n,) >= 0; event (n,) 1 if it happened then, else 0."""

from MRDeltaNetLib.cohort.statistics.survival.concordance import Concordance, censoring_weights, harrell, uno
from MRDeltaNetLib.cohort.statistics.survival.cox import Cox, HazardTest, cox, efron, proportional_hazards
from MRDeltaNetLib.cohort.statistics.survival.kaplan_meier import (KaplanMeier, Median, at_risk, kaplan_meier, logrank, median_survival,
                                                                   reverse_follow_up, survival_at, with_interval)
from MRDeltaNetLib.cohort.statistics.survival.restricted_mean import MeanDifference, RestrictedMean, mean_difference, restricted_mean
from MRDeltaNetLib.cohort.statistics.survival.time_dependent import time_dependent_auc, time_dependent_auc_bounds

__all__ = ["Concordance", "Cox", "HazardTest", "KaplanMeier", "MeanDifference", "Median", "RestrictedMean", "at_risk", "censoring_weights", "cox",
           "efron", "harrell", "kaplan_meier", "logrank", "mean_difference", "median_survival", "proportional_hazards", "restricted_mean",
           "reverse_follow_up", "survival_at", "time_dependent_auc", "time_dependent_auc_bounds", "uno", "with_interval"]
