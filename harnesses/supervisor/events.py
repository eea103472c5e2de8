"""Events as JSON lines on standard output, bounded in length, in total and in memory."""

import codecs
import json
import os
import select
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime

MIB = 1024 * 1024
LINE_LIMIT = 64 * 1024 - 1  # bytes of a whole line, its newline included
OUTPUT_CAP = 50 * MIB  # bytes of output lines before the rest is dropped
BACKLOG_LIMIT = MIB  # bytes waiting for a slow reader before the harness is made to wait
TEXT_LIMIT = 2000  # characters of a reason or a warning
WRITE_SIZE = 4096  # PIPE_BUF: what a writable pipe takes without blocking


class Lines:
    """Cuts a byte stream into lines of text: bad UTF-8 becomes U+FFFD, over-long lines come in pieces."""

    PIECE = 32 * 1024  # characters

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that `data` completes."""
        *lines, rest = (self._rest + self._decoder.decode(data)).split("\n")
        yield from lines
        while len(rest) > self.PIECE:
            yield rest[: self.PIECE]
            rest = rest[self.PIECE :]
        self._rest = rest

    def close(self) -> Iterator[str]:
        """Yield the last line if it had no newline."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if rest:
            yield rest


class Sink:
    """The event log. Emitting never blocks: what the reader does not take yet waits in a backlog.

    The backlog is bounded by its user, who stops reading the harness's output while `full` is true.
    Lines are ASCII (JSON escapes the rest), so that no log driver can cut a character in half.
    """

    def __init__(self, fd: int, *, cap: int = OUTPUT_CAP) -> None:
        self.run = ""
        self._fd = fd
        self._cap = cap
        self._seq = 0
        self._written = 0
        self._dropped_lines = 0
        self._dropped_bytes = 0
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._broken = False

    @property
    def full(self) -> bool:
        """Whether the reader is so far behind that the harness has to wait."""
        return self._backlog_bytes >= BACKLOG_LIMIT

    @property
    def pending(self) -> bool:
        """Whether lines wait for the reader."""
        return self._backlog_bytes > 0

    def fileno(self) -> int:
        """File descriptor to poll for writing while `pending`."""
        return self._fd

    def phase(self, phase: str, reason: str | None = None, exit_code: int | None = None) -> None:
        """Report a change of phase; `exit_code` only with a terminal one."""
        self._emit({"type": "phase", "phase": phase, "reason": _short(reason), "exitCode": exit_code})

    def warning(self, message: str) -> None:
        """Report something that the operator should know and that does not end the run."""
        self._emit({"type": "warning", "message": _short(message)})

    def result(self, fields: dict[str, str | int | None]) -> None:
        """Report what came out of the workspace."""
        self._emit({"type": "result", **fields})

    def output(self, stream: str, text: str) -> None:
        """Relay one line of the harness, in pieces if it is too long, or count it as dropped."""
        if self._written >= self._cap:
            if not self._dropped_lines:
                self.warning(f"more than {self._cap} bytes of output: the rest is dropped")
            self._dropped_lines += 1
            self._dropped_bytes += len(text) + 1
            return
        line = self._encode({"type": "output", "stream": stream, "text": text})
        if len(line) > LINE_LIMIT:
            self._seq -= 1
            half = len(text) // 2
            self.output(stream, text[:half])
            self.output(stream, text[half:])
            return
        self._written += len(line)
        self._put(line)

    def report_dropped(self) -> None:
        """Say how much output was dropped, if any was."""
        if self._dropped_lines:
            self.warning(f"dropped {self._dropped_lines} lines of output ({self._dropped_bytes} characters)")

    def pump(self) -> None:
        """Write what the reader takes without blocking."""
        while self._backlog and not self._broken:
            poller = select.poll()
            poller.register(self._fd, select.POLLOUT)
            ready = poller.poll(0)
            if not ready:
                return
            head = self._backlog[0]
            try:
                written = os.write(self._fd, head[:WRITE_SIZE])
            except BlockingIOError:
                return
            except OSError:
                # The reader is gone. The work still has to come home, so the run goes on unheard.
                self._broken = True
                break
            self._backlog_bytes -= written
            if written == len(head):
                self._backlog.popleft()
            else:
                self._backlog[0] = head[written:]
        if self._broken:
            self._backlog.clear()
            self._backlog_bytes = 0

    def flush(self, patience: float) -> None:
        """Write everything; give up when the reader has taken nothing for `patience` seconds."""
        last = time.monotonic()
        before = self._backlog_bytes
        self.pump()
        while self._backlog and time.monotonic() - last < patience:
            if self._backlog_bytes != before:
                before, last = self._backlog_bytes, time.monotonic()
            poller = select.poll()
            poller.register(self._fd, select.POLLOUT)
            poller.poll(200)
            self.pump()

    def _emit(self, event: dict[str, str | int | None]) -> None:
        self._put(self._encode(event))

    def _encode(self, event: dict[str, str | int | None]) -> bytes:
        self._seq += 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        whole = {"time": now, "type": event["type"], "run": self.run, "seq": self._seq, **event}
        return json.dumps(whole, separators=(",", ":")).encode("ascii") + b"\n"

    def _put(self, line: bytes) -> None:
        if self._broken:
            return
        # Small lines are joined, so that a flood of them costs no list entry each.
        if self._backlog and len(self._backlog[-1]) < WRITE_SIZE:
            self._backlog[-1] += line
        else:
            self._backlog.append(line)
        self._backlog_bytes += len(line)
        if self._backlog_bytes >= WRITE_SIZE or b'"output"' not in line[:80]:
            self.pump()


def _short(text: str | None) -> str | None:
    """One line of at most `TEXT_LIMIT` characters."""
    if text is None:
        return None
    line = " ".join(text.split())
    return line if len(line) <= TEXT_LIMIT else line[: TEXT_LIMIT - 1] + "…"
