"""Networks on a table: the same gate, alignment and preprocessing as a single run, then the network, with the range of a single run: over the
bundle's members and over outlines drawn a little otherwise (response/uncertainty).

A crop in a cache is float16, so that a score may differ from that of a single run in the third decimal of the logit; so are the
other outlines beside it. Cases are scored one by one, so that a score does not depend on which other cases are in the table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from MRDeltaNetLib.case import Prepared
from MRDeltaNetLib.cohort import scores_table
from MRDeltaNetLib.cohort.predicting.written import CACHE, Predicted, met_before, shown, write
from MRDeltaNetLib.cohort.study.folder import claim, clean, digest, locked
from MRDeltaNetLib.config import PreprocessingConfig, RegistrationConfig
from MRDeltaNetLib.errors import InputError, Notice, require
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.bundle import Bundle, load_network, read_bundle
from MRDeltaNetLib.io.tables import read_json
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.response import prediction, uncertainty

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.preparing import PreparedCohort

SCORES = "scores"
SCORE_KEYS = {"bundle", "p_pcr", "p_pcr_low", "p_pcr_high", "logit", "embedding"}
PREPARED = 0.7
"""Where preparation ends on the bar."""


def predict_by_network(bundle_path: Path, table: Path, out: Path, *, cache: Path | None, workers: int, device: str, progress: Progress) -> Predicted:
    """predicting.predict_cohort for a bundle."""
    from MRDeltaNetLib.cohort.preparing.beds import bed_of, carried_beds
    from MRDeltaNetLib.io.cohort_table import read_cohort
    from MRDeltaNetLib.models import registry

    bundle = read_bundle(bundle_path)
    network = load_network(bundle, registry.build)
    cohort = read_cohort(table, require_outcome=False, require_files=False)           # a missing file is that case's failure, not the batch's
    with locked(out):
        clean(out)
        claim(out, {"predicts with": bundle.sha256})
        prepared = prepare_for(bundle, cohort, out / CACHE if cache is None else cache, workers, part(progress, 0.0, PREPARED))
        bar = part(progress, PREPARED, 1.0)
        found = []
        for number, key in enumerate(prepared.keys):
            found.append(_scored(out / SCORES / f"{key}.json", prepared, number, network, bundle, device))
            bar((number + 1) / len(prepared.keys), f"predicted {number + 1} of {len(prepared.keys)}")
        progress(1.0, "done")
        model = {"name": bundle.own["name"], "sha256": bundle.sha256, "members": bundle.members, "threshold": bundle.own["threshold"]}
        scores = [scores_table.ranged(row, one["p_pcr"], one["p_pcr_low"], one["p_pcr_high"], one["logit"], bed=bed_of(facts))
                  for row, facts, one in zip(prepared.rows, prepared.facts, found)]
        vectors = [(scores_table.who(row), np.array(one["embedding"])) for row, one in zip(prepared.rows, found)]
        return write(out, model, scores, vectors, prepared.failures, cohort.sha256,
                     (*cohort.notices, *trained_on(bundle, prepared), *carried_beds(prepared.rows, prepared.facts), *_narrow_ranges(prepared)))


def prepare_for(bundle: Bundle, cohort: Any, cache: Path, workers: int = 1, progress: Progress = silent) -> "PreparedCohort":
    """The cohort's cases as this bundle wants them; those that cannot be prepared are in `failures`."""
    return prepared_as(cohort, cache, bundle.preprocessing, registration_of(bundle), workers, progress)


def prepared_as(cohort: Any, cache: Path, preprocessing: PreprocessingConfig, registration: RegistrationConfig, workers: int = 1,
                progress: Progress = silent) -> "PreparedCohort":
    """The cohort's cases with these settings; those that cannot be prepared are in `failures`."""
    from MRDeltaNetLib.cohort.preparing import CasesFailed, load_prepared, prepare_cohort

    try:
        prepare_cohort(cohort, cache, preprocessing, registration, workers=workers, progress=progress)
    except CasesFailed:
        pass                                                     # each is in load_prepared's failures, and told at the end
    return load_prepared(cohort, cache, preprocessing, registration)


def registration_of(bundle: Bundle) -> RegistrationConfig:
    """The alignment that the bundle's training cases had; the default where the bundle does not say.

    raises  InputError MRD-E504 for settings that this version does not know
    """
    said = bundle.own.get("registration", {})
    try:
        return RegistrationConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in said.items()})
    except (TypeError, AttributeError) as cause:
        raise InputError("The model bundle's metadata cannot be used: 'mrdeltanet.registration'", code="MRD-E504", found=type(cause).__name__,
                         fix="export the bundle again with a version of MRDeltaNet that this one reads") from cause


def trained_on(bundle: Bundle, prepared: "PreparedCohort") -> tuple[Notice, ...]:
    """A warning if the bundle was trained on some of the cases: their scores say nothing about other patients.

    How a case is known again: cohort.preparing.recognition.
    """
    from MRDeltaNetLib.cohort.preparing.recognition import met

    return met_before([row.line for row, again in zip(prepared.rows, met(bundle.own, prepared)) if again], len(prepared.rows))


def _narrow_ranges(prepared: "PreparedCohort") -> tuple[Notice, ...]:
    """A warning if some outlines are missing, so that some ranges are narrower than the others'."""
    lines = [row.line for row, facts in zip(prepared.rows, prepared.facts) if facts["outlines_left_out"]]
    if not lines:
        return ()
    return (Notice("MRD-W716", f"The range of P(pCR) is without outlines {uncertainty.STEP_MM:g} mm smaller in {len(lines)} of the "
                               f"{len(prepared.rows)} cases (line {shown(lines)}), because one is too thin to shrink",
                   "read these ranges as too narrow; look whether the outlines miss part of the site"),)


def _scored(place: Path, prepared: "PreparedCohort", number: int, network: Any, bundle: Bundle, device: str) -> Mapping[str, Any]:
    """{"p_pcr", "p_pcr_low", "p_pcr_high", "logit", "embedding"} of one case; kept from an earlier call if it is whole."""
    if place.exists():
        try:
            kept = read_json(place, what="a case's kept scores")
            if kept.pop("sha256") == digest(kept) and kept["bundle"] == bundle.sha256 and set(kept) == SCORE_KEYS:
                return kept
        except (InputError, KeyError, TypeError, AttributeError):
            pass                                                 # damaged: scored again
    torch = require("torch", "Prediction")
    tensor = torch.from_numpy(np.array(prepared.crops[number], dtype=np.float32))
    outlines = {name: torch.from_numpy(channels.astype(np.float32)) for name, channels in prepared.outlines(number).items()}
    said = prediction.predict(Prepared(tensor=tensor, grid=None, outlines=outlines), network, bundle.own, device=device)
    spread = uncertainty.spread(said, prepared.facts[number]["outlines_left_out"])
    found = {"bundle": bundle.sha256, "p_pcr": said.p_pcr, "p_pcr_low": spread["p_pcr_low"], "p_pcr_high": spread["p_pcr_high"], "logit": said.logit,
             "embedding": [float(value) for value in said.output.embedding[0]]}
    write_text(place, json.dumps(found | {"sha256": digest(found)}) + "\n")
    return found
