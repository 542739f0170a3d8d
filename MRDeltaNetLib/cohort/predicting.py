"""Every case of a table through one bundle: the same gate, alignment and preprocessing as a single run, then the network.

    predictions.csv, embeddings.csv   cohort.scores_table; the range p_pcr_low to p_pcr_high is that of a single run: over the bundle's
                                      members and over outlines drawn a little otherwise (response/uncertainty)
    failures.csv                      cases without a prediction, and why
    prediction.json                   bundle, table, versions and warnings; written last
    scores/<key>.json                 one case's scores, so that a stopped prediction goes on where it was
    cache/                            prepared crops, unless another cache is named

A crop in a cache is float16, so that a score may differ from that of a single run in the third decimal of the logit; so are the
other outlines beside it. Cases are scored one by one, so that a score does not depend on which other cases are in the table.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.case import Prepared
from MRDeltaNetLib.cohort import scores_table
from MRDeltaNetLib.cohort.study.folder import claim, clean, digest, locked
from MRDeltaNetLib.config import RegistrationConfig
from MRDeltaNetLib.errors import InputError, Notice, PartialFailure, require
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.bundle import Bundle, load_network, read_bundle
from MRDeltaNetLib.io.tables import read_json, write_csv
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.response import prediction, uncertainty
from MRDeltaNetLib.versions import versions

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.preparing import Failure, PreparedCohort

SCORES, CACHE, RECORD = "scores", "cache", "prediction.json"
PREDICTIONS, EMBEDDINGS, FAILURES = "predictions.csv", "embeddings.csv", "failures.csv"
FAILURE_COLUMNS = ("line", "id", "code", "what", "found", "fix")
SCORE_KEYS = {"bundle", "p_pcr", "p_pcr_low", "p_pcr_high", "logit", "embedding"}
PREPARED = 0.7
"""Where preparation ends on the bar."""


@dataclass(frozen=True)
class Predicted:
    """What a prediction gave. out: its folder; cases: how many have a score; failures: those that have none; notices: what the user should know."""

    out: Path
    cases: int
    failures: tuple["Failure", ...]
    notices: tuple[Notice, ...]

    def text(self) -> str:
        """One line for a person."""
        return f"{self.cases} cases predicted, {len(self.failures)} failed"


class CasesNotPredicted(PartialFailure):
    """Some cases have no prediction; everything else is done and written. predicted says what."""

    predicted: Predicted | None = None


def predict_cohort(bundle_path: Path | str, table: Path | str, out: Path | str, *, cache: Path | str | None = None, workers: int = 1,
                   device: str = "auto", progress: Progress = silent) -> Predicted:
    """Predict every case of a table, or go on with what an earlier, stopped call left; the same call again writes the same bytes.

    table     a cohort table; outcomes may be missing
    out       folder: new, empty, or of an earlier prediction with the same bundle
    cache     prepared crops, shared with other commands; None: out/cache
    workers   processes that prepare cases
    device    see response.prediction.choose_device
    raises    CasesNotPredicted (a PartialFailure, exit 7) MRD-E780 after everything else is done and written;
              InputError of the bundle (E501 to E508) and of the table (E430 to E456); UsageError MRD-E776 (another bundle's predictions, or foreign
              files, in out); EnvironmentProblem MRD-E777 (two commands on one folder), E810 to E813; Cancelled
    """
    from MRDeltaNetLib.io.cohort_table import read_cohort
    from MRDeltaNetLib.models import registry

    out, bundle = Path(out), read_bundle(Path(bundle_path))
    network = load_network(bundle, registry.build)
    cohort = read_cohort(table, require_outcome=False, require_files=False)           # a missing file is that case's failure, not the batch's
    with locked(out):
        clean(out)
        claim(out, {"predicts with": bundle.sha256})
        prepared = prepare_for(bundle, cohort, out / CACHE if cache is None else Path(cache), workers, part(progress, 0.0, PREPARED))
        bar = part(progress, PREPARED, 1.0)
        found = []
        for number, key in enumerate(prepared.keys):
            found.append(_scored(out / SCORES / f"{key}.json", prepared, number, network, bundle, device))
            bar((number + 1) / len(prepared.keys), f"predicted {number + 1} of {len(prepared.keys)}")
        notices = (*cohort.notices, *trained_on(bundle, prepared), *_narrow_ranges(prepared))
        _write(out, bundle, prepared, found, cohort.sha256, notices)
        progress(1.0, "done")
    predicted = Predicted(out, len(found), prepared.failures, notices)
    if prepared.failures:
        raise _not_all(predicted)
    return predicted


def prepare_for(bundle: Bundle, cohort: Any, cache: Path, workers: int = 1, progress: Progress = silent) -> "PreparedCohort":
    """The cohort's cases as this bundle wants them; those that cannot be prepared are in `failures`."""
    from MRDeltaNetLib.cohort.preparing import CasesFailed, load_prepared, prepare_cohort

    registration = registration_of(bundle)
    try:
        prepare_cohort(cohort, cache, bundle.preprocessing, registration, workers=workers, progress=progress)
    except CasesFailed:
        pass                                                     # each is in load_prepared's failures, and told at the end
    return load_prepared(cohort, cache, bundle.preprocessing, registration)


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

    A case is known again by what its crop was made from, or by the crop itself, whatever it is called in the table.
    """
    known = set(bundle.own.get("training_keys", ())) | set(bundle.own.get("training_crops_sha256", ()))
    lines = [row.line for row, key, facts in zip(prepared.rows, prepared.keys, prepared.facts) if known & {key, facts["crop"]["sha256"]}]
    if not lines:
        return ()
    return (Notice("MRD-W781", f"The model was trained on {len(lines)} of the {len(prepared.rows)} cases (line {_shown(lines)})",
                   "take their scores from the training's oof.csv; do not evaluate the model on them"),)


def _narrow_ranges(prepared: "PreparedCohort") -> tuple[Notice, ...]:
    """A warning if some outlines are missing, so that some ranges are narrower than the others'."""
    lines = [row.line for row, facts in zip(prepared.rows, prepared.facts) if facts["outlines_left_out"]]
    if not lines:
        return ()
    return (Notice("MRD-W716", f"The range of P(pCR) is without outlines {uncertainty.STEP_MM:g} mm smaller in {len(lines)} of the "
                               f"{len(prepared.rows)} cases (line {_shown(lines)}), because one is too thin to shrink",
                   "read these ranges as too narrow; look whether the outlines miss part of the site"),)


