"""Statistics of many cases: DeLong's variance and how it grows, and the bootstrap of all samples at once."""

from __future__ import annotations

import statistics
import time
from typing import Callable

CASES, SMALL, GROWTH = 100_000, 4_000, (10_000, 100_000, 1_000_000)
BOOTSTRAPPED, SAMPLES, LOOPED = 1_000, 2_000, 100
ROUNDS = 5


def run() -> list[dict]:
    """Seconds of DeLong's AUC with variance beside scikit-learn's AUC and beside all pairs; of the bootstrap beside a loop over scikit-learn's AUC."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    from MRDeltaNetLib.cohort.statistics import delong
    from MRDeltaNetLib.cohort.statistics.bootstrap import ranking_bootstrap

    random = np.random.default_rng(0)

    def scored(cases: int):
        outcome = random.random(cases) < 0.3
        return outcome, outcome + random.normal(size=cases)

    large, small, few = scored(CASES), scored(SMALL), scored(BOOTSTRAPPED)
    ours, peer = _seconds(lambda: delong(*large)), _seconds(lambda: roc_auc_score(*large))
    fast, pairs = _seconds(lambda: delong(*small)), _seconds(lambda: _all_pairs(*small))
    grown = [(cases, _seconds(lambda one=scored(cases): delong(*one))) for cases in GROWTH]
    pairs_grown = [(cases, _seconds(lambda one=scored(cases): _all_pairs(*one))) for cases in (SMALL // 4, SMALL)]
    drawn, looped = _seconds(lambda: ranking_bootstrap(*few, SAMPLES, 0)), _seconds(lambda: _loop(*few, LOOPED)) * SAMPLES / LOOPED
    return [{"what": f"DeLong, {CASES} scores", "unit": "s", "ours": ours, "peer": peer, "peer_name": "scikit-learn's AUC, no variance", "note": "aim: below 0.2 s"},
            {"what": f"DeLong, {SMALL} scores", "unit": "s", "ours": fast, "peer": pairs, "peer_name": "all pairs"},
            {"what": f"DeLong, exponent of growth from {GROWTH[0]} to {GROWTH[-1]}", "unit": "", "ours": _exponent(grown), "peer": _exponent(pairs_grown),
             "peer_name": f"all pairs from {SMALL // 4} to {SMALL}", "note": f"n log n is {_n_log_n():.2f}"},
            {"what": f"bootstrap of AUC and precision, {SAMPLES} x {BOOTSTRAPPED}", "unit": "s", "ours": drawn, "peer": looped,
             "peer_name": f"loop over scikit-learn, from {LOOPED}"}]


def _all_pairs(outcome, score):
    """DeLong's AUC and variance with every pair of a case of each class written out."""
    import numpy as np

    high, low = score[outcome], score[~outcome]
    won = np.where(high[:, None] == low, 0.5, high[:, None] > low)
    return won.mean(), won.mean(1).var(ddof=1) / len(high) + won.mean(0).var(ddof=1) / len(low)


def _loop(outcome, score, samples: int):
    """AUC and average precision of stratified samples, one after the other."""
    import numpy as np
    from sklearn.metrics import average_precision_score, roc_auc_score

    random, high, low = np.random.default_rng(0), np.flatnonzero(outcome), np.flatnonzero(~outcome)
    rows = (np.concatenate([random.choice(high, len(high)), random.choice(low, len(low))]) for _ in range(samples))
    return [(roc_auc_score(outcome[row], score[row]), average_precision_score(outcome[row], score[row])) for row in rows]


def _seconds(action: Callable[[], object]) -> float:
    """The median of some rounds, the first call aside, which loads what it needs."""
    action()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _exponent(grown: list[tuple[int, float]]) -> float:
    """k where seconds grow as n to the power of k, from the first to the last."""
    import math

    (first, before), (last, after) = grown[0], grown[-1]
    return math.log(after / before) / math.log(last / first)


def _n_log_n() -> float:
    import math

    return _exponent([(cases, cases * math.log(cases)) for cases in GROWTH])
