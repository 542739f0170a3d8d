"""A folder of simulated patients with masks, truth and a table: to try the product on, and to test it. Made-up data; no patient."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.imaging.phantom import draw_case, simulate_pair
from MRDeltaNetLib.imaging.phantom.contrast import SCANNERS
from MRDeltaNetLib.imaging.phantom.treatment import PREVALENCE, SETTINGS
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.cohort_table import LATENT_PREFIX, SETS, Column
from MRDeltaNetLib.io.cohort_table.dictionary import as_json
from MRDeltaNetLib.io.images import write_image
from MRDeltaNetLib.io.tables import write_csv
from MRDeltaNetLib.io.transforms import write_transform
from MRDeltaNetLib.progress import Progress, silent

IMAGES = ("pre", "post", "pre_mask", "post_mask", "residual_mask")
TRANSFORM = "transform_pre_to_post"
CENTRES = ("A", "B", "C")
MAX_CASES = 100_000
COARSE = (96, 96, 20)
"""Voxels of quick scans, about 2 x 2 x 5 mm, that still show a whole pelvis: to try commands on, not to learn from."""
SEED_STEP = 10**9
"""Case n of a cohort has the seed (seed + 1) * SEED_STEP + n, far from the small seeds of single pairs and of the demo model's training."""
NOTE = "simulated pelvis, no patient; results on it are no clinical claim"

COLUMNS = {
    "id": Column("own", meaning="name of the case"),
    "centre": Column("own", meaning="drawn at random; it changes nothing in the images"),
    **{name: Column("own", meaning=f"file, relative to this table: {text}") for name, text in (
        ("pre", "T2 before treatment"), ("post", "T2 after treatment"), ("pre_mask", "tumour, on pre's grid"),
        ("post_mask", "tumour bed (whole original site with fibrosis), on post's grid"),
        ("residual_mask", "viable tumour, on post's grid; empty in complete response"),
        (TRANSFORM, "the truth: ITK transform, pre LPS to post LPS in mm, about the bony pelvis"))},
    "outcome": Column("own", meaning="1: pathological complete response, 0: not"),
    "pre_volume_ml": Column("own", "mL", meaning="tumour volume of pre_mask"),
    "post_volume_ml": Column("own", "mL", meaning="bed volume of post_mask"),
    "age_years": Column("number", "years", 18, 110, meaning="age before treatment"),
    "sex": Column("category", categories=("female", "male"), meaning="sex"),
    "cea_ng_ml": Column("number", "ng/mL", 0, 10000, meaning="carcinoembryonic antigen before treatment"),
    "ct_stage": Column("category", categories=("T1", "T2", "T3", "T4"), meaning="clinical T stage"),
    "cn_stage": Column("category", categories=("N0", "N1", "N2"), meaning="clinical N stage"),
    "distance_to_anal_verge_mm": Column("number", "mm", 0, 200, meaning="lower border of the tumour to the anal verge"),
    "interval_days": Column("own", "days", meaning="days between the scans"),
}
"""Columns of cohort.csv; columns latent_* are the hidden truth (imaging/phantom/treatment), never input for a model."""

SCANNER_COLUMN = {"centre": Column("own", meaning="drawn at random; each centre has its own simulated scanner (imaging/phantom/contrast)")}
SCANNER_MIXES = ("balanced", "confounded")
CONFOUNDED_PREVALENCE = {"A": 0.2, "B": 0.4, "C": 0.6, "D": 0.8}
"""Share of complete responders by scanner in the confounded mix: looks and headers then tell the outcome, with no biology in them."""

SET_COLUMN = {"set": Column("own", meaning="train, internal or external; drawn at random, so that the sets differ by chance only")}


def write_pair(folder: Path | str, seed: int, setting: str = "controlled", **options: Any) -> dict[str, Path]:
    """Simulate one pair and write it.

    folder   gets pre.nrrd, post.nrrd, pre_mask.nrrd, post_mask.nrrd, residual_mask.nrrd and transform_pre_to_post.tfm (the truth)
    options  handed to imaging.phantom.simulate_pair
    returns  name -> file
    """
    return _write_pair(Path(folder), simulate_pair(seed, setting=setting, **options))


