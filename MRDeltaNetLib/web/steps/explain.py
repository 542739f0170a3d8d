"""Step 5: where the score comes from, over the scans; and where in the first scan a place of the second one was compared with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Iterable

from MRDeltaNetLib import workflow
from MRDeltaNetLib.colours import CIVIDIS, SIGNED
from MRDeltaNetLib.config import EXPLAIN_METHODS
from MRDeltaNetLib.mrml import overlays
from MRDeltaNetLib.mrml.sitting import asking, further, keeping, mapping, results
from MRDeltaNetLib.web.controls import one_of
from MRDeltaNetLib.web.steps.step import Base
from MRDeltaNetLib.workflow import telling

KEY = "explain"
STRENGTH = ("map_threshold", "map_opacity")
"""Controls that are choices of the same name."""

STOPS = 9
"""Colours of a scale that are told to the browser, which fills in between."""


class Step(Base):
    """One map at a time with its scale, threshold and opacity; further maps; the point query."""

    key = KEY

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._watched: tuple[Any, int] | None = None
        self._answered: Path | None = None               # the result that was asked last
        self._cautions: dict[str, str] = {}              # method that can be asked for -> what has to be said before
        self.controls.add("shown_map", None, one_of((None, *overlays.MAPS)))
        self.controls.add("more", None, one_of((None, workflow.OFFERED, *EXPLAIN_METHODS)))
        for name in STRENGTH:
            self.controls.add(name, getattr(self.choices, name), keeping.PLAIN[name])
        self.state.update({"map_groups": [], "map_facts": {}, "why_no_map": "", "more_groups": [], "more_caution": "", "why_not_more": "",
                           "can_ask": False, "picking": False, "point_lines": []})
        page.on_change(self._chosen, "shown_map")
        page.on_change(self._strength, *STRENGTH)
        page.on_change(self._more_chosen, "more")
        page.on_button("make_maps", self.make)
        page.on_button("pick", self.pick)
        page.on_button("ask_here", self.ask_here)

    def refresh(self, situation: Any, seen: Any) -> None:
        found = results.maps(self.choices)
        more = _plain(further.methods(self.sitting))
        self.controls.set("shown_map", mapping.chosen_map(self.choices))
        self.state.update({"map_groups": _plain(mapping.offered_maps(self.choices)), "map_facts": self._facts(), "why_no_map": workflow.why_none_by_itself(found, mapping.judged(self.choices)), "more_groups": more,
                           "why_not_more": workflow.why_not_more(situation), "can_ask": asking.can_ask(self.sitting.result_folder())})
        self._cautions = {line["key"]: line["caution"] for group in more for line in group["lines"] if not line["why_not"]}
        if self.controls["more"] not in self._cautions:
            self.controls.set("more", next(iter(self._cautions), None))
        self._more_chosen()
        if self._answered not in (None, self.sitting.result_folder()):
            self._forget_answer()

    def enter(self) -> None:
        self._show()
        self._go_there()

    def leave(self) -> None:
        self._stop_picking()
        mapping.hide_legends(self.choices)
        self.page.views.show_over({}, 0.0)

    def let_go(self) -> None:
        """Nobody waits for a click on a scan that leaves, and what was answered about it leaves too."""
        self._stop_picking()
        self._forget_answer()

    def taken_up(self) -> None:
        for name in STRENGTH:
            self.controls.set(name, getattr(self.choices, name))

    def make(self) -> None:
        """Make the further maps that were asked for."""
        asked = self.controls["more"]
        self.page.follow(further.STEP, lambda: further.start(self.sitting, asked if asked == workflow.OFFERED else (asked,)))

    def pick(self) -> None:
        """Wait for a click that sets the point, on the scan after treatment."""
        point = self._fresh_point()
        self._watched = (point, point.AddObserver(point.PointPositionDefinedEvent, lambda *_event: self.page.guarded(self._placed)))
        self.page.slicer_app.markups_logic.place_node(point)
        with self.state as state:
            state.picking = True

    def ask_here(self) -> None:
        """Ask about the place where the slices meet: the way without a mouse."""
        place = self.page.views.meeting_place()
        self._fresh_point()
        asking.place_point(self.choices, place)
        self._ask()

    def _fresh_point(self) -> Any:
        """The question's node without a place. raises UsageError MRD-E849 if no place can be asked about"""
        self._stop_picking()
        asking.refuse_without_answer(self.sitting.result_folder())
        self._forget_answer()
        return asking.clear_points(self.choices, self.page.views.nodes("pre"), self.page.views.nodes("post"))

    def _placed(self) -> None:
        self._stop_picking()
        self._ask()

    def _ask(self) -> None:
        found = asking.ask(self.choices, self.sitting.result_folder())
        self.page.views.jump_row("pre", tuple(found.peak_lps_mm))
        self._answered = self.sitting.result_folder()
        with self.state as state:
            state.point_lines = list(telling.compared(found))

    def _forget_answer(self) -> None:
        """An answer is one result's: it goes with it."""
        self._answered = None
        if self.choices.point is not None:
            asking.clear_points(self.choices, self.page.views.nodes("pre"), self.page.views.nodes("post"))
        with self.state as state:
            state.point_lines = []

    def _stop_picking(self) -> None:
        if self._watched is not None:
            point, watch = self._watched
            self._watched = None
            point.RemoveObserver(watch)
            self.page.slicer_app.markups_logic.disable_place_mode()
        with self.state as state:
            state.picking = False

    def _chosen(self) -> None:
        if self.controls["shown_map"] == mapping.chosen_map(self.choices):
            return
        self.choices.shown_map = self.controls["shown_map"]
        with self.state as state:
            state.map_facts = self._facts()
        self._show()
        self._go_there()
        self.page.keep()

    def _strength(self) -> None:
        now = [float(self.controls[name]) for name in STRENGTH]
        if now != [getattr(self.choices, name) for name in STRENGTH]:
            self.choices.map_threshold, self.choices.map_opacity = now
            self._show()
            self.page.refresh_soon()

    def _more_chosen(self) -> None:
        with self.state as state:
            state.more_caution = self._cautions.get(self.controls["more"], "")

    def _show(self) -> None:
        if self.chosen:
            self.page.views.show_over(mapping.shown_map(self.choices), self.choices.map_opacity)

    def _go_there(self) -> None:
        """To the middle of where the shown map is largest."""
        if self.chosen and (place := mapping.strongest_place(self.choices)) is not None:
            self.page.views.close_up(self.choices.pre_volume, place)

    def _facts(self) -> dict[str, Any]:
        """What the shown map's scale says."""
        key, result = mapping.chosen_map(self.choices), self.sitting.result_facts()
        facts = None if key is None or result is None else (result.get("maps") or {}).get(key)
        if facts is None:
            return {}
        top, signed = float(facts.get("scale_top") or 1.0), bool(facts.get("signed"))
        table = SIGNED if signed else CIVIDIS
        colours = ", ".join("rgb({}, {}, {})".format(*table[round(index * 255 / (STOPS - 1))]) for index in range(STOPS))
        return {"title": overlays.MAPS[key][2], "bottom": f"{-top:.2g}" if signed else "0", "top": f"{top:.2g}", "gradient": f"linear-gradient(to right, {colours})",
                "lines": list(workflow.map_described(key, facts, mapping.judged(self.choices), largest=mapping.largest_share(self.choices),
                                                    clear_below=self.choices.map_threshold))}


def _plain(groups: Iterable[workflow.MapGroup]) -> list[dict[str, Any]]:
    return [{"heading": group.heading, "lines": [asdict(line) for line in group.lines]} for group in groups]
