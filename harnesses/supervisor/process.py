"""Child processes: starting them, reaping all that come back as orphans, and ending every descendant."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

READ_SIZE = 64 * 1024
KILL_PATIENCE = 2.0  # seconds for killed processes to be gone

Deadline = Callable[[], float]  # a time of time.monotonic()


@dataclass
class Child:
    """A process that was started here; `code` as in subprocess (negative: signal), None while it runs."""

    popen: subprocess.Popen[bytes]
    code: int | None = None

    @property
    def pid(self) -> int:
        """Its process id, which is its session and process group too."""
        return self.popen.pid


@dataclass(frozen=True)
class Finished:
    """How a bounded command ended; `code` None when it had to be killed."""

    code: int | None
    stdout: bytes
    stderr: bytes


class Children:
    """All processes below this one. Nothing else may wait for children while it is in use."""

    def __init__(self) -> None:
        self._known: dict[int, Child] = {}

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> Child:
        """Start a program in a session of its own, with nothing to read and its output in two pipes.

        Raises:
            OSError: it cannot be started.
        """
        popen = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        child = Child(popen)
        self._known[child.pid] = child
        return child

    def reap(self) -> bool:
        """Collect every child that has ended, adopted orphans too: their zombies count against pids.

        Returns whether there are children left.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            child = self._known.pop(pid, None)
            if child is not None:
                child.code = child.popen.returncode = os.waitstatus_to_exitcode(status)

    def terminate(self, child: Child) -> None:
        """Ask a child's process group to end; a stopped one is woken to hear it."""
        for number in (signal.SIGTERM, signal.SIGCONT):
            _signal(child.pid, number, group=True)

    def kill_all(self) -> int:
        """Kill every descendant, whatever session it is in; return how many are still there.

        One pass is not enough: what a killed process has just forked comes back as an orphan.
        """
        deadline = time.monotonic() + KILL_PATIENCE
        if os.getpid() == 1:
            # In a box everything else is ours: one call that no fork outruns, and that needs no look at /proc.
            left = True
            while left and time.monotonic() < deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
                left = self.reap()
                time.sleep(0.002)
            return max(1, len(descendants())) if left else 0
        while True:
            self.reap()
            alive = descendants()
            if not alive or time.monotonic() > deadline:
                return len(alive)
            for pid in alive:
                _signal(pid, signal.SIGKILL)
            self.reap()
            time.sleep(0.002)

    def run(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, *, deadline: Deadline, limit: int
    ) -> Finished:
        """Run a command to its end or its deadline, and keep `limit` bytes of each output.

        Nothing that the command started is left behind. The deadline is asked again and again: a signal may
        bring it forward.

        Raises:
            OSError: it cannot be started.
        """
        child = self.spawn(argv, env, cwd)
        pipes = open_pipes(child)
        kept: dict[int, bytearray] = {fd: bytearray() for fd in pipes}
        order = list(pipes)
        code: int | None = None
        while time.monotonic() < deadline():
            self.reap()
            code = child.code
            poller = select.poll()
            for fd in pipes:
                poller.register(fd, select.POLLIN)
            # Between two looks at the process itself; the end of its output wakes earlier.
            for fd, _ in poller.poll(20 if pipes else 5):
                data = os.read(fd, READ_SIZE)
                if not data:
                    del pipes[fd]
                elif len(kept[fd]) < limit:
                    kept[fd] += data[: limit - len(kept[fd])]
            if code is not None and not poller.poll(0):
                break
            if code is not None and not pipes:
                break
        self.kill_all()
        close_pipes(child)
        return Finished(code, bytes(kept[order[0]]), bytes(kept[order[1]]))


def open_pipes(child: Child) -> dict[int, str]:
    """File descriptors of a child's output, by stream, in the order stdout, stderr."""
    pipes = {}
    for pipe, name in ((child.popen.stdout, "stdout"), (child.popen.stderr, "stderr")):
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            pipes[pipe.fileno()] = name
    return pipes


def close_pipes(child: Child) -> None:
    """Close a child's output for good."""
    for pipe in (child.popen.stdout, child.popen.stderr):
        if pipe is not None:
            pipe.close()


def descendants() -> list[int]:
    """Process ids of all living descendants of this process, zombies left out."""
    below: dict[int, list[int]] = defaultdict(list)
    zombies = set()
    try:
        entries = os.listdir("/proc")  # noqa: PTH208  # called in a loop, against a fork bomb
    except OSError:
        return []
    for entry in entries:
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123  # as above
                # "pid (name) state parent …", and the name may hold anything, ")" too
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue  # it ended meanwhile
        below[int(parent)].append(int(entry))
        if state in (b"Z", b"X"):
            zombies.add(int(entry))
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        pids = below.pop(queue.pop(), [])
        found += (pid for pid in pids if pid not in zombies)
        queue += pids
    return found


def _signal(pid: int, number: int, *, group: bool = False) -> None:
    try:
        if group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # gone already, or not ours: what stays is counted by its caller
