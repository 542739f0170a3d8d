"""prepare(): two aligned visits become a network's input. Made-up pelves; nothing here is a clinical claim."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.config import PreprocessingConfig
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging.preprocessing import in_axial_order, prepare
from Testing.imaging.shapes import STORAGES, grid, on, pelvis, places, rigid, rotation, stored_visit

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("monai", reason="monai is not installed")

CONFIG = PreprocessingConfig(spacing_mm=(1.5, 1.5, 3.0), crop_mm=(60.0, 54.0, 48.0))
OBLIQUE = rotation(0.25, -0.1, 0.15)
PRE_TO_POST = rigid((0.06, -0.04, 0.08), (4.0, -3.0, 2.0))
SAME_TENSOR = 1e-5


def pair(axes=OBLIQUE, noise=0.0):
    pre = pelvis(grid((76, 68, 26), (1.7, 1.7, 4.0), axes, (1.0, 2.0, 0.0)), noise=noise)
    post = pelvis(grid((95, 85, 30), (1.4, 1.4, 3.5), rotation(0.2, -0.12, 0.2), (4.0, 0.0, 2.0)), PRE_TO_POST.GetInverse(), noise=noise)
    return pre, post


@pytest.fixture(scope="module")
def visits():
    return pair()


@pytest.fixture(scope="module")
def prepared(visits):
    return prepare(*visits, PRE_TO_POST, CONFIG)


def test_the_tensor_is_timepoint_channel_depth_height_width(prepared):
    assert type(prepared.tensor) is torch.Tensor and prepared.tensor.dtype == torch.float32
    assert tuple(prepared.tensor.shape) == (2, 2, 16, 36, 40)
    assert prepared.grid.GetSize() == (40, 36, 16) and prepared.grid.GetSpacing() == CONFIG.spacing_mm
    assert torch.isfinite(prepared.tensor).all() and prepared.tensor.is_contiguous()


def test_the_default_crop_is_24_x_128_x_128_voxels(visits):
    assert tuple(prepare(*visits, PRE_TO_POST).tensor.shape) == (2, 2, 24, 128, 128)


def test_the_grid_keeps_the_obliquity_of_the_pre_scan_and_centres_on_both_masks(visits, prepared):
    assert np.allclose(prepared.grid.GetDirection(), OBLIQUE.ravel(), atol=1e-9)
    centre = prepared.grid.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in prepared.grid.GetSize()])
    assert np.linalg.norm(np.array(centre) - (2.0, 8.0, -3.0)) < 0.5 * 1.7          # both masks mark the same tumour
    assert np.allclose(prepared.parameters["centre_lps_mm"], centre, atol=1e-6)


def test_the_centre_is_the_centroid_of_the_union_of_tumour_and_carried_bed(visits):
    pre, post = visits
    wider = pelvis(post.image, PRE_TO_POST.GetInverse(), tumour_mm=(10.0, 8.0, -3.0), radii_mm=(20.0, 9.0, 14.0))
    found = prepare(pre, Timepoint(post.image, wider.mask), PRE_TO_POST, CONFIG).parameters["centre_lps_mm"]
    fine = places(grid((120, 120, 120), (0.6, 0.6, 0.6), centre_mm=(8.0, 8.0, -3.0)))
    union = ((((fine - (2.0, 8.0, -3.0)) / (12.0, 9.0, 14.0)) ** 2).sum(-1) < 1) | ((((fine - (10.0, 8.0, -3.0)) / (20.0, 9.0, 14.0)) ** 2).sum(-1) < 1)
    assert np.linalg.norm(np.array(found) - fine[union].mean(axis=0)) < 0.5 * 1.7


@pytest.mark.parametrize("how", STORAGES)
@pytest.mark.parametrize("which", ["pre", "post"])
def test_how_a_scan_is_stored_does_not_change_what_the_network_sees(visits, prepared, how, which):
    pre, post = visits
    again = prepare(stored_visit(pre, how), post, PRE_TO_POST, CONFIG) if which == "pre" else prepare(pre, stored_visit(post, how), PRE_TO_POST, CONFIG)
    assert torch.abs(again.tensor - prepared.tensor).max() < SAME_TENSOR
    assert np.allclose(again.grid.GetOrigin(), prepared.grid.GetOrigin(), atol=1e-6)
    assert np.allclose(again.grid.GetDirection(), prepared.grid.GetDirection(), atol=1e-9)


def test_moving_patient_and_scans_together_does_not_change_what_the_network_sees(visits, prepared):
    def moved(image, by):
        turn = np.array(by.GetMatrix()).reshape(3, 3)
        image = sitk.Image(image)
        image.SetOrigin(by.TransformPoint(image.GetOrigin()))
        image.SetDirection((turn @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
        return image
    one, other = rigid((0.05, 0.08, -0.1), (30.0, -20.0, 55.0)), rigid((-0.08, 0.03, 0.05), (-12.0, 9.0, 80.0))
    pre, post = (Timepoint(moved(visit.image, by), moved(visit.mask, by)) for visit, by in zip(visits, (one, other)))
    between = sitk.CompositeTransform([other, PRE_TO_POST, one.GetInverse()])
    assert torch.abs(prepare(pre, post, between, CONFIG).tensor - prepared.tensor).max() < 1e-3


@pytest.mark.parametrize("axes", [((0, 1, 0), (0, 0, 1), (1, 0, 0)), ((1, 0, 0), (0, 0, 1), (0, 1, 0))], ids=["sagittal", "coronal"])
def test_sagittal_and_coronal_scans_end_in_axial_order(axes):
    columns = np.array(axes, dtype=float).T
    thick = grid((90, 90, 30), (1.4, 1.4, 4.0), columns)
    visit = pelvis(thick)
    ready = prepare(visit, visit, rigid(), CONFIG)
    assert np.allclose(ready.grid.GetDirection(), np.eye(3).ravel())
    where = (ready.tensor[0, 1].numpy()[..., None] * places(ready.grid)).sum((0, 1, 2)) / ready.tensor[0, 1].numpy().sum()
    assert np.linalg.norm(where - (2.0, 8.0, -3.0)) < 1.0


def test_each_voxel_shows_the_scan_at_its_own_place():
    """Both scans are straight ramps in their own space, so the truth at a voxel is a formula."""
    def ramp(visit):
        where = places(visit.image)
        inside = sitk.GetArrayViewFromImage(visit.image) > 10
        return Timepoint(on(visit.image, np.where(inside, 500 + where @ (1.0, 1.5, 2.0), 0).astype(np.float32)), visit.mask)
    pre, post = (ramp(visit) for visit in pair())
    ready = prepare(pre, post, PRE_TO_POST, replace(CONFIG, crop_mm=(30.0, 30.0, 30.0)))
    where = places(ready.grid)
    in_post = np.array([PRE_TO_POST.TransformPoint(p) for p in where.reshape(-1, 3).tolist()]).reshape(where.shape)
    for k, (role, place) in enumerate((("pre", where), ("post", in_post))):
        numbers = ready.parameters[role]
        truth = (np.clip(500 + place @ (1.0, 1.5, 2.0), numbers["low"], numbers["high"]) - numbers["mean"]) / numbers["sd"]
        assert np.abs(ready.tensor[k, 0].numpy() - truth).max() < 0.02


def test_the_roi_channel_is_the_mask_at_its_place_softened_in_plane(visits, prepared):
    roi = prepared.tensor[:, 1].numpy().astype(float)
    assert roi.min() >= 0 and roi.max() <= 1 and roi.max() > 0.97
    step = np.prod(CONFIG.spacing_mm)
    truth = 4 / 3 * np.pi * 12 * 9 * 14
    sharp = prepare(*visits, PRE_TO_POST, replace(CONFIG, roi_sigma_mm=1e-6)).tensor[:, 1].numpy().astype(float)
    axes = np.array(prepared.grid.GetDirection()).reshape(3, 3)
    for k in range(2):
        assert abs(roi[k].sum() * step / truth - 1) < 0.03
        where = places(prepared.grid)
        centroid = (roi[k][..., None] * where).sum((0, 1, 2)) / roi[k].sum()
        assert np.linalg.norm(centroid - (2.0, 8.0, -3.0)) < 0.3
        along = (where - centroid) @ axes
        spread = np.subtract(*((part[..., None] * along ** 2).sum((0, 1, 2)) / part.sum() for part in (roi[k], sharp[k])))
        assert np.allclose(spread, [1.5 ** 2, 1.5 ** 2, 0.0], atol=1.5 ** 2 / 12 + 0.01)   # a voxel's own width adds a twelfth


def test_normalisation_ignores_gain_and_offset(visits, prepared):
    pre, post = visits
    louder = Timepoint(pre.image * 3.5, pre.mask)
    assert torch.abs(prepare(louder, post, PRE_TO_POST, CONFIG).tensor - prepared.tensor).max() < 1e-3


def test_a_change_of_the_tumour_is_not_normalised_away(visits, prepared):
    """Only the tumour's own signal differs, so only its neighbourhood may differ in the network's input."""
    pre, post = visits
    bright = prepare(pelvis(pre.image, tumour_signal=480.0), post, PRE_TO_POST, CONFIG)
    change = (bright.tensor - prepared.tensor)[0, 0].numpy()
    roi = prepared.tensor[0, 1].numpy()
    away = (((places(prepared.grid) - (2.0, 8.0, -3.0)) / (12.0 + 8, 9.0 + 8, 14.0 + 12)) ** 2).sum(-1) > 1
    assert np.abs(change[away]).max() < 0.05 and change[roi > 0.99].min() > 1.0
    assert bright.parameters["pre"]["mean"] == prepared.parameters["pre"]["mean"]


def test_the_body_outside_the_tumour_has_mean_0_and_sd_1(visits, prepared):
    from MRDeltaNetLib.imaging.preprocessing import body_mask
    from MRDeltaNetLib.imaging.preprocessing.intensity import grown
    image, mask = (in_axial_order(part) for part in (visits[0].image, visits[0].mask))
    normal = (sitk.GetArrayFromImage(body_mask(image)) > 0) & ~grown(mask, CONFIG.exclusion_margin_mm)
    numbers = prepared.parameters["pre"]
    low, high = np.percentile(sitk.GetArrayFromImage(image)[normal], CONFIG.clip_percentiles)
    z = (np.clip(sitk.GetArrayFromImage(image)[normal].astype(float), low, high) - numbers["mean"]) / numbers["sd"]
    assert abs(z.mean()) < 1e-3 and abs(z.std() - 1) < 1e-3
    assert prepared.tensor[0, 0].min() >= (low - numbers["mean"]) / numbers["sd"] - 1e-4
    assert prepared.tensor[0, 0].max() <= (high - numbers["mean"]) / numbers["sd"] + 1e-4


def test_outside_the_field_of_view_stands_the_body_median_and_a_warning(visits):
    pre, post = visits
    cut = [sitk.RegionOfInterest(in_axial_order(part), [76, 68, 13], [0, 0, 9]) for part in (pre.image, pre.mask)]
    ready = prepare(Timepoint(*cut), post, PRE_TO_POST, CONFIG)
    numbers = ready.parameters["pre"]
    outside = ready.tensor[0, 0].numpy()[:3]                                     # the lowest slices of the crop
    assert np.allclose(outside, (numbers["median"] - numbers["mean"]) / numbers["sd"], atol=1e-4)
    assert 0.1 < numbers["padded_fraction"] < 0.6 and ready.parameters["post"]["padded_fraction"] == 0
    far = [sitk.RegionOfInterest(in_axial_order(part), [76, 68, 8], [0, 0, 9]) for part in (pre.image, pre.mask)]
    assert "MRD-W740" in [notice.code for notice in prepare(Timepoint(*far), post, PRE_TO_POST, CONFIG).notices]


def test_a_tumour_longer_than_the_crop_is_warned_about(visits):
    ready = prepare(*visits, PRE_TO_POST, replace(CONFIG, crop_mm=(30.0, 30.0, 12.0)))
    assert {notice.code for notice in ready.notices} == {"MRD-W741"} and len(ready.notices) == 2
    assert ready.parameters["pre"]["roi_inside_fraction"] < 0.95


def test_masks_of_different_places_are_refused_instead_of_judging_neither(visits):
    """A bed drawn at the hip: the crop between both masks would hold hardly anything of either."""
    pre, post = visits
    hip = pelvis(post.image, PRE_TO_POST.GetInverse(), tumour_mm=(48.0, 8.0, -3.0), radii_mm=(9.0, 9.0, 12.0))
    with pytest.raises(InputError) as caught:
        prepare(pre, replace(post, mask=hip.mask), PRE_TO_POST, replace(CONFIG, crop_mm=(42.0, 42.0, 36.0)))
    assert caught.value.code == "MRD-E747" and "same site" in caught.value.fix and "42 x 42 x 36 mm" in caught.value.found


def test_a_bed_beside_the_tumour_is_warned_about(visits):
    pre, post = visits
    for away_mm, expected in ((28.0, {"MRD-W748"}), (12.0, set())):
        beside = pelvis(post.image, PRE_TO_POST.GetInverse(), tumour_mm=(2.0 + away_mm, 8.0, -3.0), radii_mm=(9.0, 9.0, 12.0))
        assert {notice.code for notice in prepare(pre, replace(post, mask=beside.mask), PRE_TO_POST, CONFIG).notices} == expected


def test_a_case_without_trouble_has_no_warning(prepared):
    assert prepared.notices == () and prepared.parameters["pre"]["roi_inside_fraction"] > 0.97


def test_bias_correction_is_part_of_the_same_path():
    visit = pelvis(grid((50, 44, 18), (2.6, 2.6, 5.0), OBLIQUE))
    fast = prepare(visit, visit, rigid(), replace(CONFIG, bias_correction="fast"))
    assert fast.parameters["bias_correction"] == "fast" and torch.isfinite(fast.tensor).all()


def test_the_same_case_gives_the_same_bytes(visits, prepared):
    assert torch.equal(prepare(*visits, PRE_TO_POST, CONFIG).tensor, prepared.tensor)


def empty(mask):
    return mask * 0


@pytest.mark.parametrize("change, code, remedy", [
    (lambda pre, post: (replace(pre, mask=None), post), "MRD-E350", "pre mask"),
    (lambda pre, post: (pre, replace(post, mask=None)), "MRD-E351", "post mask"),
    (lambda pre, post: (replace(pre, mask=empty(pre.mask)), post), "MRD-E352", "draw the tumour"),
    (lambda pre, post: (pre, replace(post, mask=empty(post.mask))), "MRD-E353", "complete response"),
    (lambda pre, post: (replace(pre, image=pre.image * 0), post), "MRD-E742", "choose another scan"),
    (lambda pre, post: (replace(pre, image=pre.image / 0), post), "MRD-E742", "export the scan again"),
    (lambda pre, post: (replace(pre, mask=pre.mask * 0 + 1), post), "MRD-E745", "check that the mask"),
], ids=["no tumour", "no bed", "empty tumour", "empty bed", "constant", "not finite", "mask covers all"])
def test_what_cannot_be_prepared_is_refused_with_a_remedy(visits, change, code, remedy):
    with pytest.raises(InputError) as caught:
        prepare(*change(*visits), PRE_TO_POST, CONFIG)
    assert caught.value.code == code and remedy in caught.value.fix


def test_a_deformable_transform_does_not_feed_the_network(visits):
    bent = sitk.DisplacementFieldTransform(sitk.Image((4, 4, 4), sitk.sitkVectorFloat64))
    with pytest.raises(InputError) as caught:
        prepare(*visits, bent, CONFIG)
    assert caught.value.code == "MRD-E740" and "rigid" in caught.value.fix


def test_a_tensor_that_is_not_finite_is_refused(visits, monkeypatch):
    from MRDeltaNetLib.imaging.preprocessing import preparation
    monkeypatch.setattr(preparation, "_channels", lambda *_: torch.full((2, 2, 2, 2), float("nan")))
    with pytest.raises(InputError) as caught:
        prepare(*visits, PRE_TO_POST, CONFIG)
    assert caught.value.code == "MRD-E746" and "transform" in caught.value.fix


def test_a_real_oblique_pelvis_moved_and_stored_left_handed_looks_the_same_at_both_times(real_data):
    """The second time point is the first one lying elsewhere, so both halves of the tensor must agree."""
    folder = real_data("prostatex_dicom/ProstateX-0000/07-07-2011/4.000000-t2tsetra-00702")
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)), sitk.sitkFloat32)
    centre = image.TransformContinuousIndexToPhysicalPoint([n / 2 for n in image.GetSize()])
    mask = on(image, (np.linalg.norm(places(image) - centre, axis=-1) < 14).astype(np.uint8))
    by = rigid((0.1, -0.05, 0.2), (25.0, -14.0, 60.0))
    later = [sitk.Image(part) for part in (image, mask)]
    for part in later:
        part.SetOrigin(by.TransformPoint(part.GetOrigin()))
        part.SetDirection((np.array(by.GetMatrix()).reshape(3, 3) @ np.array(part.GetDirection()).reshape(3, 3)).ravel().tolist())
    ready = prepare(Timepoint(image, mask), stored_visit(Timepoint(*later), "left-handed"), by)
    assert torch.abs(ready.tensor[0] - ready.tensor[1]).max() < 1e-2 and ready.tensor[0, 0].std() > 0.5
    assert np.allclose(ready.grid.GetDirection(), image.GetDirection(), atol=1e-6) and ready.parameters["pre"]["roi_inside_fraction"] > 0.99
