"""Grove to Plan: what is to be provisioned, every default filled in. Pure: no git, no engine, no clock."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import BaseModel

from coppice.groves.errors import InputError, Problem, did_you_mean
from coppice.groves.model import Agent, AgentSettings, Grove, Messages, SourceMap, Spawn, Unmade, yaml_name
from coppice.groves.naming import branch_name, name_problem, suggest_name
from coppice.groves.yamltree import Path as FieldPath
from coppice.groves.yamltree import dotted

MAX_AGENTS = 10_000
# Files called so take the folder's name.
FOLDER_NAMED = frozenset({"grove.yaml", "grove.yml", "coppice.yaml", "coppice.yml"})

_SHOWN_CIRCLE = 8

DEFAULT_CPU = 1.0
DEFAULT_MEMORY = 1024**3
DEFAULT_PIDS = 256
DEFAULT_DURATION = 2 * 3600

Expect = Literal["commit", "none", "result"]


@dataclass(frozen=True)
class Origin:
    """Where a field is written: dotted path, and file, line and column where they are known."""

    field: str
    file: str
    line: int | None
    column: int | None


@dataclass(frozen=True)
class Resources:
    """What a box may use: CPUs, memory in bytes, processes and threads."""

    cpu: float = DEFAULT_CPU
    memory: int = DEFAULT_MEMORY
    pids: int = DEFAULT_PIDS

    def to_json(self) -> dict[str, Any]:
        """Return the amounts as JSON data."""
        return {"cpu": self.cpu, "memory": self.memory, "pids": self.pids}


@dataclass(frozen=True)
class RepositoryPlan:
    """The repository agents start from: an absolute folder (perhaps inside the work tree) and a revision."""

    path: Path
    ref: str


@dataclass(frozen=True)
class Unbuilt:
    """A field whose feature is not built yet: shown by validate and preview, refused by `up`.

    Attributes:
        field: dotted path.
        feature: what it asks for, in words.
        file: the file as the user named it.
        line: 1-based, None if not known.
        column: 1-based, None if not known.
    """

    field: str
    feature: str
    file: str
    line: int | None
    column: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the field, the feature and the line and column as JSON data, without the machine's paths."""
        return {"field": self.field, "feature": self.feature, "line": self.line, "column": self.column}


@dataclass(frozen=True)
class MessageRights:
    """Whom an agent asks to write to: agent names ("*" is all), and whether to all at once."""

    send: tuple[str, ...] = ()
    broadcast: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the rights as JSON data."""
        return {"send": list(self.send), "broadcast": self.broadcast}


@dataclass(frozen=True)
class SpawnRights:
    """Which agents an agent asks to start: template names, how many at once, how deep, budget share."""

    templates: tuple[str, ...] = ()
    max_alive: int = 0
    depth: int = 0
    budget_share: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the rights as JSON data."""
        return {
            "templates": list(self.templates),
            "maxAlive": self.max_alive,
            "depth": self.depth,
            "budgetShare": self.budget_share,
        }


