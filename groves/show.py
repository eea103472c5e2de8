"""A grove as `coppice show` prints it: the YAML that says every default out loud."""

from typing import Any

from coppice.groves import units
from coppice.groves.model import API_VERSION, AgentSettings, Grove
from coppice.groves.plan import AgentPlan, Plan

_PLANNED = ("extends", "environment", "services", "endpoints", "secrets", "volumes", "tasks", "pools")


def _written(settings: AgentSettings) -> dict[str, Any]:
    """Return what a template says, as the file writes it."""
    found: dict[str, Any] = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


def _agent(agent: AgentPlan) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "template": agent.template,
        "harness": agent.harness,
        "model": agent.model,
        "prompt": agent.prompt,
        "instructions": agent.instructions,
        "resources": {
            "cpu": units.format_cpu(agent.resources.cpu),
            "memory": units.format_memory(agent.resources.memory),
            "pids": agent.resources.pids,
        },
        "limits": {"duration": units.format_duration(agent.duration), "turns": agent.turns},
        "expect": agent.expect,
        "isolation": agent.isolation,
        "endpoints": list(agent.endpoints),
        "secrets": list(agent.secrets),
        "services": list(agent.services),
        "mounts": [dict(mount) for mount in agent.mounts],
        "budget": None if agent.budget_usd is None else {"usd": agent.budget_usd},
        "messages": agent.messages.to_json(),
        "spawn": agent.spawn.to_json(),
        "count": agent.count,
        "state": agent.state,
    }
    limits = {key: value for key, value in whole["limits"].items() if value is not None}
    return {key: value for key, value in {**whole, "limits": limits}.items() if value is not None}


def resolved(grove: Grove, plan: Plan) -> dict[str, Any]:
    """Return the whole grove with every default filled in and templates merged into the agents.

    It is plain data in YAML's field names that loads as a grove with the same plan. What has no value by
    default (a template, a model, a budget, a limit on turns) is left out.

    Args:
        grove: the grove as it was read.
        plan: its plan.
    """
    written: dict[str, Any] = grove.model_dump(mode="json", by_alias=True, exclude_none=True)
    whole: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "name": plan.grove,
        "repository": {"path": grove.repository.path, "ref": grove.repository.ref},
    }
    whole.update({key: written[key] for key in _PLANNED if key in written})
    if grove.templates:
        whole["templates"] = {name: _written(grove.templates[name]) for name in sorted(grove.templates)}
    whole["agents"] = {agent.name: _agent(agent) for agent in plan.agents}
    return whole
