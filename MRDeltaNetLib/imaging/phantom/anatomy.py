"""The simulated pelvis: bones, muscles, organs and vessels as shapes in the anatomy frame (mm; origin midway between the femoral heads).

The numbers in the tables are the positions of the named structures in a standard pelvis; sexes, sizes and fillings vary around them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.imaging.phantom.geometry import Placement, Sampler
from MRDeltaNetLib.imaging.phantom.shapes import Curve, Noise, Points, Space, Where, joined, without

FEMORAL_HEAD_MM = 91.0
"""Distance of a femoral head's centre from the midline before the patient's own scale."""
HEAD_RADIUS_MM = 25.0
DEEP_MM = 7.0
"""Signed distances are cut here: nothing is painted deeper inside a border, and flat numbers interpolate without ringing."""

# z, centre x, centre y, radius x, radius y, turn in degrees: ellipses of the right-hand structures, mirrored to the left
OBTURATOR_INTERNUS = Curve([(-58, 54, 36, 5, 16, -14), (-44, 52, 34, 8, 28, -14), (-30, 47, 28, 9.5, 38, -13), (-12, 40, 20, 10, 43, -10),
                            (0, 47, 16, 8.5, 42, -6), (12, 57, 12, 6, 37, -2), (28, 62, 8, 4.2, 28, 0), (42, 64, 6, 3.5, 18, 0)])
ISCHIAL_TAIL = Curve([(-34, 60, 68, 16, 5, 14), (-14, 58, 65, 18, 5.5, 16), (0, 62, 60, 17, 5, 18), (10, 66, 55, 14, 4, 18)])
OBTURATOR_EXTERNUS = Curve([(-58, 52, 6, 24, 26, 20), (-44, 52, 4, 26, 30, 20), (-32, 54, 2, 26, 28, 20), (-20, 60, -2, 24, 20, 20), (-10, 66, -6, 16, 10, 20)])
PECTINEUS = Curve([(-70, 58, -22, 36, 26, 18), (-45, 57, -24, 36, 24, 20), (-28, 55, -27, 34, 18, 20), (-12, 50, -36, 25, 9, 12),
                   (0, 51, -43, 20, 6.5, 10), (14, 53, -46, 14, 5, 10)])
ADDUCTORS = Curve([(-80, 42, -10, 36, 34, 30), (-58, 44, -8, 34, 28, 30), (-40, 46, -2, 28, 18, 34), (-22, 48, 2, 20, 12, 34)])
ILIOPSOAS = Curve([(-60, 94, -34, 22, 22, 0), (-12, 88, -42, 23, 18, -6), (12, 84, -40, 24, 16, -10), (40, 74, -28, 21, 18, -18), (75, 58, -10, 19, 20, -20)])
SARTORIUS = Curve([(-60, 92, -66, 13, 8, 20), (12, 104, -58, 12, 9, 20), (60, 112, -48, 11, 10, 20)])
VASTUS = Curve([(-90, 110, 0, 22, 34, 0), (-44, 112, -2, 22, 32, 0), (-24, 116, -4, 18, 26, 0)])
RECTUS = Curve([(-40, 10, -60, 8, 2.5, 0), (-26, 13, -62, 12, 3.5, 0), (-12, 17, -62, 16, 5, 2), (0, 19, -62, 19, 7, 2), (12, 20.5, -62, 21, 9, 3),
                (40, 21, -66, 21, 8.5, 4), (80, 22, -72, 21, 8, 4)])
ABDOMINAL_WALL = Curve([(8, 62, -60, 22, 4, 8), (25, 66, -58, 26, 5, 10), (45, 74, -52, 34, 8, 14), (80, 80, -50, 40, 10, 16)])
GLUTEUS = Curve([(-90, 66, 108, 56, 34, -6), (-40, 70, 112, 60, 38, -6), (-12, 74, 112, 65, 41, -8), (12, 80, 110, 71, 41, -20), (40, 82, 106, 68, 36, -28),
                 (75, 78, 102, 60, 30, -34)])
GLUTEUS_DEEP = Curve([(-6, 110, 50, 16, 9, -30), (15, 108, 40, 21, 15, -34), (40, 106, 22, 22, 26, -34), (75, 104, 8, 22, 34, -34)])
QUADRATUS = Curve([(-70, 94, 44, 20, 14, 0), (-40, 93, 42, 24, 15, 4), (-22, 94, 40, 22, 12, 8), (-4, 96, 38, 16, 7, 8)])
PIRIFORMIS = Curve([(16, 84, 48, 6, 2, -36), (24, 66, 62, 34, 5, -36), (38, 56, 70, 40, 10, -36), (52, 46, 78, 36, 10, -34), (62, 38, 84, 18, 3, -30)])
ISCHIUM = Curve([(-72, 58, 38, 5, 6, 10), (-60, 60, 42, 10, 12, 14), (-45, 63, 49, 12.5, 17, 14), (-30, 66, 51, 12, 17, 10), (-12, 67, 43, 13, 20, 4),
                 (0, 68, 36, 12, 22, 0), (12, 69, 28, 12, 22, -6), (28, 70, 20, 12, 18, -10)])
ILIUM = Curve([(-6, 70, -16, 11, 14, 18), (4, 73, -12, 15, 26, 14), (14, 76, 0, 18, 40, 4), (26, 78, 6, 19, 40, -2), (38, 76, 12, 13, 38, -8),
               (52, 73, 20, 9, 42, -16), (75, 76, 28, 8.5, 56, -22)])
SACRUM = Curve([(-22, 0, 83, 2, 3), (-16, 0, 86, 5, 5), (-2, 0, 93, 5.5, 5), (6, 0, 97, 8, 5.5), (16, 0, 101, 11, 6.5), (30, 0, 107, 20, 9), (45, 0, 111, 34, 12),
                (60, 0, 112, 46, 14), (80, 0, 106, 54, 17)], smooth_mm=5.0)
FUNNEL = Curve([(-62, 0, 36, 12, 14), (-46, 0, 34, 13.5, 15.5), (-34, 0, 30, 15.5, 18.5), (-22, 0, 27, 21, 24), (-10, 0, 23, 30, 36), (0, 0, 21, 39, 46), (12, 0, 22, 52, 56),
                (61, 0, 22, 60, 60)])
EXTERNAL_SPHINCTER = Curve([(-90, 0, 42, 12, 15), (-70, 0, 40, 14, 17), (-50, 0, 36, 14.5, 16.5), (-40, 0, 34, 12, 13)])
ARTERY = Curve([(-80, 70, -48), (-40, 70, -52), (-12, 69, -55), (12, 65, -54), (40, 51, -40), (75, 40, -14)])
VEIN = Curve([(-80, 62, -42), (-40, 61, -46), (-12, 59, -48), (12, 54, -45), (40, 46, -28), (75, 38, 2)])
RECTUM = Curve([(-95, 0, 43, 8, 8), (-60, 0, 38, 9, 9), (-46, 0, 34, 9.5, 10), (-34, 0, 31, 11.5, 11), (-22, 0, 32, 14.5, 12.5), (-10, 0, 38, 17.5, 15.5),
                (0, 0, 46, 18.5, 17.5), (12, 0, 56, 18, 18.5), (24, 0, 66, 18, 18.5), (40, 0, 75, 17.5, 17), (60, 0, 76, 16, 16), (90, 0, 58, 15, 15)])
MESORECTUM = Curve([(-34, 0, 32, 13, 13), (-22, 0, 33, 18, 17), (-10, 0, 41, 24, 22), (0, 0, 49, 31, 26), (12, 0, 58, 38, 29), (24, 0, 66, 42, 32), (40, 0, 72, 42, 34),
                    (60, 0, 74, 40, 34), (90, 0, 60, 36, 30)])


@dataclass(frozen=True)
class Patient:
    """What does not change between the visits."""

    sex: str
    scale: float
    seed: int
    swing_mm: tuple[float, float]
    swing_phase: float
    fat_mm: float
    organ_mm: tuple[float, float, float]
    organ_scale: float
    marrow: float
    vessels: int


@dataclass(frozen=True)
class Visit:
    """What changes between the visits: filling, soft-tissue motion, tumour or bed.

    bladder_fill, rectum_fill  relative radius of the bladder and of the rectum
    content                    of the rectum: "gas", "gel" or "stool"
    soft_mm                    size of the smooth motion of soft tissue relative to bone; 0 before treatment
    soft_phase                 draws the waves of that motion
    treated                    False: tumour; True: bed with fibrosis and blob
    """

    bladder_fill: float
    rectum_fill: float
    content: str
    soft_mm: float
    soft_seed: int
    treated: bool


@dataclass
class Layer:
    """One shape to paint.

    distance_mm  signed distance, coarse samples
    tissue       name of the tissue inside, or its signal (fat = 1)
    rim, rim_mm  tissue and thickness of a rim along the inside of the border
    shell_mm     paint only a sheet of this thickness along the border
    opacity      0..1
    where        the part of the coarse samples that distance_mm covers
    """

    name: str
    tissue: str | float
    distance_mm: np.ndarray
    rim: str | None = None
    rim_mm: float = 0.0
    shell_mm: float = 0.0
    opacity: float = 1.0
    where: Where = (slice(None), slice(None), slice(None))


def draw_patient(rng: np.random.Generator) -> Patient:
    """A patient's own proportions."""
    return Patient(sex="male" if rng.random() < 0.62 else "female", scale=float(rng.uniform(0.95, 1.05)), seed=int(rng.integers(2**31)),
                   swing_mm=(float(rng.uniform(1, 6)), float(rng.uniform(0, 2))), swing_phase=float(rng.uniform(0, 2 * np.pi)),
                   fat_mm=float(rng.uniform(-4, 14)), organ_mm=tuple(float(v) for v in rng.uniform(-3, 3, 3)),
                   organ_scale=float(rng.uniform(0.85, 1.2)), marrow=float(rng.uniform(0.72, 0.95)), vessels=int(rng.integers(2**31)))


