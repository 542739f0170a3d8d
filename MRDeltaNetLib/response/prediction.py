"""One prepared case through one network: P(pCR), the class at the bundle's threshold, and the network's own maps."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, Mapping

from MRDeltaNetLib.case import Prepared
from MRDeltaNetLib.config import DEVICES
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, OutOfMemory, UsageError, require

if TYPE_CHECKING:
    import torch

    from MRDeltaNetLib.models.comparison import TokenShares
    from MRDeltaNetLib.models.output import NetworkOutput

BATCH_VOXELS = 700_000
"""Other outlines go through the network together as long as a batch has no more crop voxels than this: all six at the demo model's
crop, one at a time at the full crop (393,216 voxels), which so needs no more memory than a single case."""

CPU_THREADS = 2
"""Threads of torch while a network runs on the CPU, whatever the machine has: convolutions split their sums by the number of threads, so
that another number gives other last digits (seen: 1 to 4 threads, P(pCR) 3e-7 apart). Two are what most machines have; four took as long."""

_INSTALL_TORCH = "install PyTorch (in 3D Slicer: the PyTorch extension)"


@dataclass(frozen=True)
class Prediction:
    """What the network said about one case.

    p_pcr            recalibrated probability of pathological complete response, 0 to 1
    logit            the network's output before recalibration
    threshold        on p_pcr, from the bundle
    predicted_class  "pCR" at or above the threshold, else "non-pCR"
    output           models.output.NetworkOutput of this one case (batch axis kept), float32, on the CPU
    device           where it ran and why, e.g. "cpu (chosen automatically: no CUDA or MPS device)"
    map_facts        how the maps came about: token_size_mm (z, y, x), sees_image_content, alignment_sees_image_content, comparison_kind
    member_p_pcr     recalibrated probability of each member of an ensemble; empty for a single network
    outline_p_pcr    name -> recalibrated probability with the ROI channels of Prepared.outlines
    shares           models.comparison.TokenShares of this one case (batch axis kept), where the network ran; None where it compares no tokens
    """

    p_pcr: float
    logit: float
    threshold: float
    predicted_class: str
    output: "NetworkOutput"
    device: str
    map_facts: Mapping[str, Any]
    member_p_pcr: tuple[float, ...] = ()
    outline_p_pcr: Mapping[str, float] = field(default_factory=dict)
    shares: "TokenShares | None" = field(default=None, repr=False)


def available_devices() -> tuple[str, ...]:
    """Names of the devices that PyTorch can use on this machine; "cpu" is always among them."""
    torch = require("torch", "Prediction", _INSTALL_TORCH)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return tuple(name for name, here in there.items() if here)


def choose_device(name: str = "auto") -> tuple["torch.device", str]:
    """The device to run on, and a sentence part that says why.

    name     "auto", "cpu", "cuda" or "mps"; only "auto" chooses, a named device is used or refused
    raises   UsageError MRD-E701 for another name, EnvironmentProblem MRD-E702 if the named device is not there
    """
    torch = require("torch", "Prediction", _INSTALL_TORCH)
    if name not in DEVICES:
        raise UsageError("This is not a device that MRDeltaNet knows", code="MRD-E701", found=f"'{name}'",
                         fix=f"choose one of {', '.join(DEVICES)}")
    there = available_devices()
    if name == "auto":
        # Results on MPS were never compared with the CPU's, so MPS is used only when somebody asks for it.
        found = "cuda" if "cuda" in there else "cpu"
        why = "a CUDA device was found" if "cuda" in there else "no CUDA device"
        return torch.device(found), f"{found} (chosen automatically: {why})"
    if name not in there:
        raise EnvironmentProblem(f"The device '{name}' is not available on this machine", code="MRD-E702",
                                 found=f"available: {', '.join(there)}",
                                 fix="choose 'auto' or 'cpu', or install the PyTorch build and driver for this device")
    return torch.device(name), f"{name} (as asked)"


def predict(prepared: Prepared, network: "torch.nn.Module", own: Mapping[str, Any], *, device: str = "auto",
            seed: int = 0) -> Prediction:
    """Run the network on the case, then on each of its other outlines, in evaluation mode and deterministically.

    prepared  the case on the crop that the network was made for; maps, logit and class come from its tensor alone
    network   models.registry network with the bundle's weights
    own       the "mrdeltanet" section of the bundle's metadata: recalibration {slope, intercept} and threshold.
              p_pcr = 1 / (1 + exp(-(slope * logit + intercept))); the intercept includes the shift from the prior of the
              balanced training batches to the bundle's own prior
    device    see choose_device
    seed      of torch's generators; evaluation draws nothing, so that it matters only to a network that samples
    raises    InputError MRD-E703 (wrong shape), E704 (non-finite input), E705 (non-finite output), OutOfMemory MRD-E706,
              and what choose_device raises
    """
    torch = require("torch", "Prediction", _INSTALL_TORCH)
    where, described = choose_device(device)
    tensor = prepared.tensor.as_subclass(torch.Tensor)             # MONAI's MetaTensor would follow every operation
    check_input(tensor, network)
    with deterministic(seed, where.type), memory_errors(where.type):
        network = network.to(where).eval()
        with torch.inference_mode():
            found = network(tensor[None].to(where))
            output = found.cpu()
            _check_output(output)
            others = _outline_logits(tensor, prepared.outlines, network, where)
    logit = float(output.logit[0])
    p_pcr = recalibrate(logit, own["recalibration"])
    members = getattr(output, "member_logits", None)
    threshold = float(own["threshold"])
    return Prediction(p_pcr=p_pcr, logit=logit, threshold=threshold, predicted_class="pCR" if p_pcr >= threshold else "non-pCR",
                      output=output, device=described, map_facts=map_facts_of(network),
                      member_p_pcr=() if members is None else tuple(recalibrate(float(one), own["recalibration"]) for one in members[0]),
                      outline_p_pcr={name: recalibrate(one, own["recalibration"]) for name, one in others.items()},
                      shares=getattr(found, "shares", None))


def recalibrate(logit: float, recalibration: Mapping[str, float]) -> float:
    """1 / (1 + exp(-(slope * logit + intercept))), without overflow at either end."""
    score = float(recalibration["slope"]) * logit + float(recalibration["intercept"])
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))


def _outline_logits(tensor: "torch.Tensor", outlines: Mapping[str, "torch.Tensor"], network: "torch.nn.Module",
                    where: "torch.device") -> dict[str, float]:
    """The logit with each of the other outlines: the images stay, both ROI channels are replaced.

    raises  InputError MRD-E703 (an outline of another size), E705 (a logit that is not finite)
    """
    torch = require("torch", "Prediction", _INSTALL_TORCH)
    names, found = list(outlines), {}
    if odd := [name for name in names if tuple(outlines[name].shape) != (2, *tensor.shape[2:])]:
        raise InputError("An outline does not have the size of the prepared scans", code="MRD-E703",
                         found=f"{odd[0]}: {tuple(outlines[odd[0]].shape)}, expected {(2, *tensor.shape[2:])}",
                         fix="make the outlines on the grid of the prepared scans")
    at_once = max(1, BATCH_VOXELS // tensor[0, 0].numel())
    for start in range(0, len(names), at_once):
        some = names[start:start + at_once]
        batch = torch.stack([torch.stack([tensor[:, 0], outlines[name]], 1) for name in some])
        logits = network(batch.to(where)).logit.detach().float().cpu()
        found |= dict(zip(some, map(float, logits)))
    if bad := [name for name, logit in found.items() if not math.isfinite(logit)]:
        raise InputError("The model gave a result that is not a finite number for another outline, so there is no range", code="MRD-E705",
                         found=", ".join(bad), fix="check the model with `mrdeltanet model verify` and both scans with `mrdeltanet check`")
    return found


def map_facts_of(network: "torch.nn.Module") -> dict[str, Any]:
    """How a network's maps come about: Prediction.map_facts."""
    sees = bool(network.sees_image_content)
    return {"token_size_mm": tuple(float(size) for size in network.token_size_mm), "sees_image_content": sees,
            "alignment_sees_image_content": bool(getattr(network, "alignment_sees_image_content", sees)),
            "formulas": dict(getattr(network, "map_formulas", {})), "resolution_note": getattr(network, "map_note", None),
            "comparison_kind": getattr(network, "comparison_kind", None)}


