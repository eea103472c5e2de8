"""Short-lived helper containers: the only way into a volume that works on every daemon, near or far."""

import contextlib
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import IO

import docker
from docker.errors import APIError, DockerException
from docker.models.containers import Container
from docker.types import Mount

from coppice.components.runtimes.docker import HELPER_LABEL
from coppice.groves.errors import CoppiceError

_WAIT = 600  # seconds; a clone of a large repository on a busy disk


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@contextlib.contextmanager
def helper(
    client: docker.DockerClient,
    image: str,
    mounts: Mapping[str, tuple[str, bool]],
    command: Sequence[str] = ("true",),
) -> Iterator[Container]:
    """Create (not start) a helper container, and remove it at the end whatever happens.

    It has no network and only the capabilities that giving files to an agent takes.

    Args:
        client: the daemon.
        image: id of an image of ours.
        mounts: path in the helper -> (volume name, read-only).
        command: what it runs when started.
    """
    container = client.containers.create(
        image,
        list(command),
        user="0:0",
        network_mode="none",
        cap_drop=["ALL"],
        cap_add=["CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE"],
        security_opt=["no-new-privileges:true"],
        labels={HELPER_LABEL: "1"},
        mounts=[
            Mount(target, volume, type="volume", read_only=read_only)
            for target, (volume, read_only) in mounts.items()
        ],
    )
    try:
        yield container
    finally:
        remove(container)


def remove(container: Container) -> None:
    """Remove a container; one that is gone, or going, is no error."""
    try:
        container.remove(force=True)
    except APIError as error:
        if error.status_code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise


def put_files(container: Container, folder: str, files: Mapping[str, bytes]) -> None:
    """Write small files (relative path -> content), owned by root, mode 0644, below `folder`."""
    if not container.put_archive(folder, _tar(files)):
        raise CoppiceError(f"the daemon refused files for {folder} of {container.name}")


def put_stream(container: Container, folder: str, name: str, source: Path) -> None:
    """Write one file of any size below `folder`, from disk, without holding it in memory."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = source.stat().st_size, 0o644

    def parts() -> Iterator[bytes]:
        yield header.tobuf()
        with source.open("rb") as stream:
            yield from _chunks(stream)
        yield b"\0" * (-header.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)

    if not container.put_archive(folder, parts()):
        raise CoppiceError(f"the daemon refused {name} for {folder} of {container.name}")


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(1 << 20):
        yield chunk


def run(container: Container, what: str) -> None:
    """Start a helper and wait for its end.

    Args:
        container: made by `helper`.
        what: what it does, for the error message ("clone the workspace").

    Raises:
        CoppiceError: it ended with an error; the message holds its last lines of output.
    """
    try:
        container.start()
        code = int(container.wait(timeout=_WAIT)["StatusCode"])
        tail = container.logs(tail=20).decode("utf-8", "replace").strip() if code else ""
    except DockerException as error:
        raise CoppiceError(f"could not {what}: {error}") from error
    if code != 0:
        raise CoppiceError(f"could not {what}: the helper ended with code {code}: {tail}")
