"""`mrdeltanet pretrain`: the study's network learns the order of visits and hidden tumour signal, without outcomes.

    OUT/pretraining/run/     checkpoints and logs
    OUT/pretraining/run/weights.safetensors   what a study's `start` names
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from MRDeltaNetLib.cohort import splitting
from MRDeltaNetLib.cohort.study.folder import PRETRAINING, locked
from MRDeltaNetLib.cohort.study.members import accelerator_of, network_settings
from MRDeltaNetLib.config import StudyConfig
from MRDeltaNetLib.errors import Notice, UsageError, require
from MRDeltaNetLib.progress import Progress, part, silent

FOLDER, WEIGHTS = PRETRAINING, "weights.safetensors"
PREPARING = 0.3
"""Where preparation of cases ends on the bar."""


@dataclass(frozen=True)
class Pretrained:
    """weights: the file that a study's `start` names; cases: how many pairs were used; history: one entry an epoch; notices: warnings."""

    weights: Path
    cases: int
    history: tuple[dict[str, Any], ...]
    notices: tuple[Notice, ...]


def pretrain(config: StudyConfig, *, progress: Progress = silent) -> Pretrained:
    """Pretrain the study's network on its training rows, with or without outcome, or go on where a stopped run was.

    Rows of the sets internal and external are not looked at, so that a later study on the same table can still be judged by them.
    raises  InputError of the table, MRD-E760 to E772 of the training; UsageError MRD-E771 for a model that cannot do it;
            EnvironmentProblem MRD-E777 (another command on the folder), E810 to E813; Cancelled
    """
    from MRDeltaNetLib.cohort.preparing import CasesFailed, load_prepared, prepare_cohort
    from MRDeltaNetLib.cohort.training import Crops
    from MRDeltaNetLib.cohort.training.pretraining import pretrain as fit_pretext
    from MRDeltaNetLib.io.cohort_table import read_cohort
    from MRDeltaNetLib.models import registry

    torch = require("torch", "Pretraining")
    if config.model.name not in registry.names():
        raise UsageError("This model cannot be pretrained, because it is no network", code="MRD-E771", found=config.model.name,
                         fix=f"choose one of {', '.join(registry.names())}")
    cohort = read_cohort(config.cohort, require_outcome=False)
    cohort = replace(cohort, rows=tuple(row for row in cohort.rows if row.set == splitting.TRAIN))
    notices = list(cohort.notices)
    try:
        prepare_cohort(cohort, config.cache, config.preprocessing, config.registration, workers=config.workers, progress=part(progress, 0.0, PREPARING))
    except CasesFailed as problem:
        notices.append(Notice("MRD-W780", f"{problem.what}; pretraining goes on without them ({problem.found})", problem.fix))
    prepared = load_prepared(cohort, config.cache, config.preprocessing, config.registration)
    torch.manual_seed(config.training.seed)
    network = registry.build(config.model.name, **network_settings(config))
    crops = Crops(prepared.crops, np.zeros(len(prepared.crops)), prepared.keys)
    folder = config.out / FOLDER
    config.out.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        fitted = fit_pretext(network, crops, config.pretraining, config.training, folder=folder / "run", accelerator=accelerator_of(config),
                             devices=config.devices, progress=part(progress, PREPARING, 1.0))
    return Pretrained(folder / "run" / WEIGHTS, len(crops), tuple(fitted.history), tuple(notices))
