"""Settings that a person writes as TOML, read into the frozen dataclasses of config.py: strictly, and the same for every kind of settings file.

A key that is left out has its default; a key that is not known is refused, because a default in its place would do something else than was asked for.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping as AnyMapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, get_args, get_origin, get_type_hints

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.io import text_files
from MRDeltaNetLib.io.tables import short

MAX_LIST = 64
MAX_TEXT_CHARACTERS = 4096
MAX_DIGITS = 10**18


@dataclass(frozen=True)
class Range:
    """Numbers that a key may have, ends included unless open."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """False for NaN and infinity too."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return math.isfinite(value) and above and below

    def words(self) -> str:
        """"from 0 to 1", "above 0 to 1", "from 0 to below 1"."""
        return f"{'above' if self.open_low else 'from'} {_plain(self.low)} to {'below ' if self.open_high else ''}{_plain(self.high)}"


@dataclass(frozen=True)
class Key:
    """One key of a settings file. table: "" for the top; default: None also where there is none; allowed: in words."""

    table: str
    name: str
    kind: str
    default: Any
    allowed: str

    @property
    def dotted(self) -> str:
        """"training.epochs"; "endpoints.*.time" for a key of tables whose names are the user's."""
        return f"{self.table}.{self.name}" if self.table else self.name


