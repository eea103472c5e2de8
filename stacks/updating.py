"""Around an update: what stood before it, and what its agents have come to after it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import docker

from coppice.components import repository
from coppice.components.runtimes.docker.operations import Status
from coppice.stacks.boxes import Collected, Stand, collect, own_state, standing
from coppice.stacks.engine import GroveStack
from coppice.stacks.follow import Watcher
from coppice.stacks.project import Place, Target

_SHORT = 10  # characters of a commit that are shown
_BAD = frozenset({"failed", "gone", "not made"})


@dataclass(frozen=True)
class Before:
    """What stood before, None for nothing, and whether a run was cut off and has to be healed."""

    stand: Stand | None = None
    lost: bool = False

    @property
    def agents(self) -> frozenset[str]:
        """Return the names of the agents that stood."""
        return frozenset(self.stand.agents if self.stand else ())


@dataclass(frozen=True)
class After:
    """What the agents have come to: status by name, what came home, and what the user should know."""

    statuses: Mapping[str, Status] = field(default_factory=dict)
    collected: list[Collected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """Return the names of the agents that failed, or whose work could not be brought home."""
        lost = {item.agent for item in self.collected if item.error}
        return sorted(lost | {name for name, status in self.statuses.items() if status.phase in _BAD})

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        phases = {name: {"phase": s.phase, "reason": s.reason} for name, s in self.statuses.items()}
        return {
            "agents": phases,
            "branches": [item.to_json() for item in self.collected],
            "notes": self.notes,
        }


def begin(opened: GroveStack, wanted: Target, client: docker.DockerClient) -> Before:
    """Make the stack ready for an update.

    Raises:
        RefusedError: it belongs to another repository.
    """
    opened.ensure()
    found = own_state(opened, Place(wanted.root, wanted.stack, wanted.plan.repository.path))
    opened.set_grove(wanted.grove_setting)
    if found is None:
        return Before()
    stand = standing(found, client)
    lost = any(agent.status().lost for agent in stand.agents.values())
    return Before(stand, lost)


def finish(opened: GroveStack, wanted: Target, client: docker.DockerClient, watcher: Watcher) -> After:
    """Wait until the agents have settled and bring their work home.

    Raises:
        KeyboardInterrupt: the user does not want to wait; the agents go on.
    """
    found = opened.state()
    if found is None:
        return After()
    stand = standing(found, client)
    agents = list(stand.agents.values())
    watcher.until_settled(agents)
    statuses = {agent.name: agent.status() for agent in agents}
    return After(statuses, [collect(stand, agent) for agent in agents], bases(stand, wanted))


def bases(stand: Stand, wanted: Target) -> list[str]:
    """Return a note for each agent that stays on another commit than the one a new agent would start from."""
    place = wanted.plan.repository
    head = repository.resolve(place.path, place.ref)
    return [
        f"{agent.name} stays on {agent.state.base[:_SHORT]}, where it began; {place.ref} is {head[:_SHORT]} now "
        "(`coppice destroy` and `up` start over)"
        for agent in stand.agents.values()
        if agent.state.base and agent.state.base != head
    ]
