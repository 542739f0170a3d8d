"""Probabilities and uncertain border of nnU-Net in a scene: the voxels that were handed in, where they were, with what drew."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.io.drawings import program_of, voxels_sha256  # noqa: E402
from MRDeltaNetLib.mrml import drawn, outlines  # noqa: E402
from MRDeltaNetLib.mrml.bootstrap import own_scene  # noqa: E402
from MRDeltaNetLib.mrml.nodes import image_to_node  # noqa: E402
from MRDeltaNetLib.mrml.scene import write_scene  # noqa: E402
from Testing.io.test_drawings import FACTS  # noqa: E402
from Testing.made_up_result import CENTRE_MM, GRIDS, ball, bump, complete_result, empty_image  # noqa: E402
from Testing.mrml.test_nodes import exported  # noqa: E402


@pytest.mark.parametrize("kind", sorted(GRIDS))
def test_probability_and_border_lie_on_the_scan_whatever_its_axes(kind):
    grid = empty_image(kind)
    share, mask = bump(grid, CENTRE_MM, 14, 0.9), ball(grid, CENTRE_MM, 12)
    program = program_of(FACTS, mask)
    with own_scene() as scene:
        volume = image_to_node(grid, scene, "T2")
        assert drawn.kept(volume, "pre") is None and drawn.nodes(volume, "pre") == ()
        made = drawn.keep(volume, "pre", sitk.Cast(grid, sitk.sitkFloat32) * 0, program_of(FACTS, ball(grid, CENTRE_MM, 5)))
        assert drawn.keep(volume, "pre", share, program) == made == drawn.nodes(volume, "pre")
        back, told = drawn.kept(volume, "pre")
        assert told == program and np.array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(share))
        for name, level in drawn.LEVELS.items():
            assert np.array_equal(exported(made[1], name, volume, scene) > 0, sitk.GetArrayFromImage(share) >= level)
        assert drawn.kept(volume, "post") is None


def test_a_scene_of_a_run_says_who_drew_and_shows_where_it_was_unsure(load, tmp_path):
    whole = complete_result()
    program = program_of(FACTS, whole.images["pre_mask"])
    for source in ("automatic", "edited"):
        result = dataclasses.replace(whole, mask_sources={"pre": source, "post": "drawn"}, mask_programs={"pre": program},
                                     images={**whole.images, "pre_probability": bump(whole.images["pre"], CENTRE_MM, 14, 0.9)})
        scene = load(write_scene(result, tmp_path / f"{source}.mrb"))
        name = scene.GetFirstNodeByName("Pre-treatment segmentation").GetSegmentation().GetSegment("pre_mask").GetName()
        assert name.endswith(outlines.AUTOMATIC) == (source == "automatic")
        assert scene.GetFirstNodeByName("Pre-treatment uncertain border (nnU-Net)").GetSegmentation().GetNumberOfSegments() == 2
        found = drawn.kept(scene.GetFirstNodeByName("Pre-treatment T2"), "pre")
        assert found[1] == program and found[1]["mask_sha256"] == voxels_sha256(whole.images["pre_mask"])
