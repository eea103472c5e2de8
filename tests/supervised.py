"""A box without a container: the real supervisor on a workspace in a temporary folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SUPERVISOR = Path(__file__).parents[1] / "harnesses" / "supervisor"
TERMINAL = ("done", "failed", "suspended")
GIT_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "tester",
    "GIT_AUTHOR_EMAIL": "tester@example.invalid",
    "GIT_COMMITTER_NAME": "tester",
    "GIT_COMMITTER_EMAIL": "tester@example.invalid",
}
BRANCH = "agents/oak"


def git(cwd: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env=GIT_ENV,
        check=True,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
    )
    return done.stdout.strip()


@dataclass
class Run:
    """What a supervisor said and how it ended. Checks on the way in what holds of every log."""

    code: int
    stdout: bytes
    stderr: str
    seconds: float

    def __post_init__(self) -> None:
        lines = self.stdout.split(b"\n")
        assert lines.pop() == b"", "the log ends with a newline"
        assert all(len(line) + 1 < 64 * 1024 for line in lines)
        self.events = [json.loads(line) for line in lines]
        assert [event["seq"] for event in self.events] == list(range(1, len(lines) + 1))
        ends = [n for n, e in enumerate(self.events) if e["type"] == "phase" and e["phase"] in TERMINAL]
        assert ends == [len(lines) - 1], "one terminal phase, and it is the last line"
        assert self.stderr == ""
        assert self.end["exitCode"] == self.code

    @property
    def end(self) -> dict:
        return self.events[-1]

    @property
    def result(self) -> dict:
        (found,) = [event for event in self.events if event["type"] == "result"]
        return found

    @property
    def phases(self) -> list[str]:
        return [event["phase"] for event in self.events if event["type"] == "phase"]

    @property
    def warnings(self) -> list[str]:
        return [event["message"] for event in self.events if event["type"] == "warning"]

    def output(self, stream: str = "stdout") -> list[str]:
        return [e["text"] for e in self.events if e["type"] == "output" and e["stream"] == stream]


class Box:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / "run"
        self.home = folder / "home"
        self.mirror = folder / "mirror"
        self.workspace = folder / "workspace"
        self.python = sys.executable
        self.popen_options: dict = {}
        self.run_dir.mkdir()
        self.home.mkdir(mode=0o700)
        git(folder, "init", "--quiet", "--initial-branch=main", "mirror")
        (self.mirror / ".gitignore").write_text("ignored/\n")
        (self.mirror / "kept").write_text("kept\n")
        (self.mirror / "doomed").write_text("doomed\n")
        for message in ("first", "second"):
            git(self.mirror, "add", "--all")
            git(self.mirror, "commit", "--quiet", "--allow-empty", "-m", message)
        self.base = git(self.mirror, "rev-parse", "HEAD")
        git(folder, "clone", "--quiet", "--shared", "mirror", "workspace")
        git(self.workspace, "checkout", "--quiet", "-b", BRANCH)

    @property
    def bundle(self) -> Path:
        return self.workspace / ".git" / "coppice" / "branch.bundle"

    def document(self, script: str, **changes: object) -> dict:
        return {
            "version": 1,
            "grove": "wood",
            "agent": "oak",
            "run": "run-1",
            "argv": ["bash", "-euo", "pipefail", "-c", script],
            "env": {},
            "workdir": str(self.workspace),
            "branch": BRANCH,
            "base": self.base,
            "duration": 60,
            "expect": "none",
            "outcome": "exitCode",
            "home": "tmpfs",
        } | changes

    def start(self, script: str, *options: str, **changes: object) -> subprocess.Popen:
        (self.run_dir / "launch.json").write_text(json.dumps(self.document(script, **changes)))
        return self.start_as_is(*options)

    def start_as_is(self, *options: str) -> subprocess.Popen:
        return subprocess.Popen(
            [
                *(self.python, "-I", str(SUPERVISOR)),
                *("--run-dir", str(self.run_dir), "--home", str(self.home), *options),
            ],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **self.popen_options,
        )

    def finish(self, process: subprocess.Popen, timeout: float = 60) -> Run:
        begin = time.monotonic()
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Run(process.returncode, stdout, stderr.decode(), time.monotonic() - begin)

    def run(self, script: str, *options: str, timeout: float = 60, **changes: object) -> Run:
        return self.finish(self.start(script, *options, **changes), timeout)

    def fetch(self) -> Path:
        """A fresh clone of the mirror with everything of the bundle fetched below refs/home."""
        clone = self.folder / f"clone-{time.monotonic_ns()}"
        git(self.folder, "clone", "--quiet", str(self.mirror), str(clone))
        git(clone, "fetch", "--quiet", str(self.bundle), "refs/*:refs/home/*")
        git(clone, "fsck", "--full", "--strict")
        return clone


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def assert_gone(pids: list[int]) -> None:
    """The processes have ended; if one has not, it is ended here, as the test started it."""
    alive = [pid for pid in pids if is_alive(pid)]
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    assert not alive
