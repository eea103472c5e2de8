"""The Grove component: a whole grove file as resources."""

from pathlib import Path
from typing import Any, Self

import pulumi

from coppice.components import ownership, repository
from coppice.components.agent import Agent
from coppice.components.runtimes.base import Runtime
from coppice.components.runtimes.docker import daemon
from coppice.components.runtimes.docker.resources import DockerRuntime
from coppice.groves import access as grove_access
from coppice.groves.errors import CoppiceError
from coppice.groves.load import find_grove, load_grove
from coppice.groves.plan import Plan, plan
from coppice.harnesses import registry
from coppice.harnesses.unbuilt import refuse_unbuilt


class Grove(pulumi.ComponentResource):
    """A grove: what its agents share, and its long-lived agents.

    Args:
        name: the resource's name; by convention the grove's.
        plan: what to provision.
        runtime: where boxes run; by default the Docker daemon that `coppice doctor` shows.
        opts: resource options.

    Outputs:
        agents: per agent name its box, base, branch, and how its run ended.

    Raises:
        RefusedError: the grove asks for what is not built yet (not at preview, which shows it).
        CoppiceError: no repository, or no Docker daemon.
    """

    agents: dict[str, Agent]

    def __init__(
        self,
        name: str,
        plan: Plan,
        runtime: Runtime | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        needs = {agent.harness: registry.get(agent.harness).needs() for agent in plan.agents}
        accesses = grove_access.compute(plan, needs)
        commit = repository.resolve(plan.repository.path, plan.repository.ref)
        if not pulumi.runtime.is_dry_run():
            refuse_unbuilt(plan)
        props: dict[str, Any] = {
            "grove": plan.grove,
            "repository": ownership.owner(plan.repository.path),
            "access": [access.to_json() for access in accesses],
        }
        super().__init__("coppice:grove:Grove", name, props, opts)
        place = runtime or DockerRuntime(daemon.find().host)
        shared = place.provision(plan, commit, self)
        by_agent = {access.agent: access for access in accesses}
        self.agents = {}
        for agent in plan.agents:
            if not needs[agent.harness].built:
                pulumi.log.warn(
                    f"harness {agent.harness} is not built yet: `up` refuses agent {agent.name}",
                    resource=self,
                )
                continue
            self.agents[agent.name] = Agent(
                f"{plan.grove}-{agent.name}",
                agent,
                by_agent[agent.name],
                shared,
                pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({"agents": self.outputs()})

    def outputs(self) -> dict[str, Any]:
        """Return what the verbs need to find each agent again, by agent name."""
        return {name: agent.outputs() for name, agent in self.agents.items()}

    @classmethod
    def from_config(cls) -> Self:
        """Provision the grove that the stack's configuration names: what a project's program calls.

        The key `grove` holds a path below the project's root, or a grove's name; without it the stack's own
        name is looked up (`groves/<stack>.yaml`). The stack's outputs are `grove` and `agents`.

        Raises:
            InputError: the grove file is missing or wrong.
        """
        root = Path(pulumi.runtime.get_root_directory())
        wanted = pulumi.Config().get("grove") or pulumi.get_stack()
        try:
            path = find_grove(wanted, root)
            made = plan(load_grove(path), source=path)
            grove = cls(made.grove, made)
        except CoppiceError as error:
            # The engine prints a RunError without a traceback.
            raise pulumi.RunError(f"{error}\n{error.hint}" if error.hint else str(error)) from error
        pulumi.export("grove", made.grove)
        pulumi.export("agents", grove.outputs())
        return grove
