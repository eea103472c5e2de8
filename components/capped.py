"""Run a program on what an agent made: its memory, time and files are capped, and what it writes is streamed."""

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from coppice.groves.errors import CoppiceError

GIB = 1024**3
_CHUNK = 64 * 1024  # bytes read at once, and kept of what the program says on stderr
_SAID = 500  # characters of it shown

# The shell sets the limits: Python's preexec_fn is not safe where threads run. -f counts 512 bytes, -v 1024.
_SCRIPT = 'ulimit -c 0 && ulimit -v "$1" && ulimit -t "$2" && ulimit -f "$3" && shift 3 && exec "$@"'


@dataclass(frozen=True)
class Caps:
    """What a program may use at most, each of its processes for itself; the wall clock for all of them.

    Attributes:
        memory: bytes of address space.
        cpu: seconds of processor time.
        file: bytes of one written file.
        wall: seconds waited for the program; the time its reader takes is not counted.
    """

    memory: int = 2 * GIB
    cpu: int = 60
    file: int = 4 * GIB
    wall: float = 120


DEFAULT = Caps()


class CommandError(CoppiceError):
    """A program failed, or was stopped at a cap.

    Attributes:
        reason: what it said, one printable line; never empty.
    """

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program}: {reason}")
        self.reason = reason


def printable(text: str) -> str:
    """Return `text` as one line of at most 500 characters that no terminal obeys."""
    line = "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))
    return line if len(line) <= _SAID else f"{line[:_SAID]}…"


def _limits(caps: Caps) -> list[str]:
    """Return the caps in the shell's units, none above what this process itself may have."""
    wanted = (
        (resource.RLIMIT_AS, caps.memory, 1024),
        (resource.RLIMIT_CPU, caps.cpu, 1),
        (resource.RLIMIT_FSIZE, caps.file, 512),
    )
    limits = []
    for kind, most, unit in wanted:
        hard = resource.getrlimit(kind)[1]
        limits.append(str((most if hard == resource.RLIM_INFINITY else min(most, hard)) // unit))
    return limits


@contextlib.contextmanager
def _input(stdin: bytes | IO[bytes] | None) -> Iterator[int | IO[bytes]]:
    if not isinstance(stdin, bytes):
        yield subprocess.DEVNULL if stdin is None else stdin
        return
    # A file, not a pipe: nobody has to write while the output is read.
    with tempfile.TemporaryFile(prefix="coppice-stdin-") as file:
        file.write(stdin)
        file.seek(0)
        yield file


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes | IO[bytes] | None = None,
    caps: Caps | None = DEFAULT,
) -> Iterator[Iterator[bytes]]:
    """Run a program; gives its standard output in chunks of at most 64 KiB. It is stopped when the block ends.

    Args:
        argv: the program and its arguments.
        cwd: the folder it runs in.
        env: its whole environment.
        stdin: what it reads, or an open file.
        caps: what it may use; None for a program that sees only the operator's own data.

    Raises:
        CommandError: while reading: it failed or was stopped at a cap.
    """
    command = [*argv] if caps is None else ["sh", "-c", _SCRIPT, "sh", *_limits(caps), *argv]
    with (
        _input(stdin) as source,
        subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield _read(process, argv, caps.wall if caps else None)
        finally:
            if process.returncode is None:  # not reaped, so that its id is its group's still
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _read(process: subprocess.Popen[bytes], argv: Sequence[str], wall: float | None) -> Iterator[bytes]:
    name = " ".join(argv[:1])
    said = bytearray()
    assert process.stdout is not None  # noqa: S101  # both are pipes: for the type checker
    assert process.stderr is not None  # noqa: S101
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            since = time.monotonic()
            ready = selector.select(wall)
            if wall is not None:
                wall -= time.monotonic() - since
                if not ready or wall <= 0:
                    raise CommandError(name, "it took too long")
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    yield chunk
                else:
                    said += chunk[: _CHUNK - len(said)]
    try:
        status = process.wait(wall)
    except subprocess.TimeoutExpired as error:
        raise CommandError(name, "it took too long") from error
    if status:
        text = printable(said.decode("utf-8", "replace"))
        if status < 0:
            text = f"it was stopped by signal {-status}, which is what its caps send; {text}".rstrip("; ")
        raise CommandError(name, text or f"it failed with status {status}")


def output(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes | IO[bytes] | None = None,
    caps: Caps | None = DEFAULT,
    most: int = 1024 * 1024,
) -> bytes:
    """Run a program like `running` and return what it wrote, which is at most `most` bytes.

    Raises:
        CommandError: it failed, was stopped at a cap, or wrote more.
    """
    found = bytearray()
    with running(argv, cwd=cwd, env=env, stdin=stdin, caps=caps) as chunks:
        for chunk in chunks:
            found += chunk
            if len(found) > most:
                raise CommandError(" ".join(argv[:1]), f"it wrote more than {most} bytes")
    return bytes(found)


def records(chunks: Iterator[bytes], separator: bytes, most: int) -> Iterator[bytes]:
    """Split chunks at a separator of one byte; of a longer record, the first `most` + 1 bytes are given."""
    held = bytearray()
    for chunk in chunks:
        *ended, rest = chunk.split(separator)
        for part in ended:
            held += part[: most + 1 - len(held)]
            yield bytes(held)
            held.clear()
        held += rest[: most + 1 - len(held)]
    if held:
        yield bytes(held)
