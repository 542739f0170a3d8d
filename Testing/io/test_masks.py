"""What is let through as a mask (cases C72 to C83)."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate.grids import inside, overlap_fraction, points_mm, same_grid
from MRDeltaNetLib.io.gate.masks import check_mask, check_residual
from MRDeltaNetLib.io.gate.outlines import check_growth, check_outline
from Testing.imaging.shapes import STORAGES, stored

LIMITS = GateLimits()
OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.3, 0.4).GetMatrix()
LEFT_HANDED = (-1, 0, 0, 0, 1, 0, 0, 0, 1)
PERMUTED = (0, 0, 1, 1, 0, 0, 0, 1, 0)
STRAIGHT = (1, 0, 0, 0, 1, 0, 0, 0, 1)
DIRECTIONS = pytest.mark.parametrize("direction", [STRAIGHT, OBLIQUE, LEFT_HANDED, PERMUTED],
                                     ids=["straight", "oblique", "left-handed", "permuted"])


def scan(size=(40, 36, 20), spacing=(1.0, 1.2, 3.0), origin=(-20.0, 5.0, 11.0), direction=STRAIGHT):
    """A made-up scan of random values, float32."""
    values = np.random.default_rng(1).normal(100, 20, size[::-1]).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def blank(image, dtype=np.uint8):
    return np.zeros(image.GetSize()[::-1], dtype)


def as_mask(values, image, **geometry):
    mask = sitk.GetImageFromArray(values)
    mask.CopyInformation(image)
    for name, value in geometry.items():
        getattr(mask, f"Set{name.capitalize()}")(value)
    return mask


def box(image, value=1, dtype=np.uint8, z=slice(7, 13), y=slice(12, 24), x=slice(10, 28)):
    values = blank(image, dtype)
    values[z, y, x] = value
    return values


def voxels(mask):
    return sitk.GetArrayFromImage(mask)


def refused(mask, image, role="pre", **more):
    with pytest.raises(InputError) as caught:
        check_mask(mask, image, role=role, limits=LIMITS, **more)
    return caught.value


def codes(notices):
    return [n.code for n in notices]


@DIRECTIONS
def test_a_good_mask_passes_unchanged_on_the_scans_grid(direction):
    image = scan(direction=direction)
    found, notices = check_mask(as_mask(box(image), image), image, role="pre", limits=LIMITS)
    assert np.array_equal(voxels(found), box(image)) and found.GetPixelID() == sitk.sitkUInt8
    assert (found.GetOrigin(), found.GetSpacing(), found.GetDirection()) == (image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    assert notices == ()


# C72
@pytest.mark.parametrize("role, code, remedy", [("pre", "MRD-E301", "draw the tumour"), ("post", "MRD-E302", "original site"),
                                                ("residual", "MRD-E301", "draw")], ids=["C72-empty-pre", "C72-empty-bed", "C72-empty-residual-not-allowed"])
def test_an_empty_mask_is_refused_where_there_must_be_something(role, code, remedy):
    image = scan()
    problem = refused(as_mask(blank(image), image), image, role)
    assert problem.code == code and remedy in problem.fix


def test_c72_values_of_06_are_never_cast_to_an_empty_mask():
    image = scan()
    problem = refused(as_mask(box(image, 0.6, np.float32), image), image)
    assert problem.code == "MRD-E308" and "threshold" in problem.fix and "0.5" in problem.fix


# C73
@DIRECTIONS
def test_c73_a_mask_outside_its_scan_is_refused(direction):
    image = scan(direction=direction)
    mask = sitk.GetImageFromArray(np.ones((6, 7, 8), np.uint8))
    mask.SetOrigin((500.0, 0.0, 0.0))
    problem = refused(mask, image)
    assert problem.code == "MRD-E303" and "drawn on this scan" in problem.fix


def test_c73_a_mask_partly_outside_its_scan_is_refused():
    image = scan()
    mask = sitk.GetImageFromArray(np.ones((6, 10, 10), np.uint8))
    mask.SetOrigin(image.TransformContinuousIndexToPhysicalPoint((35.0, 10.0, 5.0)))
    problem = refused(mask, image)
    assert problem.code == "MRD-E304" and "percent" in problem.found and "reference geometry" in problem.fix


# C74
@DIRECTIONS
def test_c74_a_mask_on_a_finer_grid_inside_the_scan_is_brought_over_with_a_warning(direction):
    image = scan(direction=direction)
    fine = sitk.Resample(as_mask(box(image), image), [80, 72, 20], sitk.Transform(), sitk.sitkNearestNeighbor,
                         image.TransformContinuousIndexToPhysicalPoint((-0.25, -0.25, 0.0)), (0.5, 0.6, 3.0), direction, 0, sitk.sitkUInt8)
    found, notices = check_mask(fine, image, role="pre", limits=LIMITS)
    assert codes(notices) == ["MRD-W302"] and "mL before" in notices[0].text and "reference geometry" in notices[0].fix
    assert same_grid(found, image) and np.array_equal(voxels(found), box(image))


def test_c74_a_flipped_storage_order_of_the_same_place_gives_the_same_mask():
    image = scan()
    flipped = sitk.Flip(as_mask(box(image, x=slice(5, 9)), image), (True, False, True), False)
    found, notices = check_mask(flipped, image, role="pre", limits=LIMITS)
    assert notices == () and np.array_equal(voxels(found), box(image, x=slice(5, 9)))


@DIRECTIONS
@pytest.mark.parametrize("order, backwards", STORAGES.values(), ids=STORAGES)
def test_c74_a_mask_cropped_to_its_segment_and_stored_otherwise_is_the_scans_own_voxels(direction, order, backwards):
    """As Slicer's .seg.nrrd, which ends where the segment ends: nothing is resampled, so nothing is warned of."""
    image = scan(direction=direction)
    cropped = as_mask(box(image), image)[9:30, 11:25, 6:14]
    found, notices = check_mask(stored(cropped, order, backwards), image, role="pre", limits=LIMITS)
    assert notices == () and np.array_equal(voxels(found), box(image)) and same_grid(found, image)


