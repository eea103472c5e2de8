"""The wheel, installed in an environment of its own, runs a user's repository without this checkout."""

import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.real import BIN, ROOT, Daemon, Tools

pytestmark = pytest.mark.slow


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Build the wheel and install it beside the locked dependencies; return the environment's bin folder."""
    wheels = tmp_path / "wheels"
    subprocess.run(
        [BIN / "python", "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    (wheel,) = wheels.glob("coppice-*.whl")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True
    )
    # The dependencies are those of the tests' environment; .pth files in there, which would bring the checkout,
    # are not followed from a path that a .pth file names.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    target = folder / "lib" / version / "site-packages" / "dependencies.pth"
    target.write_text("\n".join(site.getsitepackages()) + "\n")
    for name in ("pulumi", "pulumi-language-python", "pulumi-language-python-exec"):
        if (BIN / name).exists():
            (folder / "bin" / name).symlink_to((BIN / name).resolve())
    return folder / "bin"


def test_the_wheel_runs_a_repository_of_a_user(installed: Path, shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    path = os.pathsep.join([str(installed), *shop.environment["PATH"].split(os.pathsep)[1:]])
    user = Tools(
        shop.project,
        {**shop.environment, "PATH": path},
        {"coppice": str(installed / "coppice"), "pulumi": str(installed / "pulumi")},
    )
    where = user.run(str(installed / "python"), "-c", "import coppice.groves; print(coppice.groves.__file__)")
    assert where.stdout.startswith(str(installed.parent))
    user.coppice("init")
    user.commit()
    assert user.json("up")["agents"]["scribe"]["phase"] == "done"
    user.pulumi("preview", "--stack", "shop", "--expect-no-changes")
    user.coppice("destroy", "--yes")
    user.pulumi("stack", "init", "shop")
    user.pulumi("up", "--yes", "--skip-preview", "--stack", "shop")
    assert user.json("preview")["changes"].keys() == {"same"}
    user.coppice("destroy", "--yes")
    assert daemon.everything() == before
