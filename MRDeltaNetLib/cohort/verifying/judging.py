"""The rule by which a map passes, and the means and intervals over cases that it is applied to. Written before any map was judged by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort.statistics import wilson
from MRDeltaNetLib.response.attribution import METHODS

SPEARMAN_MAX, POINTING_MIN, STABILITY_MIN = 0.3, 0.8, 0.7
NULL = "null"
NUMBERS = ("roi_shells", "counterfactual")
"""They answer with one number a region, told as such, and are not judged as maps."""

JUDGED = tuple(key for key in METHODS if key not in NUMBERS)
FEW_CASES = 5
"""An interval from fewer cases is not asked whether it excludes zero."""

DRAWS = 2000
Z_LOW, Z_HIGH = 2.5, 97.5

RULE = (f"A map passes if, judged inside the outline and its 8 mm shell: (1) cascade: the mean rank correlation of |map| with that of the fully randomised "
        f"network is below {SPEARMAN_MAX:g}; (2) labels, where a network trained on shuffled labels was given: the same is below {SPEARMAN_MAX:g}; "
        "(3) deletion: the mean area under the deletion curve is smaller than that of random orders, with a 95 % interval of the paired difference "
        "that excludes zero; (4) pointing: on cases that the model gets right, the maximum of the map of the scan after treatment lies in the residual "
        f"tumour or within 3 mm in at least {100 * POINTING_MIN:g} %; (5) stability: the mean rank correlation is at least {STABILITY_MIN:g}, under shifts of "
        "2 mm and under other outlines, each; (6) null: it has a smaller deletion area and more of its energy in the residual tumour than the null map, "
        "both with an interval of the paired difference that excludes zero. A test that was not done is not passed, but for (2). The default is, of the maps "
        "that pass, the one with the largest mean difference of (3).")

TESTS = ("cascade", "labels", "deletion", "pointing", "stability", "null")


@dataclass(frozen=True)
class Verdict:
    """What was decided.

    methods  method -> {test -> numbers with "passes" (None: not done)}, "passes" (None: nothing failed, but something was not done) and "why_not"
    default  the method that is shown first; None if none passes
    passed, failed  methods that were judged; one of which nothing failed but something was not done is in neither
    """

    methods: Mapping[str, Mapping[str, Any]]
    default: str | None
    passed: tuple[str, ...]
    failed: tuple[str, ...]

    def for_bundle(self) -> dict[str, Any]:
        """What a bundle's metadata keep."""
        return {"default": self.default, "passed": list(self.passed), "failed": list(self.failed)}


def judged(cases: Sequence[Mapping[str, Any]], seed: int) -> Verdict:
    """Apply the rule.

    cases  of each case: "chance" -> measuring.by_chance; "answer", "repeated", "shuffled" -> method -> what measuring gave, where it was measured
    seed   of the bootstrap over cases
    """
    keys = [key for key in METHODS if any(key in case["answer"] for case in cases)]
    methods = {key: _method(key, cases, seed) for key in keys}
    decided = [key for key in keys if key != NULL]
    passed = tuple(key for key in decided if methods[key]["passes"])
    default = max(passed, key=lambda key: methods[key]["deletion"]["gain"], default=None)
    return Verdict(methods, default, passed, tuple(key for key in decided if methods[key]["passes"] is False))


