"""Real parts for tests: a daemon of the tests' own, and `coppice`, `pulumi` and git run as a user runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
# What a shell of a user of this machine has set must not reach the tests.
_FOREIGN = ("PULUMI_", "COPPICE_", "DOCKER_", "GIT_", "XDG_")


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what steers Coppice, Pulumi, Docker or git."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    # Certificates are the machine's own business.
    kept |= {name: value for name, value in os.environ.items() if name == "GIT_SSL_CAINFO"}
    return kept


@dataclass
class Daemon:
    """A Docker daemon of the tests' own."""

    host: str
    state: Path
    client: docker.DockerClient

    def everything(self) -> dict[str, list[str]]:
        """Return the ids of all containers, volumes and networks."""
        return {
            "containers": sorted(str(c.id) for c in self.client.containers.list(all=True)),
            "volumes": sorted(str(v.id) for v in self.client.volumes.list()),
            "networks": sorted(str(n.id) for n in self.client.networks.list()),
        }


@dataclass
class Tools:
    """Run `coppice`, `pulumi`, `git` in a project, with a state of the test's own."""

    project: Path
    environment: dict[str, str]
    commands: dict[str, str] = field(default_factory=lambda: {n: str(BIN / n) for n in ("coppice", "pulumi")})

    def run(self, *words: str, check: bool = True, timeout: int = 240) -> "subprocess.CompletedProcess[str]":
        command = [self.commands.get(words[0], words[0]), *words[1:]]
        done = subprocess.run(
            command, cwd=self.project, env=self.environment, capture_output=True, text=True, timeout=timeout,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode != 0:
            pytest.fail(f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def coppice(
        self, *words: str, check: bool = True, timeout: int = 240
    ) -> "subprocess.CompletedProcess[str]":
        return self.run("coppice", *words, check=check, timeout=timeout)

    def json(self, *words: str) -> Any:
        return json.loads(self.coppice(*words, "--json").stdout)

    def pulumi(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.run("pulumi", *words, "--non-interactive", check=check)

    def git(self, *words: str, check: bool = True) -> str:
        return self.run("git", *words, check=check).stdout.strip()

    def write(self, path: str, text: str) -> None:
        target = self.project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


def grove(agents: dict[str, str], *, name: str = "shop", more: Sequence[str] = ()) -> str:
    """Return a grove file whose agents run bash scripts, one line each in `more` added to every agent."""
    lines = ["apiVersion: coppice.dev/v1", f"name: {name}", "agents:"]
    for agent, script in agents.items():
        lines += [f"  {agent}:", "    harness: shell", *(f"    {line}" for line in more), "    prompt: |"]
        lines += [f"      {line}" for line in script.strip().splitlines()]
    return "\n".join(lines) + "\n"
