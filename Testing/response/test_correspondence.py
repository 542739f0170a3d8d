"""Where a place of the post scan looks: the right place through any geometry and alignment, and what is said beside it. Made-up shares."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MRDeltaNetLib.case import Correspondence, Result
from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.io.results import write_results
from MRDeltaNetLib.models.comparison import TokenShares
from MRDeltaNetLib.models.registry import build
from MRDeltaNetLib.response import correspondence, prediction
from MRDeltaNetLib.response.correspondence import query, query_result
from Testing.made_up_result import GRIDS
from Testing.quick_networks import without_encoder

TOKENS, STRIDE = (3, 4, 5), (2, 4, 3)
"""z, y, x."""

MOVED = sitk.Euler3DTransform((10.0, -20.0, 5.0), 0.1, -0.2, 0.3, (4.0, -7.0, 2.5))
"""Pre LPS -> post LPS."""

KINDS = list(GRIDS)


def grid_of(kind: str = "straight") -> sitk.Image:
    grid = sitk.Image([count * step for count, step in zip(TOKENS, STRIDE)][::-1], sitk.sitkUInt8)
    grid.SetSpacing((0.8, 1.1, 3.0))
    grid.SetDirection([float(value) for value in GRIDS[kind]["direction"]])
    grid.SetOrigin((12.0, -30.0, 45.0))
    return grid


def looking(shift: tuple[int, int, int] = (0, 0, 0), kind: str = "straight", comparison: str = "content", by_slice: bool = False) -> Correspondence:
    """Each post token looks at the one that lies (z, y, x) tokens further, round the edges."""
    count = int(np.prod(TOKENS))
    numbers = np.arange(count).reshape(TOKENS)
    aims = np.roll(numbers, [-s for s in shift], (0, 1, 2)).ravel()
    shares = np.zeros((count, count), np.float16)
    shares[np.arange(count), aims] = 1
    if by_slice:
        size = count // TOKENS[0]
        shares = np.stack([shares[k * size:(k + 1) * size, k * size:(k + 1) * size] for k in range(TOKENS[0])])
    return Correspondence(shares if by_slice else shares[None], TOKENS, grid_of(kind), comparison)


def centre_mm(grid: sitk.Image, token: tuple[int, int, int]) -> np.ndarray:
    """Middle of the token's first and last voxel's centres, by SimpleITK."""
    ends = [grid.TransformIndexToPhysicalPoint([int((t + end) * s - end) for t, s in zip(token, STRIDE)][::-1]) for end in (0, 1)]
    return np.mean(ends, axis=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift, by_slice", [((0, 0, 0), False), ((0, 0, 0), True), ((1, -1, 2), False), ((0, 2, 1), True)])
def test_the_right_place_is_found_through_any_geometry_and_alignment(kind, shift, by_slice):
    given = looking(shift, kind, by_slice=by_slice)
    for token in ((0, 0, 0), (1, 2, 3), (2, 3, 4)):
        own = centre_mm(given.grid, token)
        aim = tuple((t + s) % n for t, s, n in zip(token, shift, TOKENS))
        answer = query(given, MOVED.TransformPoint(own.tolist()), MOVED)
        assert answer.point_lps_mm == pytest.approx(own, abs=1e-6) and answer.token_lps_mm == pytest.approx(own, abs=1e-6)
        assert answer.peak_lps_mm == pytest.approx(centre_mm(given.grid, aim), abs=1e-6) == answer.centroid_lps_mm
        assert answer.spread_mm == pytest.approx(0, abs=1e-6) and answer.peak_share == 1
        assert answer.displacement_mm == pytest.approx(np.linalg.norm(centre_mm(given.grid, aim) - own), abs=1e-6) == answer.mean_displacement_mm
        index = answer.map.TransformPhysicalPointToIndex(answer.peak_lps_mm)
        values = sitk.GetArrayViewFromImage(answer.map)
        assert answer.map[index] == 1 and values.sum() == pytest.approx(np.prod(STRIDE)) and answer.map.GetDirection() == given.grid.GetDirection()


def test_any_place_of_a_token_has_the_token_s_answer_and_only_its_own_distance_is_measured():
    """Half a millimetre inside the token's faces; a token that looks at itself has looked 0 mm away."""
    given = looking()
    low, high = (given.grid.TransformContinuousIndexToPhysicalPoint(corner) for corner in ((2.6, 3.6, 1.6), (5.4, 7.4, 3.4)))
    for point in (low, high):
        answer = query(given, point, sitk.Transform(3, sitk.sitkIdentity))
        assert answer.token_lps_mm == pytest.approx(centre_mm(given.grid, (1, 1, 1))) and answer.displacement_mm == 0
        assert answer.point_lps_mm == pytest.approx(point)


