"""launch.json: what to run. Written by the host, checked here all the same."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VERSION = 1
SIZE_LIMIT = 4 * 1024 * 1024  # bytes
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
BRANCH = re.compile(r"agents/[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
COMMIT = re.compile(r"[0-9a-f]{40}")
RUN = re.compile(r"[!-~]{1,256}")
WORKDIR = re.compile(r"/[^\n\"]{0,4096}")  # goes into git's list of alternates, one a line
CHOICES = {"expect": ("commit", "none"), "outcome": ("exitCode",), "home": ("tmpfs", "volume")}


class LaunchError(Exception):
    """launch.json cannot be read or says something that the supervisor does not know."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One run of one agent; `duration` in seconds, `base` the commit its branch started from."""

    grove: str
    agent: str
    run: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    workdir: Path
    branch: str
    base: str
    duration: int
    expect: str
    outcome: str
    home: str


def load(path: Path) -> Launch:
    """Read and check a launch document.

    Raises:
        LaunchError: naming the field at fault.
    """
    try:
        with path.open("rb") as file:
            text = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise LaunchError(f"{path}: {error.strerror}") from error
    if len(text) > SIZE_LIMIT:
        raise LaunchError(f"{path}: larger than {SIZE_LIMIT} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LaunchError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise LaunchError(f"{path}: must be an object")
    try:
        return _parse(document)
    except LaunchError as error:
        raise LaunchError(f"{path}: {error}") from error


def _parse(document: dict[str, object]) -> Launch:
    if document.pop("version", None) != VERSION:
        raise LaunchError(f"version: must be {VERSION}; the image's supervisor is of another Coppice")
    expected = set(Launch.__dataclass_fields__)
    for key in sorted(expected - document.keys()):
        raise LaunchError(f"{key}: missing")
    for key in sorted(document.keys() - expected):
        raise LaunchError(f"{key}: unknown")
    return Launch(
        grove=_match(document, "grove", NAME),
        agent=_match(document, "agent", NAME),
        run=_match(document, "run", RUN),
        argv=_argv(document["argv"]),
        env=_env(document["env"]),
        workdir=Path(_match(document, "workdir", WORKDIR)),
        branch=_match(document, "branch", BRANCH),
        base=_match(document, "base", COMMIT),
        duration=_duration(document["duration"]),
        expect=_choice(document, "expect"),
        outcome=_choice(document, "outcome"),
        home=_choice(document, "home"),
    )


def _argv(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise LaunchError("argv: must be a list with at least the program")
    return tuple(_string(f"argv[{number}]", word) for number, word in enumerate(value))


def _env(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise LaunchError("env: must be an object")
    for key in value:
        if not key or "=" in key or "\0" in key:
            raise LaunchError(f"env: {key!r} is no name of a variable")
    return {key: _string(f"env.{key}", text) for key, text in value.items()}


def _duration(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise LaunchError("duration: must be a positive number of seconds")
    return value


def _string(field: str, value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise LaunchError(f"{field}: must be text without NUL")
    return value


def _match(document: dict[str, object], field: str, pattern: re.Pattern[str]) -> str:
    value = _string(field, document[field])
    if not pattern.fullmatch(value):
        raise LaunchError(f"{field}: {value!r} does not match {pattern.pattern}")
    return value


def _choice(document: dict[str, object], field: str) -> str:
    value = _string(field, document[field])
    if value not in CHOICES[field]:
        raise LaunchError(f"{field}: {value!r} is not one of {', '.join(CHOICES[field])}")
    return value
