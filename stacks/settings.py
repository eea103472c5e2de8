"""How the engine is run: which `pulumi`, which state backend, which passphrase.

`coppice` and a plain `pulumi` in an activated shell use the same settings, and so the same state. Whatever the
user has set in the environment wins.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from coppice.components.places import state_dir
from coppice.groves.errors import CoppiceError

_DOCKER_PLUGIN = "pulumi-resource-docker"


def passphrase_file() -> Path:
    """Return the file with the passphrase that encrypts stack secrets (mode 0600, made once)."""
    return state_dir() / "passphrase"


def backend_dir() -> Path:
    """Return the folder of the default state backend."""
    return state_dir() / "pulumi"


@dataclass(frozen=True)
class Engine:
    """The `pulumi` that is used: its path, and whether it is the one that scripts/bootstrap built."""

    pulumi: Path
    ours: bool

    @property
    def docker_plugin(self) -> Path:
        """Return the Docker plug-in that was built beside an engine of ours."""
        return self.pulumi.resolve().parent / _DOCKER_PLUGIN


def search_path() -> str:
    """Return PATH with the running Python's own folder first: its environment's `pulumi` and `python3`."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def engine() -> Engine:
    """Return the engine to use.

    Raises:
        CoppiceError: there is no `pulumi` on PATH.
    """
    found = shutil.which("pulumi", path=search_path())
    if found is None:
        raise CoppiceError(
            "no pulumi on PATH",
            hint="install Pulumi, or run `scripts/bootstrap` in Coppice's checkout, which builds it",
        )
    path = Path(found)
    return Engine(path, ours=(path.resolve().parent / _DOCKER_PLUGIN).is_file())


def environment(used: Engine | None = None) -> dict[str, str]:
    """Return the variables that `pulumi` is run with, beside the caller's own environment."""
    used = used or engine()
    made: dict[str, str] = {"PULUMI_SKIP_UPDATE_CHECK": "true"}
    if "PULUMI_BACKEND_URL" not in os.environ:
        made["PULUMI_BACKEND_URL"] = f"file://{backend_dir()}"
    if not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & os.environ.keys():
        made["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase_file())
    if used.ours and "PULUMI_HOME" not in os.environ:
        # Plug-ins that were built here do not mix with those of a Pulumi of the user's own.
        made["PULUMI_HOME"] = str(state_dir() / "pulumi-home")
    return made