def test_c74_a_cropped_mask_with_a_rounded_header_is_told():
    image = scan()
    cropped = as_mask(box(image), image)[9:30, 11:25, 6:14]
    cropped.SetOrigin([o + 0.03 for o in cropped.GetOrigin()])
    found, notices = check_mask(cropped, image, role="pre", limits=LIMITS)
    assert codes(notices) == ["MRD-W303"] and np.array_equal(voxels(found), box(image))


def test_c74_half_a_voxel_beside_the_scans_voxels_is_resampled_and_told():
    image = scan()
    cropped = as_mask(box(image), image)[9:30, 11:25, 6:14]
    cropped.SetOrigin([o + 0.4 * s for o, s in zip(cropped.GetOrigin(), image.GetSpacing())])
    assert codes(check_mask(cropped, image, role="pre", limits=LIMITS)[1]) == ["MRD-W302"]


def test_c74_a_mask_that_vanishes_between_the_scans_voxels_is_refused():
    image = scan()
    values = np.zeros((41, 41, 41), np.uint8)
    values[20, 20, 20] = 1
    mask = sitk.GetImageFromArray(values)
    mask.SetSpacing((0.1, 0.1, 0.1))
    centre = np.array(image.TransformContinuousIndexToPhysicalPoint((10.4, 10.4, 10.4)))
    mask.SetOrigin((centre - 2.0).tolist())
    problem = refused(mask, image)
    assert problem.code == "MRD-E306" and "scan itself" in problem.fix


# C75
@DIRECTIONS
@pytest.mark.parametrize("shift", [(1, 0, 0), (0, -1, 0), (0, 0, 2), (0.4, 0, 0)])
def test_c75_the_scans_grid_with_a_shifted_origin_is_refused(direction, shift):
    image = scan(direction=direction)
    mask = as_mask(box(image), image, origin=image.TransformContinuousIndexToPhysicalPoint([float(s) for s in shift]))
    problem = refused(mask, image)
    assert problem.code == "MRD-E305" and "mm" in problem.found and "reference geometry" in problem.fix


