"""The simulated pelvis as implicit shapes: signed distances (mm, negative inside) at points of the anatomy frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Points = tuple[np.ndarray, np.ndarray, np.ndarray]

FEMORAL_HEAD_MM = 90.0
"""Distance of a femoral head's centre from the midline before the patient's own scale."""

_RECTUM_Z = np.array([-90.0, -50.0, -30.0, -10.0, 0.0, 20.0, 40.0, 60.0, 90.0])
_RECTUM_Y = np.array([44.0, 37.0, 33.0, 39.0, 45.0, 62.0, 73.0, 73.0, 58.0])
_RECTUM_R = np.array([9.0, 10.5, 12.5, 15.5, 17.0, 18.5, 18.0, 16.0, 14.0])
_SACRUM_Z = np.array([-20.0, 0.0, 12.0, 30.0, 50.0, 70.0, 100.0])
_SACRUM_Y = np.array([70.0, 76.0, 84.0, 97.0, 106.0, 104.0, 86.0])
_SACRUM_W = np.array([-8.0, 3.0, 8.0, 16.0, 34.0, 48.0, 56.0])


@dataclass(frozen=True)
class Patient:
    """What does not change between the visits."""

    sex: str
    scale: float
    rectum_phase: float
    rectum_swing_mm: float
    fat_mm: float
    uterus_tilt: float
    seed: int


@dataclass(frozen=True)
class Visit:
    """What changes between the visits: filling, soft-tissue motion, tumour or bed.

    bladder_fill   relative radius of the bladder
    rectum_fill    relative radius of the rectum
    content        "gas", "gel" or "stool"
    soft_mm        size of the smooth motion of soft tissue relative to bone; 0 before treatment
    soft_seed      its random field
    treated        False: tumour; True: bed with fibrosis and blob
    """

    bladder_fill: float
    rectum_fill: float
    content: str
    soft_mm: float
    soft_seed: int
    treated: bool


@dataclass
class Layer:
    """One shape to paint: distance_mm (coarse array), tissue inside, rim tissue of rim_mm along the inside of its border."""

    name: str
    tissue: str | float
    distance_mm: np.ndarray
    rim: str | None = None
    rim_mm: float = 0.0


def draw_patient(rng: np.random.Generator) -> Patient:
    """A patient's own proportions."""
    sex = "male" if rng.random() < 0.62 else "female"
    return Patient(sex=sex, scale=float(rng.uniform(0.95, 1.05)), rectum_phase=float(rng.uniform(0, 2 * np.pi)),
                   rectum_swing_mm=float(rng.uniform(1.0, 6.0)), fat_mm=float(rng.uniform(-4.0, 10.0)),
                   uterus_tilt=float(rng.uniform(-0.4, 0.4)), seed=int(rng.integers(2**31)))


def ellipsoid(p: Points, centre, radii) -> np.ndarray:
    """Approximate signed distance to an axis-parallel ellipsoid (first-order exact at its surface)."""
    q = [(p[i] - np.float32(centre[i])) / np.float32(radii[i]) for i in range(3)]
    k0 = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
    k1 = np.sqrt(sum((q[i] / np.float32(radii[i])) ** 2 for i in range(3)))
    return k0 * (k0 - 1) / np.maximum(k1, 1e-6)


