"""From shapes to a scan: painting with partial volume, tissue texture, coil, gain and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.imaging.phantom import contrast
from MRDeltaNetLib.imaging.phantom.anatomy import Fields, Layer, Patient, Scene, Visit
from MRDeltaNetLib.imaging.phantom.geometry import Grid, Placement, Sampler

MASKS = ("tumour", "bed", "blob")
FINE_STEP_MM = 1.35
"""Sampling of the finest texture, mm in plane."""


@dataclass(frozen=True)
class Scan:
    """One rendered scan.

    image  SimpleITK.Image float32
    masks  uint8 on its grid: "tumour" before treatment; "bed" and "blob" after it; and one for each tissue asked for
    """

    image: sitk.Image
    masks: dict[str, sitk.Image]


def render(grid: Grid, place: Placement, patient: Patient, visit: Visit, latent: dict, *, fields: Fields | None = None,
           rng: np.random.Generator | None = None, tissues: tuple[str, ...] = (), reader_mm: float = 0.0, reader_seed: int = 0,
           scanner: contrast.Scanner = contrast.DEFAULT_SCANNER) -> Scan:
    """One scan of the patient on any grid.

    fields     the patient's random fields, if the caller has them already
    rng        draws coil shading, gain and noise; None: none of these (the image is the signal with fat = 1)
    tissues    names of contrast.SIGNAL: a mask of each, voxels that are it for more than half
    reader_mm  SD of a smooth error of the masks' borders, as between readers; 0: the truth
    scanner    which scanner's looks the image gets; only where rng is given
    """
    inner, order = grid.thick_axis_last()
    sampler = Sampler(inner)
    scene = Scene(sampler, place, patient, visit, latent, fields or Fields.of(patient))
    slip = _reader_slip(sampler.points(place), reader_mm, reader_seed) if reader_mm else None
    painter = _Painter(sampler, scene, place, tissues, slip)
    volume, masks = painter.paint()
    if rng is not None:
        shading, quiet = contrast.coil(sampler.points(place), rng, scanner)
        sd, gain = contrast.draw_noise_and_gain(rng, scanner)
        volume = contrast.recorded(volume, inner.spacing_mm, scanner)
        for k, slice_ in enumerate(volume):
            slice_ *= sampler.fine_slice(shading[k + 1])
            contrast.add_rician(slice_, np.float32(sd) * sampler.fine_slice(quiet[k + 1]), rng)
            slice_ *= np.float32(gain)
    back = tuple(2 - order.index(2 - axis) for axis in range(3))

    def placed(array: np.ndarray) -> sitk.Image:
        return grid.image(np.ascontiguousarray(array.transpose(back)))

    return Scan(placed(volume), {name: placed(mask) for name, mask in masks.items()})


def _reader_slip(points, sd_mm: float, seed: int) -> np.ndarray:
    """How far a reader draws a border too far in (mm): an overall part and smooth waves of some 30 mm."""
    rng = np.random.default_rng([seed, 77])
    slip = np.full(points[0].shape, rng.normal(0, 0.6 * sd_mm), np.float32)
    for _ in range(6):
        k = rng.normal(0, 1 / 9.0, 3).astype(np.float32)
        slip += np.float32(0.8 * sd_mm / np.sqrt(3)) * np.cos(sum(k[i] * points[i] for i in range(3)) + np.float32(rng.uniform(0, 2 * np.pi)))
    return slip


class _Painter:
    """Paints the layers of a scene slice by slice, each inside its own box."""

    def __init__(self, sampler: Sampler, scene: Scene, place: Placement, tissues: tuple[str, ...], slip: np.ndarray | None) -> None:
        self.sampler, self.scene, self.tissues, self.slip = sampler, scene, tissues, slip
        self.edge = np.float32(np.mean(sampler.grid.spacing_mm[:2]))
        fine = Sampler(sampler.grid, FINE_STEP_MM)
        noise = scene.fields.fine
        self.fine_sampler = fine
        self.grain = noise.at(fine, place)[0]
        self.fibre = noise.at(fine, place, stretch=(5.0, 1.0, 5.0))[0]

    def paint(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Signal (fat = 1), float32 (z, y, x), and the masks of MASKS that the scene has."""
        shape = self.sampler.shape_fine
        volume = np.full(shape, contrast.SIGNAL["air"], np.float32)
        masks = {name: np.zeros(shape, np.uint8) for name in (MASKS[1:] if self.scene.visit.treated else MASKS[:1])}
        masks.update({tissue: np.zeros(shape, np.uint8) for tissue in self.tissues})
        prepared = [_Prepared.of(layer, self.sampler.shape_coarse, self.edge) for layer in self.scene.layers]
        for k in range(shape[0]):
            texture = _Texture(self, k)
            for item in prepared:
                if item.first <= k < item.first + len(item.scaled):
                    self._paint_layer(volume[k], masks, item, k, texture)
        return volume, masks

    def _paint_layer(self, slice_, masks, item: "_Prepared", k: int, texture: "_Texture") -> None:
        layer, corner = item.layer, item.corner
        scaled = item.scaled[k - item.first]
        box = self.sampler.box(scaled < 0.8 + (2 * layer.shell_mm or 0), corner)
        if box is None:
            return
        target = slice_[box.fine]
        f = self.sampler.fine_box(scaled, box, corner)
        tissue = contrast.SIGNAL[layer.tissue] if isinstance(layer.tissue, str) else layer.tissue
        value = texture.of(layer.tissue, tissue, box)
        if layer.shell_mm:
            w = self.sampler.fine_box(item.width[k - item.first], box, corner)
            cover = np.clip(0.5 + (0.5 * layer.shell_mm / w - np.abs(f)), 0, 1)
            cover *= np.minimum(layer.shell_mm / w, 1) * layer.opacity
            target += cover * (value - target)
            return
        if layer.rim:
            cover = np.clip(0.5 - f, 0, 1)
            target += cover * (np.float32(contrast.SIGNAL[layer.rim]) - target)
            f = f + layer.rim_mm / self.sampler.fine_box(item.width[k - item.first], box, corner)
        cover = np.clip(0.5 - f, 0, 1)
        if layer.name in MASKS:
            drawn = f if self.slip is None else f + self.sampler.fine_box(self.slip[k + 1], box) / self.edge
            masks[layer.name][k][box.fine] = drawn <= 0
        for tissue in self.tissues:
            masks[tissue][k][box.fine][cover > (0.02 if layer.tissue != tissue else 0.98)] = layer.tissue == tissue
        if layer.opacity < 1:
            cover *= layer.opacity
        target += cover * (value - target)


