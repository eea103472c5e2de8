"""What can be done with a box that stands: look at it, read its log, take its bundle out."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from coppice.components.runtimes.docker import records
from coppice.components.runtimes.docker.records import Record
from coppice.groves.errors import CoppiceError
from coppice.harnesses import layout

_MAX_BUNDLE = 4 << 30  # bytes; what an agent may send to this machine's disk at once


@dataclass(frozen=True)
class Status:
    """A box as it is now.

    `phase` is the supervisor's last word, or what the daemon knows where it had none: created, gone, killed.
    """

    phase: str
    reason: str
    since: str
    running: bool

    @property
    def settled(self) -> bool:
        """Return whether nothing more will happen by itself."""
        return not self.running


def get(client: docker.DockerClient, box: str) -> Container | None:
    """Return the container of a box, None when it is gone."""
    try:
        return client.containers.get(box)
    except NotFound:
        return None


def status(container: Container | None) -> Status:
    """Return what a box is at."""
    if container is None:
        return Status(
            "gone", "its container was removed by hand; `coppice up` makes it again", "", running=False
        )
    container.reload()
    running = container.status in {"running", "restarting", "paused"}
    if container.status == "created":
        return Status("created", "", "", running=False)
    last = records.last_phase(container)
    phase = str(last.data["phase"]) if last else "starting"
    if not running and phase not in records.TERMINAL | {"suspended"}:
        state = container.attrs.get("State", {})
        killed = (
            "killed: out of memory" if state.get("OOMKilled") else f"ended with code {state.get('ExitCode')}"
        )
        return Status(
            "failed", f"{killed} before its supervisor could say why", last.time if last else "", False
        )
    return Status(phase, last.text("reason") if last else "", last.time if last else "", running)


def follow(container: Container, *, since_start: bool, tail: int | None = None) -> Iterator[Record]:
    """Return the records of a box as they come, until it stops.

    Args:
        container: the box.
        since_start: only those of its present start, not those of earlier runs in the same box.
        tail: only this many lines from before now.
    """
    container.reload()
    started = str(container.attrs.get("State", {}).get("StartedAt", ""))
    stream = container.logs(
        stdout=True, stderr=False, stream=True, follow=True, tail="all" if tail is None else tail
    )
    for record in records.records(stream):
        # Both are RFC 3339 in UTC: the first 19 characters are the second, and sort as text.
        if not since_start or record.time[:19] >= started[:19]:
            yield record


def history(container: Container) -> Iterator[Record]:
    """Return all records that a box has written so far."""
    return records.records([container.logs(stdout=True, stderr=False)])


def result(container: Container) -> Record | None:
    """Return the last result record of a box: its branch, commit and bundle, as its supervisor tells them."""
    found = None
    for record in history(container):
        if record.type == "result":
            found = record
    return found


class _Stream:
    """A file-like view of the daemon's archive stream, for tarfile."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def fetch_bundle(container: Container, target: Path) -> bool:
    """Copy the bundle out of a box to `target`; False when there is none.

    The path is read by the daemon inside the box's own file system; anything but a regular file of bearable
    size is refused, because the agent could have put it there.

    Raises:
        CoppiceError: it is no regular file, or too large.
    """
    try:
        chunks, _stat = container.get_archive(layout.BUNDLE)
    except NotFound:
        return False
    except APIError as error:
        raise CoppiceError(f"the daemon cannot read the bundle of {container.name}: {error}") from error
    with tarfile.open(fileobj=cast("IO[bytes]", _Stream(iter(chunks))), mode="r|") as archive:
        entry = archive.next()
        if entry is None or not entry.isreg():
            raise CoppiceError(f"the bundle in box {container.name} is not a regular file", exit_code=3)
        if entry.size > _MAX_BUNDLE:
            raise CoppiceError(
                f"the bundle in box {container.name} is larger than {_MAX_BUNDLE >> 30} GiB", exit_code=3
            )
        source = archive.extractfile(entry)
        if source is None:
            raise CoppiceError(f"the bundle in box {container.name} cannot be read", exit_code=3)
        with target.open("wb") as out:
            while chunk := source.read(1 << 20):
                out.write(chunk)
    return True
