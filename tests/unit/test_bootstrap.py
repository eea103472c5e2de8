"""What the set-up scripts say before they do anything: with a Pulumi on PATH, with an old one, with none."""

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a machine with empty caches and without any environment's `pulumi`."""
    folders = [f for f in os.environ["PATH"].split(os.pathsep) if not (Path(f) / "pulumi").exists()]
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PULUMI_", "COPPICE_", "XDG_"))
    }
    return {
        **kept,
        "PATH": os.pathsep.join([str(tmp_path / "bin"), *folders]),
        "COPPICE_CACHE_DIR": str(tmp_path / "cache"),
        "COPPICE_STATE_DIR": str(tmp_path / "state"),
    }


def pulumi(folder: Path, version: str) -> None:
    folder.mkdir()
    for name, text in (("pulumi", f"echo v{version}"), ("pulumi-language-python", "exit 1")):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


def plan(root: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [root / "scripts" / "bootstrap", "--print-plan"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_pulumi_on_path_that_is_new_enough_is_used(
    root: Path, machine: dict[str, str], tmp_path: Path
) -> None:
    pulumi(tmp_path / "bin", "3.300.1")
    # Its Docker plug-in is not there, and may not be to be had: then one is built all the same.
    assert any(line.startswith("engine: pulumi 3.300.1 from PATH") for line in plan(root, machine))
    plugin = tmp_path / ".pulumi" / "plugins" / "resource-docker-v5.2.0" / "pulumi-resource-docker"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("")
    plugin.chmod(0o755)
    engines = [line for line in plan(root, {**machine, "HOME": str(tmp_path)}) if line.startswith("engine:")]
    assert engines == ["engine: pulumi 3.300.1 from PATH, nothing to install"]


@pytest.mark.parametrize("version", ["3.100.0", "4.0.0", "3.255.9", "nonsense"])
def test_one_that_is_too_old_or_too_new_is_not(
    root: Path, machine: dict[str, str], tmp_path: Path, version: str
) -> None:
    pulumi(tmp_path / "bin", version)
    engines = [line for line in plan(root, machine) if line.startswith("engine:")]
    assert len(engines) == 1
    assert "to be built" in engines[0]


def test_with_none_it_is_built_and_nothing_was_done_yet(
    root: Path, machine: dict[str, str], tmp_path: Path
) -> None:
    said = "\n".join(plan(root, machine))
    assert "to be built" in said
    assert "Go's module and build caches" in said
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("option", ["--nonsense", "-x"])
def test_up_refuses_unknown_options(root: Path, machine: dict[str, str], option: str) -> None:
    done = subprocess.run(
        [root / "scripts" / "up", option], env=machine, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--help" in done.stderr


def test_the_scripts_are_sound_bash(root: Path) -> None:
    for name in ("up", "test", "bootstrap", "daemon", "machine", "lock"):
        done = subprocess.run(
            ["bash", "-n", root / "scripts" / name], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
