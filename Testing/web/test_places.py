"""Where things are on the page: what is shown, scrolled, painted and asked lies at its place in the patient, however the scans are stored and turned."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("trame_slicer", reason="needs the packages of the page: pip install 'mrdeltanet[web]'")

from MRDeltaNetLib.mrml import findings, overlays  # noqa: E402
from MRDeltaNetLib.mrml.nodes import matrix_from_vtk  # noqa: E402
from MRDeltaNetLib.mrml.sitting import asking  # noqa: E402
from MRDeltaNetLib.mrml.sitting.choices import SCANS  # noqa: E402
from MRDeltaNetLib.web.views import PLANES, ROLES  # noqa: E402
from Testing.made_up_result import CENTRE_MM, body_with_ball, empty_image, like, voxel_points  # noqa: E402
from Testing.web.inside import SIZE, Inside, pixel  # noqa: E402

PAIRS = [("oblique", "left-handed"), ("axis-permuted", "oblique"), ("left-handed", "axis-permuted")]
TUMOUR = CENTRE_MM + (8, 18, -6)
MOVED = sitk.Transform(sitk.Euler3DTransform(CENTRE_MM.tolist(), 0.05, -0.03, 0.08, (-13.0, 11.0, 9.0)))
"""pre LPS -> post LPS, mm: further than a voxel in every direction."""

BED = np.array(MOVED.TransformPoint(TUMOUR.tolist()))
PLACES = {"pre": TUMOUR, "post": BED}
"""The same place of the patient, LPS in each scan's own space, mm."""

BRUSH_MM = 14


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def inside(request, tmp_path_factory):
    """A page with a bright ball at the same place of the patient in both scans, aligned."""
    made = Inside(tmp_path_factory.mktemp("inside"))
    made.load(**{role: body_with_ball(empty_image(kind), PLACES[role], 14, 250) for role, kind in zip(ROLES, request.param)})
    made.align(MOVED)
    yield made
    made.close()


def picture(page, role: str, plane: str) -> np.ndarray:
    """What a view shows: (row from below, column, 3), 0 to 255."""
    from trame_slicer.rca_view.rca_view_factory import RcaWindow
    window = RcaWindow(page.views.view(role, plane).render_window(), page.state, "cursor")
    for _ in range(2):                                   # the second is drawn with what the first one has brought up to date
        colours, _columns, _rows = window.img_cols_rows
    return colours[::-1].astype(float)


def point_at(node, column: float, row: float) -> np.ndarray:
    """What a view shows at a pixel, row from below: LPS of the first scan, mm."""
    return (matrix_from_vtk(node.GetXYToRAS()) @ [column, row, 0, 1])[:3] * (-1, -1, 1)


def shown_at(page, role: str, plane: str) -> np.ndarray:
    """The middle of what is bright in a view, LPS of the first scan, mm."""
    grey = picture(page, role, plane).mean(axis=-1)
    rows, columns = np.nonzero(grey > 0.9 * grey.max())
    return point_at(page.views.node(role, plane), columns.mean(), rows.mean())


@pytest.mark.parametrize("plane", PLANES)
def test_both_rows_show_the_same_place_of_the_patient(inside, plane):
    inside.close_up(TUMOUR)
    pixel_mm = 120 / min(SIZE)
    for role in ROLES:
        assert np.linalg.norm(inside.do(lambda page: shown_at(page, role, plane)) - TUMOUR) < 1.5 + pixel_mm, role


@pytest.mark.parametrize("role", ROLES)
def test_a_map_over_a_scan_is_seen_at_its_own_place(inside, role):
    """A map with one bright place, in the colours of a map."""
    inside.close_up(TUMOUR)

    def laid(page):
        scan = page.image_of(role)
        values = np.exp(-((voxel_points(scan) - PLACES[role]) ** 2).sum(axis=-1) / 50).astype(np.float32)
        node = overlays.show_map(page.scene, like(values, scan), f"attention_{role}", getattr(page.sitting.choices, SCANS[role]), role, "Attention", "Attention")
        page.views.show_over({role: node}, 1.0)
        colours, place = picture(page, role, "Axial"), page.views.node(role, "Axial")
        yellow = np.clip(colours[..., 0] - colours[..., 2], 0, None)
        rows, columns = np.nonzero(yellow > 0.8 * yellow.max())
        page.views.show_over({}, 0.0)
        return yellow.max(), point_at(place, columns.mean(), rows.mean())
    brightest, seen = inside.do(laid)
    assert brightest > 60 and np.linalg.norm(seen - TUMOUR) < 2


