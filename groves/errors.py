"""Errors a user can act on: each names the place, what is wrong there, and the remedy."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place.

    Attributes:
        file: the file as the user named it.
        line: 1-based line, None where the problem is not in the text (a missing file).
        column: 1-based column in characters, None like `line`.
        field: dotted path of the field, "" for the file as a whole.
        message: what is wrong, one line, without a final full stop.
        remedy: what to do about it, a sentence; None where the message says it.
    """

    file: str
    line: int | None
    column: int | None
    field: str
    message: str
    remedy: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        parts = [part for part in (place, self.field) if part]
        text = ": ".join([*parts, f"{self.message}."])
        return f"{text} {self.remedy}" if self.remedy else text


class CoppiceError(Exception):
    """What every error meant for the user derives from.

    Its text is the message alone: whoever shows it shows the hint too.

    Attributes:
        message: what went wrong.
        hint: the remedy, if there is one beyond the message.
        exit_code: what the command line exits with; the class's own unless given.
    """

    exit_code: int = 1

    def __init__(self, message: str, hint: str | None = None, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class InputError(CoppiceError):
    """Input (a grove file, a name, an argument) is wrong.

    Attributes:
        problems: every problem found, in the file's order; empty where only `message` is known.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, hint)
        self.problems: tuple[Problem, ...] = tuple(problems)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> Self:
        """Make the error that reports `problems` (at least one), one a line, in the files' order."""
        ordered = sorted(problems, key=lambda p: (p.file, p.line or 0, p.column or 0, p.field, p.message))
        return cls("\n".join(str(problem) for problem in ordered), problems=ordered)


class RefusedError(CoppiceError):
    """A policy or a precondition forbids what was asked."""

    exit_code = 3


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` is most likely a slip of, or None."""
    # difflib is quadratic in the length of names: nobody means a name this long.
    if len(name) > 2 * _SHOWN:
        return None
    names = sorted(set(known))
    found = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str], *, most: int = 8) -> str:
    """Return a sentence that helps whoever wrote `name`: the nearest known name, else the known ones.

    Args:
        name: what was written.
        known: what could have been written.
        most: how many known names are listed when none is near.
    """
    names = sorted(set(known))
    near = nearest(name, names)
    if near is not None:
        return f"Did you mean {near!r}?"
    if not names:
        return "There are none to choose from."
    rest = len(names) - most
    listed = ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
    return f"Known: {listed}."


def shown(value: object) -> str:
    """Return `value` as an error message shows it: like YAML's flow style, one line, cut when long."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            text = repr(value[: _SHOWN + 1])
        case dict():
            return f"a mapping of {len(value)} {'key' if len(value) == 1 else 'keys'}"
        case list() | tuple():
            return f"a list of {len(value)} {'item' if len(value) == 1 else 'items'}"
        case _:
            text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
