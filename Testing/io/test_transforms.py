"""Transform files: what is read, what is refused and why, what is written."""

from __future__ import annotations

import os

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.transforms import MAX_BYTES, as_affine, read_transform, write_transform

RIGID = sitk.Euler3DTransform((10.0, -20.0, 30.5), 0.1, 0.2, -0.3, (4.0, 1 / 3, -6.0))
POINTS = [(0.0, 0.0, 0.0), (50.0, -40.0, 30.0), (-7.5, 3.0, 111.0)]
GOOD = "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n" \
       "Parameters: 1 0 0 0 1 0 0 0 1 4 5 6\nFixedParameters: 1 2 3\n"


def same(first: sitk.Transform, second: sitk.Transform) -> bool:
    return all(np.allclose(first.TransformPoint(p), second.TransformPoint(p), atol=1e-10) for p in POINTS)


def affine() -> sitk.AffineTransform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((1.1, 0.05, 0.0, -0.02, 0.97, 0.1, 0.0, 0.03, 1.02))
    transform.SetCenter((5.0, 6.0, 7.0))
    transform.SetTranslation((1.0, 2.0, 3.0))
    return transform


def spline() -> sitk.Transform:
    return sitk.BSplineTransformInitializer(sitk.Image([10, 10, 10], sitk.sitkFloat32), [2, 2, 2], 3)


