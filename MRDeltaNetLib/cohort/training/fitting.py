"""fit(): one training, in a folder where it can be killed and started again, or in memory."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import logging
import tempfile
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from MRDeltaNetLib.cohort.training.data import BalancedBatches, Batches, Crops, ShuffledBatches
from MRDeltaNetLib.cohort.training.locking import folder_lock
from MRDeltaNetLib.cohort.training.precision import choose_precision
from MRDeltaNetLib.cohort.training.stopping import MONITORS, Monitor, uninformed
from MRDeltaNetLib.config import LossConfig, PretrainingConfig, TrainingConfig
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError, OutOfMemory, UsageError, require
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, atomic, output_problem, sha256, write_text
from MRDeltaNetLib.models.encoder import Geometry
from MRDeltaNetLib.progress import Progress, silent

CHECKPOINT, BEST, METRICS, WEIGHTS, DONE = "last.ckpt", "best.safetensors", "metrics.csv", "weights.safetensors", "done.json"
"""Files of a training's folder; done.json is the last to be written."""

REPORT_EVERY_S = 0.5
"""How often progress is told inside an epoch, and so how soon a cancelled training stops."""


@dataclass
class Fitted:
    """How a training went. The network it was given ends with the weights of best_epoch (the moving average), in evaluation mode, on the CPU.

    history     one entry an epoch: epoch (from 0), train_loss and its weighted terms, validation_loss, validation_auc, validation_f1,
                threshold, monitor (smoothed), learning_rate, best; None where a measure does not exist
    best_epoch  number in history; best_value its smoothed monitor (larger is better; of "nll" the negative)
    precision   what "auto" became
    """

    history: list[dict[str, Any]]
    best_epoch: int
    best_value: float
    precision: str


@dataclass(frozen=True)
class Job:
    """One training as it can travel to another process."""

    network: nn.Module
    training: Crops
    validation: Crops
    config: TrainingConfig
    accelerator: str
    devices: int
    precision: str
    identity: str
    folder: Path | None
    pretraining: PretrainingConfig | None = None

    def batches(self, rank: int) -> Batches:
        """This rank's batches."""
        size, seed, place = self.config.batch_size, self.config.seed, {"rank": rank, "ranks": self.devices}
        if self.pretraining is None and self.config.balanced:
            return BalancedBatches(self.training.outcomes, size, seed, **place)
        return ShuffledBatches(len(self.training), size, seed, **place)

    def module(self, batches: Batches):
        """What Lightning trains."""
        if self.pretraining is not None:
            from MRDeltaNetLib.cohort.training.pretraining import Pretraining

            return Pretraining(self.network, self.config, self.pretraining, batches, self.identity)
        from MRDeltaNetLib.cohort.training.module import ResponseTraining

        monitor = Monitor(self.config.smoothing, self.config.patience, uninformed(self.config.monitor, float(np.mean(self.validation.outcomes))))
        return ResponseTraining(self.network, self.config, batches, self.identity, monitor, self.training.counts())


def fit(network: nn.Module, training: Crops, validation: Crops, config: TrainingConfig = TrainingConfig(), *, folder: Path | None = None,
        accelerator: str = "cpu", devices: int = 1, progress: Progress = silent) -> Fitted:
    """Train a network in place; afterwards it holds the weights of the best epoch by the monitor on the validation cases.

    folder       gets last.ckpt after every epoch, best.safetensors, metrics.csv, tensorboard/, at the end weights.safetensors and done.json. A
                 training that was killed is taken up at its last whole epoch and ends with the same bytes as an unbroken one (same
                 network, data, settings, number of threads, kind of processor); a finished one is read, not repeated.
                 None: nothing is written
    accelerator  "auto", "cpu", "cuda" or "mps"
    devices      more than one: as many processes of DDP, each with its share of every batch
    raises       InputError MRD-E760 (a class is missing), E761 (diverged), E764 (the folder holds another training), E765 (its files are
                 damaged), UsageError E762 (bfloat16 is not sound), E767 (batch cannot be shared),
                 E769 (settings), EnvironmentProblem E763 (two trainings on one folder), E768 (devices), E810 to E813 (cannot write),
                 E772 (a process of DDP ended), OutOfMemory E770, Cancelled
    """
    training.counts()
    if config.monitor not in MONITORS:
        raise UsageError("This is not a monitor that training knows", code="MRD-E769", found=f"'{config.monitor}'",
                         fix=f"choose one of {', '.join(MONITORS)}")
    classes = set(np.unique(validation.outcomes).tolist())
    if not classes <= {0, 1} or config.monitor != "nll" and classes != {0, 1}:
        raise InputError(f"The monitor '{config.monitor}' needs validation cases with and without complete response", code="MRD-E760",
                         found=f"{int((validation.outcomes == 1).sum())} with, {int((validation.outcomes == 0).sum())} without",
                         fix="keep more cases aside for early stopping, or monitor 'nll'")
    return run(network, training, validation, config, None, folder, accelerator, devices, progress)