@pytest.mark.parametrize("role", ROLES)
def test_a_slider_moves_both_rows_to_the_same_slice_of_the_patient_and_leaves_the_other_planes(inside, role):
    inside.close_up(TUMOUR)
    planes = lambda: inside.do(lambda page: {each: matrix_from_vtk(page.views.node(*each).GetSliceToRAS()) for each in page.views.places()})
    before, offset = planes(), inside.look(f"slice_{role}_axial")
    inside.sets(**{f"slice_{role}_axial": offset + 7.0})
    after = planes()
    np.testing.assert_allclose(after["pre", "Axial"], after["post", "Axial"], atol=1e-9)
    moved = after["pre", "Axial"][:3, 3] - before["pre", "Axial"][:3, 3]
    assert moved @ before["pre", "Axial"][:3, 2] == pytest.approx(7.0, abs=1e-3)
    assert inside.look("slice_pre_axial") == pytest.approx(offset + 7.0, abs=2e-3) == inside.look("slice_post_axial")
    for plane in PLANES[1:]:
        np.testing.assert_allclose(after["post", plane], before["post", plane], atol=1e-9)
    inside.sets(**{f"slice_{role}_axial": 10.0**6})
    assert inside.look(f"slice_{role}_axial") <= inside.look(f"slice_{role}_axial_high") + 1e-3


@pytest.mark.parametrize("role, plane", [("pre", "Axial"), ("post", "Axial"), ("post", "Sagittal")])
def test_paint_lies_where_the_hand_was_in_the_scans_own_voxels_and_undo_takes_it_away(inside, role, plane):
    inside.sets(step="tumour", outline=role)
    inside.close_up(TUMOUR)
    inside.sets(tool="paint", sphere=True, brush_mm=BRUSH_MM)
    before = inside.masks()
    other = "post" if role == "pre" else "pre"
    inside.click(other, plane, TUMOUR)
    assert inside.masks().keys() == before.keys(), "a stroke in the other scan's view painted"
    inside.click(role, plane, TUMOUR)
    painted = inside.masks()
    assert set(painted) - set(before) == {role}
    found = sitk.LabelShapeStatisticsImageFilter()
    found.Execute(painted[role])
    spacing = np.array(painted[role].GetSpacing())
    assert np.linalg.norm(np.array(found.GetCentroid(1)) - PLACES[role]) < 0.5 * np.linalg.norm(spacing)
    assert found.GetPhysicalSize(1) == pytest.approx(np.pi / 6 * BRUSH_MM**3, rel=0.25)
    inside.sets(tool="erase", brush_mm=BRUSH_MM + 6)
    inside.click(role, plane, TUMOUR)
    assert inside.masks().keys() == before.keys(), "rubbing out at the same place left something"
    for _ in range(2):
        inside.press("undo")
    assert inside.masks().keys() == before.keys() and inside.error() is None