def soft_motion(p: Points, visit: Visit) -> Points:
    """Where the tissue now at p lay before treatment: smooth, a few mm in the pelvic cavity, vanishing towards bone."""
    if not visit.soft_mm:
        return p
    rng = np.random.default_rng(visit.soft_seed)
    x, y, z = p
    window = np.exp(-np.square(np.square(x / 42) + np.square((y - 26) / 52))) * np.float32(visit.soft_mm / np.sqrt(1.5))
    moved = []
    for axis in range(3):
        u = 0
        for _ in range(3):
            k = rng.normal(0, 1 / 45.0, 3).astype(np.float32)
            u = u + np.cos(k[0] * x + k[1] * y + k[2] * z + np.float32(rng.uniform(0, 2 * np.pi)))
        moved.append(p[axis] + window * u)
    return tuple(moved)


def _motion_image(sampler: Sampler, place: Placement, points: Points, soft: Points) -> sitk.Image:
    """The soft motion as a displacement image (LPS, mm) on the coarse samples."""
    step = [s - p for s, p in zip(soft, points)]
    moved = np.stack([sum(np.float32(row[i]) * step[i] for i in range(3)) for row in place.rotation], axis=-1)
    image = sitk.GetImageFromArray(moved.astype(np.float64), isVector=True)
    at = sampler.coarse_grid()
    image.SetOrigin(at.origin_mm)
    image.SetSpacing(at.spacing_mm)
    image.SetDirection(tuple(at.direction.ravel()))
    return image


