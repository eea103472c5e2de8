"""What a runtime is: where boxes run, and what it can do with them."""

from dataclasses import dataclass
from typing import Protocol

import pulumi

from coppice.groves.plan import AgentPlan, Plan
from coppice.harnesses.base import LaunchSpec


@dataclass(frozen=True)
class Box:
    """One provisioned box, as the runtime's outputs.

    `id` names the box on its runtime (a container's id), `base` is the commit that its workspace started from,
    `ended` the phase in which its run ended ("done", "failed"), "" where the box itself knows better.
    """

    id: pulumi.Output[str]
    base: pulumi.Output[str]
    ended: pulumi.Output[str]


class GroveRuntime(Protocol):
    """What the boxes of one grove share on a runtime: images, the mirror, providers."""

    def box(self, agent: AgentPlan, launch: LaunchSpec, parent: pulumi.Resource) -> Box:
        """Provision one agent's box below `parent`."""
        ...


class Runtime(Protocol):
    """A place where boxes can run."""

    name: str

    def provision(self, plan: Plan, commit: str, parent: pulumi.Resource) -> GroveRuntime:
        """Provision what the grove's boxes share below `parent`; `commit` is the base of new workspaces."""
        ...
