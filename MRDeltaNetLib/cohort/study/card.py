"""The model card and the metadata of a trained bundle, generated from what happened: no sentence here that the record does not back."""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, Sequence

INTENDED_USE = ("Research only, on patients like those it was trained on, as one opinion beside the readers'. "
                "Not for diagnosis or treatment decisions: nobody has tested it for that.")
INTENDED_USE_DEMO = "Research and demonstration only. Trained on made-up data. Not for diagnosis or treatment decisions."

NOT_SHOWN = "Whether it uses more than tumour volume, one scan or the scanner is not shown by these numbers; `mrdeltanet controls` shows it."
FEW_EVENTS = 50
WIDE_CI = 0.15
CENTRE_GAP = 0.05
SOUND_SLOPE, SOUND_INTERCEPT = (0.8, 1.2), 0.2
"""Beyond these numbers the card names a limit."""


def scans_of(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the training scans were: sequences, makers, field strengths (T), in-plane spacing and slice distance (mm, smallest and largest).

    facts   of the training cases, pipeline.PreparedCase.facts; what no header says is an empty list or None
    """
    scans = [case[visit] for case in facts for visit in ("pre", "post") if case.get(visit)]

    def known(name: str) -> list[Any]:
        return sorted({scan[name] for scan in scans if scan.get(name) is not None})

    spacings = [scan["spacing_mm"] for scan in scans if scan.get("spacing_mm")]
    in_plane, through = [value for spacing in spacings for value in spacing[:2]], [spacing[2] for spacing in spacings]
    return {"scans": len(scans), "sequences": known("sequence"), "manufacturers": known("manufacturer"), "field_strengths_t": known("field_strength_t"),
            "in_plane_mm": _range(in_plane), "slice_mm": _range(through),
            "interval_days": _range([case["interval_days"] for case in facts if case.get("interval_days") is not None])}


def trained_on(record: Mapping[str, Any]) -> str:
    """One sentence part for metadata and report."""
    cohort, scans = record["cohort"], record["cohort"]["scans"]
    what = "made-up data: simulated pelvis pairs, no patient; " if cohort["simulated"] else ""
    centres = cohort["train"]["centres"]
    where = f"{len(centres)} centres" if len(centres) > 1 else "one centre" if centres else "an unnamed centre"
    return (f"{what}{cohort['train']['cases']} cases ({cohort['train']['with_pcr']} with pCR) of {where}; "
            f"{', '.join(scans['sequences']) or 'sequence not told by the headers, taken as T2'}; {scan_words(scans)}")


def scan_words(scans: Mapping[str, Any]) -> str:
    """Field strengths and spacings, or that nobody knows them."""
    field = ", ".join(f"{value:g}" for value in scans["field_strengths_t"])
    return "; ".join([f"{field} T" if field else "field strength unknown",
                      f"in-plane {_span(scans['in_plane_mm'])} mm" if scans["in_plane_mm"] else "spacing unknown",
                      *([f"slices {_span(scans['slice_mm'])} mm"] if scans["slice_mm"] else [])])


def limits(record: Mapping[str, Any]) -> list[str]:
    """Sentences that follow from the numbers, the gravest first."""
    found, cohort, oof = [], record["cohort"]["train"], record["out_of_fold"]
    events = min(cohort["with_pcr"], cohort["without_pcr"])
    if record["cohort"]["simulated"]:
        found.append("It knows made-up scans only, which are simpler than real ones. Nothing is known about real scans.")
    if oof["ci"][0] <= 0.5:
        found.append(f"It was not shown to be better than chance: the interval of the out-of-fold AUC, {_ci(oof)}, holds 0.5.")
    if events < FEW_EVENTS:
        found.append(f"Few events: {events} training cases of the rarer outcome. Expect other numbers from other patients.")
    if oof["ci"][1] - oof["ci"][0] > WIDE_CI:
        found.append(f"The interval of the out-of-fold AUC is {oof['ci'][1] - oof['ci'][0]:.2f} wide; models that differ by less were not told apart.")
    if record["config"]["pretrained"]:
        found.append("Its networks started from pretrained weights. If that pretraining used this table, as is usual, they had met the scans (not the "
                     "outcomes) of the cases that they are scored on out of fold and of centres left out, and these numbers may be too good.")
    left_out = record["leave_one_centre_out"]
    new_centres = record["folds"]["whole_centres"]
    if new_centres:
        found.append("Every out-of-fold score is of a centre that its network had not seen. How much better it does at a known centre cannot be told.")
    elif left_out is None:
        found.append("No centre was left out, so nothing is known about a centre that it was not trained on.")
    elif (gap := centre_gap(left_out)) is not None and gap > CENTRE_GAP:
        found.append(f"At a centre that it was not trained on its AUC was lower by {gap:.2f}. Expect that at yours.")
    if not record["other_sets"].get("external"):
        found.append("There was no external set: every number here is of patients of the training centres.")
    calibration = record["calibration"]["after_cross_fitted"]
    if record["calibration"]["method"] != "platt":
        found.append("P(pCR) is not recalibrated and must not be read as a probability.")
    elif calibration is None:
        found.append("Whether the recalibration holds on cases that it was not fitted on could not be computed.")
    elif not SOUND_SLOPE[0] <= calibration["slope"] <= SOUND_SLOPE[1] or abs(calibration["intercept"]) > SOUND_INTERCEPT:
        found.append(f"The recalibration does not hold well on cases that it was not fitted on: slope {calibration['slope']:.2f}, intercept {calibration['intercept']:.2f}.")
    if failed := record["cohort"]["failed"]:
        found.append(f"{failed} cases of the table could not be prepared and are in none of these numbers.")
    found.append(NOT_SHOWN)
    found.append("Threshold and recalibration belong to the share of pCR and the scanners named here.")
    return found


def centre_gap(left_out: Mapping[str, Any]) -> float | None:
    """AUC lost inside a centre when it was left out, mean over the centres weighted by their pairs of pCR and non-pCR; None without any AUC.

    The pooled AUC is not taken: it ranks cases of different centres by different networks, so it falls with every offset between these, though
    each centre be ranked as well as before.
    """
    rows = [(centre["with_pcr"] * centre["without_pcr"], centre["out_of_fold_auc"] - centre["auc"]) for centre in left_out["centres"].values()
            if None not in (centre["auc"], centre["out_of_fold_auc"])]
    return sum(weight * lost for weight, lost in rows) / sum(weight for weight, _ in rows) if rows else None


def card(record: Mapping[str, Any]) -> str:
    """The model card, Markdown, from training.json's content (without its "bundle")."""
    cohort, oof, threshold, model = record["cohort"], record["out_of_fold"], record["threshold"], record["config"]["model"]
    train, point, preprocessing = cohort["train"], threshold["point"], record["config"]["preprocessing"]
    crop, spacing = (" x ".join(f"{value:g}" for value in preprocessing[name]) for name in ("crop_mm", "spacing_mm"))
    return "\n".join([
        f"# {record['name']}", "",
        *(["**Trained on made-up data.** No patient was involved; nothing is known about real scans.", ""] if cohort["simulated"] else []),
        f"Out of fold, on {oof['cases']} training cases, each scored only by models that {_unseen(record)}, its AUC is **{_auc(oof)}**. "
        f"{_held_out_words(record)}", "",
        f"Intended use: {INTENDED_USE_DEMO if cohort['simulated'] else INTENDED_USE}", "",
        "## What it does", "",
        *_what_it_does(record, model, f"crop {crop} mm at {spacing} mm"), "",
        "## What it learned from", "",
        f"{trained_on(record)[:1].upper()}{trained_on(record)[1:]}.", "",
        *_table(("set", "cases", "pCR", "non-pCR", "centres"),
                ((name, cohort[name]["cases"], cohort[name]["with_pcr"], cohort[name]["without_pcr"], len(cohort[name]["centres"]) or "unknown")
                 for name in ("train", "internal", "external") if cohort[name]["cases"])), "",
        f"Scans: {scan_words(cohort['scans'])}; makers: {', '.join(cohort['scans']['manufacturers']) or 'unknown'}; "
        f"days between the scans: {_span(cohort['scans']['interval_days']) if cohort['scans']['interval_days'] else 'unknown'}.", "",
        "## How well it did", "",
        f"Folds: {record['folds']['rule']}; models a fold: {len({member['seed'] for member in record['members']})}. AUC with DeLong's 95 % interval on the logit scale, "
        "or Newcombe's where it is exactly 0 or 1.", "",
        *_table(("cases", "pCR", "non-pCR", "AUC (95 % interval)"), _auc_rows(record)), "",
        *_left_out_lines(record),
        *(["## What the clinical values add", "", *(f"- {line}" for line in gain_lines(record)), "",
           "Differences of AUC by DeLong's paired test, on the same cases.", ""] if record.get("fusion") else []),
        "## Calibration", "",
        *_calibration_lines(record["calibration"]), "",
        *(line for name, found in record["other_sets"].items() if found["calibration"]
          for line in (f"On the {name} cases, shipped model: slope {_fit(found['calibration'], 'slope')}, intercept {_fit(found['calibration'], 'intercept')}, "
                       f"Brier {found['calibration']['brier']:.3f}.", "")),
        "## Threshold", "",
        f"P(pCR) of {threshold['value']:.4f} or more counts as pCR: {threshold['source']}. There its sensitivity for pCR is {_share(point['sensitivity'])}, "
        f"its specificity {_share(point['specificity'])} (optimistic: the threshold was chosen on these cases).",
        *(f"On the {name} cases: sensitivity {_share(found['point']['sensitivity'])}, specificity {_share(found['point']['specificity'])}."
          for name, found in record["other_sets"].items() if found["point"]), "",
        "## Limits", "",
        *(f"- {sentence}" for sentence in limits(record)), "",
        *(["## Warnings of the training", "", *(f"- {notice['code']}: {notice['text']}." for notice in record["notices"]), ""] if record["notices"] else []),
        f"Made {record['made']} by MRDeltaNet {record['versions']['mrdeltanet']}; table SHA-256 {cohort['sha256'][:16]}.", ""])


def _what_it_does(record: Mapping[str, Any], model: Mapping[str, Any], crop: str) -> list[str]:
    settings = json.dumps(model["settings"], sort_keys=True)
    if record["kind"] == "table":
        return [f"A logistic model of values in a table, `{model['name']}`, settings `{settings}`. It gives P(pCR), the probability of pathological complete "
                f"response. The shipped one is fitted on all training cases. Outlines and {crop} where it measures images."]
    return ["It reads a T2-weighted pelvis before and after neoadjuvant treatment, with the tumour outlined before and the tumour bed after, and gives "
            "P(pCR), the probability of pathological complete response, with a range.", "",
            f"{len(_fold_members(record))} members `{model['name']}`, settings `{settings}`, whose mean logit is the score; {crop}."]


def metadata(record: Mapping[str, Any], network: Mapping[str, Any], keys: Mapping[str, list[str]]) -> dict[str, Any]:
    """configs/metadata.json of the bundle: MONAI's keys, and MRDeltaNet's own.

    network  {"name", "settings"} of the ensemble as registry.build takes them
    keys     "keys" and "crops_sha256" of the training cases, by which prediction knows a case again
    """
    found, held, preprocessing = record["versions"], record["held_out"], record["config"]["preprocessing"]
    simulated = record["cohort"]["simulated"]
    voxels = [round(size / step) for size, step in zip(preprocessing["crop_mm"][::-1], preprocessing["spacing_mm"][::-1])]
    image = {"type": "image", "format": "magnitude", "modality": "MR", "num_channels": 4, "spatial_shape": voxels, "dtype": "float32",
             "value_range": [], "is_patch_data": False,
             "channel_def": {"0": "pre T2, z-score", "1": "pre soft ROI", "2": "post T2, z-score", "3": "post soft ROI"}}
    probability = {"type": "probabilities", "format": "classes", "modality": "n/a", "num_channels": 1, "spatial_shape": [1],
                   "dtype": "float32", "value_range": [0, 1], "is_patch_data": False, "channel_def": {"0": "P(pCR)"}}
    use = INTENDED_USE_DEMO if simulated else INTENDED_USE
    return {
        "version": "1.0.0", "changelog": {"1.0.0": "as trained"}, "monai_version": found["monai"] or "none", "pytorch_version": found["torch"],
        "numpy_version": found["numpy"], "required_packages_version": {"safetensors": found["safetensors"], "SimpleITK": found["SimpleITK"]},
        "task": "P(pCR) from rectal T2-weighted MRI before and after neoadjuvant treatment",
        "description": f"Ensemble of {len(_fold_members(record))} {network['name']} networks, trained by `mrdeltanet train`.",
        "authors": "who trained it", "copyright": "of who trained it", "intended_use": use, "data_type": "simulated" if simulated else "MRI",
        "network_data_format": {"inputs": {"pair": image}, "outputs": {"p_pcr": probability}},
        "mrdeltanet": {
            "format": 1, "name": record["name"], "anatomy": "rectum (simulated)" if simulated else "rectum", "is_demo": simulated, "intended_use": use,
            "trained_on": trained_on(record), "sequences": record["cohort"]["scans"]["sequences"] or ["T2"], "network": dict(network),
            "preprocessing": dict(preprocessing), "bias_corrections_allowed": [preprocessing["bias_correction"]],
            "recalibration": {"slope": record["calibration"]["slope"], "intercept": record["calibration"]["intercept"]},
            "threshold": record["threshold"]["value"], "threshold_source": record["threshold"]["source"], "held_out_auc": held["auc"],
            "held_out_auc_ci": held["ci"], "held_out_on": held["on"], "golden_tolerance": 1e-3, "registration": record["config"]["registration"],
            "training": record["config"], "training_keys": keys["keys"], "training_crops_sha256": keys["crops_sha256"]}}


def held_out(record: Mapping[str, Any]) -> dict[str, Any]:
    """The AUC that the bundle shows: of the external set where there is one with both classes, otherwise out of fold; "on" says which."""
    external = record["other_sets"].get("external")
    if external and external["auc"] is not None:
        return {"auc": external["auc"], "ci": external["ci"],
                "on": f"{external['cases']} external cases that took no part in training, threshold or recalibration"}
    oof = record["out_of_fold"]
    why = f"the {external['cases']} external cases are too few for an AUC" if external else "no external set"
    return {"auc": oof["auc"], "ci": oof["ci"],
            "on": f"{oof['cases']} training cases out of fold (each scored by models that {_unseen(record)}; {why}): an internal number"}


def gain_lines(record: Mapping[str, Any]) -> list[str]:
    """Of a fusion: for each set what the clinical values add to the imaging score; [] for other models."""
    names = {"out_of_fold": "Out of fold", "internal": "Internal set", "external": "External set"}
    return [f"{words}, {record['fusion'][name]['cases']} cases: {record['fusion'][name]['sentence']}" for name, words in names.items() if name in record.get("fusion", {})]


def _unseen(record: Mapping[str, Any]) -> str:
    """What may be said of a model and a case that it was not trained on."""
    return "never learned its outcome" if record["config"]["pretrained"] else "never saw it"


def _held_out_words(record: Mapping[str, Any]) -> str:
    external = record["other_sets"].get("external")
    if external and external["auc"] is None:
        return f"The {external['cases']} external cases are too few for an AUC."
    if external:
        return f"On {external['cases']} external cases, which took no part in anything, it is **{_auc(external)}**."
    return "There is no external set."


def _fold_members(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [member for member in record["members"] if member["centre"] is None]


def _auc_rows(record: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    named = {"training cases, out of fold": record["out_of_fold"],
             **{f"centre {name}, out of fold": found for name, found in record["per_centre"].items()},
             **{f"{name} set, shipped model": found for name, found in record["other_sets"].items()}}
    for name, found in named.items():
        yield name, found["with_pcr"], found["without_pcr"], _auc(found)


def _left_out_lines(record: Mapping[str, Any]) -> list[str]:
    left_out = record["leave_one_centre_out"]
    if left_out is None:
        return []
    rows = [(f"centre {name}", found["with_pcr"], found["without_pcr"], _auc(found), _one(found["out_of_fold_auc"]))
            for name, found in left_out["centres"].items()]
    rows.append(("all of them", left_out["pooled"]["with_pcr"], left_out["pooled"]["without_pcr"], _auc(left_out["pooled"]),
                 _one(left_out["out_of_fold_auc_of_the_same_cases"])))
    return ["Each centre scored by models that were trained without it, beside the same cases out of fold. The last row ranks cases of different "
            "centres by different networks, so read the rows above it first:", "",
            *_table(("left out", "pCR", "non-pCR", "AUC without it (95 % interval)", "AUC out of fold"), rows), ""]


def _calibration_lines(found: Mapping[str, Any]) -> list[str]:
    same = "after recalibration, same cases (1 and 0 by construction)" if found["method"] == "platt" else "after the prior shift"
    names = {"before": "logit as trained", "after": same, "after_cross_fitted": "after recalibration on the other folds"}
    rows = [(words, _fit(found[name], "slope"), _fit(found[name], "intercept"), "not computable" if found[name] is None else f"{found[name]['brier']:.3f}")
            for name, words in names.items()]
    return [f"Method: {found['method']}; training saw {100 * found['sampled_share']:.0f} % pCR, the training cases have {100 * found['training_share']:.1f} %, "
            f"P(pCR) is meant for {100 * found['prevalence_of_use']:.1f} %. {_ensemble_words(found['ensemble'])}", "",
            *_table(("out-of-fold scores", "slope (95 % interval)", "intercept (95 % interval)", "Brier"), rows)]


def _ensemble_words(stretch: Mapping[str, Any]) -> str:
    """What was done for the shipped mean over networks, which is not what gave the out-of-fold scores."""
    if stretch["member_variance"] is None:
        return ("The shipped model is not the one that gave these out-of-fold scores; where it averages more networks, its probabilities may be a "
                "little less extreme than they should be.")
    return (f"The shipped model averages more networks than an out-of-fold score does, so its score is better evidence: by {stretch['factor']:.2f}, as the "
            f"networks' disagreement on {stretch['cases']} training cases that two of them had not learned from tells. Its line is steeper by that factor.")


def _fit(found: Mapping[str, Any] | None, name: str) -> str:
    return "not computable" if found is None else f"{found[name]:.2f} ({found[f'{name}_ci'][0]:.2f} to {found[f'{name}_ci'][1]:.2f})"


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    return [_line(header), _line(["---"] * len(header)), *(_line(row) for row in rows)]


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _auc(found: Mapping[str, Any]) -> str:
    return "fewer than two cases of a class" if found["auc"] is None else f"{found['auc']:.3f} ({_ci(found)})"


def _one(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _ci(found: Mapping[str, Any]) -> str:
    return f"{found['ci'][0]:.3f} to {found['ci'][1]:.3f}"


def _share(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "unknown"
    return f"{found['value']:.2f} ({found['successes']} of {found['total']}; {found['lower']:.2f} to {found['upper']:.2f})"


def _range(values: Sequence[float]) -> list[float] | None:
    return [float(f"{min(values):.4g}"), float(f"{max(values):.4g}")] if values else None


def _span(found: Sequence[float]) -> str:
    return f"{found[0]:g}" if found[0] == found[1] else f"{found[0]:g} to {found[1]:g}"
