"""YAML text to plain data and positions, safely and in bounded time.

The tree is built from the parser's events, iteratively, so that neither depth nor aliases can exhaust the
stack or the memory. Scalars follow YAML 1.2's core schema, less what surprises: numbers are decimal, and
whatever is not plainly null, a boolean or a number is text.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from coppice.groves.errors import InputError, Problem, shown

MAX_BYTES = 1024 * 1024
MAX_NODES = 200_000
MAX_DEPTH = 64
_SHOWN_PARTS = 8

Path = tuple[str | int, ...]
Position = tuple[int, int]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+", re.ASCII)
# What no field can want in text and what would harm an argument list or a terminal.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_REMEDIES = (
    ("cannot start any token", "Indent with spaces, not tabs, and quote text that starts with @, ` or %."),
    ("mapping values are not allowed", "Quote text that contains a colon followed by a space."),
    ("could not find expected ':'", "Write every field as 'name: value'."),
    ("did not find expected", "Check the indentation, quotes and brackets on this line and the one above."),
)


@dataclass(frozen=True, slots=True)
class Tree:
    """A YAML document as data, and where each part of it is written.

    Attributes:
        data: dict (keys are str), list, str, int, float, bool or None, nested.
        keys: path of a mapping's entry -> (line, column) of its key, 1-based.
        values: path -> (line, column) of the value, 1-based; what comes through an alias has the place
            of the anchored text, the alias itself its own.
    """

    data: Any
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)


class _Node:
    """A scalar (items None) or a collection, possibly shared by aliases; size and height count its whole."""

    __slots__ = ("height", "items", "keyed", "open", "position", "size", "value")

    def __init__(self, position: Position, value: Any = None, *, keyed: bool | None = None) -> None:
        self.position = position
        self.value = value
        self.keyed = keyed
        # (key or index, the key's position, the value's position, the value)
        self.items: list[tuple[str | int, Position, Position, _Node]] = []
        self.size = 1
        self.height = 1
        self.open = keyed is not None


class _Frame:
    """A collection being read: its node, and for a mapping the key that waits for its value."""

    __slots__ = ("key", "key_at", "node", "seen")

    def __init__(self, node: _Node) -> None:
        self.node = node
        self.key: str | None = None
        self.key_at: Position = node.position
        self.seen: dict[str, Position] = {}

    def field(self) -> str | int | None:
        """Return the key or index of the value being read, None while a mapping's key is awaited."""
        return self.key if self.node.keyed else len(self.node.items)


def dotted(path: Path) -> str:
    """Return `path` as messages show it: agents.fix.mounts[0], with odd keys quoted."""
    text = ""
    if len(path) > _SHOWN_PARTS:
        return dotted(path[:_SHOWN_PARTS]) + "…"
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = re.fullmatch(r"[A-Za-z0-9_-]{1,80}", part) is not None
            text += ("." if text else "") + (part if plain else shown(part))
    return text


