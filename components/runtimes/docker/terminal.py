"""A terminal in a box: the box itself while it runs, else a twin with the same limits and volumes."""

import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import docker
from docker.models.containers import Container

from coppice.components.runtimes.docker import HELPER_LABEL
from coppice.harnesses import layout

_SHELL = ("bash", "-l")


def _environment() -> dict[str, str]:
    return {"HOME": layout.HOME, "TERM": os.environ.get("TERM", "xterm"), "LANG": "C.UTF-8"}


def _client(container: Container) -> docker.DockerClient:
    """Return the client that a container was looked up with."""
    return cast("docker.DockerClient", container.client)


@contextlib.contextmanager
def _twin(container: Container) -> Iterator[Container]:
    """Make a box with the configuration of one that has ended, running nothing but a wait, and remove it after."""
    client, attributes = _client(container), container.attrs
    host = {**attributes["HostConfig"], "AutoRemove": False, "RestartPolicy": {"Name": "no"}}
    config = attributes["Config"]
    api: Any = client.api  # its stubs leave this call untyped
    created = api.create_container_from_config(
        {
            "Image": attributes["Image"],
            "Cmd": ["sleep", "infinity"],
            "User": config["User"],
            "Hostname": config["Hostname"],
            "WorkingDir": config["WorkingDir"],
            "Labels": {HELPER_LABEL: "1"},
            "HostConfig": host,
        }
    )
    twin = client.containers.get(created["Id"])
    try:
        twin.start()
        yield twin
    finally:
        twin.remove(force=True)


@contextlib.contextmanager
def _place(container: Container) -> Iterator[Container]:
    container.reload()
    if container.status == "running":
        yield container
        return
    with _twin(container) as twin:
        yield twin


def run(container: Container, command: Sequence[str], write: Callable[[bytes], None]) -> int:
    """Run a command in the box, or its twin; return its exit code.

    Args:
        container: the box.
        command: program and arguments.
        write: called with each piece of output.
    """
    with _place(container) as box:
        api = _client(container).api
        made = api.exec_create(
            box.id, list(command), environment=_environment(), workdir=layout.WORKSPACE, user=str(layout.UID)
        )
        for chunk in api.exec_start(made["Id"], stream=True):
            write(chunk)
        return int(api.exec_inspect(made["Id"])["ExitCode"] or 0)


def interactive(container: Container) -> int:
    """Connect this terminal to a shell in the box, or its twin; return the shell's exit code."""
    with _place(container) as box:
        api = _client(container).api
        made = api.exec_create(
            box.id,
            list(_SHELL),
            stdin=True,
            tty=True,
            environment=_environment(),
            workdir=layout.WORKSPACE,
            user=str(layout.UID),
        )
        stream = api.exec_start(made["Id"], tty=True, socket=True)
        # docker-py hands out a wrapper; the socket under it is what select needs.
        connection = cast("socket.socket", getattr(stream, "_sock", stream))
        with contextlib.closing(stream), _raw_terminal(), _resizing(api, made["Id"]):
            _relay(connection)
        return int(api.exec_inspect(made["Id"])["ExitCode"] or 0)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    descriptor = sys.stdin.fileno()
    saved = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


@contextlib.contextmanager
def _resizing(api: Any, exec_id: str) -> Iterator[None]:
    def resize(signum: int = 0, frame: Any = None) -> None:
        del signum, frame
        size = shutil.get_terminal_size()
        api.exec_resize(exec_id, height=size.lines, width=size.columns)

    resize()
    previous = signal.signal(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)


def _relay(connection: socket.socket) -> None:
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    while True:
        ready, _, _ = select.select([connection, stdin], [], [])
        if connection in ready:
            data = connection.recv(1 << 16)
            if not data:
                return
            os.write(stdout, data)
        if stdin in ready:
            typed = os.read(stdin, 1 << 12)
            if not typed:
                return
            connection.sendall(typed)
