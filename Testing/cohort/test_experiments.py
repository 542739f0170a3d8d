"""Experiments: crops under a known misalignment, cells that are done once, and tables that say what the records say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from MRDeltaNetLib.cohort.experiments import alignment, calibration, cases as made, centres, grid, ordering, tables
from MRDeltaNetLib.cohort.experiments.__main__ import cells_of, main
from MRDeltaNetLib.config import OutlineErrorConfig
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError

SHAPE = (2, 14, 96, 96)


def blobs(count: int = 4, place=(0.0, 0.0)) -> made.Cases:
    """Cases whose scans and outlines are the same smooth blob; place (y, x) mm of its middle."""
    y, x = np.meshgrid(*((np.arange(96) - 47.5) * 0.75 - offset for offset in place), indexing="ij")
    slices = np.exp(-0.5 * ((np.arange(14) - 6.5) / 3) ** 2)[:, None, None]
    scan = slices * np.exp(-(y ** 2 + x ** 2) / (2 * 6.0 ** 2))
    outline = np.broadcast_to((y ** 2 + x ** 2 < 8.0 ** 2) & (slices > 0.4), SHAPE[1:])
    scans = (np.stack([scan, scan]).astype(np.float16),) * count
    outlines = ((255 * np.stack([outline, outline])).astype(np.uint8),) * count
    facts = tuple({"seed": k, "outcome": k % 2, "volumes_ml": [10.0 + k % 3, 5.0 + k % 5]} for k in range(count))
    return made.Cases(scans, outlines, facts)


def middle(volume: np.ndarray) -> np.ndarray:
    """Centroid (y, x) mm of a map from the middle of its grid."""
    weight = np.clip(volume, 0, None).sum(0)
    y, x = ((np.arange(n) - (n - 1) / 2) * 0.75 for n in weight.shape)
    return np.array([(weight.sum(1) * y).sum(), (weight.sum(0) * x).sum()]) / weight.sum()


class TestTaken:
    @pytest.mark.parametrize("shift_mm", [0.0, 3.0, 12.0])
    def test_post_lies_exactly_as_far_as_asked_and_the_crop_in_between(self, shift_mm):
        case = blobs(1)
        crop, facts = made.taken(case.scans[0], case.outlines[0], made.Condition((shift_mm, shift_mm), ("exact",)), np.random.default_rng(4))
        assert crop.shape == (2, 2, 12, 64, 64)
        places = [middle(crop[visit, 1]) for visit in (0, 1)]
        assert np.allclose(places[1] - places[0], facts["shift_mm"], atol=0.05)
        assert np.hypot(*facts["shift_mm"]) == pytest.approx(shift_mm)
        assert np.allclose(places[0] + places[1], 0, atol=0.4)                      # the union's centroid is found on voxels

    def test_scan_moves_with_its_exact_outline(self):
        case = blobs(1)
        crop, _ = made.taken(case.scans[0], case.outlines[0], made.Condition((6.0, 6.0), ("exact",)), np.random.default_rng(5))
        for visit in (0, 1):
            peak = np.unravel_index(crop[visit, 0].sum(0).argmax(), (64, 64))
            assert np.allclose((np.array(peak) - 31.5) * 0.75, middle(crop[visit, 1]), atol=0.75)

    def test_interpolation_in_plane_keeps_a_smooth_scan(self):
        case = blobs(1)
        crop, facts = made.taken(case.scans[0], case.outlines[0], made.Condition((7.0, 7.0), ("exact",)), np.random.default_rng(6))
        y, x = np.meshgrid(*((np.arange(64) - 31.5) * 0.75 - offset for offset in middle(crop[1, 1])), indexing="ij")
        truth = np.exp(-0.5 * ((np.arange(1, 13) - 6.5) / 3) ** 2)[:, None, None] * np.exp(-(y ** 2 + x ** 2) / 72.0)
        assert np.abs(crop[1, 0] - truth).max() < 0.02

    def test_bad_outlines_overlap_the_truth_less_and_good_ones_nearly_fully(self):
        many = blobs(40)
        good, bad = (made.dice(many, name).mean(0) for name in ("good", "bad"))
        assert (good > 0.9).all() and bad[1] < bad[0] < good[0]

    def test_missing_slices_are_missing(self):
        case = blobs(1)
        made.OUTLINES["cut"] = made.OutlineError((0.0, 0.0), ((1.0, 1.0), (1.0, 1.0)), (0, 2))
        try:
            full = (case.outlines[0][1] > 0).any((1, 2)).sum()
            kept = {int(made._reader(case.outlines[0][1], made.OUTLINES["cut"], 1, np.random.default_rng(k))[2][(case.outlines[0][1] > 0).any((1, 2))].sum())
                    for k in range(40)}
        finally:
            del made.OUTLINES["cut"]
        assert kept == set(range(full - 4, full + 1))


def test_a_condition_that_comes_on_begins_aligned_with_good_outlines_and_ends_whole():
    condition = made.Condition((4.0, 12.0), ("bad",))
    drawn = {share: [made.growing(condition, share, np.random.default_rng(k)) for k in range(400)] for share in (0.0, 0.25, 1.0, 3.0)}
    assert set(drawn[0.0]) == {made.Condition((0.0, 0.0), ("good",))}
    assert {one.shift_mm for one in drawn[0.25]} == {(1.0, 3.0)}
    assert np.mean([one.outlines == ("bad",) for one in drawn[0.25]]) == pytest.approx(0.25, abs=0.07)
    assert set(drawn[1.0]) == set(drawn[3.0]) == {condition}


def test_only_the_random_training_has_a_ramp_and_it_is_part_of_the_plan(monkeypatch):
    cells = {training: grid.Cell("x", "roi_pooled", training=training) for training in grid.TRAININGS}
    before = {training: cell.plan for training, cell in cells.items()}
    assert grid.RAMPS["aligned"] == 0 < grid.RAMPS["random"]
    monkeypatch.setattr(grid, "RAMPS", {"aligned": 0, "random": 5})
    assert cells["random"].plan != before["random"] and cells["aligned"].plan == before["aligned"]


class TestMisalignedCrops:
    def test_training_draws_anew_validation_does_not(self):
        condition = made.Condition((0.0, 12.0), ("good", "bad"))
        training, validation = (made.MisalignedCrops(blobs(), condition, seed=1, again=again) for again in (True, False))
        assert not np.array_equal(training[0][0], training[0][0])
        assert np.array_equal(validation[0][0], validation[0][0])

    def test_a_second_training_sees_the_same_draws(self):
        first, second = (made.MisalignedCrops(blobs(), grid.RANDOM, seed=1, again=True) for _ in range(2))
        second[1]                                                               # another case's visit changes nothing
        assert all(np.array_equal(first[0][0], second[0][0]) for _ in range(3))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cases")


@pytest.fixture(scope="module")
def stored(cache):
    """One simulated case, number 3 of the validation cases."""
    return made.load_or_make("validation", 1, cache, first=3)


class TestMadeCase:
    def test_lies_on_the_stored_grid_and_is_made_once(self, stored, cache, monkeypatch):
        monkeypatch.setattr(made, "_store_case", lambda _: pytest.fail("a stored case was made again"))
        again = made.load_or_make("validation", 1, cache, first=3)
        assert stored.scans[0].shape == SHAPE and stored.outlines[0].dtype == np.uint8
        assert np.array_equal(stored.scans[0], again.scans[0]) and stored.facts == again.facts
        assert stored.facts[0]["padded_fraction"] < 0.2

    def test_crop_is_what_prepare_gives(self, stored):
        """The same case through prepare, from scans of the whole pelvis at the same voxel size."""
        from MRDeltaNetLib.case import Timepoint
        from MRDeltaNetLib.config import PreprocessingConfig
        from MRDeltaNetLib.imaging.phantom import simulate_pair
        from MRDeltaNetLib.imaging.preprocessing import prepare

        pair = simulate_pair(stored.facts[0]["seed"], size=(288, 288, 26), spacing_mm=made.SPACING_MM)
        truth = np.asarray(prepare(Timepoint(pair.pre, pair.pre_mask), Timepoint(pair.post, pair.post_mask), pair.transform_pre_to_post,
                                   PreprocessingConfig(crop_mm=made.CROP_MM)).tensor)
        crop, _ = made.taken(stored.scans[0], stored.outlines[0], made.Condition((0.0, 0.0), ("exact",)), np.random.default_rng(0))
        for visit in (0, 1):
            inside = [(part[visit, 0])[part[visit, 1] > 0.8] for part in (crop, truth)]
            assert np.median(inside[0]) == pytest.approx(np.median(inside[1]), abs=0.15)
            assert crop[visit, 1].sum() == pytest.approx(truth[visit, 1].sum(), rel=0.1)
        assert crop[:, 0].std() == pytest.approx(truth[:, 0].std(), rel=0.15)


class TestCells:
    def test_names_are_unique_and_plain(self):
        names = [cell.name for cell in cells_of("all")]
        assert len(set(names)) == len(names) and all(" " not in name and "/" not in name for name in names)

    def test_ordering_shares_its_longitudinal_cells_with_alignment(self):
        shared = {cell.name: cell.plan for cell in alignment.cells()}
        assert all(shared[cell.name] == cell.plan for cell in ordering.cells() if cell.name in shared)
        assert sum(cell.name in shared for cell in ordering.cells()) == len(ordering.LONGITUDINAL) * len(ordering.SEEDS)

    def test_any_change_of_plan_is_another_plan(self):
        cell = grid.Cell("x", "roi_pooled")
        others = [replace(cell, seed=1), replace(cell, cases=799), replace(cell, training="random"), replace(cell, settings={"visits": "pre"})]
        assert len({cell.plan, *(other.plan for other in others)}) == 5


@pytest.fixture
def few(monkeypatch):
    """Blobs instead of simulated pelvises, and one short epoch."""
    monkeypatch.setattr(grid, "load_or_make", lambda split, count, cache, **_: blobs(count))
    monkeypatch.setattr(grid, "RECIPE", replace(grid.RECIPE, epochs=1, batch_size=4))
    run_cell = grid.run_cell
    monkeypatch.setattr(grid, "run_cell", lambda cell, sets, progress: run_cell(cell, sets, progress, grid.RECIPE))
    return grid.Cell("few", "roi_pooled", cases=4, validation=4, test=6, curve=("0-good",), changes=grid.CHANGES)


class TestRun:
    def test_cell_is_done_once_and_holds_every_score(self, few, tmp_path, monkeypatch):
        assert grid.run([few], tmp_path, tmp_path) == []
        record = grid.records(tmp_path)["few"]
        assert {name: len(values) for name, values in record["test"]["logits"].items()} == {"0-good": 6, "wrong_patient": 6, "swapped": 6}
        assert record["test"]["outcome"] == [0, 1] * 3 and len(record["history"]) == 1
        monkeypatch.setattr(grid, "run_cell", lambda *_: pytest.fail("a finished cell was done again"))
        assert grid.run([few], tmp_path, tmp_path) == []

    def test_same_seed_same_scores(self, few, tmp_path):
        for name in ("a", "b"):
            grid.run([few], tmp_path / name, tmp_path)
        first, second = (grid.records(tmp_path / name)["few"] for name in ("a", "b"))
        assert first["test"] == second["test"]

    def test_record_of_another_plan_is_not_believed(self, few, tmp_path):
        volumes = replace(few, name="v", model=grid.VOLUMES, cases=30, changes=())
        grid.run([volumes], tmp_path, tmp_path)
        assert grid.finished(tmp_path, volumes) is not None
        assert grid.finished(tmp_path, replace(volumes, seed=5)) is None

    def test_cell_that_another_process_holds_is_left_to_it(self, few, tmp_path):
        from MRDeltaNetLib.cohort.training.locking import folder_lock

        with folder_lock(tmp_path / "claims" / "few"):
            assert grid.run([few], tmp_path, tmp_path) == ["few"]

    def test_other_troubles_are_not_taken_for_a_claim(self, few, tmp_path, monkeypatch):
        def full(*_):
            raise EnvironmentProblem("full", code="MRD-E810")

        monkeypatch.setattr(grid, "run_cell", full)
        with pytest.raises(EnvironmentProblem, match="full"):
            grid.run([few], tmp_path, tmp_path)

    def test_damaged_record_is_refused(self, few, tmp_path):
        (tmp_path / "cells").mkdir()
        (tmp_path / "cells" / "few.json").write_text("{")
        with pytest.raises(InputError) as caught:
            grid.finished(tmp_path, few)
        assert caught.value.code == "MRD-E859"

    def test_pattern_without_a_cell_is_refused(self, few, tmp_path):
        with pytest.raises(UsageError) as caught:
            grid.run([few], tmp_path, tmp_path, only="nothing*")
        assert caught.value.code == "MRD-E858"


def record(seed: int, strength: float, **logits) -> dict:
    """A made-up cell: 60 validation and 80 test cases whose score holds the outcome with this strength."""
    rng = np.random.default_rng(seed)
    parts = {}
    for name, count in (("validation", 60), ("test", 80)):
        outcome = np.arange(count) % 2
        names = list(grid.CURVE) + list(grid.CHANGES)
        parts[name] = {"outcome": outcome.tolist(), "seed": list(range(count)),
                       "logits": {one: (logits.get(one, strength) * outcome + rng.normal(size=count)).tolist() for one in names}}
    return parts


def test_tables_and_figures_show_every_record_of_this_plan_and_no_other(tmp_path, capsys):
    found = {grid.VOLUMES: record(99, 0.0)}
    for seed in (0, 1, 2):
        for model, strength in (("post_only", 0.5), ("pre_only", 0.0), ("shuffled", 0.0)):
            found[f"{model}-aligned-{seed}"] = record(10 * seed, strength)
        for training in grid.TRAININGS:
            for number, model in enumerate(alignment.MODELS):
                found[f"{model}-{training}-{seed}"] = record(100 * seed + number, 3.0 if model == "anchored" else 1.5, swapped=-3.0)
    for mix in ("balanced", "confounded"):
        for k, scanner in enumerate("ABCD"):
            found[f"centres-{mix}-without-{scanner}-0"] = record(k, 1.0)
            found[f"centres-{mix}-random-{k}-0"] = record(k, 2.0)
    found[alignment.longer_cell().name] = record(5, 0.8)
    text = {name: table(found) for name, table in tables.TABLES.items()}
    assert "| anchored | 3 |" in text["ordering"] and "< 0.0001" in text["ordering"]
    assert text["alignment"].count("| aligned |") == len(alignment.MODELS) + 1
    assert text["alignment"].splitlines()[-1].startswith("| subtract, 2 times the epochs | random | 1 | ")
    ahead = [line for line in text["anchoring"].splitlines() if "| 12 mm, bad |" in line]
    assert len(ahead) == 2 * (len(alignment.MODELS) - 1) and all("| 3 | 12 mm, bad | +0." in line for line in ahead)
    assert tables.winner(found).startswith(("anchored,", "anchored + roi_pooled,"))
    assert text["centres"].count("\n") == 4
    plans = {cell.name: cell.plan for cell in cells_of("all")}
    for name, one in found.items():
        grid.write_text(tmp_path / "cells" / f"{name}.json", json.dumps({"schema": grid.SCHEMA, "plan": plans[name], **one}))
    assert main(["tables", "--out", str(tmp_path)]) == 0 and "another plan" not in capsys.readouterr().err
    assert {path.name for path in tmp_path.glob("*.svg")} == {"alignment.svg", "ordering.svg", "centres.svg"}
    for name in ("anchored-aligned-0", "anchored-aligned-1"):             # as if the recipe had been changed after these were trained
        grid.write_text(tmp_path / "cells" / f"{name}.json", json.dumps({"schema": grid.SCHEMA, "plan": "of another recipe", **found[name]}))
    assert main(["tables", "--out", str(tmp_path)]) == 0 and capsys.readouterr().err.startswith("2 cells were made with another plan")
    assert "| anchored | 1 |" in (tmp_path / "ordering.md").read_text()


def test_the_plan_of_earlier_cells_stands_and_what_came_later_is_off_in_the_recipe():
    """Cells that took hours stay valid: settings that came after them change nothing and are not in the plan; a longer training is another plan."""
    kept = grid.records(Path(__file__).resolve().parents[2] / "docs" / "experiments")
    plans = {cell.name: cell.plan for cell in cells_of("all")}
    assert len(kept) >= 21 and all(record["plan"] == plans[name] for name, record in kept.items())
    assert alignment.longer_cell().plan != alignment.cell("subtract", "random", 0).plan


@pytest.mark.parametrize("on", [{"gamma_probability": 0.1}, {"outlines": OutlineErrorConfig()}, {"flip": 0.1}])
def test_a_recipe_with_more_augmentation_is_another_plan(on, monkeypatch):
    plan = alignment.cell("anchored", "aligned", 0).plan
    monkeypatch.setattr(grid, "RECIPE", replace(grid.RECIPE, augmentation=replace(grid.RECIPE.augmentation, **on)))
    assert alignment.cell("anchored", "aligned", 0).plan != plan


def test_a_longer_training_has_more_epochs_patience_and_ramp_and_says_so(monkeypatch):
    from MRDeltaNetLib.cohort import training

    given = {}

    def fit(network, crops, validation, recipe, progress):
        given.update(ramps=(crops.ramp, validation.ramp), recipe=recipe)
        return training.Fitted([], 0, 0.0, "32-true")

    monkeypatch.setattr(training, "fit", fit)
    found = blobs(4)
    record = grid.run_cell(replace(alignment.longer_cell(), curve=()), grid.Sets(found, found, found))
    assert given["recipe"].epochs == given["recipe"].patience == record["recipe"]["epochs"] == record["recipe"]["patience"] == 50
    assert given["ramps"] == (2 * grid.RAMPS["random"], 0)


def test_average_refuses_scores_of_different_cases():
    other = record(1, 1.0)
    other["test"]["seed"] = other["test"]["seed"][::-1]
    with pytest.raises(ValueError, match="different cases"):
        tables.averaged([record(0, 1.0), other], "0-good")


def test_recalibration_mends_scores_that_are_three_times_too_sure():
    rng = np.random.default_rng(0)
    parts = {}
    for name in ("validation", "test"):
        logit = rng.normal(size=4000)
        parts[name] = {"outcome": (rng.random(4000) < 1 / (1 + np.exp(-logit))).astype(int).tolist(), "logits": {"0-good": (3 * logit + 1).tolist()}}
    found = calibration.calibrated(parts)
    assert found["before"]["slope"] == pytest.approx(1 / 3, abs=0.05)
    assert found["after"]["slope"] == pytest.approx(1.0, abs=0.12) and abs(found["after"]["intercept"]) < 0.12


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_chosen_cases_have_the_share(share):
    outcomes = np.arange(200) % 2
    chosen = centres.chosen_by_share(outcomes, share)
    assert outcomes[chosen].mean() == pytest.approx(share, abs=0.01) and len(set(chosen)) == len(chosen)
    assert len(chosen) == pytest.approx(100 / max(share, 1 - share), abs=1)


@pytest.mark.parametrize("mix", ["balanced", "confounded"])
def test_left_out_scanner_is_never_trained_on(mix, tmp_path, monkeypatch):
    monkeypatch.setattr(centres, "load_or_make", lambda split, count, cache, *, scanner, first, **_: replace(
        blobs(count), facts=tuple({"seed": first + k, "outcome": k % 2, "volumes_ml": [1.0, 1.0]} for k in range(count))))
    for cell in centres.cells():
        if cell.mix != mix:
            continue
        sets = centres.scanner_sets(cell, tmp_path, 1, lambda *_: None)
        seeds = [{fact["seed"] for fact in part.facts} for part in (sets.training, sets.validation, sets.test)]
        assert not seeds[0] & seeds[2] and not seeds[1] & seeds[2] and not seeds[0] & seeds[1]
        if "without" in cell.name:
            trained = {fact["scanner"] for fact in sets.training.facts + sets.validation.facts}
            assert trained == set(cell.scanners[0]) and {fact["scanner"] for fact in sets.test.facts} == set(cell.scanners[1])


class TestSimulatedCentres:
    def test_each_centre_has_its_scanner_and_the_table_can_be_read(self, tmp_path):
        from MRDeltaNetLib.cohort.simulation import simulate_cohort
        from MRDeltaNetLib.imaging.phantom.contrast import SCANNERS
        from MRDeltaNetLib.io.cohort_table import read_cohort
        from MRDeltaNetLib.io.images import read_image

        table = simulate_cohort(6, 3, "controlled", tmp_path / "cohort", size=(64, 64, 12), spacing_mm=(1.5, 1.5, 4.0), scanners="balanced")
        rows = read_cohort(table).rows
        assert {row.centre for row in rows} <= set(SCANNERS) and len({row.centre for row in rows}) > 1
        for row in rows:
            bright = np.percentile(_voxels(read_image(table.parent / row.files["pre"]).image), 99)
            low, high = SCANNERS[row.centre].gain
            assert 0.7 * low < bright < 2.5 * high

    def test_confounded_shares_follow_the_scanner(self):
        from MRDeltaNetLib.cohort.simulation import CONFOUNDED_PREVALENCE, _Plan

        plans = [_Plan(number, 1, "controlled", 0.5, None, None, 0.0, None, scanners="confounded") for number in range(1, 2001)]
        for scanner, share in CONFOUNDED_PREVALENCE.items():
            assert np.mean([plan.options["responder"] for plan in plans if plan.centre == scanner]) == pytest.approx(share, abs=0.07)

    def test_unknown_mix_is_refused(self, tmp_path):
        from MRDeltaNetLib.cohort.simulation import simulate_cohort

        with pytest.raises(UsageError) as caught:
            simulate_cohort(2, 0, "controlled", tmp_path, scanners="wild")
        assert caught.value.code == "MRD-E862"


def _voxels(image) -> np.ndarray:
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(image)
