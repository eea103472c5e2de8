"""The Agent component: one long-lived agent of a grove, in its box."""

from typing import Any

import pulumi

from coppice.components.runtimes.base import GroveRuntime
from coppice.groves.access import AgentAccess
from coppice.groves.plan import AgentPlan
from coppice.harnesses import registry


class Agent(pulumi.ComponentResource):
    """One agent: its workspace, its box and whether the box runs.

    Its inputs hold the agent's access, known at preview and kept in the stack's state, so that policies judge
    it before anything is made.

    Args:
        name: the resource's name, "<grove>-<agent>".
        plan: the agent.
        access: everything it may touch.
        runtime: where its box runs.
        opts: resource options.

    Outputs:
        box: the box's id on its runtime.
        base: the commit its workspace started from.
        branch: the branch its work comes home on.
        ended: the phase in which its run ended, "" where its box knows better.
    """

    box: pulumi.Output[str]
    base: pulumi.Output[str]
    branch: pulumi.Output[str]
    ended: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        plan: AgentPlan,
        access: AgentAccess,
        runtime: GroveRuntime,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props: dict[str, Any] = {"agent": plan.name, "harness": plan.harness, "access": access.to_json()}
        super().__init__("coppice:grove:Agent", name, props, opts)
        box = runtime.box(plan, registry.get(plan.harness).launch(plan), self)
        self.box = box.id
        self.base = box.base
        self.branch = pulumi.Output.from_input(plan.branch)
        self.ended = box.ended
        self.register_outputs(self.outputs())

    def outputs(self) -> dict[str, pulumi.Output[str]]:
        """Return what the verbs need to find the agent again."""
        return {"box": self.box, "base": self.base, "branch": self.branch, "ended": self.ended}
