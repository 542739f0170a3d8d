"""Colours that pictures, report and scene share: the cividis table, how a map lies over a scan, the outline colours.

Cividis (Nunez, Anderton and Renslow 2018, doi:10.1371/journal.pone.0199239) rises evenly in lightness and reads the same with and
without colour vision deficiency. The outline colours lie off its blue-to-yellow path, and each has its own line style, so that
nothing is told by colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CIVIDIS_HEX = (
    "00224d00234f00235000245200255400265500265700275900285b00285c00295e002a60002a62002b64002c66002c67"
    "002d69002e6b002f6d002f6f0030700030700031700031700432700833700b33700e347011356f14366f16366f18376f"
    "1a386f1c386e1d396e1f3a6e213b6e223b6e243c6e253d6d273d6d283e6d2a3f6d2b3f6d2c406d2e416c2f426c30426c"
    "31436c32446c34446c35456c36466c37466c38476c39486c3a486b3b496b3d4a6b3e4b6b3f4b6b404c6b414d6b424d6b"
    "434e6b444f6b454f6b46506b47516b48516b49526b4a536b4b546c4c546c4d556c4e566c4e566c4f576c50586c51586c"
    "52596c535a6c545a6c555b6d565c6d575d6d585d6d595e6d595f6d5a5f6d5b606e5c616e5d616e5e626e5f636e60646e"
    "61646f61656f62666f63666f64676f656870666970676970686a70686b71696b716a6c716b6d716c6d726d6e726e6f72"
    "6e70736f70737071737172737273747373747474757475757575757676767777767878767978777979777a7a777b7b77"
    "7c7b787d7c787e7d787f7d78807e78817f788280788380788481788582788583788683788784788885788986788a8678"
    "8b87788c88788d89788e89788f8a77908b77918c77928c77938d77948e77958f77968f779790769891769992769a9376"
    "9b93769c94769d95759e96759f9675a09775a19874a29974a39a74a49a74a59b73a69c73a79d73a89e73a99e72aa9f72"
    "aba072aca171ada271aea271afa370b0a470b1a570b2a66fb3a66fb4a76fb5a86eb6a96eb7aa6db8ab6db9ab6dbaac6c"
    "bbad6cbcae6bbdaf6bbeb06abfb06ac1b169c2b269c3b368c4b468c5b567c6b567c7b666c8b765c9b865cab964cbba64"
    "ccbb63cdbc62cebc62cfbd61d0be60d2bf60d3c05fd4c15ed5c25ed6c35dd7c35cd8c45bd9c55adac65adbc759dcc858"
    "dec957dfca56e0cb55e1cc54e2cc53e3cd52e4ce51e5cf50e6d04fe8d14ee9d24dead34cebd44becd54aedd648eed747"
    "efd846f1d944f2da43f3da42f4db40f5dc3ff6dd3df8de3bf9df3afae038fbe136fde234fde333fde534fde636fde737"
)

CIVIDIS = np.frombuffer(bytes.fromhex(_CIVIDIS_HEX), dtype=np.uint8).reshape(256, 3)
"""Read-only uint8 array (256, 3): red, green, blue from the lowest value to the highest."""

_SIGNED_STOPS = ((0.0, (0, 70, 190)), (0.25, (100, 160, 235)), (0.5, (245, 245, 245)), (0.75, (250, 175, 90)), (1.0, (215, 80, 0)))
"""Blue, white, orange: told apart with every common colour vision deficiency."""


def _signed_table() -> np.ndarray:
    places, colours = np.linspace(0, 1, 256), np.array([colour for _, colour in _SIGNED_STOPS], float)
    table = np.stack([np.interp(places, [stop for stop, _ in _SIGNED_STOPS], colours[:, channel]) for channel in range(3)], 1)
    table = np.round(table).astype(np.uint8)
    table.setflags(write=False)
    return table


SIGNED = _signed_table()
"""Read-only uint8 array (256, 3) for maps with values below 0: from -top (blue: speaks against pCR) over 0 (white) to top (orange: speaks for it)."""


OVERLAY_THRESHOLD = 0.2
"""Below this fraction of the end of its scale a map is transparent, by size where it has a sign."""

OVERLAY_OPACITY = 0.55
"""How much of a map's colour covers the scan, 0 to 1."""


@dataclass(frozen=True)
class Outline:
    """How the border of one mask is drawn.

    label        what it encloses
    rgb          red, green, blue, 0 to 255
    colour_name  the colour in words
    style        "solid", "dashed" or "dotted"
    """

    label: str
    rgb: tuple[int, int, int]
    colour_name: str
    style: str


OUTLINES = {
    "pre_mask": Outline("tumour before treatment", (255, 96, 56), "orange-red", "solid"),
    "post_mask": Outline("tumour bed after treatment", (64, 224, 255), "cyan", "dashed"),
    "residual_mask": Outline("residual viable tumour", (255, 128, 232), "pink", "dotted"),
}
"""Keyed like Result.images."""

UNCERTAIN = Outline("uncertain border of what a program drew", (255, 255, 255), "white", "dotted")
