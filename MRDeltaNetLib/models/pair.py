"""What all networks for two visits share: one encoder for both, the ROI at every scale, the auxiliary loss, the maps."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import nn

from MRDeltaNetLib.models.comparison import Frames, in_plane_offset_mm
from MRDeltaNetLib.models.encoder import STRIDES, Encoder, Geometry, Stride
from MRDeltaNetLib.models.losses import IntensityDecoding

PRESETS = {
    "tiny": {"dims": (16, 32, 64, 128), "blocks": (1, 2, 2), "heads": 4, "latents": (32, 16), "hidden": 64, "drop_path": 0.0},
    "small": {"dims": (24, 48, 96, 192), "blocks": (2, 2, 3), "heads": 4, "latents": (48, 24), "hidden": 96, "drop_path": 0.1},
    "base": {"dims": (32, 64, 128, 256), "blocks": (2, 2, 4), "heads": 8, "latents": (64, 32), "hidden": 128, "drop_path": 0.2},
}
"""Sizes for fewer than 200, 200 to 600, and more than 600 training cases."""

SCALES = {"both": (0, 1), "fine": (0,), "coarse": (1,)}
"""Setting -> scales that a network compares and pools, 0 the finest."""

ROI_MODES = ("channel", "mask", "none")
"""How a network knows the ROI, see PairNetwork."""


class PairNetwork(nn.Module):
    """Base of the networks.

    Input (B, timepoint 2, channel 2, D, H, W), float32: timepoints pre, post; channels normalised T2, soft ROI in [0, 1].
    The encoder runs once per visit (not once on a stack of both) as soon as gradients are wanted or a hook sits on it, so that
    an attribution sees each visit by itself. Otherwise both visits go through together: the same numbers, and a batch of one
    case becomes a batch of two, without which torch takes a slow convolution for it on the CPU (measured: 5 times slower).

    preset      sizes, see PRESETS
    auxiliary   whether training also decodes token intensities and projects each visit's anatomy; these weights are used in training
                only, so that the network of a bundle is built without them (its weights are the others)
    drop_path   largest rate of stochastic depth, reached linearly from 0 at the input; None: the preset's
    scales      "both", "fine" or "coarse": the scales whose tokens leave the encoder; the maps are on the finest of them
    roi_mode    "channel": the ROI is the encoder's second channel, and the parts behind it anchor, pool and gate by it. "mask": the encoder
                sees T2 times ROI instead, so nothing outside the ROI; the rest as before. "none": the whole crop is taken for the ROI, so
                that input, anchoring, pooling and auxiliary losses are the same whatever the ROI is (crops are still cut around it)
    """

    sees_image_content = True
    """Whether the maps depend on the images; False would mean that they show position and ROI alone."""

    strides: tuple[Stride, ...] = STRIDES
    """Voxels (z, y, x) that a token of each scale spans."""

    token_stride = STRIDES[0]
    """Voxels (z, y, x) of the input that one token of the maps spans."""

    convolutional_stage: str | None = "encoder.stage1"
    """The last part of the encoder that is convolutions alone at the finest features (3 mm at 0.75 x 0.75 x 3 mm voxels), called once a visit: where
    Grad-CAM looks. Its activations up to there are ReLU modules."""

    map_formulas: Mapping[str, str] = {}
    """Map name -> formula, where it is not that of the alignment networks (response.explanation.FORMULAS)."""

    map_note: str | None = None
    """What has to be said of the maps' resolution, where it is not that of two scales."""

    comparison_kind: str | None = None
    """By what post tokens find the pre tokens that they are compared with: "content", "position" or "same place"; None: they are compared with
    no place, so that there is no correspondence."""

    _held: tuple[int, list[torch.Tensor]] | None = None
    """Visit and its features, see holding."""

    stages = tuple((name, tuple(f"encoder.{part}." for part in parts)) for name, parts in (
        ("stem", ("stem",)), ("stage1", ("stage1",)), ("stage2", ("down2", "stage2")))) + (
        ("stage3", ("encoder.down3.", "encoder.position", "encoder.stage3.")),)
    """For layers.layers: (stage, prefixes of its parameters' names) from the input on; the rest is the head."""

    def __init__(self, *, spacing_mm: tuple[float, float, float], crop_mm: tuple[float, float, float], preset: str,
                 auxiliary: bool, drop_path: float | None = None, scales: str = "both", roi_mode: str = "channel") -> None:
        super().__init__()
        self.sizes = sizes_of(preset)
        if scales not in SCALES:
            raise ValueError(f"scales={scales!r}: choose one of {', '.join(SCALES)}")
        if roi_mode not in ROI_MODES:
            raise ValueError(f"roi_mode={roi_mode!r}: choose one of {', '.join(ROI_MODES)}")
        self.scales, self.roi_mode = SCALES[scales], roi_mode
        self.geometry = Geometry(tuple(spacing_mm), tuple(crop_mm), self.strides)
        self.dims = tuple(self.sizes["dims"][2:][scale] for scale in self.scales)
        if scales != "both":
            self.token_stride, self.map_note = self.strides[self.scales[0]], _ONE_SCALE_NOTE
        drop_path = self.sizes["drop_path"] if drop_path is None else drop_path
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path={drop_path!r}: from 0 to below 1")
        self.encoder = self.make_encoder(drop_path)
        self.decoding = IntensityDecoding(self.dims, tuple(self.strides[scale] for scale in self.scales)) if auxiliary else None
        self.anatomy = AnatomyProjection(self.dims) if auxiliary and self.compares_visits else None

    compares_visits = True
    """False of a network that sees one visit only, so that there is no identity to compare."""

    def make_encoder(self, drop_path: float) -> nn.Module:
        """One visit (B, encoder_channels, D, H, W) -> features (B, dim, d, h, w), finest scale first; the last len(scales) are the tokens."""
        return Encoder(self.geometry, channels=self.encoder_channels, dims=self.sizes["dims"], blocks=self.sizes["blocks"],
                       heads=self.sizes["heads"], drop_path=drop_path, scales=self.scales)

    @property
    def encoder_channels(self) -> int:
        """T2 and ROI, or T2 alone."""
        return 2 if self.roi_mode == "channel" else 1

    def shown(self, x: torch.Tensor) -> torch.Tensor:
        """The input (B, 2, 2, D, H, W) as roi_mode lets the network know it: T2 (times ROI) and ROI (1 everywhere) of each visit."""
        check_shape(x, self.geometry)
        if self.roi_mode == "channel":
            return x
        t2, roi = x[:, :, 0], x[:, :, 1]
        return torch.stack([t2 * roi, roi] if self.roi_mode == "mask" else [t2, torch.ones_like(roi)], 2)

    @property
    def token_size_mm(self) -> tuple[float, float, float]:
        """Size (z, y, x) of one token of the maps, mm."""
        return self.geometry.token_mm(self.scales[0])

    @property
    def map_grid(self) -> tuple[int, int, int]:
        """Tokens (z, y, x) of the maps."""
        return self.geometry.tokens(self.scales[0])

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Features of the pre and of the post visit of a shown input, one (B, dim, d, h, w) a scale each."""
        check_shape(x, self.geometry)
        if self._held is not None and not torch.is_grad_enabled() and not _hooked(self.encoder):
            time, held = self._held
            known, other = [features.expand(len(x), *features.shape[1:]) for features in held], self.encode_visit(x, 1 - time)
            return (known, other) if time == 0 else (other, known)
        visits = x[:, :, :self.encoder_channels].transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last_3d)
        if torch.is_grad_enabled() or _hooked(self.encoder):
            return self.encoder(visits[:len(x)]), self.encoder(visits[len(x):])
        both = self.encoder(visits)
        return [features[:len(x)] for features in both], [features[len(x):] for features in both]

    @contextmanager
    def holding(self, x: torch.Tensor, time: int) -> Iterator[None]:
        """While this lasts, the features of visit `time` are those that x (1, 2, 2, D, H, W) has, whatever is given: they are computed once.

        For many variants of one case that differ in the other visit alone, and without gradients: with them, nothing is held.
        """
        with torch.inference_mode():
            self._held = time, self.encode_visit(self.shown(x), time)
        try:
            yield
        finally:
            self._held = None

    def frames(self, x: torch.Tensor) -> list[Frames]:
        """ROI and offset of each scale; a token's ROI is the mean over its voxels."""
        roi = x[:, :, 1]
        offset, valid = in_plane_offset_mm(roi[:, 0], roi[:, 1], self.geometry.spacing_mm[1::-1])
        pooled = [F.avg_pool3d(roi, self.strides[scale], self.strides[scale]).flatten(2) for scale in self.scales]
        return [Frames(r[:, 0], r[:, 1], offset, valid) for r in pooled]

    def encode_visit(self, x: torch.Tensor, time: int) -> list[torch.Tensor]:
        """Features of one visit (0 pre, 1 post) of a shown input, one (B, dim, d, h, w) a scale; the other visit is not touched."""
        check_shape(x, self.geometry)
        return self.encoder(x[:, time, :self.encoder_channels].contiguous(memory_format=torch.channels_last_3d))

    def auxiliary(self, x: torch.Tensor, tokens: list[tuple[torch.Tensor, ...]], times: tuple[int, ...] = (0, 1)) -> dict[str, torch.Tensor]:
        """{"intensity_decoding": loss}, mean over the visits, during training; empty otherwise.

        tokens  for each scale the normalised tokens (B, N, dim) of each visit of times
        """
        if self.decoding is None or not self.training:
            return {}
        losses = [self.decoding([visits[k] for visits in tokens], x[:, time]) for k, time in enumerate(times)]
        return {"intensity_decoding": sum(losses) / len(losses)}

    def identities(self, pre: list[torch.Tensor], post: list[torch.Tensor], frames: list[Frames]) -> torch.Tensor | None:
        """Projection of each visit's anatomy (B, 2, k), unit length, during training; None otherwise."""
        if self.anatomy is None or not self.training:
            return None
        return torch.stack([self.anatomy(pre, [frame.roi_pre for frame in frames]),
                            self.anatomy(post, [frame.roi_post for frame in frames])], 1)

    def on_map_grid(self, shares: list[torch.Tensor]) -> torch.Tensor:
        """Mean over scales of shares (B, N_s) on the finest token grid that is compared, (B, d, h, w).

        A coarser token's share is divided equally among the fine tokens it covers, so that the total stays 1.
        """
        fine = self.map_grid
        total = 0
        for scale, share in zip(self.scales, shares):
            grid = self.geometry.tokens(scale)
            factor = [f // g for f, g in zip(fine, grid)]
            spread = F.interpolate(share.unflatten(1, grid)[:, None], scale_factor=factor, mode="nearest")[:, 0]
            total = total + spread / (factor[0] * factor[1] * factor[2])
        return total / len(shares)


class AnatomyProjection(nn.Module):
    """Who a visit shows: the mean of its own tokens outside its own ROI, a = sum_i (1 - r_i) f_i / sum_i (1 - r_i) at each scale
    (all tokens where the ROI fills the crop), each scale normalised, side by side, projected and brought to unit length.

    Tokens of the tumour are left out because they are what treatment changes. Training only.
    """

    def __init__(self, dims: tuple[int, ...], size: int = 32) -> None:
        super().__init__()
        self.project = nn.Linear(sum(dims), size)

    def forward(self, features: list[torch.Tensor], roi: list[torch.Tensor]) -> torch.Tensor:
        """features (B, dim, d, h, w) and ROI (B, N) of one visit, one a scale -> (B, size)."""
        means = []
        for feature, inside in zip(features, roi):
            outside = (1 - inside).clamp(min=0)
            outside = torch.where(outside.sum(1, keepdim=True) > 0, outside, torch.ones_like(outside))
            weight = (outside / outside.sum(1, keepdim=True)).to(feature.dtype)
            means.append(F.layer_norm((feature.flatten(2) @ weight[..., None])[..., 0], feature.shape[1:2]))
        return F.normalize(self.project(torch.cat(means, 1)).float(), dim=1)


_ONE_SCALE_NOTE = "one scale alone is compared: all of the weight comes from tokens of this size"


def sizes_of(preset: str) -> dict:
    """The entry of PRESETS; raises ValueError for another name."""
    if preset not in PRESETS:
        raise ValueError(f"preset={preset!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[preset]


def check_shape(x: torch.Tensor, geometry: Geometry) -> None:
    """Raises ValueError unless x is (B, timepoint 2, channel 2, D, H, W) of this crop."""
    if x.ndim != 6 or tuple(x.shape[1:]) != (2, 2, *geometry.voxels):
        raise ValueError(f"this network takes (B, 2, 2, {', '.join(map(str, geometry.voxels))}), not {tuple(x.shape)}")


def _hooked(module: nn.Module) -> bool:
    """Whether anybody watches this module or a part of it."""
    return any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in module.modules())
