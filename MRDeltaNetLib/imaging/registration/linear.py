"""Rigid and affine alignment: starts, levels, optimiser (SimpleITK, Mattes mutual information)."""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass, replace
from itertools import product
from typing import Iterator

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.config import RegistrationConfig
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging.preprocessing.intensity import reduced
from MRDeltaNetLib.imaging.registration.regions import centre_of, smoothed
from MRDeltaNetLib.imaging.registration.similarity import Similarity, linear_parts
from MRDeltaNetLib.progress import Progress, part

LEVELS_MM = (4.0, 2.0, 1.2)
"""In-plane voxel of each level. Slices are never thinned out: 3-4 mm slices are coarse enough already, and a pyramid that shrinks
all axes alike would leave too few of them."""

SLICE_RATIO = 1.25
"""Slices put between thick ones lie this times the in-plane voxel apart."""

STEPS_MM = (4.0, 1.0, 0.3)
"""First step of the optimiser per level."""

MIN_STEP_MM = 0.01

SCOUT_POINTS = 4000
SCOUT_BINS = 16
SCOUT_SHIFT_MM = 15.0
SCOUT_ANGLE_DEG = 10.0
SCOUT_KEEP = 3
"""The starts are scored on this many points; this far around each of them is looked; this many are optimised."""


@dataclass(frozen=True)
class Scene:
    """Both scans ready for the metric.

    pre, post                 canonical scans
    pre_body, post_body       body masks
    pre_region                where the metric looks, on the pre scan
    post_region               where it may land on the post scan, None for anywhere
    """

    pre: sitk.Image
    post: sitk.Image
    pre_body: sitk.Image
    post_body: sitk.Image
    pre_region: sitk.Image
    post_region: sitk.Image | None


@dataclass(frozen=True)
class Found:
    """What an optimisation ended with: the transform, and whether its last level stopped because it had converged."""

    transform: sitk.Transform
    converged: bool


def find_rigid(scene: Scene, config: RegistrationConfig, initial: sitk.Transform | None, seed: int,
               progress: Progress) -> Found:
    """Rigid transform pre LPS -> post LPS, centred on the pre body.

    initial  a linear transform to start from; None: several starts are tried and the best kept
    """
    centre = centre_of(scene.pre_body)
    levels = [at_level(scene, target) for target in LEVELS_MM]
    starts = [rigid_from(initial, centre)] if initial is not None else scout(scene, levels[0], centre)
    share = 1.0 / (len(starts) + len(LEVELS_MM) - 1)
    found = []
    for number, start in enumerate(starts):
        inner = part(progress, number * share, (number + 1) * share)
        found.append(_optimise(levels[0], start, config.samples_per_level[0], STEPS_MM[0], config, seed, inner, "level 1"))
    similarity = Similarity(levels[0].pre, levels[0].post, levels[0].pre_region, bins=SCOUT_BINS, count=2 * SCOUT_POINTS,
                            post_region=levels[0].post_region)
    best = max(found, key=lambda one: _score(similarity, one.transform))
    for number in range(1, len(LEVELS_MM)):
        begin = (len(starts) + number - 1) * share
        best = _optimise(levels[number], best.transform, config.samples_per_level[number], STEPS_MM[number], config, seed,
                         part(progress, begin, begin + share), f"level {number + 1}")
    return best


def find_affine(scene: Scene, rigid: sitk.Transform, config: RegistrationConfig, seed: int, progress: Progress) -> Found:
    """Affine transform pre LPS -> post LPS, starting from the rigid one."""
    start = sitk.AffineTransform(3)
    start.SetCenter(rigid.GetCenter())
    start.SetMatrix(rigid.GetMatrix())
    start.SetTranslation(rigid.GetTranslation())
    found = Found(start, True)
    for number, target in enumerate(LEVELS_MM[1:], start=1):
        found = _optimise(at_level(scene, target), found.transform, 2 * config.samples_per_level[number], STEPS_MM[-1], config, seed,
                          part(progress, (number - 1) / 2, number / 2), f"affine level {number}")
    return found


def rigid_from(transform: sitk.Transform, centre: tuple[float, float, float]) -> sitk.Euler3DTransform:
    """The rigid transform nearest to a linear one (polar decomposition), centred on a point."""
    matrix, _ = linear_parts(transform)
    left, _, right = np.linalg.svd(matrix)
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(centre)
    rigid.SetMatrix(rotation.ravel().tolist(), 1e-6)
    rigid.SetTranslation((np.asarray(transform.TransformPoint(centre)) - centre).tolist())
    return rigid


