"""The pack as the engine runs it, against a program that declares bad containers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coppice.stacks import settings

pytestmark = pytest.mark.slow

PROJECT = f"""\
name: pack
runtime:
  name: python
  options:
    toolchain: pip
    virtualenv: {Path(sys.prefix)}
"""

# No daemon is asked at preview, and there is none at this address.
HEAD = """\
import pulumi
import pulumi_docker as docker

provider = docker.Provider("docker", host="unix:///nowhere.sock", disable_docker_daemon_check=True)
options = pulumi.ResourceOptions(provider=provider)
volume = docker.Volume("volume", opts=options)


def box(name, **more):
    good = dict(
        image="x",
        user="1000:1000",
        read_only=True,
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
        security_opts=["no-new-privileges:true"],
        memory=64,
        memory_swap=64,
        cpu_quota=1000,
        network_mode="none",
        # Not known at preview, and no reason to refuse the box.
        mounts=[docker.ContainerMountArgs(type="volume", source=volume.name, target="/w")],
    )
    docker.Container(name, opts=options, **{**good, **more})


"""


class Project:
    def __init__(self, folder: Path, pack: Path) -> None:
        used = settings.engine()
        self.folder = folder / "project"
        self.folder.mkdir()
        (folder / "state").mkdir()
        (self.folder / "Pulumi.yaml").write_text(PROJECT)
        self._pulumi, self._pack = used.pulumi, pack
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
        self._environment = {
            **kept,
            "PATH": settings.search_path(),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "tests",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        source = ["--file", str(used.docker_plugin)] if used.ours else []
        installed = self.run("plugin", "install", "resource", "docker", "5.2.0", *source)
        assert installed.returncode == 0, installed.stderr
        made = self.run("stack", "init", "test")
        assert made.returncode == 0, made.stderr

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._pulumi), *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def preview(self, program: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "__main__.py").write_text(HEAD + program)
        return self.run("preview", "--stack", "test", "--policy-pack", str(self._pack))


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Project:
    return Project(tmp_path, root / "policies")


def test_the_pack_refuses_at_preview(project: Project) -> None:
    good = project.preview('box("good")\n')
    assert good.returncode == 0, good.stdout + good.stderr
    assert "coppice@v0.1.0" in good.stdout
    assert "box-" not in good.stdout

    socket = 'docker.ContainerMountArgs(type="bind", source="/var/run/docker.sock", target="/s")'
    bad = project.preview(f'box("bad", privileged=True, mounts=[{socket}])\n')
    assert bad.returncode != 0
    assert "[mandatory]  box-hardened" in bad.stdout
    assert "privileged: a privileged box is the host" in bad.stdout
    assert "[mandatory]  box-mounts" in bad.stdout
    assert "mounts[0]: must be a volume or a tmpfs" in bad.stdout
    # Values may be secrets.
    assert "docker.sock" not in bad.stdout

    # What is not known yet is refused, and not passed on as advice.
    unknown = project.preview('box("unknown", user=volume.mountpoint)\n')
    assert unknown.returncode != 0
    assert "[mandatory]  box-hardened" in unknown.stdout
    assert "user: not known before `up`" in unknown.stdout
    assert "advisory" not in unknown.stdout
