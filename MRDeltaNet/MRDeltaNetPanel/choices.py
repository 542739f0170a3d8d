"""The scene's typed parameter node as the library's sitting reads and writes it: snake_case names, plain values."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import Any, Callable

from MRDeltaNetLib.mrml.sitting import Choices
from MRDeltaNetPanel.parameters import ENUMS

NOTHING = {"mrtrg": 0, "shown_map": "none"}
"""Choices of which none is a value of an Enum here and None there."""


def _parameter(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(part.capitalize() for part in more)


PARAMETERS = {each.name: _parameter(each.name) for each in fields(Choices)}
"""Name of a choice -> name of the parameter that holds it."""


class SceneChoices:
    """Stands where sitting.Choices is wanted; every read and every write goes to the parameter node."""

    def __init__(self, find: Callable[[], Any]) -> None:
        """
        find  gives the MRDeltaNetParameterNode; called when a choice is first asked for, so that nothing of the scene is held before
        """
        vars(self).update(_find=find, _parameters=None)

    def __getattr__(self, name: str) -> Any:
        if name not in PARAMETERS:
            raise AttributeError(name)
        value = getattr(self._node(), PARAMETERS[name])
        if not isinstance(value, Enum):
            return value
        return None if name in NOTHING and value.value == NOTHING[name] else value.value

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in PARAMETERS:
            raise AttributeError(name)
        if (kind := ENUMS.get(PARAMETERS[name])) is not None:
            value = kind(NOTHING[name] if value is None and name in NOTHING else value)
        setattr(self._node(), PARAMETERS[name], value)

    def _node(self) -> Any:
        if self._parameters is None:
            vars(self)["_parameters"] = self._find()
        return self._parameters
