"""Entry point of `coppice`: the verbs, and what happens to an error.

Exit codes: 0 done, 1 failed, 2 bad input, 3 refused by policy or precondition, 130 interrupted.
"""

import importlib
import os
import pkgutil
import signal
import sys
from typing import Any

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
    except CoppiceError as error:
        report(error, as_json="--json" in arguments)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader went away (`coppice logs | head`): no error of ours. Keep Python from flushing into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
