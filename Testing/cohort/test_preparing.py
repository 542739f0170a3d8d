"""A cohort prepared: the same bytes whichever way, one bad case stops no other, nothing half-believed."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Mapping

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib import pipeline
from MRDeltaNetLib.cohort.preparing import batch, cases, child, load_prepared, prepare_cohort, supervision
from MRDeltaNetLib.cohort.preparing import dask as dask_module
from MRDeltaNetLib.cohort.preparing.beds import carried_beds
from MRDeltaNetLib.cohort.simulation import simulate_cohort
from MRDeltaNetLib.config import PreprocessingConfig, RegistrationConfig, RunConfig
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError, PartialFailure, UsageError
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX
from MRDeltaNetLib.imaging.phantom import simulate_pair
from MRDeltaNetLib.io import atomic
from MRDeltaNetLib.io.cases import read_case
from MRDeltaNetLib.io.cohort_table import read_cohort
from MRDeltaNetLib.io.images import read_image
from MRDeltaNetLib.response import uncertainty
from Testing.children import gone
from Testing.io import dicom_files
from Testing.simulated import stored_otherwise, write_pair

CROP = PreprocessingConfig(spacing_mm=(4.0, 4.0, 5.0), crop_mm=(64.0, 64.0, 60.0))
UNMOVED = RegistrationConfig(method="none")
COARSE = (48, 48, 16)
QUICK = RegistrationConfig(samples_per_level=(500, 500, 500), iterations=8)
ROLES = ("pre", "post", "pre_mask", "post_mask", "residual_mask")
posix_only = pytest.mark.skipif(os.name != "posix", reason="ends processes by signals")


@dataclass(frozen=True)
class Patient:
    """What preparation reads of a row of the table."""

    line: int
    id: str
    files: Mapping[str, Path]
    options: Mapping[str, Any] = field(default_factory=dict)
    outcome: int | None = 1
    centre: str | None = "A"
    set: str = "train"
    complete_response: bool = False
    interval_days: int | None = None


@functools.cache
def pair_of(number: int):
    """A simulated pair, made once; coarse, because what is tested here is how cases are kept, not what is in them."""
    return simulate_pair(number, size=COARSE)


def cohort_of(folder: Path, *rows: Patient) -> SimpleNamespace:
    return SimpleNamespace(rows=tuple(rows), folder=folder)


def patient(number: int, folder: str, **more) -> Patient:
    return Patient(number + 1, f"P-{number:03d}", {role: Path(folder, f"{role}.nrrd") for role in ROLES}, **more)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in a worker; small images cost more by being shared out than by being computed."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Three simulated patients on disk."""
    root = tmp_path_factory.mktemp("patients")
    for number in (1, 2, 3):
        write_pair(pair_of(number), root / f"p{number}")
    return root


@pytest.fixture(scope="module")
def cohort(place):
    return cohort_of(place, *(patient(number, f"p{number}", outcome=number % 2, centre="AAB"[number - 1]) for number in (1, 2, 3)))


class Here:
    """An executor without processes: what a worker does, done at once."""

    width = 1

    def __init__(self, workers: int = 1, timeout_s: float = 0.0) -> None:
        self.tasks: list[Mapping[str, Any]] = []

    def submit(self, task):
        self.tasks.append(task)
        done: Future = Future()
        done.set_result(child.outcome(json.loads(json.dumps(task))))
        return done

    def end(self) -> None:
        pass


class Lent(supervision.Worker):
    """A real worker process that several preparations use, because it takes five seconds of a core to start one."""

    busy = False

    def do(self, task, timeout_s):
        try:
            return super().do(task, timeout_s)
        finally:
            self.busy = False

    def _send(self, line):
        self.busy = super()._send(line)
        return self.busy

    def end(self):
        """The tests' own fixture ends it."""


class RealWorkers:
    """Hands out workers, those first that are free and alive."""

    def __init__(self) -> None:
        self.all: list[Lent] = []
        self.lent: list[Lent] = []

    def lend(self) -> Lent:
        alive = [worker for worker in self.all if worker.pid and not any(worker is other for other in self.lent)]
        found = alive[0] if alive else Lent()
        self.all += [] if alive else [found]
        self.lent.append(found)
        return found


@pytest.fixture(scope="module")
def every_worker():
    workers = RealWorkers()
    yield workers
    for worker in workers.all:
        supervision.Worker.end(worker)
        assert worker.pid is None


@pytest.fixture
def real_workers(every_worker):
    yield every_worker
    every_worker.lent.clear()


@pytest.fixture(scope="module")
def reference(cohort, tmp_path_factory) -> Path:
    """The cache that is made without any worker process."""
    cache = tmp_path_factory.mktemp("caches") / "reference"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "Local", Here)
        prepare_cohort(cohort, cache, CROP, UNMOVED)
    return cache


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(batch, "Local", Here)


def crops_in(cache: Path) -> dict[str, bytes]:
    """Name -> bytes of every crop; what a killed process had begun to write is none."""
    return {path.name: path.read_bytes() for path in sorted((cache / "crops").iterdir()) if not path.name.startswith(TEMPORARY_PREFIX)}


