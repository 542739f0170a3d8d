"""run_controls: every control on the same held-out cases, resumable, with table, figure and one sentence.

    controls.json   "model" and each control -> AUC, interval, difference to the model, DeLong's p; written last
    controls.csv    the same as a table
    controls.txt    the sentence, the cases, what had to be assumed
    controls.png, controls.svg
    parts/          each control's scores and trainings: what a run that was stopped leaves for the next one
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np

import MRDeltaNetLib
from MRDeltaNetLib.cohort.controls import training as rivals
from MRDeltaNetLib.cohort.controls.changing import CHANGES, changed, network_logits
from MRDeltaNetLib.cohort.controls.figure import draw
from MRDeltaNetLib.cohort.controls.selection import Selection, select
from MRDeltaNetLib.cohort.controls.story import CONTROLS, TITLES, sentence
from MRDeltaNetLib.cohort.study.folder import locked
from MRDeltaNetLib.cohort.statistics import auc_with_ci, expected_ci, paired_delong
from MRDeltaNetLib.cohort.tabular import features
from MRDeltaNetLib.config import GateLimits, TrainingConfig
from MRDeltaNetLib.errors import InputError, Notice, UsageError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.bundle import Bundle, load_network
from MRDeltaNetLib.io.tables import read_json, write_csv
from MRDeltaNetLib.progress import Progress, part, silent

RESULT, TABLE, TEXT, PARTS = "controls.json", "controls.csv", "controls.txt", "parts"
FEW_EVENTS = 10
DIGITS = 6
MAX_PART_BYTES = 64 * 1024**2

COLUMNS = ("score", "auc", "auc_low", "auc_high", "difference_to_model", "difference_low", "difference_high", "delong_p")

SHARES = {name: 0.25 for name in rivals.NETWORKS} | {"random_roi": 0.06}
"""Of the bar; everything else is short."""


@dataclass(frozen=True)
class Controls:
    """What was found.

    results   "model" -> {"auc", "ci": [lower, upper]}; each control besides "difference" (control minus model) and "delong_p"
    sentence  what that says about the model
    cases, events   held-out cases, and those with pCR
    notices   what had to be assumed
    """

    results: Mapping[str, Mapping[str, Any]]
    sentence: str
    cases: int
    events: int
    notices: tuple[Notice, ...]


def run_controls(bundle: Bundle, prepared, out: Path, *, only: Sequence[str] = CONTROLS, training: TrainingConfig | None = None,
                 epochs: int | None = None, members: int = 1, seed: int = 0, accelerator: str = "cpu", progress: Progress = silent) -> Controls:
    """Run controls of a bundle's model on the held-out cases of a prepared cohort, and write them to a folder.

    prepared     PreparedCohort, prepared as the bundle says; its rows' set decides who trains rivals and who is held out (see selection)
    out          folder; a run that was stopped goes on where it was
    only         some of CONTROLS; those of CHANGES need no training rows
    training     how rivals are trained; None: as the bundle says that its own network was
    epochs       at most so many, None: as in training; fewer are cheaper and make weaker rivals
    members      networks a rival, whose mean logit counts; a bundle with many members is compared fairly with as many only
    accelerator  "cpu", "cuda" or "mps"
    raises       UsageError MRD-E793 (no such control), InputError MRD-E790 to E792, EnvironmentProblem MRD-E777 (two on one folder), and what cohort.training.fit raises
    """
    from MRDeltaNetLib.models import registry

    names = _asked(only)
    chosen = select(bundle, prepared)
    if any(name in rivals.RIVALS for name in names):
        rivals.require_training_rows(chosen.training)
    config = training or rivals.training_config(bundle)
    config = replace(config, epochs=min(config.epochs, epochs)) if epochs else config
    out = Path(out)
    # not the whole bundle's digest: card and recalibration change no score
    base = [MRDeltaNetLib.__version__, bundle.weights_sha256, bundle.own["network"], bundle.own["preprocessing"],
            *(list(zip(p.keys, map(int, features.outcomes(p)))) for p in (chosen.held_out, chosen.training)),
            [row.set for row in chosen.held_out.rows], asdict(config), members, seed]
    network = load_network(bundle, registry.build)
    bars, scores, notices = _bars(names), {}, _notices(chosen, members, bundle, names)
    with locked(out):                                      # two at once would take each other's unfinished trainings for old ones
        for name in ("model", *names):
            digest = hashlib.sha256(json.dumps([name, *base]).encode()).hexdigest()
            make = lambda name=name, digest=digest: _score(name, bundle, network, chosen, config, out / PARTS / f"{name}-{digest[:12]}", members, seed,
                                                           accelerator, part(progress, *bars[name]))
            progress(bars[name][0], TITLES[name])
            scores[name], found = _resumed(out / PARTS / f"{name}.json", digest, len(chosen.held_out.rows), make)
            notices += found
        found = _judged(features.outcomes(chosen.held_out), scores, notices, _handicaps(bundle, config, members, names))
        _write(out, found, chosen)
    progress(1.0, "controls done")
    return found


def _score(name: str, bundle: Bundle, network, chosen: Selection, config: TrainingConfig, folder: Path, members: int, seed: int,
           accelerator: str, progress: Progress) -> tuple[np.ndarray, tuple[Notice, ...]]:
    """Logits (n,) of one control, and notices."""
    if name in rivals.TABULAR:
        return rivals.tabular_rival(name, chosen.training, chosen.held_out, seed)
    if name in rivals.NETWORKS:
        return rivals.network_rival(name, bundle, chosen.training, chosen.held_out, config, folder, members=members, seed=seed,
                                    accelerator=accelerator, progress=progress), ()
    return network_logits(network, changed(name, chosen.held_out, bundle.preprocessing, seed), accelerator), ()


def _judged(outcome: np.ndarray, scores: Mapping[str, np.ndarray], notices: tuple[Notice, ...], handicaps: tuple[str, ...] = ()) -> Controls:
    results: dict[str, dict[str, Any]] = {}
    for name, score in scores.items():
        auc, lower, upper = (round(value, DIGITS) for value in auc_with_ci(outcome, score))
        results[name] = {"auc": auc, "ci": [lower, upper]}
        if name != "model":
            test = paired_delong(outcome, score, scores["model"])
            results[name] |= {"difference": round(test.difference, DIGITS), "difference_ci": [round(test.lower, DIGITS), round(test.upper, DIGITS)],
                              "delong_p": float(f"{test.p:.6g}")}
    cases, events = len(outcome), int(outcome.sum())
    return Controls(results, sentence(results, cases, events, handicaps), cases, events, notices)


def _write(out: Path, found: Controls, chosen: Selection) -> None:
    rows = [{"score": name, "auc": result["auc"], "auc_low": result["ci"][0], "auc_high": result["ci"][1]}
            | ({} if name == "model" else {"difference_to_model": result["difference"], "difference_low": result["difference_ci"][0],
                                           "difference_high": result["difference_ci"][1], "delong_p": result["delong_p"]})
            for name, result in found.results.items()]
    write_csv(out / TABLE, rows, COLUMNS)
    model = found.results["model"]
    low, high = expected_ci(model["auc"], found.events, found.cases - found.events)
    sets = [f"{name} {sum(row.set == name for row in chosen.held_out.rows)}" for name in sorted({row.set for row in chosen.held_out.rows})]
    lines = [found.sentence, "", f"Held-out cases: {found.cases}, {found.events} with pCR ({', '.join(sets)}). "
             f"Training cases of the rivals: {len(chosen.training.rows)}.",
             f"With so many cases an AUC of {model['auc']:.2f} may be expected to have the interval {low:.2f} to {high:.2f} (Hanley-McNeil).", ""]
    lines += [f"{notice.code}: {notice.text}." + (f" {notice.fix[:1].upper()}{notice.fix[1:]}." if notice.fix else "") for notice in found.notices]
    write_text(out / TEXT, "\n".join(lines).rstrip() + "\n")
    draw(out, found.results, found.sentence)
    write_text(out / RESULT, json.dumps(found.results, indent=1, allow_nan=False) + "\n")


def _resumed(path: Path, digest: str, cases: int, make: Callable[[], tuple[np.ndarray, tuple[Notice, ...]]]) -> tuple[np.ndarray, tuple[Notice, ...]]:
    """What an earlier run kept of exactly this control, or the control made now and kept."""
    if path.exists():
        try:
            kept = read_json(path, GateLimits(max_json_bytes=MAX_PART_BYTES), what="a control's scores")
            logits = np.array(kept["logits"], dtype=float)
            if kept["made_from"] == digest and logits.shape == (cases,) and np.isfinite(logits).all():
                return logits, tuple(Notice(**notice) for notice in kept["notices"])
        except (InputError, KeyError, TypeError, ValueError):
            pass                                           # not whole, or not ours: made again
    logits, notices = make()
    if not np.isfinite(logits).all():
        raise InputError("A control gives scores that are not numbers", code="MRD-E794", found=f"{path.stem}: {int((~np.isfinite(logits)).sum())} of {cases} cases",
                         fix="check the bundle with `mrdeltanet model verify`, and lower the learning rate if a rival's training diverged")
    content = {"made_from": digest, "logits": [float(value) for value in logits], "notices": [asdict(notice) for notice in notices]}
    for old in path.parent.glob(f"{path.stem}-*"):         # trainings of this control with other cases or settings
        if old.is_dir() and old.name != f"{path.stem}-{digest[:12]}":
            shutil.rmtree(old)
    write_text(path, json.dumps(content, allow_nan=False) + "\n")
    return logits, notices


def _asked(only: Sequence[str]) -> tuple[str, ...]:
    if not only or set(only) - set(CONTROLS):
        raise UsageError("There is no such control", code="MRD-E793", found=", ".join(sorted(set(only) - set(CONTROLS)))[:200] or "none was named",
                         fix=f"choose some of {', '.join(CONTROLS)}")
    return tuple(name for name in CONTROLS if name in set(only))


def _bars(names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Where each step begins and ends on the bar."""
    weights = [SHARES.get(name, 0.02) for name in ("model", *names)]
    ends = np.cumsum(weights) / np.sum(weights)
    return {name: (float(end - weight / np.sum(weights)), float(end)) for name, weight, end in zip(("model", *names), weights, ends)}


