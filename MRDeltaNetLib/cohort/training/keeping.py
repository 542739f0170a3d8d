"""Lightning's trainer as we use it, and what happens at the end of every epoch: metrics, best weights, checkpoint, progress, stop."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from MRDeltaNetLib.cohort.training import fitting
from MRDeltaNetLib.errors import InputError, require
from MRDeltaNetLib.io.atomic import atomic, write_text
from MRDeltaNetLib.progress import Progress

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.training.module import Training

L = require("lightning.pytorch", "Training", "pip install 'mrdeltanet[cohort]'")
plugins = require("lightning.pytorch.plugins.io", "Training", "pip install 'mrdeltanet[cohort]'")
environments = require("lightning.pytorch.plugins.environments", "Training", "pip install 'mrdeltanet[cohort]'")


def trainer(job: "fitting.Job", epochs: int, keeping: "Keeping"):
    """A quiet trainer with our checkpoints and nothing random of its own."""
    strategy = "auto"
    if job.devices > 1:
        # Parts of a network without gradient in some epochs (contrast before its ramp) would stop DDP otherwise.
        strategy = require("lightning.pytorch.strategies", "Training").DDPStrategy(find_unused_parameters=True)
    logger = False
    if job.folder is not None:
        require("tensorboard", "Logging of a training", "pip install 'mrdeltanet[cohort]'")
        logger = require("lightning.pytorch.loggers", "Training").TensorBoardLogger(job.folder, name="tensorboard", version="")
    return L.Trainer(max_epochs=epochs, accelerator=job.accelerator, devices=job.devices, strategy=strategy, precision=job.precision,
                     logger=logger, default_root_dir=job.folder, gradient_clip_val=job.config.clip_norm or None, num_sanity_val_steps=0,
                     deterministic="warn" if job.accelerator == "cuda" else None, enable_checkpointing=False, enable_progress_bar=False,
                     enable_model_summary=False, use_distributed_sampler=False, callbacks=[keeping],
                     plugins=[WholeCheckpoints(), environments.LightningEnvironment()])


class WholeCheckpoints(plugins.TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, and on the disk when the next epoch starts; nothing in them is unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        stream = io.BytesIO()                             # torch writing to a full disk raises something that nobody understands
        torch.save(checkpoint, stream)
        with atomic(path) as temporary:
            temporary.write_bytes(stream.getbuffer())

    def load_checkpoint(self, path: str | Path, map_location: Any = lambda storage, _: storage, weights_only: bool | None = True) -> dict[str, Any]:
        try:
            return super().load_checkpoint(path, map_location, weights_only=True)
        except Exception as cause:                        # a damaged file raises a dozen different things
            raise InputError("The checkpoint of the training in the output folder is damaged", code="MRD-E765", found=type(cause).__name__,
                             fix="remove last.ckpt there; the training then begins anew") from cause


class Keeping(L.Callback):
    """Keeps what a training found, tells how it goes, and stops it when the monitor's patience is at its end.

    folder  None: nothing is written
    """

    def __init__(self, folder: Path | None, progress: Progress) -> None:
        self.folder, self.progress = folder, progress
        self._told = time.monotonic()

    def on_train_start(self, trainer: "L.Trainer", module: "Training") -> None:
        trainer.should_stop = module.monitor.exhausted and bool(module.history)        # killed after the last epoch, before done.json

    def on_train_batch_end(self, trainer: "L.Trainer", module: "Training", outputs: Any, batch: Any, index: int) -> None:
        if time.monotonic() - self._told >= fitting.REPORT_EVERY_S:
            self._told = time.monotonic()
            done = (module.epoch + (index + 1) / len(module.batches)) / module.epochs
            self.progress(min(done, 1.0), f"epoch {module.epoch + 1}: batch {index + 1} of {len(module.batches)}")

    def on_train_epoch_end(self, trainer: "L.Trainer", module: "Training") -> None:
        last = module.history[-1]
        if self.folder is not None:
            if trainer.is_global_zero:
                write_text(self.folder / fitting.METRICS, fitting.metrics_csv(module.history))
                if module.improved:
                    fitting.save_weights(self.folder / fitting.BEST, module.best)
                numbers = {name: float(value) for name, value in last.items() if value is not None}
                trainer.logger.log_metrics(numbers, step=last["epoch"])
            trainer.save_checkpoint(self.folder / fitting.CHECKPOINT)                 # last, and by all ranks together
        trainer.should_stop = bool(trainer.strategy.broadcast(module.monitor.exhausted))
        parts = [f"{word} {last[name]:.3f}" for word, name in (("training loss", "train_loss"), ("validation loss", "validation_loss"),
                                                               ("AUC", "validation_auc"), ("F1", "validation_f1"))
                 if last.get(name) is not None]
        self.progress(module.epoch / module.epochs, f"epoch {module.epoch}: {', '.join(parts)}")
