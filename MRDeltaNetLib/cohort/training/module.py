"""The Lightning modules: response training and pretraining, and what both share."""

from __future__ import annotations

import math
from typing import Any, Mapping

import numpy as np
import torch
from torch import nn

from MRDeltaNetLib.cohort.augmentation import augment, probabilities, ramp
from MRDeltaNetLib.cohort.training.averaging import ExponentialAverage
from MRDeltaNetLib.cohort.training.data import Batches
from MRDeltaNetLib.cohort.training.optimisation import optimisers
from MRDeltaNetLib.cohort.training.stopping import Monitor, auc, f1, log_loss
from MRDeltaNetLib.config import TrainingConfig
from MRDeltaNetLib.errors import InputError, require
from MRDeltaNetLib.models.losses import ClassBalancedFocal, identity_contrast, response_contrast

L = require("lightning.pytorch", "Training", "pip install 'mrdeltanet[cohort]'")

OWN = "mrdeltanet"
"""Our part of a checkpoint: identity, history, monitor, best weights, queue."""


class Training(L.LightningModule):
    """Optimiser, moving average, history, best weights and checkpoint of any training; what is learned is the subclass's.

    All randomness is a function of (seed, epoch, batch, rank): torch is seeded anew for every batch, so a training that is taken up
    at the end of an epoch goes on with the numbers of an unbroken one.
    identity  digest of configuration, network and data; a checkpoint of another training is refused (MRD-E764)
    """

    def __init__(self, network: nn.Module, config: TrainingConfig, epochs: int, batches: Batches, identity: str, monitor: Monitor) -> None:
        super().__init__()
        self.network, self.config, self.epochs, self.batches = network, config, epochs, batches
        self.identity, self.monitor = identity, monitor
        self.average = ExponentialAverage(network, config.ema_decay) if config.ema_decay > 0 else None
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] = {}
        self.improved = False
        self._terms: dict[str, list[torch.Tensor]] = {}
        self._validated: list[tuple[torch.Tensor, ...]] = []

    def terms(self, crops: torch.Tensor, outcome: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Weighted parts of the loss of one batch."""
        raise NotImplementedError

    def judge(self, validated: list[tuple[torch.Tensor, ...]]) -> dict[str, Any]:
        """Measures of an epoch's validation, with "value" (larger is better) and "validation_loss" among them."""
        raise NotImplementedError

    @property
    def epoch(self) -> int:
        """Number of the running epoch, from 0."""
        return len(self.history)

    @property
    def validated(self) -> nn.Module:
        """The network that is validated and kept: the moving average, if there is one."""
        return self.network if self.average is None else self.average.network

    def configure_optimizers(self) -> dict[str, Any]:
        return optimisers(self.network, self.config, len(self.batches), self.epochs)

    def on_train_epoch_start(self) -> None:
        self.batches.set_epoch(self.epoch)
        self._terms = {}

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        crops, outcome = batch
        place = (self.config.seed, self.epoch, index, self.batches.rank)
        torch.manual_seed(seed_of(*place, 0))
        generator = torch.Generator(self.device).manual_seed(seed_of(*place, 1))
        terms = self.terms(crops, outcome, generator)
        loss = sum(terms.values())
        if loss.device.type == "cpu":                     # elsewhere reading it would stop the queue; the end of the epoch looks at it
            self._require_finite(float(loss.detach()))
        for name, value in (terms | {"loss": loss}).items():
            self._terms.setdefault(name, []).append(value.detach().float())
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        if self.average is not None:
            self.average.update(self.network, self.trainer.global_step - 1)

    def on_validation_epoch_end(self) -> None:
        means = {f"train_{name}": float(self.everyones(torch.stack(values)).mean()) for name, values in self._terms.items()}
        self._require_finite(means["train_loss"])
        found = self.judge(self._validated)
        self._validated = []
        self._require_finite(found["validation_loss"])
        self.improved = self.monitor.update(self.epoch, found.pop("value"), found["validation_loss"])
        if self.improved:
            self.best = {name: value.detach().cpu().clone() for name, value in self.validated.state_dict().items()}
        rate = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)
        entry = {"epoch": self.epoch, **means, **found, "monitor": self.monitor.smoothed, "learning_rate": rate, "best": self.improved}
        self.history.append({name: None if isinstance(value, float) and math.isnan(value) else value for name, value in entry.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[OWN] = {"identity": self.identity, "history": self.history, "monitor": self.monitor.state(), "best": self.best,
                           **self.own_state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = checkpoint.get(OWN, {})
        if own.get("identity") != self.identity:
            raise other_training()
        self.history, self.best = list(own["history"]), dict(own["best"])
        self.monitor.restore(own["monitor"])
        self.batches.set_epoch(self.epoch)
        self.restore_own_state(own)

    def own_state(self) -> dict[str, Any]:
        """What the subclass keeps beside its weights; tensors and plain values."""
        return {}

    def restore_own_state(self, state: Mapping[str, Any]) -> None:
        """The reverse of own_state."""

    def everyones(self, values: torch.Tensor) -> torch.Tensor:
        """All ranks' values one after the other, (n,) or (n, k); on one device the values themselves."""
        if self.trainer.world_size == 1:
            return values
        return self.all_gather(values.contiguous()).flatten(0, 1)

    def _require_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise InputError("Training diverged: the loss is no longer a finite number", code="MRD-E761", found=f"in epoch {self.epoch + 1}",
                             fix="lower the learning rate, or train with precision 32-true; see that no crop holds values that are not numbers")


class ResponseTraining(Training):
    """Loss = class-balanced focal + auxiliary, gate and contrastive terms with LossConfig's weights.

    counts  training cases (non-pCR, pCR)
    """

    def __init__(self, network: nn.Module, config: TrainingConfig, batches: Batches, identity: str, monitor: Monitor,
                 counts: tuple[int, int]) -> None:
        super().__init__(network, config, config.epochs, batches, identity, monitor)
        beta = config.loss.beta if config.loss.beta is not None else 0.99 if config.balanced else 0.999
        self.focal = ClassBalancedFocal(*counts, beta=beta, gamma=config.loss.gamma)
        self.counts = counts
        self._queue: tuple[torch.Tensor, torch.Tensor] | None = None
        self._trained: list[tuple[torch.Tensor, torch.Tensor]] = []

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self._trained = []

    def terms(self, crops: torch.Tensor, outcome: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        weights, augmentation = self.config.loss, self.config.augmentation
        with torch.autocast(self.device.type, enabled=False):
            crops = augment(crops, self.network.geometry.spacing_mm, augmentation, generator,
                            probabilities(outcome, self.counts, self.epoch, augmentation), self.epoch)
        output = self.network(crops)
        terms = {"focal": self.focal(output.logit.float(), outcome)}
        for name, value in output.auxiliary.items():
            terms[name] = (weights.gate_weight if name == "gate_budget" else weights.auxiliary_weight) * value
        rising = ramp(self.epoch, weights.ramp_epochs)
        if weights.response_weight and rising:
            terms["response"] = rising * weights.response_weight * response_contrast(
                output.embedding, outcome, *(self._queue or (None, None)), temperature=weights.temperature,
                responders_only=weights.responders_only)
        if weights.identity_weight and rising and output.anatomy is not None:
            terms["identity"] = rising * weights.identity_weight * identity_contrast(output.anatomy, temperature=weights.temperature)
        if weights.response_weight and weights.queue:
            self._enqueue(output.embedding.detach().float(), outcome)
        self._trained.append((output.logit.detach().float(), outcome))
        return terms

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        crops, outcome = batch
        self._validated.append((self.validated(crops).logit.float(), outcome))

    def judge(self, validated: list[tuple[torch.Tensor, ...]]) -> dict[str, Any]:
        """F1 at the Youden threshold of the epoch's own training logits (in training mode, on augmented crops), AUC and log-loss."""
        from MRDeltaNetLib.cohort.statistics import youden_threshold

        logit, outcome = (torch.cat(parts).cpu().numpy() for parts in zip(*validated))
        trained_logit, trained_outcome = (self.everyones(torch.cat(parts)).cpu().numpy() for parts in zip(*self._trained))
        threshold = youden_threshold(trained_outcome, trained_logit)
        found = {"f1": f1(outcome, logit, threshold), "auc": auc(outcome, logit), "nll": log_loss(outcome, logit)}
        value = -found["nll"] if self.config.monitor == "nll" else found[self.config.monitor]
        return {"value": value, "validation_loss": found["nll"], "validation_auc": found["auc"], "validation_f1": found["f1"],
                "threshold": threshold}

    def own_state(self) -> dict[str, Any]:
        return {"queue": None if self._queue is None else [part.cpu() for part in self._queue]}

    def restore_own_state(self, state: Mapping[str, Any]) -> None:
        self._queue = None if state["queue"] is None else tuple(part.to(self.device) for part in state["queue"])

    def on_train_start(self) -> None:
        if self._queue is not None:                       # restored before Lightning moved the module
            self._queue = tuple(part.to(self.device) for part in self._queue)

    def _enqueue(self, embedding: torch.Tensor, outcome: torch.Tensor) -> None:
        """The newest config.loss.queue embeddings of all ranks, the latest at the end."""
        new = (self.everyones(embedding), self.everyones(outcome))
        joined = new if self._queue is None else tuple(torch.cat(pair) for pair in zip(self._queue, new))
        self._queue = tuple(part[-self.config.loss.queue:] for part in joined)


def seed_of(*numbers: int) -> int:
    """One 63-bit seed from several numbers, well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def other_training() -> InputError:
    """The folder's files are of a training with other settings, data or network."""
    return InputError("The output folder holds another training: its settings, network or cases are different", code="MRD-E764",
                      fix="choose another output folder, or remove this one if its training is no longer wanted")


