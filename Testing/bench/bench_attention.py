"""How the comparison's time grows with the number of tokens: anchored, through latents, and full, forward only.

The modules of models/comparison.py at the fine scale's width of preset "base". `full` runs through torch's fused attention and never holds
its table; "full, table held" is the same comparison by softmax, whose table is what a limit on memory hits.
"""

from __future__ import annotations

import math
import time

GRIDS = ((6, 8, 8), (12, 8, 8), (12, 16, 16), (24, 16, 16), (24, 32, 16), (24, 32, 32))
"""Tokens (z, y, x), 384 to 24,576; the third is the default crop's. Anchored compares within a slice of n tokens, so that it grows with
N n: from the third on N grows 8 times and n 4 times."""

TOKEN_MM = (6.0, 6.0, 6.0)
WIDTH, LATENTS, HEADS = 128, 64, 8
MEMORY_LIMIT = 1024**3
"""Bytes that the tables of one comparison may take; above, it is not run and the row says what it would have needed."""

FROM_TOKENS = 3072
"""The growth exponent is fitted from here on: below, fixed costs hide it."""


def run() -> list[dict]:
    """Seconds of each comparison at each number of tokens, beside `full`, and the exponent of growth d log t / d log N."""
    import torch
    torch.manual_seed(0)
    rows, seconds = [], {name: {} for name in ("full", "full, table held", "anchored", "latent")}
    for grid in GRIDS:
        count = math.prod(grid)
        for name in seconds:
            needed = table_bytes(name, grid)
            if needed > MEMORY_LIMIT:
                rows.append({"what": f"{name}, {count} tokens", "unit": "GB", "ours": needed / 1e9, "peer": None,
                             "note": f"not run: bytes that its tables need, above the limit of {MEMORY_LIMIT / 1e9:.2f} GB"})
                continue
            seconds[name][count] = _measure(name, grid)
            rows.append({"what": f"{name}, {count} tokens", "unit": "s", "ours": seconds[name][count],
                         "peer": None if name == "full" else seconds["full"][count], "peer_name": "full"})
    return rows + [{"what": f"{name}: time grows with tokens to the power of", "unit": "", "ours": exponent(found), "peer": None,
                    "note": f"{min(n for n in found if n >= FROM_TOKENS)} to {max(found)} tokens"}
                   for name, found in seconds.items()]


def table_bytes(name: str, grid: tuple[int, int, int]) -> int:
    """Bytes of the largest tables that a comparison holds at once, float32, one case: scores and their softmax.

    anchored: one (n, n) table a slice; latent: reading and writing shares of all heads; full: none, its kernel works in blocks.
    """
    plane, count = grid[1] * grid[2], math.prod(grid)
    elements = {"full": 0, "full, table held": 2 * count**2, "anchored": 2 * grid[0] * plane**2, "latent": 2 * HEADS * LATENTS * 3 * count}
    return 4 * elements[name]


def exponent(seconds: dict[int, float]) -> float:
    """Least-squares slope of log time over log tokens from FROM_TOKENS on."""
    points = [(math.log(n), math.log(t)) for n, t in seconds.items() if n >= FROM_TOKENS]
    x, y = (sum(values) / len(points) for values in zip(*points))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def _measure(name: str, grid: tuple[int, int, int]) -> float:
    """Seconds of one forward pass of the comparison, the best of several (a busy machine only ever adds time)."""
    import torch

    from MRDeltaNetLib.models.comparison import Comparison, Frames, read
    compare = Comparison(WIDTH, grid, TOKEN_MM, compare=name.split(",")[0], content=True, latents=LATENTS, heads=HEADS).eval()
    count = math.prod(grid)
    pre, post = torch.randn(2, 1, WIDTH, *grid)
    frames = Frames(torch.rand(1, count), torch.rand(1, count), torch.tensor([[3.0, -4.0]]), torch.tensor([True]))
    if "held" in name:
        def held(a, b, values):
            return read(compare.align(a, b, frames, grid[0]), values, grid[0])
        compare.align.fused = held
    with torch.inference_mode():
        compare(pre, post, frames)
        times = []
        while len(times) < 3 or (sum(times) < 1 and len(times) < 30):
            start = time.perf_counter()
            compare(pre, post, frames)
            times.append(time.perf_counter() - start)
    return min(times)
