"""T2 signal of the tissues (fat = 1), the receive coil's bias, gain and Rician noise."""

from __future__ import annotations

import numpy as np

SIGNAL = {"air": 0.02, "fat": 1.0, "muscle": 0.16, "cortex": 0.06, "marrow": 0.85, "urine": 1.45, "bladder_wall": 0.2,
          "rectal_wall": 0.24, "gas": 0.03, "gel": 1.3, "stool": 0.45, "prostate": 0.55, "peripheral_zone": 1.0, "uterus": 0.6,
          "vessel": 0.08, "levator": 0.18}
"""Mean signal of each tissue as a share of the same scan's fat."""


def coil_bias(points, rng: np.random.Generator) -> np.ndarray:
    """Receive sensitivity of an anterior and a posterior array at anatomy points (x, y, z): smooth, around 1 in the middle."""
    x, y, z = points
    front, back, side = rng.uniform(0.15, 0.4), rng.uniform(0.15, 0.4), rng.uniform(-0.08, 0.08)
    log = front * np.square(np.clip((20.0 - y) / 110.0, 0, None)) + back * np.square(np.clip((y - 20.0) / 90.0, 0, None))
    log += side * x / 100.0 + rng.uniform(-0.1, 0.1) * z / 60.0
    return np.exp(log).astype(np.float32)


def rician(signal: np.ndarray, sd: float, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of the signal with complex Gaussian noise of this SD in either channel; in place where possible."""
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    noise *= sd
    signal += noise
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    noise *= sd
    return np.hypot(signal, noise, out=signal)
