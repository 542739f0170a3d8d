"""What lies over a view: which scan and plane it shows, and a slider for its slice, which is also the way for the keyboard."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.mrml import comparing
from MRDeltaNetLib.web.controls import FINITE
from MRDeltaNetLib.web.steps import align
from MRDeltaNetLib.workflow.telling import SCANS

SAME_PLACE_MM = 1e-3
EDGES = ("left", "right", "top", "bottom")


class Slices:
    """Labels and slice sliders of the six views."""

    def __init__(self, page: Any) -> None:
        self._page, self._state, self._controls = page, page.state, page.controls

    def markup(self, role: str, plane: str) -> str:
        """What is drawn over one view."""
        name, title = _name(role, plane), f"{SCANS[role]}, {plane.lower()}"
        self._controls.add(name, 0.0, FINITE)
        self._state.update({f"{name}_low": -1.0, f"{name}_high": 1.0, f"{name}_edges": dict.fromkeys(EDGES, "")})
        self._page.on_change(lambda: self._moved(role, plane), name)
        edges = "".join(f'<span class="edge {edge}" aria-hidden="true">{{{{ (has_pre || has_post) ? {name}_edges.{edge} : "" }}}}</span>' for edge in EDGES)
        return (f'<span class="label {role}" aria-hidden="true">{_label(role, title)}</span>{edges}'
                f'<input type="range" class="slice" aria-label="Slice, {title.lower()}" :aria-valuetext="{name} + \' mm\'" :min="{name}_low" :max="{name}_high" '
                f'step="any" :disabled="!has_pre && !has_post" :value="{name}" @input="{name} = Number($event.target.value)">')

    def watch(self, role: str, plane: str, view: Any) -> None:
        """Follow the view's slice, however it was moved."""
        view.modified.connect(lambda *_event: self._show(role, plane, view))

    def _moved(self, role: str, plane: str) -> None:
        view = self._page.views.view(role, plane)
        low, high = view.get_slice_range()
        offset = min(max(self._controls[_name(role, plane)], low), high)
        if abs(view.get_slice_value() - offset) > SAME_PLACE_MM:
            view.set_slice_value(offset)

    def _show(self, role: str, plane: str, view: Any) -> None:
        name, offset, (low, high) = _name(role, plane), round(view.get_slice_value(), 3), view.get_slice_range()
        now = {f"{name}_low": round(low, 3), f"{name}_high": round(high, 3), f"{name}_edges": dict(zip(EDGES, comparing.edge_letters(view.get_view_node())))}
        if self._controls[name] != offset or any(self._state[key] != value for key, value in now.items()):
            with self._state as state:
                self._controls.set(name, offset)
                state.update(now)


def _label(role: str, title: str) -> str:
    """The second row shows both scans while an alignment is judged."""
    if role == "pre":
        return title
    both = f"Both, {title.split(', ')[1]}"
    return f'{{{{ step === "{align.KEY}" && aligned && compare !== "side" ? "{both}" : "{title}" }}}}'


def _name(role: str, plane: str) -> str:
    return f"slice_{role}_{plane}".lower()
