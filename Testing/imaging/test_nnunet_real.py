"""Real nnU-Net in its own environment: loading, geometry against nnU-Net's own way, trust, faults. Skipped, with the reason, where there is none.

The model has random weights: what it draws means nothing, but it is the same for the same input, so that geometry can be judged exactly.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError, MRDeltaNetError
from MRDeltaNetLib.imaging.nnunet import NnUnetSegmenter
from MRDeltaNetLib.imaging.nnunet.environment import CHILD, check, child_variables, find_python
from MRDeltaNetLib.io import approvals
from MRDeltaNetLib.io.nnunet_model import digest, read_nnunet_model
from MRDeltaNetLib.processes.attending import attend
from Testing.imaging.shapes import STORAGES, stored
from Testing.simulated import small_pair

pytestmark = pytest.mark.slow

MAKE = """
import json, sys
from pathlib import Path
import importlib.util
spec = importlib.util.spec_from_file_location("child", sys.argv[1]); child = importlib.util.module_from_spec(spec); spec.loader.exec_module(child)
child.mend_torchvision()
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
folder, channels = Path(sys.argv[2]), int(sys.argv[3])
plans = json.loads((folder / "plans.json").read_text())
manager = PlansManager(plans)
torch.manual_seed(3)
network = nnUNetTrainer.build_network_architecture(manager, manager.get_configuration("3d_fullres"), channels, 2, False)
for name, value in network.named_parameters():
    if value.ndim > 1:
        torch.nn.init.normal_(value, std=(2.0 / value[0].numel()) ** 0.5)
torch.save({"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer", "init_args": {"configuration": "3d_fullres"},
            "inference_allowed_mirroring_axes": (0, 1, 2)}, folder / "fold_0" / "checkpoint_final.pth")
"""

AS_NNUNET = """
import json, sys
import importlib.util
spec = importlib.util.spec_from_file_location("child", sys.argv[1]); child = importlib.util.module_from_spec(spec); spec.loader.exec_module(child)
child.mend_torchvision()
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
if __name__ == "__main__":
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(sys.argv[2], use_folds=(0,))
    predictor.predict_from_files_sequential([[sys.argv[3]]], [sys.argv[4]], False, True)
"""


@cache
def _python() -> Path | str:
    try:
        python = find_python()
        check(python)
        return python
    except MRDeltaNetError as problem:
        return f"no nnU-Net here ({problem.code}): run `make setup-nnunet`, or set MRDELTANET_NNUNET_PYTHON"


def nnunet_python() -> Path:
    """The Python that has nnU-Net; the test is skipped, saying why, where there is none."""
    if isinstance(found := _python(), str):
        pytest.skip(found)
    return found


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    python = nnunet_python()
    monkeypatch.setenv("MRDELTANET_SETTINGS", str(tmp_path / "settings"))
    return python


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """folders(channels, own) is a model folder with random weights."""
    made: dict[str, Path] = {}

    def make(channels: int = 1, own=None) -> Path:
        name = f"{channels}-{json.dumps(own)}"
        if name not in made:
            python, folder = nnunet_python(), tmp_path_factory.mktemp("model")
            (folder / "fold_0").mkdir()
            plans = json.loads(Path(__file__).with_name("nnunet_plans.json").read_text())
            plans["configurations"]["3d_fullres"] |= {"normalization_schemes": ["ZScoreNormalization"] * channels, "use_mask_for_norm": [False] * channels}
            intensities = plans["foreground_intensity_properties_per_channel"]
            plans["foreground_intensity_properties_per_channel"] = {str(k): intensities["0"] for k in range(channels)}
            (folder / "plans.json").write_text(json.dumps(plans))
            (folder / "dataset.json").write_text(json.dumps({"channel_names": {str(k): f"T2 {k}" for k in range(channels)}, "labels": {"background": 0, "tumour": 1},
                                                             "numTraining": 1, "file_ending": ".nii.gz"} | ({} if own is None else {"mrdeltanet": own})))
            _run(python, MAKE, str(CHILD), str(folder), str(channels), place=folder.parent)
            made[name] = folder
        return made[name]

    return make


def drawn(folder: Path, scan: sitk.Image, **options):
    approvals.approve(folder, digest(folder))
    segmenter = NnUnetSegmenter(read_nnunet_model(folder), nnunet_python(), device="cpu", threads=1, **options)
    segmenter(scan, options.get("progress", lambda done, message: None))
    return segmenter.drawn


def test_the_environment_says_what_it_has():
    told = check(nnunet_python())
    assert told["nnunetv2"].startswith("2.") and "cpu" in told["devices"]


def test_a_scan_is_drawn_on_as_nnunet_itself_would(folders, tmp_path):
    """A model from elsewhere: the same mask as nnU-Net's own command on the same file."""
    folder, scan = folders(), small_pair().pre
    found = drawn(folder, scan)
    sitk.WriteImage(scan, str(tmp_path / "scan_0000.nii.gz"))
    _run(nnunet_python(), AS_NNUNET, str(CHILD), str(folder), str(tmp_path / "scan_0000.nii.gz"), str(tmp_path / "own"), place=tmp_path)
    own = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "own.nii.gz")))
    mask, share = sitk.GetArrayFromImage(found.mask), sitk.GetArrayFromImage(found.probability)
    assert 0 < own.mean() < 1 and (own != mask).mean() < 1e-4
    assert np.array_equal(share > 0.5, mask > 0) and share.min() >= 0 and share.max() <= 1
    assert found.mask.GetDirection() == scan.GetDirection() and found.mask.GetOrigin() == scan.GetOrigin()


