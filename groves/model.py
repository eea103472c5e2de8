"""The grove file's model: field names, shapes, defaults. The JSON schema is made from it.

Attributes are snake_case in Python and camelCase in YAML. What a field's absence means is said where the
defaults are filled in (`plan`): here None means "not written".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from coppice.groves import units
from coppice.groves.errors import Problem, shown
from coppice.groves.naming import MAX_LABEL, MAX_NAME, NAME_PATTERN, name_problem
from coppice.groves.units import AmountError
from coppice.groves.yamltree import Path as FieldPath
from coppice.groves.yamltree import Position, dotted

API_VERSION = "coppice.dev/v1"
# The error type of the messages written here; load shows them as they are, with their remedy.
OWN_ERROR = "coppice"

_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/@~^+-]{0,254}", re.ASCII)


def _refuse(message: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError(OWN_ERROR, "{said}", {"said": message, "remedy": remedy})


def _amount(parse: Callable[[Any], Any]) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value is None:  # not written
            return None
        try:
            return parse(value)
        except AmountError as error:
            raise _refuse(error.message, error.remedy) from error

    return BeforeValidator(check)


def _name(what: str, longest: int = MAX_NAME) -> BeforeValidator:
    def check(value: Any) -> Any:
        problem = name_problem(value, what, longest) if isinstance(value, str) else None
        if problem is not None:
            raise _refuse(*problem)
        return value

    return BeforeValidator(check)


def _check_ref(value: Any) -> Any:
    if isinstance(value, str) and (not _REF.fullmatch(value) or ".." in value or "@{" in value):
        raise _refuse(
            f"{shown(value)} is not a git revision", "Write a branch, a tag, a commit or HEAD, such as main."
        )
    return value


def _check_path(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise _refuse("the path is empty", "Write . for the repository that the grove file lies in.")
    if value.startswith("~"):
        raise _refuse("~ is not expanded here", "Write a path relative to the grove file's folder.")
    if "\n" in value:
        raise _refuse("the path has a line end", "Write it on one line.")
    return value


def _name_schema(longest: int) -> dict[str, Any]:
    return {"type": "string", "pattern": NAME_PATTERN, "minLength": 1, "maxLength": longest}


GroveName = Annotated[str, _name("grove"), WithJsonSchema(_name_schema(MAX_NAME))]
AgentName = Annotated[str, _name("agent"), WithJsonSchema(_name_schema(MAX_NAME))]
TemplateName = Annotated[str, _name("template", MAX_LABEL), WithJsonSchema(_name_schema(MAX_LABEL))]

Cpu = Annotated[
    float,
    _amount(units.parse_cpu),
    PlainSerializer(units.format_cpu, when_used="json"),
    WithJsonSchema(
        {
            "type": ["number", "string"],
            "minimum": units.MIN_CPU,
            "maximum": units.MAX_CPU,
            "pattern": units.CPU_PATTERN,
            "examples": [2, 0.5, "500m"],
        }
    ),
]
Memory = Annotated[
    int,
    _amount(units.parse_memory),
    PlainSerializer(units.format_memory, when_used="json"),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "minimum": units.MIN_MEMORY,
            "maximum": units.MAX_MEMORY,
            "pattern": units.MEMORY_PATTERN,
            "examples": ["512Mi", "2Gi"],
        }
    ),
]
Duration = Annotated[
    int,
    _amount(units.parse_duration),
    PlainSerializer(units.format_duration, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": units.DURATION_PATTERN,
            "minLength": 2,
            "examples": ["90s", "2h", "1h30m"],
        }
    ),
]
Count = Annotated[int, Field(ge=1, le=10000)]
Text = Annotated[str, Field(min_length=1)]
# Lists in YAML, tuples here: nothing changes a grove once it is read.
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
Instructions = Annotated[str | dict[str, Any], WithJsonSchema({"type": ["string", "object"]})]
Mappings = Annotated[tuple[dict[str, Any], ...], Field(strict=False)]


@dataclass(frozen=True)
class Unmade:
    """Marks a field whose feature is not built yet.

    Attributes:
        feature: what it would be, for messages.
        built: the values that need nothing new.
    """

    feature: str
    built: tuple[Any, ...] = ()


@dataclass(frozen=True)
class SourceMap:
    """Where a grove's fields are written.

    Attributes:
        file: the file's name as the user gave it.
        keys: see `yamltree.Tree`.
        values: see `yamltree.Tree`.
    """

    file: str = "<grove>"
    keys: Mapping[FieldPath, Position] = field(default_factory=dict)
    values: Mapping[FieldPath, Position] = field(default_factory=dict)

    def at(self, path: FieldPath, *, key: bool = False) -> tuple[int | None, int | None]:
        """Return the (line, column) of a field's value (or key), or of what holds it if it is not written."""
        for size in range(len(path), -1, -1):
            first, second = (self.keys, self.values) if key or size < len(path) else (self.values, self.keys)
            found = first.get(path[:size]) or second.get(path[:size])
            if found is not None:
                return found
        return None, None

    def problem(self, path: FieldPath, message: str, remedy: str | None, *, key: bool = False) -> Problem:
        """Return the problem of the field at `path`."""
        line, column = self.at(path, key=key)
        return Problem(self.file, line, column, dotted(path), message, remedy)