def refused(path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_transform(path)
    assert str(path) not in caught.value.text() and caught.value.fix
    return caught.value


@pytest.mark.parametrize("ending", [".tfm", ".txt"])
def test_a_rigid_transform_comes_back_exactly_with_its_centre(tmp_path, ending):
    write_transform(RIGID, tmp_path / f"t{ending}")
    back = read_transform(tmp_path / f"t{ending}")
    assert isinstance(back, sitk.Euler3DTransform)
    assert back.GetParameters() == RIGID.GetParameters() and back.GetCenter() == RIGID.GetCenter()


@pytest.mark.parametrize("ending", [".tfm", ".txt"])
def test_a_chain_of_linear_transforms_becomes_one_affine(tmp_path, ending):
    chain = sitk.CompositeTransform([RIGID, affine(), sitk.TranslationTransform(3, (1.0, 2.0, 3.0))])
    write_transform(chain, tmp_path / f"t{ending}")
    back = sitk.ReadTransform(str(tmp_path / f"t{ending}")).Downcast()
    assert isinstance(back, sitk.AffineTransform) and same(back, chain)


@pytest.mark.parametrize("ending", [".tfm", ".txt"])
@pytest.mark.parametrize("transform", [affine(), sitk.VersorRigid3DTransform((0, 0, 0.1), 0.2), sitk.Similarity3DTransform(),
                                       sitk.ScaleVersor3DTransform(), sitk.ScaleSkewVersor3DTransform(), sitk.TranslationTransform(3, (1.0, 2.0, 3.0)),
                                       sitk.Transform(3, sitk.sitkIdentity), sitk.ScaleTransform(3, (1.0, 1.1, 0.9)),
                                       sitk.CompositeTransform([RIGID, affine()])], ids=lambda transform: transform.GetName())
def test_every_linear_transform_that_itk_writes_is_read(tmp_path, transform, ending):
    sitk.WriteTransform(transform, str(tmp_path / f"t{ending}"))
    assert same(read_transform(tmp_path / f"t{ending}"), transform)


def test_the_centre_of_an_affine_is_kept(tmp_path):
    write_transform(affine(), tmp_path / "t.tfm")
    back = read_transform(tmp_path / "t.tfm")
    assert back.GetCenter() == (5.0, 6.0, 7.0) and back.GetMatrix() == affine().GetMatrix()
    assert same(as_affine(RIGID), RIGID) and as_affine(RIGID).GetCenter() == RIGID.GetCenter()


def test_a_transform_of_a_published_data_set_is_read_as_itk_reads_it(real_data):
    path = real_data("ms_longitudinal/patient01") / "study1_T2W_intrastudy_to_FLAIR.txt"
    assert same(read_transform(path), sitk.ReadTransform(str(path)))


@pytest.mark.parametrize("text, code", [
    ("", "MRD-E612"), ("hello", "MRD-E612"), ("#Insight Transform File V1.0\n", "MRD-E612"),
    (GOOD.replace(" 4 5 6", " 4 5"), "MRD-E612"), (GOOD.replace(" 4 5 6", " 4 5 six"), "MRD-E612"),
    (GOOD.replace(" 4 5 6", " 4 5 nan"), "MRD-E615"), (GOOD.replace(" 4 5 6", " 4 5 1e999"), "MRD-E615"),
    (GOOD.replace("1 0 0 0 1 0 0 0 1", "0 0 0 0 0 0 0 0 0"), "MRD-E615"),
    (GOOD.replace("Affine", "Wormhole"), "MRD-E613"), (GOOD.replace("_3_3", "_2_2"), "MRD-E612"),
    (GOOD.replace("Affine", "BSpline"), "MRD-E614"), (GOOD.replace("FixedParameters: 1 2 3\n", ""), "MRD-E612"),
    (GOOD + "Parameters: 1\n", "MRD-E612"), (GOOD + "import: os\n", "MRD-E612"), (GOOD + GOOD.partition("0\n")[2], "MRD-E612"),
    (GOOD.replace("Transform: A", "\u0410"), "MRD-E612"), ("#Insight Transform File V1.0\nParameters: 1\n", "MRD-E612"),
    ("#Insight Transform File V1.0\nTransform: CompositeTransform_double_3_3\n", "MRD-E612"),
    ("#Insight Transform File V1.0\nTransform: CompositeTransform_double_3_3\n" + 17 * GOOD.partition("0\n")[2], "MRD-E612"),
])
def test_damaged_and_foreign_text_is_refused_before_itk_sees_it(tmp_path, monkeypatch, text, code):
    if code != "MRD-E615" or "0 0 0 0 0" not in text:
        monkeypatch.setattr(sitk, "ReadTransform", lambda *_: pytest.fail("ITK's reader was asked"))
    (tmp_path / "t.tfm").write_text(text, encoding="utf-8")
    assert refused(tmp_path / "t.tfm").code == code


def test_a_missing_file_a_folder_and_a_large_file_are_refused(tmp_path):
    assert refused(tmp_path / "none.tfm").code == "MRD-E610"
    assert refused(tmp_path).code == "MRD-E610"
    (tmp_path / "big.tfm").write_bytes(b"#Insight Transform File V1.0\n" + b"#" * MAX_BYTES)
    error = refused(tmp_path / "big.tfm")
    assert error.code == "MRD-E611" and "affine" in error.fix


@pytest.mark.parametrize("name", ["t.h5", "renamed.tfm"])
def test_hdf5_is_refused_without_being_opened(tmp_path, monkeypatch, name):
    sitk.WriteTransform(RIGID, str(tmp_path / "t.h5"))
    (tmp_path / "t.h5").rename(tmp_path / name)
    monkeypatch.setattr(sitk, "ReadTransform", lambda *_: pytest.fail("ITK's reader was asked"))
    error = refused(tmp_path / name)
    assert error.code == "MRD-E612" and ".tfm" in error.fix


@pytest.mark.parametrize("ending", [".tfm"])
def test_transforms_that_bend_are_neither_read_nor_written(tmp_path, ending):
    sitk.WriteTransform(spline(), str(tmp_path / f"t{ending}"))
    error = refused(tmp_path / f"t{ending}")
    assert error.code == "MRD-E614" and "rigid" in error.fix
    with pytest.raises(InputError) as caught:
        write_transform(sitk.CompositeTransform([RIGID, spline()]), tmp_path / "out.tfm")
    assert caught.value.code == "MRD-E614" and not (tmp_path / "out.tfm").exists()


def test_a_plane_transform_is_refused(tmp_path):
    sitk.WriteTransform(sitk.Euler2DTransform(), str(tmp_path / "t.tfm"))
    assert refused(tmp_path / "t.tfm").code == "MRD-E613"


@pytest.mark.skipif(os.name == "nt", reason="file names as on POSIX")
def test_a_name_that_is_not_unicode_is_refused_before_it_ends_the_process(tmp_path):
    place = tmp_path / os.fsdecode(b"\xff.tfm")
    place.write_text(GOOD)
    assert refused(place).code == "MRD-E610"