def scout(scene: Scene, level: Scene, centre: tuple[float, float, float]) -> list[sitk.Euler3DTransform]:
    """The best few of many starts: scanner positions, centres of the fields of view and of the bodies, each shifted and turned."""
    similarity = Similarity(level.pre, level.post, level.pre_region, bins=SCOUT_BINS, count=SCOUT_POINTS,
                            post_region=level.post_region)
    shifts = [np.zeros(3), _middle(scene.post) - _middle(scene.pre), np.asarray(centre_of(scene.post_body)) - centre]
    around = [np.zeros(3)] + [sign * SCOUT_SHIFT_MM * axis for axis, sign in product(np.eye(3), (-1, 1))]
    turns = [np.zeros(3)] + [sign * math.radians(SCOUT_ANGLE_DEG) * axis for axis, sign in product(np.eye(3), (-1, 1))]
    scored = []
    for shift, step, turn in product(shifts, around, turns):
        start = sitk.Euler3DTransform(tuple(centre), *turn.tolist(), (shift + step).tolist())
        scored.append((_score(similarity, start), start))
    scored.sort(key=lambda pair: -pair[0])
    if scored[0][0] <= 0.0:
        raise InputError("The two scans do not show the same part of the body", code="MRD-E601",
                         found="no start brings them to overlap", fix="check that both scans are pelvic scans of one patient")
    as_scanned = sitk.Euler3DTransform(tuple(centre))
    kept = [as_scanned] if _score(similarity, as_scanned) > 0.0 else []          # most pairs were positioned alike
    for _, start in scored:
        far = all(np.linalg.norm(np.subtract(start.GetTranslation(), other.GetTranslation())) > SCOUT_SHIFT_MM / 2
                  or np.linalg.norm(np.subtract(start.GetParameters()[:3], other.GetParameters()[:3])) > math.radians(5.0)
                  for other in kept)
        if far:
            kept.append(start)
        if len(kept) == SCOUT_KEEP:
            break
    return kept


def _score(similarity: Similarity, transform: sitk.Transform) -> float:
    """Information shared per point of the body: a start that drops most of the body out of the field of view is worth little."""
    value, inside = similarity(transform)
    return value * inside if inside > 0.25 else 0.0


def _middle(image: sitk.Image) -> np.ndarray:
    """Centre of the field of view, LPS, mm."""
    return np.asarray(image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()]))


def at_level(scene: Scene, target_mm: float) -> Scene:
    """The scene with both scans coarsened and lightly smoothed along the axes that were; thick slices of post are interpolated."""
    return replace(scene, pre=smoothed(reduced(scene.pre, target_mm), target_mm),
                   post=between_slices(smoothed(reduced(scene.post, target_mm), target_mm), target_mm))


def between_slices(image: sitk.Image, target_mm: float) -> sitk.Image:
    """The image with cubic-spline slices put between its own along axes coarser than twice target_mm.

    The optimiser interpolates linearly, which blurs thick slices exactly where they do not meet the other scan's; on simulated and
    real scans with 3-4 mm slices this halves the error.
    """
    times = [round(step / (SLICE_RATIO * target_mm)) if step > 2 * target_mm else 1 for step in image.GetSpacing()]
    if max(times) == 1:
        return image
    for axis, n in enumerate(times):
        if n > 1:
            image = _along(image, axis, n)
    return image


def _along(image: sitk.Image, axis: int, times: int) -> sitk.Image:
    """Cubic-spline interpolation along one axis to times as many slices; the voxels of the other axes stay where they are."""
    array = np.moveaxis(sitk.GetArrayViewFromImage(image), 2 - axis, 0)
    weights = spline_weights(array.shape[0], times).astype(np.float32)
    finer = np.einsum("os,s...->o...", weights, array)      # plain loops: the same bytes on any number of threads
    result = sitk.GetImageFromArray(np.ascontiguousarray(np.moveaxis(finer, 0, 2 - axis)))
    result.SetOrigin(image.GetOrigin())
    result.SetDirection(image.GetDirection())
    result.SetSpacing([step / times if place == axis else step for place, step in enumerate(image.GetSpacing())])
    return result


