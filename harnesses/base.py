"""What a harness is: from an agent's plan to what runs in its box."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

from coppice.groves.access import HarnessNeeds
from coppice.groves.plan import AgentPlan
from coppice.harnesses import layout

LAUNCH_VERSION = 1
BASE_IMAGE = "coppice/base"


@dataclass(frozen=True, kw_only=True)
class LaunchSpec:
    """What to run in a box, and how to read its outcome.

    Attributes:
        image: Name of the image, without a tag.
        argv: The program and its arguments; the working directory is the workspace.
        env: Variables, beside those that the supervisor sets.
        files: Texts by path relative to `layout.FILES_DIR`, mounted read-only.
        outcome: How success is told: by the exit code of the program.
        home: Whether HOME is kept ("volume") or new in every box ("tmpfs").

    Raises:
        ValueError: `argv` is empty, or a path in `files` is not a plain relative one.
    """

    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    outcome: Literal["exitCode"] = "exitCode"
    home: Literal["tmpfs", "volume"] = "tmpfs"

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError("argv: must name a program")
        for path in self.files:
            parts = PurePosixPath(path).parts
            if not parts or ".." in parts or path.startswith("/") or "/".join(parts) != path or "\0" in path:
                raise ValueError(f"files: {path!r} must be a plain path below {layout.FILES_DIR}")
        object.__setattr__(self, "env", MappingProxyType(dict(self.env)))
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))


@runtime_checkable
class Harness(Protocol):
    """Adapter of one agent CLI. A module `harnesses/<name>.py` holds one as `HARNESS`."""

    @property
    def name(self) -> str:
        """The key in a grove file."""

    def needs(self) -> HarnessNeeds:
        """The hosts and credentials that the harness itself needs."""

    def launch(self, agent: AgentPlan) -> LaunchSpec:
        """What to run for `agent`.

        Raises:
            CoppiceError: the plan asks for something that this harness cannot do.
        """


def run_key(agent: AgentPlan, spec: LaunchSpec) -> str:
    """Identity of a run, as SHA-256 in hex: an agent that is done stays done until this changes.

    Limits, resources and image are left out: changing them does not make finished work unfinished.
    """
    parts = {
        "harness": agent.harness,
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "files": dict(spec.files),
        "prompt": agent.prompt,
        "expect": agent.expect,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def launch_document(agent: AgentPlan, spec: LaunchSpec, base: str, run: str) -> dict[str, Any]:
    """launch.json, the supervisor's orders.

    Args:
        agent: The plan of the agent.
        spec: What its harness makes of it.
        base: The commit that its branch starts from, 40 hexadecimal digits.
        run: Identity of the run: `run_key`, or another one for a rerun.
    """
    return {
        "version": LAUNCH_VERSION,
        "grove": agent.grove,
        "agent": agent.name,
        "run": run,
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "workdir": layout.WORKSPACE,
        "branch": agent.branch,
        "base": base,
        "duration": agent.duration,
        "expect": agent.expect,
        "outcome": spec.outcome,
        "home": spec.home,
    }


def collection_document(grove: str, agent: str, branch: str, base: str) -> dict[str, Any]:
    """launch.json of a box that runs nothing: its supervisor only brings out what is in the workspace."""
    return {
        "version": LAUNCH_VERSION,
        "grove": grove,
        "agent": agent,
        "run": "collect",
        "argv": ["true"],
        "env": {},
        "workdir": layout.WORKSPACE,
        "branch": branch,
        "base": base,
        "duration": 60,
        "expect": "none",
        "outcome": "exitCode",
        "home": "tmpfs",
    }