@dataclass
class Fields:
    """Random fields of one patient: slow (warps and shading), middle (strands, folds)."""

    slow: Noise
    middle: Noise
    fine: Noise

    @staticmethod
    def of(patient: Patient) -> "Fields":
        """The fields that belong to a patient; the same at both visits."""
        rng = np.random.default_rng(patient.seed)
        return Fields(Noise(rng, 4, 24, (24, 24, 24), 14.0, 1), Noise(rng, 3, 56, (72, 72, 56), 4.5, 1),
                      Noise(rng, 1, 96, (200, 200, 150), 1.5, 1))


class Scene:
    """A patient at one visit, evaluated on coarse samples.

    sampler, place  the scan's samples and how the patient lies in it
    """

    def __init__(self, sampler: Sampler, place: Placement, patient: Patient, visit: Visit, latent: dict, fields: Fields) -> None:
        self.patient, self.visit, self.latent, self.fields = patient, visit, latent, fields
        scale = np.float32(1 / patient.scale)
        points = sampler.points(place)
        soft = soft_motion(points, visit)
        motion = _motion_image(sampler, place, points, soft) if visit.soft_mm else None
        warp = fields.slow.at(sampler, place)
        moved = fields.slow.at(sampler, place, motion=motion) if visit.soft_mm else warp

        def locate(centre: np.ndarray, reach_mm: float):
            return sampler.ball(place, centre * patient.scale, reach_mm * patient.scale + 12.0)

        self.bone = Space(tuple((p + np.float32(1.5) * w) * scale for p, w in zip(points, warp)), locate)
        self.organ = Space(tuple((p + np.float32(2.3) * w) * scale for p, w in zip(soft, moved)), locate)
        self.shade = moved[3]
        self.middle = fields.middle.at(sampler, place, motion=motion)
        self.septa = fields.middle.at(sampler, place, stretch=(5.0, 1.6, 4.0))[0]
        self.layers: list[Layer] = []
        self._body()
        self._muscles()
        self._bones()
        self._vessels()
        self._organs()
        self._rectum()

    def _add(self, name: str, tissue: str | float, distance: np.ndarray, **look) -> None:
        if distance.size and distance.min() < 1.5:
            self.layers.append(Layer(name, tissue, np.clip(distance * np.float32(self.patient.scale), -DEEP_MM, DEEP_MM), **look))

    def _rod(self, name: str, tissue: str, space: Space, start, stop, radius: float, **look) -> None:
        """A vessel: a thin rod, evaluated only where it is."""
        start, stop = np.asarray(start, float), np.asarray(stop, float)
        part, where = space.near((start + stop) / 2, float(np.linalg.norm(stop - start)) / 2 + radius)
        self._add(name, tissue, part.rod(start, stop, radius, radius * 0.7), where=where, **look)

    def _blob(self, name: str, tissue: str, space: Space, centre, radii, **look) -> None:
        """A small ellipsoid, evaluated only where it is."""
        part, where = space.near(centre, max(radii))
        self._add(name, tissue, part.ellipsoid(centre, radii), where=where, **look)

    def _body(self) -> None:
        b, more = self.bone, self.patient.fat_mm
        front = np.float32(-94 - more) + 0.0026 * b.side**2 + 0.00002 * np.square(b.z - 10) * 10
        back = np.float32(140 + more) - 0.0022 * np.square(b.side - 60)
        self._add("body", "subcutaneous", np.maximum(np.maximum(front - b.y, b.y - back), b.side - np.float32(176 + more)), rim="skin", rim_mm=1.8)
        self._add("pelvic fat", "fat", self.bone.ellipsoid((0, 22, -4), (66, 92, 110)))

    def _muscles(self) -> None:
        b = self.bone
        cleft = without(b.loft(GLUTEUS, both_sides=True), b.rod((0, 160, -120), (0, 118, 60), 14, 6))
        lumps = np.float32(0.9) * self.septa
        self._add("gluteus maximus", "gluteus", cleft + lumps)
        for name, curve in (("gluteus medius", GLUTEUS_DEEP), ("quadratus femoris", QUADRATUS), ("iliopsoas", ILIOPSOAS), ("sartorius", SARTORIUS), ("vastus", VASTUS), ("obturator externus", OBTURATOR_EXTERNUS),
                            ("adductors", ADDUCTORS), ("pectineus", PECTINEUS), ("abdominal wall", ABDOMINAL_WALL), ("rectus", RECTUS)):
            self._add(name, "muscle", b.loft(curve, both_sides=True) + lumps, rim="fascia", rim_mm=0.7)
        self._add("piriformis", "gluteus", b.loft(PIRIFORMIS, both_sides=True) + lumps)
        self._add("obturator internus", "muscle", joined(b.loft(OBTURATOR_INTERNUS, both_sides=True), b.loft(ISCHIAL_TAIL, both_sides=True), 8) + 0.7 * lumps)
        self._add("sacrospinous ligament", "ligament", b.rod((8, 97, 8), (60, 55, 2), 3.2, 2.4, both_sides=True))

    def _bones(self) -> None:
        b = self.bone
        head = b.ellipsoid((FEMORAL_HEAD_MM, 0, 0), (HEAD_RADIUS_MM,) * 3, both_sides=True)
        ramus = joined(b.rod((72, -20, 6), (44, -36, -12), 10, 8, both_sides=True), b.rod((44, -36, -12), (17, -40, -24), 8, 11, both_sides=True), 6)
        pubis = joined(ramus, b.ellipsoid((17, -34, -31), (14, 18, 15), both_sides=True), 6)
        pubis = joined(pubis, b.rod((15, -24, -42), (54, 30, -66), 7, 6.5, both_sides=True), 6)
        hip = joined(joined(b.loft(ISCHIUM, both_sides=True), b.loft(ILIUM, both_sides=True), 10), pubis, 6)
        socket = head - 2.9
        self._add("hip bone", "marrow", without(np.maximum(hip, np.float32(2.3) - b.side), socket), rim="cortex", rim_mm=1.7)
        self._add("symphysis", "ligament", np.maximum(np.maximum(b.side - 2.5, np.abs(b.z + 31) - 14), np.abs(b.y + 37) - 16))
        joint = np.maximum(np.maximum(head - 2.4, b.side - np.float32(FEMORAL_HEAD_MM + 12)), hip - 2.0)
        self._add("joint", "cartilage", joint, opacity=0.8)
        self._add("acetabular fat", "fat", b.ellipsoid((66.5, 4, -8), (3.2, 11, 11), both_sides=True))
        femur = joined(head, b.rod((FEMORAL_HEAD_MM, 0, 0), (132, 8, -28), 15, 17, both_sides=True), 6)
        self._add("femur", "marrow", femur, rim="cortex", rim_mm=1.7)
        sacrum = b.loft(SACRUM)
        disc = np.abs(np.mod(b.z + 0.35 * (b.y - 95) + 8, 22) - 11)
        self._add("sacrum", "marrow", sacrum, rim="cortex", rim_mm=1.5)
        self._add("discs", "cartilage", np.maximum(np.maximum(sacrum + 1.5, disc - 1.3), b.side - 14))
        for z in (34.0, 52.0, 70.0):
            for side in (-1, 1):
                x = side * (17 + 0.12 * z)
                self._blob("foramen", "fat", b, (x, 104, z), (4.5, 9, 5.5), rim="cortex", rim_mm=0.8)
                self._blob("root", "nerve", b, (x, 100, z - 2), (2.2, 3, 5))

    def _vessels(self) -> None:
        b = self.bone
        for name, curve, radius in (("artery", ARTERY, 5.2), ("vein", VEIN, 6.4)):
            cx, cy = b.look(curve)
            self._add(name, "flow", np.sqrt(np.square(b.side - cx) + np.square(b.y - cy)) - radius, rim="vessel_wall", rim_mm=1.0)
        rng = np.random.default_rng(self.patient.vessels)
        for _ in range(22):                                   # vessels of the pelvic side walls and around the bladder
            start = np.array([rng.choice([-1, 1]) * rng.uniform(20, 46), rng.uniform(-28, 40), rng.uniform(-6, 48)])
            stop = start + rng.normal(0, 1, 3) * (5, 9, 12)
            self._rod("pelvic vessel", str(rng.choice(["flow", "slow_flow", "vessel_wall", "vessel_wall"])), self.organ, start, stop, rng.uniform(0.9, 1.9))
        for at, spread, count, tissues in (((56, 62, 4), (7, 5, 20), 5, ("flow", "slow_flow", "nerve")), ((40, -4, 10), (6, 22, 20), 7, ("flow", "slow_flow", "flow")),
                                           ((40, 90, -20), (20, 30, 30), 3, ("flow",)), ((52, -70, 0), (22, 8, 40), 5, ("flow", "slow_flow", "node")),
                                           ((46, 40, 22), (6, 12, 16), 5, ("flow", "slow_flow"))):
            for _ in range(count):
                side = float(rng.choice([-1, 1]))
                start = np.array(at) + rng.uniform(-1, 1, 3) * spread
                stop = start + rng.normal(0, 1, 3) * (5, 7, 14)
                radius = rng.uniform(1.1, 2.6)
                start[0] *= side
                stop[0] *= side
                self._rod("vessel", str(rng.choice(tissues)), b, start, stop, radius, rim="vessel_wall", rim_mm=0.7)

    def _organs(self) -> None:
        o, p, v = self.organ, self.patient, self.visit
        levator = o.loft(FUNNEL)
        thick = 1.7 + 1.6 * np.clip((-24 - o.z) / 14, 0, 1)
        cut = np.maximum(o.z - 3, np.float32(-16) - o.y)
        self._add("levator ani", "levator", np.maximum(levator - thick, cut))
        self._add("pelvic fat", "fat", np.maximum(levator + thick, np.maximum(o.z - 3, np.float32(-28) - o.y)))
        self._add("anal sphincter", "levator", o.loft(EXTERNAL_SPHINCTER))
        fill, (dx, dy, dz) = np.float32(v.bladder_fill), p.organ_mm
        base = -4.0
        height = 23.0 * fill
        middle = self.middle[1]
        bladder = o.ellipsoid((dx, -26 + 2 * fill, base + height), (37 * fill**0.8, 27 * fill, height), turn_deg=-12) + 0.3 * middle
        urine = bladder + np.float32(5.6 - 3.2 * (fill - 0.75))
        if p.sex == "male":
            self._male(o, p)
        else:
            self._female(o, p)
        self._add("bladder wall", "bladder_wall", bladder)
        self._add("bladder", "urine", urine)
        self._loops(o)

    def _male(self, o: Space, p: Patient) -> None:
        s = p.organ_scale
        prostate = o.ellipsoid((0, 8, -14), (23 * s, 17 * s, 20 * s)) + 0.6 * self.middle[0]
        self._add("periprostatic veins", "plexus", o.ellipsoid((0, 0, -10), (30 * s, 22 * s, 18 * s)), opacity=0.5)
        self._add("prostate", "peripheral_zone", prostate, rim="fascia", rim_mm=0.9)
        self._add("transition zone", "transition_zone", o.ellipsoid((0, 3, -12), (17 * s, 12.5 * s, 16 * s)) + 0.7 * self.middle[1], rim="muscle", rim_mm=0.9)
        self._add("anterior stroma", "muscle", o.ellipsoid((0, -9 * s + 2, -14), (10, 4, 14)))
        self._add("neurovascular bundles", "plexus", o.ellipsoid((27, 22, -6), (7, 9, 22), both_sides=True), opacity=0.55)
        self._add("vesical plexus", "plexus", o.ellipsoid((34, 10, 14), (9, 22, 16), both_sides=True), opacity=0.4)
        vesicles = o.ellipsoid((17, 32, 11), (17, 6.5, 8), both_sides=True) + 1.2 * self.middle[2]
        self._add("seminal vesicles", "vesicle", vesicles)
        self._add("cord", "subcutaneous", o.ellipsoid((54, -72, -10), (9, 8, 40), both_sides=True), rim="fascia", rim_mm=1.0)

    def _female(self, o: Space, p: Patient) -> None:
        s = p.organ_scale
        turn = 20 + 8 * p.organ_mm[0]
        body = o.ellipsoid((3 * p.organ_mm[1], 10, 38), (25 * s, 20 * s, 30 * s), turn_deg=turn)
        self._add("parametrium", "plexus", o.ellipsoid((0, 18, 12), (44, 14, 18)), opacity=0.45)
        self._add("vagina", "levator", o.ellipsoid((0, 12, -24), (17, 5.5, 26), turn_deg=10))
        self._add("vaginal lumen", "peripheral_zone", o.ellipsoid((0, 12, -24), (12, 1.2, 24), turn_deg=10), opacity=0.7)
        self._add("urethra", "transition_zone", o.ellipsoid((0, -8, -22), (8, 8, 20)), rim="muscle", rim_mm=2.4)
        self._add("uterus", "uterus", body + 0.8 * self.middle[0], rim="fascia", rim_mm=0.6)
        self._add("junctional zone", "muscle", body + 12 * s, opacity=0.7)
        self._add("endometrium", "gel", body + 15.5 * s)
        cervix = o.ellipsoid((0, 16, 6), (15, 12, 15))
        self._add("cervix", "levator", cervix)
        self._add("cervical canal", "peripheral_zone", o.ellipsoid((0, 16, 6), (4.5, 2.5, 12)), opacity=0.8)
        for side in (-1, 1):
            self._blob("ovary", "uterus", o, (side * 37, 12, 34), (11, 9, 13))
            for shift in ((-4, 2, 3), (4, -3, -4), (3, 3, 5)):
                self._blob("follicle", "urine", o, (side * 37 + shift[0], 12 + shift[1], 34 + shift[2]), (3.4, 3.2, 3.6))

    def _loops(self, o: Space) -> None:
        rng = np.random.default_rng(self.visit.soft_seed + 1)
        for _ in range(5):
            centre = np.array([rng.uniform(-38, 38), rng.uniform(-40, 20), rng.uniform(66, 84)])
            stop = centre + rng.normal(0, 1, 3) * (24, 16, 5)
            radius = rng.uniform(8, 12)
            loop = o.rod(centre, stop, radius, radius) + self.middle[2]
            self._add("bowel wall", "rectal_wall", loop)
            self._add("bowel content", str(rng.choice(["stool", "gel", "gas"])), loop + 2.4 + 0.6 * self.middle[0])

    def _rectum(self) -> None:
        o, p, v, t = self.organ, self.patient, self.visit, self.latent
        cx, cy, rx, ry = o.look(RECTUM)
        dilate = 1 + np.float32(v.rectum_fill - 1) * np.clip((o.z + 40) / 30, 0, 1)
        fold = 1 + 0.07 * np.sin(o.z / 7.5 + np.float32(p.swing_phase))
        rx, ry = rx * dilate * fold, ry * dilate / np.sqrt(fold)
        fade = np.clip((o.z + 50) / 40, 0, 1)
        dx = o.x - fade * (p.swing_mm[0] * np.sin(o.z / 30 + np.float32(p.swing_phase)))
        dy = o.y - cy
        k0 = np.sqrt(np.square(dx / rx) + np.square(dy / ry))
        k1 = np.sqrt(np.square(dx / (rx * rx)) + np.square(dy / (ry * ry)))
        outer = k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-5))           # distance to the outside of the wall
        outer = outer + 0.4 * self.middle[0]
        meso = o.loft(MESORECTUM)
        self._add("mesorectum", "mesorectal_fat", meso)
        self._add("mesorectal fascia", "fascia", meso, shell_mm=0.9, opacity=0.55)
        self._mesorectal_vessels(o)
        self._add("muscularis", "rectal_wall", outer)
        self._add("submucosa", "submucosa", outer + 2.3 + 0.3 * self.middle[2])
        lumen = outer + 4.4 + 1.1 * self.middle[1] + 1.3 * np.sin(3 * np.arctan2(dx, dy) + o.z / 9)
        shape = self._crescent(o.z, np.arctan2(dx, dy), outer)
        size = t["bed_volume_fraction"] ** (1 / 3) if v.treated else 1.0
        lesion, along = shape(size)
        self._add("rectal lumen", v.content, without(lumen, lesion))
        if not v.treated:
            self._add("tumour", t["tumour_signal"], lesion)
            return
        self._add("bed", t["fibrosis_signal"], lesion)
        shift = [t[f"blob_shift_{axis}"] for axis in ("along", "around", "deep")]
        q = np.sqrt(sum(np.square(a - np.float32(s)) for a, s in zip(along, shift)))
        blob = (q - np.float32(t["blob_size_fraction"])) * np.float32(t["tumour_thickness_mm"] / 2 * size) + 0.25 * self.middle[2]
        self._add("blob", t["blob_signal"], np.maximum(blob, lesion + 0.5))

    def _crescent(self, z: np.ndarray, angle: np.ndarray, outer: np.ndarray):
        """The tumour's site: an ellipsoid in (height, angle, depth) along the wall, scaled by size about its middle."""
        t = self.latent
        turn = np.float32(2 * np.pi)
        away = angle - np.float32(np.deg2rad(t["tumour_angle_deg"]))
        away = away - turn * np.round(away / turn)
        irregular = 0.7 * self.middle[2] + 0.6 * self.middle[0]

        def shape(size: float):
            half = (t["tumour_length_mm"] / 2 * size, np.deg2rad(t["tumour_arc_deg"]) / 2 * size, t["tumour_thickness_mm"] / 2 * size)
            along = [(z - np.float32(t["tumour_centre_mm"])) / np.float32(half[0]), away / np.float32(half[1]),
                     (outer + np.float32(t["tumour_depth_mm"])) / np.float32(half[2])]
            q = np.sqrt(np.square(along[0]) + np.square(along[1]) + np.square(along[2]))
            return (q - 1) * np.float32(half[2]) + irregular, along

        return shape

    def _mesorectal_vessels(self, o: Space) -> None:
        rng = np.random.default_rng(self.patient.vessels + 1)
        for _ in range(22):
            z = rng.uniform(-16, 62)
            _, my, mrx, mry = MESORECTUM.at(z)
            _, ry, rrx, rry = RECTUM.at(z)
            angle = rng.uniform(-1.9, 1.9)
            reach = rng.uniform(0.35, 0.85)
            x = np.sin(angle) * ((1 - reach) * (rrx + 3) + reach * mrx)
            y = (1 - reach) * ry + reach * my + np.cos(angle) * ((1 - reach) * (rry + 3) + reach * mry)
            radius = rng.uniform(0.8, 1.6)
            if rng.random() < 0.2:
                radius = rng.uniform(2.0, 3.4)
                self._blob("node", "node", o, (x, y, z), (radius, radius, radius * 1.3))
            else:
                stop = np.array([x, y, z]) + rng.normal(0, 1, 3) * (4, 4, 16)
                self._rod("mesorectal vessel", str(rng.choice(["flow", "slow_flow", "vessel_wall"])), o, (x, y, z), stop, radius)


def bony_landmarks(patient: Patient) -> dict[str, np.ndarray]:
    """Anatomy coordinates (mm) of bony points before the patient's slow warp (up to a few mm), the same at both visits."""
    side = np.array([FEMORAL_HEAD_MM * patient.scale, 0.0, 0.0])
    return {"left_femoral_head": side, "right_femoral_head": -side}