def _method(key: str, cases: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    found = {"label": METHODS[key].label, "cascade": cascade(key, cases, seed), "labels": labels(key, cases, seed), "deletion": ordered(key, cases, "deletion", seed),
             "insertion": ordered(key, cases, "insertion", seed), "pointing": pointing(key, cases), "stability": stability(key, cases, seed)}
    found["null"] = {"passes": None} if key == NULL else beside_null(key, cases, seed)
    wanted = [test for test in TESTS if test != "labels" or found["labels"]["passes"] is not None]
    said = [found[test]["passes"] for test in wanted]
    return {**found, "passes": False if False in said else None if None in said else True, "why_not": [test for test in wanted if found[test]["passes"] is not True]}


def cascade(key: str, cases: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Rank correlation and similarity after full randomisation, mean over randomisations within a case; of the first randomisation by stage."""
    runs = [case["repeated"][key]["cascade"] for case in cases if case["repeated"].get(key, {}).get("finite")]
    last = [[list(run.values())[-1] for run in of_case] for of_case in runs]
    said = [[one for one in of_case if one["spearman"] is not None] for of_case in last]
    empty = sum(one["spearman"] is None for of_case in last for one in of_case)
    full = [float(np.mean([one["spearman"] for one in of_case])) for of_case in said if of_case]
    similar = [float(np.mean([one["ssim"] for one in of_case])) for of_case in said if of_case]
    names = list(runs[0][0]) if runs else []
    stages = {name: _mean([of_case[0][name]["spearman"] for of_case in runs]) for name in names}
    similar_stages = {name: _mean([of_case[0][name]["ssim"] for of_case in runs]) for name in names}
    return {**mean_with_ci(full, seed, "spearman"), "ssim": _mean(similar), "by_stage": stages, "ssim_by_stage": similar_stages, "empty": empty,
            "maps": sum(map(len, last)), "passes": bool(np.mean(full) < SPEARMAN_MAX) if full else None}


def labels(key: str, cases: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Rank correlation with the map of a network trained on shuffled labels."""
    found = [one["spearman"] for case in cases if (one := case["shuffled"].get(key)) and one.get("finite") and one["spearman"] is not None]
    return {**mean_with_ci(found, seed, "spearman"), "passes": bool(np.mean(found) < SPEARMAN_MAX) if found else None}


def ordered(key: str, cases: Sequence[Mapping[str, Any]], name: str, seed: int) -> dict[str, Any]:
    """Area under the curve in the map's order and in random orders; gain: by how much the map's is better."""
    pairs = [(case["answer"][key][name], case["chance"][name]) for case in cases if case["answer"].get(key, {}).get("finite")]
    gains = [(chance - own) if name == "deletion" else (own - chance) for own, chance in pairs]
    found = {"area": _mean([own for own, _ in pairs]), "random_area": _mean([chance for _, chance in pairs]), **mean_with_ci(gains, seed, "gain")}
    return {**found, "passes": above_zero(found)}


def pointing(key: str, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Share of hits among the cases with a residual tumour that the model gets right."""
    found = [(case["answer"][key]["pointing"], case["chance"]["chance"]) for case in _located(key, cases)]
    if not found:
        return {"cases": 0, "passes": None}
    hits = [one["hit"] for one, _ in found]
    share = wilson(sum(hits), len(hits))
    return {"cases": len(hits), "hits": sum(hits), "share": float(np.mean(hits)), "ci": [share.lower, share.upper],
            "share_strictly": float(np.mean([one["hit_strictly"] for one, _ in found])), "by_chance": float(np.mean([chance["hit"] for _, chance in found])),
            "by_chance_strictly": float(np.mean([chance["hit_strictly"] for _, chance in found])),
            "energy": float(np.mean([one["energy"] for one, _ in found])), "energy_by_chance": float(np.mean([chance["energy"] for _, chance in found])),
            "passes": bool(np.mean(hits) >= POINTING_MIN)}


def stability(key: str, cases: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Rank correlation under shifts and other outlines. An empty map counts as 0: it did not stay the same."""
    of_cases = [case["repeated"][key] for case in cases if case["repeated"].get(key, {}).get("finite")]
    found: dict[str, Any] = {}
    for kind in ("shift", "outline"):
        values = [float(np.mean([value or 0.0 for value in one[kind].values()])) for one in of_cases if one[kind]]
        found[kind] = mean_with_ci(values, seed, "spearman")
    means = [found[kind]["spearman"] for kind in found]
    return {**found, "passes": None if None in means else bool(min(means) >= STABILITY_MIN)}


def beside_null(key: str, cases: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Paired differences to the null map of the same cases, each so that above zero is better than the null."""
    both = [case["answer"] for case in cases if all(case["answer"].get(one, {}).get("finite") for one in (key, NULL))]
    located = [case["answer"] for case in _located(key, cases) if case["answer"].get(NULL, {}).get("pointing")]
    found = {"deletion": mean_with_ci([one[NULL]["deletion"] - one[key]["deletion"] for one in both], seed, "difference"),
             "insertion": mean_with_ci([one[key]["insertion"] - one[NULL]["insertion"] for one in both], seed, "difference"),
             "energy": mean_with_ci([one[key]["pointing"]["energy"] - one[NULL]["pointing"]["energy"] for one in located], seed, "difference"),
             "pointing": mean_with_ci([float(one[key]["pointing"]["hit"]) - one[NULL]["pointing"]["hit"] for one in located], seed, "difference")}
    needed = [above_zero(found[name]) for name in ("deletion", "energy")]
    return {**found, "passes": None if None in needed else all(needed)}


def _located(key: str, cases: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [case for case in cases if case["chance"]["right"] and case["answer"].get(key, {}).get("pointing")]


def above_zero(found: Mapping[str, Any]) -> bool | None:
    """Whether the interval lies above zero; None with too few cases to say."""
    return None if found["ci"] is None else bool(found["ci"][0] > 0)


def mean_with_ci(values: Sequence[float], seed: int, name: str) -> dict[str, Any]:
    """Mean over cases with its 95 % percentile interval, cases drawn with replacement; no interval with fewer than FEW_CASES."""
    ci = None
    if len(values) >= FEW_CASES:
        drawn = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
        ci = [float(bound) for bound in np.percentile(np.asarray(values)[drawn].mean(1), (Z_LOW, Z_HIGH))]
    return {name: _mean(values), "ci": ci, "cases": len(values)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