@dataclass(frozen=True)
class Settings:
    """What one kind of settings file may hold.

    root     its dataclass
    what     how messages name it: "study"
    ranges   dotted name -> what a number, or each number of a list, may be; choices: of a text. "*" stands for a name that the user gives
    needed   keys of the top without a default
    own      dataclass -> how its table is read, where the rules below do not hold: (values, base) -> its arguments
    plain    dotted names of texts that may also be written as a number, true or false
    words    what a text may be, beyond choices: (dotted, value), raises UsageError
    """

    root: type
    what: str
    ranges: Mapping[str, Range]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    own: Mapping[type, Callable[[Mapping[str, Any], Path | None], dict[str, Any]]] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()
    words: Callable[[str, str], None] = lambda dotted, value: None

    def file(self, path: Path | str, limits: GateLimits = GateLimits()) -> dict[str, Any]:
        """A file's tables and keys. raises InputError MRD-E480 (not a readable file), E481 (not TOML)"""
        name = f"The {self.what} file"
        content = text_files.content(path, limits.max_json_bytes, name, code="MRD-E480", ending=".toml")
        if len(content) > limits.max_json_bytes:
            raise InputError(f"{name} is too large", code="MRD-E480", found=f"more than {limits.max_json_bytes // 1024} KiB", fix="see that it is the right file")
        return _parsed(text_files.decoded(content, name, code="MRD-E480"), name)

    def values(self, given: Mapping[str, Any], base: Path | None = None) -> dict[str, Any]:
        """The arguments of the root dataclass.

        base    folder that relative paths are relative to; None: the working folder
        raises  UsageError MRD-E482 (unknown key or table), E484 (wrong type), E485 (out of range or no such choice), E487 (impossible path)
        """
        return self._table(self.root, given, "", base)

    def keys(self) -> tuple[Key, ...]:
        """Every key that a file may hold, in the order of config.py."""
        return tuple(self._keys(self.root, ""))

    def default_words(self, key: Key) -> str:
        """A key's default as it would be written in the file; "needed" or "none" without one."""
        if key.default is None:
            return "needed" if key.dotted in self.needed else "none"
        if isinstance(key.default, bool):
            return "`true`" if key.default else "`false`"
        if isinstance(key.default, tuple):
            return f"`{list(key.default)}`"
        return f'`"{key.default}"`' if isinstance(key.default, str) else f"`{key.default}`"

    def _keys(self, kind: type, table: str) -> list[Key]:
        hints, found, inner = get_type_hints(kind), [], []
        for entry in fields(kind):
            hint, dotted = hints[entry.name], f"{table}.{entry.name}" if table else entry.name
            if _mapped(hint) is Any:
                continue
            if is_dataclass(hint):
                inner += self._keys(hint, dotted)
            elif is_dataclass(_mapped(hint)):
                inner += self._keys(_mapped(hint), f"{dotted}.*")
            elif _mapped(hint) is not None:
                inner.append(Key(dotted, "*", _kind_words(_mapped(hint)), None, self._allowed(f"{dotted}.*")))
            else:
                found.append(Key(table, entry.name, _kind_words(hint), None if entry.default is MISSING else entry.default, self._allowed(dotted)))
        return found + inner

    def _allowed(self, dotted: str) -> str:
        if dotted in self.choices:
            return ", ".join(self.choices[dotted])
        return self.ranges[dotted].words() if dotted in self.ranges else ""

    def _table(self, kind: type, given: Any, table: str, base: Path | None) -> dict[str, Any]:
        """The values of one table, checked; tables in it become their dataclasses."""
        self._refuse_no_table(given, table)
        if kind in self.own:
            return self.own[kind](given, base)
        hints = get_type_hints(kind)
        self._refuse_unknown(given, tuple(hints), table)
        return {name: self._value(hints[name], value, f"{table}.{name}" if table else name, base) for name, value in given.items()}

    def _value(self, hint: Any, value: Any, dotted: str, base: Path | None) -> Any:
        if is_dataclass(hint):
            return hint(**self._complete(hint, self._table(hint, value, dotted, base), dotted))
        inner = _mapped(hint)
        if inner is None:
            return self._checked(dotted, dotted, value, hint, base)
        self._refuse_no_table(value, dotted)
        if len(value) > MAX_LIST:
            raise UsageError(f"[{dotted}] has too many keys", code="MRD-E485", found=f"{len(value)}", fix=f"at most {MAX_LIST} are possible")
        if is_dataclass(inner):
            return {str(name): inner(**self._complete(inner, self._named(inner, entry, dotted, str(name), base), f"{dotted}.{name}")) for name, entry in value.items()}
        return {str(name): self._checked(f"{dotted}.*", f"{dotted}.{short(str(name))}", entry, inner, base) for name, entry in value.items()}

    def _named(self, kind: type, given: Any, table: str, name: str, base: Path | None) -> dict[str, Any]:
        """One table among those whose names are the user's."""
        place, hints = f"{table}.{short(name)}", get_type_hints(kind)
        self._refuse_no_table(given, place)
        self._refuse_unknown(given, tuple(hints), place)
        return {key: self._checked(f"{table}.*.{key}", f"{place}.{key}", value, hints[key], base) for key, value in given.items()}

    def _complete(self, kind: type, values: dict[str, Any], table: str) -> dict[str, Any]:
        lacking = [entry.name for entry in fields(kind) if entry.default is MISSING and entry.default_factory is MISSING and entry.name not in values]
        if lacking:
            raise UsageError(f"The table [{short(table)}] does not say everything that is needed", code="MRD-E483", found=f"missing: {', '.join(lacking)}",
                             fix=f"write {lacking[0]} = ... below [{short(table)}]")
        return values

    def _refuse_no_table(self, given: Any, table: str) -> None:
        if not isinstance(given, AnyMapping):
            raise UsageError(f"'{table}' is a table of keys, not one value", code="MRD-E484", found=found_words(given), fix=f"write [{table}] and its keys below it")

    def _refuse_unknown(self, given: Mapping[str, Any], known: tuple[str, ...], table: str) -> None:
        where = f"the table [{table}]" if table else f"the {self.what}'s top level"
        for name in given:
            if name in known:
                continue
            near = difflib.get_close_matches(str(name).strip().replace("-", "_").casefold(), known, 1, 0.5)
            elsewhere = [key.table for key in self.keys() if key.name == name]
            hint = (f"'{name}' belongs into {f'[{elsewhere[0]}]' if elsewhere[0] else 'the top, above the first [table]'}; " if elsewhere else
                    f"perhaps '{near[0]}' is meant; " if near else "")
            raise UsageError(f"A key in {where} is not known, perhaps a typing error", code="MRD-E482", found=f"'{short(str(name))}'",
                             fix=f"{hint}known are {', '.join(known)}")

    def _checked(self, rule: str, dotted: str, value: Any, hint: Any, base: Path | None) -> Any:
        """One value of the type that its dataclass wants, within its range or among its choices. rule: its name in ranges and choices."""
        kinds = _without_none(hint)
        if kinds is Path:
            return path_value(dotted, value, base)
        if get_origin(kinds) is tuple:
            return self._list(rule, dotted, value, kinds)
        if kinds is bool:
            if not isinstance(value, bool):
                raise wrong_type(dotted, value, "true or false")
            return value
        return self.text(rule, value, dotted) if kinds is str else self._number(rule, dotted, value, whole=kinds is int)

    def text(self, rule: str, value: Any, dotted: str = "") -> str:
        """A text among its choices. raises UsageError MRD-E484, E485"""
        dotted = dotted or rule
        if rule in self.plain and isinstance(value, (bool, int, float)):
            return str(value).lower() if isinstance(value, bool) else _plain(value)
        if not isinstance(value, str):
            raise wrong_type(dotted, value, "a text in double quotes")
        if len(value) > MAX_TEXT_CHARACTERS:
            raise UsageError(f"'{dotted}' is too long", code="MRD-E485", found=f"{len(value)} characters", fix="shorten it")
        if rule in self.choices and value not in self.choices[rule]:
            near = difflib.get_close_matches(value.casefold(), self.choices[rule], 1)
            raise UsageError(f"'{dotted}' has no such choice", code="MRD-E485", found=f"'{short(value)}'",
                             fix=(f"perhaps '{near[0]}' is meant; " if near else "") + f"choose one of {', '.join(self.choices[rule])}")
        self.words(rule, value)
        return value

    def _number(self, rule: str, dotted: str, value: Any, whole: bool) -> int | float:
        wanted = "a whole number" if whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise wrong_type(dotted, value, wanted)
        allowed = self.ranges[rule]
        if abs(value) > MAX_DIGITS or not allowed.holds(value):
            raise UsageError(f"'{dotted}' is out of range", code="MRD-E485", found=found_words(value), fix=f"choose {wanted} {allowed.words()}")
        return value if whole else float(value)

    def _list(self, rule: str, dotted: str, value: Any, hint: Any) -> tuple[Any, ...]:
        """As many values as the type says, or any number of them from one on; of texts also none, or one without brackets where `plain` says so."""
        kinds = get_args(hint)
        free, noun = Ellipsis in kinds, "texts" if kinds[0] is str else "numbers"
        wanted = f"a list of {noun}" if free else f"a list of {len(kinds)} {noun}"
        if rule in self.plain and not isinstance(value, (list, dict)):
            value = [value]
        least = 0 if kinds[0] is str else 1
        if not isinstance(value, list) or (not free and len(value) != len(kinds)) or not least <= len(value) <= MAX_LIST:
            raise wrong_type(dotted, value, wanted + (f", at most {MAX_LIST}" if free else ""))
        return tuple(self._checked(rule, dotted, item, kinds[0], None) for item in value)


