"""Whatever a table holds, the sections on clinical values and survival give what can be given, and numbers that JSON can hold."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from MRDeltaNetLib.cohort.evaluating import fusion, logistic, survival, table_one
from MRDeltaNetLib.config import EndpointConfig, TableOneConfig
from Testing.cohort.evaluating.clinical_subset import made_up, subset

COLUMNS = {"plain": lambda rng, n: rng.normal(size=n), "constant": lambda rng, n: np.full(n, 3.0), "empty": lambda rng, n: np.full(n, np.nan),
           "gaps": lambda rng, n: np.where(rng.random(n) < 0.5, np.nan, rng.normal(size=n)), "binary": lambda rng, n: rng.integers(0, 2, n) * 1.0,
           "far": lambda rng, n: 1e8 + rng.normal(size=n), "tiny": lambda rng, n: 1e-9 * rng.normal(size=n), "skewed": lambda rng, n: np.exp(12 * rng.normal(size=n)),
           "levels": lambda rng, n: rng.choice(["a", "b", "c"], n).astype(object), "names": lambda rng, n: np.array([f"t{k}" for k in range(n)], dtype=object),
           "words": lambda rng, n: np.array([None if v < 0.4 else "x" if v < 0.9 else "y" for v in rng.random(n)], dtype=object)}
OUTCOMES = {"both": lambda rng, n: rng.random(n) < 0.4, "one": lambda rng, n: np.ones(n), "none": lambda rng, n: np.full(n, np.nan),
            "gaps": lambda rng, n: np.where(rng.random(n) < 0.3, np.nan, rng.random(n) < 0.5)}
TIMES = {"plain": lambda rng, n: rng.exponential(10, n), "tied": lambda rng, n: rng.exponential(3, n).round(), "zero": lambda rng, n: np.zeros(n),
         "same": lambda rng, n: np.full(n, 5.0), "negative": lambda rng, n: rng.normal(size=n), "empty": lambda rng, n: np.full(n, np.nan)}
EVENTS = {"plain": lambda rng, n: rng.integers(0, 2, n), "censored": lambda rng, n: np.zeros(n), "all": lambda rng, n: np.ones(n), "wrong": lambda rng, n: rng.integers(0, 3, n)}


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), n=st.sampled_from([2, 3, 5, 12, 40, 90]), kinds=st.lists(st.sampled_from(sorted(COLUMNS)), max_size=5, unique=True),
       outcome=st.sampled_from(sorted(OUTCOMES)), time=st.sampled_from(sorted(TIMES)), event=st.sampled_from(sorted(EVENTS)), landmark=st.sampled_from([None, 2.0]),
       score=st.sampled_from(["random", "same", "the outcome", "none"]), twice=st.booleans())
def test_nothing_is_raised_and_nothing_is_warned(seed, n, kinds, outcome, time, event, landmark, score, twice):
    rng = np.random.default_rng(seed)
    frame = {kind: COLUMNS[kind](rng, n) for kind in kinds} | {"t": TIMES[time](rng, n), "e": EVENTS[event](rng, n).astype(float)}
    known = OUTCOMES[outcome](rng, n).astype(float)
    clinical = [*kinds, *(["twice"] if twice and kinds else [])]
    frame |= {"twice": frame[kinds[0]]} if twice and kinds else {}
    frame |= {"p_pcr": {"random": rng.random(n), "same": np.full(n, 0.5), "the outcome": np.nan_to_num(known)}[score]} if score != "none" else {}
    given = subset(frame, known, scores=("p_pcr",) if score != "none" else (), clinical=clinical, bootstrap=20,
                   endpoints={"os": EndpointConfig("t", "e", groups=tuple(kinds[:1]), landmark=landmark)},
                   table_one=TableOneConfig(by=kinds[-1] if kinds and seed % 3 == 0 else None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for module in (logistic, fusion, table_one, survival):
            part = module.section(given)
            json.dumps([part.values, [figure.data for figure in part.figures.values()], [table.rows for table in part.tables.values()]], allow_nan=False)
            assert part.values or part.omissions
            assert all(each.section == module.SECTION and each.reason and each.fix for each in part.omissions)


def test_what_would_take_many_minutes_is_left_out_and_curves_are_not(monkeypatch):
    from MRDeltaNetLib.cohort.evaluating import clinical_values
    monkeypatch.setattr(clinical_values, "MOST_CASES", 100)
    part = survival.section(made_up(150))
    assert part.values["dfs"]["logrank"] and not part.values["dfs"]["cox"] and not part.values["dfs"]["scores"]
    assert sum("150 cases are more than the 100" in each.reason for each in part.omissions) == 4
    assert "more than the 100" in fusion.section(made_up(150)).omissions[-1].reason


def test_events_all_at_one_time_rank_nobody():
    frame = {"t": np.full(30, 5.0), "e": np.ones(30), "age": np.arange(30.0)}
    found = survival.section(subset(frame, np.arange(30) % 2, clinical=("age",), endpoints={"os": EndpointConfig("t", "e")})).values["os"]
    assert found["harrell_c"] is None and found["km"]["true=pCR"]["median"] == 5


def test_a_ratio_that_no_number_can_hold_is_told_as_the_largest():
    rng = np.random.default_rng(0)
    tiny = 1e-9 * rng.normal(size=60)
    frame = {"t": rng.exponential(np.exp(-1e9 * tiny)), "e": np.ones(60), "tiny": tiny}
    row = survival.section(subset(frame, np.arange(60) % 2, clinical=("tiny",), endpoints={"os": EndpointConfig("t", "e")})).values["os"]["cox"][0]
    assert row["hr"] == row["hi"] == pytest.approx(np.exp(700.0)) and row["p"] < 1e-4 and row["coefficient"] == pytest.approx(1e9, rel=0.5)
