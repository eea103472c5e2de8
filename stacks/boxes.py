"""The boxes of a stack that stands: found by the stack's outputs, never by what happens to have a label."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from coppice.components import repository
from coppice.components.runtimes.docker import daemon, operations
from coppice.components.runtimes.docker.operations import Status
from coppice.components.runtimes.docker.records import clean
from coppice.groves.errors import CoppiceError
from coppice.stacks.engine import GroveStack
from coppice.stacks.project import target

_LONG = 24 * 3600  # seconds: followed logs and shells may be silent for long


@dataclass(frozen=True)
class Standing:
    """An agent of a stack: its name, its box's id and container, the base and the branch of its work.

    `ended` is the phase in which its run ended in a box before this one, "" otherwise.
    """

    agent: str
    box: str
    base: str
    branch: str
    ended: str
    container: Container | None

    def status(self) -> Status:
        """Return what its box is at."""
        status = operations.status(self.container)
        if status.phase == "created" and self.ended:
            return Status(self.ended, "in the box before this one", "", running=False)
        return status

    def need_container(self) -> Container:
        """Return its container.

        Raises:
            CoppiceError: it is gone.
        """
        if self.container is None:
            raise CoppiceError(
                f"the box of {self.agent} is gone", hint="`coppice up` makes it again", exit_code=3
            )
        return self.container


@dataclass(frozen=True)
class Stand:
    """What stands of a grove: its name, its repository and its agents by name."""

    grove: str
    repository: Path
    agents: dict[str, Standing]

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


def standing(outputs: dict[str, Any], client: docker.DockerClient) -> Stand:
    """Look up the boxes that a stack's outputs name.

    Raises:
        CoppiceError: the stack provisions nothing yet.
    """
    agents = outputs.get("agents")
    if not isinstance(agents, dict):
        raise CoppiceError("this stack has no agents yet", hint="`coppice up` starts them", exit_code=3)
    found = {
        name: Standing(
            agent=name,
            box=str(values["box"]),
            base=str(values["base"]),
            branch=str(values["branch"]),
            ended=str(values.get("ended", "")),
            container=operations.get(client, str(values["box"])),
        )
        for name, values in sorted(agents.items())
    }
    return Stand(str(outputs["grove"]), Path(str(outputs["repository"])), found)


@contextlib.contextmanager
def opened(name: str | None, stack: str | None) -> Iterator[Stand]:
    """Look up what stands of the grove that a command names.

    Args:
        name: GROVE as given on the command line.
        stack: the value of `-s`.

    Raises:
        CoppiceError: no such grove or stack, or no daemon.
    """
    wanted = target(name, stack)
    outputs = GroveStack(wanted.root, wanted.stack, create=False).outputs()
    with contextlib.closing(daemon.find().client(timeout=_LONG)) as client:
        yield standing(outputs, client)


@dataclass(frozen=True)
class Collected:
    """What bringing one agent's work home gave: what came, or why nothing did.

    `certain` is False when there may be work in the box that could not be reached.
    """

    agent: str
    home: repository.Home | None
    nothing: str = ""
    certain: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "agent": self.agent,
            "home": asdict(self.home) if self.home else None,
            "nothing": self.nothing,
        }


def snapshot_ref(grove: str, agent: str) -> str:
    """Return the ref for what an agent left uncommitted."""
    return f"refs/coppice/snapshots/{grove}/{agent}"


def collect(stand: Stand, agent: Standing) -> Collected:
    """Bring one agent's branch home.

    Raises:
        CoppiceError: its bundle is refused.
    """
    if agent.container is None:
        return Collected(agent.agent, None, "its box is gone", certain=False)
    with tempfile.TemporaryDirectory(prefix="coppice-bundle-") as folder:
        bundle = Path(folder) / "branch.bundle"
        if not operations.fetch_bundle(agent.container, bundle):
            return _no_bundle(agent, agent.container)
        reference = snapshot_ref(stand.grove, agent.agent)
        home = repository.bring_home(
            stand.repository, bundle, branch=agent.branch, base=agent.base, snapshot_ref=reference
        )
    if home is None:
        return Collected(agent.agent, None, f"no commit; what it left uncommitted is in {reference}")
    return Collected(agent.agent, home)


def _no_bundle(agent: Standing, container: Container) -> Collected:
    """Say why a box has no bundle: nothing new, nothing yet, or lost."""
    phase = agent.status().phase
    told = operations.result(container)
    if phase == "created" or agent.ended or (told is not None and not told.data.get("bundle")):
        return Collected(agent.agent, None, "it left nothing new")
    if told is not None:
        return Collected(agent.agent, None, "its bundle is gone from its workspace", certain=False)
    return Collected(
        agent.agent, None, f"its branch is not ready to come home (phase {phase})", certain=False
    )