class _Prepared:
    """A layer with its distance over the width of a voxel across its border, so that a slice that cuts it slantwise shows partial volume.

    first   first scan slice it may touch; scaled, width  (slices, y, x); corner  where they begin among the coarse samples (y, x)
    """

    def __init__(self, layer: Layer, first: int, corner: tuple[int, int], scaled: np.ndarray, width: np.ndarray) -> None:
        self.layer, self.first, self.corner, self.scaled, self.width = layer, first, corner, scaled, width

    @staticmethod
    def of(layer: Layer, shape: tuple[int, int, int], edge_mm: float) -> "_Prepared":
        """Prepare one layer whose distances are samples of an array of this shape."""
        d = layer.distance_mm
        start = [where.indices(n)[0] for where, n in zip(layer.where, shape)]
        near = np.flatnonzero(d.reshape(len(d), -1).min(axis=1) < 3.0)
        low, high = max(near[0] - 1, 1), min(near[-1] + 2, len(d) - 1)
        d = d[low - 1:high + 1]
        width = np.sqrt(np.square(0.5 * (d[2:] - d[:-2])) + np.square(edge_mm))
        return _Prepared(layer, start[0] + low - 1, (start[1], start[2]), d[1:-1] / width, width)


class _Texture:
    """What makes a tissue look like itself in one slice, computed when first needed."""

    def __init__(self, painter: _Painter, k: int) -> None:
        self.painter, self.k, self.made = painter, k, {}

    def _slice(self, name: str) -> np.ndarray:
        if name not in self.made:
            self.made[name] = getattr(self, "_" + name)()
        return self.made[name]

    def _coarse(self, array: np.ndarray) -> np.ndarray:
        return self.painter.sampler.fine_slice(array[self.k + 1])

    def _fine(self, array: np.ndarray) -> np.ndarray:
        return self.painter.fine_sampler.fine_slice(array[self.k + 1])

    def _grain(self) -> np.ndarray:
        return self._fine(self.painter.grain)

    def _fibre(self) -> np.ndarray:
        return self._fine(self.painter.fibre)

    def _shade(self) -> np.ndarray:
        return self._coarse(self.painter.scene.shade)

    def _strand(self) -> np.ndarray:
        first, second, where = (self._coarse(m) for m in self.painter.scene.middle)
        shade = self._slice("shade")
        lines = np.exp(-np.square((first + 0.35 * shade) * 12)) * np.clip(where - 0.25, 0, 0.8)
        lines += 0.7 * np.exp(-np.square((second - 0.3 * shade) * 15)) * np.clip(-0.4 - where, 0, 0.8)
        return lines

    def _septa(self) -> np.ndarray:
        line = self._coarse(self.painter.scene.septa)
        where = self._coarse(self.painter.scene.middle[1])
        return np.exp(-np.square(line * 9)) * np.clip(where + 0.5, 0, 1)

    def _fat(self) -> np.ndarray:
        mottle = self._coarse(self.painter.scene.middle[2])
        return 1 + 0.05 * self._slice("shade") + 0.05 * mottle + 0.06 * self._slice("grain") - 0.5 * self._slice("strand")

    def _subcutaneous(self) -> np.ndarray:
        return 1 + 0.05 * self._slice("shade") + 0.03 * self._slice("grain") - 0.22 * self._slice("septa") - 0.1 * self._slice("strand")

    def _marrow(self) -> np.ndarray:
        shade = self._coarse(self.painter.scene.middle[2])
        return self.painter.scene.patient.marrow / 0.85 * (1 + 0.10 * self._slice("shade") + 0.07 * shade + 0.05 * self._slice("grain"))

    def _muscle(self) -> np.ndarray:
        return 1 + 1.5 * np.clip(self._slice("fibre") - 0.95, 0, 1.5) + 0.16 * self._slice("grain")

    def _gluteus(self) -> np.ndarray:
        return 1 + 2.2 * np.clip(self._slice("fibre") - 0.7, 0, 1.8) + 0.16 * self._slice("grain")

    def _gland(self) -> np.ndarray:
        middle = self._coarse(self.painter.scene.middle[0])
        return np.clip(1 + 0.22 * middle + 0.16 * self._slice("grain"), 0.2, 2)

    def _tubules(self) -> np.ndarray:
        middle = self._coarse(self.painter.scene.middle[1])
        return np.clip(1 + 0.38 * np.sin(3 * middle + 1.6 * self._slice("grain")) + 0.1 * self._slice("grain"), 0.2, 2)

    def _wall(self) -> np.ndarray:
        return 1 + 0.12 * self._slice("grain")

    def _lesion(self) -> np.ndarray:
        middle = self._coarse(self.painter.scene.middle[0])
        return 1 + 0.04 * middle + 0.05 * self._slice("grain")

    KIND = {"fat": "fat", "mesorectal_fat": "fat", "subcutaneous": "subcutaneous", "marrow": "marrow", "muscle": "muscle", "gluteus": "gluteus", "levator": "muscle",
            "peripheral_zone": "gland", "transition_zone": "tubules", "vesicle": "tubules", "plexus": "tubules", "uterus": "gland",
            "bladder_wall": "wall", "rectal_wall": "wall", "submucosa": "wall", "stool": "gland"}

    def of(self, tissue: str | float, signal: float, box) -> np.ndarray | np.float32:
        """Signal of the tissue in the box."""
        kind = self.KIND.get(tissue) if isinstance(tissue, str) else "lesion"
        return np.float32(signal) if kind is None else self._slice(kind)[box.fine] * np.float32(signal)