class _Builder:
    """Builds one document from the parser's events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.stack: list[_Frame] = []
        self.anchors: dict[str, _Node] = {}
        self.root: _Node | None = None
        self.total = 0
        self.documents = 0

    def error(self, at: Position, message: str, remedy: str | None = None) -> InputError:
        parts = (frame.field() for frame in self.stack)
        where = dotted(tuple(part for part in parts if part is not None))
        return InputError.of([Problem(self.file, at[0], at[1], where, message, remedy)])

    def take(self, event: yaml.Event) -> None:
        at = _position(event.start_mark)
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise self.error(
                        at, "a second document starts here", "A grove file holds one: remove the '---' line."
                    )
            case yaml.AliasEvent():
                self.alias(at, str(event.anchor))
            case yaml.ScalarEvent():
                self.scalar(at, event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self.start(at, event, keyed=isinstance(event, yaml.MappingStartEvent))
            case yaml.CollectionEndEvent():
                frame = self.stack.pop()
                frame.node.open = False
                self.add(frame.node, frame.node.position)
            case _:
                pass  # stream and document ends carry nothing

    def waits_for_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].node.keyed is True and self.stack[-1].key is None

    def count(self, at: Position, nodes: int) -> None:
        self.total += nodes
        if self.total > MAX_NODES:
            raise self.error(
                at, f"the file holds more than {MAX_NODES} values", "Aliases count as what they stand for."
            )

    def deep(self, at: Position, height: int) -> None:
        if len(self.stack) + height > MAX_DEPTH:
            raise self.error(at, f"values are nested more than {MAX_DEPTH} deep", "A grove needs far less.")

    def alias(self, at: Position, name: str) -> None:
        node = self.anchors.get(name)
        if node is None:
            raise self.error(
                at, f"the alias *{name} has no anchor", f"Write &{name} before the value it repeats."
            )
        if node.open:
            raise self.error(
                at, f"the alias *{name} stands inside its own anchor", "A value cannot hold itself."
            )
        if self.waits_for_key():
            raise self.error(at, "an alias cannot be a key", "Write the key out.")
        self.count(at, node.size)
        self.deep(at, node.height)
        self.add(node, at)

    def scalar(self, at: Position, event: yaml.ScalarEvent) -> None:
        self.count(at, 1)
        self.deep(at, 1)
        text = str(event.value)
        if bad := _CONTROL.search(text):
            raise self.error(
                at,
                f"the text holds the control character U+{ord(bad[0]):04X}",
                "Remove it: text is printable characters, tabs and line ends.",
            )
        plain = event.implicit[0]
        if not self.waits_for_key():
            node = _Node(at, self.resolve(at, event.tag, text, plain=plain))
            self.anchor(event.anchor, node)
            self.add(node, at)
            return
        if plain and text == "<<":
            raise self.error(
                at, "merge keys (<<) are not part of YAML 1.2", "Use a template, or write the fields out."
            )
        key = self.resolve(at, event.tag, text, plain=plain)
        if not isinstance(key, str):
            raise self.error(at, f"the key {shown(key)} is not text", f'Quote it: "{text or "…"}".')
        frame = self.stack[-1]
        if key in frame.seen:
            line, column = frame.seen[key]
            raise self.error(
                at,
                f"the key {shown(key)} is here twice, first at line {line}, column {column}",
                "Remove one of the two.",
            )
        frame.seen[key] = at
        frame.key, frame.key_at = key, at
        # An anchor on a key is harmless: it may be repeated as a value.
        self.anchor(event.anchor, _Node(at, key))

    def start(self, at: Position, event: yaml.CollectionStartEvent, *, keyed: bool) -> None:
        self.count(at, 1)
        self.deep(at, 1)
        if self.waits_for_key():
            raise self.error(at, "a key is a list or a mapping", "Keys are text.")
        wanted = _CORE + ("map" if keyed else "seq")
        if event.tag not in (None, "!", wanted):
            raise self.error(at, f"the tag {shown(event.tag)} is not known here", "Remove the tag.")
        node = _Node(at, keyed=keyed)
        self.anchor(event.anchor, node)
        self.stack.append(_Frame(node))

    def anchor(self, name: str | None, node: _Node) -> None:
        if name is not None:
            self.anchors[name] = node

    def add(self, node: _Node, at: Position) -> None:
        """Put a finished node into the collection being read, or make it the root."""
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        parent = frame.node
        if frame.key is not None:
            parent.items.append((frame.key, frame.key_at, at, node))
            frame.key = None
            parent.size += 1
        else:
            parent.items.append((len(parent.items), at, at, node))
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)

    def resolve(self, at: Position, tag: str | None, text: str, *, plain: bool) -> Any:
        """Return the value of a scalar; a tag, where given, must be a core one that fits the text."""
        if tag is None:
            return _plain(text) if plain else text
        if tag in ("!", _CORE + "str"):
            return text
        value = _plain(text)
        kinds: dict[str, type] = {"null": type(None), "bool": bool, "int": int, "float": float}
        kind = kinds.get(tag.removeprefix(_CORE)) if tag.startswith(_CORE) else None
        if kind is None:
            raise self.error(at, f"the tag {shown(tag)} is not known here", "Remove the tag.")
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise self.error(at, f"{shown(text)} does not fit its tag", "Remove the tag.")
        return value


def _position(mark: Any) -> Position:
    # The stubs allow events without marks; the parsers make none.
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _plain(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    # Octal in YAML 1.1, decimal in 1.2: neither is what all readers expect, so it stays text. Long runs of
    # digits stay text too: no field wants them, and as numbers they would lose digits.
    if _FLOAT.fullmatch(text) and not _LEADING_ZERO.match(text) and not text.lstrip("+-").isdigit():
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def _walk(node: _Node, path: Path, tree: Tree) -> Any:
    # The recursion is bounded: `deep` has refused anything higher than MAX_DEPTH, aliases followed.
    if node.keyed is None:
        return node.value
    result: list[Any] = []
    for part, key_at, value_at, child in node.items:
        below = (*path, part)
        if node.keyed:
            tree.keys[below] = key_at
        tree.values[below] = value_at
        result.append(_walk(child, below, tree))
    return dict(zip((item[0] for item in node.items), result, strict=True)) if node.keyed else result


def _events(text: str, file: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = _position(mark)
        said = " ".join(part for part in (error.context, error.problem) if part) or "the text cannot be read"
        remedy = next(
            (remedy for words, remedy in _REMEDIES if words in said), "Check the quotes and brackets."
        )
        raise InputError.of([Problem(file, *at, "", f"not valid YAML: {said}", remedy)]) from error
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split())
        raise InputError.of(
            [Problem(file, 1, 1, "", f"not valid YAML: {said}", "Check the text.")]
        ) from error


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise InputError.of(
            [Problem(file, None, None, "", f"the file is larger than {MAX_BYTES} bytes", "Split the grove.")]
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        line, column = _place(before)
        problem = Problem(file, line, column, "", "the file is not UTF-8 text", "Save it as UTF-8.")
        raise InputError.of([problem]) from error
    text = text.removeprefix("\ufeff")
    if bad := _CONTROL.search(text):
        line, column = _place(text[: bad.start()])
        message = f"the file holds the control character U+{ord(bad[0]):04X}"
        raise InputError.of([Problem(file, line, column, "", message, "Remove it: this is plain text.")])
    return text


def _place(before: str) -> Position:
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return len(lines), len(lines[-1]) + 1


def parse(raw: bytes, file: str) -> Tree:
    """Read one YAML document.

    Args:
        raw: the file's bytes: UTF-8, at most 1 MiB.
        file: the file's name for messages.

    Returns:
        The tree; its data is None for an empty file.

    Raises:
        InputError: if the text is not one safe, well-formed document: not UTF-8, too large, too deep, too
            many values once aliases are followed, an alias inside its own anchor, a key twice, a key that is
            not text, a merge key, a tag other than the core ones, a control character, a second document.
    """
    builder = _Builder(file)
    for event in _events(_decode(raw, file), file):
        builder.take(event)
    if builder.root is None:
        return Tree(None)
    tree = Tree(None, {}, {(): builder.root.position})
    data = _walk(builder.root, (), tree)
    return Tree(data, tree.keys, tree.values)
