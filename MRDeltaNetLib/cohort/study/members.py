"""The networks of a study: one a fold and seed, each in its own folder, each taken up where a killed run left it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from MRDeltaNetLib.cohort.splitting import Split
from MRDeltaNetLib.cohort.study.record import MAX_BYTES
from MRDeltaNetLib.config import GateLimits, StudyConfig
from MRDeltaNetLib.errors import InputError, require
from MRDeltaNetLib.io.atomic import atomic, sha256, write_text
from MRDeltaNetLib.io.tables import read_json
from MRDeltaNetLib.progress import Progress, part, silent

if TYPE_CHECKING:
    import torch

WEIGHTS, OUTPUTS, DONE = "weights.safetensors", "outputs.safetensors", "member.json"
UNREAD = ("MRD-E425", "MRD-E427")
"""A note that was not read: too large, or not to be opened. It tells nothing against the network beside it."""

SCORING_SHARE = 0.9
"""Where training ends on a member's bar and scoring begins."""


@dataclass(frozen=True)
class Member:
    """One trained network (or table model) of a study.

    name        "repeat-0-fold-2-seed-1"; names its folder
    split       who trained it; seed: of the study's seeds
    logits      (n,) of all cases of the study, in their order; those of its own training cases are no out-of-fold scores
    embeddings  (n, k), k = 0 where the model has none
    summary     plain JSON: epochs, best epoch, best value, sizes, history
    """

    name: str
    split: Split
    seed: int
    logits: np.ndarray
    embeddings: np.ndarray
    summary: Mapping[str, Any]


def member_name(split: Split, seed: int) -> str:
    """The name of a member and of its folder."""
    return f"{split.name}-seed-{seed}"


def network_settings(config: StudyConfig) -> dict[str, Any]:
    """Settings of one network: [model] and the crop that [preprocessing] says."""
    preprocessing = config.preprocessing
    return {"spacing_mm": list(preprocessing.spacing_mm), "crop_mm": list(preprocessing.crop_mm), **dict(config.model.settings)}


def train_member(split: Split, seed: int, prepared: Any, config: StudyConfig, folder: Path, *, accelerator: str = "cpu",
                 progress: Progress = silent) -> Member:
    """Train one network, or take up what its folder holds, and score every case with it.

    prepared  cohort.preparing.PreparedCohort; split's indices are of its cases
    folder    of this member; member.json in it is written last, and its networks' outputs are believed only with it
    raises    as cohort.training.fit; InputError MRD-E766 if the weights to start from are not of this network
    """
    from MRDeltaNetLib.cohort.training import Crops, fit, outputs
    from MRDeltaNetLib.cohort.training.pretraining import start_from
    from MRDeltaNetLib.models import registry

    name, begun = member_name(split, seed), digest_of(split, seed, prepared.keys)
    if (found := _finished(folder, begun, len(prepared.keys))) is not None:
        progress(1.0, f"{name}: done before")
        return Member(name, split, seed, *found)
    torch = require("torch", "Training")
    torch.manual_seed(member_seed(config, split, seed))
    network = registry.build(config.model.name, **network_settings(config))
    if config.start is not None:
        start_from(network, config.start, config.start_parts)
    crops = {what: Crops([prepared.crops[k] for k in indices], np.asarray(prepared.outcomes)[indices].astype(int), [prepared.keys[k] for k in indices])
             for what, indices in (("training", split.training), ("stopping", split.stopping))}
    training = replace(config.training, seed=member_seed(config, split, seed))
    fitted = fit(network, crops["training"], crops["stopping"], training, folder=folder, accelerator=accelerator, devices=config.devices,
                 progress=part(progress, 0.0, SCORING_SHARE))
    everyone = Crops(prepared.crops, np.zeros(len(prepared.crops)), prepared.keys)
    progress(SCORING_SHARE, f"{name}: scoring {len(everyone)} cases")
    logits, embeddings, _ = outputs(network, everyone, device=scoring_device(accelerator))
    _refuse_nonsense(logits)
    summary = {"epochs": len(fitted.history), "best_epoch": int(fitted.best_epoch), "best_value": _number(fitted.best_value),
               "monitor": config.training.monitor, "training": len(split.training), "stopping": len(split.stopping),
               "held_out": len(split.held_out), "history": _plain_history(fitted.history)}
    _finish(folder, begun, logits, embeddings, summary)
    progress(1.0, f"{name}: best epoch {summary['best_epoch']}")
    return Member(name, split, seed, *_finished(folder, begun, len(prepared.keys)))


