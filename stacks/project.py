"""Which project, which grove file, which stack a command means."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from coppice.groves.errors import CoppiceError, InputError
from coppice.groves.load import SUFFIXES, find_grove, load_grove
from coppice.groves.naming import name_problem
from coppice.groves.plan import Plan, plan

_PROJECT_FILE = "Pulumi.yaml"
_MARK = "grove"  # the setting that every project of ours declares
_PATTERNS = ("grove.yaml", "grove.yml", "groves/*.yaml", "groves/*.yml")


@dataclass(frozen=True)
class Target:
    """What a command works on: the project's folder, the stack, and the grove as planned from its file.

    `words` are the options that make another command mean the same.
    """

    root: Path
    stack: str
    plan: Plan
    words: str = ""

    @property
    def grove_setting(self) -> str | None:
        """Return what the stack's `grove` setting must be, None where the stack's name finds the file."""
        try:
            found = find_grove(self.stack, self.root)
        except InputError:
            found = None
        if found is not None and found.resolve() == self.plan.source.resolve():
            return None
        # The folder alone is resolved, as `find_root` did: the file may be a link to elsewhere.
        return str((self.plan.source.parent.resolve() / self.plan.source.name).relative_to(self.root))


def find_root(start: Path) -> Path:
    """Return the nearest folder at or above `start` with a Pulumi.yaml, which must be of Coppice's making.

    Raises:
        CoppiceError: there is none, or its program does not provision groves.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / _PROJECT_FILE).is_file():
            check_project(folder)
            return folder
    raise CoppiceError(
        f"no {_PROJECT_FILE} in {start} or above it",
        hint="run `coppice init` in your repository: it writes a grove file, Pulumi.yaml and the program",
        exit_code=2,
    )


def check_kind(root: Path) -> dict[str, Any]:
    """Return what the Pulumi.yaml in `root` holds.

    Raises:
        CoppiceError: it is broken, or not one for groves. Running whatever program it names would provision what the
            access that was shown says nothing of.
    """
    path = root / _PROJECT_FILE
    try:
        data = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise CoppiceError(f"{path} is not YAML: {said}", hint="correct it", exit_code=2) from error
    settings = data.get("config") if isinstance(data, dict) else None
    if not isinstance(settings, dict) or _MARK not in settings:
        raise CoppiceError(
            f"{path} is a Pulumi project of another kind: its program does not provision groves",
            hint="keep groves in a folder of their own: `coppice init FOLDER`",
            exit_code=2,
        )
    return dict(data)


def check_project(root: Path) -> str:
    """Return the name of the project in `root`.

    Raises:
        CoppiceError: as `check_kind`, or its program is missing.
    """
    data = check_kind(root)
    program = root / str(data.get("main") or "__main__.py")
    if not program.is_file():
        raise CoppiceError(
            f"the program that {root / _PROJECT_FILE} names is missing: {program}",
            hint="`coppice init` writes it; commit it with Pulumi.yaml and the grove file",
            exit_code=2,
        )
    return str(data.get("name", ""))


def _groves(root: Path) -> list[Path]:
    return sorted(path for pattern in _PATTERNS for path in root.glob(pattern))


def _only_grove(root: Path) -> Path:
    found = _groves(root)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(str(path.relative_to(root)) for path in found)
    raise CoppiceError(
        f"which grove? {root} has {len(found)}" + (f": {listed}" if listed else ""),
        hint="name one: a path, or a grove's name" if found else "run `coppice init`, or name a grove file",
        exit_code=2,
    )


def grove_file(name: str | None, start: Path | None = None) -> Path:
    """Return the grove file that `name` (a path, a grove's name, or None for the only one) means.

    Raises:
        CoppiceError: there is none, or more than one.
    """
    start = start or Path.cwd()
    # As `find_grove` has it: what looks like a name is one, whatever file of that name lies here.
    if name is not None and (name.endswith(SUFFIXES) or os.sep in name) and Path(name).is_file():
        return Path(name).absolute()
    root = find_root(start)
    return find_grove(name, root) if name is not None else _only_grove(root)


def _checked_stack(stack: str) -> str:
    problem = name_problem(stack, "stack")
    if problem is not None:
        message, remedy = problem
        raise CoppiceError(f"-s: {message}", hint=remedy, exit_code=2)
    return stack


def target(name: str | None, stack: str | None) -> Target:
    """Return what a command means.

    Args:
        name: GROVE as given on the command line.
        stack: the value of `-s`; by default the grove's name.

    Raises:
        CoppiceError: no project or no grove, or no stack can have this name.
        InputError: the grove file is wrong.
    """
    path = grove_file(name)
    root = find_root(path.parent)
    made = plan(load_grove(path), source=path)
    return Target(root, _checked_stack(stack) if stack else made.grove, made, _words(name, stack))


def _words(name: str | None, stack: str | None) -> str:
    """Return the options that make another command mean the same."""
    return "".join((f" -g {shlex.quote(name)}" if name else "", f" -s {stack}" if stack else ""))


class Place(NamedTuple):
    """Where something stands: the project's folder, the stack, and the repository its grove file names, if read."""

    root: Path
    stack: str
    repository: Path | None


def place(name: str | None, stack: str | None) -> Place:
    """Return what a command means that looks at what stands already.

    With `stack` no grove file is read: it may be broken or gone.

    Raises:
        CoppiceError: as `target`.
    """
    if stack:
        named = Path(name) if name is not None and Path(name).is_file() else None
        root = find_root(named.absolute().parent if named else Path.cwd())
        return Place(root, _checked_stack(stack), None)
    try:
        wanted = target(name, None)
    except InputError as error:
        hint = "`-s STACK` names what stands without reading the grove file"
        raise InputError(str(error), hint, error.problems) from error
    return Place(wanted.root, wanted.stack, wanted.plan.repository.path)
