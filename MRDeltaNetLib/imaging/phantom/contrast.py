"""T2 signal of the tissues (fat = 1), and what the scanner adds: coil shading, noise, gain.

Measured on the axial T2 series of ProstateX-0000 (3 T, TE 104 ms, 0.5 x 0.5 x 3 mm, the vendor's coil normalisation on): median signal
in hand-picked boxes, as a share of the median of its ischiorectal fat boxes (423 scanner units). Centres in LPS, mm; in-plane sizes, mm:
obturator muscle (77.6, 14.1, -37.4) 9x20, (1.1, 9.4, -35.7) 10x20; gluteal muscle (104.6, 98.0, -46.5) 25x10, (-25.4, 98.1, -46.3) 25x10,
(89.6, 93.5, -64.0) 35x12.5, (-12.9, 93.6, -63.8) 30x12.5: 0.104-0.177. Ischiorectal fat (14.6, 68.2, -64.9) 15x15, (59.6, 68.2, -64.9) 15x10,
(27.1, 67.7, -74.2) 10x15, (64.6, 66.3, -54.8) 15x15, (13.3, 67.5, -55.1) 12.5x17.5: 0.955-1.165. Mesorectal fat (10.1, 68.0, -30.0) 14x12.5,
(5.4, 78.2, -27.1) 8.5x15: 0.875-0.885. Subcutaneous fat (37.1, -62.0, 7.1) 40x7.5, (37.1, -61.8, -12.0) 40x10: 0.890-1.012.
Bladder (32.1, -0.1, -0.9) 30x30, (27.1, -6.7, -5.0) 40x20, (32.1, -7.7, -11.1) 30x10: 1.173-1.243. Femoral head (120.9, 9.8, -26.5)
12.5x25, (120.9, 12.2, -11.5) 12.5x20, (-47.9, 14.6, -27.9) 15x25: 0.804-0.936.
Signal over noise in the same boxes (noise_sd): muscle 4.0-12.1, ischiorectal fat 34-52, bladder 60-63, subcutaneous fat 51-87.
"""

from __future__ import annotations

import numpy as np

MEASURED_RATIO = {"muscle": (0.10, 0.18), "bladder": (1.17, 1.25), "mesorectal_fat": (0.85, 0.90), "subcutaneous_fat": (0.88, 1.02),
                  "marrow": (0.80, 0.94)}
"""Ranges of the ratio to ischiorectal fat over the boxes above."""
MEASURED_SNR = {"muscle": (4.0, 12.5), "fat": (34.0, 52.0)}
"""Ranges of signal over noise_sd over the boxes above."""

SIGNAL = {
    "air": 0.0, "fat": 1.0, "mesorectal_fat": 0.88, "subcutaneous": 0.94, "skin": 0.3, "fascia": 0.3, "muscle": 0.128, "gluteus": 0.122, "levator": 0.17,
    "ligament": 0.1, "cortex": 0.05, "marrow": 0.86, "cartilage": 0.38, "nerve": 0.42, "flow": 0.04, "slow_flow": 1.1, "vessel_wall": 0.3, "node": 0.5,
    "urine": 1.2, "bladder_wall": 0.17, "rectal_wall": 0.19, "submucosa": 0.5, "gas": 0.02, "gel": 1.15, "stool": 0.33,
    "peripheral_zone": 0.75, "transition_zone": 0.38, "vesicle": 0.72, "plexus": 0.75, "uterus": 0.5,
}
"""Mean signal of each tissue as a share of the same scan's pelvic fat; measured ones lie in MEASURED_RATIO, the others are usual looks."""

NOISE_SD = (0.018, 0.030)
"""SD of the noise in the middle of the pelvis, fat = 1."""


def noise_sd(slice_: np.ndarray) -> float:
    """Noise SD of one slice (y, x) by Immerkaer's estimator (Comput Vis Image Underst 64, 1996): the difference of two Laplacians,
    made robust to borders by its median absolute deviation."""
    s = np.asarray(slice_, np.float64)
    m = (s[:-2, :-2] + s[:-2, 2:] + s[2:, :-2] + s[2:, 2:] - 2 * (s[:-2, 1:-1] + s[2:, 1:-1] + s[1:-1, :-2] + s[1:-1, 2:]) + 4 * s[1:-1, 1:-1])
    return float(np.median(np.abs(m - np.median(m))) / 0.6744898 / 6.0)


def coil(points, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What an anterior and a posterior array leave behind after the scanner's own normalisation.

    points   x, y, z in the anatomy frame, mm
    returns  (shading of the signal, relative noise): both smooth, 1 in the middle; near an array the signal is somewhat higher
             and the noise, divided by the sensitivity, lower
    """
    x, y, z = points
    near = np.square(np.clip((15.0 - y) / 105.0, 0, 1.3)), np.square(np.clip((y - 15.0) / 85.0, 0, 1.3))
    front, back, side = rng.uniform(0.0, 0.16), rng.uniform(0.0, 0.16), rng.uniform(-0.06, 0.06)
    wave = rng.uniform(0.0, 0.04) * np.cos((x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) / 45.0 + rng.uniform(0, 6.28))
    shading = np.exp(front * near[0] + back * near[1] + side * x / 100.0 + rng.uniform(-0.08, 0.08) * z / 60.0 + wave)
    return shading.astype(np.float32), np.exp(-0.6 * (near[0] + near[1])).astype(np.float32)


def draw_noise_and_gain(rng: np.random.Generator) -> tuple[float, float]:
    """SD of the noise in either channel in the middle of the pelvis (fat = 1), and scanner units per fat."""
    return float(rng.uniform(*NOISE_SD)), float(rng.uniform(250, 700))


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
