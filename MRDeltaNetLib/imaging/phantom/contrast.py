"""T2 signal of the tissues (fat = 1), the receive coil's bias, gain and Rician noise."""

from __future__ import annotations

import numpy as np

SIGNAL = {
    "air": 0.0, "fat": 0.95, "subcutaneous": 1.0, "skin": 0.3, "fascia": 0.3, "muscle": 0.125, "gluteus": 0.135, "levator": 0.17, "ligament": 0.1,
    "cortex": 0.05, "marrow": 0.85, "cartilage": 0.38, "nerve": 0.42, "flow": 0.04, "slow_flow": 1.1, "vessel_wall": 0.3, "node": 0.5,
    "urine": 1.2, "bladder_wall": 0.17, "rectal_wall": 0.19, "submucosa": 0.5, "gas": 0.02, "gel": 1.15, "stool": 0.33,
    "peripheral_zone": 0.75, "transition_zone": 0.38, "vesicle": 0.75, "plexus": 0.75, "uterus": 0.5,
}
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


def draw_noise_and_gain(rng: np.random.Generator) -> tuple[float, float]:
    """SD of the noise in either channel (fat = 1 in the middle of the pelvis) and scanner units per fat."""
    return float(rng.uniform(0.016, 0.034)), float(rng.uniform(250, 700))
