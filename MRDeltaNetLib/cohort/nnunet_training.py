"""A small nnU-Net trained on a CPU in minutes, inside the environment of nnU-Net: to show that the chain works, not to be used on patients.

    python nnunet_training.py JOB.json

Standard library and nnU-Net only, as imaging/nnunet/child.py, whose way of talking it shares: JSON lines out, a lifeline in. It plans and preprocesses
a raw dataset as nnU-Net does, makes the planned network and patch small, and trains nnU-Net's own trainer for a few epochs on all cases.

JOB.json: root (folder with nnUNet_raw in it), dataset_id, child (path of imaging/nnunet/child.py), spacing_mm_zyx, patch_zyx, features (of each
stage), epochs, iterations (of each epoch), threads, seed
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

PLANS = "nnUNetPlansTiny"
CONFIGURATION = "3d_fullres"
TRAINER = "nnUNetTrainerAdam1en3"
"""Of nnU-Net's own, so that its prediction finds it. With few steps AdamW leaves the background behind sooner than the default's SGD."""


def main(arguments: list[str]) -> int:
    """Train; returns the exit status."""
    job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    child = _load(job["child"])
    child._keep_answers_apart()
    child._die_with_parent()
    try:
        child._say({"finished": train(job, child)})
        return 0
    except child.Refusal as refusal:
        child._say({"error": refusal.facts})
        return refusal.facts["exit_status"]
    except Exception as fault:
        import traceback
        traceback.print_exc()
        refusal = child._of_fault(fault)
        child._say({"error": refusal.facts})
        return refusal.facts["exit_status"]


def train(job: dict[str, Any], child: Any) -> dict[str, Any]:
    """The three steps; returns the model's folder (relative to root) and seconds."""
    root = Path(job["root"])
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(root / f"nnUNet_{name}")
    os.environ |= {"nnUNet_compile": "F", "nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1"}
    child._tell(0.0, "Loading nnU-Net")
    torch = child._torch()
    child._nnunet()
    torch.set_num_threads(max(1, job["threads"]))
    torch.manual_seed(job["seed"])
    import numpy
    numpy.random.seed(job["seed"])
    started = time.perf_counter()
    dataset = _plan(job, root, child)
    planned = time.perf_counter()
    os.environ["nnUNet_n_proc_DA"] = "0"                         # in this process; planning wants at least one
    trainer = _trainer(job, root / "nnUNet_preprocessed" / dataset, torch)
    _train(trainer, child)
    folder = Path(trainer.output_folder_base).relative_to(root).as_posix()
    return {"model": folder, "plan_seconds": round(planned - started, 1), "train_seconds": round(time.perf_counter() - planned, 1)}


def _plan(job: dict[str, Any], root: Path, child: Any) -> str:
    """nnU-Net's own planning; then a copy of its plans with a smaller network, patch and grid. Returns the dataset's name."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.utilities.dataset_name_id_conversion import convert_id_to_dataset_name
    number, dataset = job["dataset_id"], convert_id_to_dataset_name(job["dataset_id"])
    child._tell(0.02, "Describing the dataset")
    api.extract_fingerprints([number], num_processes=1, check_dataset_integrity=True, show_progress_bar=False)
    child._tell(0.06, "Planning")
    api.plan_experiments([number], overwrite_target_spacing=tuple(map(float, job["spacing_mm_zyx"])))
    folder = root / "nnUNet_preprocessed" / dataset
    plans = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8"))
    _shrink(plans["configurations"][CONFIGURATION], job)
    plans |= {"plans_name": PLANS, "configurations": {CONFIGURATION: plans["configurations"][CONFIGURATION] | {"data_identifier": f"{PLANS}_{CONFIGURATION}"}}}
    (folder / f"{PLANS}.json").write_text(json.dumps(plans, indent=1), encoding="utf-8")
    child._tell(0.08, "Preprocessing")
    api.preprocess([number], plans_identifier=PLANS, configurations=(CONFIGURATION,), num_processes=(1,), show_progress_bar=False)
    return dataset


def _shrink(plan: dict[str, Any], job: dict[str, Any]) -> None:
    """As many stages as features are given; planes are not merged before their voxels are about as long as the slices are apart."""
    stages, network = len(job["features"]), plan["architecture"]["arch_kwargs"]
    z, y, _ = job["spacing_mm_zyx"]
    strides, kernels = [], []
    for stage in range(stages):
        flat = y * 2 ** stage < z / 2
        kernels.append([1, 3, 3] if flat else [3, 3, 3])
        strides.append([1, 1, 1] if stage == 0 else [1, 2, 2] if y * 2 ** stage <= z else [2, 2, 2])
    network |= {"n_stages": stages, "features_per_stage": job["features"], "kernel_sizes": kernels, "strides": strides,
                "n_conv_per_stage": [1] * stages, "n_conv_per_stage_decoder": [1] * (stages - 1)}
    plan |= {"patch_size": job["patch_zyx"], "batch_size": 2}


def _trainer(job: dict[str, Any], preprocessed: Path, torch: Any) -> Any:
    """A trainer of nnU-Net's own with fewer and shorter epochs, on every case."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    plans, dataset = (json.loads((preprocessed / name).read_text(encoding="utf-8")) for name in (f"{PLANS}.json", "dataset.json"))
    kind = recursive_find_trainer_class_by_name(TRAINER)
    trainer = kind(plans=plans | {"continue_training": False}, configuration=CONFIGURATION, fold="all", dataset_json=dataset, device=torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = job["epochs"], job["iterations"], 2
    trainer.oversample_foreground_percent = 0.5                  # one patch of two shows tumour; with two of two it draws where there is none
    trainer.save_every = max(1, job["epochs"] // 4)
    return trainer


def _train(trainer: Any, child: Any) -> None:
    end = trainer.on_epoch_end

    def tell() -> None:
        loss = float(trainer.logger.get_value("train_losses", step=-1))
        end()
        child._tell(0.3 + 0.69 * trainer.current_epoch / trainer.num_epochs, f"Epoch {trainer.current_epoch} of {trainer.num_epochs}, loss {loss:.3f}")

    trainer.on_epoch_end = tell
    child._tell(0.3, f"Training {trainer.num_epochs} epochs")
    trainer.run_training()


def _load(path: str) -> Any:
    """imaging/nnunet/child.py by its path, because the library is not importable here."""
    found = importlib.util.spec_from_file_location("nnunet_child", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


if __name__ == "__main__":
    del sys.path[0]
    sys.exit(main(sys.argv[1:]))
