"""Where voxels go: in-plane turns, scales, shifts and flips as affine maps, centroids, and sampling. Lengths in mm, places normalised as torch's grids."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def affine(angle, grow, mirror, shift_mm, slices, voxels, spacing_mm) -> torch.Tensor:
    """(B, 2, 4, 4) in normalised coordinates (x, y, z, 1), from output to input place."""
    half = [n * step / 2 for n, step in zip(voxels[::-1], spacing_mm)]
    matrix = torch.zeros(*angle.shape, 4, 4, device=angle.device)
    cos, sin = torch.cos(angle) / grow, torch.sin(angle) / grow
    matrix[..., 0, 0], matrix[..., 0, 1] = cos * mirror, -sin * half[1] / half[0]
    matrix[..., 1, 0], matrix[..., 1, 1] = sin * mirror * half[0] / half[1], cos
    matrix[..., 2, 2] = matrix[..., 3, 3] = 1
    matrix[..., 0, 3], matrix[..., 1, 3] = shift_mm[..., 0] / half[0], shift_mm[..., 1] / half[1]
    matrix[..., 2, 3] = slices * 2 / voxels[0]
    return matrix


def about(centre_mm, grow, shift_mm, voxels, spacing_mm) -> torch.Tensor:
    """(B, 2, 4, 4): what lies about centre_mm (x, y; origin in the middle of the crop) grows in plane by `grow` and then moves by shift_mm."""
    half = torch.tensor([n * step / 2 for n, step in zip(voxels[::-1], spacing_mm)], device=grow.device)[:2]
    matrix = torch.eye(4, device=grow.device).repeat(*grow.shape, 1, 1)
    matrix[..., 0, 0] = matrix[..., 1, 1] = 1 / grow
    matrix[..., :2, 3] = (centre_mm * (1 - 1 / grow[..., None]) - shift_mm / grow[..., None]) / half
    return matrix


def sample(volumes: torch.Tensor, place: torch.Tensor, outside: str) -> torch.Tensor:
    """(B, 2, D, H, W) interpolated linearly at place."""
    flat = volumes.flatten(0, 1)[:, None]
    grid = F.affine_grid(place.flatten(0, 1)[:, :3], list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, mode="bilinear", padding_mode=outside, align_corners=False)[:, 0].unflatten(0, volumes.shape[:2])


def moved_by_voxels(volumes: torch.Tensor, offset: torch.Tensor, outside: str) -> torch.Tensor:
    """(B, 2, D, H, W) read at place + offset (B, 3: slice, row, column, whole numbers): what was at offset comes to 0. outside: "edge" repeats, or "zero"."""
    shape, first = volumes.shape, torch.arange(len(volumes), device=volumes.device)[:, None, None, None]
    wanted = [torch.arange(size, device=volumes.device) + offset[:, axis, None] for axis, size in enumerate(shape[2:])]
    inside = [(place >= 0) & (place < size) for place, size in zip(wanted, shape[2:])]
    z, y, x = (place.clamp(0, size - 1) for place, size in zip(wanted, shape[2:]))
    found = volumes.movedim(1, -1)[first, z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]].movedim(-1, 1)
    if outside == "edge":
        return found
    there = inside[0][:, :, None, None] & inside[1][:, None, :, None] & inside[2][:, None, None, :]
    return found * there[:, None].to(found.dtype)


def centroid_mm(roi: torch.Tensor, spacing_mm: tuple[float, float, float]) -> torch.Tensor:
    """(B, 2, 2) in-plane (x, y) centroid, mm from the middle of the crop; the middle for an empty ROI."""
    mass = roi.sum((2, 3, 4)).clamp(min=1e-6)
    x = (torch.arange(roi.shape[-1], device=roi.device) - (roi.shape[-1] - 1) / 2) * spacing_mm[0]
    y = (torch.arange(roi.shape[-2], device=roi.device) - (roi.shape[-2] - 1) / 2) * spacing_mm[1]
    return torch.stack([(roi.sum((2, 3)) * x).sum(-1) / mass, (roi.sum((2, 4)) * y).sum(-1) / mass], -1)