def check_input(tensor: "torch.Tensor", network: "torch.nn.Module") -> None:
    """raises InputError MRD-E703 (another size than the network's), E704 (values that are not finite)"""
    expected = (2, 2, *network.geometry.voxels)
    if tuple(tensor.shape) != expected:
        raise InputError("The prepared scans do not have the size that the model was made for", code="MRD-E703",
                         found=f"{tuple(tensor.shape)}, expected {expected} (timepoint, channel, depth, height, width)",
                         fix="prepare the case with the preprocessing that the model bundle names")
    if not tensor.isfinite().all():
        raise InputError("The prepared scans hold values that are not finite", code="MRD-E704",
                         found=f"{int((~tensor.isfinite()).sum())} of {tensor.numel()} values",
                         fix="check both scans with `mrdeltanet check`; a constant scan cannot be normalised")


def _check_output(output: "NetworkOutput") -> None:
    fields = ("logit", "attention_post", "attention_pre", "change_post", "embedding", "member_logits")
    bad = [name for name in fields if (value := getattr(output, name, None)) is not None and not value.isfinite().all()]
    if bad:
        raise InputError("The model gave a result that is not a finite number, so there is no probability", code="MRD-E705",
                         found=", ".join(bad), fix="check the model with `mrdeltanet model verify` and both scans with `mrdeltanet check`")


@contextmanager
def deterministic(seed: int, device: str) -> Iterator[None]:
    """A seeded generator and deterministic algorithms inside; the caller's settings and generator state afterwards.

    The CPU's kernels are deterministic for a given number of threads, which is fixed; there the switch would only cost the
    seconds that it takes to load.
    """
    torch = require("torch", "Prediction", _INSTALL_TORCH)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(), fixed_threads():
        torch.manual_seed(seed)
        if device != "cpu":
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            if device != "cpu":
                torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextmanager
def fixed_threads() -> Iterator[None]:
    """CPU_THREADS threads of torch in the calling thread inside, as many as before afterwards."""
    torch = require("torch", "Prediction", _INSTALL_TORCH)
    before = torch.get_num_threads()
    torch.set_num_threads(CPU_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def memory_errors(device: str, what: str = "prediction") -> Iterator[None]:
    """Turn an out-of-memory failure of torch into an error with a remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as cause:
        text = str(cause).lower()
        if isinstance(cause, MemoryError) or "out of memory" in text or "can't allocate" in text or "allocate memory" in text:
            fix = "close other programs" if device == "cpu" else "close other programs that use the GPU, or run on the device 'cpu'"
            raise OutOfMemory(f"The {what} does not fit into the memory of the {device} device", code="MRD-E706", fix=fix) from cause
        raise
