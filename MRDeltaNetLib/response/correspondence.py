"""Where in the pre-treatment scan does a place of the post-treatment scan look?

Every post token is compared with a mean of pre tokens; the shares of that mean are the answer. They say with what the network compared, not
what it concluded, and their resolution is that of the tokens. Reading and asking needs numpy and SimpleITK only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Correspondence
from MRDeltaNetLib.errors import InputError, UsageError, require
from MRDeltaNetLib.io.correspondence import FILE, MAX_SHARE_BYTES, ROW_TOLERANCE, read_correspondence
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.results import TRANSFORM
from MRDeltaNetLib.io.transforms import as_affine, read_transform
from MRDeltaNetLib.response.prediction import fixed_threads

if TYPE_CHECKING:
    from MRDeltaNetLib.response.prediction import Prediction

__all__ = ["Answer", "Correspondence", "from_prediction", "on_scan", "query", "query_result", "read_correspondence"]

ROWS_AT_ONCE = 512

NO_PLACES = "this network compares no place of one scan with places of the other"
NOTES = {"content": "", "position": "the model compares by position only: this is not what it saw",
         "same place": "the model compares each place with itself: this is not what it saw"}


@dataclass(frozen=True, eq=False)
class Answer:
    """Where one place of the post scan looks. Points are LPS mm in the pre scan's space.

    map               sitk.Image, float32, on the crop grid: each token's share over the largest, 0 to 1, on all of the token's voxels
    point_lps_mm      the point that was asked for; token_lps_mm the centre of the token that it lies in
    peak_lps_mm       centre of the pre token with the largest share; peak_share that share
    centroid_lps_mm   mean of the token centres, weighted by their shares
    spread_mm         root of the mean squared distance from the centroid, weighted by the shares
    displacement_mm   from the point's own token to the peak; mean_displacement_mm to the centroid. Both begin at the token's centre, so that a
                      token that looks at its own place has 0
    resolution_mm     size (x, y, z) of a token
    sees_image_content  False: the answer would be the same for other images
    note              what has to be said with the answer; empty if nothing
    """

    map: sitk.Image
    point_lps_mm: tuple[float, float, float]
    token_lps_mm: tuple[float, float, float]
    peak_lps_mm: tuple[float, float, float]
    peak_share: float
    centroid_lps_mm: tuple[float, float, float]
    spread_mm: float
    displacement_mm: float
    mean_displacement_mm: float
    resolution_mm: tuple[float, float, float]
    sees_image_content: bool
    note: str


def query(correspondence: Correspondence, point_post_lps_mm: Sequence[float], transform: sitk.Transform) -> Answer:
    """Ask for one place of the post scan.

    point_post_lps_mm  in the post scanner's own LPS, mm
    transform          the alignment, pre LPS -> post LPS, mm, linear; the point goes through its inverse, because the crop lies in pre's space
    raises             InputError MRD-E881 for a point outside of the crop, E614 for a transform that bends; UsageError MRD-E882 if it is no point
    """
    point = _point(point_post_lps_mm)
    place = as_affine(transform).GetInverse().TransformPoint(point)
    token = _token_at(correspondence, place)
    shares = row(correspondence, token)
    centres = _centres(correspondence)
    own, peak = centres[token], centres[np.unravel_index(int(shares.argmax()), shares.shape)]
    centroid = np.tensordot(shares, centres, 3)
    spread = math.sqrt(float((shares * ((centres - centroid) ** 2).sum(-1)).sum()))
    return Answer(map=_on_voxels(correspondence, shares), point_lps_mm=tuple(place), token_lps_mm=_plain(own), peak_lps_mm=_plain(peak),
                  peak_share=float(shares.max()), centroid_lps_mm=_plain(centroid), spread_mm=spread,
                  displacement_mm=float(np.linalg.norm(peak - own)), mean_displacement_mm=float(np.linalg.norm(centroid - own)),
                  resolution_mm=tuple(step * size for step, size in zip(correspondence.stride[::-1], correspondence.grid.GetSpacing())),
                  sees_image_content=correspondence.sees_image_content, note=NOTES[correspondence.comparison])


def query_result(folder: Path | str, point_post_lps_mm: Sequence[float]) -> Answer:
    """Ask a finished run, by its folder: its correspondence through its own alignment.

    raises  InputError MRD-E883 (no finished run, or one without correspondence), E884 (files changed since), and as query
    """
    run = FinishedRun(folder)
    entry = run.maps.get("correspondence") or {}
    if not entry.get("file"):
        raise InputError("The run left no correspondence to ask", code="MRD-E883", found=str(entry.get("why") or "a run without the step 'explain', or of an earlier version"),
                         fix="run the job again with the step 'explain' and a network that compares places")
    return query(read_correspondence(run.path(FILE)), point_post_lps_mm, read_transform(run.path(TRANSFORM)))


def row(correspondence: Correspondence, token: tuple[int, int, int]) -> np.ndarray:
    """The shares (z, y, x) over all pre tokens of one post token (z, y, x), float64; they sum to 1, whatever float16 made of them."""
    depth, height, width = correspondence.tokens
    number = (token[0] * height + token[1]) * width + token[2]
    block, inside = divmod(number, correspondence.shares.shape[1])
    found = np.zeros((len(correspondence.shares), correspondence.shares.shape[1]))
    found[block] = correspondence.shares[block, inside]
    return (found / found.sum()).reshape(depth, height, width)


def on_scan(answer: Answer, scan: sitk.Image) -> sitk.Image:
    """The map on the pre scan's own grid, float32, each voxel that of the crop voxel nearest to it; zero outside the crop."""
    return sitk.Resample(answer.map, scan, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor, 0.0, sitk.sitkFloat32)


