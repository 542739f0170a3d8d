"""The shared colours against matplotlib and against one another."""

import numpy as np
import pytest

from MRDeltaNetLib.colours import CIVIDIS, OUTLINES


def test_cividis_is_matplotlibs_table():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is the oracle for cividis")
    oracle = matplotlib.colormaps["cividis"](np.arange(256), bytes=True)[:, :3]
    assert CIVIDIS.dtype == np.uint8
    np.testing.assert_array_equal(CIVIDIS, oracle)


def test_the_table_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        CIVIDIS[0, 0] = 1


def test_outlines_differ_in_line_style_and_not_only_in_colour():
    assert len({outline.style for outline in OUTLINES.values()}) == len(OUTLINES)


def test_outlines_stand_off_from_every_overlay_colour():
    for outline in OUTLINES.values():
        distance = np.linalg.norm(CIVIDIS.astype(float) - outline.rgb, axis=1)
        assert distance.min() > 80, outline.label
