"""Every case of a cohort prepared: those that the cache has are left alone, one that fails stops no other."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from MRDeltaNetLib import errors
from MRDeltaNetLib.config import PreprocessingConfig, RegistrationConfig
from MRDeltaNetLib.cohort.preparing.cache import FAILURES, Cache, Failure
from MRDeltaNetLib.cohort.preparing.cases import fingerprint, key_of, task_of
from MRDeltaNetLib.cohort.preparing.local import Executor, Local
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, PartialFailure, UsageError
from MRDeltaNetLib.io.crops import CropStore
from MRDeltaNetLib.progress import Progress, silent

if TYPE_CHECKING:
    from MRDeltaNetLib.io.cohort_table import Cohort, Row

TIMEOUT_S = 1800.0
"""Of one case. A rigid alignment takes well below a minute, a full bias correction some minutes on a slow core."""

MAX_WORKERS = 1024
LINES_NAMED = 5
PULSE_S = 0.5
"""How often progress is called while cases are running, so that a stop is heard."""


@dataclass(frozen=True)
class Summary:
    """What a preparation did.

    cases     how many it was to prepare (of its shard)
    made      how many crops are new
    kept      how many the cache had
    failures  the rest, in the order of the table
    """

    cases: int
    made: int
    kept: int
    failures: tuple[Failure, ...]

    def text(self) -> str:
        """One line for a person."""
        return f"{self.cases} cases: {self.made} prepared, {self.kept} already there, {len(self.failures)} failed"


class CasesFailed(PartialFailure):
    """Some cases could not be prepared; everything else is done and written. summary says what."""

    summary: Summary | None = None


@dataclass(frozen=True)
class PreparedCohort:
    """The cases of a cohort that are prepared, in the order of the table.

    rows      their rows
    crops     memory maps, float16 (timepoint 2, channel 2, depth, height, width)
    facts     plain JSON of each (pipeline.PreparedCase)
    keys      names of the crops, equal for equal input
    failures  the cases that are missing here, and why
    store     where the crops are
    """

    rows: tuple["Row", ...]
    crops: tuple[np.memmap, ...]
    facts: tuple[dict[str, Any], ...]
    keys: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    store: CropStore | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def outlines(self, number: int) -> dict[str, np.ndarray]:
        """Of one case: name -> both ROI channels as another outline makes them (response.uncertainty.NAMES), float16 (timepoint 2, depth,
        height, width). Read when asked for, since training has no use for them.

        raises  InputError MRD-E466 if they are damaged
        """
        return self.store.outlines(self.keys[number], check=True)

    @property
    def outcomes(self) -> np.ndarray:
        """(cases,) int64, 1 pCR and 0 not; float64 with NaN where the table has none."""
        found = [row.outcome for row in self.rows]
        return np.array([np.nan if outcome is None else outcome for outcome in found]) if None in found else np.array(found, dtype=np.int64)

    @property
    def centres(self) -> np.ndarray:
        """(cases,) text, "" without a centre."""
        return np.array([row.centre or "" for row in self.rows], dtype=str)

    @property
    def sets(self) -> np.ndarray:
        """(cases,) "train", "internal" or "external"."""
        return np.array([row.set for row in self.rows], dtype=str)


def prepare_cohort(cohort: "Cohort", cache: Path | str, preprocessing: PreprocessingConfig = PreprocessingConfig(),
                   registration: RegistrationConfig = RegistrationConfig(), *, workers: int = 1, shard: tuple[int, int] | None = None,
                   dask: str | None = None, timeout_s: float = TIMEOUT_S, progress: Progress = silent) -> Summary:
    """Prepare every case of a cohort that the cache does not have, or holds damaged; the same bytes whichever way.

    cache         folder, new or from an earlier preparation (preparing.cache)
    workers       single-threaded processes on this machine
    shard         (i, n): only every n-th case, from the i-th, 1 <= i <= n; n such calls, anywhere and at any time, do all
    dask          "local", or the address of a Dask scheduler: cases go to its workers instead
    timeout_s     a case that takes longer is ended and fails
    progress      raise Cancelled from it to stop: within seconds all workers are ended, and what is finished stays

    returns  Summary, if no case failed
    raises   CasesFailed (a PartialFailure) MRD-E460 after everything else is done and failures.csv is written; UsageError MRD-E464;
             EnvironmentProblem (E463 no worker, E465 Dask, E468 another folder, E810 to E813 disk): then what is finished stays;
             Cancelled
    """
    _check(workers, shard, timeout_s)
    _refuse_inside_input(cohort, Path(cache))
    store = Cache(cache)
    store.open()
    tasks = [_Planned(cohort, number, store, preprocessing, registration) for number in range(len(cohort.rows))]
    chosen = tasks if shard is None else tasks[shard[0] - 1::shard[1]]
    progress(0.0, f"{len(chosen)} cases")
    cases = tuple(planned.named for planned in tasks)
    made = kept = 0
    failed: set[int] = set()
    executor = Local(workers, timeout_s) if dask is None else _dask(dask, workers, timeout_s)
    try:
        for done, (planned, outcome) in enumerate(_outcomes(chosen, store, executor, progress), start=1):
            made += outcome.get("made", False) is True
            kept += outcome.get("made", True) is False
            if "failure" in outcome:
                failed.add(planned.number)
            progress(done / len(chosen), _message(done, len(chosen), len(failed)))
    except BaseException:
        executor.end()
        with contextlib.suppress(EnvironmentProblem):            # the disk may be what stopped us; the next run writes the table again
            store.write_failures(cases)
        raise
    executor.end()
    store.write_failures(cases)
    summary = Summary(len(chosen), made, kept, store.failures(planned.named for planned in tasks if planned.number in failed))
    if summary.failures:
        raise _cases_failed(summary)
    return summary


def load_prepared(cohort: "Cohort", cache: Path | str, preprocessing: PreprocessingConfig = PreprocessingConfig(),
                  registration: RegistrationConfig = RegistrationConfig()) -> PreparedCohort:
    """The prepared cases of a cohort, every crop compared with its digest once; those that failed are left out and listed. Nothing is written.

    raises  InputError MRD-E467 if a case was neither prepared nor has failed, with these settings and these files; E466 with the lines of
            crops that are damaged
    """
    store = Cache(cache)
    rows, crops, facts, keys, failures, unknown, damaged = [], [], [], [], [], 0, {}
    for number, row in enumerate(cohort.rows):
        planned = _Planned(cohort, number, store, preprocessing, registration)
        key = store.key(planned.name) or _key_by_bytes(planned, store)
        if key is None:
            found = store.failures([planned.named])
            failures += found
            unknown += not found
            continue
        try:
            crop, fact = store.crops.read(key, check=True)
        except InputError as problem:
            damaged[row.line] = problem
            continue
        for kept, value in ((rows, row), (crops, crop), (facts, fact), (keys, key)):
            kept.append(value)
    if damaged:
        raise _damaged(damaged)
    if unknown or not rows:
        raise InputError("Not every case of the cohort is prepared" if rows else "No case of the cohort is prepared", code="MRD-E467",
                         found=f"{unknown} of {len(cohort.rows)} not prepared with these settings, {len(failures)} failed",
                         fix="run `mrdeltanet cohort prepare` with the same settings and the same cache first")
    return PreparedCohort(tuple(rows), tuple(crops), tuple(facts), tuple(keys), tuple(failures), store.crops)


class _Planned:
    """One row and its name in the cache; the task itself is made when it is needed, so that a large cohort stays small in memory."""

    def __init__(self, cohort: "Cohort", number: int, store: Cache, preprocessing: PreprocessingConfig, registration: RegistrationConfig) -> None:
        self._cohort, self.number, self._how = cohort, number, (store.crops.folder, preprocessing, registration)
        row = cohort.rows[number]
        self.name = fingerprint(self.task())
        self.named = (self.name, row.line, row.id)

    def task(self) -> dict[str, Any]:
        """What a worker is given."""
        return task_of(self._cohort.rows[self.number], self._cohort.folder, *self._how)


def _outcomes(planned: Sequence[_Planned], store: Cache, executor: Executor, progress: Progress) -> Iterator[tuple[_Planned, dict[str, Any]]]:
    """What became of each case, as they end; never more handed out than the workers need to stay busy."""
    todo, waiting, count, done, failed = iter(planned), {}, len(planned), 0, 0
    while True:
        while len(waiting) < 2 * executor.width and (one := next(todo, None)) is not None:
            if (key := store.key(one.name)) is not None and _kept(store, key):
                done += 1
                yield one, {"key": key, "made": False}
            else:
                waiting[executor.submit(one.task())] = one
        if not waiting:
            return
        ended, _ = wait(waiting, timeout=PULSE_S, return_when=FIRST_COMPLETED)
        if not ended:
            progress(done / count, _message(done, count, failed))
        for future in ended:
            one, outcome = waiting.pop(future), _result(future)
            if outcome.get("made") is False and not _kept(store, outcome["key"]):        # there, as far as the worker saw, but damaged
                waiting[executor.submit(one.task())] = one
                continue
            store.remember(one.name, outcome)
            done, failed = done + 1, failed + ("failure" in outcome)
            yield one, outcome


def _kept(store: Cache, key: str) -> bool:
    """Whether a crop that is there is the one that was written; if not, it is removed, so that it is made again."""
    if store.crops.has(key, check=True):
        return True
    store.crops.remove(key)
    return False


def _result(future: "Future[dict[str, Any]]") -> dict[str, Any]:
    """The outcome of a case; what ends the batch is raised."""
    outcome = future.result()
    if outcome.get("ends_batch"):
        why = outcome["failure"]
        raise getattr(errors, why["kind"])(why["what"], code=why["code"], found=why["found"], fix=why["fix"])
    return outcome


def _key_by_bytes(planned: _Planned, store: Cache) -> str | None:
    """The key of a case that was prepared from a copy of the files: by their bytes, since sizes and times say nothing about a copy."""
    try:
        key = key_of(planned.task())
    except OSError:
        return None
    return key if store.crops.has(key) else None


def _message(done: int, count: int, failed: int) -> str:
    return f"prepared {done - failed} of {count}" + (f", {failed} failed" if failed else "")


def _damaged(problems: Mapping[int, InputError]) -> InputError:
    """problems: line of the table -> what reading its crop raised."""
    lines, first = sorted(problems), next(iter(problems.values()))
    named = ", ".join(map(str, lines[:LINES_NAMED])) + (" and more" if len(lines) > LINES_NAMED else "")
    return InputError("Prepared crops in the cache are damaged", code="MRD-E466", found=f"{len(lines)} (line {named}): {first.found}", fix=first.fix)


def _cases_failed(summary: Summary) -> CasesFailed:
    codes = sorted({failure.code for failure in summary.failures})
    error = CasesFailed(f"{len(summary.failures)} of {summary.cases} cases could not be prepared; all others are done", code="MRD-E460",
                        found=", ".join(codes[:8]), fix=f"{FAILURES} in the cache folder gives line, reason and remedy of each; "
                        "after mending them, run the same command again")
    error.summary = summary
    return error


def _check(workers: int, shard: tuple[int, int] | None, timeout_s: float) -> None:
    if not 1 <= workers <= MAX_WORKERS:
        raise UsageError("A preparation cannot have this many workers", code="MRD-E464", found=str(workers), fix=f"give 1 to {MAX_WORKERS}")
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise UsageError("There is no such part of the cohort", code="MRD-E464", found=f"{shard[0]}/{shard[1]}",
                         fix="give i/n with i from 1 to n, for instance 2/8 for the second of eight parts")
    if not timeout_s > 0:
        raise UsageError("The time for a case is not above zero", code="MRD-E464", found=f"{timeout_s:g} s", fix="give seconds, for instance 1800")


def _refuse_inside_input(cohort: "Cohort", cache: Path) -> None:
    """Files written into a folder of slices would be read as slices the next time."""
    above = {os.path.realpath(place) for place in (cache.absolute(), *cache.absolute().parents)}
    for row in cohort.rows:
        if any(os.path.realpath(cohort.folder / row.files[role]) in above for role in ("pre", "post") if row.files.get(role) is not None):
            raise EnvironmentProblem("The cache folder lies inside a scan that is read", code="MRD-E821", fix="choose a cache folder beside the scans")


def _dask(address: str, workers: int, timeout_s: float) -> Executor:
    from MRDeltaNetLib.cohort.preparing.dask import Dask

    return Dask(address, workers, timeout_s)