@dataclass(frozen=True)
class AgentPlan:
    """One agent with everything filled in.

    Attributes:
        name: DNS label, unique in the grove.
        grove: the grove's name.
        harness: the adapter's name; not checked here.
        model: the model asked for, None for the harness's own.
        prompt: what it is asked to do, not blank.
        branch: "agents/<name>".
        resources: what its box may use.
        duration: seconds it may work.
        expect: what counts as done.
        isolation: "container", "gvisor" or "vm".
        template: the template it is built on, if any.
        endpoints: names of the ways out it asks for, beyond the harness's needs.
        secrets: names of the secrets it asks for.
        services: names of the services it asks for.
        mounts: volumes it asks for, as written.
        instructions: standing instructions as written: text, or a mapping that names a file.
        turns: how many turns it may take, None if not written.
        messages: whom it asks to write to.
        spawn: which agents it asks to start.
        budget_usd: what it may spend, None if not written.
        count: how many alike.
        state: the state wanted of it.
        unbuilt: dotted paths of the fields that make this agent and are not built yet.
        harness_at: where the harness is written.
    """

    name: str
    grove: str
    harness: str
    model: str | None
    prompt: str
    branch: str
    resources: Resources = field(default_factory=Resources)
    duration: int = DEFAULT_DURATION
    expect: Expect = "none"
    isolation: Literal["container", "gvisor", "vm"] = "container"
    template: str | None = None
    endpoints: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    instructions: str | Mapping[str, Any] | None = None
    turns: int | None = None
    messages: MessageRights = field(default_factory=MessageRights)
    spawn: SpawnRights = field(default_factory=SpawnRights)
    budget_usd: float | None = None
    count: int = 1
    state: Literal["running", "suspended", "stopped"] = "running"
    unbuilt: tuple[str, ...] = ()
    harness_at: Origin | None = field(default=None, compare=False)

    @property
    def labels(self) -> dict[str, str]:
        """Labels that find what belongs to this agent on any runtime."""
        return {
            "dev.coppice.grove": self.grove,
            "dev.coppice.agent": self.name,
            "dev.coppice.harness": self.harness,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the agent as JSON data with YAML's field names; amounts are bytes and seconds."""
        return {
            "name": self.name,
            "harness": self.harness,
            "model": self.model,
            "prompt": self.prompt,
            "branch": self.branch,
            "template": self.template,
            "resources": self.resources.to_json(),
            "instructions": self.instructions,
            "limits": {"duration": self.duration, "turns": self.turns},
            "expect": self.expect,
            "isolation": self.isolation,
            "endpoints": list(self.endpoints),
            "secrets": list(self.secrets),
            "services": list(self.services),
            "mounts": [dict(mount) for mount in self.mounts],
            "messages": self.messages.to_json(),
            "spawn": self.spawn.to_json(),
            "budget": {"usd": self.budget_usd},
            "count": self.count,
            "state": self.state,
            "unbuilt": list(self.unbuilt),
        }


@dataclass(frozen=True)
class Plan:
    """A grove, ready to be provisioned.

    Attributes:
        grove: the grove's name.
        source: the grove file, absolute.
        repository: what the agents start from.
        agents: sorted by name.
        unbuilt: what `up` will refuse, in the file's order.
    """

    grove: str
    source: Path
    repository: RepositoryPlan
    agents: tuple[AgentPlan, ...]
    unbuilt: tuple[Unbuilt, ...] = ()

    @property
    def repository_shown(self) -> str:
        """The repository's folder relative to the grove file's, with forward slashes: the same everywhere."""
        return Path(os.path.relpath(self.repository.path, self.source.parent)).as_posix()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON data, stable, with paths relative to the grove file's folder."""
        return {
            "grove": self.grove,
            "source": self.source.name,
            "repository": {"path": self.repository_shown, "ref": self.repository.ref},
            "agents": [agent.to_json() for agent in self.agents],
            "unbuilt": [item.to_json() for item in self.unbuilt],
        }


def _written(model: BaseModel) -> Iterator[tuple[str, Any]]:
    """Yield (attribute, value) of what is written in the file."""
    for attribute in type(model).model_fields:
        if attribute in model.model_fields_set:
            value = getattr(model, attribute)
            if value is not None:
                yield attribute, value


def _unmade(model: BaseModel, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    """Yield (path, feature) of what is written and not built, in the model's order."""
    for attribute, value in _written(model):
        below = (*path, yaml_name(type(model), attribute))
        marks = [m for m in type(model).model_fields[attribute].metadata if isinstance(m, Unmade)]
        if marks and not (value in marks[0].built or _asks_nothing(value)):
            yield below, marks[0].feature
        elif isinstance(value, BaseModel):
            yield from _unmade(value, below)


def _asks_nothing(value: Any) -> bool:
    if isinstance(value, (Messages, Spawn)):
        return not any(right for _, right in _written(value))
    return value in ({}, ())


class _Settings:
    """Settings of one template or agent, templates followed: (attribute path) -> (value, where written)."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[FieldPath, tuple[Any, FieldPath]]) -> None:
        self.values = values

    @classmethod
    def of(cls, model: AgentSettings, path: FieldPath, base: Self | None) -> Self:
        """Lay what `model` says over `base`: mappings are merged, values and lists replaced."""
        merged = dict(base.values) if base is not None else {}

        def lay(part: BaseModel, at: FieldPath, yaml_at: FieldPath) -> None:
            for attribute, value in _written(part):
                below, yaml_below = (*at, attribute), (*yaml_at, yaml_name(type(part), attribute))
                if isinstance(value, BaseModel):
                    lay(value, below, yaml_below)
                else:
                    merged[below] = (value, yaml_below)

        lay(model, (), path)
        return cls(merged)

    def get(self, *path: str, default: Any = None) -> Any:
        return self.values[path][0] if path in self.values else default

    def place(self, *path: str) -> FieldPath | None:
        return self.values[path][1] if path in self.values else None


class _Planner:
    """Holds what one run of `plan` has found."""

    def __init__(self, grove: Grove, source: Path) -> None:
        self.grove = grove
        self.source = Path(source).absolute()
        self.map: SourceMap = grove.source_map
        self.problems: list[Problem] = []
        self.templates: dict[str, _Settings] = {}
        self.unmade: list[tuple[FieldPath, str]] = []

    def problem(self, path: FieldPath, message: str, remedy: str | None, *, key: bool = False) -> None:
        self.problems.append(self.map.problem(path, message, remedy, key=key))

    def name(self) -> str:
        if self.grove.name is not None:
            return self.grove.name
        name = default_name(self.source)
        found = name_problem(name, "grove")
        if found is not None:
            example = suggest_name(name)
            message = f"no name is set and the default, from the file's place, will not do: {found[0]}"
            self.problem((), message, f"Add a line such as 'name: {example}'.")
        return name

    def resolve_templates(self) -> None:
        """Resolve every template, each once; a reference that leads nowhere or in a circle is a problem."""
        defined = self.grove.templates
        for start in sorted(defined):
            chain: list[str] = []
            name: str | None = start
            while name is not None and name not in self.templates:
                if name in chain:
                    members = chain[chain.index(name) :]
                    shown = members if len(members) <= _SHOWN_CIRCLE else [*members[:_SHOWN_CIRCLE], "…"]
                    circle = " -> ".join([*shown, name])
                    path = ("templates", chain[-1], "template")
                    self.problem(path, f"templates build on each other in a circle: {circle}", "Break it.")
                    break
                chain.append(name)
                above = defined[name].template
                if above is not None and above not in defined:
                    self.missing_template(("templates", name, "template"), above)
                    above = None
                name = above
            for member in reversed(chain):
                base = self.templates.get(defined[member].template or "")
                self.templates[member] = _Settings.of(defined[member], ("templates", member), base)

    def missing_template(self, path: FieldPath, name: str) -> None:
        known = self.grove.templates
        remedy = did_you_mean(name, known) if known else "Add it under 'templates': there are none yet."
        self.problem(path, f"there is no template {name!r}", remedy)

    def agent(self, grove_name: str, name: str, agent: Agent) -> AgentPlan | None:
        path: FieldPath = ("agents", name)
        base: _Settings | None = None
        if agent.template is not None:
            base = self.templates.get(agent.template)
            if base is None:
                self.missing_template((*path, "template"), agent.template)
                return None  # what the template would have said is not known
        settings = _Settings.of(agent, path, base)
        ok = self.check_required(path, settings)
        return self.make(grove_name, name, agent, settings) if ok else None

    def check_required(self, path: FieldPath, settings: _Settings) -> bool:
        ok = True
        harness_at, prompt_at = settings.place("harness"), settings.place("prompt")
        if harness_at is None:
            remedy = "Write 'harness:' in the agent or its template."
            self.problem(path, "the agent has no harness", remedy, key=True)
            ok = False
        if prompt_at is None:
            remedy = "Write 'prompt:' in the agent or its template."
            self.problem(path, "the agent has no prompt", remedy, key=True)
            ok = False
        elif not settings.get("prompt").strip():
            self.problem(prompt_at, "the prompt is blank", "Say what the agent is to do.")
            ok = False
        return ok

    def make(self, grove_name: str, name: str, agent: Agent, settings: _Settings) -> AgentPlan:
        get = settings.get
        harness_path = settings.place("harness") or ("agents", name)
        line, column = self.map.at(harness_path)
        used = {path for _, path in settings.values.values()}
        return AgentPlan(
            name=name,
            grove=grove_name,
            harness=get("harness"),
            model=get("model"),
            prompt=get("prompt"),
            branch=branch_name(name),
            resources=Resources(
                cpu=get("resources", "cpu", default=DEFAULT_CPU),
                memory=get("resources", "memory", default=DEFAULT_MEMORY),
                pids=get("resources", "pids", default=DEFAULT_PIDS),
            ),
            duration=get("limits", "duration", default=DEFAULT_DURATION),
            expect=get("expect", default="none"),
            isolation=get("isolation", default="container"),
            template=agent.template,
            endpoints=get("endpoints", default=()),
            secrets=get("secrets", default=()),
            services=get("services", default=()),
            mounts=get("mounts", default=()),
            instructions=get("instructions"),
            turns=get("limits", "turns"),
            messages=MessageRights(
                send=get("messages", "send", default=()),
                broadcast=get("messages", "broadcast", default=False),
            ),
            spawn=SpawnRights(
                templates=get("spawn", "templates", default=()),
                max_alive=get("spawn", "max_alive", default=0),
                depth=get("spawn", "depth", default=0),
                budget_share=float(get("spawn", "budget_share", default=0)),
            ),
            budget_usd=None if get("budget", "usd") is None else float(get("budget", "usd")),
            count=get("count", default=1),
            state=get("state", default="running"),
            unbuilt=tuple(dotted(path) for path in sorted(self.unbuilt_of(used), key=dotted)),
            harness_at=Origin(dotted(harness_path), self.map.file, line, column),
        )

    def unbuilt_of(self, used: set[FieldPath]) -> set[FieldPath]:
        """Return which of the fields an agent is made of are not built: those, or what holds them."""
        return {path[:size] for path in used for size in (3, 4) if path[:size] in self.unmade_paths}

    def run(self) -> Plan:
        agents = self.grove.agents
        name = self.name()
        if not agents:
            remedy = "Add one under 'agents', with a harness and a prompt."
            self.problem(("agents",), "the grove has no agents", remedy)
        if len(agents) > MAX_AGENTS:
            message = f"the grove has {len(agents)} agents, more than {MAX_AGENTS}"
            self.problem(("agents",), message, "Split the grove.")
            raise InputError.of(self.problems)
        self.unmade = list(_unmade(self.grove, ()))
        for section, members in (("templates", self.grove.templates), ("agents", agents)):
            for member in sorted(members):
                settings: BaseModel = cast("Mapping[str, BaseModel]", members)[member]
                self.unmade.extend(_unmade(settings, (section, member)))
        self.unmade_paths = {path for path, _ in self.unmade}
        self.resolve_templates()
        plans = [self.agent(name, agent, agents[agent]) for agent in sorted(agents)]
        if self.problems:
            raise InputError.of(self.problems)
        repository = self.grove.repository
        path = Path(os.path.normpath(self.source.parent / repository.path))
        return Plan(
            grove=name,
            source=self.source,
            repository=RepositoryPlan(path, repository.ref),
            agents=tuple(agent for agent in plans if agent is not None),
            unbuilt=tuple(self.unbuilt()),
        )

    def unbuilt(self) -> list[Unbuilt]:
        found = [
            Unbuilt(dotted(path), feature, self.map.file, *self.map.at(path, key=True))
            for path, feature in self.unmade
        ]
        return sorted(found, key=lambda item: (item.line or 0, item.column or 0, item.field))


def default_name(source: Path) -> str:
    """Return the name of a grove that sets none, unchecked.

    It is the folder's name for a file called grove.yaml or coppice.yaml (or .yml), else the file's stem.
    """
    absolute = Path(source).absolute()
    return absolute.parent.name if absolute.name in FOLDER_NAMED else absolute.stem


def plan(grove: Grove, *, source: Path) -> Plan:
    """Make the plan of a grove: fill in defaults, merge templates under agents, check rules across fields.

    Pure and deterministic: the same grove and source give the same plan. The repository's path is made
    absolute (from the grove file's folder) and not looked at. A grove without a name is called after its
    folder if the file is called grove.yaml or coppice.yaml, else after the file's stem.

    Args:
        grove: the grove, as `load_grove` returns it; problems have no lines if it does not come from there.
        source: the grove file's path, absolute or relative to the working directory.

    Raises:
        InputError: with every problem found: no agent or too many, a template that does not exist or builds
            on itself, no harness, no prompt, a blank prompt, a default name that will not do.
    """
    return _Planner(grove, source).run()
