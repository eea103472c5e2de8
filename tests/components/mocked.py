"""A program run against a mocked engine, fresh each time, that keeps all that the program registered."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi.runtime
from pulumi.runtime import rpc, settings
from pulumi.runtime.mocks import MockEngine, MockMonitor, MockResourceArgs, Mocks, MockSettings
from pulumi.runtime.stack import run_in_stack

PROJECT, STACK = "coppice", "hello"
DIGEST = "sha256:" + "1" * 64
CONTAINER = "docker:index/container:Container"
VOLUME = "docker:index/volume:Volume"
ROOT = "pulumi:pulumi:Stack"


def _outputs(args: MockResourceArgs) -> dict[str, Any]:
    """Return what the plug-ins would add to a resource's inputs."""
    match args.typ:
        case "docker:index/volume:Volume":
            return {"name": f"{args.name}-1234567", "mountpoint": f"/volumes/{args.name}"}
        case "docker:index/container:Container":
            return {"name": f"{args.name}-1234567"}
        case "coppice:docker:Image":
            return {"digest": DIGEST}
        case "coppice:docker:Workspace":
            return {"commit": args.inputs["base"]}
        case "coppice:docker:Power":
            return {"got": "running", "finished": "", "ended": ""}
        case _:
            return {}


class _Mocks(Mocks):
    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return f"{args.name}-id", {**args.inputs, **_outputs(args)}

    def call(self, args: Any) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"the program calls {args.token}: an answer that no preview can be sure of")


@dataclass
class Registered:
    """One resource as the program registered it."""

    token: str
    name: str
    urn: str
    request: Any
    inputs: dict[str, Any]

    @property
    def provider(self) -> str:
        """The name of its provider, "" for none."""
        return self.request.provider.rpartition("::")[0].rpartition("::")[2]

    @property
    def parent(self) -> str:
        return str(self.request.parent.rpartition("::")[2])

    @property
    def parent_token(self) -> str:
        return str(self.request.parent.split("::")[2].rpartition("$")[2]) if self.request.parent else ""


@dataclass
class Graph:
    """What a run registered, and the outputs of its components by URN."""

    resources: list[Registered] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def of(self, token: str) -> list[Registered]:
        return sorted((r for r in self.resources if r.token == token), key=lambda r: r.name)

    def one(self, token: str, name: str) -> Registered:
        (found,) = [r for r in self.of(token) if r.name == name]
        return found

    def children(self, urn: str) -> list[Registered]:
        return [r for r in self.resources if r.request.parent == urn]

    @property
    def stack_outputs(self) -> dict[str, Any]:
        (root,) = self.of(ROOT)
        return self.outputs[root.urn]


class _Monitor(MockMonitor):
    def __init__(self, graph: Graph) -> None:
        super().__init__(_Mocks())
        self._graph = graph

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (gRPC's name)
        response = super().RegisterResource(request)
        inputs = rpc.deserialize_properties(request.object)
        self._graph.resources.append(Registered(request.type, request.name, response.urn, request, inputs))
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 (gRPC's name)
        self._graph.outputs[request.urn] = rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)


class _Warnings(logging.Handler):
    def __init__(self, graph: Graph) -> None:
        super().__init__(logging.WARNING)
        self._graph = graph

    def emit(self, record: logging.LogRecord) -> None:
        self._graph.warnings.append(record.getMessage())


@contextlib.contextmanager
def _configured(config: Mapping[str, str]) -> Iterator[None]:
    pulumi.runtime.set_all_config(dict(config))
    try:
        yield
    finally:
        pulumi.runtime.set_all_config({})


def run(
    program: Callable[[], object],
    *,
    preview: bool = False,
    stack: str = STACK,
    root: Path | None = None,
    config: Mapping[str, str] | None = None,
    graph: Graph | None = None,
) -> Graph:
    """Run a program as the language host does.

    Args:
        program: what the project's program does.
        preview: whether it is run for a preview.
        stack: the stack's name.
        root: the project's folder.
        config: the stack's configuration, with full keys ("coppice:grove").
        graph: filled in, for a caller that expects the program to fail; by default a new one.
    """
    graph = Graph() if graph is None else graph
    logger = logging.Logger("mocked")  # noqa: LOG001 (one a run, with a handler of its own)
    logger.addHandler(_Warnings(graph))

    def inside() -> None:
        settings.reset_options()
        settings.configure(
            MockSettings(
                monitor=_Monitor(graph),
                engine=MockEngine(logger),
                project=PROJECT,
                stack=stack,
                dry_run=preview,
                organization="organization",
                root_directory=str(root or Path.cwd()),
            )
        )

        async def main() -> None:
            await run_in_stack(lambda: program() and None)  # type: ignore[func-returns-value]

        with _configured(config or {}):
            asyncio.run(main())

    contextvars.copy_context().run(inside)
    return graph