def simulate_cohort(cases: int, seed: int, setting: str, out: Path | str, *, workers: int = 1, size: tuple[int, int, int] | None = None,
                    spacing_mm: tuple[float, float, float] | None = None, prevalence: float | None = None, reader_mm: float = 0.0,
                    sets: Mapping[str, float] | None = None, scanners: str | None = None, residual: str = "middle", progress: Progress = silent) -> Path:
    """Write a simulated cohort: case-0001/{pre,post,pre_mask,post_mask,residual_mask}.nrrd with the true transform, and cohort.csv.

    cases       how many; case n of a seed is the same however many there are and however many workers write them
    setting     "controlled" or "realistic" (imaging.phantom.simulate_pair)
    out         folder, new or empty, or holding the same cohort with as many or fewer cases, which is written again
    workers     processes
    size, spacing_mm  of every scan, as in simulate_pair
    prevalence  share of complete responders in the long run; None: 0.5 for controlled, 0.25 for realistic
    reader_mm   SD of a smooth error of the masks' borders, as between readers; 0: the masks are the truth
    sets        share of each set in the long run, {"train": 0.7, "internal": 0.15, "external": 0.15}: gives the table a column "set";
                None: no such column. A case's set does not change its images
    scanners    None: every scan looks like the measured one, and centres mean nothing. "balanced": four centres, each with its own
                simulated scanner, all with the same prevalence. "confounded": the same with CONFOUNDED_PREVALENCE instead of prevalence
    residual    where residual tumour and inflammation lie: "middle" of the bed, or at its "rim", as in simulate_pair
    returns     cohort.csv, written last: where it lies, the cohort is whole; cohort.json beside it is its data dictionary
    raises      UsageError; Cancelled from progress, leaving whole cases but no table
    """
    out = Path(out)
    prevalence = PREVALENCE.get(setting) if prevalence is None else prevalence
    _check(cases, seed, workers, setting, prevalence, reader_mm, out)
    _check_sets(sets)
    if scanners is not None and scanners not in SCANNER_MIXES:
        raise UsageError("The simulation knows no such mix of scanners", code="MRD-E862", fix=f"choose one of {', '.join(SCANNER_MIXES)}")
    plans = [_Plan(number, seed, setting, prevalence, size, spacing_mm, reader_mm, out, sets, scanners, residual) for number in range(1, cases + 1)]
    draw_case(plans[0].case_seed, setting=setting, size=size, spacing_mm=spacing_mm, residual=residual)      # refuses a size or place before anything is written
    settings = {"cases": cases, "seed": seed, "setting": setting, "prevalence": prevalence, "reader_mm": reader_mm,
                "size": size, "spacing_mm": spacing_mm} | ({} if sets is None else {"sets": dict(sets)})
    settings |= ({} if scanners is None else {"scanners": scanners}) | ({} if residual == "middle" else {"residual": residual})
    _refuse_another_cohort(out, settings)
    (out / "cohort.csv").unlink(missing_ok=True)
    rows, columns = [{}] * cases, COLUMNS | ({} if scanners is None else SCANNER_COLUMN) | ({} if sets is None else SET_COLUMN)
    _write_dictionary(out, settings, columns)
    for done, row in enumerate(_rows(plans, workers), start=1):
        rows[int(row["id"].split("-")[1]) - 1] = row
        progress(done / cases, f"simulated {done} of {cases}")
    columns = columns | {name: Column("ignored", meaning="hidden truth; see imaging/phantom/treatment") for name in rows[0] if name.startswith(LATENT_PREFIX)}
    _write_dictionary(out, settings, columns)
    write_csv(out / "cohort.csv", rows, tuple(columns))
    return out / "cohort.csv"


class _Plan:
    """One case of a cohort, small enough to send to another process."""

    def __init__(self, number: int, seed: int, setting: str, prevalence: float, size, spacing_mm, reader_mm: float, out: Path,
                 sets: Mapping[str, float] | None = None, scanners: str | None = None, residual: str = "middle") -> None:
        self.number, self.case_seed, self.out = number, (seed + 1) * SEED_STEP + number, out
        if scanners is None:
            scanner, self.centre = None, CENTRES[int(np.random.default_rng([seed, number, 6]).choice(3, p=(0.5, 0.3, 0.2)))]
        else:
            scanner = self.centre = list(SCANNERS)[int(np.random.default_rng([seed, number, 6]).integers(len(SCANNERS)))]
            prevalence = CONFOUNDED_PREVALENCE[scanner] if scanners == "confounded" else prevalence
        responder = bool(np.random.default_rng([seed, number, 5]).random() < prevalence)
        self.options = {"setting": setting, "responder": responder, "size": size, "spacing_mm": spacing_mm, "reader_mm": reader_mm, "scanner": scanner,
                        "residual": residual}
        self.set = None if sets is None else str(np.random.default_rng([seed, number, 7]).choice(list(sets), p=list(sets.values())))


