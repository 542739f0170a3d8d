"""verify_maps: every test of every method on the cases of a table, resumable, with table, plot and the bundle's card."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping

import numpy as np
import torch

import MRDeltaNetLib
from MRDeltaNetLib import pipeline
from MRDeltaNetLib.cohort.predicting import prepare_for, trained_on
from MRDeltaNetLib.cohort.study.folder import claim, clean, digest, locked
from MRDeltaNetLib.cohort.verifying import figure, measuring, pictures, telling, truth
from MRDeltaNetLib.cohort.verifying.judging import NULL, NUMBERS, RULE, Verdict, judged
from MRDeltaNetLib.cohort.verifying.randomising import fresh_of, stages
from MRDeltaNetLib.config import EXPLAIN_METHODS
from MRDeltaNetLib.errors import InputError, MissingPackage, MRDeltaNetError, Notice, UsageError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.bundle import Bundle, load_network, read_bundle, rewrite_bundle
from MRDeltaNetLib.io.cohort_table import read_cohort
from MRDeltaNetLib.io.tables import read_json
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.response.attribution import METHODS, Readout
from MRDeltaNetLib.response.prediction import choose_device
from MRDeltaNetLib.versions import versions

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.preparing import PreparedCohort

SCHEMA = "mrdeltanet.map_verification/1"
RESULT, PARTS, CACHE = "verify.json", "parts", "cache"
PREPARED = 0.05
"""Where preparation ends on the bar."""


@dataclass(frozen=True)
class Settings:
    """How much is done.

    cases           so many of the table's prepared cases, in its order; None: all
    repeated_cases  so many of these have the tests that make many maps of a case: cascade and stability
    randomisations  networks with new weights a case; the first is replaced stage by stage
    random_orders   beside a map's order of deletion and insertion
    seed            of everything random
    """

    cases: int | None = None
    repeated_cases: int = 20
    randomisations: int = 3
    random_orders: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not ((self.cases is None or self.cases >= 1) and self.repeated_cases >= 0 and 1 <= self.randomisations <= 100 and 1 <= self.random_orders <= 1000
                and self.seed >= 0):
            raise UsageError("The numbers of cases, randomisations or orders cannot be used", code="MRD-E730",
                             found=", ".join(f"{name} {value}" for name, value in asdict(self).items()),
                             fix="give at least one case, 1 to 100 randomisations, 1 to 1000 orders, and a seed of 0 or more")


@dataclass(frozen=True)
class Verified:
    """What was found. left_out: method -> why it was not asked; cases: how many were looked at; notices: what the user should know."""

    verdict: Verdict
    cases: int
    left_out: Mapping[str, str]
    notices: tuple[Notice, ...]
    out: Path

    def text(self) -> str:
        """A few lines for a person."""
        said = {True: "passes", False: "fails", None: "open, not all was done"}
        lines = [f"{METHODS[key].label.split(' (')[0]}: {said[found['passes']]}" + (f" ({telling.why_not(found)})" if found["why_not"] else "")
                 for key, found in self.verdict.methods.items() if key != NULL]
        lines += [f"Left out: {key} ({why})" for key, why in self.left_out.items()]
        lines.append(f"Default map: {METHODS[self.verdict.default].label}" if self.verdict.default else "No map passes: none is the default")
        return "\n".join([*lines, f"Numbers: {self.out / RESULT}", f"Table:   {self.out / telling.MARKDOWN}", f"Plot:    {self.out / figure.PNG}"])


def verify_maps(bundle_path: Path | str, table: Path | str, out: Path | str, *, methods: Iterable[str] | None = None, settings: Settings = Settings(),
                shuffled: Path | str | None = None, cache: Path | str | None = None, workers: int = 1, device: str = "auto", pictured: int = 0,
                into_card: bool = False, progress: Progress = silent) -> Verified:
    """Judge a bundle's methods of explanation on the cases of a table, or go on with what an earlier, stopped call left.

    bundle_path  the model
    table        a cohort table; with residual masks (simulated, or drawn) for the tests that need to know where the tumour is
    out          folder: new, empty, or of an earlier verification of this model
    methods      keys; None: all that mean something on this network and have their package. The null map is always among them. What an earlier
                 call measured of other methods or more cases counts too
    shuffled     bundle of a network of the same kind that was trained on shuffled labels; None: that test is not done
    pictured     pictures of so many cases
    into_card    write section and verdict into the bundle
    raises       UsageError MRD-E730 (settings), E723 (a method), E776 (another model's folder); InputError MRD-E731 (the shuffled bundle does not fit), E732 (no
                 case could be judged), E724 (a method means nothing on this network), of bundle (E501 to E508) and table (E430 to E456); MissingPackage
                 MRD-E801; EnvironmentProblem MRD-E777, E810 to E813; Cancelled
    """
    bundle, out = read_bundle(Path(bundle_path)), Path(out)
    network = load_network(bundle, _build)
    keys, left_out = _asked(methods, network)
    where, _ = choose_device(device)
    other = None if shuffled is None else _shuffled(Path(shuffled), bundle)
    cohort = read_cohort(Path(table), require_outcome=False, require_files=False)
    with locked(out):
        clean(out)
        claim(out, {"verifies": bundle.weights_sha256})
        prepared = prepare_for(bundle, cohort, out / CACHE if cache is None else Path(cache), workers, part(progress, 0.0, PREPARED))
        rival = None if other is None else (other.weights_sha256, load_network(other, _build).to(where))
        work = _Work(bundle, network.to(where), keys, settings, rival, prepared, out)
        cases, failures = work.done(part(progress, PREPARED, 0.95))
        if not cases:
            raise InputError("No case of the table could be judged", code="MRD-E732", found=f"{len(failures) + len(prepared.failures)} failed",
                             fix="see failures.csv in the cache; both outlines must lie inside the crop")
        verdict = judged(cases, settings.seed)
        notices = (*cohort.notices, *trained_on(bundle, prepared), *_open(prepared, failures, cases))
        record = _record(bundle, other, cohort.sha256, settings, verdict, left_out, cases, failures, prepared, notices, stages(network))
        figure.draw(out, verdict, cases)
        telling.write(out, record)
        for number in range(min(pictured, len(prepared.keys))):
            progress(0.95 + 0.05 * number / pictured, f"Picture {number + 1} of {pictured}")
            drawn = [key for key in METHODS if key in verdict.methods]
            pictures.draw(out / pictures.FOLDER / f"{number + 1}.png", network, work.subject(number), drawn, lambda done, message: progress(0.95, message))
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(out / RESULT, text)
        if into_card:
            _into_bundle(Path(bundle_path), record, verdict)
    progress(1.0, "Maps verified")
    return Verified(verdict, len(cases), left_out, notices, out)


class _Work:
    """The parts of a verification, each measured once."""

    def __init__(self, bundle: Bundle, network: torch.nn.Module, keys: tuple[str, ...], settings: Settings, shuffled: tuple[str, torch.nn.Module] | None,
                 prepared: "PreparedCohort", out: Path) -> None:
        self.bundle, self.network, self.keys, self.settings, self.shuffled, self.prepared, self.out = bundle, network, keys, settings, shuffled, prepared, out
        self.readout, self.fresh = Readout.of(bundle.own), fresh_of(bundle)
        self.base = [MRDeltaNetLib.__version__, bundle.weights_sha256, bundle.own["network"], asdict(self.readout), settings.seed]

    def done(self, progress: Progress) -> tuple[list[dict[str, Any]], dict[int, MRDeltaNetError]]:
        """What judging wants of each case, and number of a case -> why it could not be judged."""
        count = len(self.prepared.keys)
        wanted, repeats = min(count, self.settings.cases or count), min(count, self.settings.cases or count, self.settings.repeated_cases)
        total = wanted * (1 + len(self.keys) * (2 if self.shuffled else 1)) + repeats * len(self.keys)
        step, cases, failures = 0, [], {}

        def bar() -> Progress:
            nonlocal step
            step += 1
            return part(progress, min(1.0, (step - 1) / total), min(1.0, step / total))

        for number in range(count):
            try:
                cases += [found] if (found := self._case(number, number < wanted, number < repeats, bar)) else []
            except InputError as problem:
                failures[number] = problem
        return cases, failures

    def _case(self, number: int, asked: bool, repeat: bool, bar: Callable[[], Progress]) -> dict[str, Any] | None:
        """One case; where it was not asked for, what an earlier call left of it."""
        subject = _Later(lambda: self.subject(number))
        chance = self._part(number, "chance", [self.settings.random_orders], asked, bar,
                            lambda heard: measuring.by_chance(self.network, subject(), self.settings.random_orders, heard))
        if chance is None:
            return None
        found: dict[str, Any] = {"number": number, "chance": chance, "answer": {}, "repeated": {}, "shuffled": {}}
        for key in METHODS:
            if key in NUMBERS:
                continue
            now = asked and key in self.keys
            tests = {"answer": (now, [], lambda heard: measuring.answer(key, self.network, subject(), heard)),
                     "repeated": (now and repeat, [self.settings.randomisations],
                                  lambda heard: measuring.repeated(key, self.network, self.fresh, subject(), self.settings.randomisations, heard))}
            if self.shuffled is not None:
                tests["shuffled"] = now, [self.shuffled[0]], lambda heard: measuring.of_shuffled(key, self.network, self.shuffled[1], subject(), heard)
            for name, (wanted, facts, measure) in tests.items():
                if (said := self._part(number, f"{key}.{name}", facts, wanted, bar, measure)) is not None:
                    found[name][key] = said
        return found

    def subject(self, number: int) -> measuring.Subject:
        """A case, ready to be asked about."""
        prepared = self.prepared
        x = torch.from_numpy(np.array(prepared.crops[number], dtype=np.float32)).to(next(self.network.parameters()).device)
        row, residual = prepared.rows[number], truth.residual_of(prepared.rows[number], prepared.facts[number])
        return measuring.subject_of(self.network, x, self.readout, outcome=row.outcome, residual=residual,
                                    outlines=prepared.outlines(number), seed=self.settings.seed + int(prepared.keys[number][:8], 16))

    def _part(self, number: int, name: str, facts: list[Any], wanted: bool, bar: Callable[[], Progress],
              measure: Callable[[Progress], dict[str, Any]]) -> dict[str, Any] | None:
        """What was measured: from the folder where it is there and fits, else now, if it is wanted."""
        place, key = self.out / PARTS / self.prepared.keys[number] / f"{name}.json", self.prepared.keys[number]
        fits = digest([*self.base, key, self.prepared.rows[number].outcome, name, *facts])
        heard = bar() if wanted else silent
        if (kept := _kept(place, fits)) is not None:
            heard(1.0, f"Case {number + 1}: {name} was there")
            return kept
        if not wanted:
            return None
        found = json.loads(json.dumps(measure(lambda done, message: heard(done, f"Case {number + 1}, {name.replace('.', ': ')}")), allow_nan=False))
        write_text(place, json.dumps({"fits": fits, "found": found}, indent=1) + "\n")
        return found


class _Later:
    """A value that is made when it is first asked for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._made = make, None

    def __call__(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made


def _kept(place: Path, fits: str) -> dict[str, Any] | None:
    if not place.is_file():
        return None
    try:
        kept = read_json(place, what="what was measured of a case")
        return kept["found"] if kept["fits"] == fits and isinstance(kept["found"], dict) else None
    except (InputError, KeyError, TypeError):              # cut short or changed by hand: it is measured again
        return None


def _asked(methods: Iterable[str] | None, network: torch.nn.Module) -> tuple[tuple[str, ...], dict[str, str]]:
    """The methods that are judged, and why others are not."""
    if methods is not None:
        keys = tuple(dict.fromkeys(methods))
        if not keys or any(key in NUMBERS for key in keys):
            raise UsageError("These methods cannot be judged as maps", code="MRD-E723", found=", ".join(key for key in keys if key in NUMBERS) or "none is named",
                             fix=f"choose among {', '.join(key for key in EXPLAIN_METHODS if key not in NUMBERS)}")
        pipeline.require_methods(keys, network)
        return tuple(key for key in METHODS if key in (*keys, NULL)), {}
    left_out = {key: "answers with one number a region; not judged as a map" for key in NUMBERS}
    for key in METHODS:
        try:
            pipeline.require_methods([key], network)
        except (InputError, MissingPackage) as reason:
            left_out[key] = reason.found or reason.what
    return tuple(key for key in METHODS if key not in left_out), left_out


def _shuffled(path: Path, bundle: Bundle) -> Bundle:
    found = read_bundle(path)
    if found.preprocessing != bundle.preprocessing or found.weights_sha256 == bundle.weights_sha256:
        raise InputError("The bundle trained on shuffled labels does not fit the model", code="MRD-E731",
                         found="the very same weights" if found.weights_sha256 == bundle.weights_sha256 else "another preprocessing: its maps lie on other voxels",
                         fix="train it as the model was, with the outcomes of the table in a random order")
    return found


def _open(prepared: "PreparedCohort", failures: Mapping[int, MRDeltaNetError], cases: list[dict[str, Any]]) -> tuple[Notice, ...]:
    """What could not be judged."""
    found = []
    if prepared.failures or failures:
        found.append(Notice("MRD-W730", f"{len(prepared.failures) + len(failures)} cases could not be judged", "see failures in verify.json and failures.csv in the cache"))
    if not any(case["chance"]["chance"] for case in cases):
        found.append(Notice("MRD-W731", "No case has a residual tumour on the crop, so it is not known where a map should point, and none can pass",
                            "give a table whose cases have residual masks: simulated ones, or drawn by a reader"))
    return tuple(found)


def _record(bundle: Bundle, shuffled: Bundle | None, table_sha256: str, settings: Settings, verdict: Verdict, left_out: Mapping[str, str],
            cases: list[dict[str, Any]], failures: Mapping[int, MRDeltaNetError], prepared: "PreparedCohort", notices: tuple[Notice, ...],
            stage_names: list[str]) -> dict[str, Any]:
    """The whole of verify.json."""
    chances = [case["chance"] for case in cases]
    counts = {"cases": len(cases), "favoured_pcr": sum(one["toward"] == "pCR" for one in chances), "right": sum(one["right"] is True for one in chances),
              "with_residual_tumour": sum(one["chance"] is not None for one in chances), "without_residual_tumour": sum(one["chance"] is None for one in chances),
              "with_residual_tumour_and_right": sum(one["chance"] is not None and one["right"] is True for one in chances),
              "failed": len(failures) + len(prepared.failures)}
    return {"schema": SCHEMA, "model": {"name": bundle.own["name"], "version": bundle.metadata["version"], "weights_sha256": bundle.weights_sha256},
            "shuffled_weights_sha256": None if shuffled is None else shuffled.weights_sha256, "cohort_sha256": table_sha256, "settings": asdict(settings),
            "stages": stage_names, "rule": RULE, "counts": counts, "methods": {key: dict(found) for key, found in verdict.methods.items()},
            **verdict.for_bundle(), "left_out": dict(left_out),
            "failures": [{"line": prepared.rows[number].line, "code": problem.code, "what": problem.what} for number, problem in failures.items()],
            "notices": [asdict(notice) for notice in notices], "versions": versions(), "mrdeltanet": MRDeltaNetLib.__version__}


def _into_bundle(folder: Path, record: Mapping[str, Any], verdict: Verdict) -> None:
    """Section and verdict into the bundle: card, metadata, digests. Weights and stored example stay."""
    bundle = read_bundle(folder)
    metadata = json.loads(json.dumps(bundle.metadata))
    metadata["mrdeltanet"]["maps"] = verdict.for_bundle()
    rewrite_bundle(folder, card=telling.into_card(bundle.card, record), metadata=metadata)


def _build(name: str, **settings: Any) -> torch.nn.Module:
    from MRDeltaNetLib.models import registry
    return registry.build(name, **settings)