def test_two_places_have_their_mean_and_spread_by_hand():
    given = looking()
    shares = np.zeros_like(given.shares)
    shares[0, :, 0], shares[0, :, 3] = 0.75, 0.25                            # tokens 0 and 3 of the first row: 9 voxels of 0.8 mm apart
    answer = query(replace(given, shares=shares), given.grid.GetOrigin(), sitk.Transform(3, sitk.sitkIdentity))
    assert answer.peak_share == 0.75 and answer.displacement_mm == 0
    assert answer.mean_displacement_mm == pytest.approx(0.25 * 7.2) and answer.spread_mm == pytest.approx(7.2 * np.sqrt(0.75 * 0.25))
    assert np.unique(sitk.GetArrayViewFromImage(answer.map)).tolist() == pytest.approx([0, 1 / 3, 1])
    assert answer.resolution_mm == pytest.approx((2.4, 4.4, 6.0))


def test_what_float16_rounded_is_a_mean_again():
    given = looking()
    shares = np.full_like(given.shares, 1 / 60)
    answer = query(replace(given, shares=shares), given.grid.GetOrigin(), sitk.Transform(3, sitk.sitkIdentity))
    whole = given.grid.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in given.grid.GetSize()])
    assert answer.centroid_lps_mm == pytest.approx(whole, abs=1e-9) and answer.peak_share == pytest.approx(1 / 60)


@pytest.mark.parametrize("beyond", [(-0.5 - 1e-3, 0, 0), (0, 15.5 + 1e-3, 0), (0, 0, -20)])
def test_a_point_outside_of_the_crop_is_refused_with_its_distance(beyond):
    given = looking(kind="oblique")
    point = given.grid.TransformContinuousIndexToPhysicalPoint([float(value) for value in beyond])
    with pytest.raises(InputError) as caught:
        query(given, MOVED.TransformPoint(point), MOVED)
    assert caught.value.code == "MRD-E881" and "mm outside of the crop" in caught.value.found
    if beyond[2]:
        assert caught.value.found == "58.5 mm outside of the crop"           # 19.5 slices of 3 mm


def test_the_outermost_half_voxel_belongs_to_the_crop():
    given = looking()
    for corner in ((-0.499, -0.499, -0.499), (14.499, 15.499, 5.499)):
        query(given, given.grid.TransformContinuousIndexToPhysicalPoint(corner), sitk.Transform(3, sitk.sitkIdentity))


@pytest.mark.parametrize("point", [(1, 2), (1, 2, 3, 4), (1, 2, float("nan")), (1, 2, "three"), None, (float("inf"), 0, 0)])
def test_what_is_no_point_is_refused(point):
    with pytest.raises(UsageError) as caught:
        query(looking(), point, MOVED)
    assert caught.value.code == "MRD-E882" and "LPS" in caught.value.fix


def test_an_alignment_that_bends_is_refused():
    with pytest.raises(InputError) as caught:
        query(looking(), (0, 0, 0), sitk.Transform(sitk.BSplineTransform(3, 3)))
    assert caught.value.code == "MRD-E614"


@pytest.mark.parametrize("comparison, said", [("content", ""), ("position", "by position only"), ("same place", "with itself")])
def test_an_answer_that_rests_on_no_image_says_so(comparison, said):
    given = looking(comparison=comparison)
    answer = query(given, given.grid.GetOrigin(), sitk.Transform(3, sitk.sitkIdentity))
    assert answer.sees_image_content is (comparison == "content") and said in answer.note and bool(answer.note) is bool(said)


