"""The network's useful operations a second, beside MONAI's ResNet-18 and the machine's own matrix product."""

from __future__ import annotations

import statistics
import time

REPEATS = 7


def run() -> list[dict]:
    """Forward pass of the demo bundle's network at its own crop, batch 1, float32, on the CPU; ResNet-18 sees the same voxels as channels."""
    import torch
    from monai.networks.nets import resnet18

    from MRDeltaNetLib.io.bundle import load_network, read_bundle
    from MRDeltaNetLib.models import registry
    from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
    torch.manual_seed(0)
    bundle = read_bundle(resource(DEMO_BUNDLE))
    pair = bundle.golden["input"].float()[None]
    ours, peer = load_network(bundle, registry.build), resnet18(spatial_dims=3, n_input_channels=4, num_classes=1).eval()
    matmul = _matmul_gflops()
    both = {"ours": _measure(ours, pair), "peer": _measure(peer, pair.flatten(1, 2))}
    rows = [{"what": "demo network, one pair", "unit": "s", "ours": both["ours"]["seconds"], "peer": both["peer"]["seconds"], "peer_name": "MONAI ResNet-18"},
            {"what": "useful operations a second", "unit": "GFLOP/s", "ours": both["ours"]["gflops"], "peer": both["peer"]["gflops"], "peer_name": "MONAI ResNet-18"},
            {"what": "share of the matrix product's rate", "unit": "GFLOP/s", "ours": both["ours"]["gflops"], "peer": matmul, "peer_name": "torch.matmul 2048"},
            {"what": "ResNet-18's share of that rate", "unit": "GFLOP/s", "ours": both["peer"]["gflops"], "peer": matmul, "peer_name": "torch.matmul 2048"},
            {"what": "operations of the demo network", "unit": "GFLOP", "ours": both["ours"]["operations"] / 1e9, "peer": both["peer"]["operations"] / 1e9,
             "peer_name": "MONAI ResNet-18"}]
    return rows


def _measure(network, pair) -> dict:
    """Seconds (median), floating-point operations as torch counts them, and their ratio in GFLOP/s."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(pair)
        times = [_timed(lambda: network(pair)) for _ in range(REPEATS)]
    seconds, operations = statistics.median(times), counter.get_total_flops()
    return {"seconds": seconds, "operations": operations, "gflops": operations / seconds / 1e9}


def _matmul_gflops(size: int = 2048) -> float:
    import torch
    first, second = torch.randn(size, size), torch.randn(size, size)
    first @ second
    return 2 * size**3 / statistics.median(_timed(lambda: first @ second) for _ in range(REPEATS)) / 1e9


def _timed(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
