"""Training throughput: cases a second of deltanet tiny beside MONAI's ResNet-18, same crop, same batch, in turns in one run."""

from __future__ import annotations

import statistics
import time

CROP_MM, BATCH, REPEATS = (60.0, 60.0, 48.0), 8, 5
"""The demo bundle's crop (16 x 80 x 80 voxels)."""


def run() -> list[dict]:
    """Forward, loss, backward and AdamW step on made-up crops, float32, CPU; median over alternating repeats."""
    import torch
    from monai.networks.nets import resnet18

    from MRDeltaNetLib.models.registry import build
    torch.manual_seed(0)
    made = {"deltanet tiny": build("deltanet", preset="tiny", crop_mm=CROP_MM),
            "subtract tiny": build("subtract", preset="tiny", crop_mm=CROP_MM),
            "registry's resnet18 (first stride 2 in plane)": build("resnet18", preset="base", crop_mm=CROP_MM)}
    voxels = made["deltanet tiny"].geometry.voxels
    made["MONAI ResNet-18"] = resnet18(spatial_dims=3, n_input_channels=4, num_classes=1)
    x = torch.randn(BATCH, 2, 2, *voxels)
    x[:, :, 1] = (x[:, :, 1] > 1).float()
    outcome = torch.tensor([0.0, 1.0] * (BATCH // 2))
    steps = {name: _step(network, x, outcome) for name, network in made.items()}
    times: dict[str, list[float]] = {name: [] for name in made}
    for repeat in range(REPEATS + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:                                     # the first one also allocates
                times[name].append(time.perf_counter() - start)
    rate = {name: BATCH / statistics.median(found) for name, found in times.items()}
    return [{"what": f"training {name}", "unit": "cases/s", "ours": rate[name], "peer": rate["MONAI ResNet-18"],
             "peer_name": "MONAI ResNet-18", "note": f"{' x '.join(map(str, voxels))} voxels, batch {BATCH}"}
            for name in made if name != "MONAI ResNet-18"]


def _step(network, x, outcome):
    """One training step as a function without arguments."""
    import torch

    from MRDeltaNetLib.models.losses import ClassBalancedFocal
    network.train()
    optimiser, focal = torch.optim.AdamW(network.parameters(), lr=1e-5), ClassBalancedFocal(1, 1)

    def step() -> None:
        optimiser.zero_grad()
        if hasattr(network, "geometry"):
            output = network(x)
            loss = focal(output.logit, outcome) + 0.5 * sum(output.auxiliary.values())
        else:
            loss = focal(network(x.flatten(1, 2))[:, 0], outcome)
        loss.backward()
        optimiser.step()

    return step