class Model(BaseModel):
    """What the models share: frozen, strict, no unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )


class Repository(Model):
    """The repository the agents work on."""

    path: Annotated[str, BeforeValidator(_check_path), Field(min_length=1)] = "."
    """The repository's folder, relative to the grove file's; any folder inside the work tree will do."""
    ref: Annotated[str, BeforeValidator(_check_ref), Field(min_length=1, max_length=255)] = "HEAD"
    """The revision the agents start from: a branch, a tag, a commit."""


class Resources(Model):
    """What an agent's box may use of the machine."""

    cpu: Cpu | None = None
    """CPUs: 2, 0.5 or "500m" (thousandths). Default 1."""
    memory: Memory | None = None
    """Memory: "512Mi", "1Gi", or bytes. Default 1Gi."""
    pids: Annotated[int, Field(ge=1, le=4194304)] | None = None
    """Processes and threads at once. Default 256."""


class Limits(Model):
    """When an agent is stopped."""

    duration: Duration | None = None
    """How long it may work: "90s", "2h", "1h30m". Default 2h."""
    turns: Annotated[Count | None, Unmade("a limit on turns")] = None
    """How many turns it may take."""


class Budget(Model):
    """What an agent may spend."""

    usd: Annotated[int | float, Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})]
    """US dollars spent on its model."""


class Messages(Model):
    """Whom an agent may write to."""

    send: Texts | None = None
    """Agents it may send to; "*" is every agent of the grove."""
    broadcast: bool | None = None
    """Whether it may send to all at once."""


class Spawn(Model):
    """Which agents an agent may start."""

    templates: Texts | None = None
    """Templates it may start agents from."""
    max_alive: Annotated[int, Field(ge=0)] | None = None
    """How many of its agents may be alive at once."""
    depth: Annotated[int, Field(ge=0)] | None = None
    """How many generations may follow it."""
    budget_share: (
        Annotated[
            int | float, Field(ge=0, le=1), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
        ]
        | None
    ) = None
    """The share of its own budget that they may spend, 0 to 1."""


