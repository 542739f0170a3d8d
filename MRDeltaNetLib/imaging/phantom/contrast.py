"""T2 signal of the tissues (fat = 1), and what the scanner adds: coil shading, noise, gain.

Signals and noise follow one real scan: the axial T2 series of ProstateX-0000 (3 T, TE 104 ms, 0.5 x 0.5 x 3 mm, the vendor's coil
normalisation on), measured in the hand-picked boxes of MEASURED_BOXES. The unit is the median of the ischiorectal fat boxes (423 scanner
units). A test measures them again where the scan is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

MEASURED_BOXES = (
    ("muscle", (77.6, 14.1, -37.4), (9, 20)), ("muscle", (1.1, 9.4, -35.7), (10, 20)), ("muscle", (80.1, 26.4, -32.0), (4, 20)),
    ("muscle", (-15.9, 30.0, -33.1), (4, 22.5)), ("muscle", (104.6, 98.0, -46.5), (25, 10)), ("muscle", (-25.4, 98.1, -46.3), (25, 10)),
    ("muscle", (89.6, 93.5, -64.0), (35, 12.5)), ("muscle", (-12.9, 93.6, -63.8), (30, 12.5)),
    ("fat", (14.6, 68.2, -64.9), (15, 15)), ("fat", (59.6, 68.2, -64.9), (15, 10)), ("fat", (27.1, 67.7, -74.2), (10, 15)),
    ("fat", (64.6, 66.3, -54.8), (15, 15)), ("fat", (13.3, 67.5, -55.1), (12.5, 17.5)),
    ("mesorectal_fat", (10.1, 68.0, -30.0), (14, 12.5)), ("mesorectal_fat", (5.4, 78.2, -27.1), (8.5, 15)),
    ("subcutaneous_fat", (37.1, -62.0, 7.1), (40, 7.5)), ("subcutaneous_fat", (37.1, -61.8, -12.0), (40, 10)),
    ("bladder", (32.1, -0.1, -0.9), (30, 30)), ("bladder", (27.1, -6.7, -5.0), (40, 20)), ("bladder", (32.1, -7.7, -11.1), (30, 10)),
    ("marrow", (-47.9, 14.6, -27.9), (15, 25)), ("marrow", (120.9, 9.8, -26.5), (12.5, 25)), ("marrow", (120.9, 12.2, -11.5), (12.5, 20)),
)
"""Tissue, centre (LPS, mm) and in-plane size (x, y of the image, mm) in ProstateX-0000. Muscle: obturator internus (4), gluteus (4);
fat: ischiorectal; marrow: femoral heads."""
MEASURED_RATIO = {"muscle": (0.104, 0.178), "bladder": (1.172, 1.244), "mesorectal_fat": (0.874, 0.886), "subcutaneous_fat": (0.889, 1.013),
                  "marrow": (0.803, 0.937)}
"""Smallest and largest median of each tissue's boxes, ischiorectal fat = 1."""
MEASURED_SNR = {"muscle": (4.0, 12.2), "fat": (34.5, 51.9), "bladder": (59.8, 62.7)}
"""Smallest and largest median / noise_sd of each tissue's boxes: lowest deep in the pelvis, highest near the coils."""

SIGNAL = {
    "air": 0.0, "fat": 1.0, "mesorectal_fat": 0.88, "subcutaneous": 0.94, "skin": 0.3, "fascia": 0.3, "muscle": 0.128, "gluteus": 0.122, "levator": 0.17,
    "ligament": 0.1, "cortex": 0.05, "marrow": 0.86, "cartilage": 0.38, "nerve": 0.42, "flow": 0.04, "slow_flow": 1.1, "vessel_wall": 0.3, "node": 0.5,
    "urine": 1.2, "bladder_wall": 0.17, "rectal_wall": 0.19, "submucosa": 0.5, "gas": 0.02, "gel": 1.15, "stool": 0.33,
    "peripheral_zone": 0.75, "transition_zone": 0.38, "vesicle": 0.72, "plexus": 0.75, "uterus": 0.5,
}
"""Mean signal of each tissue as a share of the same scan's pelvic fat; measured ones lie in MEASURED_RATIO, the others are usual looks."""

NOISE_SD = (0.0195, 0.0285)
"""SD of the noise in the middle of the pelvis, fat = 1."""

HALF_MAXIMUM_WIDTHS = 2.3548
"""Full width at half maximum of a Gaussian, in standard deviations."""


@dataclass(frozen=True)
class Scanner:
    """How one scanner's images differ from the measured one's, whose values are the defaults.

    noise           factor of the noise
    contrast        exponent of the noiseless signal (fat = 1). With a signal of exp(-TE / T2), an echo time longer by this factor gives
                    just this power; so it stands for another echo time and for the vendor's gain curve
    shading         factor of the coil's shading, in the exponent
    gain            scanner units per fat, uniform between both
    blur_mm         full width at half maximum of an additional Gaussian blur, in plane and through plane
    in_plane_mm, slice_mm  ranges of the drawn voxel size, where the caller does not fix it
    """

    noise: float = 1.0
    contrast: float = 1.0
    shading: float = 1.0
    gain: tuple[float, float] = (250.0, 700.0)
    blur_mm: tuple[float, float] = (0.0, 0.0)
    in_plane_mm: tuple[float, float] = (0.6, 0.7)
    slice_mm: tuple[float, float] = (3.0, 3.6)


