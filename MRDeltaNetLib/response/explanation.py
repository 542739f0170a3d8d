"""The network's own maps as images: what the score rests on, each with its formula, unit and true resolution.

No gradient is involved. The maps describe how the network pooled and aligned its tokens, not what causes a response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError, require
from MRDeltaNetLib.response.prediction import Prediction

if TYPE_CHECKING:
    import numpy as np
    import torch

FORMULAS = {
    "attention_post": "s_i = mean over scales and pooled inputs of the weight of post token i in the score's pooled inputs "
                      "(gated attention and gated maxima over the post ROI); sum s_i = 1; shown as s_i / m, m the largest share on either scan",
    "attention_pre": "t_j = mean over scales of sum_i s_i A_ij: the shares s carried to the pre tokens that the post tokens were "
                     "compared with; sum t_j = 1; shown as t_j / m, m the largest share on either scan",
    "change_post": "c_i = |V b_i - sum_j A_ij V a_j|, length of the aligned change of post token i at the finest scale",
}
"""How each map is computed; s, t, c on the token grid, then trilinear interpolation to the crop grid. A network that makes them
in another way names its own (map_formulas)."""

UNITS = {"attention_post": "share of the largest token's share on either scan, 0 to 1", "attention_pre": "share of the largest token's share on either scan, 0 to 1",
         "change_post": "length of the change vector in network units; compare within one map only"}

ATTENTION = ("attention_pre", "attention_post")
"""The maps that share one scale."""

COARSE_NOTE = "half of the weight comes from tokens twice this size, spread evenly over the tokens that they cover"
"""Attention is the mean over the network's two scales."""

ToImage = Callable[["np.ndarray", sitk.Image], sitk.Image]


def explain(prediction: Prediction, grid: sitk.Image, to_image: ToImage) -> dict[str, tuple[sitk.Image, Mapping[str, Any]]]:
    """The maps on the crop grid.

    prediction  from prediction.predict
    grid        the crop grid (Prepared.grid)
    to_image    (float32 array (depth, height, width), grid) -> sitk.Image on that grid: imaging.preprocessing.image_on_grid
    returns     name -> (image float32, facts); facts hold method, formula, unit, resolution_mm (x, y, z), sees_image_content,
                largest_token (what 1.0 stands for in attention maps, the largest value of change_post), scale_top, normalisation. Both attention maps share one
                scale: the largest token of the two is 1.0.
    raises      InputError MRD-E707 if a map is not finite or all zero, so that it would show nothing
    """
    tokens = {name: getattr(prediction.output, name)[0] for name in FORMULAS}
    for name, values in tokens.items():
        if not values.isfinite().all() or float(values.max()) <= 0:
            raise InputError(f"The map '{name}' is empty, so there is nothing to show", code="MRD-E707",
                             found=f"largest value {float(values.max()):g}", fix="check the model with `mrdeltanet model verify`")
    most = max(float(tokens[name].max()) for name in ATTENTION)
    maps = {}
    for name, values in tokens.items():
        top = most if name in ATTENTION else float(values.max())
        shown = values / most if name in ATTENTION else values
        divided = f"divided by {most:.6g}, the largest token's share on either scan" if name in ATTENTION else "none: network units"
        facts = map_facts(name, prediction.map_facts) | {"largest_token": top, "scale_top": 1.0 if name in ATTENTION else top, "normalisation": divided}
        maps[name] = (to_image(on_voxels(shown, _size_zyx(grid)), grid), facts)
    return maps


def on_voxels(tokens: "torch.Tensor", voxels: tuple[int, int, int]) -> "np.ndarray":
    """Trilinear interpolation of a token map to voxels, float32.

    tokens  (d, h, w); voxels (z, y, x), a whole multiple of it. Token k of an axis with stride s stands for voxels
            k s to k s + s - 1, and its value is taken at their middle; beyond the outermost middles the map stays constant.
    """
    torch = require("torch", "Explanation", "install PyTorch (in 3D Slicer: the PyTorch extension)")
    return torch.nn.functional.interpolate(tokens[None, None].float(), size=voxels, mode="trilinear", align_corners=False)[0, 0].numpy()


def map_facts(name: str, network: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be said with a native map.

    name     of FORMULAS
    network  Prediction.map_facts
    """
    by_content = network["sees_image_content"]
    facts = {"method": name.rsplit("_", 1)[0], "formula": network.get("formulas", {}).get(name, FORMULAS[name]), "unit": UNITS[name], "resolution_mm": tuple(network["token_size_mm"][::-1]),
             "interpolation": "trilinear inside the crop, zero outside", "sees_image_content": by_content}
    if name != "change_post":
        facts["resolution_note"] = network.get("resolution_note") or COARSE_NOTE
    if not by_content:
        facts["caution"] = "position and tumour outline alone make this map; it does not depend on the images"
    elif name == "attention_pre" and not network["alignment_sees_image_content"]:
        facts["caution"] = "carried to the baseline by position in both tumour frames alone, not by image content"
    return facts


def _size_zyx(grid: sitk.Image) -> tuple[int, int, int]:
    return tuple(grid.GetSize()[::-1])
