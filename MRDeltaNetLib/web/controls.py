"""What the browser may set, and to what. trame takes any value for any entry of the state from a browser: only what is said here is ever read of it."""

from __future__ import annotations

from typing import Any, Callable, Iterable

from MRDeltaNetLib.errors import UsageError

Check = Callable[[Any], bool]


def one_of(values: Iterable[Any]) -> Check:
    """One of these, of the same type too: True is not 1."""
    known = tuple(values)
    return lambda value: any(type(value) is type(each) and value == each for each in known)


def number(low: float, high: float) -> Check:
    """A number from low to high; neither a truth value nor something that is no number."""
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


TRUTH = one_of((True, False))
FINITE = number(-1e9, 1e9)
"""For values that are brought into a range that changes: a slider may be moved while the range that it was drawn for goes."""


class Controls:
    """The entries of the state that the browser sets: read here, and nowhere else."""

    def __init__(self, state: Any) -> None:
        self._state, self._checks, self._good = state, {}, {}

    def add(self, name: str, value: Any, may_be: Check) -> None:
        """A control, what it shows at first, and what it may be; may_be never raises."""
        self._checks[name] = may_be
        self._good[name] = self._state[name] = value

    def set(self, name: str, value: Any) -> None:
        """Show another value: the page's own doing. What the browser has just set and nobody has read yet stays, because its turn comes."""
        now = self._state[name]
        if now == self._good[name] or not self._checks[name](now):
            self._good[name] = self._state[name] = value

    def __getitem__(self, name: str) -> Any:
        """The value as it was set, the one before while it is none that may be."""
        value = self._state[name]
        if self._checks[name](value):
            self._good[name] = value
        return self._good[name]

    def seen(self, names: Iterable[str]) -> None:
        """Their turn has come, whether anybody has read them or not; names that are none of these are passed."""
        for name in names:
            if name in self._checks:
                self[name]

    def put_back(self, names: Iterable[str]) -> None:
        """Show again what was there before instead of what may not be. raises UsageError MRD-E926 if there was such a thing; names that are none of these are passed"""
        wrong = [name for name in names if name in self._checks and not self._checks[name](self._state[name])]
        if wrong:
            for name in wrong:
                self._state[name] = self._good[name]
            raise UsageError("The page was asked for something that it does not offer", code="MRD-E926", fix="load the page again, and use what it shows")