def test_the_map_on_the_pre_scan_s_grid_has_its_largest_value_at_the_peak():
    given = looking((0, 1, 1), "oblique")
    scan = sitk.Image(80, 70, 20, sitk.sitkFloat32)
    scan.SetSpacing((0.7, 0.9, 3.5))
    scan.SetOrigin((0.0, -45.0, 30.0))
    answer = query(given, MOVED.TransformPoint(centre_mm(given.grid, (1, 1, 1)).tolist()), MOVED)
    shown = correspondence.on_scan(answer, scan)
    inside = np.argwhere(sitk.GetArrayViewFromImage(shown) == 1)
    middle = np.mean([scan.TransformIndexToPhysicalPoint(index[::-1].tolist()) for index in inside], axis=0)
    assert shown.GetSize() == scan.GetSize() and len(inside) and np.linalg.norm(middle - answer.peak_lps_mm) < 2.0


# ---- of a finished run

@pytest.fixture
def finished(tmp_path) -> Path:
    """The folder of a run: a correspondence, an alignment, the numbers and the manifest."""
    given = Result(correspondence=looking((0, 1, 1), "oblique", "position"), transform=MOVED)
    write_results(given, tmp_path / "out", manifest={})
    return tmp_path / "out"


def inside(shift: tuple[float, float, float] = (0, 0, 0)) -> tuple[float, ...]:
    """A place of the post scan in token (1, 1, 1)."""
    return MOVED.TransformPoint((centre_mm(grid_of("oblique"), (1, 1, 1)) + shift).tolist())


def test_a_finished_run_answers_as_its_parts_do(finished):
    answer, expected = query_result(finished, inside()), query(looking((0, 1, 1), "oblique", "position"), inside(), MOVED)
    assert answer.peak_lps_mm == pytest.approx(expected.peak_lps_mm) and answer.peak_lps_mm == pytest.approx(centre_mm(grid_of("oblique"), (1, 2, 2)))
    assert answer.note == expected.note and answer.spread_mm == pytest.approx(expected.spread_mm)


def test_a_run_without_correspondence_says_why(tmp_path):
    for given, why in ((Result(transform=MOVED, no_correspondence="it compares no places"), "compares no places"), (Result(transform=MOVED), "without the step 'explain'")):
        write_results(given, tmp_path / "out", manifest={})
        with pytest.raises(InputError) as caught:
            query_result(tmp_path / "out", inside())
        assert caught.value.code == "MRD-E883" and why in caught.value.found


@pytest.mark.parametrize("name", ["result.json", "manifest.json"])
def test_a_folder_without_a_finished_run_is_refused(finished, name):
    (finished / name).unlink()
    with pytest.raises(InputError) as caught:
        query_result(finished, inside())
    assert caught.value.code == "MRD-E883" and name in caught.value.found and str(finished) not in str(caught.value)


@pytest.mark.parametrize("name", ["registration.tfm", "correspondence.safetensors"])
@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes() + b"\n")])
def test_a_file_that_was_changed_since_the_run_is_refused(finished, name, change):
    """An edited alignment would send the point elsewhere than the run's own maps went."""
    change(finished / name)
    with pytest.raises(InputError) as caught:
        query_result(finished, inside())
    assert caught.value.code == "MRD-E884" and caught.value.found == name


def asked(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "query", *map(str, arguments)], capture_output=True, text=True,
                          cwd=Path(__file__).resolve().parents[2])


def test_the_command_prints_what_the_library_answers(finished):
    answer, point = query_result(finished, inside()), ",".join(f"{value:.6f}" for value in inside())
    done = asked(finished, "--point", point)
    assert done.returncode == 0, done.stderr
    assert ", ".join(f"{value:.1f}" for value in answer.peak_lps_mm) in done.stdout and f"{answer.displacement_mm:.1f} mm from its token" in done.stdout
    assert "by position only" in done.stdout
    said = json.loads(asked(finished, "--point", point, "--json").stdout)
    assert said["peak_lps_mm"] == pytest.approx(answer.peak_lps_mm) and said["spread_mm"] == answer.spread_mm and "map" not in said


def test_a_place_with_negative_numbers_is_no_option(finished):
    """Also before the crop: the distance is told, with status 3."""
    done = asked(finished, "--point", "-500,-500,-500")
    assert done.returncode == 3 and "MRD-E881" in done.stderr and "outside of the crop" in done.stderr


