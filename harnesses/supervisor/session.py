"""One run of the harness: relays its output, holds its time limit, ends it when told to."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from .events import Lines, Sink
from .process import READ_SIZE, Child, Children, close_pipes, open_pipes

DRAIN = 2.0  # seconds for output to end after the harness's main process has
DURATION_GRACE = 5.0  # seconds between TERM and KILL when the time is up
STOP_GRACE = 8.0  # seconds between TERM and KILL when the box is to stop
KILLED_GRACE = 1.0  # seconds for a killed main process to be reaped
REMAINDER = 4 * 1024 * 1024  # bytes read at most from each pipe after everything was killed


@dataclass(frozen=True)
class Ending:
    """How a run ended: `code` as in subprocess, None if it never started or would not die."""

    cause: Literal["exit", "duration", "stop", "start"]
    code: int | None
    reason: str | None = None


class Signals:
    """The signals that the supervisor hears, and a descriptor that wakes a poll when one comes."""

    def __init__(self) -> None:
        self.stop: str | None = None
        self.stopped_at = float("inf")  # time.monotonic()
        self._read, self._write = os.pipe()
        for fd in (self._read, self._write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._heard)

    def fileno(self) -> int:
        """Descriptor that is readable after a signal."""
        return self._read

    def clear(self) -> None:
        """Make the descriptor silent until the next signal."""
        try:
            while os.read(self._read, 4096):
                pass
        except BlockingIOError:
            return

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if self.stop is None:
            self.stop = signal.Signals(number).name
            self.stopped_at = time.monotonic()


class Session:
    """Runs one harness to its end, and leaves no process of it behind."""

    def __init__(self, sink: Sink, children: Children, signals: Signals) -> None:
        self._sink = sink
        self._children = children
        self._signals = signals
        self._lines: dict[int, Lines] = {}
        self._pipes: dict[int, str] = {}

    def run(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, duration: float) -> Ending:
        """Run `argv` for at most `duration` seconds."""
        if self._signals.stop:
            return Ending("stop", None, self._signals.stop)
        self._sink.phase("starting")
        try:
            child = self._children.spawn(argv, env, cwd)
        except (OSError, ValueError) as error:
            detail = error.strerror if isinstance(error, OSError) else str(error)
            return Ending("start", None, f"cannot start {argv[0]}: {detail}")
        _offer_to_oom_killer(child)
        self._sink.phase("working")
        self._pipes = open_pipes(child)
        self._lines = {fd: Lines() for fd in self._pipes}
        streams = dict(self._pipes)
        ending = self._watch(child, time.monotonic() + duration)
        left = self._children.kill_all()
        if left:
            self._sink.warning(f"{left} processes of the harness would not die")
        self._read_remainder()
        for fd, lines in self._lines.items():
            for text in lines.close():
                self._sink.output(streams[fd], text)
        close_pipes(child)
        self._sink.report_dropped()
        return ending

    def _watch(self, child: Child, deadline: float) -> Ending:
        cause: Literal["exit", "duration", "stop"] = "exit"
        kill_at = give_up_at = drained_at = float("inf")
        while True:
            self._children.reap()
            now = time.monotonic()
            if child.code is not None:
                if drained_at == float("inf"):
                    drained_at = now + DRAIN
                if not self._pipes or now >= drained_at:
                    break
            elif cause == "exit" and self._signals.stop:
                cause, kill_at = "stop", now + STOP_GRACE
                self._children.terminate(child)
            elif cause == "exit" and now >= deadline:
                cause, kill_at = "duration", now + DURATION_GRACE
                self._children.terminate(child)
            if now >= kill_at:
                self._children.kill_all()
                kill_at, give_up_at = float("inf"), now + KILLED_GRACE
            if now >= give_up_at:
                break
            ahead = [kill_at, give_up_at, drained_at]
            if cause == "exit":
                ahead.append(deadline)
            self._relay(max(0.0, min(ahead) - now))
        self._children.reap()
        return Ending(cause, child.code, self._signals.stop if cause == "stop" else None)

    def _relay(self, timeout: float) -> None:
        """Move output along for at most `timeout` seconds, or until a signal or the next data."""
        poller = select.poll()
        poller.register(self._signals.fileno(), select.POLLIN)
        if self._sink.pending:
            poller.register(self._sink.fileno(), select.POLLOUT)
        if not self._sink.full:
            for fd in self._pipes:
                poller.register(fd, select.POLLIN)
        for fd, _ in poller.poll(min(timeout, 60.0) * 1000 + 1):
            if fd == self._signals.fileno():
                self._signals.clear()
            elif fd in self._pipes:
                self._read(fd)
        self._sink.pump()

    def _read(self, fd: int) -> int:
        """Relay what a pipe holds, up to one read; return the number of bytes, 0 at its end or when empty."""
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return 0
        if not data:
            del self._pipes[fd]
            return 0
        for text in self._lines[fd].feed(data):
            self._sink.output(self._pipes[fd], text)
        return len(data)

    def _read_remainder(self) -> None:
        """Take what is still in the pipes, although the reader may be behind: it is bounded."""
        for fd in list(self._pipes):
            taken = 0
            while taken < REMAINDER and fd in self._pipes:
                count = self._read(fd)
                if not count:
                    break
                taken += count


def _offer_to_oom_killer(child: Child) -> None:
    """When the box's memory is used up, let the harness die and the supervisor live to say so."""
    with contextlib.suppress(OSError):  # an improvement only, and not every kernel has it
        Path(f"/proc/{child.pid}/oom_score_adj").write_text("500", encoding="ascii")
