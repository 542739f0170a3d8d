"""Stand-ins for nnU-Net: a folder that looks like a trained model, and a "Python" that speaks the child's protocol without nnU-Net. POSIX only."""

from __future__ import annotations

import json
import stat
import sys
import textwrap
from pathlib import Path

THRESHOLD = 100.0
"""The stand-in draws where a scan is brighter than this."""

DRAW = """
import numpy, SimpleITK
images = [SimpleITK.ReadImage(name) for name in job["channels"]]
share = numpy.clip(SimpleITK.GetArrayFromImage(images[-1]) / (2 * %s), 0, 1).astype("float32")
for name, values in (("mask", (share > 0.5).astype("uint8")), ("probability", share)):
    image = SimpleITK.GetImageFromArray(values)
    image.CopyInformation(images[0])
    SimpleITK.WriteImage(image, job[name], True)
say(done=0.5, message="Drawing")
say(finished={"nnunetv2": "2.8.1", "torch": "0", "device": "cpu", "folds": ["0"]})
""" % THRESHOLD


def model_folder(place: Path, *, channels=("T2",), labels=None, own=None, reader="SimpleITKIO", folds=("0",), **dataset) -> Path:
    """FOLDER as nnUNetv2_train leaves it; its checkpoint holds no pickle and is never read here."""
    place.mkdir(parents=True)
    description = {"channel_names": {str(k): name for k, name in enumerate(channels)}, "labels": labels or {"background": 0, "tumour": 1},
                   "numTraining": 1, "file_ending": ".nii.gz"} | ({} if own is None else {"mrdeltanet": own}) | dataset
    (place / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    (place / "plans.json").write_text(json.dumps({"dataset_name": "Dataset999_Standin", "image_reader_writer": reader, "configurations": {}}), encoding="utf-8")
    for fold in folds:
        (place / f"fold_{fold}").mkdir()
        (place / f"fold_{fold}" / "checkpoint_final.pth").write_bytes(b"not a pickle" * 100)
    return place


def python_that(place: Path, code: str = DRAW) -> Path:
    """A program to be named as the Python with nnU-Net: started as `program child.py predict JOB.json`, it runs `code`, which may use `job` and
    say(...), one line of the protocol."""
    place.parent.mkdir(parents=True, exist_ok=True)
    head = f"#!{sys.executable}\nimport json, os, sys, time\ndef say(**line): print(json.dumps(line), flush=True)\n" \
           "job = json.load(open(sys.argv[3])) if len(sys.argv) > 3 else {}\n"
    place.write_text(head + textwrap.dedent(code), encoding="utf-8")
    place.chmod(place.stat().st_mode | stat.S_IXUSR)
    return place
