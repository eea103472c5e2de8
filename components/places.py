"""Where Coppice keeps what is its own on this machine: the cache folder and the state folder."""

import os
from pathlib import Path


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    # The XDG specification says to ignore relative values.
    return Path(value) if value.startswith("/") else Path.home() / fallback


def cache_dir() -> Path:
    """Return the folder of what can be rebuilt: the engine and the root file systems of images."""
    own = os.environ.get("COPPICE_CACHE_DIR")
    return Path(own).absolute() if own else _xdg("XDG_CACHE_HOME", ".cache") / "coppice"


def state_dir() -> Path:
    """Return the folder of what may not be lost: stack states, passphrase, the private Docker daemon."""
    own = os.environ.get("COPPICE_STATE_DIR")
    return Path(own).absolute() if own else _xdg("XDG_STATE_HOME", ".local/state") / "coppice"


def private_socket() -> Path:
    """Return the socket of the Docker daemon that `scripts/daemon` starts where there is no other."""
    return state_dir() / "docker" / "docker.sock"
