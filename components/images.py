"""Build the images of boxes, with no registry to read from.

`coppice/base` is a Debian root file system (pulled where an image can be had, else made by mmdebstrap from the
machine's own package sources) with one layer of ours: the supervisor. Images are named by the digest of what
they are built from, so a build happens only when an input changed.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
from docker.errors import APIError, BuildError, ImageNotFound

from coppice.components.places import cache_dir
from coppice.groves.errors import CoppiceError
from coppice.harnesses import layout

BASE = "coppice/base"
_ROOTFS = "coppice/rootfs"
_SOURCE_LABEL = "coppice.dev/source"
_SUITE = "bookworm"
_PACKAGES = ("ca-certificates", "git", "python3")
_UPSTREAM = "debian:bookworm-slim"
_USER_SETUP = (
    f"groupadd --gid {layout.GID} agent && useradd --uid {layout.UID} --gid {layout.GID}"
    f" --home-dir {layout.HOME} --shell /bin/bash --no-create-home agent"
    f" && mkdir -p {layout.HOME} {layout.WORKSPACE} {layout.RUN_DIR} {layout.MIRROR}"
    f" && chown {layout.UID}:{layout.GID} {layout.HOME} {layout.WORKSPACE}"
)
# Documentation and translations are half of a Debian root file system, and no agent reads them.
_DPKG_EXCLUDES = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)

Tell = Callable[[str], None]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _upstream() -> str:
    return os.environ.get("COPPICE_BASE_IMAGE") or _UPSTREAM


def _rootfs_digest() -> str:
    return _digest("rootfs 1", _SUITE, *_PACKAGES, _upstream(), _USER_SETUP, *_DPKG_EXCLUDES)


def _supervisor_files() -> dict[str, bytes]:
    from importlib.resources import files  # noqa: PLC0415 (keeps the CLI's start short)

    folder = files("coppice.harnesses") / "supervisor"
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".py")}


def _dockerfile() -> str:
    return "\n".join(
        (
            f"FROM {_ROOTFS}:{_rootfs_digest()[:12]}",
            f"COPY supervisor {layout.SUPERVISOR_DIR}",
            f"WORKDIR {layout.WORKSPACE}",
            f"USER {layout.UID}:{layout.GID}",
            f'CMD ["python3", "-I", "{layout.SUPERVISOR_DIR}"]',
            "",
        )
    )


def source_digest(name: str = BASE) -> str:
    """Return the digest of everything image `name` is built from: what `pulumi up` compares.

    Raises:
        CoppiceError: it is no image of ours.
    """
    if name != BASE:
        raise CoppiceError(f"Coppice builds no image {name}", hint=f"it builds {BASE}")
    files = _supervisor_files()
    contents = [f"{path} {hashlib.sha256(content).hexdigest()}" for path, content in sorted(files.items())]
    return _digest(_dockerfile(), *contents)


def ensure(client: docker.DockerClient, name: str, source: str, tell: Tell) -> str:
    """Return the id (sha256:…) of image `name`, building it and what it stands on when it is missing.

    Args:
        client: the daemon that shall have it.
        name: `coppice/base`.
        source: the digest that the caller planned with.
        tell: called with a line for people at each step.

    Raises:
        CoppiceError: a build failed, or the sources changed since the plan was made.
    """
    if source != source_digest(name):
        raise CoppiceError(
            f"the sources of image {name} changed since this was planned", hint="run the command again"
        )
    tag = f"{name}:{source[:12]}"
    with contextlib.suppress(ImageNotFound):
        return str(client.images.get(tag).id)
    with _lock():
        with contextlib.suppress(ImageNotFound):
            return str(client.images.get(tag).id)
        _ensure_rootfs(client, tell)
        tell(f"building image {tag}")
        return _build(client, tag, source, _dockerfile(), _supervisor_files())


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Let one process on this machine build at a time: two would do the same work twice."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "images.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(
    client: docker.DockerClient, tag: str, source: str, dockerfile: str, files: dict[str, bytes]
) -> str:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        entries = {"Dockerfile": dockerfile.encode(), **{f"supervisor/{k}": v for k, v in files.items()}}
        for path, content in entries.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    context.seek(0)
    try:
        image, _log = client.images.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            labels={_SOURCE_LABEL: source},
            network_mode="none" if files else "host",  # what has files of ours installs nothing
        )
    except (BuildError, APIError) as error:
        raise CoppiceError(f"building {tag} failed: {error}") from error
    return str(image.id)


def _ensure_rootfs(client: docker.DockerClient, tell: Tell) -> None:
    tag = f"{_ROOTFS}:{_rootfs_digest()[:12]}"
    with contextlib.suppress(ImageNotFound):
        client.images.get(tag)
        return
    archive = cache_dir() / "rootfs" / f"{_rootfs_digest()[:12]}.tar"
    if not archive.exists():
        pulled = _from_upstream(client, tag, tell)
        if pulled:
            return
        _mmdebstrap(archive, tell)
    tell(f"importing the root file system ({archive.stat().st_size >> 20} MiB)")
    client.api.import_image_from_file(str(archive), repository=_ROOTFS, tag=tag.split(":")[1])
    client.images.get(tag)


def _from_upstream(client: docker.DockerClient, tag: str, tell: Tell) -> bool:
    """Build the root file system on a Debian image that is there or can be pulled; False where it is neither."""
    upstream = _upstream()
    try:
        client.images.get(upstream)
    except ImageNotFound:
        tell(f"pulling {upstream}")
        try:
            client.images.pull(upstream)
        except APIError:
            # Whatever the reason, there is another way, and the user need not care.
            tell(f"{upstream} cannot be pulled")
            return False
    tell(f"installing {', '.join(_PACKAGES)} on {upstream}")
    install = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(_PACKAGES)}"
    # Debian's python3 alone tells whether the packages are there already, in an image of the user's own.
    check = f"dpkg -s {' '.join(_PACKAGES)} >/dev/null 2>&1"
    lines = (
        f"FROM {upstream}",
        "USER 0:0",
        f"RUN {{ {check} || {{ {install} && rm -rf /var/lib/apt/lists/*; }}; }} && {_USER_SETUP}",
    )
    _build(client, tag, _rootfs_digest(), "\n".join(lines), {})
    return True


def _mirror_arguments() -> list[str]:
    """Return the machine's own Debian package sources when they are of our suite, else mmdebstrap's default."""
    release = Path("/etc/os-release")
    own = release.is_file() and f"VERSION_CODENAME={_SUITE}" in release.read_text().splitlines()
    sources = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
    return [str(path) for path in sources if own and path.is_file() and path.stat().st_size]


def _mmdebstrap(target: Path, tell: Tell) -> None:
    if shutil.which("mmdebstrap") is None:
        raise CoppiceError(
            "no base image can be pulled and mmdebstrap is not installed",
            hint="on Debian or Ubuntu: apt-get install mmdebstrap; elsewhere let the Docker daemon reach a registry,"
            " or name an image it has in COPPICE_BASE_IMAGE",
        )
    tell(f"making a Debian root file system (mmdebstrap {_SUITE}, about 40 s)")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial.tar")
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(_PACKAGES)}",
        *(f"--dpkgopt={option}" for option in _DPKG_EXCLUDES),
        f'--customize-hook=chroot "$1" sh -c {json.dumps(_USER_SETUP)}',
        _SUITE,
        str(partial),
        *_mirror_arguments(),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            tail = " ".join(done.stderr.strip().splitlines()[-5:])
            raise CoppiceError(
                f"mmdebstrap failed (exit {done.returncode}): {tail}",
                hint="check that this machine's package sources work: `apt-get update`",
            )
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