def lut(z: np.ndarray, at: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Piecewise linear curve, smoothed once, of the height z (mm)."""
    fine = np.linspace(at[0], at[-1], 200)
    v = np.interp(fine, at, values)
    v = np.convolve(np.pad(v, 9, mode="edge"), np.hanning(21)[1:-1] / np.hanning(21).sum(), mode="valid")
    return np.interp(z, fine, v).astype(np.float32)


def soft_motion(p: Points, visit: Visit, patient: Patient) -> Points:
    """Where the tissue now at p lay in the untreated anatomy: smooth, a few mm in the pelvic cavity, zero at bone."""
    if not visit.soft_mm:
        return p
    rng = np.random.default_rng(visit.soft_seed)
    x, y, z = p
    window = np.exp(-0.5 * ((x / 30) ** 2 + ((y - 25) / 38) ** 2) ** 2)
    moved = []
    for axis in range(3):
        u = np.zeros_like(x)
        for _ in range(3):
            k = rng.normal(0, 1 / 45.0, 3).astype(np.float32)
            u += np.cos(k[0] * x + k[1] * y + k[2] * z + np.float32(rng.uniform(0, 2 * np.pi)))
        moved.append(p[axis] + np.float32(visit.soft_mm) * 0.8 * window * u)
    return tuple(moved)


def rectum_frame(q: Points, patient: Patient, fill: float):
    """Height along the rectum s, offsets from its centre line and its outer radius at every point (mm)."""
    x, y, z = (c / np.float32(patient.scale) for c in q)
    cx = np.float32(patient.rectum_swing_mm) * np.sin(z / 32 + np.float32(patient.rectum_phase))
    dy = y - lut(z, _RECTUM_Z, _RECTUM_Y)
    slope = np.gradient(_RECTUM_Y, _RECTUM_Z)
    cos = 1 / np.sqrt(1 + lut(z, _RECTUM_Z, slope) ** 2)
    radius = lut(z, _RECTUM_Z, _RECTUM_R)
    radius = radius * (1 + np.float32(fill - 1) * np.clip((z + 45) / 30, 0, 1))
    return z, x - cx, dy * cos, radius


def layers(p: Points, patient: Patient, visit: Visit, latent: dict) -> list[Layer]:
    """Every shape, in painting order; later ones cover earlier ones."""
    s = np.float32(patient.scale)
    b = tuple(c / s for c in p)                         # bony coordinates in the standard pelvis
    q = soft_motion(p, visit, patient)
    o = tuple(c / s for c in q)                         # organs
    ax = np.abs(b[0])
    sides = (ax, b[1], b[2])                            # left and right at once: the skeleton is symmetrical
    out: list[Layer] = []
    add = lambda *a, **k: out.append(Layer(*a, **k))
    thick = patient.fat_mm
    body = ((np.abs(b[0]) / (165 + thick)) ** 2.6 + (np.abs(b[1] - 22) / (112 + thick)) ** 2.6) ** (1 / 2.6)
    add("body", "fat", (body - 1) * 115)
    add("gluteus", "muscle", ellipsoid(sides, (68, 112, -5), (62, 34, 80)))
    add("iliopsoas", "muscle", ellipsoid(sides, (82, -46, 5), (22, 19, 70)))
    add("obturator internus", "muscle", ellipsoid(sides, (47, 12, -12), (9, 46, 40)))
    add("obturator externus", "muscle", ellipsoid(sides, (55, -22, -52), (42, 20, 26)))
    add("rectus", "muscle", ellipsoid(sides, (17, -66, 20), (20, 7, 70)))
    add("head", "marrow", ellipsoid(sides, (FEMORAL_HEAD_MM, 0, 0), (24, 24, 24)), rim="cortex", rim_mm=1.6)
    add("acetabulum", "marrow", np.maximum(ellipsoid(sides, (70, 4, 2), (16, 42, 36)),
                                           27.5 - np.sqrt((ax - 90) ** 2 + b[1] ** 2 + b[2] ** 2)), rim="cortex", rim_mm=1.6)
    add("ischium", "marrow", ellipsoid(sides, (64, 46, -40), (13, 16, 26)), rim="cortex", rim_mm=1.6)
    add("pubis", "marrow", ellipsoid(sides, (19, -38, -30), (16, 20, 17)), rim="cortex", rim_mm=1.6)
    y_sac, w_sac = lut(b[2], _SACRUM_Z, _SACRUM_Y), lut(b[2], _SACRUM_Z, _SACRUM_W)
    add("sacrum", "marrow", np.maximum(np.abs(b[1] - y_sac - 11) - 11, ax - w_sac), rim="cortex", rim_mm=1.5)
    bladder = ellipsoid(o, (0, -26, 14 + 20 * visit.bladder_fill), (35 * visit.bladder_fill, 27 * visit.bladder_fill, 24 * visit.bladder_fill))
    add("bladder wall", "bladder_wall", bladder - 4)
    add("bladder", "urine", bladder)
    if patient.sex == "male":
        add("prostate", "prostate", ellipsoid(o, (0, 4, -10), (23, 17, 20)))
        add("seminal vesicles", "peripheral_zone", ellipsoid((np.abs(o[0]), o[1], o[2]), (15, 22, 14), (15, 6, 9)))
    else:
        add("uterus", "uterus", ellipsoid(o, (0, 12, 30), (24, 20, 32)))
        add("cervix", "muscle", ellipsoid(o, (0, 12, -5), (14, 11, 18)))
    funnel = ellipsoid(o, (0, 34, 5), (40, 42, 62))
    add("levator", "levator", np.maximum(np.abs(funnel) - 2, o[2] + 5))
    z, dx, dy, radius = rectum_frame(q, patient, visit.rectum_fill)
    r = np.sqrt(dx**2 + dy**2)
    add("rectal wall", "rectal_wall", r - radius)
    wall = 3.2
    angle = np.arctan2(dx, dy)
    lumen = r - (radius - wall)
    t = latent
    grow = 1.0
    def crescent(scale):
        turn = np.angle(np.exp(1j * (angle - np.deg2rad(t["tumour_angle_deg"])))).astype(np.float32)
        half = np.array([t["tumour_length_mm"] / 2, t["tumour_thickness_mm"] / 2], np.float32) * scale
        arc = np.float32(np.deg2rad(t["tumour_arc_deg"]) / 2 * scale)
        d = np.sqrt(((z - t["tumour_centre_mm"]) / half[0]) ** 2 + (turn / arc) ** 2 + ((r - radius + 2.5) / half[1]) ** 2)
        return (d - 1) * half[1], turn / arc, half
    if not visit.treated:
        tumour, _, _ = crescent(1.0)
        add("rectal lumen", visit.content, np.maximum(lumen, -tumour))
        add("tumour", t["tumour_signal"], tumour)
    else:
        k = t["bed_volume_fraction"] ** (1 / 3)
        bed, turn, half = crescent(k)
        sh = t["blob_shift"]
        d = np.sqrt(((z - t["tumour_centre_mm"]) / half[0] - sh[0] * .6) ** 2 + (turn - sh[1] * .6) ** 2 + ((r - radius + 2.5) / half[1] - sh[2] * .4) ** 2)
        blob = (d - t["blob_size_fraction"]) * half[1]
        add("rectal lumen", visit.content, np.maximum(lumen, -bed))
        add("bed", t["fibrosis_signal"], bed)
        add("blob", t["blob_signal"], np.maximum(blob, bed))
    return out
