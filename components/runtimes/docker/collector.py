"""Bring out what is in a workspace whose box cannot do it: killed, removed, replaced, or about to be.

A short-lived box of the same kind, with nothing to run, does what every box does at its end: its supervisor
looks through the workspace and makes a bundle. Nothing of the agent's runs in it, and the host's git never sees
the workspace.
"""

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException, NotFound
from docker.types import Mount

from coppice.components.runtimes.docker import HELPER_LABEL, operations
from coppice.groves.errors import CoppiceError
from coppice.harnesses import layout
from coppice.harnesses.base import collection_document

_MEMORY = 1 << 30  # bytes
_PIDS = 256
_WAIT = 600  # seconds; the supervisor gives itself 300


@dataclass(frozen=True)
class Workspace:
    """A workspace on the daemon: whose it is, its volume, its mirror's, and the image its box was made of."""

    grove: str
    agent: str
    branch: str
    base: str
    volume: str
    mirror: str
    image: str


def _orders(workspace: Workspace) -> bytes:
    document = collection_document(workspace.grove, workspace.agent, workspace.branch, workspace.base)
    text = json.dumps(document).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(layout.LAUNCH_FILE.removeprefix("/"))
        entry.size, entry.mode = len(text), 0o644
        archive.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


def exists(client: docker.DockerClient, volume: str) -> bool:
    """Return whether the daemon has a volume of that name."""
    try:
        client.volumes.get(volume)
    except NotFound:
        return False
    return True


def collect(client: docker.DockerClient, workspace: Workspace, target: Path) -> operations.Told:
    """Write the bundle of a workspace to `target`; return what it holds, nothing when there is nothing new.

    No box may run on the workspace meanwhile.

    Raises:
        CoppiceError: the workspace cannot be read.
    """
    owner = f"uid={layout.UID},gid={layout.GID},mode=0700"
    try:
        box = client.containers.create(
            workspace.image,
            list(layout.SUPERVISOR_COMMAND),
            user=f"{layout.UID}:{layout.GID}",
            working_dir=layout.WORKSPACE,
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            mem_limit=_MEMORY,
            memswap_limit=_MEMORY,
            pids_limit=_PIDS,
            labels={HELPER_LABEL: "1"},
            tmpfs={layout.TMP: "mode=1777", layout.HOME: owner},
            mounts=[
                Mount(layout.WORKSPACE, workspace.volume, type="volume"),
                Mount(layout.MIRROR, workspace.mirror, type="volume", read_only=True),
            ],
        )
    except DockerException as error:
        raise CoppiceError(f"cannot look into the workspace of {workspace.agent}: {error}") from error
    try:
        box.put_archive("/", _orders(workspace))
        box.start()
        box.wait(timeout=_WAIT)
        told = operations.told(box)
        if told is None:
            tail = box.logs(tail=3).decode("utf-8", "replace").strip()
            raise CoppiceError(f"the workspace of {workspace.agent} cannot be read: {tail}")
        if told.bundle:
            operations.fetch_bundle(box, target, workspace.branch)
    except DockerException as error:
        raise CoppiceError(f"cannot look into the workspace of {workspace.agent}: {error}") from error
    else:
        return told
    finally:
        box.remove(force=True)
