"""What all statistics share: the quantile of 95 %, and packages that load when first asked for."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.errors import require

Z_95 = 1.959963984540054


def package(name: str) -> Any:
    """Import an optional package; raises MissingPackage with how to install it."""
    return require(name, "Statistics of a study", "pip install 'mrdeltanet[cohort]'")