def test_c75_a_mask_that_lost_its_place_is_refused():
    image = scan()
    problem = refused(sitk.GetImageFromArray(box(image)), image)
    assert problem.code == "MRD-E305" and "header" in problem.what


def test_c75_a_header_rounded_by_less_than_a_tenth_of_a_voxel_is_taken_with_a_warning():
    image = scan()
    mask = as_mask(box(image), image, origin=[o + 0.02 for o in image.GetOrigin()])
    found, notices = check_mask(mask, image, role="pre", limits=LIMITS)
    assert codes(notices) == ["MRD-W303"] and found.GetOrigin() == image.GetOrigin()


def test_c75_differences_within_the_grid_tolerance_pass_without_a_word():
    image = scan()
    mask = as_mask(box(image), image, origin=[o + 1e-5 for o in image.GetOrigin()])
    found, notices = check_mask(mask, image, role="pre", limits=LIMITS)
    assert notices == () and found.GetOrigin() == image.GetOrigin()


# C76
def test_c76_the_scan_itself_is_no_mask():
    image = scan()
    problem = refused(image, image)
    assert problem.code == "MRD-E307" and "outline" in problem.fix
    whole = sitk.Cast(image, sitk.sitkInt16)
    assert refused(whole, sitk.Cast(whole, sitk.sitkFloat32)).code == "MRD-E307"


def test_c76_another_scan_is_no_mask():
    image = scan()
    values = np.random.default_rng(2).integers(0, 4000, image.GetSize()[::-1]).astype(np.int16)
    assert refused(as_mask(values, image), image).code == "MRD-E307"
    assert refused(as_mask((values + 0.25).astype(np.float32), image), image).code == "MRD-E307"


# C77
def test_c77_a_probability_map_is_refused_with_advice_on_the_threshold():
    image = scan()
    values = box(image, 1, np.float32)
    values[8, 14, 14] = 0.37
    problem = refused(as_mask(values, image), image)
    assert problem.code == "MRD-E308" and "threshold" in problem.fix and "1 voxels" in problem.found


# C78
@pytest.mark.parametrize("value, dtype", [(255, np.uint8), (1000, np.int16), (3, np.float32)], ids=["C78-255", "C78-1000", "C78-3"])
def test_a_single_label_of_any_value_is_the_mask(value, dtype):
    image = scan()
    found, notices = check_mask(as_mask(box(image, value, dtype), image), image, role="pre", limits=LIMITS)
    assert np.array_equal(voxels(found), box(image)) and notices == ()


def test_c78_a_negative_label_is_refused():
    image = scan()
    values = box(image, 1, np.int16)
    values[0, 0, 0] = -1
    problem = refused(as_mask(values, image), image)
    assert problem.code == "MRD-E309" and "-1" in problem.found and "background to 0" in problem.fix


# C79
@pytest.mark.parametrize("value", [0.9999, 1.0005], ids=["C79-0.9999", "C79-1.0005"])
def test_a_float_within_a_thousandth_of_a_whole_number_is_that_number(value):
    image = scan()
    found, notices = check_mask(as_mask(box(image, value, np.float32), image), image, role="pre", limits=LIMITS)
    assert np.array_equal(voxels(found), box(image)) and notices == ()


@pytest.mark.parametrize("value", [0.99, 1.5, 17.3], ids=["C79-0.99", "C79-1.5", "C79-17.3"])
def test_a_float_further_from_a_whole_number_is_refused(value):
    image = scan()
    problem = refused(as_mask(box(image, value, np.float32), image), image)
    assert problem.code in ("MRD-E308", "MRD-E310") and ("threshold" in problem.fix or "whole numbers" in problem.fix)


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=["C79-nan", "C79-inf"])
def test_a_value_that_is_no_number_is_refused(value):
    image = scan()
    problem = refused(as_mask(box(image, value, np.float32), image), image)
    assert problem.code == "MRD-E310" and "whole numbers" in problem.fix


