"""A model folder is described and weighed without anything of it being run."""

from __future__ import annotations

import json
import os
import stat

import pytest

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.nnunet_model import AS_STORED, LPS, RAS, describe, digest, read_nnunet_model
from Testing.nnunet_standin import model_folder


def test_a_model_says_what_it_is(tmp_path):
    own = {"order": "LPS", "role": "pre", "second": "post"}
    model = read_nnunet_model(model_folder(tmp_path / "m", channels=("before", "after"), own=own, folds=("0", "1", "all")))
    assert (model.channels, dict(model.labels), model.order, model.role, model.second, model.folds) == \
        (("before", "after"), {"tumour": (1,)}, LPS, "pre", "post", ("0", "1", "all"))
    assert model.loaded_files == ("dataset.json", "plans.json", *(f"fold_{fold}/checkpoint_final.pth" for fold in ("0", "1", "all")))
    found = digest(model.folder)
    assert any(found.sha256 in line for line in describe(model, found))


@pytest.mark.parametrize("reader, order", [("SimpleITKIO", AS_STORED), ("NibabelIO", AS_STORED), ("SimpleITKIOWithReorient", RAS), ("NibabelIOWithReorient", RAS)])
def test_a_model_from_elsewhere_sees_a_scan_as_its_own_reader_would_give_it(tmp_path, reader, order):
    assert read_nnunet_model(model_folder(tmp_path / "m", reader=reader)).order == order


@pytest.mark.parametrize("spoil, found", [
    (lambda folder: (folder / "plans.json").unlink(), "no plans.json"),
    (lambda folder: (folder / "dataset.json").unlink(), "no dataset.json"),
    (lambda folder: (folder / "fold_0" / "checkpoint_final.pth").unlink(), "no fold"),
    (lambda folder: _change(folder, "plans.json", image_reader_writer="NaturalImage2DIO"), "NaturalImage2DIO"),
    (lambda folder: _change(folder, "plans.json", image_reader_writer=None), "reads its images"),
    (lambda folder: _change(folder, "dataset.json", channel_names={"1": "T2"}), "channel_names"),
    (lambda folder: _change(folder, "dataset.json", channel_names=["T2"]), "channel_names"),
    (lambda folder: _change(folder, "dataset.json", labels={"background": 0}), "no label"),
    (lambda folder: _change(folder, "dataset.json", labels={"background": 0, "tumour": "one"}), "labels"),
])
def test_what_is_no_model_is_refused_with_what_it_lacks(tmp_path, spoil, found):
    folder = model_folder(tmp_path / "m")
    spoil(folder)
    with pytest.raises(InputError, match="MRD-E370") as caught:
        read_nnunet_model(folder)
    assert found in caught.value.found and str(tmp_path) not in caught.value.text()


def test_a_label_is_named_where_there_are_several(tmp_path):
    model = read_nnunet_model(model_folder(tmp_path / "m", labels={"background": 0, "tumour": 1, "rectum": 2, "ignore": 3}))
    assert model.label("tumour") == "tumour"
    for name in (None, "liver", "ignore"):
        with pytest.raises(InputError, match="(?s)MRD-E375.*tumour, rectum"):
            model.label(name)


def test_every_byte_name_and_file_counts(tmp_path):
    folder = model_folder(tmp_path / "m")
    seen = {digest(folder).sha256}
    checkpoint = folder / "fold_0" / "checkpoint_final.pth"
    original = checkpoint.read_bytes()
    for change in (lambda: checkpoint.write_bytes(original[:-1] + b"?"), lambda: (folder / "fold_0" / "more.txt").write_text(""),
                   lambda: (folder / "fold_0" / "more.txt").rename(folder / "more.txt"), lambda: (folder / "more.txt").write_text("x")):
        change()
        seen.add(digest(folder).sha256)
    assert len(seen) == 5
    (folder / "more.txt").unlink()
    checkpoint.write_bytes(original)
    assert digest(folder).sha256 in seen and digest(folder) == digest(folder)


def test_the_copy_holds_the_bytes_that_were_counted_and_is_private(tmp_path):
    folder = model_folder(tmp_path / "m")
    keep = {name: tmp_path / "copy" / name for name in read_nnunet_model(folder).loaded_files}
    assert digest(folder, keep=keep) == digest(folder)
    assert all(path.read_bytes() == (folder / name).read_bytes() for name, path in keep.items())
    if os.name == "posix":
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keep.values())


def test_a_file_that_vanished_and_a_folder_that_is_a_link_are_refused(tmp_path):
    folder = model_folder(tmp_path / "m")
    with pytest.raises(InputError, match="MRD-E373"):
        digest(folder, keep={"fold_9/checkpoint_final.pth": tmp_path / "x"})
    with pytest.raises(InputError, match="MRD-E373"):
        digest(tmp_path / "absent")
    if os.name == "posix":
        (folder / "fold_1").symlink_to(folder / "fold_0")
        with pytest.raises(InputError, match="(?s)MRD-E373.*a link"):
            digest(folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes among its files")
@pytest.mark.parametrize("place", ["pipe", "fold_0/pipe", "fold_0/checkpoint_final.pth"])
def test_a_pipe_in_the_folder_is_refused_and_not_waited_for(tmp_path, place):
    folder = model_folder(tmp_path / "m")
    (folder / place).unlink(missing_ok=True)
    os.mkfifo(folder / place)
    with pytest.raises(InputError, match="(?s)MRD-E373.*a pipe"):
        digest(folder)


def test_a_link_to_a_file_counts_as_what_it_leads_to(tmp_path):
    """Some hubs keep models so. What is hashed and copied are the bytes, so that turning the link afterwards changes the digest and not the copy."""
    if os.name != "posix":
        pytest.skip("links need rights on Windows")
    folder = model_folder(tmp_path / "m")
    before, checkpoint = digest(folder), folder / "fold_0" / "checkpoint_final.pth"
    checkpoint.rename(tmp_path / "blob")
    checkpoint.symlink_to(tmp_path / "blob")
    keep = {"fold_0/checkpoint_final.pth": tmp_path / "copy" / "c.pth"}
    assert digest(folder, keep=keep) == before
    (tmp_path / "evil").write_bytes(b"not a pickle" * 99 + b"evil pickle!")
    checkpoint.unlink()
    checkpoint.symlink_to(tmp_path / "evil")
    assert digest(folder) != before and (tmp_path / "copy" / "c.pth").read_bytes() == (tmp_path / "blob").read_bytes()
    assert not (tmp_path / "copy" / "c.pth").is_symlink()


def _change(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
