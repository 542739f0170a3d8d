"""What the six steps have in common."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Iterable

from MRDeltaNetLib import workflow
from MRDeltaNetLib.workflow import telling


class Base:
    """One step of the page; its controls are in templates/<key>.html.

    refresh   shows how it stands
    enter     when it is chosen; leave: when another is
    let_go    when a scan leaves, with all that was made of it
    taken_up  when a case came out of its folder: the controls follow the choices
    """

    key = ""

    def __init__(self, page: Any) -> None:
        self.page, self.state, self.controls, self.sitting = page, page.state, page.controls, page.sitting
        self.title = next(step.title for step in workflow.STEPS if step.key == self.key)

    @property
    def choices(self) -> Any:
        """What was chosen."""
        return self.sitting.choices

    @property
    def chosen(self) -> bool:
        """Whether the page stands on this step."""
        return self.controls["step"] == self.key

    def refresh(self, situation: workflow.Situation, seen: Any) -> None:
        """Show how the step stands. seen: the look (mrml.sitting.reading.Reading) from which the situation was made"""

    def enter(self) -> None:
        """The step was chosen."""

    def leave(self) -> None:
        """Another step was chosen."""

    def let_go(self) -> None:
        """A scan leaves."""

    def taken_up(self) -> None:
        """A case came out of its folder."""


def remarks(found: Iterable[Any]) -> list[dict[str, str]]:
    """Errors, notices or warnings as the templates' lists want them."""
    return [asdict(each) for each in telling.remarks(found)]
