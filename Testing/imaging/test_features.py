"""Form against formulas, intensities against numpy-free truths, both against what PyRadiomics published for its example tumour."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.imaging.features import NAMES, changes, describe, first_order, shape, voxel_shape
from Testing.imaging.shapes import STORAGES, ellipsoid, grid, on, pelvis, places, rotation, stored

OBLIQUE = rotation(0.4, -0.2, 0.3)


def spheroid_surface(equator: float, pole: float) -> float:
    """Of a spheroid with these half axes, mm2 (the closed formulas of an oblate and a prolate one)."""
    if pole == equator:
        return 4 * math.pi * equator**2
    if pole < equator:
        e = math.sqrt(1 - (pole / equator) ** 2)
        return 2 * math.pi * equator**2 * (1 + (1 - e**2) / e * math.atanh(e))
    e = math.sqrt(1 - (equator / pole) ** 2)
    return 2 * math.pi * equator**2 * (1 + pole / (equator * e) * math.asin(e))


@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 0.6, 3.0), (0.8, 0.8, 2.0)])
@pytest.mark.parametrize("equator, pole", [(15.0, 15.0), (8.0, 30.0), (25.0, 10.0), (22.0, 14.0)])
def test_surface_and_sphericity_are_those_of_the_formula_within_four_percent(equator, pole, spacing, axes):
    scan = grid([int(2 * r / s) + 11 for r, s in zip((equator, equator, pole), spacing)], spacing, axes)
    along = places(scan) @ np.array(scan.GetDirection()).reshape(3, 3) / (equator, equator, pole)
    found, surface = shape(on(scan, ((along**2).sum(-1) < 1).astype(np.uint8))), spheroid_surface(equator, pole)
    sphericity = (36 * math.pi * (4 / 3 * math.pi * equator**2 * pole) ** 2) ** (1 / 3) / surface
    assert found["surface_mm2"] == pytest.approx(surface, rel=0.04) and found["sphericity"] == pytest.approx(sphericity, rel=0.04)
    ratio = min(equator, pole) / max(equator, pole)
    assert found["flatness"] == pytest.approx(ratio, rel=0.05)
    assert found["elongation"] == pytest.approx(ratio if pole > equator else 1.0, rel=0.05)


@pytest.mark.parametrize("how", STORAGES)
def test_storage_does_not_change_the_form(how):
    mask = ellipsoid(grid((70, 66, 22), (0.8, 0.8, 3.0), OBLIQUE), (1.0, 2.0, -1.0), (19.0, 11.0, 24.0))
    assert shape(stored(mask, *STORAGES[how])) == pytest.approx(shape(mask), rel=0.01)


def test_a_ragged_outline_is_less_round_than_a_smooth_one():
    mask = ellipsoid(grid((60, 60, 20), (0.8, 0.8, 3.0)), radii_mm=(14.0,) * 3)
    bitten = on(mask, sitk.GetArrayFromImage(mask) * (np.random.default_rng(0).random((20, 60, 60)) < 0.8))
    assert shape(bitten)["sphericity"] < 0.7 * shape(mask)["sphericity"]


def test_the_form_of_a_real_tumour_is_that_which_pyradiomics_published(real_data):
    """AIM-Harvard/pyradiomics, data/baseline/baseline_shape.csv at 0e06083: Elongation 1.779 and Flatness 1.219 there are the reciprocals of middle
    over largest and of least over middle axis. Its surface is that of a mesh of the voxels with their 6.5 mm stairs, so it is larger than ours."""
    mask = sitk.Cast(sitk.ReadImage(str(real_data("pyradiomics/brain1_label.nrrd"))) > 0, sitk.sitkUInt8)
    found, elongation, flatness = shape(mask), 1.7789885567018646, 1.2191850589688844
    assert found["elongation"] == pytest.approx(1 / elongation, rel=1e-9) and found["flatness"] == pytest.approx(1 / (elongation * flatness), rel=1e-9)
    assert 4500 < found["surface_mm2"] < 6438.8216037794018
    faces = voxel_shape(sitk.GetArrayFromImage(mask), mask.GetSpacing())
    assert (faces["elongation"], faces["flatness"]) == pytest.approx((found["elongation"], found["flatness"]), rel=1e-9)


def test_the_intensities_of_a_real_tumour_are_those_that_pyradiomics_published(real_data):
    """baseline_firstorder.csv at the same commit, bins of 25; its kurtosis is not the excess, its root mean square is of values plus 2000."""
    image, label = (sitk.GetArrayFromImage(sitk.ReadImage(str(real_data(f"pyradiomics/brain1_{name}.nrrd")))) for name in ("image", "label"))
    inside = image[label > 0].astype(float)
    published = {"mean": 825.23543630650227, "sd": 156.61123589440385, "median": 812.0, "p10": 632.0, "p90": 1044.4, "interquartile_range": 253.0,
                 "mean_absolute_deviation": 133.44726195252767, "robust_mean_absolute_deviation": 103.00138343026681, "skewness": 0.27565085908587594,
                 "entropy": 4.6019355539037967, "uniformity": 0.045156963555862184}
    found = first_order(inside, 25)
    assert {name: found[name] for name in published} == pytest.approx(published, rel=1e-9)
    assert found["kurtosis"] + 3 == pytest.approx(2.1807729393860265, rel=1e-9)
    assert first_order(inside + 2000)["root_mean_square"] == pytest.approx(2829.5728210757125, rel=1e-9)


def test_intensities_of_plain_distributions_are_those_of_the_formulas():
    even = (np.arange(100_000) + 0.5) / 100_000 * 4                # uniform over 0 to 4: 16 full bins of a quarter
    found = first_order(even, 0.25)
    assert found["mean"] == pytest.approx(2) and found["sd"] == pytest.approx(4 / math.sqrt(12), rel=1e-6)
    assert found["entropy"] == pytest.approx(4) and found["uniformity"] == pytest.approx(1 / 16) and found["kurtosis"] == pytest.approx(-1.2, abs=1e-6)
    lopsided = -np.log((np.arange(1_000_000) + 0.5) / 1_000_000)    # exponential: skewness 2, excess kurtosis 6
    found = first_order(lopsided)
    assert found["skewness"] == pytest.approx(2, rel=0.01) and found["kurtosis"] == pytest.approx(6, rel=0.03)


PELVIS = pelvis(grid((112, 96, 14), (1.5, 1.5, 4.0), OBLIQUE), noise=4.0)


def test_intensities_are_told_against_the_normal_tissue_of_the_same_scan():
    """Gain and offset of a scanner change nothing; a brighter tumour is brighter by as much as was put into it."""
    found, notices = describe(PELVIS, {"pre": PELVIS.mask})
    other = dataclasses.replace(PELVIS, image=PELVIS.image * 2.7 + 40.0)
    assert notices == () and set(found["pre"]) == set(NAMES) and found["pre"] == pytest.approx(describe(other, {"pre": PELVIS.mask})[0]["pre"], rel=1e-4)
    bright = pelvis(grid((112, 96, 14), (1.5, 1.5, 4.0), OBLIQUE), noise=4.0, tumour_signal=360.0)
    normal_sd = 4.0 / found["pre"]["sd_z"]                         # the tumour's own noise in both units
    rise = describe(bright, {"pre": bright.mask})[0]["pre"]["mean_z"] - found["pre"]["mean_z"]
    assert rise == pytest.approx(100.0 / normal_sd, rel=0.05)


@pytest.mark.parametrize("how", STORAGES)
def test_storage_does_not_change_a_feature(how):
    found = describe(dataclasses.replace(PELVIS, image=stored(PELVIS.image, *STORAGES[how])), {"pre": stored(PELVIS.mask, *STORAGES[how])})[0]["pre"]
    assert found == pytest.approx(describe(PELVIS, {"pre": PELVIS.mask})[0]["pre"], rel=0.01)


def test_what_is_not_there_has_no_features_and_no_change():
    found, _ = describe(PELVIS, {"post": PELVIS.mask * 0, "residual": None})
    assert set(found["post"].values()) == set(found["residual"].values()) == {None}
    there, _ = describe(PELVIS, {"pre": PELVIS.mask})
    assert set(changes(there["pre"], found["post"]).values()) == {None} and changes(there["pre"], there["pre"]) == dict.fromkeys(NAMES, 0.0)


def test_a_scan_that_cannot_be_normalised_keeps_its_form_and_says_so():
    flat = dataclasses.replace(PELVIS, image=on(PELVIS.mask, np.zeros(PELVIS.mask.GetSize()[::-1], np.float32)))
    found, notices = describe(flat, {"pre": PELVIS.mask})
    assert [n.code for n in notices] == ["MRD-W313"] and notices[0].fix and found["pre"]["mean_z"] is None and found["pre"]["sphericity"] > 0.5


