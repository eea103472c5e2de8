"""Find the Docker daemon: the one that is named, the usual one, podman's, or Coppice's private one."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

from coppice.components.places import private_socket
from coppice.groves.errors import CoppiceError

_TIMEOUT = 120  # seconds for one call; image imports on a busy machine take tens of them


@dataclass(frozen=True)
class Daemon:
    """A Docker daemon: its address as DOCKER_HOST would name it, and how it was found."""

    host: str
    source: str

    def client(self, timeout: int = _TIMEOUT) -> docker.DockerClient:
        """Connect.

        Raises:
            CoppiceError: the daemon does not answer.
        """
        return connect(self.host, timeout)


def connect(host: str, timeout: int = _TIMEOUT) -> docker.DockerClient:
    """Connect to the daemon at `host` (unix://, tcp://, ssh://); TLS settings come from DOCKER_CERT_PATH.

    Raises:
        CoppiceError: nothing answers there.
    """
    try:
        environment = {**os.environ, "DOCKER_HOST": host}
        client = docker.from_env(
            environment=environment, timeout=timeout, use_ssh_client=host.startswith("ssh:")
        )
        client.ping()
    except (DockerException, OSError) as error:
        raise CoppiceError(
            f"the Docker daemon at {host} does not answer: {error}",
            hint="start it, or name another one in DOCKER_HOST",
        ) from error
    return client


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def candidates() -> list[tuple[Path, str]]:
    """Return the sockets looked at when DOCKER_HOST is not set, in order, each with its name for people."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    rootless = [(Path(runtime) / "podman/podman.sock", "podman's socket")] if runtime else []
    return [
        (Path("/var/run/docker.sock"), "the default socket"),
        *rootless,
        (Path("/run/podman/podman.sock"), "podman's socket"),
        (private_socket(), "Coppice's private daemon"),
    ]


def find() -> Daemon:
    """Return the first daemon that answers.

    Raises:
        CoppiceError: none does; the message names every place that was looked at.
    """
    named = os.environ.get("DOCKER_HOST")
    if named:
        connect(named, timeout=10)
        return Daemon(named, "DOCKER_HOST")
    looked: list[str] = []
    for path, source in candidates():
        if not _is_socket(path):
            looked.append(f"{path} (no socket)")
            continue
        host = f"unix://{path}"
        try:
            connect(host, timeout=10)
        except CoppiceError:
            looked.append(f"{path} (no answer)")
            continue
        return Daemon(host, source)
    raise CoppiceError(
        "no Docker daemon found; DOCKER_HOST is not set, and looked at: " + ", ".join(looked),
        hint="start Docker or podman's socket; on Debian as root, `scripts/daemon start` starts a private one",
    )
