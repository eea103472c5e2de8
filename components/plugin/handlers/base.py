"""What a handler is: the life of one resource type, over plain data."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import docker

from coppice.components.runtimes.docker.daemon import connect

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """What a handler works with: the daemon, and a way to say what it is doing."""

    host: str
    tell: Callable[[str], None]

    def client(self) -> docker.DockerClient:
        """Connect to the daemon; the caller closes it.

        Raises:
            CoppiceError: it does not answer.
        """
        return connect(self.host)


class Handler(ABC):
    """The life of one resource type.

    `required` are its inputs; `outputs` what it adds to them; a change of an input in `replaces` makes a new
    resource, of one in `unwatched` nothing at all, of any other one an update.
    """

    token: ClassVar[str]
    required: ClassVar[frozenset[str]]
    outputs: ClassVar[frozenset[str]] = frozenset()
    replaces: ClassVar[frozenset[str]] = frozenset()
    unwatched: ClassVar[frozenset[str]] = frozenset()

    def changes(self, old: Values, new: Values) -> list[str]:
        """Return the names of the inputs whose change matters, sorted."""
        names = (old.keys() | new.keys()) - self.outputs - self.unwatched
        return sorted(name for name in names if old.get(name) != new.get(name))

    def moving(self, old: Values, new: Values) -> frozenset[str]:
        """Return the outputs that an update from `old` to `new` may change (shown as unknown at preview)."""
        del old, new
        return frozenset()

    @abstractmethod
    def create(self, context: Context, inputs: Values) -> tuple[str, Values]:
        """Make it; return its id and its outputs."""

    @abstractmethod
    def update(self, context: Context, resource_id: str, old: Values, new: Values) -> Values:
        """Change it in place; return its outputs."""

    @abstractmethod
    def read(self, context: Context, resource_id: str, state: Values) -> Values | None:
        """Return its outputs as they are now, or None when it is gone."""

    @abstractmethod
    def delete(self, context: Context, resource_id: str, state: Values) -> None:
        """Remove it; one that is gone already is no error."""