@pytest.mark.parametrize("role, plane", [("pre", "Axial"), ("post", "Axial"), ("post", "Coronal")])
def test_a_disc_is_filled_where_it_is_seen_however_the_voxels_lie_to_the_view(inside, role, plane):
    """Looked up at points of the view's own plane; and no voxel is marked that the plane does not touch, or nearly."""
    inside.sets(step="tumour", outline=role)
    inside.close_up(TUMOUR)
    inside.sets(tool="paint", sphere=False, brush_mm=24)
    inside.click(role, plane, TUMOUR)
    mask = inside.masks()[role]
    right, up, normal = inside.do(lambda page: matrix_from_vtk(page.views.node(role, plane).GetSliceToRAS())[:3, :3].T * (-1, -1, 1))
    to_own = MOVED if role == "post" else sitk.Transform()
    spacing, coarse = np.array(mask.GetSpacing()), max(mask.GetSpacing())

    def marked(radius_mm: float) -> float:
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        points = [TUMOUR + radius_mm * (np.cos(angle) * right + np.sin(angle) * up) for angle in angles]
        return np.mean([mask[mask.TransformPhysicalPointToIndex(to_own.TransformPoint(point.tolist()))] for point in points])
    assert min(marked(radius) for radius in (0.0, 3.0, 6.0, 12 - coarse)) > 0.97 and marked(12 + 1.5 * coarse) == 0
    own = np.array([to_own.GetInverse().TransformPoint(point.tolist()) for point in voxel_points(mask)[sitk.GetArrayViewFromImage(mask) > 0]])
    across = np.array(mask.GetDirection()).reshape(3, 3).T @ (np.array(to_own.TransformVector(normal.tolist(), TUMOUR.tolist())))
    assert abs((own - TUMOUR) @ normal).max() <= (np.abs(across) * spacing).sum() / 2 + 1e-3
    inside.press("undo")


@pytest.mark.parametrize("role", ROLES)
def test_a_threshold_takes_the_ball_and_scissors_cut_where_the_hand_went_through_all_slices(inside, role):
    inside.sets(step="tumour", outline=role)
    inside.close_up(TUMOUR)
    inside.sets(tool="threshold")
    inside.sets(grey_low=200.0, grey_high=10.0**6)
    inside.press("apply")
    whole = inside.masks()[role]
    marked = sitk.GetArrayFromImage(whole) > 0
    scan = inside.do(lambda page: sitk.GetArrayFromImage(page.image_of(role)))
    assert (marked == (scan >= 200)).all()
    inside.sets(tool="scissors", cut="erase_inside")
    left, _, right, high = inside.do(lambda page: (*pixel(page, role, "Axial", TUMOUR), *SIZE))

    corners = inside.do(lambda page: [point_at(page.views.node(role, "Axial"), *place) for place in ((left, 5), (right - 5, 5), (right - 5, high - 5), (left, high - 5))])
    inside.click(role, "Axial", *corners)
    kept = sitk.GetArrayFromImage(inside.masks()[role]) > 0
    to_pre = MOVED.GetInverse() if role == "post" else sitk.Transform()
    matrix = inside.do(lambda page: np.linalg.inv(matrix_from_vtk(page.views.node(role, "Axial").GetXYToRAS())))
    points = np.array([to_pre.TransformPoint(point.tolist()) for point in voxel_points(whole)[marked]]) * (-1, -1, 1)
    columns = (points @ matrix[:3, :3].T + matrix[:3, 3])[:, 0]
    voxel_pixels = max(whole.GetSpacing()) / (120 / min(SIZE))
    sure = np.abs(columns - left) > voxel_pixels
    assert (kept[marked] == (columns < left))[sure].all() and 0.2 < kept.sum() / marked.sum() < 0.8 and sure.sum() > 20
    for _ in range(2):
        inside.press("undo")
    assert role not in inside.masks() and inside.error() is None


def test_a_click_on_the_second_scan_asks_about_that_place_in_its_own_space(inside, monkeypatch):
    asked = []

    def ask(choices, _result):
        asked.append(findings.asked_point(choices.point))
        raise asking.UsageError("enough", code="MRD-E849")
    monkeypatch.setattr(asking, "can_ask", lambda _result: True)
    monkeypatch.setattr(asking, "ask", ask)
    inside.sets(step="explain")
    inside.close_up(TUMOUR)
    inside.press("pick")
    inside.click("post", "Axial", TUMOUR)
    inside.press("ask_here")
    for point in asked:
        np.testing.assert_allclose(point, BED, atol=0.5)
    assert len(asked) == 2 and inside.error() == "MRD-E849"
