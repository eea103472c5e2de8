"""Watch boxes from the moment they are switched on until their agents have settled."""

import threading

import docker
from pulumi.automation import EngineEvent

from coppice.components.runtimes.docker import operations, records
from coppice.stacks.boxes import Standing
from coppice.stacks.engine import kind_of
from coppice.stacks.progress import Progress

# An agent in one of these does nothing more by itself.
_SETTLED = records.TERMINAL | {"waiting", "suspended"}
_POWER = "coppice:docker:Power"
_DETAIL = 100  # characters of an agent's last line that are shown


class Watcher:
    """Follow the boxes of a grove, each in a thread, and show what they are at.

    Args:
        client: the daemon.
        progress: where to show it.
    """

    def __init__(self, client: docker.DockerClient, progress: Progress) -> None:
        self._client = client
        self._progress = progress
        self._stop = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    def event(self, event: EngineEvent) -> None:
        """Take one engine event: a box that was just switched on is followed while the update goes on."""
        self._progress.event(event)
        done = event.res_outputs_event
        if done is None or done.metadata.type != _POWER or done.metadata.new is None:
            return
        if kind_of(done.metadata.op) == "same":
            return  # what it ended with some time ago is no news
        outputs = done.metadata.new.outputs or {}
        agent, box = self._progress.owner(done.metadata.urn), outputs.get("container")
        if agent and isinstance(box, str) and outputs.get("got") == "running":
            self._follow(agent, box, str(outputs.get("run")))

    def _follow(self, agent: str, box: str, run: str) -> None:
        if box not in self._threads:
            thread = threading.Thread(target=self._watch, args=(agent, box, run), daemon=True)
            self._threads[box] = thread
            thread.start()

    def _watch(self, agent: str, box: str, run: str) -> None:
        container = operations.get(self._client, box)
        if container is None:
            return  # removed again already: its status says so
        # What the same box has written of earlier runs is no news.
        for record in operations.follow(container, run):
            if self._stop.is_set():
                return
            if record.type == "phase":
                phase = str(record.data["phase"])
                self._progress.set(agent, phase, record.text("reason"), ended=phase in _SETTLED)
                if phase in _SETTLED:
                    return
            elif record.type == "output":
                self._progress.set(agent, "working", record.text("text").strip()[:_DETAIL])

    def until_settled(self, agents: list[Standing]) -> None:
        """Wait until every agent is done, failed or waiting, and show what each has come to.

        Raises:
            KeyboardInterrupt: the user does not want to wait; the agents go on.
        """
        for agent in agents:
            if agent.status().running:
                self._follow(agent.name, agent.state.box, agent.state.run)
        try:
            for thread in self._threads.values():
                # In short waits: a join without a limit would not see Ctrl-C.
                while thread.is_alive():
                    thread.join(timeout=0.2)
        finally:
            self._stop.set()
        for agent in agents:
            status = agent.status()
            self._progress.set(agent.name, status.phase, status.reason, ended=True)