def from_prediction(prediction: "Prediction", grid: sitk.Image) -> tuple[Correspondence | None, str | None]:
    """The correspondence of a predicted case, or why there is none.

    grid    the crop grid (Prepared.grid)
    raises  InputError MRD-E707 if the network's shares are not finite or do not sum to 1
    """
    if prediction.shares is None:
        return None, NO_PLACES
    tokens = tuple(prediction.output.attention_post.shape[1:])
    blocks = prediction.shares.blocks
    size = math.prod(tokens) // blocks
    if 2 * blocks * size ** 2 > MAX_SHARE_BYTES:
        return None, f"the shares of {math.prod(tokens)} tokens would take more than {MAX_SHARE_BYTES // 1024**2} MiB"
    found = np.empty((blocks, size, size), np.float16)
    torch = require("torch", "Explanation", "install PyTorch (in 3D Slicer: the PyTorch extension)")
    with fixed_threads(), torch.inference_mode():
        for block in range(blocks):
            for start in range(0, size, ROWS_AT_ONCE):
                part = slice(start, start + ROWS_AT_ONCE)
                found[block, part] = _checked(prediction.shares.rows(block, part)[0].float().cpu().numpy())
    return Correspondence(found, tokens, grid, prediction.map_facts["comparison_kind"], max(1, len(prediction.member_p_pcr))), None


def _checked(rows: np.ndarray) -> np.ndarray:
    if not np.isfinite(rows).all() or np.abs(rows.sum(-1) - 1).max() > ROW_TOLERANCE / 2:
        raise InputError("The places that the network compares are no shares", code="MRD-E707", found="numbers that are not finite or do not sum to 1",
                         fix="check the model with `mrdeltanet model verify`")
    return rows


def _point(given: Sequence[float]) -> tuple[float, float, float]:
    try:
        point = tuple(float(value) for value in given)
    except (TypeError, ValueError) as cause:
        raise _no_point(type(given).__name__) from cause
    if len(point) != 3 or not all(map(math.isfinite, point)):
        raise _no_point(f"{len(point)} numbers" if len(point) != 3 else "a number that is not finite")
    return point


def _no_point(found: str) -> UsageError:
    return UsageError("This is not a point", code="MRD-E882", found=found, fix="give three numbers: left, posterior, superior, in mm (LPS)")


def _token_at(correspondence: Correspondence, place: tuple[float, float, float]) -> tuple[int, int, int]:
    """The token (z, y, x) that a place of the pre scan's space lies in."""
    grid = correspondence.grid
    index = np.array(grid.TransformPhysicalPointToContinuousIndex(place))
    size = np.array(grid.GetSize())
    beyond = np.maximum(np.maximum(-0.5 - index, index - (size - 0.5)), 0.0) * np.array(grid.GetSpacing())
    if beyond.any():
        raise InputError("The point lies outside of what the network saw", code="MRD-E881", found=f"{np.linalg.norm(beyond):.1f} mm outside of the crop",
                         fix="choose a point nearer to the tumour")
    voxel = np.clip(np.floor(index + 0.5).astype(int), 0, size - 1)
    return tuple(int(value) for value in voxel[::-1] // np.array(correspondence.stride))


def _centres(correspondence: Correspondence) -> np.ndarray:
    """Centres of the tokens, (z, y, x, 3), LPS mm."""
    grid, stride = correspondence.grid, np.array(correspondence.stride)
    voxels = (np.stack(np.indices(correspondence.tokens), -1) + 0.5) * stride - 0.5
    axes = np.array(grid.GetDirection()).reshape(3, 3) * np.array(grid.GetSpacing())
    return voxels[..., ::-1] @ axes.T + np.array(grid.GetOrigin())


def _on_voxels(correspondence: Correspondence, shares: np.ndarray) -> sitk.Image:
    values = (shares / shares.max()).astype(np.float32)
    for axis, step in enumerate(correspondence.stride):
        values = np.repeat(values, step, axis)
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(correspondence.grid)
    return image


def _plain(point: np.ndarray) -> tuple[float, float, float]:
    return tuple(float(value) for value in point)
