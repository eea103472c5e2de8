"""Fixtures that tests of several folders share."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Take SIGTERM for Ctrl-C: what tests have started, a daemon among it, is then stopped all the same."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


Git = Callable[..., str]


def run_git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Run git with an identity of the tests' own and none of the machine's configuration."""
    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.org"))
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**kept, **identity, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="surrogateescape").strip()


@pytest.fixture
def git() -> Git:
    """`git(folder, *arguments, stdin=b"")`: run git there, return its output, fail when it fails."""
    return run_git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit on main."""
    path = tmp_path / "repository"
    path.mkdir()
    run_git(path, "init", "-q", "--initial-branch=main")
    (path / "README.md").write_text("hello\n")
    run_git(path, "add", "README.md")
    run_git(path, "commit", "-q", "-m", "First")
    return path


@pytest.fixture
def golden() -> Callable[[Path, Any], None]:
    """`golden(path, data)`: compare with the committed JSON; COPPICE_UPDATE_GOLDEN=1 writes it anew."""

    def compare(path: Path, data: Any) -> None:
        if os.environ.get("COPPICE_UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
        assert data == json.loads(path.read_text())

    return compare