# C80
def test_c80_several_labels_without_a_choice_are_refused_with_their_names():
    image = scan()
    values = box(image)
    values[14:16, 3:6, 3:6] = 4
    problem = refused(as_mask(values, image), image, label_names={1: "tumour", 4: "rectum\n<b>"})
    assert problem.code == "MRD-E311" and "1 (tumour)" in problem.found and "4 (rectum <b>)" in problem.found and "label" in problem.fix


def test_c80_the_chosen_label_is_the_mask():
    image = scan()
    values = box(image)
    values[14:16, 3:9, 3:9] = 4
    found, _ = check_mask(as_mask(values, image), image, role="pre", label=4, limits=LIMITS)
    assert np.array_equal(voxels(found), (values == 4).astype(np.uint8))


@pytest.mark.parametrize("label", [2, 0, -1], ids=["C80-absent", "C80-background", "C80-negative"])
def test_a_label_that_is_not_there_is_refused_with_what_is(label):
    image = scan()
    problem = refused(as_mask(box(image), image), image, label=label)
    assert problem.code == "MRD-E312" and str(label) in problem.found and "choose" in problem.fix
    assert ("labels are whole numbers from 1" in problem.what) == (label < 1)


def test_c80_a_hundred_labels_are_listed_in_short():
    image = scan()
    values = box(image)
    values[0, 0, :40] = np.arange(1, 41)
    assert "and 28 more" in refused(as_mask(values, image), image).found


def overlapping(image, labels=(1, 1)):
    layers = [as_mask(box(image, value, x=slice(10 + k, 28)), image) for k, value in enumerate(labels)]
    return layers


def test_c80_overlapping_segments_are_refused_with_their_names():
    image = scan()
    for mask in (sitk.JoinSeries(overlapping(image)), sitk.Compose(overlapping(image))):
        for label in (None, 1):
            problem = refused(mask, image, label=label, label_names={1: "tumour"})
            assert problem.code == "MRD-E313" and "tumour" in problem.found and "Export" in problem.fix


def test_c80_a_label_that_only_one_of_the_overlapping_layers_holds_is_taken():
    image = scan()
    for mask in (sitk.JoinSeries(overlapping(image, (1, 2))), sitk.Compose(overlapping(image, (1, 2)))):
        found, _ = check_mask(mask, image, role="pre", label=2, limits=LIMITS)
        assert np.array_equal(voxels(found), box(image, x=slice(11, 28))) and same_grid(found, image)


@pytest.mark.parametrize("make", [lambda i: sitk.JoinSeries(as_mask(box(i), i))], ids=["C80-one-layer"])
def test_a_four_dimensional_mask_of_one_layer_is_a_mask(make):
    image = scan(direction=OBLIQUE)
    found, notices = check_mask(make(image), image, role="pre", limits=LIMITS)
    assert np.array_equal(voxels(found), box(image)) and notices == ()


def test_a_flat_mask_is_refused():
    image = scan()
    problem = refused(as_mask(box(image), image)[:, :, 8], image)
    assert problem.code == "MRD-E316" and "as many slices" in problem.fix


def test_complex_values_are_refused():
    image = scan()
    assert refused(sitk.Cast(as_mask(box(image), image), sitk.sitkComplexFloat32), image).code == "MRD-E310"


# C81
def test_c81_fewer_than_ten_voxels_are_refused_except_for_residual_tumour():
    image = scan()
    mask = as_mask(box(image, z=slice(8, 9), y=slice(12, 15), x=slice(10, 13)), image)
    problem = refused(mask, image)
    assert problem.code == "MRD-E314" and "9 voxels" in problem.found and "every slice" in problem.fix
    found, notices = check_mask(mask, image, role="residual", may_be_empty=True, limits=LIMITS)
    assert codes(notices) == ["MRD-W304"] and voxels(found).sum() == 9


