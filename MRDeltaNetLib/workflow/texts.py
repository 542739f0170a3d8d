"""Texts that a door may translate: marked here, put together after translation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping

Translate = Callable[[str], str]
"""English template -> template in the user's language, with the same named placeholders."""


def _(text: str) -> str:
    """Marks a text for extraction and leaves it as it is: the door translates."""
    return text


@dataclass(frozen=True)
class Text:
    """A template and what stands for its named placeholders; a value that is a Text itself is translated too."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def shown(self, translate: Translate = str) -> str:
        """The text in the user's language."""
        inner = {name: value.shown(translate) if isinstance(value, Text) else value for name, value in self.values.items()}
        return translate(self.template).format(**inner)


def say(template: str, **values: Any) -> Text:
    """say(_("{count} remarks"), count=3)"""
    return Text(template, values)
