"""Masks that nobody drew: carried through the alignment, or made by a segmenter that is handed in."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging.segmentation import carry_mask, complete_masks, cut_fraction, segment
from Testing.imaging.shapes import STORAGES, ellipsoid, grid, on, pelvis, places, rigid, rotation, stored, volume_mm3

FROM = grid((100, 90, 24), (0.6, 0.7, 3.0), rotation(0.2, -0.1, 0.1))
TO = grid((80, 76, 22), (0.8, 0.8, 3.5), rotation(-0.15, 0.2, 0.1), (3.0, 2.0, -1.0))
TO_FROM = rigid((0.08, -0.05, 0.1), (4.0, -3.0, 2.5))            # LPS of TO -> LPS of FROM
CENTRE, RADII = (2.0, -1.0, 1.5), (12.0, 9.0, 11.0)


def truth_on(scan, to_from):
    """The ellipsoid of FROM's space, evaluated by its formula at the voxels of another scan."""
    where = np.array([to_from.TransformPoint(place) for place in places(scan).reshape(-1, 3).tolist()])
    return ((((where - CENTRE) / RADII) ** 2).sum(-1) < 1).reshape(scan.GetSize()[::-1])


@pytest.mark.parametrize("how", [None, *STORAGES])
@pytest.mark.parametrize("which", ["from", "to"])
def test_a_carried_mask_lies_where_the_alignment_says_and_keeps_its_volume(how, which):
    mask, scan = ellipsoid(FROM, CENTRE, RADII), TO
    if how:
        mask, scan = (stored(mask, *STORAGES[how]), scan) if which == "from" else (mask, stored(scan, *STORAGES[how]))
    carried = carry_mask(mask, scan, TO_FROM)
    array, truth = sitk.GetArrayFromImage(carried), truth_on(scan, TO_FROM)
    assert carried.GetPixelID() == sitk.sitkUInt8 and set(np.unique(array)) == {0, 1}
    assert carried.GetSize() == scan.GetSize() and carried.GetDirection() == scan.GetDirection() and carried.GetOrigin() == scan.GetOrigin()
    assert volume_mm3(carried) == pytest.approx(volume_mm3(mask), rel=0.02)
    assert 2 * (array & truth).sum() / (array.sum() + truth.sum()) > 0.95
    assert np.linalg.norm(places(scan)[array > 0].mean(0) - places(scan)[truth].mean(0)) < 0.4


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("radii_mm", [(8.0, 6.0, 7.0), (20.0, 14.0, 16.0)], ids=["1.4 mL", "19 mL"])
@pytest.mark.parametrize("spacing_mm", [(0.6, 0.6, 3.0), (0.9, 0.9, 4.0), (1.0, 1.0, 1.0)])
def test_volume_is_kept_within_two_percent_whatever_the_grids(seed, radii_mm, spacing_mm):
    rng = np.random.default_rng(seed)
    scan = grid([int(70 / step) for step in spacing_mm], spacing_mm, rotation(*rng.uniform(-0.3, 0.3, 3)), rng.uniform(-2, 2, 3))
    mask = ellipsoid(FROM, rng.uniform(-2, 2, 3), radii_mm)
    carried = carry_mask(mask, scan, rigid(rng.uniform(-0.1, 0.1, 3), rng.uniform(-4, 4, 3).tolist()))
    assert volume_mm3(carried) == pytest.approx(volume_mm3(mask), rel=0.02)


def test_an_affine_alignment_changes_the_volume_by_its_determinant():
    stretch = sitk.AffineTransform(3)
    stretch.SetMatrix((0.9, 0, 0, 0, 1.0, 0, 0, 0, 0.95))
    mask = ellipsoid(FROM, CENTRE, RADII)
    assert volume_mm3(carry_mask(mask, TO, stretch)) == pytest.approx(volume_mm3(mask) / (0.9 * 0.95), rel=0.02)


def test_carrying_to_the_same_grid_changes_nothing():
    mask = ellipsoid(FROM, CENTRE, RADII)
    assert np.array_equal(sitk.GetArrayFromImage(carry_mask(mask, FROM, rigid())), sitk.GetArrayFromImage(mask))


def test_a_mask_that_reaches_out_of_the_other_scan_a_little_is_cut_there_and_its_rest_is_in_place():
    low = sitk.RegionOfInterest(TO, [80, 76, 10], [0, 0, 9])
    mask = ellipsoid(FROM, CENTRE, RADII)
    cut = cut_fraction(mask, low, TO_FROM.GetInverse())
    assert 0.02 < cut < 0.2
    carried, truth = sitk.GetArrayFromImage(carry_mask(mask, low, TO_FROM)), truth_on(low, TO_FROM)
    assert 2 * (carried & truth).sum() / (carried.sum() + truth.sum()) > 0.94