def test_c81_less_than_a_millilitre_is_a_warning_with_the_volume():
    image = scan()
    _, notices = check_mask(as_mask(box(image, z=slice(8, 10), y=slice(12, 18), x=slice(10, 16)), image), image, role="pre", limits=LIMITS)
    assert codes(notices) == ["MRD-W304", "MRD-W308"] and "0.26 mL" in notices[0].text


# C82
def test_c82_several_pieces_are_a_warning_and_a_shared_corner_joins_them():
    image = scan()
    values = box(image)
    values[7 - 1, 12 - 1, 10 - 1] = 1
    assert check_mask(as_mask(values, image), image, role="pre", limits=LIMITS)[1] == ()
    values[8, 2, 2] = 1
    _, notices = check_mask(as_mask(values, image), image, role="pre", limits=LIMITS)
    assert codes(notices) == ["MRD-W305"] and "2 separate pieces" in notices[0].text


@pytest.mark.parametrize("cut", [dict(z=slice(0, 6)), dict(z=slice(14, 20)), dict(y=slice(0, 12)), dict(y=slice(24, 36)), dict(x=slice(0, 18)), dict(x=slice(22, 40))])
def test_c82_a_mask_at_the_border_is_a_warning(cut):
    image = scan()
    _, notices = check_mask(as_mask(box(image, **cut), image), image, role="pre", limits=LIMITS)
    assert codes(notices) == ["MRD-W306"] and "too small" in notices[0].fix


def test_inside_and_outside_swapped_is_refused():
    image = scan()
    problem = refused(as_mask(1 - box(image), image), image)
    assert problem.code == "MRD-E315" and "swapped" in problem.fix


# C83
def test_c83_an_empty_residual_mask_is_legal_and_says_what_it_means():
    image = scan()
    found, notices = check_mask(as_mask(blank(image, np.float32), image), image, role="residual", may_be_empty=True, limits=LIMITS)
    assert voxels(found).sum() == 0 and found.GetPixelID() == sitk.sitkUInt8 and same_grid(found, image)
    assert codes(notices) == ["MRD-W301"] and "complete response" in notices[0].text and "not drawn" in notices[0].fix


def test_c83_an_empty_residual_mask_of_another_place_is_refused():
    image = scan()
    away = sitk.GetImageFromArray(np.zeros((5, 5, 5), np.uint8))
    away.SetOrigin((900, 0, 0))
    assert refused(away, image, "residual", may_be_empty=True).code == "MRD-E303"
    shifted = as_mask(blank(image), image, origin=[o + 9 for o in image.GetOrigin()])
    assert refused(shifted, image, "residual", may_be_empty=True).code == "MRD-E305"


def test_c83_a_named_label_without_voxels_is_an_empty_residual_mask():
    image = scan()
    mask = as_mask(box(image), image)
    found, notices = check_mask(mask, image, role="residual", label=2, may_be_empty=True, label_names={1: "bed", 2: "viable"}, limits=LIMITS)
    assert voxels(found).sum() == 0 and codes(notices) == ["MRD-W301"]
    assert refused(mask, image, "residual", label=3, may_be_empty=True, label_names={1: "bed", 2: "viable"}).code == "MRD-E312"


def test_c83_residual_tumour_outside_the_bed_is_a_warning_with_its_share():
    image = scan()
    bed = as_mask(box(image), image)
    (notice,) = check_residual(as_mask(box(image, x=slice(19, 37)), image), bed)
    assert notice.code == "MRD-W307" and "50.0 percent" in notice.text and "bed" in notice.fix
    assert check_residual(bed, bed) == () == check_residual(bed, None) == check_residual(None, bed)
    assert check_residual(as_mask(blank(image), image), bed, complete_response=True) == ()


def test_c83_a_stated_complete_response_contradicts_drawn_residual_tumour():
    image = scan()
    with pytest.raises(InputError) as caught:
        check_residual(as_mask(box(image), image), None, complete_response=True)
    assert caught.value.code == "MRD-E318" and "clear the residual mask" in caught.value.fix and "mL" in caught.value.found


