"""What all pages share."""

from __future__ import annotations

from typing import Any

import slicer

from MRDeltaNetLib.errors import MRDeltaNetError


def embolden(button: Any, bold: bool) -> None:
    """Bold text marks the chosen one of several buttons: a dark style hardly shows which one is pressed, and a style sheet would be custom styling."""
    font = button.font
    font.setBold(bold)
    button.font = font


class Page:
    """One step of the panel.

    key     of workflow.STEPS
    uiFile  in Resources/UI
    panel   the module's widget: logic, parameters, views, refreshSoon(), run(step), go(step), tell(error)
    """

    key = ""
    uiFile = ""

    def __init__(self, panel: Any) -> None:
        self.panel = panel
        self.widget = slicer.util.loadUI(panel.resourcePath(f"UI/{self.uiFile}"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.connect()

    def connect(self) -> None:
        """Connect the page's own buttons."""

    def refresh(self, situation: Any, step: Any) -> None:
        """Show what is so now.

        situation  workflow.Situation
        step       workflow.StepView of this page
        """

    def enter(self) -> None:
        """The page comes to the front."""

    def exit(self) -> None:
        """The page goes to the back."""

    def sceneCloses(self) -> None:
        """The scene is about to be emptied."""

    def sceneChanged(self) -> None:
        """A scene was closed or read."""

    def cleanup(self) -> None:
        """The panel goes."""

    @property
    def parameters(self) -> Any:
        """The parameter node; None while a scene is closed or read."""
        return self.panel.parameters

    @property
    def logic(self) -> Any:
        """The module's logic."""
        return self.panel.logic

    @staticmethod
    def oneOf(*buttons: Any) -> None:
        """Checkable buttons of which one is chosen: that one's text is bold.

        buttons  QToolButton or QPushButton
        """
        for button in buttons:
            button.connect("toggled(bool)", lambda checked, button=button: embolden(button, checked))
            embolden(button, button.checked)

    @staticmethod
    def write(label: Any, text: str) -> None:
        """Put rich text into a label; an empty one takes no room.

        label  QLabel
        """
        label.text = text
        label.visible = bool(text)

    def guarded(self, action: Any) -> Any:
        """Do something that a user asked for; what goes wrong on purpose is told in one dialog.

        returns  what action returns; None if it was refused
        """
        try:
            return action()
        except MRDeltaNetError as error:
            self.panel.tell(error)
            return None
        finally:
            self.panel.refreshSoon()
