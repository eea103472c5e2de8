"""What a stack holds, read from its state: the truth also after an update that failed half-way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_GROVE = "coppice:grove:Grove"
_AGENT = "coppice:grove:Agent"
_MIRROR = "coppice:docker:Mirror"
_WORKSPACE = "coppice:docker:Workspace"
_POWER = "coppice:docker:Power"
_CONTAINER = "docker:index/container:Container"


@dataclass(frozen=True)
class AgentState:
    """An agent as the state has it; texts are "" for what was never made.

    `box` is the container's id, `run` the key of the run wanted, `ended` the phase in which that run ended in a
    box before this one. `volume`, `mirror` and `image` are what its workspace is made of.
    """

    name: str
    box: str = ""
    run: str = ""
    ended: str = ""
    base: str = ""
    branch: str = ""
    volume: str = ""
    mirror: str = ""
    image: str = ""


@dataclass(frozen=True)
class GroveState:
    """A grove as a stack's state has it: name, repository (a path) and agents by name."""

    grove: str
    repository: str
    agents: Mapping[str, AgentState] = field(default_factory=dict)


def _properties(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(resource.get("inputs") or {}), **(resource.get("outputs") or {})}


def _agent(name: str, parts: Mapping[str, Mapping[str, Any]]) -> AgentState:
    workspace = _properties(parts.get(_WORKSPACE, {}))
    power = _properties(parts.get(_POWER, {}))
    container = parts.get(_CONTAINER, {})
    return AgentState(
        name=name,
        box=str(container.get("id") or power.get("container", "")),
        run=str(power.get("run", "")),
        ended=str(power.get("ended", "")) if power.get("finished") == power.get("run") else "",
        base=str(workspace.get("commit", "")),
        branch=str(workspace.get("branch", "")),
        volume=str(workspace.get("volume", "")),
        mirror=str(workspace.get("mirror", "")),
        image=str(workspace.get("image", "")),
    )


def read(export: Mapping[str, Any]) -> GroveState | None:
    """Return the grove of an exported stack (`pulumi stack export`), None when there is none in it."""
    resources = (export.get("deployment") or {}).get("resources") or []
    # What a replacement left to be removed is not what stands.
    standing = [resource for resource in resources if not resource.get("delete")]
    grove = next((resource for resource in standing if resource["type"] == _GROVE), None)
    if grove is None:
        return None
    agents = {}
    for component in standing:
        if component["type"] == _AGENT:
            parts = {part["type"]: part for part in standing if part.get("parent") == component["urn"]}
            name = str(_properties(component).get("agent", ""))
            agents[name] = _agent(name, parts)
    made = _properties(grove)
    # The mirror knows better whose the stack is: its plug-in refuses another repository, a component takes any.
    mirror = next((resource for resource in standing if resource["type"] == _MIRROR), grove)
    repository = str(_properties(mirror).get("repository", ""))
    return GroveState(str(made.get("grove", "")), repository, dict(sorted(agents.items())))
