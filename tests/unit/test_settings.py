import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from coppice.components import places
from coppice.components.runtimes.docker import daemon
from coppice.groves.errors import CoppiceError
from coppice.stacks import settings, setup


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("PULUMI_", "COPPICE_", "XDG_", "DOCKER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_folders_follow_xdg_and_our_own_variables(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.state_dir() == machine / ".local/state/coppice"
    assert places.cache_dir() == machine / ".cache/coppice"
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert places.state_dir() == machine / ".local/state/coppice"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert places.cache_dir() == Path("/elsewhere/coppice")
    monkeypatch.setenv("COPPICE_STATE_DIR", "/own")
    assert places.state_dir() == Path("/own")


def engine_in(folder: Path, *, ours: bool) -> settings.Engine:
    folder.mkdir()
    (folder / "pulumi").write_text("#!/bin/sh\n")
    return settings.Engine(folder / "pulumi", ours=ours)


def test_what_the_user_has_set_wins(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = engine_in(machine / "bin", ours=True)
    made = settings.environment(used)
    assert made["PULUMI_BACKEND_URL"] == f"file://{machine}/.local/state/coppice/pulumi"
    assert made["PULUMI_CONFIG_PASSPHRASE_FILE"].endswith("/coppice/passphrase")
    assert made["PULUMI_HOME"].endswith("/coppice/pulumi-home")
    for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_HOME"):
        monkeypatch.setenv(name, "mine")
    assert settings.environment(used) == {"PULUMI_SKIP_UPDATE_CHECK": "true"}


def test_an_engine_of_the_users_own_keeps_its_own_home(machine: Path) -> None:
    assert "PULUMI_HOME" not in settings.environment(engine_in(machine / "bin", ours=False))


def test_no_engine_names_the_remedy(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "search_path", lambda: str(machine))
    with pytest.raises(CoppiceError) as caught:
        settings.engine()
    assert "scripts/bootstrap" in str(caught.value.hint)


def test_the_passphrase_is_made_once_and_private(machine: Path) -> None:
    setup._make_passphrase()
    path = settings.passphrase_file()
    first = path.read_text()
    assert len(first) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    setup._make_passphrase()
    assert path.read_text() == first
    assert [entry.name for entry in path.parent.iterdir() if entry.is_file()] == ["passphrase"]


@pytest.mark.parametrize("odd", ["plain", "with space", "quote'd", 'double"d', "dollar$HOME", "back`tick`"])
def test_activation_gives_a_shell_the_same_settings(
    odd: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPPICE_STATE_DIR", str(machine / odd))
    used = engine_in(machine / "bin", ours=True)
    script = machine / "activate"
    script.write_text(setup.activation(used))
    bash = shutil.which("bash") or "bash"
    for shell in ([bash, "-eu"], [shutil.which("sh") or "sh", "-eu"]):
        printed = subprocess.run(
            [*shell, "-c", f". '{script}'; env"], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
        ).stdout  # fmt: skip
        seen = dict(line.split("=", 1) for line in printed.splitlines() if line.startswith("PULUMI_"))
        assert seen == settings.environment(used)
    kept = subprocess.run(
        [bash, "-eu", "-c", f". '{script}'; env"], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "PULUMI_BACKEND_URL": "mine", "PULUMI_CONFIG_PASSPHRASE": ""},
    ).stdout  # fmt: skip
    assert "PULUMI_BACKEND_URL=mine" in kept
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in kept


def test_no_daemon_names_every_place_and_the_remedy(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = machine / "dead.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(dead))
    places_looked = [(machine / "none.sock", "nowhere"), (dead, "a socket that nobody listens on")]
    monkeypatch.setattr(daemon, "candidates", lambda: places_looked)
    with pytest.raises(CoppiceError) as caught:
        daemon.find()
    assert f"{machine}/none.sock (no socket)" in str(caught.value)
    assert f"{dead} (no answer)" in str(caught.value)
    assert "scripts/daemon start" in str(caught.value.hint)


def test_a_named_daemon_is_the_only_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.setattr(daemon, "candidates", lambda: pytest.fail("looked elsewhere"))
    with pytest.raises(CoppiceError, match="does not answer"):
        daemon.find()
