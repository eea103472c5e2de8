"""Entry point of `coppice`: the verbs, and what happens to an error.

Exit codes: 0 done, 1 failed, 2 bad input, 3 refused by policy or precondition, 130 interrupted.
"""

import importlib
import os
import pkgutil
import signal
import sys
from importlib import metadata
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from coppice.groves.errors import CoppiceError
from coppice.stacks import cli
from coppice.stacks.cli.common import report

_NO_VERB = {"main", "common"}
_ORDER = (
    "init", "validate", "show", "preview", "up", "ps", "logs", "shell", "diff", "collect", "destroy",
    "images", "schema", "doctor",
)  # fmt: skip


class _Verbs(typer.core.TyperGroup):
    """The verbs; Ctrl-C ends one with the shell's usual code instead of typer's 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise CoppiceError("interrupted", exit_code=130) from error


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"coppice {metadata.version('coppice')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Infrastructure as code for fleets of coding agents."""
    del version


def build() -> typer.Typer:
    """Return the application: each module of this package but two is a verb, its `register` adds it."""
    app = typer.Typer(
        name="coppice",
        cls=_Verbs,
        help="Infrastructure as code for fleets of coding agents.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    found = [module.name for module in pkgutil.iter_modules(cli.__path__) if module.name not in _NO_VERB]
    for name in sorted(found, key=lambda verb: (_ORDER.index(verb) if verb in _ORDER else len(_ORDER), verb)):
        importlib.import_module(f"{cli.__name__}.{name}").register(app)
    return app


def _terminate(signum: int, frame: Any) -> None:
    del signum, frame
    raise KeyboardInterrupt


def run(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # A terminal that closes or a service manager that stops us means the same as Ctrl-C: end cleanly.
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    try:
        build()(args=arguments, prog_name="coppice")
    except BrokenPipeError:
        # The reader went away (`coppice logs | head`): no error of ours. Keep Python from flushing into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except CoppiceError as error:
        _fail(error, arguments)
    except OSError as error:
        # Docker's, git's and the machine's own errors say what is wrong in a line; a traceback would not say more.
        _fail(CoppiceError(str(error)), arguments)
    except Exception as error:
        if not isinstance(error, _foreign_errors()):
            raise
        _fail(CoppiceError(" ".join(str(error).split())), arguments)


def _foreign_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the libraries that talk to the machine; imported only when one may have come."""
    from docker.errors import DockerException
    from git.exc import GitError

    return (DockerException, GitError)


def _fail(error: CoppiceError, arguments: list[str]) -> NoReturn:
    report(error, as_json="--json" in arguments)
    sys.exit(error.exit_code)