def _shown(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:10])) + (", ..." if len(lines) > 10 else "")


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


def _write(out: Path, bundle: Bundle, prepared: "PreparedCohort", found: Sequence[Mapping[str, Any]], table_sha256: str,
           notices: Sequence[Notice]) -> None:
    scores_table.write_scores(out / PREDICTIONS, [scores_table.ranged(row, one["p_pcr"], one["p_pcr_low"], one["p_pcr_high"], one["logit"])
                                                  for row, one in zip(prepared.rows, found)])
    scores_table.write_embeddings(out / EMBEDDINGS, [(scores_table.who(row), np.array(one["embedding"])) for row, one in zip(prepared.rows, found)])
    write_csv(out / FAILURES, ({name: getattr(failure, name) for name in FAILURE_COLUMNS} for failure in prepared.failures), FAILURE_COLUMNS)
    record = {"schema": "mrdeltanet.prediction/1", "bundle": {"name": bundle.own["name"], "sha256": bundle.sha256, "members": bundle.members,
                                                             "threshold": bundle.own["threshold"]},
              "cohort_sha256": table_sha256, "cases": len(found), "failed": len(prepared.failures), "versions": versions(),
              "notices": [asdict(notice) for notice in notices]}
    write_text(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _not_all(predicted: Predicted) -> CasesNotPredicted:
    codes = sorted({failure.code for failure in predicted.failures})
    error = CasesNotPredicted(f"{len(predicted.failures)} of {predicted.cases + len(predicted.failures)} cases could not be predicted; all others are done",
                              code="MRD-E780", found=", ".join(codes[:8]),
                              fix=f"{FAILURES} in the output folder gives line, reason and remedy of each; after mending them, run the same command again")
    error.predicted = predicted
    return error