class AgentSettings(Model):
    """What a template and an agent can say; the agent's word goes before the template's."""

    template: Text | None = None
    """The template these settings build on: mappings are merged, lists and values replaced."""
    harness: Text | None = None
    """The adapter of the command-line agent to run: claude, codex, gemini, shell…"""
    model: Annotated[Text | None, Unmade("the choice of a model")] = None
    """The model the harness uses. Default: the harness's own."""
    prompt: str | None = None
    """What the agent is asked to do. For the shell harness: the script to run."""
    instructions: Annotated[Instructions | None, Unmade("standing instructions")] = None
    """Standing instructions, as text or {file: path}."""
    resources: Resources | None = None
    """What the box may use of the machine."""
    limits: Limits | None = None
    """When the agent is stopped."""
    expect: Annotated[
        Literal["commit", "result", "none"] | None, Unmade("reported results", ("commit", "none"))
    ] = None
    """What counts as done: a new commit, a reported result, or the harness's success alone. Default none."""
    isolation: Annotated[
        Literal["container", "gvisor", "vm"] | None, Unmade("stronger isolation", ("container",))
    ] = None
    """What keeps the box apart from the machine. Default container."""
    endpoints: Annotated[Texts | None, Unmade("ways out of the box")] = None
    """Named ways out: presets (npm, github…) or the grove's own. Default: the harness's needs alone."""
    secrets: Annotated[Texts | None, Unmade("secrets")] = None
    """Secrets of the grove that the agent may use."""
    services: Annotated[Texts | None, Unmade("services")] = None
    """Services of the grove that the agent may reach."""
    mounts: Annotated[Mappings | None, Unmade("mounts")] = None
    """Volumes and where they appear in the box: {volume: notes, path: /shared/notes}."""
    budget: Annotated[Budget | None, Unmade("budgets")] = None
    """What the agent may spend."""
    messages: Annotated[Messages | None, Unmade("messages between agents")] = None
    """Whom the agent may write to. Default nobody."""
    spawn: Annotated[Spawn | None, Unmade("agents that start agents")] = None
    """Which agents the agent may start. Default none."""


class Agent(AgentSettings):
    """A long-lived agent of the grove."""

    count: Annotated[Count | None, Unmade("several agents from one entry", (1,))] = None
    """How many alike. Default 1."""
    state: Annotated[
        Literal["running", "suspended", "stopped"] | None, Unmade("desired states", ("running",))
    ] = None
    """The state wanted of it. Default running."""


class Grove(Model):
    """One project's agents, what they may touch, and the services they share."""

    # The rest is Any on purpose: features that are not built have no settled shape.
    api_version: Literal["coppice.dev/v1"]
    """The version of this file's format: coppice.dev/v1."""
    name: GroveName | None = None
    """The grove's name. Default: the folder's for a file called grove.yaml, else the file's stem."""
    extends: Annotated[Texts | None, Unmade("files built on other files")] = None
    """Files this one builds on."""
    repository: Repository = Repository()
    """The repository the agents work on. Default: the one the grove file lies in, at HEAD."""
    environment: Annotated[dict[str, Any] | None, Unmade("the project's own environment")] = None
    """The project's toolchain: image, dockerfile, devcontainer or packages, and setup."""
    services: Annotated[dict[str, Any] | None, Unmade("services")] = None
    """Services that the agents share, such as a database."""
    endpoints: Annotated[dict[str, Any] | None, Unmade("ways out of the box")] = None
    """Named ways out of the agents' boxes."""
    secrets: Annotated[dict[str, Any] | None, Unmade("secrets")] = None
    """Named secrets and where their values come from."""
    volumes: Annotated[dict[str, Any] | None, Unmade("volumes")] = None
    """Volumes that the agents share."""
    templates: dict[TemplateName, AgentSettings] = {}
    """Settings that agents share."""
    agents: dict[AgentName, Agent]
    """The grove's long-lived agents, by name."""
    tasks: Annotated[dict[str, Any] | None, Unmade("tasks")] = None
    """A graph of tasks, each run by an ephemeral agent."""
    pools: Annotated[dict[str, Any] | None, Unmade("warm pools")] = None
    """How many warm boxes are kept ready, by template."""

    _source_map: SourceMap = PrivateAttr(default_factory=SourceMap)

    @property
    def source_map(self) -> SourceMap:
        """Where the fields are written; empty for a grove not read from a file."""
        return self._source_map

    def located(self, source_map: SourceMap) -> Self:
        """Return a copy of the grove that knows where its fields are written."""
        copy = self.model_copy()
        copy._source_map = source_map  # noqa: SLF001  a copy of our own class
        return copy


def yaml_name(model: type[BaseModel], attribute: str) -> str:
    """Return the YAML name of a model's attribute."""
    return model.model_fields[attribute].alias or attribute
