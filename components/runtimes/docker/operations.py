"""What can be done with a box that stands: look at it, read its log, take its bundle out."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from coppice.components import homecoming
from coppice.components.runtimes.docker import records
from coppice.components.runtimes.docker.records import Record
from coppice.groves.errors import CoppiceError
from coppice.harnesses import layout

_MAX_BUNDLE = 2 << 30  # bytes; what an agent may send to this machine's disk at once


@dataclass(frozen=True)
class Status:
    """A box as it is now.

    `phase` is the supervisor's last word about this run, or what the daemon knows where it had none: created,
    gone, failed (killed). `lost` is True when the run was cut off, and `up` begins it again.
    """

    phase: str
    reason: str = ""
    since: str = ""
    running: bool = False
    lost: bool = False


@dataclass(frozen=True)
class Told:
    """What a supervisor said it has brought to its box's door: commits in hex, "" for none.

    `commit` is the branch, where it has commits beyond the base, `snapshot` what was left uncommitted, `bundle`
    whether there is anything of either.
    """

    commit: str
    snapshot: str
    bundle: bool


def get(client: docker.DockerClient, box: str) -> Container | None:
    """Return the container of a box, None when it is gone."""
    try:
        return client.containers.get(box)
    except NotFound:
        return None


def is_running(container: Container) -> bool:
    """Return whether a box was running when it was looked at last."""
    return container.status in {"running", "restarting", "paused"}


def status(container: Container | None, run: str) -> Status:
    """Return what a box is at with the run of key `run`."""
    gone = Status("gone", "its container was removed by hand; `coppice up` makes it again", lost=True)
    if container is None:
        return gone
    try:
        container.reload()
        if container.status == "created":
            return Status("created")
        running = is_running(container)
        last = records.last_phase(container, run)
    except APIError:
        # Removed between two calls.
        return gone
    phase, since = (str(last.data["phase"]), last.time) if last else ("starting", "")
    if not running and phase not in records.TERMINAL | {"suspended"}:
        state = container.attrs.get("State", {})
        how = "out of memory" if state.get("OOMKilled") else f"code {state.get('ExitCode')}"
        return Status("failed", f"killed ({how}) before its supervisor could say why", since, lost=True)
    return Status(phase, last.text("reason") if last else "", since, running)


def follow(container: Container, run: str | None = None) -> Iterator[Record]:
    """Return the records of a box as they come, until it stops or is removed.

    Args:
        container: the box.
        run: only those of the run with this key.
    """
    try:
        stream = container.logs(stdout=True, stderr=False, stream=True, follow=True)
        for record in records.records(stream):
            if run is None or record.run == run:
                yield record
    except APIError:
        return


def history(container: Container) -> Iterator[Record]:
    """Return all records that a box has written so far."""
    return records.records(container.logs(stdout=True, stderr=False, stream=True, follow=False))


def told(container: Container, run: str | None = None) -> Told | None:
    """Return what the box's supervisor said last about what it brings out (of the run with key `run`)."""
    found = None
    for record in history(container):
        if record.type == "result" and (run is None or record.run == run):
            # Without a commit of the agent's own its branch is not in the bundle.
            commit = record.text("commit") if record.data.get("commits") else ""
            found = Told(commit, record.text("snapshot"), bool(record.data.get("bundle")))
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


def fetch_bundle(container: Container, target: Path, branch: str) -> bool:
    """Copy the bundle out of a box to `target`; False when there is none.

    The path is read by the daemon inside the box's own file system; anything but a regular file of bearable
    size is refused, because the agent could have put it there.

    Raises:
        CoppiceError: it is no regular file, too large, or its first bytes are not those of a bundle of `branch`.
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
        start = source.read(homecoming.HEADER_LIMIT)
        # Before anything large is read or written.
        homecoming.check_header(start, branch)
        with target.open("wb") as out:
            out.write(start)
            while chunk := source.read(1 << 20):
                out.write(chunk)
    return True
