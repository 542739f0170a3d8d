"""Training of one network on prepared crops: balanced batches, AdamW, one cycle, early stopping on the validation log-loss."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass, field
from typing import Any, Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from MRDeltaNetLib.cohort.augmentation import AugmentationConfig, augment
from MRDeltaNetLib.errors import InputError, UsageError, require
from MRDeltaNetLib.models.losses import ClassBalancedFocal
from MRDeltaNetLib.progress import Progress, silent

L = require("lightning.pytorch", "Training", "pip install 'mrdeltanet[cohort]'")

SOUND_BFLOAT16_WIDTH = 8
"""Fine tokens across a crop from which bfloat16 training on a CPU was found right."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. Balanced batches already correct the class frequency, hence beta = 0.99 only."""

    epochs: int = 30
    batch_size: int = 16                          # half of each class
    learning_rate: float = 1e-3                   # top of the cycle
    weight_decay: float = 0.05                    # none on norms, biases, positions, scales, latents
    auxiliary_weight: float = 0.5
    beta: float = 0.99
    gamma: float = 1.0
    patience: int = 15                            # epochs; the toy experiment learned nothing for the first 12
    clip_norm: float = 1.0
    precision: str = "32-true"                    # "bf16-mixed" is faster where the processor has bfloat16
    seed: int = 0
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)


