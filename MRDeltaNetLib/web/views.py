"""Two rows of three slice views, the scan before treatment above the one after: linked, along the first scan's own axes."""

from __future__ import annotations

from typing import Any, Callable

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.mrml import comparing, outlines
from MRDeltaNetLib.workflow.telling import SCANS

FEATURE, INSTALL = "The browser page", "pip install 'mrdeltanet[web]'"
PLANES = ("Axial", "Sagittal", "Coronal")
ROLES = ("pre", "post")
COLOURS = {"pre": "#4477AA", "post": "#EE7733"}
LAYOUT = "pair"
FRAMES_S, UNSEEN_FRAMES_S, MOVING_QUALITY = 30.0, 10.0, 50
"""Pictures a second at most, of a view below the mouse and of the others; quality of a picture that moves, of 100."""

MOST_PIXELS = 4 * 1024**2
"""Of one view's picture, whatever size a browser says that it has."""

CLOSE_UP_MM = 120.0
SAME_SCALE = 1e-6
WIDTHS_MM = (10.0, 1000.0)
"""How much of a scan a view shows at least and at most, along its shorter side."""


def tag(role: str, plane: str) -> str:
    """Name of a view."""
    return f"{role}{plane}"


class Views:
    """The six views and what they show."""

    def __init__(self, slicer_app: Any, server: Any, virtual_node: Any, markup: Callable[[str, str], str]) -> None:
        """
        slicer_app    trame_slicer.core.SlicerApp
        virtual_node  where in the page the views are drawn; already placed
        markup        (role, plane) -> what the page draws over a view, as a template
        """
        html = require("trame.widgets.html", FEATURE, INSTALL)
        rca, core, views = (require(f"trame_slicer.{name}", FEATURE, INSTALL) for name in ("rca_view", "core", "views"))
        self._app, self._moving = slicer_app, False
        self._whole: Any = None                          # the volume that is seen whole; None once somebody looked closer
        self._sizes: list[tuple[int, int]] = []
        factory = rca.RemoteSliceViewFactory(server, target_fps=FRAMES_S, blur_fps=UNSEEN_FRAMES_S, interactive_quality=MOVING_QUALITY,
                                             populate_view_ui_f=lambda _server, _id, view: html.Div(markup(*_parts(view)), style="display: contents"))
        slicer_app.view_manager.register_factory(factory)
        self._layout = core.LayoutManager(slicer_app.scene, slicer_app.view_manager, server, virtual_node=virtual_node, is_virtual_node_initialized=True)
        rows = [views.Layout(views.LayoutDirection.Horizontal, [
            views.ViewLayoutDefinition(tag(role, plane), views.ViewType.SLICE_VIEW,
                                       views.ViewProps(label=f"{SCANS[role]}, {plane.lower()}", orientation=plane, color=COLOURS[role], group=number))
            for plane in PLANES]) for number, role in enumerate(ROLES)]
        self._layout.register_layout(LAYOUT, views.Layout(views.LayoutDirection.Vertical, rows))
        self._layout.set_layout(LAYOUT)
        for place in self.places():                      # VTK's own keys: "e" and "q" end the process, "3" makes the picture stereo
            self.view(*place).interactor().RemoveObservers("CharEvent")
        for place in self.places():
            factory.get_factory_view(tag(*place)).view_adapter.max_pixel_count = MOST_PIXELS
        self._seen = {plane: tuple(self.node(role, plane) for role in ROLES) for plane in PLANES}
        for pair in self._seen.values():
            for first, second in (pair, pair[::-1]):
                first.AddObserver("ModifiedEvent", self._follower(first, second))
        comparing.keep_out_of_files(*(node for pair in self._seen.values() for node in pair), *self.layers("pre"), *self.layers("post"))

    def view(self, role: str, plane: str) -> Any:
        """trame_slicer's SliceView."""
        return self._app.view_manager.get_view(tag(role, plane))

    def node(self, role: str, plane: str) -> Any:
        """The slice node of a view."""
        return self.view(role, plane).get_view_node()

    def places(self) -> tuple[tuple[str, str], ...]:
        """(role, plane) of every view."""
        return tuple((role, plane) for role in ROLES for plane in PLANES)

    def nodes(self, role: str) -> tuple[Any, ...]:
        """The three slice nodes of a scan."""
        return tuple(self.node(role, plane) for plane in PLANES)

    def layers(self, role: str) -> tuple[Any, ...]:
        """The slice composite nodes of a scan's views."""
        return tuple(comparing.layers_of(node) for node in self.nodes(role))

    def place(self, pre: Any, post: Any) -> None:
        """Both scans in their views, each with its own outlines alone, all turned and fitted to the first scan's axes.

        pre, post  volume nodes or None
        """
        scans = dict(zip(ROLES, (pre, post)))
        for role, volume in scans.items():
            for layers in self.layers(role):
                comparing.show_layers(layers, volume)
            if volume is not None and (segmentation := outlines.find_segmentation(volume, role)) is not None:
                outlines.show_only_in(segmentation, self.nodes(role))
        if (first := pre if pre is not None else post) is not None:
            self.fit(first)

    def fit(self, first: Any) -> None:
        """Turn all views to the scan's own planes and show all of it, also when they become larger or smaller. first: volume node"""
        self._moving = True
        try:
            for plane, pair in self._seen.items():
                comparing.orient_alike(pair, first, plane)
                comparing.fit(pair, first)
        finally:
            self._moving = False
        self._whole, self._sizes = first, self._dimensions()
        self.render()

    def close_up(self, first: Any, point_lps_mm: tuple[float, float, float], width_mm: float = CLOSE_UP_MM) -> None:
        """Show what lies around a place large enough to see a small map.

        first         volume node whose planes the views have
        point_lps_mm  LPS of the first scan, mm; width_mm of each view
        """
        self._moving, self._whole = True, None
        try:
            for plane, pair in self._seen.items():
                comparing.orient_alike(pair, first, plane)
                comparing.zoom(pair, width_mm)
            comparing.jump_to([node for pair in self._seen.values() for node in pair], point_lps_mm, centre=True)
        finally:
            self._moving = False
        self.render()

    def zoom(self, first: Any, factor: float) -> None:
        """See more (factor above 1) or less around the place where the slices meet. first: volume node whose planes the views have"""
        width, height = self.node("pre", PLANES[0]).GetFieldOfView()[:2]
        self.close_up(first, self.meeting_place(), min(max(min(width, height) * factor, WIDTHS_MM[0]), WIDTHS_MM[1]))

    def meeting_place(self) -> tuple[float, float, float]:
        """Where the three slices that are shown meet, LPS of the first scan, mm."""
        return comparing.meeting_place(self.nodes("pre"))

    def jump(self, point_lps_mm: tuple[float, float, float]) -> None:
        """Show a place in every view, LPS of the first scan, mm."""
        comparing.jump_to([node for pair in self._seen.values() for node in pair], point_lps_mm)

    def jump_row(self, role: str, point_lps_mm: tuple[float, float, float]) -> None:
        """Show a place in one scan's views alone; the other row stays until either is moved. LPS of the first scan, mm"""
        self._moving = True
        try:
            comparing.jump_to(self.nodes(role), point_lps_mm)
        finally:
            self._moving = False
        self.render()

    def side_by_side(self, pre: Any, post: Any) -> None:
        """Each scan in its own row and nothing over it."""
        for role, volume in zip(ROLES, (pre, post)):
            for layers in self.layers(role):
                comparing.show_layers(layers, volume)
        self.render()

    def blend(self, pre: Any, post: Any, opacity: float) -> None:
        """In the second row the second scan over the first one. opacity: of the second scan, 0 to 1"""
        for layers in self.layers("post"):
            comparing.show_layers(layers, pre, post, opacity)
        self.render()

    def squares(self, board: Any) -> None:
        """In the second row both scans in squares. board: of sitting.aligning.squares"""
        for layers in self.layers("post"):
            comparing.show_layers(layers, board)
        self.render()

    def show_over(self, maps: dict[str, Any], opacity: float) -> None:
        """Lay maps over the scans. maps: "pre", "post" -> volume node"""
        for role in ROLES:
            node = maps.get(role)
            for layers in self.layers(role):
                layers.SetForegroundVolumeID(None if node is None else node.GetID())
                comparing.blend(layers, opacity)
        self.render()

    def render(self) -> None:
        """Draw every view anew."""
        for role in ROLES:
            for plane in PLANES:
                self.view(role, plane).schedule_render()

    def _resized(self) -> bool:
        """Whether views have become larger or smaller. What is seen whole stays whole: a case that was taken up is shown before the browser has
        said how large its views are."""
        sizes = self._dimensions()
        if sizes == self._sizes:
            return False
        self._sizes = sizes
        if self._whole is not None and self._whole.GetScene() is not None:
            self.fit(self._whole)
        return True

    def _dimensions(self) -> list[tuple[int, int]]:
        return [self.node(role, plane).GetDimensions()[:2] for role, plane in self.places()]

    def _follower(self, first: Any, second: Any) -> Callable[..., None]:
        """A view follows the one of the other scan in the same plane."""

        def follow(*_event: Any) -> None:
            if self._moving or self._resized() and self._whole is not None:
                return
            if abs(_pixel_mm(first) / _pixel_mm(second) - 1) > SAME_SCALE or first.GetXYZOrigin() != second.GetXYZOrigin():
                self._whole = None                       # somebody has zoomed or moved the first one
            self._moving = True
            try:
                comparing.copy_place(first, second)
            finally:
                self._moving = False

        return follow


def _pixel_mm(node: Any) -> float:
    return node.GetFieldOfView()[0] / max(node.GetDimensions()[0], 1)


def _parts(view: Any) -> tuple[str, str]:
    name = view.get_singleton_tag()
    role = next(role for role in ROLES[::-1] if name.startswith(role))
    return role, name.removeprefix(role)
