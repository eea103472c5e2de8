"""What this machine has of what Coppice needs, and what to do about the rest."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from coppice.components.places import cache_dir, state_dir
from coppice.groves.errors import CoppiceError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: whether it is good, what was found, what to do."""

    name: str
    good: bool
    found: str
    remedy: str = ""


def _python() -> str:
    return f"{sys.version.split()[0]} in {sys.prefix}"


def _git() -> str:
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CoppiceError("git is not installed", hint="install git") from error
    return done.stdout.strip()


def _engine() -> str:
    from coppice.stacks import settings

    used = settings.engine()
    done = subprocess.run([str(used.pulumi), "version"], capture_output=True, text=True, check=False)
    origin = "built from Go modules" if used.ours else "found on PATH"
    return f"pulumi {done.stdout.strip()}, {origin}: {used.pulumi.resolve()}"


def _plugins() -> str:
    from coppice.stacks import setup

    setup.prepare()
    return "docker and coppice are installed"


def _daemon() -> str:
    import contextlib

    from coppice.components.runtimes.docker import daemon

    found = daemon.find()
    with contextlib.closing(found.client()) as client:
        version = client.version()
    return f"{version.get('Version')} at {found.host} ({found.source})"


def _state() -> str:
    folder = state_dir()
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise CoppiceError(f"{folder} is not writable: {error}", hint="set COPPICE_STATE_DIR") from error
    return f"{folder} (cache: {cache_dir()})"


def _project() -> str:
    from coppice.stacks.project import check_project, find_root

    root = find_root(Path.cwd())
    return f"{check_project(root)} in {root}"


_CHECKS: tuple[tuple[str, Callable[[], str], bool], ...] = (
    ("python", _python, True),
    ("git", _git, True),
    ("state folder", _state, True),
    ("engine", _engine, True),
    ("plug-ins", _plugins, True),
    ("docker daemon", _daemon, True),
    ("project", _project, False),
)


def checks() -> Iterator[tuple[Check, bool]]:
    """Look at each thing; yield what was found, and whether Coppice cannot do without it."""
    for name, look, needed in _CHECKS:
        try:
            yield Check(name, good=True, found=look()), needed
        except CoppiceError as error:
            yield Check(name, good=False, found=str(error), remedy=error.hint or ""), needed
