"""`./scripts/up` in a fresh clone with empty caches: everything is made, the second run changes nothing."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.real import ROOT, clean_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("daemon")]


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Return a fresh clone and the environment of a newcomer: no state, no cache, no daemon, no .venv."""
    if os.geteuid() != 0:
        pytest.fail("this test starts a Docker daemon: run it as root")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    state = Path(tempfile.mkdtemp(prefix="coppice-up-", dir="/tmp"))
    environment = {
        **clean_environment(),
        "COPPICE_STATE_DIR": str(state),
        "COPPICE_CACHE_DIR": str(tmp_path / "cache"),
        # A daemon that this machine may have is not the newcomer's.
        "DOCKER_HOST": "",
    }
    # The test's own .venv must not be found on PATH: a newcomer has none.
    folders = environment["PATH"].split(os.pathsep)
    own = str(ROOT / ".venv")
    environment["PATH"] = os.pathsep.join(folder for folder in folders if not folder.startswith(own))
    environment.pop("VIRTUAL_ENV", None)
    try:
        yield clone, environment
    finally:
        subprocess.run([clone / "scripts" / "daemon", "stop"], env=environment, check=True)
        shutil.rmtree(state)


def _run(clone: Path, environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        words,
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.skipif(
    Path("/var/run/docker.sock").exists(), reason="this machine has a daemon that would be used"
)
def test_one_command_from_a_bare_clone_to_branches(bare: tuple[Path, dict[str, str]]) -> None:
    clone, environment = bare
    first = _run(clone, environment, "scripts/up", "--yes")
    for said in (
        "Coppice will use, and install where it is missing:",
        "To undo all of it:",
        "census: network none, secrets none, spend 0",
        "census done, inventory done",
        "agents/census",
        "agents/inventory",
        "scripts/daemon stop",
        ".venv/bin/coppice diff census",
        ".venv/bin/coppice shell census",
        ".venv/bin/coppice init YOUR-REPOSITORY",
    ):
        assert said in first
    for branch, path in (("agents/census", "TESTS.md"), ("agents/inventory", "INVENTORY.md")):
        assert path in _run(clone, environment, "git", "show", "--stat", branch)
    assert _run(clone, environment, "git", "status", "--porcelain") == ""
    # The commands that it tells are ones that work.
    assert "+# Tests" in _run(clone, environment, ".venv/bin/coppice", "diff", "census", "-g", "hello")

    host = f"unix://{environment['COPPICE_STATE_DIR']}/docker/docker.sock"
    client = docker.DockerClient(base_url=host)
    boxes = {container.id for container in client.containers.list(all=True)}
    again = _run(clone, environment, "scripts/up", "--yes")
    assert "no changes; census done, inventory done" in again
    assert {container.id for container in client.containers.list(all=True)} == boxes
    assert len(boxes) == 2

    _run(clone, environment, ".venv/bin/coppice", "destroy", "hello", "--yes")
    assert client.containers.list(all=True) == []
    assert client.volumes.list() == []
    client.close()