def spline_weights(count: int, times: int) -> np.ndarray:
    """What each of count slices adds to each of (count - 1) times + 1 interpolated slices, (out, in).

    Cubic B-spline through the slices, mirrored at both ends (Unser 1999): evaluation matrix times inverse of the sampling matrix.
    """
    def basis(positions: np.ndarray) -> np.ndarray:
        matrix = np.zeros((len(positions), count))
        for row, position in enumerate(positions):
            for node in range(math.floor(position) - 1, math.floor(position) + 3):
                away = abs(position - node)
                value = 2 / 3 - away**2 + away**3 / 2 if away < 1 else max(0.0, 2 - away)**3 / 6
                mirrored = abs(node) if node < count else 2 * (count - 1) - node
                matrix[row, mirrored] += value
        return matrix
    return basis(np.arange((count - 1) * times + 1) / times) @ np.linalg.inv(basis(np.arange(count, dtype=float)))


def metric(level: Scene, samples: int, config: RegistrationConfig, seed: int) -> sitk.ImageRegistrationMethod:
    """A registration method with everything but optimiser and transform."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(config.histogram_bins)
    region_mm3 = float(sitk.GetArrayViewFromImage(level.pre_region).sum()) * math.prod(level.pre_region.GetSpacing())
    available = region_mm3 / math.prod(level.pre.GetSpacing())
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(min(1.0, samples / max(available, 1.0)), seed + 1)     # 0 would be the wall clock
    method.SetMetricFixedMask(level.pre_region)
    if level.post_region is not None:
        method.SetMetricMovingMask(level.post_region)
    method.SetInterpolator(sitk.sitkLinear)
    method.MetricUseFixedImageGradientFilterOff()         # gradients at the samples, not of the whole image
    method.MetricUseMovingImageGradientFilterOff()
    return method


def run(method: sitk.ImageRegistrationMethod, level: Scene, progress: Progress, iterations: int, name: str) -> None:
    """Run a registration. What progress raises stops the optimiser within one iteration and comes out of here.

    raises InputError MRD-E601 (no overlap), MRD-E608 (ITK gave up)
    """
    raised: list[BaseException] = []

    def report() -> None:
        try:
            progress(min(1.0, (method.GetOptimizerIteration() + 1) / iterations), f"aligning, {name}")
        except BaseException as stop:
            raised.append(stop)
            raise _Stopped from None

    method.AddCommand(sitk.sitkIterationEvent, report)
    try:
        with one_thread(), _quiet_stop():
            method.Execute(level.pre, level.post)
    except RuntimeError as cause:
        if raised:
            raise raised[0] from None
        raise _explained(cause) from cause


class _Stopped(Exception):
    """Ends an ITK optimiser from inside its callback: LBFGS-B ignores StopRegistration, an exception stops every optimiser."""


@contextlib.contextmanager
def _quiet_stop() -> Iterator[None]:
    """SimpleITK prints an exception of a callback through sys.excepthook; a wanted stop is no news for the console."""
    before = sys.excepthook
    sys.excepthook = lambda kind, value, trace: None if kind is _Stopped else before(kind, value, trace)
    try:
        yield
    finally:
        sys.excepthook = before


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """ITK works in one thread inside: sums over threads depend on their number, and the method's own setting does not reach all
    of its parts. One thread gives the same bytes everywhere, and at these sample counts it is as fast."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _optimise(level: Scene, start: sitk.Transform, samples: int, step_mm: float, config: RegistrationConfig, seed: int,
              progress: Progress, name: str) -> Found:
    """One level of a linear alignment. The step shrinks from step_mm to a hundredth of a millimetre."""
    method = metric(level, samples, config, seed)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=step_mm, minStep=MIN_STEP_MM, numberOfIterations=config.iterations,
                                                    relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    transform = type(start)(start)
    method.SetInitialTransform(transform, inPlace=True)
    run(method, level, progress, config.iterations, name)
    return Found(transform, method.GetOptimizerIteration() + 1 < config.iterations)


def _explained(cause: RuntimeError) -> InputError:
    """What an ITK exception means for the user."""
    if "samples map outside" in str(cause) or "overlap" in str(cause).lower():
        return InputError("The two scans do not overlap", code="MRD-E601", found="no part of the body lies inside both",
                          fix="check that both scans show the pelvis of one patient")
    return InputError("The alignment could not be computed", code="MRD-E608", found="the optimiser stopped with an error",
                      fix="look at both scans in a viewer; if they were aligned before, run with the registration method 'none'")
