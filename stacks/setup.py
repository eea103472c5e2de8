"""Prepare this machine for the engine: state folder, passphrase, plug-ins, activation.

Run by scripts/bootstrap and, for what is missing, by every command that needs the engine. Safe to repeat.
"""

import os
import secrets
import shlex
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from coppice.components import plugin
from coppice.components.places import state_dir
from coppice.groves.errors import CoppiceError
from coppice.stacks import settings

_BEGIN, _END = "# >>> coppice >>>", "# <<< coppice <<<"
# The plug-in's code is whatever coppice the active Python has: the engine starts it with the caller's PATH.
_LAUNCHER = """#!/bin/sh
exec python3 -m coppice.components.plugin "$@"
"""


def _make_passphrase() -> None:
    path = settings.passphrase_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.backend_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists():
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_urlsafe(32))
    try:
        # A link, unlike a rename, never replaces the passphrase that another process just made.
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()


def _pulumi(used: settings.Engine, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **settings.environment(used), "PATH": settings.search_path()}
    return subprocess.run(
        [str(used.pulumi), *arguments, "--non-interactive"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _plugins_dir(used: settings.Engine) -> Path:
    home = settings.environment(used).get("PULUMI_HOME") or os.environ.get("PULUMI_HOME")
    return (Path(home) if home else Path.home() / ".pulumi") / "plugins"


def _install_plugin(used: settings.Engine, name: str, number: str, source: Path | None, made_of: str) -> None:
    """Install a plug-in unless the one that is there was made of the same.

    Args:
        used: the engine.
        name: the plug-in's name.
        number: its version.
        source: the executable; None: the engine downloads it.
        made_of: what tells this build of that version from others.
    """
    folder = _plugins_dir(used) / f"resource-{name}-v{number}"
    stamp = folder / "made-of"
    if stamp.is_file() and stamp.read_text() == made_of:
        return
    if source is None and (folder / f"pulumi-resource-{name}").is_file():
        return
    file = ["--file", str(source)] if source else []
    done = _pulumi(used, "plugin", "install", "resource", name, number, "--reinstall", *file)
    if done.returncode != 0:
        raise CoppiceError(
            f"cannot install the plug-in {name} {number}: {' '.join(done.stderr.split())[-500:]}",
            hint="run `scripts/bootstrap` in Coppice's checkout, which builds it",
        )
    stamp.write_text(made_of)


def prepare(used: settings.Engine | None = None) -> settings.Engine:
    """Make what is missing of state folder, passphrase and plug-ins; return the engine.

    Raises:
        CoppiceError: no engine, or a plug-in cannot be installed.
    """
    used = used or settings.engine()
    _make_passphrase()
    built = used.docker_plugin if used.ours else None
    # An engine's folder is named by the hash of what it is built from.
    _install_plugin(used, "docker", version("pulumi-docker"), built, str(built or "downloaded"))
    with tempfile.TemporaryDirectory() as folder:
        launcher = Path(folder) / f"pulumi-resource-{plugin.NAME}"
        launcher.write_text(_LAUNCHER)
        launcher.chmod(0o755)
        _install_plugin(used, plugin.NAME, plugin.VERSION, launcher, _LAUNCHER)
    return used


def activation(used: settings.Engine) -> str:
    """Return the shell lines that make a plain `pulumi` use the same state as `coppice`."""
    lines = []
    for name, value in settings.environment(used).items():
        # Either form of the passphrase is the user's choice.
        others = ["PULUMI_CONFIG_PASSPHRASE", name] if name == "PULUMI_CONFIG_PASSPHRASE_FILE" else [name]
        unset = " && ".join(f'[ -z "${{{other}+set}}" ]' for other in others)
        lines.append(f"if {unset}; then export {name}={shlex.quote(value)}; fi")
    return "\n".join([_BEGIN, *lines, _END, ""])


def _extend_activation(used: settings.Engine) -> None:
    script = Path(sys.prefix) / "bin" / "activate"
    if not script.is_file():
        return
    text = script.read_text()
    if _BEGIN in text:
        text = text[: text.index(_BEGIN)] + text[text.index(_END) + len(_END) + 1 :]
    script.write_text(text + activation(used))


def main() -> None:
    """Prepare, extend the environment's `activate`, and say where things are."""
    # Only the defaults belong into `activate`, not what the caller happens to have set.
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        del os.environ[name]
    try:
        used = prepare()
        _extend_activation(used)
    except CoppiceError as error:
        sys.exit(f"error: {error}\n  {error.hint}")
    sys.stdout.write(f"state folder: {state_dir()}\nengine: {used.pulumi.resolve()}\n")


if __name__ == "__main__":
    main()