@DIRECTIONS
def test_points_and_inside_agree_with_simpleitk(direction):
    image = scan(direction=direction)
    indices = np.array([[0, 0, 0], [39, 35, 19], [-0.49, 3, 4], [39.49, 3, 4], [-0.6, 3, 4], [5, 35.6, 4], [5, 5, -0.51], [5, 5, 19.52]])
    places = points_mm(image, indices)
    oracle = [image.TransformContinuousIndexToPhysicalPoint(i.tolist()) for i in indices]
    assert np.allclose(places, oracle)
    assert inside(image, places).tolist() == [True] * 4 + [False] * 4


def test_overlap_is_that_of_two_boxes():
    first = scan((40, 40, 20), (1, 1, 3))
    for shift, expected in ((0, 1.0), (10, 0.75), (40, 0.0)):
        second = scan((40, 40, 20), (1, 1, 3), origin=(-20.0 + shift, 5.0, 11.0))
        assert overlap_fraction(first, second) == pytest.approx(expected, abs=0.03)
    assert overlap_fraction(first, scan((80, 80, 60), (1, 1, 3), origin=(-40.0, -15.0, -20.0))) == 1.0


# What makes an outline hard to believe: each limit is tripped by one outline and let alone by another.
@pytest.mark.parametrize("slices, told", [(range(7, 8), True), (range(7, 9), True), (range(7, 10), False)])
def test_an_outline_on_fewer_than_three_slices_is_a_warning(slices, told):
    image = scan()
    notices = check_mask(as_mask(box(image, z=slice(slices[0], slices[-1] + 1)), image), image, role="pre", limits=LIMITS)[1]
    assert ("MRD-W308" in codes(notices)) is told
    if told:
        notice = next(n for n in notices if n.code == "MRD-W308")
        assert f"on {len(slices)} slice" in notice.text and "every slice" in notice.fix
        remnant = check_outline(as_mask(box(image, z=slice(slices[0], slices[-1] + 1)), image), "residual", LIMITS)
        assert "MRD-W308" not in codes(remnant)                  # it may be so small


@pytest.mark.parametrize("left_out, told", [((), False), ((9,), True), ((9, 10), True), ((7, 12), False)], ids=["none", "one", "two", "only ends"])
def test_slices_left_out_between_others_are_a_warning(left_out, told):
    image = scan()
    values = box(image)
    values[list(left_out)] = 0
    notices = check_mask(as_mask(values, image), image, role="pre", limits=LIMITS)[1]
    assert ("MRD-W309" in codes(notices)) is told
    if told:
        notice = next(n for n in notices if n.code == "MRD-W309")
        assert f"leaves out {len(left_out)} slice" in notice.text and "Fill between slices" in notice.fix


@DIRECTIONS
@pytest.mark.parametrize("order, backwards", STORAGES.values(), ids=STORAGES)
def test_slices_are_counted_across_the_thick_axis_however_the_scan_is_stored(direction, order, backwards):
    image = scan(direction=direction)
    values = box(image)
    values[10] = 0
    assert codes(check_outline(stored(as_mask(values, image), order, backwards), "pre", LIMITS)) == ["MRD-W305", "MRD-W309"]


@pytest.mark.parametrize("times, told", [(1, False), (2, False), (2.5, True), (6, True)])
def test_a_bed_or_residual_tumour_much_larger_than_the_tumour_is_a_warning(times, told):
    image = scan()
    pre = as_mask(box(image, z=slice(7, 9)), image)
    grown = as_mask(box(image, z=slice(4, 4 + int(2 * times))), image)
    for bed, residual, name in ((grown, None, "tumour bed"), (None, grown, "residual tumour")):
        notices = check_growth(pre, bed, residual, LIMITS)
        assert codes(notices) == (["MRD-W311"] if told else [])
        assert not told or (f"{times:.1f} times" in notices[0].text and name in notices[0].text and "swapped" in notices[0].fix)
    assert check_growth(None, grown, grown, LIMITS) == () and check_growth(pre, None, None, LIMITS) == ()
