"""Images: named by what they are built from, built when that changed, and what happens where they cannot be."""

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, BuildError, ImageNotFound

from coppice.components import images
from coppice.groves.errors import CoppiceError
from coppice.harnesses import layout

ROOT = Path(__file__).parents[2]


class Daemon:
    """A daemon that has images, and that a registry can be reached from or not."""

    def __init__(self, *, pulls: bool = False, broken: bool = False) -> None:
        self.images = self.api = self
        self.has: dict[str, str] = {}
        self.built: list[dict[str, Any]] = []
        self.pulled: list[str] = []
        self._pulls, self._broken = pulls, broken

    def get(self, tag: str) -> Any:
        if tag not in self.has:
            raise ImageNotFound(f"no {tag}")
        return type("Image", (), {"id": self.has[tag]})

    def pull(self, name: str) -> None:
        self.pulled.append(name)
        if not self._pulls:
            raise APIError("no route to host\nsecond line")

    def import_image_from_file(self, path: str, *, repository: str, tag: str) -> None:
        assert Path(path).is_file()
        self.has[f"{repository}:{tag}"] = "sha256:rootfs"

    def build(self, *, fileobj: io.BytesIO, tag: str, **options: Any) -> tuple[Any, list[Any]]:
        if self._broken:
            raise BuildError("step 2 failed", iter([]))
        with tarfile.open(fileobj=fileobj) as archive:
            files = {}
            for member in archive.getmembers():
                stream = archive.extractfile(member)
                assert stream is not None
                files[member.name] = stream.read()
        self.built.append({"tag": tag, "files": files, **options})
        self.has[tag] = f"sha256:{len(self.built)}"
        return self.get(tag), []


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("COPPICE_CACHE_DIR", str(folder))
    monkeypatch.delenv("COPPICE_BASE_IMAGE", raising=False)
    return folder