def member_seed(config: StudyConfig, split: Split, seed: int) -> int:
    """The seed of a member's weights and batches: another one for every split and seed."""
    text = json.dumps([config.training.seed, seed, split.repeat, split.fold])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def digest_of(split: Split, seed: int, keys: tuple[str, ...]) -> str:
    """What a member's folder was made from, beside the study's own digest."""
    facts = [seed, split.name, *([keys[k] for k in indices] for indices in (split.training, split.stopping, split.held_out)), list(keys)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def load_weights(network: "torch.nn.Module", path: Path) -> "torch.nn.Module":
    """The network with a member's weights; parts that only training needs may be in the file and not in the network.

    raises  InputError MRD-E781 if they do not fit or hold values that are not numbers
    """
    load_file = require("safetensors.torch", "Training", "pip install safetensors").load_file
    torch = require("torch", "Training")
    try:
        stored = load_file(path)
        kept = {name: stored[name] for name in network.state_dict()}
        network.load_state_dict(kept)
        sound = all(bool(torch.isfinite(value).all()) for value in kept.values() if value.is_floating_point())
    except (OSError, RuntimeError, KeyError, ValueError) as cause:
        raise _unusable(type(cause).__name__) from cause
    except Exception as cause:  # noqa: BLE001 safetensors raises its own type for a damaged header
        raise _unusable(type(cause).__name__) from cause
    if not sound:
        raise _unusable("values that are not numbers")
    return network.eval()


def accelerator_of(config: StudyConfig) -> str:
    """"cpu" or "cuda"; "auto" takes CUDA where there is one.

    raises  EnvironmentProblem MRD-E702 if CUDA is asked for and not there
    """
    from MRDeltaNetLib.response.prediction import choose_device

    return choose_device(config.accelerator)[0].type


def scoring_device(accelerator: str) -> str:
    """Where a trained network is scored: on the accelerator, one device."""
    return accelerator


def _finish(folder: Path, begun: str, logits: np.ndarray, embeddings: np.ndarray, summary: Mapping[str, Any]) -> None:
    """Keep outputs and, last of all, the note that says they are whole.

    raises  EnvironmentProblem MRD-E810 to E813
    """
    save = require("safetensors.numpy", "Training", "pip install safetensors").save
    arrays = {"logits": np.asarray(logits, np.float64), "embeddings": np.ascontiguousarray(embeddings, np.float32)}
    data = save(arrays)
    with atomic(folder / OUTPUTS) as temporary:
        temporary.write_bytes(data)
    weights = folder / WEIGHTS
    note = {"made_from": begun, "outputs_sha256": sha256(folder / OUTPUTS), "weights_sha256": sha256(weights) if weights.exists() else None,
            "summary": dict(summary)}
    write_text(folder / DONE, json.dumps(note, indent=1, allow_nan=False) + "\n")


def _finished(folder: Path, begun: str, cases: int) -> tuple[np.ndarray, np.ndarray, Mapping[str, Any]] | None:
    """Logits, embeddings and summary of a member that is done and whole; None to train it, or to train it on.

    A folder whose files are not those that were written is removed; one that cannot be read stays.
    raises  InputError MRD-E425 (the note is too large), E427 (the note cannot be opened), E781 (outputs or weights cannot be)
    """
    if not (folder / DONE).exists():
        return None
    load_file = require("safetensors.numpy", "Training", "pip install safetensors").load_file
    try:
        note = read_json(folder / DONE, GateLimits(max_json_bytes=MAX_BYTES), what="the note of a trained network")
        whole = note["made_from"] == begun and note["outputs_sha256"] == sha256(folder / OUTPUTS) and (
            note["weights_sha256"] is None or note["weights_sha256"] == sha256(folder / WEIGHTS))
        if whole:
            arrays = load_file(folder / OUTPUTS)
            if len(arrays["logits"]) == len(arrays["embeddings"]) == cases:
                return arrays["logits"], arrays["embeddings"], note["summary"] | {"weights_sha256": note["weights_sha256"]}
    except InputError as problem:
        if problem.code in UNREAD:
            raise InputError(problem.what, code=problem.code, found=problem.found,
                             fix="see that member.json below members/ may be read; if the network is not wanted, delete its folder") from problem
    except OSError as problem:
        if not isinstance(problem, FileNotFoundError):
            raise _unusable(problem.strerror or type(problem).__name__) from problem
    except (KeyError, TypeError):
        pass
    shutil.rmtree(folder)                                   # files that were changed after they were written are not trained on
    return None


def _plain_history(history: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: _number(value) for name, value in epoch.items()} for epoch in history]


def _number(value: Any) -> Any:
    """A plain number, rounded to what matters; None for NaN and infinity, which JSON does not have."""
    if isinstance(value, (bool, str, type(None))) or isinstance(value, int):
        return value
    found = float(value)
    return float(f"{found:.6g}") if np.isfinite(found) else None


def _refuse_nonsense(logits: np.ndarray) -> None:
    if not np.isfinite(logits).all():
        raise InputError("A trained network gives scores that are not numbers", code="MRD-E783", found=f"{int((~np.isfinite(logits)).sum())} of {len(logits)} cases",
                         fix="lower the learning rate, or train with precision 32-true")


def _unusable(found: str) -> InputError:
    return InputError("The weights of a trained network cannot be used", code="MRD-E781", found=found,
                      fix="delete that network's folder below members/ and run the same command again; it is trained anew")
