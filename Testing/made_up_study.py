"""Tables of a study of made-up cases: a score that knows much, one that knows little, one of volume, clinical values, two endpoints. No patient."""

from __future__ import annotations

import numpy as np
import pandas

SETS = {"train": 0.5, "internal": 0.2, "external": 0.3}


def tables(count: int, seed: int = 0) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Predictions and cohort as text, as they are read from CSV files; the column latent_truth says that they are simulated."""
    random = np.random.default_rng(seed)
    sets = random.choice(list(SETS), count, p=list(SETS.values()))
    truth = random.normal(size=count)
    outcome = (truth + 0.8 * random.normal(size=count) > 1.0).astype(int)
    known = outcome.astype(object)
    known[random.random(count) < 0.02] = ""
    ids = [f"case{number:05d}" for number in range(count)]
    chance = lambda logit: (1 / (1 + np.exp(-logit))).round(8)
    centre = np.where(sets == "external", random.choice(["D", "E", "F"], count), random.choice(["A", "B", "C"], count))
    predictions = pandas.DataFrame({"id": ids, "centre": centre, "set": sets, "outcome": known, "p_pcr": chance(1.6 * truth - 1.4 + 0.5 * random.normal(size=count)),
                                    "p_clinical": chance(0.5 * truth - 1.3 + random.normal(size=count)), "p_volume": chance(0.9 * truth - 1.3 + random.normal(size=count))})
    relapse, death = random.exponential(60 * np.exp(0.8 * outcome)), random.exponential(150 * np.exp(0.4 * outcome))
    seen = random.uniform(10, 80, count)
    age = random.normal(61, 9, count).round(1).astype(object)
    age[random.random(count) < 0.05] = ""
    cohort = pandas.DataFrame({"id": ids, "age_years": age, "sex": random.choice(["female", "male"], count), "ct": random.choice(["cT2", "cT3", "cT4"], count, p=[0.1, 0.7, 0.2]),
                               "cn": random.choice(["cN0", "cN+"], count), "cea_ug_l": np.exp(random.normal(1.2, 1, count)).round(2), "scanner": random.choice(["X", "Y"], count),
                               "dfs_time_months": np.minimum(relapse, seen).round(2) + 0.01, "dfs_event": (relapse <= seen).astype(int),
                               "os_time_months": np.minimum(death, seen).round(2) + 0.01, "os_event": (death <= seen).astype(int), "latent_truth": truth.round(3)})
    return predictions.astype(str), cohort.astype(str)
