"""bfloat16 on GPUs that have it, full precision elsewhere; bfloat16 on a CPU only if it is asked for and every layer is known to be sound."""

from __future__ import annotations

import torch
from torch import nn

from MRDeltaNetLib.errors import UsageError

SOUND_BFLOAT16_WIDTH, SOUND_BFLOAT16_DEPTH = 8, 4
"""Smallest map (voxels across and through it) over which 3-D convolutions were found to train rightly in bfloat16 on a CPU."""

SOUND_BFLOAT16_KERNEL = 4
"""Largest kernel of a 3-D convolution whose bfloat16 weight gradient was found right on a CPU."""

_convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def choose_precision(wanted: str, network: nn.Module, accelerator: str) -> str:
    """Lightning's precision for "auto", "32-true" or "bf16-mixed".

    "auto" never takes bfloat16 on a CPU: beside what torch computes wrongly there, the same training of 400 cases ended with a validation
    log-loss of 0.34 in bfloat16 and 0.30 in full precision, and on one thread it was no faster.

    accelerator  "cpu", "cuda" or "mps"
    raises       UsageError MRD-E762 for bfloat16 on a CPU with a network for which it is not sound
    """
    if wanted == "auto":
        return "bf16-mixed" if accelerator == "cuda" and _cuda_has_bfloat16() else "32-true"
    if wanted != "32-true" and accelerator == "cpu" and not bfloat16_is_sound_on_cpu(network):
        raise UsageError("Training this network in bfloat16 on a CPU is not sound: it needs a larger crop or smaller kernels", code="MRD-E762",
                         found=f"convolutions in 3-D over maps from {SOUND_BFLOAT16_DEPTH} x {SOUND_BFLOAT16_WIDTH} x {SOUND_BFLOAT16_WIDTH} "
                               f"voxels, with kernels up to {SOUND_BFLOAT16_KERNEL}, are known to be right, and this network has others",
                         fix="take precision 32-true")
    return wanted


def bfloat16_is_sound_on_cpu(network: nn.Module) -> bool:
    """Whether torch 2.13 computes the network's bfloat16 weight gradients on a CPU rightly; found by one forward pass of zeros.

    Seen wrong (memory that was never written was read, or memory beyond the end was written): 3-D convolutions over maps four voxels
    wide, or two deep (3 x 3 x 3 kernels, 64 channels, maps of 2 x 8 x 8: infinite or NaN), and 7 x 7 x 7 kernels with stride 2 (infinite).
    Seen right: kernels up to 4 over maps 8 wide and 4 deep, and more. Convolutions in one or two dimensions were not tried, so they count
    as unsound.
    """
    found: list[bool] = []

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        depth, *plane = inputs[0].shape[2:] if isinstance(module, nn.Conv3d) else (0, 0)
        found.append(depth >= SOUND_BFLOAT16_DEPTH and min(plane) >= SOUND_BFLOAT16_WIDTH and max(module.kernel_size) <= SOUND_BFLOAT16_KERNEL)

    handles = [module.register_forward_pre_hook(look) for module in network.modules() if isinstance(module, _convolutions)]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 2, 2, *network.geometry.voxels))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return all(found)


def _cuda_has_bfloat16() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