def path_value(dotted: str, value: Any, base: Path | None) -> Path:
    """A path, relative to base. raises UsageError MRD-E484, E487"""
    if not isinstance(value, str):
        raise wrong_type(dotted, value, "a path, which is a text in quotes")
    if not value.strip() or "\0" in value or len(value) > MAX_TEXT_CHARACTERS:
        raise UsageError(f"'{dotted}' is not a possible path", code="MRD-E487", found="an empty text" if not value.strip() else "a NUL character or too many characters",
                         fix="name a file or folder")
    return Path(value) if base is None else base / value


def found_words(value: Any) -> str:
    """A value as it may stand in a message."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "a huge number" if isinstance(value, int) and abs(value) > MAX_DIGITS else short(str(value))
    kinds = {bool: "true or false", str: "a text", list: f"a list of {len(value)}" if isinstance(value, list) else "", dict: "a table"}
    return kinds.get(type(value), "a date or time")


def wrong_type(dotted: str, value: Any, wanted: str) -> UsageError:
    """MRD-E484."""
    return UsageError(f"'{dotted}' is of the wrong kind", code="MRD-E484", found=found_words(value), fix=f"write {wanted}")


def _parsed(text: str, name: str) -> dict[str, Any]:
    fix = 'correct that place; TOML wants texts in double quotes, key = value, and [table] lines; Windows paths go into single quotes'
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise InputError(f"{name} is not valid TOML", code="MRD-E481", found=short(str(problem), 120), fix=fix) from problem
    except (ValueError, RecursionError) as cause:                     # a number of thousands of digits; lists a thousand deep
        raise InputError(f"{name} is not valid TOML", code="MRD-E481", found=f"a value that cannot be read ({type(cause).__name__})", fix=fix) from cause


def _mapped(hint: Any) -> Any:
    """What a mapping by name holds; None for anything else."""
    return get_args(hint)[1] if get_origin(hint) is AnyMapping else None


def _without_none(hint: Any) -> Any:
    """float of float | None; others as they are."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in get_args(hint) else hint


def _kind_words(hint: Any) -> str:
    kind = _without_none(hint)
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        noun = {str: "texts", int: "whole numbers"}.get(kinds[0], "numbers")
        return f"list of {noun}" if Ellipsis in kinds else f"list of {len(kinds)} {noun}"
    return {Path: "path", bool: "true or false", str: "text", int: "whole number"}.get(kind, "number")


def _plain(number: float) -> str:
    """1000000 and not 1e+06."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"
