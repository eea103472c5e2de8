"""Grove files: finding them, reading them, and saying everything that is wrong with one at once."""

import functools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError as SchemaError
from pydantic import ValidationError

from coppice.groves import schema, yamltree
from coppice.groves.errors import InputError, Problem, did_you_mean, nearest, shown
from coppice.groves.model import OWN_ERROR, Grove, SourceMap
from coppice.groves.yamltree import Path as FieldPath

SUFFIXES = (".yaml", ".yml")
MAX_PROBLEMS = 100

_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "nothing",
}
# What the schema's other rules say: the value and what was wanted, then the remedy.
_RULES = {
    "const": ("expected {1}, found {0}", "Write {0}."),
    "minimum": ("{0} is too small", "The least is {0}."),
    "maximum": ("{0} is too large", "The most is {0}."),
    "minLength": ("the text is empty", "Give it a value, or remove the field."),
    "maxLength": ("the text {0} is too long", "The most is {0} characters."),
}


@functools.cache
def _validator() -> Any:
    return jsonschema.Draft202012Validator(schema.build())


def read(path: str | Path) -> bytes:
    """Return the bytes of a grove file.

    Raises:
        InputError: if it is missing, no regular file, unreadable or larger than 1 MiB.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                remedy = "Name the grove file in it, such as grove.yaml."
                raise _unreadable(path, "this is a folder, not a grove file", remedy)
            if not stat.S_ISREG(mode):
                raise _unreadable(path, "this is not a regular file", "Name a YAML file.")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(yamltree.MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise _unreadable(path, "there is no such file", "Check the path.") from error
    except PermissionError as error:
        raise _unreadable(path, "no permission to read it", "Check its owner and mode.") from error
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise _unreadable(path, f"it cannot be read: {said}", "Check the path.") from error


def _unreadable(path: str | Path, message: str, remedy: str) -> InputError:
    return InputError.of([Problem(str(path), None, None, "", message, remedy)])


def load_grove(path: str | Path) -> Grove:
    """Read a grove file.

    Args:
        path: the file; messages show it as it is given.

    Returns:
        The grove, which knows where its fields are written (`Grove.source_map`).

    Raises:
        InputError: with every problem of the file: unreadable, not YAML, unknown or missing fields, wrong
            types, values out of range, names that are not allowed.
    """
    return parse_grove(read(path), str(path))


def parse_grove(raw: bytes, file: str) -> Grove:
    """Make a grove from the bytes of a grove file; `file` is its name in messages. Raises as `load_grove`."""
    tree = yamltree.parse(raw, file)
    where = SourceMap(file, tree.keys, tree.values)
    if tree.data is None:
        remedy = "Start with 'apiVersion: coppice.dev/v1' and 'agents:'."
        raise InputError.of([Problem(file, 1, 1, "", "the file is empty", remedy)])
    if not isinstance(tree.data, dict):
        message = f"the file holds {shown(tree.data)}, not a mapping of fields"
        remedy = "Start with 'apiVersion: coppice.dev/v1' and 'agents:'."
        raise InputError.of([where.problem((), message, remedy)])
    found: dict[FieldPath, list[Problem]] = {}
    for path, problem in _schema_problems(tree.data, where):
        found.setdefault(path, []).append(problem)
    grove, own, other = _validate(tree.data, where)
    # The models' own messages say more than the schema's about the same place, pydantic's say less.
    found.update(own)
    for path, problems in other.items():
        if not any(path[:size] in found for size in range(len(path) + 1)):
            found[path] = problems
    problems = list(dict.fromkeys(problem for items in found.values() for problem in items))
    if grove is None or problems:
        raise InputError.of(_limited(problems, file))
    return grove.located(where)


def _limited(problems: list[Problem], file: str) -> list[Problem]:
    if len(problems) <= MAX_PROBLEMS:
        return problems
    kept = sorted(problems, key=lambda p: (p.line or 0, p.column or 0))[:MAX_PROBLEMS]
    message = f"{len(problems)} problems, of which the first {MAX_PROBLEMS} follow"
    return [Problem(file, None, None, "", message, "Mend these first."), *kept]


def _validate(
    data: Any, where: SourceMap
) -> tuple[Grove | None, dict[FieldPath, list[Problem]], dict[FieldPath, list[Problem]]]:
    """Return the grove if the models accept it, else their own problems and pydantic's, by path."""
    own: dict[FieldPath, list[Problem]] = {}
    other: dict[FieldPath, list[Problem]] = {}
    try:
        return Grove.model_validate(data, by_alias=True, by_name=False), own, other
    except ValidationError as error:
        for found in error.errors(include_url=False):
            location = found["loc"]
            key = bool(location) and location[-1] == "[key]"
            path: FieldPath = location[:-1] if key else location
            context = found.get("ctx", {})
            if found["type"] == OWN_ERROR:
                problem = where.problem(path, context["said"], context["remedy"], key=key)
                own.setdefault(path, []).append(problem)
            else:
                whole = found["type"].startswith("int_")
                said = "expected a whole number" if whole else found["msg"]
                remedy = "Write it without a point." if whole else "Change the value."
                message = f"{said}, found {shown(found['input'])}"
                other.setdefault(path, []).append(where.problem(path, message, remedy, key=key))
        return None, own, other