class Crops(Dataset):
    """Prepared crops, each (2, 2, D, H, W) (arrays or memory maps), with outcomes (n,) 1 = pCR."""

    def __init__(self, crops: Sequence[np.ndarray], outcomes: np.ndarray) -> None:
        self.crops, self.outcomes = crops, np.asarray(outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        crop = torch.from_numpy(np.array(self.crops[index], dtype=np.float32))
        return crop, torch.tensor(float(self.outcomes[index]))


class BalancedBatches(Sampler[list[int]]):
    """Batches with equally many cases of both classes; an epoch goes once through the larger class."""

    def __init__(self, outcomes: np.ndarray, batch_size: int, seed: int) -> None:
        if batch_size < 2 or batch_size % 2:
            raise ValueError("a balanced batch has an even number of cases")
        self.classes = [np.flatnonzero(np.asarray(outcomes) == label) for label in (0, 1)]
        if not all(len(members) for members in self.classes):
            raise InputError("Training needs cases with and without complete response", code="MRD-E760",
                             found=f"{len(self.classes[1])} with, {len(self.classes[0])} without", fix="add cases of the missing class")
        self.half, self.random = batch_size // 2, np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-max(len(members) for members in self.classes) // self.half)

    def __iter__(self) -> Iterator[list[int]]:
        drawn = [self._draw(members, len(self) * self.half) for members in self.classes]
        for start in range(0, len(self) * self.half, self.half):
            yield [int(index) for members in drawn for index in members[start:start + self.half]]

    def _draw(self, members: np.ndarray, count: int) -> np.ndarray:
        rounds = -(-count // len(members))
        return np.concatenate([self.random.permutation(members) for _ in range(rounds)])[:count]


class ResponseTraining(L.LightningModule):
    """Loss = class-balanced focal + auxiliary_weight * the network's auxiliary losses."""

    def __init__(self, network: nn.Module, config: TrainingConfig, class_counts: tuple[int, int], steps: int) -> None:
        super().__init__()
        self.network, self.config, self.steps = network, config, steps
        self.loss = ClassBalancedFocal(*class_counts, beta=config.beta, gamma=config.gamma)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.history: list[dict[str, float]] = []
        self._found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        crops, outcome = batch
        with torch.autocast(self.device.type, enabled=False):
            crops = augment(crops.cpu(), self.network.geometry.spacing_mm, self.config.augmentation, self.generator).to(self.device)
        output = self.network(crops)
        loss = self.loss(output.logit.float(), outcome) + self.config.auxiliary_weight * sum(output.auxiliary.values())
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(outcome))
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        crops, outcome = batch
        self._found.append((self.network(crops).logit.float().cpu(), outcome.cpu()))

    def on_validation_epoch_end(self) -> None:
        logit, outcome = (torch.cat(parts) for parts in zip(*self._found))
        self._found.clear()
        loss = nn.functional.binary_cross_entropy_with_logits(logit, outcome)
        self.log("validation_loss", loss)
        if not self.trainer.sanity_checking:
            self.history.append({"epoch": self.current_epoch, "validation_loss": float(loss), "validation_auc": _auc(outcome, logit),
                                 "train_loss": float(self.trainer.callback_metrics.get("train_loss", float("nan")))})

    def configure_optimizers(self) -> dict[str, Any]:
        decayed = [p for p in self.network.parameters() if p.ndim > 1 and p.shape[0] > 1]
        plain = [p for p in self.network.parameters() if not (p.ndim > 1 and p.shape[0] > 1)]
        optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": self.config.weight_decay},
                                       {"params": plain, "weight_decay": 0.0}], lr=self.config.learning_rate)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.config.learning_rate, total_steps=self.steps, pct_start=0.2)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def train(network: nn.Module, training: Crops, validation: Crops, config: TrainingConfig = TrainingConfig(),
          progress: Progress = silent, device: str = "cpu") -> list[dict[str, float]]:
    """Train in place; afterwards the network holds the weights of the epoch with the lowest validation log-loss.

    device   Lightning accelerator: "cpu", "cuda" or "mps"
    returns  one entry an epoch: epoch, train_loss, validation_loss, validation_auc
    raises   InputError MRD-E760 if a class is missing, MRD-E761 if the loss never was finite,
             UsageError MRD-E762 for bfloat16 on a CPU with a crop too narrow for it
    """
    _require_sound_bfloat16(network, config, device)
    L.seed_everything(config.seed, verbose=False)
    batches = BalancedBatches(training.outcomes, config.batch_size, config.seed)
    counts = tuple(int((training.outcomes == label).sum()) for label in (0, 1))
    module = ResponseTraining(network, config, counts, steps=len(batches) * config.epochs)
    quiet = logging.getLogger("lightning.pytorch")
    level = quiet.level
    quiet.setLevel(logging.WARNING)
    best = _BestWeights()
    trainer = L.Trainer(max_epochs=config.epochs, accelerator=device, devices=1, precision=config.precision, logger=False,
                        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                        gradient_clip_val=config.clip_norm, num_sanity_val_steps=0,
                        callbacks=[best, _Report(progress, config.epochs), L.callbacks.EarlyStopping("validation_loss", patience=config.patience)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*|.*LeafSpec.*")
        trainer.fit(module, DataLoader(training, batch_sampler=batches), DataLoader(validation, batch_size=config.batch_size))
    quiet.setLevel(level)
    if not math.isfinite(best.loss):
        raise InputError("Training diverged: the validation loss was never a finite number", code="MRD-E761",
                         fix="lower the learning rate, or train with precision 32-true")
    network.load_state_dict(best.weights)
    network.eval()
    return module.history


def scores(network: nn.Module, crops: Crops, batch_size: int = 16, *, pre_of: np.ndarray | None = None) -> np.ndarray:
    """Logits (n,) in evaluation mode.

    pre_of  control: case k keeps its own post visit but gets the pre visit of case pre_of[k]
    """
    network.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch_size):
            members = range(start, min(start + batch_size, len(crops)))
            batch = torch.stack([crops[k][0] for k in members])
            if pre_of is not None:
                batch[:, 0] = torch.stack([crops[int(pre_of[k])][0][0] for k in members])
            found.append(network(batch).logit.float())
    return torch.cat(found).numpy()


def _require_sound_bfloat16(network: nn.Module, config: TrainingConfig, device: str) -> None:
    """Refuse what torch 2.13 computes wrongly: on a CPU, the bfloat16 weight gradient of a 3-D convolution over maps four voxels
    wide reads memory that was never written (seen with maps 4 wide; right to 0.3 % from 8 on)."""
    narrow = network.geometry.tokens(0)[2] < SOUND_BFLOAT16_WIDTH
    if config.precision != "32-true" and device == "cpu" and narrow:
        raise UsageError("Training in bfloat16 on a CPU needs a wider crop", code="MRD-E762",
                         found=f"{network.geometry.tokens(0)[2]} tokens across, {SOUND_BFLOAT16_WIDTH} needed", fix="take precision 32-true")


class _BestWeights(L.Callback):
    """Keeps a copy of the network's weights of the epoch with the lowest validation log-loss, in memory."""

    def __init__(self) -> None:
        self.loss, self.weights = float("inf"), {}

    def on_validation_end(self, trainer, module) -> None:
        loss = module.history[-1]["validation_loss"]
        if loss < self.loss:
            self.loss, self.weights = loss, {name: value.detach().clone() for name, value in module.network.state_dict().items()}


class _Report(L.Callback):
    def __init__(self, progress: Progress, epochs: int) -> None:
        self.progress, self.epochs = progress, epochs

    def on_train_epoch_end(self, trainer, module) -> None:
        last = module.history[-1]
        self.progress((trainer.current_epoch + 1) / self.epochs,
                      f"epoch {trainer.current_epoch + 1}: training loss {float(trainer.callback_metrics['train_loss']):.3f}, "
                      f"validation loss {last['validation_loss']:.3f}, AUC {last['validation_auc']:.3f}")


def _auc(outcome: torch.Tensor, logit: torch.Tensor) -> float:
    high, low = logit[outcome > 0.5], logit[outcome <= 0.5]
    if not len(high) or not len(low):
        return float("nan")
    return float(((high[:, None] > low).float() + 0.5 * (high[:, None] == low).float()).mean())
