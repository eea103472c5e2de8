"""The boxes of a stack that stands: found by the stack's state, never by what happens to have a label."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from coppice.components import homecoming, ownership
from coppice.components.runtimes.docker import collector, daemon, operations
from coppice.components.runtimes.docker.operations import Status
from coppice.components.runtimes.docker.records import clean
from coppice.groves.errors import CoppiceError
from coppice.groves.naming import snapshot_ref
from coppice.stacks.engine import GroveStack
from coppice.stacks.project import Place, place
from coppice.stacks.state import AgentState, GroveState

_LONG = 24 * 3600  # seconds: followed logs and shells may be silent for long


@dataclass(frozen=True)
class Standing:
    """An agent of a stack: what the state has of it, and its container, if there is one."""

    state: AgentState
    container: Container | None

    @property
    def name(self) -> str:
        """Return the agent's name."""
        return self.state.name

    def status(self) -> Status:
        """Return what its box is at."""
        if not self.state.box:
            return Status("not made", "its box was never made; `coppice up` makes it", lost=True)
        status = operations.status(self.container, self.state.run)
        if status.phase == "created" and self.state.ended:
            return Status(self.state.ended, "in the box before this one")
        return status

    def need_container(self) -> Container:
        """Return its container.

        Raises:
            CoppiceError: it is gone, or was never made.
        """
        if self.container is None:
            raise CoppiceError(
                f"there is no box of {self.name}", hint="`coppice up` makes it again", exit_code=3
            )
        return self.container


@dataclass(frozen=True)
class Stand:
    """What stands of a grove: its name, its repository and its agents by name."""

    grove: str
    repository: Path
    agents: dict[str, Standing]
    client: docker.DockerClient

    def agent(self, name: str) -> Standing:
        """Return one agent.

        Raises:
            CoppiceError: the stack has none of that name.
        """
        if name not in self.agents:
            known = ", ".join(sorted(self.agents)) or "none"
            raise CoppiceError(
                f"grove {self.grove} has no agent {clean(name)}", hint=f"it has: {known}", exit_code=2
            )
        return self.agents[name]


def standing(state: GroveState, client: docker.DockerClient) -> Stand:
    """Look up the boxes that a stack's state names."""
    found = {
        name: Standing(agent, operations.get(client, agent.box) if agent.box else None)
        for name, agent in state.agents.items()
    }
    return Stand(state.grove, Path(state.repository), found, client)


def own_state(stack: GroveStack, where: Place) -> GroveState | None:
    """Return what a stack holds, None for nothing yet.

    Raises:
        RefusedError: it belongs to another repository than the one that the grove file names.
    """
    state = stack.state()
    if state is not None and where.repository is not None:
        ownership.refuse_another(state.repository, ownership.owner(where.repository))
    return state


@contextlib.contextmanager
def opened(name: str | None, stack: str | None) -> Iterator[Stand]:
    """Look up what stands of the grove that a command names.

    Args:
        name: GROVE as given on the command line.
        stack: the value of `-s`; with it no grove file is needed.

    Raises:
        CoppiceError: no such grove or stack, nothing in it, or no daemon.
    """
    where = place(name, stack)
    state = own_state(GroveStack(where.root, where.stack, create=False), where)
    if state is None:
        raise CoppiceError(
            f"the stack {where.stack} has no agents yet", hint="`coppice up` starts them", exit_code=3
        )
    with contextlib.closing(daemon.find().client(timeout=_LONG)) as client:
        yield standing(state, client)


@dataclass(frozen=True)
class Collected:
    """What bringing one agent's work home gave: what came, or why nothing did.

    `error` says why work that may be there could not be brought home.
    """

    agent: str
    home: homecoming.Home | None = None
    nothing: str = ""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        home = asdict(self.home) if self.home else None
        return {"agent": self.agent, "home": home, "nothing": self.nothing, "error": self.error}


def collect(stand: Stand, agent: Standing) -> Collected:
    """Bring one agent's branch home; an error of one agent is part of the answer, not the end of the others."""
    status = agent.status()
    if status.running:
        return Collected(agent.name, nothing=f"it still works (phase {status.phase})")
    if not agent.state.base:
        return Collected(agent.name, nothing="it was never begun")
    error = ""
    # What its supervisor made when it ended; where there is nothing of that, or it was meddled with, what is found now.
    for bring_out in (_from_box, _from_workspace):
        try:
            with tempfile.TemporaryDirectory(prefix="coppice-bundle-") as folder:
                bundle = Path(folder) / "branch.bundle"
                told = bring_out(stand, agent, bundle)
                if told is not None:
                    return _bring_home(stand, agent, told, bundle)
        except CoppiceError as problem:
            error = str(problem)
    return Collected(agent.name, error=error)


def _from_box(stand: Stand, agent: Standing, bundle: Path) -> operations.Told | None:
    """Write the bundle that the box's supervisor made; None when it made none for this run."""
    del stand
    if agent.container is None:
        return None
    told = operations.told(agent.container, agent.state.run)
    if told is None or not told.bundle:
        return told
    return told if operations.fetch_bundle(agent.container, bundle, agent.state.branch) else None


def _from_workspace(stand: Stand, agent: Standing, bundle: Path) -> operations.Told:
    """Write a bundle of what is in the workspace now."""
    state = agent.state
    workspace = collector.Workspace(
        grove=stand.grove,
        agent=state.name,
        branch=state.branch,
        base=state.base,
        volume=state.volume,
        mirror=state.mirror,
        image=state.image,
    )
    return collector.collect(stand.client, workspace, bundle)


def _bring_home(stand: Stand, agent: Standing, told: operations.Told, bundle: Path) -> Collected:
    if not told.bundle:
        return Collected(agent.name, nothing="it left nothing new")
    reference = snapshot_ref(stand.grove, agent.name)
    home = homecoming.bring_home(
        stand.repository,
        bundle,
        branch=agent.state.branch,
        base=agent.state.base,
        snapshot_ref=reference,
        commit=told.commit,
        snapshot=told.snapshot,
    )
    if home is None:
        return Collected(agent.name, nothing=f"no commit; what it left uncommitted is in {reference}")
    return Collected(agent.name, home)
