"""bfloat16 where the processor has it and computes it rightly, full precision elsewhere."""

from __future__ import annotations

import torch
from torch import nn

from MRDeltaNetLib.errors import UsageError

SOUND_BFLOAT16_WIDTH = 8
"""Fine tokens across a crop from which bfloat16 training on a CPU was found right."""

SOUND_BFLOAT16_KERNEL = 4
"""Largest kernel of a 3-D convolution whose bfloat16 weight gradient was found right on a CPU."""

_convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def choose_precision(wanted: str, network: nn.Module, accelerator: str) -> str:
    """Lightning's precision for "auto", "32-true" or "bf16-mixed".

    accelerator  "cpu", "cuda" or "mps"
    raises       UsageError MRD-E762 for bfloat16 on a CPU with a network for which it is not sound
    """
    if wanted == "auto":
        fast = {"cpu": _cpu_has_bfloat16, "cuda": _cuda_has_bfloat16}.get(accelerator, lambda: False)()
        return "bf16-mixed" if fast and (accelerator != "cpu" or bfloat16_is_sound_on_cpu(network)) else "32-true"
    if wanted != "32-true" and accelerator == "cpu" and not bfloat16_is_sound_on_cpu(network):
        raise UsageError("Training this network in bfloat16 on a CPU is not sound: it needs a wider crop or smaller kernels", code="MRD-E762",
                         found=f"{network.geometry.tokens(0)[2]} tokens across, {SOUND_BFLOAT16_WIDTH} needed; convolutions "
                               f"{_largest_kernel(network)} voxels wide, {SOUND_BFLOAT16_KERNEL} allowed", fix="take precision 32-true")
    return wanted


def bfloat16_is_sound_on_cpu(network: nn.Module) -> bool:
    """Whether torch 2.13 computes the network's bfloat16 weight gradients on a CPU rightly.

    Seen wrong (memory that was never written was read, or memory beyond the end was written): 3-D convolutions over maps four voxels wide
    or less, and 7 x 7 x 7 kernels with stride 2, whose gradient was infinite. Seen right to 0.3 %: kernels up to 4 over maps of 8
    and more. Convolutions in one or two dimensions were not tried, so they count as unsound.
    """
    kinds = [module for module in network.modules() if isinstance(module, _convolutions)]
    return (all(isinstance(module, nn.Conv3d) for module in kinds) and _largest_kernel(network) <= SOUND_BFLOAT16_KERNEL
            and network.geometry.tokens(0)[2] >= SOUND_BFLOAT16_WIDTH)


def _largest_kernel(network: nn.Module) -> int:
    return max((max(module.kernel_size) for module in network.modules() if isinstance(module, _convolutions)), default=1)


def _cpu_has_bfloat16() -> bool:
    """AVX512-BF16 or AMX; without them torch emulates bfloat16, which is slower than float32."""
    return any(getattr(torch.cpu, name, lambda: False)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def _cuda_has_bfloat16() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
