"""Finds harnesses: modules of this folder with a `HARNESS`, then entry points `coppice.harnesses`.

No list is kept by hand: the file's stem is the key in the grove file.
"""

import functools
import importlib
import pkgutil
from importlib.metadata import entry_points

import coppice.harnesses
from coppice.groves.errors import InputError, RefusedError, did_you_mean
from coppice.harnesses import announced
from coppice.harnesses.base import Harness

GROUP = "coppice.harnesses"


def get(name: str) -> Harness:
    """The harness of that name.

    Raises:
        InputError: there is none; the nearest known name is in the hint.
    """
    known = _all()
    if name in known:
        return known[name]
    raise InputError(
        f"there is no harness {name!r}",
        hint=f"{did_you_mean(name, known)} Others come from packages with an entry point in {GROUP!r}.",
    )


def names() -> tuple[str, ...]:
    """The names of all harnesses, sorted; announced ones too."""
    return tuple(sorted(_all()))


@functools.cache
def _all() -> dict[str, Harness]:
    found: dict[str, Harness] = {harness.name: harness for harness in announced.HARNESSES}
    for module in pkgutil.iter_modules(coppice.harnesses.__path__):
        if module.ispkg:
            continue
        imported = importlib.import_module(f"{coppice.harnesses.__name__}.{module.name}")
        harness = getattr(imported, "HARNESS", None)
        if harness is not None:
            _add(found, module.name, harness, f"{module.name}.py")
    built = set(found) - {harness.name for harness in announced.HARNESSES if found[harness.name] is harness}
    for entry in entry_points(group=GROUP):
        if entry.name in built:
            raise RefusedError(
                f"entry point {entry.name} = {entry.value}: Coppice has a harness of that name",
                hint="uninstall the package or rename its entry point",
            )
        _add(found, entry.name, entry.load(), entry.value)
    return found


def _add(found: dict[str, Harness], name: str, harness: object, origin: str) -> None:
    if not isinstance(harness, Harness) or harness.name != name:
        raise RefusedError(
            f"{origin}: is no harness named {name}", hint="see the Harness protocol in coppice.harnesses.base"
        )
    found[name] = harness