DEFAULT_SCANNER = Scanner()
SCANNERS = {
    "A": Scanner(noise=0.8, contrast=1.0, shading=0.6, gain=(350.0, 800.0), in_plane_mm=(0.5, 0.6), slice_mm=(3.0, 3.0)),
    "B": Scanner(noise=1.5, contrast=0.8, shading=1.6, gain=(80.0, 160.0), blur_mm=(1.0, 0.0), in_plane_mm=(0.7, 0.8), slice_mm=(3.3, 3.9)),
    "C": Scanner(noise=1.1, contrast=1.25, shading=2.4, gain=(900.0, 1600.0), in_plane_mm=(0.6, 0.7), slice_mm=(3.5, 4.0)),
    "D": Scanner(noise=2.2, contrast=0.9, shading=1.0, gain=(200.0, 400.0), blur_mm=(1.4, 2.5), in_plane_mm=(0.75, 0.9), slice_mm=(4.0, 4.8)),
}
"""Four made-up scanners, as far apart as the T2 of different hospitals are in looks: sharp and quiet, soft with flat contrast, strong contrast
with strong shading, and noisy with thick slices. They copy no vendor."""


def noise_sd(slice_: np.ndarray) -> float:
    """Noise SD of one slice (y, x) by Immerkaer's estimator (Comput Vis Image Underst 64, 1996): the difference of two Laplacians,
    made robust to borders by its median absolute deviation."""
    s = np.asarray(slice_, np.float64)
    m = (s[:-2, :-2] + s[:-2, 2:] + s[2:, :-2] + s[2:, 2:] - 2 * (s[:-2, 1:-1] + s[2:, 1:-1] + s[1:-1, :-2] + s[1:-1, 2:]) + 4 * s[1:-1, 1:-1])
    return float(np.median(np.abs(m - np.median(m))) / 0.6744898 / 6.0)


def measure_box(image: sitk.Image, centre_mm, size_mm) -> tuple[float, float]:
    """Median and noise_sd in a box of one slice: centre in LPS mm, in-plane size along the image's x and y in mm."""
    x, y, k = image.TransformPhysicalPointToContinuousIndex([float(v) for v in centre_mm])
    half = [0.5 * length / step for length, step in zip(size_mm, image.GetSpacing())]
    box = sitk.GetArrayViewFromImage(image)[round(k), round(y - half[1] + 0.5):round(y + half[1] + 0.5), round(x - half[0] + 0.5):round(x + half[0] + 0.5)]
    return float(np.median(box)), noise_sd(box)


def coil(points, rng: np.random.Generator, scanner: Scanner = DEFAULT_SCANNER) -> tuple[np.ndarray, np.ndarray]:
    """What an anterior and a posterior array leave behind after the scanner's own normalisation.

    points   x, y, z in the anatomy frame, mm
    returns  (shading of the signal, relative noise): both smooth, 1 in the middle; near an array the signal is somewhat higher
             and the noise, divided by the sensitivity, lower
    """
    x, y, z = points
    near = np.square(np.clip((15.0 - y) / 105.0, 0, 1.3)), np.square(np.clip((y - 15.0) / 85.0, 0, 1.3))
    front, back, side = rng.uniform(0.0, 0.16), rng.uniform(0.0, 0.16), rng.uniform(-0.06, 0.06)
    wave = rng.uniform(0.0, 0.04) * np.cos((x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) / 45.0 + rng.uniform(0, 6.28))
    exponent = front * near[0] + back * near[1] + side * x / 100.0 + rng.uniform(-0.08, 0.08) * z / 60.0 + wave
    shading = np.exp(exponent if scanner.shading == 1 else scanner.shading * exponent)
    return shading.astype(np.float32), np.exp(-0.6 * (near[0] + near[1])).astype(np.float32)


def draw_noise_and_gain(rng: np.random.Generator, scanner: Scanner = DEFAULT_SCANNER) -> tuple[float, float]:
    """SD of the noise in either channel in the middle of the pelvis (fat = 1), and scanner units per fat."""
    return scanner.noise * float(rng.uniform(*NOISE_SD)), float(rng.uniform(*scanner.gain))


def recorded(signal: np.ndarray, spacing_mm: tuple[float, float, float], scanner: Scanner) -> np.ndarray:
    """The noiseless signal (z, y, x; fat = 1) as this scanner's contrast and blur show it; the same array for the default scanner.

    spacing_mm  x, y, z
    """
    if scanner.contrast != 1:
        signal = np.power(np.maximum(signal, 0), np.float32(scanner.contrast))
    if any(scanner.blur_mm):
        image = sitk.GetImageFromArray(signal)
        sd_voxels = [width / HALF_MAXIMUM_WIDTHS / step for width, step in zip((scanner.blur_mm[0], *scanner.blur_mm), spacing_mm)]
        signal = sitk.GetArrayFromImage(sitk.DiscreteGaussian(image, variance=[sd ** 2 for sd in sd_voxels], maximumKernelWidth=64,
                                                              maximumError=0.001, useImageSpacing=False))
    return signal


def add_rician(signal: np.ndarray, sd: np.ndarray, rng: np.random.Generator) -> None:
    """Turn one slice into the magnitude of itself with Gaussian noise of SD sd (same shape) in the real and the imaginary channel."""
    real = rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = rng.standard_normal(signal.shape, dtype=np.float32)
    real *= sd
    real += signal
    imaginary *= sd
    np.square(real, out=real)
    np.square(imaginary, out=imaginary)
    real += imaginary
    np.sqrt(real, out=signal)
