"""What each agent may touch, as data: the diff that preview shows and that policies judge."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coppice.groves.errors import InputError, Problem, did_you_mean
from coppice.groves.plan import AgentPlan, MessageRights, Plan, SpawnRights


@dataclass(frozen=True)
class HarnessNeeds:
    """What a harness needs by itself.

    Attributes:
        endpoints: "host:port" of what it must reach.
        credentials: names of the credentials it looks for.
        built: whether it can be run yet.
    """

    endpoints: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    built: bool = True


@dataclass(frozen=True)
class AccessLimits:
    """CPUs, memory in bytes, processes and threads, seconds of work."""

    cpu: float
    memory: int
    pids: int
    duration: int


@dataclass(frozen=True)
class AgentAccess:
    """Everything one agent may touch; what is not here it cannot reach.

    Attributes:
        agent: its name.
        harness: its harness.
        network: "host:port" it may reach, sorted; "endpoint:<name>" for a way out that is not built yet.
        secrets: names of secrets used for it, sorted.
        mounts: what appears in its box, in words.
        messages: whom it may write to.
        spawn: which agents it may start.
        limits: when it is stopped and what it may use.
        isolation: what keeps its box apart.
        spend_usd: the worst case in US dollars: 0.0 for no model, `math.inf` where nothing bounds it.
        unbuilt: dotted paths of the fields that ask for what is not built yet.
    """

    agent: str
    harness: str
    network: tuple[str, ...]
    secrets: tuple[str, ...]
    mounts: tuple[str, ...]
    limits: AccessLimits
    isolation: str
    spend_usd: float
    messages: MessageRights = field(default_factory=MessageRights)
    spawn: SpawnRights = field(default_factory=SpawnRights)
    unbuilt: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line: "network none, secrets none, spend 0"."""
        network = ", ".join(self.network) or "none"
        secrets = ", ".join(self.secrets) or "none"
        spend = "unlimited" if math.isinf(self.spend_usd) else f"{self.spend_usd:.10g}"
        return f"network {network}, secrets {secrets}, spend {spend}"

    def to_json(self) -> dict[str, Any]:
        """Return the access as JSON data; an unbounded spend is the text "unlimited", never a number."""
        return {
            "agent": self.agent,
            "harness": self.harness,
            "network": list(self.network),
            "secrets": list(self.secrets),
            "mounts": list(self.mounts),
            "messages": self.messages.to_json(),
            "spawn": self.spawn.to_json(),
            "limits": {
                "cpu": self.limits.cpu,
                "memory": self.limits.memory,
                "pids": self.limits.pids,
                "duration": self.limits.duration,
            },
            "isolation": self.isolation,
            "spendUsd": "unlimited" if math.isinf(self.spend_usd) else self.spend_usd,
            "unbuilt": list(self.unbuilt),
        }


def _spend(agent: AgentPlan, needs: HarnessNeeds) -> float:
    # Whatever leaves the box or carries a credential may cost money: only a box without either costs nothing.
    if not (needs.endpoints or needs.credentials or agent.model or agent.endpoints or agent.secrets):
        return 0.0
    return math.inf if agent.budget_usd is None else agent.budget_usd * agent.count


def _mount(mount: Mapping[str, Any]) -> str:
    # Mounts are not built, so their shape is not settled: whatever is written is shown.
    return f"{mount.get('path', '?')} ({', '.join(f'{key} {mount[key]}' for key in sorted(mount))})"


def _of(plan: Plan, agent: AgentPlan, needs: HarnessNeeds) -> AgentAccess:
    unbuilt = agent.unbuilt if needs.built else (*agent.unbuilt, f"agents.{agent.name}.harness")
    workspace = (
        f"/workspace (own clone of {plan.repository_shown} at {plan.repository.ref}, branch {agent.branch})"
    )
    named = [f"endpoint:{name}" for name in agent.endpoints] + [f"service:{name}" for name in agent.services]
    return AgentAccess(
        agent=agent.name,
        harness=agent.harness,
        network=tuple(sorted({*needs.endpoints, *named})),
        secrets=tuple(sorted({*needs.credentials, *agent.secrets})),
        mounts=(workspace, *(_mount(mount) for mount in agent.mounts)),
        limits=AccessLimits(
            agent.resources.cpu, agent.resources.memory, agent.resources.pids, agent.duration
        ),
        isolation=agent.isolation,
        spend_usd=_spend(agent, needs),
        messages=agent.messages,
        spawn=agent.spawn,
        unbuilt=tuple(sorted(set(unbuilt))),
    )


def compute(plan: Plan, needs: Mapping[str, HarnessNeeds]) -> tuple[AgentAccess, ...]:
    """Return what every agent of the plan may touch, in the plan's order.

    Args:
        plan: the grove's plan.
        needs: what each known harness needs, by name.

    Raises:
        InputError: if an agent's harness is not known: what it would touch is not known either.
    """
    problems: list[Problem] = []
    found: list[AgentAccess] = []
    for agent in plan.agents:
        if agent.harness in needs:
            found.append(_of(plan, agent, needs[agent.harness]))
            continue
        at = agent.harness_at
        problems.append(
            Problem(
                file=at.file if at else str(plan.source),
                line=at.line if at else None,
                column=at.column if at else None,
                field=at.field if at else f"agents.{agent.name}.harness",
                message=f"there is no harness {agent.harness!r}",
                remedy=did_you_mean(agent.harness, needs),
            )
        )
    if problems:
        raise InputError.of(dict.fromkeys(problems))
    return tuple(found)
