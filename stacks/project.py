"""Which project, which grove file, which stack a command means."""

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from coppice.groves.errors import CoppiceError, InputError
from coppice.groves.load import SUFFIXES, find_grove, load_grove
from coppice.groves.plan import Plan, plan

_PROJECT_FILE = "Pulumi.yaml"
_PATTERNS = ("grove.yaml", "grove.yml", "groves/*.yaml", "groves/*.yml")


@dataclass(frozen=True)
class Target:
    """What a command works on: the project's folder, the stack, and the grove as planned from its file."""

    root: Path
    stack: str
    plan: Plan

    @property
    def sole(self) -> bool:
        """Return whether this is the project's only grove, so that commands need not name it."""
        return [path.resolve() for path in _groves(self.root)] == [self.plan.source.resolve()]

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
    """Return the nearest folder at or above `start` with a Pulumi.yaml.

    Raises:
        CoppiceError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / _PROJECT_FILE).is_file():
            return folder
    raise CoppiceError(
        f"no {_PROJECT_FILE} in {start} or above it",
        hint="run `coppice init` in your repository: it writes a grove file, Pulumi.yaml and the program",
        exit_code=2,
    )


def project_name(root: Path) -> str:
    """Return the name that a project's Pulumi.yaml gives it, "" where it gives none.

    Raises:
        CoppiceError: it is no YAML.
    """
    path = root / _PROJECT_FILE
    try:
        data = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise CoppiceError(f"{path} is not YAML: {said}", hint="correct it", exit_code=2) from error
    return str(data.get("name", "")) if isinstance(data, dict) else ""


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


def target(name: str | None, stack: str | None) -> Target:
    """Return what a command means.

    Args:
        name: GROVE as given on the command line.
        stack: the value of `-s`; by default the grove's name.

    Raises:
        CoppiceError: no project or no grove.
        InputError: the grove file is wrong.
    """
    path = grove_file(name)
    root = find_root(path.parent)
    made = plan(load_grove(path), source=path)
    return Target(root, stack or made.grove, made)