def _handicaps(bundle: Bundle, config: TrainingConfig, members: int, names: Sequence[str]) -> tuple[str, ...]:
    """What the networks that see one visit had less of than the model; each by itself makes the model look better."""
    if not set(names) & {"pre_only", "post_only"}:
        return ()
    own, stored = rivals.training_config(bundle).epochs, bundle.own.get("training")
    said = ((bundle.members > members, f"{members} network{'s' if members > 1 else ''} against {bundle.members}"),
            (bool(stored) and config.epochs < own, f"{config.epochs} epochs against {own}"),
            (bool(isinstance(stored, Mapping) and stored.get("pretrained")), "no pretraining"))
    return tuple(words for holds, words in said if holds)


def _notices(chosen: Selection, members: int, bundle: Bundle, names: Sequence[str]) -> tuple[Notice, ...]:
    found = []
    rarer = int(np.bincount(features.outcomes(chosen.held_out), minlength=2).min())
    if rarer < FEW_EVENTS:
        found.append(Notice("MRD-W788", f"Only {rarer} held-out cases have the rarer outcome, so the intervals are wide and DeLong's p is rough",
                            "give more held-out cases"))
    if chosen.without_outcome:
        found.append(Notice("MRD-W790", f"{chosen.without_outcome} rows without an outcome were left out"))
    if bundle.members > members and set(names) & set(rivals.NETWORKS):
        found.append(Notice("MRD-W791", f"The model is the mean of {bundle.members} networks, its rivals of {members}; ensembles do better by themselves",
                            "ask for as many members if the differences are small"))
    return tuple(found)


assert set(CONTROLS) == {*CHANGES, *rivals.RIVALS}
