"""Fixtures of the end-to-end tests: a Docker daemon of their own, a clone of this repository, a user's repository."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.real import BIN, ROOT, Daemon, Tools, clean_environment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what shares the daemon to one worker, and put what is slow last."""
    for item in items:
        if "daemon" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.daemon)
            item.add_marker(pytest.mark.xdist_group("daemon"))
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """Start a daemon with scripts/daemon in a temporary place (short, for its socket) and stop it at the end."""
    state = Path(tempfile.mkdtemp(prefix="coppice-e2e-", dir="/tmp"))
    environment = {**clean_environment(), "COPPICE_STATE_DIR": str(state)}
    script = ROOT / "scripts" / "daemon"
    try:
        subprocess.run([script, "start"], env=environment, check=True, timeout=120)
        host = f"unix://{state}/docker/docker.sock"
        with contextlib.closing(docker.DockerClient(base_url=host, timeout=120)) as client:
            yield Daemon(host, state, client)
    finally:
        subprocess.run([script, "stop"], env=environment, check=True, timeout=120)
        shutil.rmtree(state)


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a PULUMI_HOME for all tests of a worker, with the plug-ins in it: they are 90 MB."""
    home, state = tmp_path_factory.mktemp("pulumi-home"), tmp_path_factory.mktemp("prepared")
    environment = {**clean_environment(), "PULUMI_HOME": str(home), "COPPICE_STATE_DIR": str(state)}
    code = "from coppice.stacks.setup import prepare; prepare()"
    subprocess.run([BIN / "python", "-c", code], env=environment, check=True, timeout=120)
    return home


@pytest.fixture
def environment(daemon: Daemon, tmp_path: Path, shared_home: Path) -> dict[str, str]:
    """Return the environment of a user with an activated .venv, whose daemon is the tests'."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Tester\n\temail = tester@example.invalid\n")
    made = clean_environment()
    backend = tmp_path / "state" / "pulumi"
    backend.mkdir(parents=True)
    (tmp_path / "state" / "passphrase").write_text("for tests only")
    return {
        **made,
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "PATH": os.pathsep.join([str(BIN), made["PATH"]]),
        "DOCKER_HOST": daemon.host,
        "COPPICE_STATE_DIR": str(tmp_path / "state"),
        "PULUMI_HOME": str(shared_home),
        "PULUMI_BACKEND_URL": f"file://{backend}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(tmp_path / "state" / "passphrase"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "COLUMNS": "160",
        **(
            {"COPPICE_CACHE_DIR": os.environ["COPPICE_CACHE_DIR"]}
            if "COPPICE_CACHE_DIR" in os.environ
            else {}
        ),
    }


def _clean_up(daemon: Daemon, before: dict[str, list[str]]) -> None:
    """Remove what a test left on the daemon; whether it should have left it is that test's to check."""
    now = daemon.everything()
    for identifier in set(now["containers"]) - set(before["containers"]):
        daemon.client.containers.get(identifier).remove(force=True, v=True)
    for identifier in set(now["volumes"]) - set(before["volumes"]):
        daemon.client.volumes.get(identifier).remove(force=True)


@pytest.fixture
def clone(daemon: Daemon, environment: dict[str, str], tmp_path: Path) -> Iterator[Tools]:
    """Return a fresh clone of this very repository, with the same Python environment."""
    before = daemon.everything()
    project = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
    (project / ".venv").symlink_to(BIN.parent)
    tools = Tools(project, environment)
    yield tools
    _clean_up(daemon, before)


@pytest.fixture
def shop(daemon: Daemon, environment: dict[str, str], tmp_path: Path) -> Iterator[Tools]:
    """Return a user's own repository, which has folders of the names that Coppice uses for its own."""
    before = daemon.everything()
    project = tmp_path / "shop"
    tools = Tools(project, environment)
    project.mkdir()
    tools.git("init", "--quiet", "--initial-branch=main")
    for name in ("components", "policies", "groves", "stacks", "harnesses"):
        tools.write(f"{name}/__init__.py", "raise SystemExit('a package of the user was imported')\n")
    tools.write("README.md", "# Shop\n")
    tools.commit("start")
    yield tools
    _clean_up(daemon, before)