@pytest.mark.parametrize("change, code, remedy", [
    (lambda mask: (mask * 0, TO, TO_FROM), "MRD-E356", "draw the tumour"),
    (lambda mask: (mask, TO, rigid(shift_mm=(500.0, 0.0, 0.0))), "MRD-E357", "alignment"),
    (lambda mask: (mask, sitk.RegionOfInterest(TO, [80, 76, 6], [0, 0, 12]), TO_FROM), "MRD-E357", "by hand"),
    (lambda mask: (mask, TO, sitk.DisplacementFieldTransform(sitk.Image((4, 4, 4), sitk.sitkVectorFloat64))), "MRD-E358", "rigid"),
], ids=["empty", "outside", "half outside", "deformable"])
def test_what_cannot_be_carried_is_refused_with_a_remedy(change, code, remedy):
    with pytest.raises(InputError) as caught:
        carry_mask(*change(ellipsoid(FROM, CENTRE, RADII)))
    assert caught.value.code == code and remedy in caught.value.fix


PRE_TO_POST = rigid((0.05, 0.04, -0.06), (3.0, -2.0, 2.0))


@pytest.fixture(scope="module")
def visits():
    return pelvis(grid((100, 90, 26), (1.3, 1.3, 4.0))), pelvis(grid((110, 100, 30), (1.2, 1.2, 3.5), rotation(0.1, 0.1, 0)), PRE_TO_POST.GetInverse())


def test_a_bed_that_nobody_drew_is_carried_and_marked_as_a_suggestion(visits):
    pre, post = visits
    same, found, notices = complete_masks(pre, replace(post, mask=None, mask_source=None), PRE_TO_POST)
    assert same is pre and found.mask_source == "carried" and [notice.code for notice in notices] == ["MRD-W350"]
    assert "check it" in notices[0].fix and "post mask" in notices[0].fix
    carried, drawn = sitk.GetArrayFromImage(found.mask), sitk.GetArrayFromImage(post.mask)
    assert 2 * (carried & drawn).sum() / (carried.sum() + drawn.sum()) > 0.93       # post -> pre and pre -> post are not mixed up
    assert found.image is post.image


def test_drawn_masks_are_left_alone(visits):
    pre, post = visits
    assert complete_masks(pre, post, PRE_TO_POST) == (pre, post, ())


def test_a_carried_bed_that_is_cut_by_the_scan_is_warned_about(visits):
    pre, post = visits
    low = replace(post, image=sitk.RegionOfInterest(post.image, [110, 100, 9], [0, 0, 12]), mask=None)
    assert [notice.code for notice in complete_masks(pre, low, PRE_TO_POST)[2]] == ["MRD-W350", "MRD-W351"]


@pytest.mark.parametrize("with_post, code", [(True, "MRD-E350"), (False, "MRD-E354")])
def test_without_a_pre_mask_the_error_says_how_to_make_one(visits, with_post, code):
    pre, post = visits
    with pytest.raises(InputError) as caught:
        complete_masks(replace(pre, mask=None), post if with_post else replace(post, mask=None), PRE_TO_POST)
    assert caught.value.code == code and "Segment Editor" in caught.value.fix and "pre mask" in caught.value.fix


def test_a_segmenter_that_is_handed_in_draws_the_mask(visits):
    heard = []
    def bright(image, progress):
        progress(1.0, "done")
        return image > 350
    mask = segment(visits[0].image, bright, progress=lambda done, message: heard.append(done))
    assert mask.GetPixelID() == sitk.sitkUInt8 and sitk.GetArrayFromImage(mask).max() == 1 and heard == [1.0]


def test_without_a_segmenter_the_error_says_how_to_draw():
    with pytest.raises(InputError) as caught:
        segment(FROM, role="post")
    assert caught.value.code == "MRD-E354" and "3D Slicer" in caught.value.fix and "post mask" in caught.value.fix


@pytest.mark.parametrize("segmenter, remedy", [
    (lambda image, progress: image > 1e9, "Segment Editor"), (lambda image, progress: TO, "by hand"),
    (lambda image, progress: on(grid(image.GetSize(), image.GetSpacing(), centre_mm=(1.0, 0, 0)), np.ones(image.GetSize()[::-1], np.uint8)), "by hand"),
], ids=["nothing found", "another size", "another place"])
def test_a_segmenter_that_draws_nothing_or_elsewhere_is_refused(visits, segmenter, remedy):
    with pytest.raises(InputError) as caught:
        segment(visits[0].image, segmenter)
    assert caught.value.code == "MRD-E355" and remedy in caught.value.fix