@pytest.mark.parametrize("point", ["1,2", "a,b,c", "1;2;3", "", "nan,0,0"])
def test_the_command_refuses_what_is_no_point(finished, point):
    done = asked(finished, "--point", point)
    assert done.returncode == 2 and "MRD-E882" in done.stderr


# ---- from a network

OWN = {"recalibration": {"slope": 1.0, "intercept": 0.0}, "threshold": 0.5}
CROP = {"preset": "tiny", "spacing_mm": (2.0, 2.0, 5.0), "crop_mm": (64.0, 64.0, 20.0), "auxiliary": False}


def predicted(name: str = "deltanet", members: int = 1, **settings):
    torch.manual_seed(1)
    network = without_encoder(build(name, members=members, **CROP, **settings))
    prepared = SimpleNamespace(tensor=torch.rand(2, 2, 4, 32, 32, generator=torch.Generator().manual_seed(3)), outlines={})
    grid = sitk.Image(32, 32, 4, sitk.sitkUInt8)
    grid.SetSpacing(CROP["spacing_mm"])
    return prediction.predict(prepared, network, OWN, device="cpu"), grid


def test_a_network_that_compares_by_position_looks_around_its_own_place():
    """Untrained, without content: the prior's Gaussian around the token, in its own slice, and said to be position only."""
    found, why = correspondence.from_prediction(*predicted(compare="local", content=False))
    answer = query(found, found.grid.TransformContinuousIndexToPhysicalPoint((12.0, 12.0, 2.0)), sitk.Transform(3, sitk.sitkIdentity))
    assert why is None and found.shares.shape == (2, 16, 16) and found.comparison == "position" and answer.note
    shares = correspondence.row(found, (1, 1, 1))
    size, w = 16.0, torch.softmax(torch.tensor([0.0, -4.0]), 0).numpy()      # initial scale 1 token; the ROI frame has no weight in "local"
    axis = np.exp(-0.5 * ((np.arange(4) - 1) * size / size) ** 2)
    expected = w[0] * np.outer(axis, axis) / axis.sum() ** 2 + w[1] / 16
    assert shares[1] == pytest.approx(expected, abs=5e-4) and not shares[0].any() and answer.displacement_mm == 0


@pytest.mark.parametrize("settings", [{}, {"compare": "full"}, {"compare": "anchored+latent"}, {"members": 2}])
def test_the_shares_carry_what_the_network_carries(settings):
    """One scale alone, so that the map is that of the finest scale; within what float16 rounds."""
    said, grid = predicted(scales="fine", **settings)
    found, _ = correspondence.from_prediction(said, grid)
    assert found.comparison == "content" and found.members == settings.get("members", 1)
    if "members" not in settings:                                            # a mean of products is not the product of means
        weights = said.output.attention_post[0].numpy().reshape(len(found.shares), 1, -1)
        assert (weights @ found.shares.astype(np.float32)).ravel() == pytest.approx(said.output.attention_pre[0].numpy().ravel(), abs=2e-4)
    assert np.abs(found.shares.sum(-1, dtype=np.float64) - 1).max() < 1e-3


def test_the_same_case_gives_the_same_shares_bit_for_bit():
    first, second = (correspondence.from_prediction(*predicted(members=2))[0].shares for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name, settings", [("roi_pooled", {}), ("deltanet", {"compare": "pool"})])
def test_a_network_that_compares_no_places_says_why_there_is_nothing(name, settings):
    found, why = correspondence.from_prediction(*predicted(name, **settings))
    assert found is None and "compares no place" in why


def test_shares_beyond_the_limit_are_not_made(monkeypatch):
    monkeypatch.setattr(correspondence, "MAX_SHARE_BYTES", 2 * 2 * 16 ** 2 - 1)
    found, why = correspondence.from_prediction(*predicted())
    assert found is None and "32 tokens" in why


def test_shares_that_are_not_finite_are_refused():
    said, grid = predicted()
    odd = TokenShares(2, lambda block, part: torch.full((1, 16, 16), float("nan"))[:, part])
    with pytest.raises(InputError) as caught:
        correspondence.from_prediction(replace(said, shares=odd), grid)
    assert caught.value.code == "MRD-E707"