def _rows(plans: list[_Plan], workers: int):
    """Each case's row of the table, as cases are finished."""
    if workers == 1:
        yield from map(_write_case, plans)
        return
    with ProcessPoolExecutor(min(workers, len(plans)), mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
        try:
            waiting = {pool.submit(_write_case, plan) for plan in plans}
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _write_case(plan: _Plan) -> dict[str, Any]:
    """Simulate and write one case; its row of the table."""
    name = f"case-{plan.number:04d}"
    pair = simulate_pair(plan.case_seed, **plan.options)
    files = _write_pair(plan.out / name, pair)
    row = {"id": name, "centre": plan.centre, "outcome": pair.outcome, "pre_volume_ml": _volume_ml(pair.pre_mask),
           "post_volume_ml": _volume_ml(pair.post_mask), **pair.clinical} | ({} if plan.set is None else {"set": plan.set})
    row |= {key: path.relative_to(plan.out).as_posix() for key, path in files.items()}
    return row | {LATENT_PREFIX + key: value for key, value in pair.latent.items()}


def _write_pair(folder: Path, pair) -> dict[str, Path]:
    files = {name: folder / f"{name}.nrrd" for name in IMAGES} | {TRANSFORM: folder / f"{TRANSFORM}.tfm"}
    for name in IMAGES:
        write_image(getattr(pair, name), files[name], header={"note": NOTE})
    write_transform(pair.transform_pre_to_post, files[TRANSFORM])
    return files


def _volume_ml(mask: sitk.Image) -> float:
    return round(int(np.count_nonzero(sitk.GetArrayViewFromImage(mask))) * float(np.prod(mask.GetSpacing())) / 1000, 4)


def _write_dictionary(out: Path, settings: dict[str, Any], columns: Mapping[str, Column]) -> None:
    write_text(out / "cohort.json", json.dumps({"format": "mrdeltanet-simulated-cohort", "version": 1, "note": NOTE, "settings": settings,
                                                "columns": {name: as_json(column) for name, column in columns.items()}}, indent=1) + "\n")


def _check(cases: int, seed: int, workers: int, setting: str, prevalence: float | None, reader_mm: float, out: Path) -> None:
    if setting not in SETTINGS:
        raise UsageError("The simulation knows no such setting", code="MRD-E850", fix=f"choose one of {', '.join(SETTINGS)}")
    if seed < 0:
        raise UsageError("The seed of a simulation cannot be negative", code="MRD-E856", found=str(seed), fix="give zero or a positive whole number")
    if not 1 <= cases <= MAX_CASES or workers < 1:
        raise UsageError("A cohort cannot have this many cases or workers", code="MRD-E853", found=f"{cases} cases, {workers} workers",
                         fix=f"ask for 1 to {MAX_CASES} cases and at least one worker")
    if not 0 <= prevalence <= 1 or not 0 <= reader_mm <= 5:
        raise UsageError("The share of responders or the readers' error is out of range", code="MRD-E854",
                         found=f"prevalence {prevalence}, reader_mm {reader_mm}", fix="give a share from 0 to 1 and an error from 0 to 5 mm")
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not _is_ours(out)):
        raise UsageError("The output folder holds other files, which a simulated cohort could overwrite", code="MRD-E855",
                         fix="choose a new or empty folder")


def _check_sets(sets: Mapping[str, float] | None) -> None:
    if sets is not None and not (sets and set(sets) <= set(SETS) and all(share >= 0 for share in sets.values()) and abs(sum(sets.values()) - 1) < 1e-9):
        raise UsageError("The shares of the sets cannot be used", code="MRD-E854", found=f"{len(sets)} shares",
                         fix=f"give shares of {', '.join(SETS)} that add up to 1")


def _refuse_another_cohort(out: Path, settings: dict[str, Any]) -> None:
    """Cases of another seed or setting, or more of them, would stay beside the new ones and be taken for them."""
    if not _is_ours(out):
        return
    earlier = json.loads((out / "cohort.json").read_text(encoding="utf-8")).get("settings")
    wanted = json.loads(json.dumps(settings))
    if not isinstance(earlier, dict) or {**earlier, "cases": 0} != {**wanted, "cases": 0} or earlier.get("cases", 0) > wanted["cases"]:
        raise UsageError("The output folder holds another simulated cohort", code="MRD-E855",
                         found="another seed, setting, size or a larger number of cases", fix="choose a new or empty folder, or remove the old cohort")


def _is_ours(out: Path) -> bool:
    """Whether the folder holds a cohort that this module wrote."""
    try:
        return json.loads((out / "cohort.json").read_text(encoding="utf-8"))["format"] == "mrdeltanet-simulated-cohort"
    except (OSError, ValueError, KeyError, TypeError):
        return False