def _schema_problems(data: Any, where: SourceMap) -> Iterator[tuple[FieldPath, Problem]]:
    for error in _validator().iter_errors(data):
        path: FieldPath = tuple(error.absolute_path)
        rule: Any = error.schema
        wanted: Any = error.validator_value
        if "propertyNames" in error.absolute_schema_path:
            continue  # the models refuse the same names, and say where they are and what to write
        if error.validator == "additionalProperties":
            known = rule.get("properties", {})
            for key in sorted(set(error.instance) - set(known)):
                below = (*path, key)
                remedy = _unknown_remedy(key, path, known)
                yield below, where.problem(below, f"unknown field {shown(key)}", remedy, key=True)
        elif error.validator == "required":
            for key in sorted(set(wanted) - set(error.instance)):
                message = f"the field {key!r} is missing"
                yield (*path, key), where.problem(path, message, _missing_remedy(key), key=True)
        else:
            yield path, where.problem(path, *_said(error))


def _unknown_remedy(key: str, path: FieldPath, known: dict[str, Any]) -> str:
    if nearest(key, known) is None and not path and nearest(key, ("harness", "prompt", "template")):
        return "It belongs to an agent, under 'agents'."
    lower = {name.lower(): name for name in known}
    same = lower.get(key.lower().replace("_", "").replace("-", ""))
    return f"Did you mean {same!r}?" if same else did_you_mean(key, known, most=len(known))


def _missing_remedy(key: str) -> str:
    return {
        "apiVersion": "Add the line 'apiVersion: coppice.dev/v1'.",
        "agents": "Add 'agents:' with at least one agent, which has a harness and a prompt.",
    }.get(key, f"Add '{key}:'.")


def _said(error: SchemaError) -> tuple[str, str]:
    """Return what is wrong, and the remedy, for an error of a value."""
    value: Any = error.instance
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            kinds = " or ".join(_KINDS[kind] for kind in ([wanted] if isinstance(wanted, str) else wanted))
            return f"expected {kinds}, found {shown(value)}", _type_remedy(value, wanted)
        case "enum":
            known = [str(item) for item in wanted]
            near = did_you_mean(value, known) if isinstance(value, str) else "Choose one."
            return f"{shown(value)} is not one of {', '.join(known)}", near
        case str(rule) if rule in _RULES:
            message, remedy = _RULES[rule]
            return message.format(shown(value), shown(wanted)), remedy.format(wanted)
        case rule:
            return f"{shown(value)} is not allowed here", f"The schema's rule is {rule}: {shown(wanted)}."


def _type_remedy(value: Any, wanted: Any) -> str:
    if value is None:
        return "Give it a value, or remove the field."
    match wanted, value:
        case "string", bool() | int() | float():
            remedy = "Put it in quotes."
        case "array", str():
            remedy = "Write it as a list: [a, b]."
        case "object", _:
            remedy = "Write its fields below it, indented."
        case "boolean", str():
            remedy = "Write true or false, without quotes."
        case "integer" | "number", str():
            remedy = "Write a decimal number, without quotes."
        case _:
            remedy = "Change the value."
    return remedy


def find_grove(name_or_path: str | Path, project_root: Path) -> Path:
    """Find a grove file.

    Args:
        name_or_path: a path (it ends in .yaml or .yml, or has a separator), relative to the working directory
            or else to the project's root; or a grove's name.
        project_root: the folder where names are looked up: as grove.yaml if that grove has the name, then
            groves/<name>.yaml, then groves/examples/<name>.yaml, each also as .yml.

    Returns:
        The file's path; for a name below `project_root`.

    Raises:
        InputError: if there is none; it lists where it was looked for and the nearest name there is.
    """
    text = str(name_or_path)
    root = Path(project_root)
    if not text.strip() or "\0" in text:
        raise InputError(f"{shown(text)} names no grove", "Give a grove's name or the path of its file.")
    if isinstance(name_or_path, Path) or text.endswith(SUFFIXES) or os.sep in text:
        return _find_path(text, root)
    candidates = _candidates(root, text)
    for candidate in candidates:
        if _is_file(candidate) and (candidate.parent != root or _root_name(candidate) == text):
            return candidate
    looked = ", ".join(candidate.relative_to(root).as_posix() for candidate in candidates)
    known = sorted(_groves(root))
    there = did_you_mean(text, known) if known else "The project has no grove files yet."
    raise InputError(f"there is no grove {shown(text)}: looked for {looked}", there)


def _find_path(text: str, root: Path) -> Path:
    for candidate in (Path(text), root / text):
        if _is_file(candidate):
            return candidate
    # Whatever is there instead, reading says what is wrong with it.
    if os.path.lexists(text):
        return Path(text)
    near = did_you_mean(Path(text).stem, _groves(root)) if _groves(root) else "Check the path."
    raise InputError(f"there is no grove file {shown(text)}", near)


def _candidates(root: Path, name: str) -> list[Path]:
    folders = (root / "groves", root / "groves" / "examples")
    own = [root / f"{stem}{suffix}" for stem in ("grove", "coppice") for suffix in SUFFIXES]
    return own + [folder / f"{name}{suffix}" for folder in folders for suffix in SUFFIXES]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _root_name(path: Path) -> str | None:
    """Return the name of a grove file at the project's root, or None where it cannot be read."""
    try:
        data = yamltree.parse(read(path), str(path)).data
    except InputError:
        # The name looked for is then the folder's or another file's: reading this one will say what is wrong.
        return path.absolute().parent.name
    name = data.get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) else path.absolute().parent.name


def _groves(root: Path) -> dict[str, Path]:
    """Return the project's grove files by name."""
    found: dict[str, Path] = {}
    for folder in (root / "groves" / "examples", root / "groves"):
        if folder.is_dir():
            found.update(
                {p.stem: p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES and _is_file(p)}
            )
    for path in (root / f"{stem}{suffix}" for stem in ("coppice", "grove") for suffix in SUFFIXES):
        if _is_file(path) and (name := _root_name(path)):
            found[name] = path
    return found
