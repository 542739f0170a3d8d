"""The strip above the views: brightness and contrast of both scans, and how much of them is seen."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.mrml.sitting.choices import SCANS
from MRDeltaNetLib.report.pictures import display_window
from MRDeltaNetLib.web.controls import number

MIDDLE = 0.5
"""Where a slider stands for the display window that the scan itself suggests."""

CONTRAST_STEPS = 4.0
"""From one end of the slider to its middle the window doubles or halves half as often."""

CLOSER = 0.7


class Strip:
    """Brightness and contrast start at the scan's own display window."""

    def __init__(self, page: Any) -> None:
        self._page, self._controls = page, page.controls
        self._windows: dict[str, tuple[str, float, float]] = {}
        for role in SCANS:
            for name in _names(role):
                self._controls.add(name, MIDDLE, number(0, 1))
            page.on_change(lambda role=role: self._set(role), *_names(role))
        page.on_button("fit", self._fit)
        page.on_button("own_window", lambda: [self.reset(role) for role in SCANS])
        page.on_button("closer", lambda: self._zoom(CLOSER))
        page.on_button("wider", lambda: self._zoom(1 / CLOSER))

    def reset(self, role: str) -> None:
        """Begin again with the window of the scan that was just chosen."""
        for name in _names(role):
            self._controls.set(name, MIDDLE)
        self._set(role)

    def _set(self, role: str) -> None:
        volume = getattr(self._page.sitting.choices, SCANS[role])
        if volume is None:
            return
        low, high = window(*self._own(role, volume), *(self._controls[name] for name in _names(role)))
        display = volume.GetDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(low, high)

    def _own(self, role: str, volume: Any) -> tuple[float, float]:
        """The scan's own window."""
        kept = self._windows.get(role)
        if kept is None or kept[0] != volume.GetID():
            found = display_window(self._page.image_of(role))
            kept = self._windows[role] = (volume.GetID(), found.low, found.high)
        return kept[1:]

    def _fit(self) -> None:
        choices = self._page.sitting.choices
        if (first := choices.pre_volume or choices.post_volume) is not None:
            self._page.views.fit(first)

    def _zoom(self, factor: float) -> None:
        choices = self._page.sitting.choices
        if (first := choices.pre_volume or choices.post_volume) is not None:
            self._page.views.zoom(first, factor)


def window(low: float, high: float, brightness: float, contrast: float) -> tuple[float, float]:
    """The grey values shown black and white.

    low, high             of the scan's own window
    brightness, contrast  0 to 1, MIDDLE for the scan's own
    """
    width = (high - low) * 2 ** ((MIDDLE - contrast) * CONTRAST_STEPS)
    middle = (low + high) / 2 - (brightness - MIDDLE) * (high - low)
    return middle - width / 2, middle + width / 2


def _names(role: str) -> tuple[str, str]:
    return f"brightness_{role}", f"contrast_{role}"