def table_of(cache: Path) -> list[dict[str, str]]:
    with open(cache / "failures.csv", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def failures_of(cohort, cache, **options):
    with pytest.raises(PartialFailure) as caught:
        prepare_cohort(cohort, cache, CROP, UNMOVED, **options)
    assert caught.value.code == "MRD-E460" and caught.value.exit_status == 7
    return caught.value.summary


# --- the same bytes whichever way

@posix_only
def test_two_workers_give_the_bytes_of_one_even_if_one_is_killed_and_the_next_run_makes_up_for_it(cohort, reference, tmp_path, real_workers):
    """SIGKILL to the process that prepares, as the system does when memory is short."""
    killed = []

    def kill(done, message):
        """When no case is waiting for a worker any more, so that nothing has to be started again; the stand-ins below show that."""
        for worker in real_workers.lent:
            if done > 0 and not killed and worker.busy and worker.pid:
                killed.append(worker.pid)
                os.killpg(worker.pid, signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("MRDeltaNetLib.cohort.preparing.local.Worker", real_workers.lend)
        patch.setattr(batch, "PULSE_S", 0.02)
        summary = failures_of(cohort, tmp_path, workers=2, progress=kill)
    assert len(killed) == 1 and [failure.code for failure in summary.failures] == ["MRD-E462"] and summary.made == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "Local", Here)
        assert prepare_cohort(cohort, tmp_path, CROP, UNMOVED).made == 1
    assert crops_in(tmp_path) == crops_in(reference) and table_of(tmp_path) == []


def test_dask_gives_the_bytes_of_one_worker(cohort, reference, tmp_path, real_workers, monkeypatch):
    monkeypatch.setattr(dask_module, "Worker", real_workers.lend)
    prepare_cohort(cohort, tmp_path, CROP, UNMOVED, dask="local")
    assert crops_in(tmp_path) == crops_in(reference)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """The table of a simulated cohort of two cases; not to be changed."""
    return simulate_cohort(2, 3, "controlled", tmp_path_factory.mktemp("simulated") / "cohort", size=COARSE)


def test_a_simulated_cohort_from_its_table(simulated, tmp_path, here):
    table = simulated
    cohort = read_cohort(table)
    prepare_cohort(cohort, tmp_path / "cache", CROP, UNMOVED)
    found = load_prepared(cohort, tmp_path / "cache", CROP, UNMOVED)
    assert [row.id for row in found.rows] == ["case-0001", "case-0002"] and found.outcomes.tolist() == [row.outcome for row in cohort.rows]
    for row, facts in zip(cohort.rows, found.facts):
        mask = sitk.ReadImage(str(table.parent / row.files["pre_mask"]))
        assert facts["measures"]["pre_volume_ml"] == pytest.approx(sitk.GetArrayFromImage(mask).sum() * np.prod(mask.GetSpacing()) / 1000)
        assert facts["mask_sources"] == {"pre": "drawn", "post": "drawn", "residual": "drawn"} and facts["interval_days"] == row.interval_days


def test_shards_in_any_order_give_the_bytes_of_one_worker(cohort, reference, tmp_path, here):
    assert prepare_cohort(cohort, tmp_path, CROP, UNMOVED, shard=(2, 2)).cases == 1
    with pytest.raises(InputError) as caught:
        load_prepared(cohort, tmp_path, CROP, UNMOVED)
    assert caught.value.code == "MRD-E467" and "2 of 3" in caught.value.found
    assert prepare_cohort(cohort, tmp_path, CROP, UNMOVED, shard=(1, 2)).cases == 2
    assert crops_in(tmp_path) == crops_in(reference)


def test_two_preparations_of_one_cache_at_once(cohort, reference, tmp_path, here):
    runs = [threading.Thread(target=prepare_cohort, args=(cohort, tmp_path, CROP, UNMOVED), kwargs={"shard": (1, 3)}) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(crops_in(tmp_path)) == 3 and crops_in(tmp_path).items() <= crops_in(reference).items()


def test_how_a_file_stores_its_axes_changes_no_more_than_rounding_and_nothing_against_a_single_run(place, tmp_path, here):
    """Oblique scans with voxels of unequal sides, stored left-handed and with permuted axes: the crop is the one that `run` shows to the network."""
    pair = pair_of(1)
    turned = replace(pair, **{name: stored_otherwise(getattr(pair, name), (2, 0, 1), (True, False, False)) for name in ROLES})
    assert np.linalg.det(np.reshape(turned.pre.GetDirection(), (3, 3))) < 0 and min(np.abs(turned.pre.GetDirection())) > 1e-4
    write_pair(turned, tmp_path / "turned")
    both = cohort_of(tmp_path, patient(1, str(place / "p1")), patient(2, "turned"))
    prepare_cohort(both, tmp_path / "cache", CROP, QUICK)
    found = load_prepared(both, tmp_path / "cache", CROP, QUICK)
    plain, stored = found.crops
    assert np.abs(plain.astype(float) - stored.astype(float)).max() < 0.02          # float16 and sums in another order

    class Seen(Exception):
        pass

    def keep(prepared, bundle, config):
        raise Seen(prepared)

    bundle = SimpleNamespace(own={"sequences": ["T2"], "bias_corrections_allowed": ["off"]}, preprocessing=CROP, public_facts=dict)
    case, _ = read_case(cases._job(cases.task_of(both.rows[1], both.folder, tmp_path, CROP, QUICK)))
    with pytest.raises(Seen) as seen:
        pipeline.run(case, RunConfig(steps=("align", "masks", "predict"), registration=QUICK), bundle=bundle, predict=keep)
    shown = seen.value.args[0]
    assert np.array_equal(shown.tensor.numpy().astype(np.float16), stored)
    others = found.outlines(1)
    assert list(others) == list(shown.outlines) == list(uncertainty.NAMES)
    assert all(np.array_equal(shown.outlines[name].numpy().astype(np.float16), others[name]) for name in others)


# --- resumable and idempotent

def test_a_second_run_makes_nothing_and_changes_nothing(cohort, reference, monkeypatch):
    before = {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()}
    monkeypatch.setattr(batch, "Local", Here)
    monkeypatch.setattr(cases, "key_of", lambda task: pytest.fail("read the files again"))
    summary = prepare_cohort(cohort, reference, CROP, UNMOVED)
    assert (summary.made, summary.kept) == (0, 3)
    assert {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()} == before


def test_what_is_loaded_is_what_was_made_in_the_order_of_the_table(cohort, reference):
    found = load_prepared(cohort, reference, CROP, UNMOVED)
    assert [row.id for row in found.rows] == ["P-001", "P-002", "P-003"] and len(found) == 3
    assert found.outcomes.tolist() == [1, 0, 1] and found.outcomes.dtype == np.int64
    assert found.centres.tolist() == ["A", "A", "B"] and found.sets.tolist() == ["train"] * 3
    for crop, facts in zip(found.crops, found.facts):
        assert isinstance(crop, np.memmap) and crop.shape == (2, 2, 12, 16, 16) and crop.dtype == np.float16
        for visit, role in enumerate(("pre", "post")):
            percentiles = facts["intensity_percentiles"][role]
            assert len(percentiles) == 101
            assert percentiles[::50] == pytest.approx(np.percentile(crop[visit, 0].astype(float), (0, 50, 100)), abs=2e-3)


def test_an_outcome_that_is_not_known_is_nan(cohort, reference):
    unknown = cohort_of(cohort.folder, replace(cohort.rows[0], outcome=None), *cohort.rows[1:])
    assert np.isnan(load_prepared(unknown, reference, CROP, UNMOVED).outcomes).tolist() == [True, False, False]


def test_carried_beds_are_told_by_their_first_lines_to_those_who_score_and_to_those_who_learn():
    rows = [SimpleNamespace(line=line, id=f"P-{line}") for line in range(2, 12)]
    facts = [{"mask_sources": {"pre": "drawn", "post": "carried" if row.line > 4 else "drawn"}} for row in rows]
    (scored,), (learned,) = carried_beds(rows, facts), carried_beds(rows, facts, learned=True)
    assert scored.code == learned.code == "MRD-W717" and "In 7 of the 10 cases (line 5, 6, 7, 8, 9 and more)" in scored.text and "P-" not in scored.text
    assert "learns" in learned.text and "class" in scored.fix and "class" not in learned.fix
    assert carried_beds(rows[:3], facts[:3]) == carried_beds(rows, [{}] * 10) == ()


def flip(path: Path) -> None:
    """Damage the last byte of a file, as a disk does: its size stays."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("known", [True, False], ids=["same files", "a copy of the files"])
def test_a_damaged_crop_is_told_by_its_line_and_made_again(place, cohort, reference, tmp_path, here, known):
    cache = shutil.copytree(reference, tmp_path / "cache")
    if not known:
        cohort = cohort_of(shutil.copytree(place, tmp_path / "files"), *cohort.rows)
    keys = load_prepared(cohort, cache, CROP, UNMOVED).keys
    flip(cache / "crops" / f"{keys[1]}.npy")
    with pytest.raises(InputError) as caught:
        load_prepared(cohort, cache, CROP, UNMOVED)
    assert caught.value.code == "MRD-E466" and "1 (line 3)" in caught.value.found and "cohort prepare" in caught.value.fix
    flip(cache / "crops" / f"{keys[2]}.outlines.npy")
    summary = prepare_cohort(cohort, cache, CROP, UNMOVED)
    assert (summary.made, summary.kept) == (2, 1) and crops_in(cache) == crops_in(reference)
    assert load_prepared(cohort, cache, CROP, UNMOVED).keys == keys


def test_damaged_outlines_are_told_when_they_are_read(cohort, reference, tmp_path):
    cache = shutil.copytree(reference, tmp_path / "cache")
    found = load_prepared(cohort, cache, CROP, UNMOVED)
    assert list(found.outlines(0)) == list(uncertainty.NAMES)
    flip(cache / "crops" / f"{found.keys[0]}.outlines.npy")
    with pytest.raises(InputError) as caught:
        found.outlines(0)
    assert caught.value.code == "MRD-E466"


def test_other_settings_are_other_crops(cohort, reference):
    for other in ((replace(CROP, roi_sigma_mm=2.0), UNMOVED), (CROP, RegistrationConfig())):
        with pytest.raises(InputError) as caught:
            load_prepared(cohort, reference, *other)
        assert caught.value.code == "MRD-E467"


def test_a_copy_of_cohort_and_cache_elsewhere_needs_no_new_preparation(place, cohort, reference, tmp_path):
    """Only bytes count: paths and times of the files are another machine's."""
    shutil.copytree(place, tmp_path / "files")
    shutil.copytree(reference, tmp_path / "cache")
    assert load_prepared(cohort_of(tmp_path / "files", *cohort.rows), tmp_path / "cache", CROP, UNMOVED).keys == \
        load_prepared(cohort, reference, CROP, UNMOVED).keys


def test_the_key_follows_bytes_options_and_settings_but_not_names(place, tmp_path):
    def key(row, folder=place, crop=CROP, how=UNMOVED):
        return cases.key_of(cases.task_of(row, folder, tmp_path, crop, how))

    one = patient(1, "p1")
    write_pair(pair_of(1), tmp_path / "elsewhere")
    assert key(one) == key(replace(patient(7, "elsewhere"), centre="C", outcome=0), tmp_path)
    others = [patient(1, "p2"), replace(one, options={"pre_label": 1}), replace(one, complete_response=True), replace(one, interval_days=80),
              replace(one, files={**one.files, "residual_mask": None}), replace(one, files={**one.files, "pre": one.files["post"], "post": one.files["pre"]})]
    keys = [key(one), *map(key, others), key(one, crop=replace(CROP, bias_correction="fast")), key(one, how=QUICK)]
    assert len(set(keys)) == len(keys)


def test_the_voxels_of_a_detached_header_belong_to_the_case(tmp_path):
    image = pair_of(1).pre_mask
    for name, data in (("a.nhdr", "a.raw"), ("b.mhd", "b.raw")):
        sitk.WriteImage(image, str(tmp_path / name))
        task = {"files": {"pre": str(tmp_path / name)}}
        before = cases.key_of(task), cases.fingerprint(task)
        content = bytearray((tmp_path / data).read_bytes())
        content[0] ^= 1
        (tmp_path / data).write_bytes(content)
        assert not set(before) & {cases.key_of(task), cases.fingerprint(task)}


def test_other_code_is_other_crops(place, tmp_path, monkeypatch):
    task = cases.task_of(patient(1, "p1"), place, tmp_path, CROP, UNMOVED)
    assert cases.key_of({**task, "versions": {**task["versions"], "code": "0" * 64}}) != cases.key_of(task)
    assert child.outcome({**task, "versions": {**task["versions"], "torch": "1.0"}})["ends_batch"] is True
    names = {path.name for path in cases._code_files(Path(cases.MRDeltaNetLib.__file__).parent)}
    assert {"pipeline.py", "preparation.py", "linear.py", "voxels.py", "images.py"} <= names and "treatment.py" not in names


def test_a_file_that_changes_while_it_is_read_makes_no_crop(place, tmp_path, monkeypatch):
    write_pair(pair_of(2), tmp_path / "p")
    task = cases.task_of(patient(1, "p"), tmp_path, tmp_path / "crops", CROP, UNMOVED)
    real = pipeline.prepare_case

    def touched(*given, **options):
        os.utime(tmp_path / "p" / "post.nrrd", ns=(1, 1))
        return real(*given, **options)

    monkeypatch.setattr(cases.pipeline, "prepare_case", touched)
    assert child.outcome(task)["failure"]["code"] == "MRD-E469" and not (tmp_path / "crops").exists()


# --- failures

def test_bad_cases_are_listed_and_all_others_done_and_the_list_follows_what_is_mended(place, tmp_path, here):
    write_pair(pair_of(2), tmp_path / "mended")
    empty = tmp_path / "mended" / "pre_mask.nrrd"
    whole = empty.read_bytes()
    sitk.WriteImage(sitk.ReadImage(str(empty)) * 0, str(empty))
    rows = (patient(1, str(place / "p1")), patient(2, "missing"), patient(3, str(place / "p3"), interval_days=90), patient(4, "mended"),
            replace(patient(5, str(place / "p2")), id="=1+1", options={"pre_lable": 2}))
    cohort, cache = cohort_of(tmp_path, *rows), tmp_path / "cache"
    summary = failures_of(cohort, cache)
    assert (summary.cases, summary.made, [failure.line for failure in summary.failures]) == (5, 2, [3, 5, 6])
    listed = table_of(cache)
    assert [(row["line"], row["id"]) for row in listed] == [("3", "P-002"), ("5", "P-004"), ("6", "'=1+1")]      # no spreadsheet runs it
    assert [row["code"] for row in listed][0] == "MRD-E100" and listed[2]["code"] == "MRD-E403" and all(row["what"] and row["fix"] for row in listed)
    found = load_prepared(cohort, cache, CROP, UNMOVED)
    assert [row.line for row in found.rows] == [2, 4] and [failure.line for failure in found.failures] == [3, 5, 6]
    assert found.facts[1]["interval_days"] == 90

    empty.write_bytes(whole)
    assert [failure.line for failure in failures_of(cohort, cache).failures] == [3, 6]
    assert [row["line"] for row in table_of(cache)] == ["3", "6"]


def test_a_file_that_is_not_there_fails_its_case_in_preparation_and_is_refused_by_line_and_column_before_a_training(simulated, tmp_path, here):
    from typer.testing import CliRunner

    from MRDeltaNetLib.cli import app

    table = shutil.copytree(simulated.parent, tmp_path / "cohort") / simulated.name
    (table.parent / read_cohort(table).rows[1].files["post_mask"]).unlink()
    config = tmp_path / "study.toml"
    config.write_text(f'cohort = "cohort/cohort.csv"\ncache = "cache"\nout = "out"\n[model]\nname = "deltanet"\n[preprocessing]\nspacing_mm = {list(CROP.spacing_mm)}\n'
                      f'crop_mm = {list(CROP.crop_mm)}\n[registration]\nmethod = "none"\n', encoding="utf-8")
    done = CliRunner().invoke(app, ["cohort", "prepare", str(table), "--out", str(tmp_path / "cache"), "--config", str(config), "--progress", "none"])
    assert done.exit_code == 7 and "MRD-E460" in done.output
    assert [(row["line"], row["code"]) for row in table_of(tmp_path / "cache")] == [("3", "MRD-E100")] and len(crops_in(tmp_path / "cache")) > 0
    for command in (["cohort", "check", str(table)], ["train", str(config), "--progress", "none"]):
        refused = CliRunner().invoke(app, command)
        assert refused.exit_code == 3 and "Line 3, column 'post_mask'" in refused.output and "MRD-E452" in refused.output, refused.output


@pytest.mark.parametrize("barred", ["a name of 300 characters", "a folder without permission"])
def test_a_path_that_the_system_does_not_let_us_see_fails_its_own_case(place, tmp_path, here, monkeypatch, barred):
    """In the batch's own process, where it would end everything, and in the worker."""
    rows = (patient(1, str(place / "p1")), patient(2, "x" * 300 if "300" in barred else "barred"), patient(3, str(place / "p3")))
    real = os.stat

    def stat(path, *given, **options):
        if "barred" in os.fspath(path).split("/")[-2:]:
            raise PermissionError(13, "Permission denied")
        return real(path, *given, **options)

    if "300" not in barred:
        monkeypatch.setattr(os, "stat", stat)                    # as it is in a folder that may not be entered; nothing holds root back
    summary = failures_of(cohort_of(tmp_path, *rows), tmp_path / "cache")
    assert summary.made == 2 and [(failure.line, failure.code) for failure in summary.failures] == [(3, "MRD-E100")]
    assert "x" * 9 not in summary.failures[0].found and str(tmp_path) not in summary.failures[0].found


# --- one scan under two names

def test_a_scan_is_known_again_by_its_voxels_and_their_place_whatever_the_file_and_the_masks(place, tmp_path, here):
    """A copy in another format with a redrawn mask and other clinical facts."""
    write_pair(pair_of(1), tmp_path / "copy")
    for visit in ("pre", "post"):
        sitk.WriteImage(sitk.ReadImage(str(tmp_path / "copy" / f"{visit}.nrrd")), str(tmp_path / "copy" / f"{visit}.nii.gz"))
    mask = sitk.ReadImage(str(tmp_path / "copy" / "pre_mask.nrrd"))
    sitk.WriteImage(sitk.BinaryDilate(mask, [1, 1, 0]), str(tmp_path / "copy" / "pre_mask.nrrd"))
    copy = patient(2, str(tmp_path / "copy"), interval_days=77)
    copy = replace(copy, files={**copy.files, **{visit: tmp_path / "copy" / f"{visit}.nii.gz" for visit in ("pre", "post")}})
    rows = cohort_of(tmp_path, patient(1, str(place / "p1")), copy, patient(3, str(place / "p3")))
    prepare_cohort(rows, tmp_path / "cache", CROP, UNMOVED)
    one, same, other = load_prepared(rows, tmp_path / "cache", CROP, UNMOVED).facts
    assert one["scans_sha256"] == same["scans_sha256"] and one["crop"]["sha256"] != same["crop"]["sha256"]
    assert set(one["scans_sha256"]) == {"pre", "post"} and all(len(digest) == 64 for digest in one["scans_sha256"].values())
    assert len({*one["scans_sha256"].values(), *other["scans_sha256"].values()}) == 4


def test_a_dicom_scan_is_known_again_by_what_is_in_it(tmp_path, here):
    scan = sitk.GetArrayFromImage(pair_of(2).pre).astype(np.int16)
    found = []
    for number, (date, voxels) in enumerate((("20240101", scan), ("20240202", scan), ("20240202", np.where(scan == scan.max(), scan - 1, scan)))):
        write_series(tmp_path / str(number), voxels, date)
        found.append(cases._scan_digest(read_image(tmp_path / str(number)).image))
    assert found[0] == found[1] != found[2]
    moved = read_image(tmp_path / "0").image
    moved.SetOrigin([value + 1e-5 for value in moved.GetOrigin()])
    near = cases._scan_digest(moved)
    moved.SetOrigin([value + 1.0 for value in moved.GetOrigin()])
    assert near == found[0] != cases._scan_digest(moved)


def test_each_shard_keeps_the_reasons_of_the_others_in_the_one_table(place, tmp_path, here):
    cohort = cohort_of(tmp_path, patient(1, "missing"), patient(2, "gone"), patient(3, str(place / "p1")))
    for part in ((1, 2), (2, 2)):
        assert len(failures_of(cohort, tmp_path / "cache", shard=part).failures) == 1
    assert [row["line"] for row in table_of(tmp_path / "cache")] == ["2", "3"]


def test_the_table_s_interval_rules_and_another_one_in_the_headers_is_told():
    assert cases._interval(80, None) == (80, ()) and cases._interval(None, 70) == (70, ()) and cases._interval(70, 70) == (70, ())
    interval, (notice,) = cases._interval(80, 70)
    assert interval == 80 and notice.code == "MRD-W460"


@pytest.mark.parametrize("fault, code", [(ZeroDivisionError, "MRD-E470"), (MemoryError, "MRD-E471")])
def test_a_fault_of_ours_stays_with_its_case(monkeypatch, tmp_path, fault, code):
    def faulty(task):
        raise fault("/home/someone/Zyxwolski")

    monkeypatch.setattr(cases, "prepare", faulty)
    outcome = child.outcome({"versions": cases.code_versions()})
    assert outcome["failure"]["code"] == code and not outcome["ends_batch"] and "Zyxwolski" not in json.dumps(outcome)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_ends_the_batch_and_leaves_what_was_there(cohort, reference, tmp_path, here, monkeypatch):
    prepare_cohort(cohort, tmp_path, CROP, UNMOVED, shard=(1, 3))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    real = atomic._create

    def full(path, temporary):
        real(path, temporary)
        if path.suffix == ".npy":
            temporary.unlink()
            temporary.symlink_to("/dev/full")

    monkeypatch.setattr(atomic, "_create", full)
    with pytest.raises(EnvironmentProblem) as caught:
        prepare_cohort(cohort, tmp_path, CROP, UNMOVED)
    assert caught.value.code == "MRD-E810"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    monkeypatch.undo()


def test_nothing_in_the_cache_names_the_patient_but_the_column_id(tmp_path, here):
    """A DICOM case whose header and folder name the patient, and a failure beside it."""
    pair = pair_of(3)
    folder = tmp_path / f"{dicom_files.NAME} {dicom_files.PATIENT_ID}"
    for role, scan in (("pre", pair.pre), ("post", pair.post)):
        write_series(folder / role, sitk.GetArrayFromImage(scan).astype(np.int16), date="20231105" if role == "pre" else "20240128")
        image = read_image(folder / role).image
        mask = sitk.Image(image.GetSize(), sitk.sitkUInt8)
        mask[16:32, 16:32, 5:11] = 1
        mask.CopyInformation(image)
        sitk.WriteImage(mask, str(folder / f"{role}_mask.nrrd"))
    files = {"pre": folder / "pre", "post": folder / "post", "pre_mask": folder / "pre_mask.nrrd", "post_mask": folder / "post_mask.nrrd"}
    cohort = cohort_of(tmp_path, Patient(2, "Zyxwolski", files), Patient(3, dicom_files.PATIENT_ID, {**files, "pre_mask": folder / "none.nrrd"}))
    failures_of(cohort, tmp_path / "cache")
    text = "\n".join(path.read_text() for path in (tmp_path / "cache").rglob("*.json"))
    table = "\n".join(",".join(row.values()) for row in [{**row, "id": ""} for row in table_of(tmp_path / "cache")])
    for secret in (*dicom_files.SECRETS, "20240128", "2024-01-28", "2023-11-05", str(tmp_path), "pre_mask.nrrd"):
        assert secret not in text and secret not in table, secret
    (facts,) = load_prepared(cohort, tmp_path / "cache", CROP, UNMOVED).facts
    assert facts["interval_days"] == 84
    assert facts["pre"] | {"spacing_mm": None} == {"format": "dicom", "modality": "MR", "sequence": "T2", "manufacturer": "Maker", "field_strength_t": 3.0,
                                                   "repetition_time_ms": 4500.0, "echo_time_ms": 100.0, "size_voxels": [*COARSE], "spacing_mm": None}
    assert facts["post"]["spacing_mm"] == pytest.approx([2.0, 2.0, 5.0])


def write_series(folder: Path, voxels: np.ndarray, date: str) -> None:
    folder.mkdir(parents=True)
    for index, pixels in enumerate(voxels):
        ds = dicom_files.slice_dataset(pixels, index, spacing=(2.0, 2.0), gap=5.0, series=f"1.2.826.0.1.3680043.10.{date}")
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = date
        ds.SliceThickness = 5.0
        ds.save_as(folder / f"{index:03d}.dcm", enforce_file_format=True)


# --- refusals before anything is computed

@pytest.mark.parametrize("options", [{"workers": 0}, {"shard": (0, 3)}, {"shard": (4, 3)}, {"timeout_s": 0.0}, {"timeout_s": float("nan")}])
def test_impossible_orders_are_refused(cohort, tmp_path, options):
    with pytest.raises(UsageError) as caught:
        prepare_cohort(cohort, tmp_path / "cache", CROP, UNMOVED, **options)
    assert caught.value.code == "MRD-E464" and not (tmp_path / "cache").exists()


def test_a_folder_with_other_files_a_file_and_a_scan_s_own_folder_are_no_cache(cohort, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    scan = cohort_of(tmp_path, replace(patient(1, "x"), files={"pre": Path("other")}))
    for given, cache, code in ((cohort, "other", "MRD-E468"), (cohort, "file", "MRD-E812"), (scan, "other/cache", "MRD-E821")):
        with pytest.raises(EnvironmentProblem) as caught:
            prepare_cohort(given, tmp_path / cache, CROP, UNMOVED)
        assert caught.value.code == code
    assert os.listdir(tmp_path / "other") == ["thesis.txt"] and (tmp_path / "file").read_text() == "x"


def test_what_a_worker_hides_while_it_loads_is_there_again_afterwards():
    code = ("import sys\nfrom MRDeltaNetLib.cohort.preparing.child import NOT_USED, _hidden\n"
            "with _hidden(('colorsys', *NOT_USED)):\n    try:\n        import colorsys\n    except ImportError:\n        print('hidden')\n"
            "import colorsys\nprint(not set(NOT_USED) & set(sys.modules))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2]).stdout == "hidden\nTrue\n"


# --- workers that die, hang or are stopped; a small stand-in for the child, which answers by what the task's folder is called

STAND_IN = """
import json, os, subprocess, sys, time
sys.argv.pop()
print(json.dumps({"ready": {}}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    what = os.path.basename(os.path.dirname(task["files"]["pre"]))
    if what == "crash":
        os.kill(os.getpid(), 9)
    if what == "hang":
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(os.path.join(task["store"], "..", "helper"), "w").write(str(helper.pid))
        time.sleep(600)
    if what == "half":
        print('{"key": "', end="", flush=True)
        os._exit(0)
    if what == "bad":
        answer = {"failure": {"kind": "InputError", "what": "No", "code": "MRD-E100", "found": "", "fix": "do"}, "ends_batch": False}
    elif what == "full":
        answer = {"failure": {"kind": "EnvironmentProblem", "what": "Full", "code": "MRD-E810", "found": "", "fix": "do"}, "ends_batch": True}
    else:
        answer = {"key": "0" * 64, "made": True}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(supervision, "_STARTER", STAND_IN)


def named(tmp_path: Path, *names: str) -> SimpleNamespace:
    return cohort_of(tmp_path, *(patient(number, name) for number, name in enumerate(names, start=1)))


@posix_only
@pytest.mark.parametrize("way", [{"workers": 1}, {"workers": 2}, {"dask": "local"}], ids=["one worker", "two workers", "dask"])
def test_a_child_that_dies_or_hangs_costs_its_own_case_only(tmp_path, stand_in, way):
    cohort = named(tmp_path, "fine", "crash", "fine", "hang", "half", "bad", "fine")
    summary = failures_of(cohort, tmp_path / "cache", timeout_s=0.7, **way)
    assert summary.made == 3
    assert [(failure.line, failure.code) for failure in summary.failures] == [(3, "MRD-E462"), (5, "MRD-E461"), (6, "MRD-E462"), (7, "MRD-E100")]
    assert "SIGKILL" in summary.failures[0].found
    assert gone(int((tmp_path / "cache" / "helper").read_text()), 5)                  # what the hanging child had started


@posix_only
def test_three_per_cent_bad_cases_of_many(tmp_path, stand_in):
    cohort = named(tmp_path, *("bad" if number % 33 == 0 else "fine" for number in range(1, 301)))
    summary = failures_of(cohort, tmp_path / "cache", workers=2)
    assert (summary.made, len(summary.failures)) == (291, 9) and [row["line"] for row in table_of(tmp_path / "cache")] == [str(33 * k + 1) for k in range(1, 10)]


@posix_only
@pytest.mark.parametrize("way", [{"workers": 2}, {"dask": "local", "workers": 2}], ids=["local", "dask"])
def test_a_stop_ends_every_process_within_seconds_and_keeps_what_is_done(tmp_path, stand_in, way):
    stopped = []

    def stop(done, message):
        if done >= 0.5 and (tmp_path / "cache" / "helper").exists():
            stopped.append(time.monotonic())
            raise Cancelled()

    with pytest.raises(Cancelled):
        prepare_cohort(named(tmp_path, "fine", "hang"), tmp_path / "cache", CROP, UNMOVED, progress=stop, **way)
    assert time.monotonic() - stopped[0] < 5 and gone(int((tmp_path / "cache" / "helper").read_text()), 5)
    assert len(list((tmp_path / "cache" / "state").iterdir())) == 1


def test_nobody_else_can_reach_a_local_dask_cluster():
    """Its parts talk in memory; the status servers that Dask starts listen on this machine only and show nothing."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    psutil = pytest.importorskip("psutil")
    before = {place.laddr for place in psutil.Process().net_connections() if place.status == "LISTEN"}
    executor = dask_module.Dask("local", 1, 1.0)
    try:
        opened = {place.laddr for place in psutil.Process().net_connections() if place.status == "LISTEN"} - before
        assert {place.ip for place in opened} <= {"127.0.0.1"}
        for place in opened:
            for page in ("info/main/workers.html", "json/counts.json", "api/v1/retire_workers"):
                with pytest.raises(HTTPError) as caught:
                    urlopen(f"http://127.0.0.1:{place.port}/{page}", timeout=5)
                assert caught.value.code == 404
        assert executor._cluster.scheduler_address.startswith("inproc://")
    finally:
        executor.end()


@posix_only
@pytest.mark.parametrize("way", [{}, {"dask": "local"}], ids=["local", "dask"])
def test_a_disk_that_fills_up_ends_the_batch(tmp_path, stand_in, way):
    with pytest.raises(EnvironmentProblem) as caught:
        prepare_cohort(named(tmp_path, "fine", "bad", "full", "fine"), tmp_path / "cache", CROP, UNMOVED, **way)
    assert caught.value.code == "MRD-E810" and [row["line"] for row in table_of(tmp_path / "cache")] == ["3"]


@pytest.mark.parametrize("way", [{}, {"dask": "local"}], ids=["local", "dask"])
def test_a_child_that_cannot_start_is_the_machine_s_fault(tmp_path, monkeypatch, way):
    monkeypatch.setattr(supervision, "_STARTER", "raise SystemExit(3)")
    with pytest.raises(EnvironmentProblem) as caught:
        prepare_cohort(named(tmp_path, "fine"), tmp_path / "cache", CROP, UNMOVED, **way)
    assert caught.value.code == "MRD-E463" and "3" in caught.value.found


def test_a_dask_cluster_by_its_address(tmp_path, stand_in):
    import distributed
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=None) as cluster:
        summary = prepare_cohort(named(tmp_path, "fine", "fine"), tmp_path / "cache", CROP, UNMOVED, dask=cluster.scheduler_address)
        assert summary.made == 2 and not dask_module._all and not dask_module._idle


def test_no_dask_cluster_at_an_address(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_module, "CONNECT_TIMEOUT_S", 0.5)
    with pytest.raises(EnvironmentProblem) as caught:
        prepare_cohort(named(tmp_path, "fine"), tmp_path / "cache", CROP, UNMOVED, dask="tcp://127.0.0.1:9")
    assert caught.value.code == "MRD-E465"


@pytest.mark.parametrize("says", [b"HTTP/1.0 400 Bad Request\r\nServer: somebody else\r\n\r\n<!DOCTYPE HTML>", b""])
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{}", "tls://127.0.0.1:{}", "nonsense"])
def test_another_server_at_a_schedulers_address_is_no_lack_of_memory_and_no_endless_wait(tmp_path, monkeypatch, says, address):
    """Dask takes the letters of a page for the length of a message, and waits for ever for one that says nothing."""
    monkeypatch.setattr(dask_module, "CONNECT_TIMEOUT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls = []

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    calls.append(server.accept()[0])
                    calls[-1].sendall(says)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(EnvironmentProblem) as caught:
            prepare_cohort(named(tmp_path, "fine"), tmp_path / "cache", CROP, UNMOVED, dask=address.format(server.getsockname()[1]))
        assert caught.value.code == "MRD-E465"


def test_no_more_cases_are_handed_out_than_the_workers_need(tmp_path, monkeypatch):
    """So the memory of the parent does not grow with the cohort."""
    out = []

    class Counting(Here):
        def submit(self, task):
            out.append(1)
            done: Future = Future()
            threading.Timer(0.01, lambda: (out.pop(), done.set_result({"key": "0" * 64, "made": True}))).start()
            assert len(out) <= 2
            return done

    monkeypatch.setattr(batch, "Local", Counting)
    assert prepare_cohort(named(tmp_path, *["fine"] * 20), tmp_path / "cache", CROP, UNMOVED).made == 20


@posix_only
def test_workers_end_when_the_one_who_started_them_is_killed():
    """kill -9 leaves no process behind: the pipe closes, and the child looks at it even while it is busy, here with loading its packages."""
    code = ("import time\nfrom MRDeltaNetLib.cohort.preparing.supervision import _start\nprocess = _start()\nprint(process.pid, flush=True)\ntime.sleep(600)\n")
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    assert Path(f"/proc/{pid}").exists() or sys.platform != "linux"
    parent.kill()
    parent.wait()
    assert gone(pid, 5)
