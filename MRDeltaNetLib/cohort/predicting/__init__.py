"""Every case of a table through one model, a bundle of networks or a tabular model.

    predictions.csv, embeddings.csv   cohort.scores_table
    failures.csv                      cases without a prediction, and why
    prediction.json                   model, table, versions and warnings; written last
    scores/<key>.json                 one case's scores by networks, so that a stopped prediction goes on where it was
    imaging/                          of a fusion: the prediction by its imaging model
    cache/                            prepared crops, unless another cache is named

by_network, by_table   the two kinds of models
written                what both leave
"""

from __future__ import annotations

from pathlib import Path

from MRDeltaNetLib.cohort.predicting.by_network import predict_by_network, prepare_for, registration_of, trained_on
from MRDeltaNetLib.cohort.predicting.by_table import predict_by_table
from MRDeltaNetLib.cohort.predicting.written import CasesNotPredicted, Predicted
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.progress import Progress, silent

__all__ = ["CasesNotPredicted", "Predicted", "predict_cohort", "prepare_for", "registration_of", "trained_on"]


def predict_cohort(model: Path | str, table: Path | str, out: Path | str, *, imaging: Path | str | None = None, cache: Path | str | None = None,
                   workers: int = 1, device: str = "auto", progress: Progress = silent) -> Predicted:
    """Predict every case of a table, or go on with what an earlier, stopped call left; the same call again writes the same bytes.

    model     a bundle's folder, or the model.json of a tabular model
    table     a cohort table; outcomes may be missing
    out       folder: new, empty, or of an earlier prediction with the same model
    imaging   of a fusion: the imaging model that it was fitted with
    cache     prepared crops, shared with other commands; None: out/cache
    workers   processes that prepare cases
    device    see response.prediction.choose_device
    raises    CasesNotPredicted (a PartialFailure, exit 7) MRD-E780 after everything else is done and written;
              InputError of the model (E501 to E508, E785, E788, E796) and of the table (E430 to E456); UsageError MRD-E776 (another model's
              predictions, or foreign files, in out), E795 (a fusion without its imaging model, or an imaging model without a fusion);
              EnvironmentProblem MRD-E777 (two commands on one folder), E810 to E813; Cancelled
    """
    model, out = Path(model), Path(out)
    cache = None if cache is None else Path(cache)
    if model.is_file():
        return predict_by_table(model, Path(table), out, predict=predict_cohort, imaging=None if imaging is None else Path(imaging), cache=cache,
                                workers=workers, device=device, progress=progress)
    if imaging is not None:
        raise UsageError("Only a fusion takes an imaging model beside it", code="MRD-E795", found="a bundle and --imaging", fix="leave out --imaging")
    return predict_by_network(model, Path(table), out, cache=cache, workers=workers, device=device, progress=progress)
