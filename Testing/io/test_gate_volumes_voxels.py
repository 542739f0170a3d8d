"""What the voxels may be (cases A 17-29, 46, 48): each refusal and warning with its code and a remedy. Made-up data."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate import check_image
from Testing.io.volume_files import DIRECTIONS, SIZES, SPACING_MM, image, voxels

TOTAL = int(np.prod(SIZES))


def scan(change=None, kind="<f4", size=None, spacing=None, origin=None) -> sitk.Image:
    values = voxels(kind) if size is None else np.random.default_rng(1).integers(0, 1000, size[::-1]).astype(kind)
    values += 1
    if change:
        values = change(values)
    made = sitk.GetImageFromArray(values)
    made.SetSpacing(spacing or SPACING_MM)
    made.SetOrigin(origin or (0, 0, 0))
    return made


def with_values(value, count):
    def change(values):
        values.ravel()[:count] = value
        return values
    return change


REFUSED = [
    ("A17-many-nan", scan(with_values(np.nan, TOTAL // 50)), "MRD-E117", "background"),
    ("A17-all-nan", scan(with_values(np.nan, TOTAL)), "MRD-E117", "background"),
    ("A18-infinity", scan(with_values(np.inf, 1)), "MRD-E118", "divided by zero"),
    ("A18-minus-infinity", scan(with_values(-np.inf, 1)), "MRD-E118", "divided by zero"),
    ("A18-too-large-for-float32", scan(with_values(1e300, 1), kind="<f8"), "MRD-E118", "divided by zero"),
    ("A20-constant", scan(with_values(7, TOTAL)), "MRD-E120", "viewer"),
    ("A21-zero", scan(with_values(0, TOTAL)), "MRD-E121", "viewer"),
    ("A22-two-values", scan(lambda v: (v > 500).astype("<i2")), "MRD-E122", "mask as the mask"),
    ("A27-one-slice", scan(size=(64, 64, 1)), "MRD-E127", "whole series"),
    ("A28-one-slice-along-x", scan(size=(1, 64, 64)), "MRD-E127", "whole series"),
    ("A28-four-slices", scan(size=(64, 64, 4), spacing=(1, 1, 9)), "MRD-E128", "full axial"),
    ("A29-very-thick", scan(spacing=(2, 2, 11)), "MRD-E129", "high-resolution"),
    ("A37-sub-millimetre", scan(spacing=(0.002, 0.002, 0.003)), "MRD-E137", "millimetres"),
    ("A48-eight-cubed", scan(size=(8, 8, 8), spacing=(1, 1, 1)), "MRD-E148", "full series"),
    ("A48-narrow", scan(size=(4, 64, 64), spacing=(9, 1, 10)), "MRD-E148", "full series"),
]


@pytest.mark.parametrize("made, code, word", [pytest.param(*case[1:], id=case[0]) for case in REFUSED])
def test_an_impossible_scan_is_refused(made, code, word):
    with pytest.raises(InputError) as caught:
        check_image(made)
    assert caught.value.code == code and word in caught.value.fix


def test_colour_and_complex_images_are_refused():
    colour = sitk.Compose([image(), image(), image()])
    for made in (colour, sitk.RealAndImaginaryToComplex(image("<f4"), image("<f4"))):
        with pytest.raises(InputError) as caught:
            check_image(made)
        assert caught.value.code == "MRD-E131" and "grey-value" in caught.value.fix


def test_images_of_two_and_four_axes_are_refused():
    with pytest.raises(InputError, match="E127"):
        check_image(sitk.Image(64, 64, sitk.sitkFloat32))
    with pytest.raises(InputError, match="E130"):
        check_image(sitk.Image([16, 16, 16, 2], sitk.sitkFloat32))


def test_a_sheared_image_in_memory_is_refused():
    made = scan()
    made.SetDirection((1, 0.2, 0, 0, 0.98, 0, 0, 0, 1))
    with pytest.raises(InputError, match="E139"):
        check_image(made)


WARNED = [
    ("A19-few-nan", scan(with_values(np.nan, 5)), "MRD-W117", "masking"),
    ("A23-negative", scan(lambda v: v - 200), "MRD-W123", "T2-weighted"),
    ("A24-huge-range", scan(with_values(1e30, 3)), "MRD-W124", "scaling"),
    ("A24-denormals", scan(lambda v: v * np.float32(1e-42)), "MRD-W124", "scaling"),
    ("A25-padding", scan(with_values(-32768, 40), kind="<i2"), "MRD-W125", "DICOM"),
    ("A26-zero-to-one", scan(lambda v: v / v.max()), "MRD-W126", "scanner"),
    ("A26-z-scored", scan(lambda v: (v - v.mean()) / v.std()), "MRD-W126", "scanner"),
    ("A29-thick", scan(spacing=(2, 2, 6.5)), "MRD-W129", "thinner"),
    ("A29-anisotropic", scan(size=(64, 64, 12), spacing=(0.5, 0.5, 6.0)), "MRD-W129", "thinner"),
    ("A46-ten-metres-away", scan(origin=(10_000, 0, 0)), "MRD-W146", "origin"),
]


@pytest.mark.parametrize("made, code, word", [pytest.param(*case[1:], id=case[0]) for case in WARNED])
def test_an_unusual_scan_is_read_with_a_warning(made, code, word):
    read, notices = check_image(made)
    assert [n.code for n in notices] == [code]
    assert word in notices[0].fix
    assert np.isfinite(sitk.GetArrayViewFromImage(read)).all()
    assert read.GetPixelID() == sitk.sitkFloat32
    assert (read.GetOrigin(), read.GetSpacing(), read.GetDirection()) == (made.GetOrigin(), made.GetSpacing(), made.GetDirection())


def test_A19_few_nan_become_the_smallest_value_and_are_counted():
    read, notices = check_image(scan(with_values(np.nan, 5)))
    values = sitk.GetArrayFromImage(read).ravel()
    assert (values[:5] == values[5:].min()).all()
    assert notices[0].text.startswith("5 voxels")


def test_A25_padding_becomes_the_smallest_other_value_and_the_rest_stays():
    made = scan(with_values(-32768, 40), kind="<i2")
    values = sitk.GetArrayFromImage(check_image(made)[0]).ravel()
    assert (values[:40] == values[40:].min()).all()
    assert np.array_equal(values[40:], sitk.GetArrayFromImage(made).ravel()[40:])


def test_a_scan_that_is_nothing_but_padding_and_one_value_is_refused():
    with pytest.raises(InputError, match="E120"):
        check_image(scan(lambda v: np.where(v > 500, -32768, 7).astype("<i2")))


@pytest.mark.parametrize("axes", DIRECTIONS)
@pytest.mark.parametrize("kind", ["<u1", "<i2", "<u2", "<f4", "<f8"])
def test_a_good_scan_passes_untouched_as_float32(axes, kind):
    made = image("<u1" if kind == "<u1" else kind, axes)
    read, notices = check_image(made)
    assert notices == ()
    assert read.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(made))
    assert (read.GetOrigin(), read.GetSpacing(), read.GetDirection()) == (made.GetOrigin(), made.GetSpacing(), made.GetDirection())


def test_A46_minus_zero_and_tiny_differences_of_the_origin_are_accepted():
    assert check_image(scan(origin=(-0.0, 1e-7, -1e-7)))[1] == ()


def test_the_image_given_is_not_changed():
    made = scan(with_values(np.nan, 5))
    before = sitk.GetArrayFromImage(made)
    check_image(made)
    assert np.array_equal(before, sitk.GetArrayFromImage(made), equal_nan=True)