@pytest.mark.parametrize("how", ["left-handed", "axes permuted", "permuted, flipped"])
def test_however_the_scan_is_stored_the_same_places_are_drawn(folders, how):
    folder, scan = folders(own={"order": "LPS", "role": "pre"}), small_pair().pre
    straight, turned = drawn(folder, scan, mirroring=False), drawn(folder, stored(scan, *STORAGES[how]), mirroring=False)
    back = sitk.GetArrayFromImage(stored(straight.probability, *STORAGES[how]))
    np.testing.assert_allclose(sitk.GetArrayFromImage(turned.probability), back, atol=1e-3)
    assert (sitk.GetArrayFromImage(turned.mask) != sitk.GetArrayFromImage(stored(straight.mask, *STORAGES[how]))).mean() < 1e-3


def test_two_channels_are_both_seen(folders):
    pair = small_pair()
    post = sitk.Resample(pair.post, pair.pre, pair.transform_pre_to_post, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    first, second = (drawn(folders(2), pair.pre, second=other, mirroring=False) for other in (post, pair.pre))
    assert not np.array_equal(sitk.GetArrayFromImage(first.probability), sitk.GetArrayFromImage(second.probability))


def test_a_device_that_is_not_there_is_refused(folders):
    if "cuda" in check(nnunet_python())["devices"]:
        pytest.skip("this machine has CUDA")
    folder = folders()
    approvals.approve(folder, digest(folder))
    with pytest.raises(EnvironmentProblem, match="MRD-E379"):
        NnUnetSegmenter(read_nnunet_model(folder), nnunet_python(), device="cuda")(small_pair().pre)


def test_a_file_that_differs_from_what_was_counted_is_not_loaded(folders, tmp_path):
    """The child looks again, right before it reads the checkpoint."""
    folder = folders()
    job = {"model": str(folder), "files": {"fold_0/checkpoint_final.pth": "0" * 64}, "channels": [], "label": "tumour", "device": "cpu", "threads": 1, "mirroring": True}
    (tmp_path / "job.json").write_text(json.dumps(job))
    python = nnunet_python()
    with pytest.raises(InputError, match="MRD-E372"):
        attend([str(python), str(CHILD), "predict", str(tmp_path / "job.json")], tmp_path, child_variables(python), lambda done, message: None)


def test_a_checkpoint_that_is_none_is_told(folders, tmp_path):
    import shutil
    folder = Path(shutil.copytree(folders(), tmp_path / "model"))
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"nothing")
    with pytest.raises(InputError, match="MRD-E381"):
        drawn(folder, small_pair().pre)


def test_a_network_that_is_too_large_for_the_memory_is_told_as_such(folders, tmp_path):
    import shutil
    folder = Path(shutil.copytree(folders(), tmp_path / "model"))
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["spacing"] = [0.01, 0.01, 0.01]                # a grid of 10^15 voxels
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(MRDeltaNetError, match="MRD-E380|MRD-E871") as caught:
        drawn(folder, small_pair().pre)
    assert "emory" in caught.value.text()


def test_a_stop_while_it_draws_ends_it(folders):
    folder = folders()
    approvals.approve(folder, digest(folder))

    def stop(done: float, message: str) -> None:
        if message.startswith("Drawing"):
            raise Cancelled

    with pytest.raises(Cancelled):
        NnUnetSegmenter(read_nnunet_model(folder), nnunet_python(), device="cpu", threads=1)(small_pair().pre, stop)


def _run(python: Path, code: str, *arguments: str, place: Path) -> None:
    (place / "script.py").write_text(code)
    done = subprocess.run([str(python), str(place / "script.py"), *arguments], capture_output=True, text=True, env=child_variables(python), cwd=place)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


REGION_ORDER = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("child", sys.argv[1]); child = importlib.util.module_from_spec(spec); spec.loader.exec_module(child)
child.mend_torchvision()
from nnunetv2.utilities.label_handling.label_handling import LabelManager
dataset = json.loads(sys.argv[2])
regions = LabelManager(dataset["labels"], dataset["regions_class_order"]).foreground_regions
names = [name for name in dataset["labels"] if name not in ("background", "ignore")]
assert [tuple(dataset["labels"][name]) if isinstance(dataset["labels"][name], list) else (dataset["labels"][name],) for name in names] == \\
    [region if isinstance(region, tuple) else (region,) for region in regions], regions
"""


def test_regions_have_the_channels_that_nnunet_gives_them(tmp_path):
    from Testing.imaging.test_nnunet import REGIONS
    _run(nnunet_python(), REGION_ORDER, str(CHILD), json.dumps(REGIONS), place=tmp_path)
