"""Rigid alignment of a 320 x 320 x 30 pair, beside itk-elastix's rigid alignment of the same pair, each with its error.

elastix runs in a child process with one thread (its parallel sampling can crash, and a crash there must stay there). Ours takes
one thread for the optimiser and what the machine gives for the filters around it. Optional: pip install itk-elastix
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEEDS = (11, 12, 13)
ELASTIX_ITERATIONS = (256, 1000)
"""elastix's own default, and what brings its error down on thick slices."""

REACH_MM = ((-80.0, 0.0, 80.0), (-60.0, 0.0, 60.0), (-35.0, 0.0, 35.0))
"""Where the error is measured: a lattice across the bony pelvis, around the middle of the pre scan."""

CHILD = """
import json, sys, time
import itk
folder, iterations = sys.argv[1], sys.argv[2]
fixed, moving = (itk.imread(f"{folder}/{name}.nrrd", itk.F) for name in ("pre", "post"))
mask = itk.imread(f"{folder}/region.nrrd", itk.UC)
parameters = itk.ParameterObject.New()
rigid = parameters.GetDefaultParameterMap("rigid", 3)
rigid["MaximumNumberOfIterations"] = [iterations]
rigid["AutomaticTransformInitialization"] = ["true"]
rigid["WriteResultImage"] = ["false"]
parameters.AddParameterMap(rigid)
start = time.perf_counter()
_, found = itk.elastix_registration_method(fixed, moving, parameter_object=parameters, fixed_mask=mask, number_of_threads=1, log_to_console=False)
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "parameters": [float(v) for v in found.GetParameter(0, "TransformParameters")],
                  "centre": [float(v) for v in found.GetParameter(0, "CenterOfRotationPoint")]}))
"""


def run() -> list[dict]:
    """Seconds and mean error across the pelvis, medians over three simulated patients; elastix only where it is installed."""
    found = {name: [] for name in ("ours", *ELASTIX_ITERATIONS)}
    peers = ELASTIX_ITERATIONS if importlib.util.find_spec("itk") else ()
    for seed in SEEDS:
        _one(seed, found, peers)
    middle = {name: [statistics.median(values) for values in zip(*pairs)] for name, pairs in found.items() if pairs}
    if not peers:
        return [{"what": "rigid alignment, 320 x 320 x 30", "unit": "s", "ours": middle["ours"][0], "note": "itk-elastix is not installed: no comparison"},
                {"what": "its mean error across the pelvis", "unit": "mm", "ours": middle["ours"][1]}]
    rows = []
    for iterations in peers:
        name = f"elastix, {iterations} iterations a level"
        rows += [{"what": "rigid alignment, 320 x 320 x 30", "unit": "s", "ours": middle["ours"][0], "peer": middle[iterations][0], "peer_name": name},
                 {"what": "its mean error across the pelvis", "unit": "mm", "ours": middle["ours"][1], "peer": middle[iterations][1], "peer_name": name}]
    return rows


def _one(seed: int, found: dict, peers: tuple[int, ...]) -> None:
    """Align one simulated pair in every way; appends (seconds, mean error in mm)."""
    import numpy as np
    import SimpleITK as sitk

    from MRDeltaNetLib.imaging.phantom import simulate_pair
    from MRDeltaNetLib.imaging.registration import align
    from MRDeltaNetLib.imaging.registration.regions import body_of, canonical, metric_region
    pair = simulate_pair(seed)
    truth = pair.transform_pre_to_post
    middle = pair.pre.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in pair.pre.GetSize()])
    landmarks = np.add(middle, list(itertools.product(*REACH_MM))).tolist()

    def error_mm(transform) -> float:
        return float(np.mean([np.linalg.norm(np.subtract(transform.TransformPoint(tuple(p)), truth.TransformPoint(tuple(p)))) for p in landmarks]))

    start = time.perf_counter()
    ours = align(pair.pre, pair.post)
    found["ours"].append((time.perf_counter() - start, error_mm(ours.transform)))
    with tempfile.TemporaryDirectory() as folder:
        pre = canonical(pair.pre)
        region = sitk.Resample(metric_region(pre, body_of(pre), None, 0.0), pair.pre, sitk.Transform(), sitk.sitkNearestNeighbor)
        for name, image in (("pre", pair.pre), ("post", pair.post), ("region", region)):
            sitk.WriteImage(image, str(Path(folder) / f"{name}.nrrd"))
        for iterations in peers:
            child = subprocess.run([sys.executable, "-c", CHILD, folder, str(iterations)], capture_output=True, text=True, cwd=folder)
            if child.returncode:
                raise RuntimeError(f"elastix ended with status {child.returncode}: {child.stderr[-500:]}")
            answer = json.loads(child.stdout.strip().splitlines()[-1])
            turn, shift = answer["parameters"][:3], answer["parameters"][3:]
            found[iterations].append((answer["seconds"], error_mm(sitk.Euler3DTransform(answer["centre"], *turn, shift))))