@pytest.fixture
def no_mmdebstrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def mmdebstrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program of that name that writes down its arguments and makes an archive of nothing."""
    log = tmp_path / "arguments"
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'for word; do printf "%s\\n" "$word"; done > "{log}"\n'
        'for word; do case "$word" in *.tar) : > "$word";; esac; done\n'
        'if [ -n "$FAKE_FAILURE" ]; then echo "E: $FAKE_FAILURE" >&2; exit 25; fi\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return log


def ensure(daemon: Daemon, told: list[str] | None = None) -> str:
    tell = (told if told is not None else []).append
    return images.ensure(daemon, images.BASE, images.source_digest(), tell)  # type: ignore[arg-type]


# -- what an image is named by


def test_the_digest_is_of_the_sources_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert images.source_digest() == images.source_digest()
    assert len(images.source_digest()) == 64
    assert images.source_digest(images.BASE) == images.source_digest()


def test_every_supervisor_file_is_in_it() -> None:
    folder = ROOT / "harnesses" / "supervisor"
    there = {path.name for path in folder.iterdir() if path.name != "__pycache__"}
    assert set(images._supervisor_files()) == there
    assert "__main__.py" in there


@pytest.mark.parametrize("change", ["content", "new file", "renamed", "gone"])
def test_a_changed_supervisor_is_another_image(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    before = images.source_digest()
    files = images._supervisor_files()
    match change:
        case "content":
            files["main.py"] += b"\n"
        case "new file":
            files["more.py"] = b""
        case "renamed":
            files["other.py"] = files.pop("main.py")
        case _:
            del files["main.py"]
    monkeypatch.setattr(images, "_supervisor_files", lambda: files)
    assert images.source_digest() != before


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (images, "_PACKAGES", ("git", "python3")),
        (images, "_SUITE", "trixie"),
        (images, "_UPSTREAM", "debian:trixie-slim"),
        (images, "_USER_SETUP", "true"),
        (images, "_DPKG_EXCLUDES", ()),
        (layout, "WORKSPACE", "/elsewhere"),
        (layout, "SUPERVISOR_DIR", "/opt/elsewhere"),
        (layout, "UID", 1001),
    ],
)
def test_a_changed_base_or_layout_is_another_image(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, value: object
) -> None:
    before = images.source_digest()
    assert getattr(module, name) != value
    monkeypatch.setattr(module, name, value)
    assert images.source_digest() != before


def test_an_image_of_the_user_s_own_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    before = images.source_digest()
    monkeypatch.setenv("COPPICE_BASE_IMAGE", "registry.example/debian:12")
    assert images.source_digest() != before
    monkeypatch.setenv("COPPICE_BASE_IMAGE", "")
    assert images.source_digest() == before


def test_an_image_that_is_not_ours() -> None:
    with pytest.raises(CoppiceError, match="builds no image coppice/other") as caught:
        images.source_digest("coppice/other")
    assert caught.value.hint == "it builds coppice/base"


# -- building


def test_an_image_that_is_there_is_not_built() -> None:
    daemon = Daemon()
    daemon.has[f"coppice/base:{images.source_digest()[:12]}"] = "sha256:there"
    assert ensure(daemon) == "sha256:there"
    assert (daemon.built, daemon.pulled) == ([], [])


def test_sources_that_changed_since_the_plan() -> None:
    with pytest.raises(CoppiceError, match="changed since this was planned") as caught:
        images.ensure(Daemon(), images.BASE, "0" * 64, print)  # type: ignore[arg-type]
    assert caught.value.hint == "run the command again"


@pytest.mark.usefixtures("no_mmdebstrap")
def test_with_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPPICE_BASE_IMAGE", "registry.example/debian:12")
    daemon, told = Daemon(pulls=True), list[str]()
    assert ensure(daemon, told) == "sha256:2"
    assert daemon.pulled == ["registry.example/debian:12"]
    rootfs, base = daemon.built
    assert rootfs["network_mode"] == "host"
    assert rootfs["files"]["Dockerfile"].startswith(b"FROM registry.example/debian:12\nUSER 0:0\n")
    assert list(rootfs["files"]) == ["Dockerfile"]
    # What has files of ours is built without a network.
    assert base["network_mode"] == "none"
    text = base["files"]["Dockerfile"].decode()
    assert text.startswith(f"FROM {rootfs['tag']}\n")
    assert "USER 1000:1000\n" in text
    assert set(base["files"]) == {
        "Dockerfile",
        *(f"supervisor/{name}" for name in images._supervisor_files()),
    }
    assert base["labels"] == {"coppice.dev/source": images.source_digest()}
    assert told[0] == "pulling registry.example/debian:12"
    assert ensure(daemon) == "sha256:2"
    assert len(daemon.built) == 2


@pytest.mark.usefixtures("no_mmdebstrap")
def test_an_image_that_the_daemon_has_is_not_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPPICE_BASE_IMAGE", "mine")
    daemon = Daemon()
    daemon.has["mine"] = "sha256:mine"
    assert ensure(daemon) == "sha256:2"
    assert daemon.pulled == []
    assert daemon.built[0]["files"]["Dockerfile"].startswith(b"FROM mine\n")


def test_without_a_registry(mmdebstrap: Path, cache: Path) -> None:
    daemon, told = Daemon(), list[str]()
    assert ensure(daemon, told) == "sha256:1"
    words = mmdebstrap.read_text().splitlines()
    assert words[:3] == ["--quiet", "--variant=minbase", "--include=ca-certificates,git,python3"]
    assert [word for word in words if word.startswith("--dpkgopt=path-exclude=")]
    (hook,) = [word for word in words if word.startswith("--customize-hook=")]
    assert hook.startswith('--customize-hook=chroot "$1" sh -c "groupadd --gid 1000 agent')
    suite = words.index("bookworm")
    assert words[suite + 1].endswith(".tar")
    assert words[suite + 2 :] == images._mirror_arguments()
    # One root file system is left, whole, and no half one; the next daemon takes that.
    (archive,) = (cache / "rootfs").iterdir()
    assert archive.name == f"{images._rootfs_digest()[:12]}.tar"
    mmdebstrap.unlink()
    ensure(Daemon())
    assert not mmdebstrap.exists()
    assert f"{images._UPSTREAM} cannot be pulled" in told


@pytest.mark.usefixtures("no_mmdebstrap")
def test_neither_a_registry_nor_mmdebstrap() -> None:
    with pytest.raises(
        CoppiceError, match="no base image can be pulled and mmdebstrap is not installed"
    ) as caught:
        ensure(Daemon())
    assert "apt-get install mmdebstrap" in str(caught.value.hint)
    assert "COPPICE_BASE_IMAGE" in str(caught.value.hint)


def test_mmdebstrap_fails(mmdebstrap: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAILURE", "no such suite")
    with pytest.raises(CoppiceError, match=r"mmdebstrap failed \(exit 25\): E: no such suite") as caught:
        ensure(Daemon())
    assert "apt-get update" in str(caught.value.hint)
    assert list((cache / "rootfs").iterdir()) == []


def test_a_build_that_fails() -> None:
    with pytest.raises(CoppiceError, match=r"building coppice/rootfs:\w+ failed: step 2 failed"):
        ensure(Daemon(pulls=True, broken=True))


def test_the_user_is_made_once_and_by_number() -> None:
    """The command runs in a shell on a root file system: what it is made of must not need quoting."""
    words = images._USER_SETUP.split()
    assert words[:4] == ["groupadd", "--gid", "1000", "agent"]
    done = subprocess.run(["sh", "-n", "-c", images._USER_SETUP], capture_output=True, check=False)
    assert done.returncode == 0


# -- package sources


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "machine"
    (folder / "etc" / "apt" / "sources.list.d").mkdir(parents=True)
    monkeypatch.setattr(images, "Path", lambda text: folder / text.lstrip("/"))
    return folder / "etc"


def _sources(machine: Path) -> list[str]:
    return [str(Path(path).relative_to(machine)) for path in images._mirror_arguments()]


def test_the_machine_s_own_sources_are_used(machine: Path) -> None:
    (machine / "os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    assert _sources(machine) == []
    (machine / "apt" / "sources.list").write_text("")
    assert _sources(machine) == []
    (machine / "apt" / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    assert _sources(machine) == ["apt/sources.list"]
    (machine / "apt" / "sources.list.d" / "debian.sources").write_text("Types: deb\n")
    assert _sources(machine) == ["apt/sources.list.d/debian.sources", "apt/sources.list"]


@pytest.mark.parametrize(
    "release", [None, "VERSION_CODENAME=noble\n", "VERSION_CODENAME=bookworm-like\n", ""]
)
def test_sources_of_another_suite_are_not(machine: Path, release: str | None) -> None:
    if release is not None:
        (machine / "os-release").write_text(release)
    (machine / "apt" / "sources.list").write_text("deb http://mirror.example/debian x main\n")
    assert _sources(machine) == []