def run(network: nn.Module, training: Crops, validation: Crops, config: TrainingConfig, pretraining: PretrainingConfig | None,
        folder: Path | None, accelerator: str, devices: int, progress: Progress) -> Fitted:
    """What fit() and pretrain() share; see fit()."""
    accelerator = _accelerator(accelerator, devices)
    if config.epochs < 1 or not len(validation):
        raise UsageError("A training needs at least one epoch and one validation case", code="MRD-E769",
                         found=f"{config.epochs} epochs, {len(validation)} validation cases", fix="give more of both")
    precision = choose_precision(config.precision, network, accelerator)
    if config.loss.gate_budget != LossConfig().gate_budget:            # otherwise the network's own setting holds
        for part in network.modules():
            if hasattr(part, "gate_budget"):
                part.gate_budget = config.loss.gate_budget
    job = Job(network, training, validation, config, accelerator, devices, precision,
              _identity(network, training, validation, config, pretraining, devices), None if folder is None else Path(folder), pretraining)
    job.batches(0)                                        # refuses a batch that cannot be shared before anything is written
    with contextlib.ExitStack() as stack:
        if job.folder is None and devices > 1:            # the processes hand the weights over through a folder
            job = replace(job, folder=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mrdeltanet-training-"))))
        if job.folder is None:
            return train_here(job, progress)
        beat = stack.enter_context(folder_lock(job.folder))
        if (fitted := _finished(job)) is not None:
            return fitted
        for left in job.folder.glob(f"{TEMPORARY_PREFIX}*"):
            left.unlink(missing_ok=True)                  # half-written files of a training that was killed

        def alive(done: float, message: str) -> None:
            beat()
            progress(done, message)

        if devices == 1:
            return train_here(job, alive)
        from MRDeltaNetLib.cohort.training.distributing import train_in_processes

        train_in_processes(job, alive)
        fitted = _finished(job)
    return fitted


def train_here(job: Job, progress: Progress, rank: int = 0) -> Fitted:
    """Train in this process, as one rank of job.devices."""
    from MRDeltaNetLib.cohort.training.keeping import Keeping, trainer

    batches = job.batches(rank)
    module = job.module(batches)
    job.network.train()
    loader = {"num_workers": 0 if job.accelerator == "cpu" else 4, "pin_memory": job.accelerator == "cuda",
              "persistent_workers": job.accelerator != "cpu"}
    loaders = (DataLoader(job.training, batch_sampler=batches, **loader),
               DataLoader(job.validation, batch_size=max(1, job.config.batch_size // job.devices), **loader))
    checkpoint = None if job.folder is None else job.folder / CHECKPOINT
    with _quiet(), _plain_words(job), torch.random.fork_rng():
        trainer(job, module.epochs, Keeping(job.folder, progress)).fit(
            module, *loaders, ckpt_path=checkpoint if checkpoint is not None and checkpoint.exists() else None, weights_only=True)
    module.cpu()
    job.network.load_state_dict(module.best)
    job.network.eval()
    fitted = Fitted(module.history, module.monitor.best_epoch, module.monitor.best_value, job.precision)
    if job.folder is not None and rank == 0:
        _finish(job, fitted)
    return fitted


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Weights as safetensors, whole or not at all."""
    files = require("safetensors.torch", "Writing a model", "pip install safetensors")
    data = files.save({name: value.contiguous() for name, value in weights.items()})
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def metrics_csv(history: list[dict[str, Any]]) -> str:
    """History as a table, one row an epoch; a measure that an epoch does not have is empty."""
    columns = list(dict.fromkeys(name for entry in history for name in entry))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return text.getvalue()


def _finish(job: Job, fitted: Fitted) -> None:
    save_weights(job.folder / WEIGHTS, job.network.state_dict())
    facts = asdict(fitted) | {"identity": job.identity, "weights_sha256": sha256(job.folder / WEIGHTS), "accelerator": job.accelerator,
                              "devices": job.devices, "torch": torch.__version__}
    write_text(job.folder / DONE, json.dumps(facts, indent=1, allow_nan=False) + "\n")


def _finished(job: Job) -> Fitted | None:
    """The folder's finished training, its weights loaded; None if there is none."""
    if not (job.folder / DONE).exists():
        return None
    damaged = InputError("The output folder's finished training is damaged", code="MRD-E765",
                         fix="remove done.json and weights.safetensors there; the training then goes on from its last checkpoint")
    try:
        facts = json.loads((job.folder / DONE).read_text(encoding="utf-8"))
        fitted = Fitted(**{name: facts[name] for name in ("history", "best_epoch", "best_value", "precision")})
        identity, digest = facts["identity"], facts["weights_sha256"]
    except (ValueError, KeyError, TypeError) as cause:
        raise damaged from cause
    if identity != job.identity:
        from MRDeltaNetLib.cohort.training.module import other_training

        raise other_training()
    if not (job.folder / WEIGHTS).exists() or sha256(job.folder / WEIGHTS) != digest:
        raise damaged
    files = require("safetensors.torch", "Reading a model", "pip install safetensors")
    job.network.load_state_dict(files.load_file(job.folder / WEIGHTS))
    job.network.cpu().eval()
    return fitted


def _identity(network: nn.Module, training: Crops, validation: Crops, config: TrainingConfig, pretraining: PretrainingConfig | None,
              devices: int) -> str:
    """Digest of everything that a training's result follows from, except the first weights and the code."""
    weights = [(name, list(value.shape), str(value.dtype)) for name, value in network.state_dict().items()]
    facts = [asdict(config), None if pretraining is None else asdict(pretraining), _settings(network), weights, devices]
    found = hashlib.sha256(json.dumps(facts).encode())
    for crops in (training, validation):
        found.update(json.dumps([len(crops), *crops.keys]).encode())
        found.update(np.asarray(crops.outcomes, np.float64).tobytes())
    return found.hexdigest()


def _settings(network: nn.Module) -> list[Any]:
    """Class and plain attributes of every part: networks whose weights look alike may still differ in what they read, drop or compare."""
    def plain(value: Any) -> bool:
        return isinstance(value, (bool, int, float, str, Geometry)) or isinstance(value, tuple) and all(map(plain, value))

    return [(name, type(part).__name__, sorted((key, repr(value)) for key, value in vars(part).items()
                                               if not key.startswith("_") and key not in ("training", "map_note") and plain(value)))
            for name, part in network.named_modules()]


def _accelerator(name: str, devices: int) -> str:
    from MRDeltaNetLib.response.prediction import choose_device

    found = choose_device(name)[0].type
    there = torch.cuda.device_count() if found == "cuda" else 1 if found == "mps" else devices
    if not 1 <= devices <= there:
        raise EnvironmentProblem("This machine does not have so many devices to train on", code="MRD-E768",
                                 found=f"{devices} wanted, {there} there", fix="ask for fewer devices")
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice is for programmers; what a user needs is told by progress and errors."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*|.*deterministic.*|.*lr_scheduler.step.*")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


@contextlib.contextmanager
def _plain_words(job: Job) -> Iterator[None]:
    """Errors of torch and Lightning as ours."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as stopped:    # Lightning ends the program at an interrupt, and raises SystemExit at SIGTERM
        raise Cancelled("The training was stopped", fix="start it again with the same output folder; it goes on after its last whole epoch"
                        ) from stopped
    except OSError as problem:
        raise output_problem(problem) from problem
    except (MemoryError, RuntimeError) as problem:
        if isinstance(problem, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(problem):
            raise OutOfMemory(f"The training does not fit into the memory of the {job.accelerator} device", code="MRD-E770",
                              fix="take a smaller batch, crop or preset; a training in a folder goes on after its last whole epoch") from problem
        raise
