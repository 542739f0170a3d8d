"""Training of one network on prepared crops: balanced batches, losses, AdamW, moving average, early stopping; resumed after a kill.

pretrain() and start_from() are in training.pretraining, which needs Lightning at once; what is here needs it when fit() is called.
"""

from MRDeltaNetLib.cohort.training.data import BalancedBatches, Crops, ShuffledBatches
from MRDeltaNetLib.cohort.training.fitting import Fitted, fit
from MRDeltaNetLib.cohort.training.precision import SOUND_BFLOAT16_WIDTH, choose_precision
from MRDeltaNetLib.cohort.training.scoring import outputs, scores
from MRDeltaNetLib.config import AugmentationConfig, LossConfig, TrainingConfig

__all__ = ["AugmentationConfig", "BalancedBatches", "Crops", "Fitted", "LossConfig", "SOUND_BFLOAT16_WIDTH", "ShuffledBatches", "TrainingConfig",
           "choose_precision", "fit", "outputs", "scores"]
