"""Expected gradients between each scan and itself with the tumour in-painted: what speaks for the class, because of what it looks like.

Integrated gradients follow one way, on which the whole scan fades in evenly: with a pooling that takes maxima, the same place has the largest value all
the way, and what would take over from it gets nothing. Half of the gradients here are taken on that way, half where random parts of the tumour are
gone, so that a place is asked in many companies, as in the Shapley value (Owen 1972, doi:10.1287/mnsc.18.5.64). The baseline differs from the scan by content
alone: outlines stay, and beyond outline and shell both are the same, so that no place has a share because of where it lies. Means over small shifts take
away the pattern of the network's own tokens.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Iterator

import numpy as np

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution.inpainting import DESCRIBED, blurred, inpainted
from MRDeltaNetLib.response.attribution.readout import INSTALL_TORCH, VISITS, Found, Readout, logit_of, members
from MRDeltaNetLib.response.attribution.regions import SHELL_MM, shells
from MRDeltaNetLib.response.prediction import BATCH_VOXELS

if TYPE_CHECKING:
    import torch

FORMULA = ("max(0, Gaussian mean of e), e_v = (x_v - x'_v) times the mean of d(logit towards the class)/d x_v over T2 channels between x' and the scans x: half "
           "of them x' + a (x - x'), half a random part as in x and the rest as in x'; a and the part's share even over 0 to 1; all moved by up to 3 mm and "
           "back. x': outline and 8 mm shell in-painted; the outlines stay (after expected gradients, Erion et al. 2021)")
SAMPLES = 64
PARTS_MM = 4.0
"""Standard deviation of the Gaussian noise whose lowest values make a random part, mm: its patches are about a piece of tumour wide."""

SMOOTHING_MM = 2.5
"""Standard deviation of the last Gaussian mean, mm: its full width at half maximum is a coarse token."""

SHIFTS_MM = (-3.0, -1.5, 0.0, 1.5)
"""Along x and y; all sixteen pairs cover the 6 mm of a coarse token evenly."""


def expected_gradients(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, toward: str = "", samples: int = SAMPLES,
                       progress: Progress = silent) -> Found:
    """Where the signal of each visit's own tissue raises the logit towards a class.

    toward   "pCR" or "non-pCR"; empty: the class that the answer favours
    samples  scans between that are asked about, of both kinds, spread evenly over shares and shifts
    numbers  "both": logit, logit of the baseline, and by how much the sum of e, before the clipping, misses their difference: nothing makes it vanish
    """
    torch = require("torch", "Explanation", INSTALL_TORCH)
    toward = toward or readout.toward(logit_of(network, x))
    sign, spacing, everyone = readout.sign(toward), network.geometry.spacing_mm, members(network)
    base, total = baseline(x, spacing), torch.zeros_like(x[:, 0])
    at_once, asked = max(1, BATCH_VOXELS // x[0, 0].numel()), between(x, base, spacing, samples)
    for start in range(0, samples, at_once):
        some = list(islice(asked, at_once))
        batch = torch.stack([mixed for _, mixed in some])
        for number, member in enumerate(everyone):
            progress((start + len(some) * number / len(everyone)) / samples, f"Expected gradients, {start} of {samples} samples")
            for (by, _), slope in zip(some, _slopes(member, batch)):
                own = (moved(x, by) - moved(base, by))[:, 0]
                total += moved(slope[:, 0] * own, (-by[0], -by[1])) / (samples * len(everyone))
    whole, without = logit_of(network, x), logit_of(network, base)
    numbers = {"logit": whole, "baseline_logit": without, "completeness_error_logit": float(total.double().sum()) - (whole - without)}
    maps = {visit: blurred(sign * total[time].cpu(), spacing, SMOOTHING_MM).clamp(min=0).numpy().astype(np.float32) for time, visit in enumerate(VISITS)}
    facts = {"toward": toward, "resolution_mm": tuple(max(step, 2.355 * SMOOTHING_MM) for step in spacing), "samples": samples, "filling": DESCRIBED}
    return Found(maps, facts, {"both": numbers})


def baseline(x: "torch.Tensor", spacing_mm: tuple[float, float, float]) -> "torch.Tensor":
    """Both scans with outline and shell in-painted from around them; the outlines stay.

    raises  InputError MRD-E722 if an outline is empty
    """
    base = x.clone()
    for time in (0, 1):
        base[time, 0] = inpainted(x[time, 0], ~shells(x, time, spacing_mm, SHELL_MM)["elsewhere"], spacing_mm)
    return base


def between(x: "torch.Tensor", base: "torch.Tensor", spacing_mm: tuple[float, float, float], samples: int) -> "Iterator[tuple[tuple[int, int], torch.Tensor]]":
    """(shift (y, x) in voxels, the case (2, 2, depth, height, width) between scans and baseline, moved by it): one that fades, one in parts, and so on.

    The shares of either kind are (k + 1/2) / n, each once, in a random order. The same for the same arguments.
    """
    torch = require("torch", "Explanation", INSTALL_TORCH)
    rng = np.random.default_rng(0)
    shifts = [(round(y / spacing_mm[1]), round(along / spacing_mm[0])) for y in SHIFTS_MM for along in SHIFTS_MM]
    shares = [(rng.permutation(count) + 0.5) / count for count in ((samples + 1) // 2, samples // 2)]
    for number in range(samples):
        share, by = shares[number % 2][number // 2], shifts[number // 2 % len(shifts)]
        here, mixed = moved(x, by), moved(base, by)
        if number % 2:
            kept = torch.from_numpy(np.stack([random_part(rng, share, spacing_mm, tuple(x.shape[2:])) for _ in VISITS])).to(x.device)
            mixed[:, 0] = torch.where(kept, here[:, 0], mixed[:, 0])
        else:
            mixed[:, 0] += float(share) * (here - mixed)[:, 0]
        yield by, mixed


def random_part(rng: np.random.Generator, share: float, spacing_mm: tuple[float, float, float], voxels: tuple[int, int, int]) -> np.ndarray:
    """So large a share of the crop in patches about PARTS_MM wide, bool (depth, height, width)."""
    torch = require("torch", "Explanation", INSTALL_TORCH)
    field = blurred(torch.from_numpy(rng.standard_normal(voxels).astype(np.float32)), spacing_mm, PARTS_MM).numpy()
    return field <= np.quantile(field, share)


def moved(values: "torch.Tensor", by: tuple[int, int]) -> "torch.Tensor":
    """(..., height, width) moved by whole voxels (y, x); at the border the outermost voxel goes on."""
    torch = require("torch", "Explanation", INSTALL_TORCH)
    rows, columns = ((torch.arange(count, device=values.device) - step).clamp(0, count - 1) for count, step in zip(values.shape[-2:], by))
    return values[..., rows, :][..., columns]


def _slopes(member: "torch.nn.Module", several: "torch.Tensor") -> "torch.Tensor":
    """Gradient of each case's logit for its own voxels, (B, 2, 2, depth, height, width)."""
    torch = require("torch", "Explanation", INSTALL_TORCH)
    given = several.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(member(given).logit.sum(), given)
    return slope
