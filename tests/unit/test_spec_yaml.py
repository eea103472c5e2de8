"""YAML text to data and positions: what is refused, where, and in bounded time."""

import pytest
import yaml

from coppice.groves import yamltree
from coppice.groves.errors import InputError


def refused(raw: bytes | str) -> str:
    with pytest.raises(InputError) as caught:
        yamltree.parse(raw.encode() if isinstance(raw, str) else raw, "g.yaml")
    assert len(caught.value.problems) == 1
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("017", "017"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2024-01-01", "2024-01-01"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("!!float 1", 1.0),
        ("! 12", "12"),
        ("1" * 400, "1" * 400),
    ],
)
def test_scalars(text: str, value: object) -> None:
    found = yamltree.parse(f"a: {text}".encode(), "g").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_that_old_yaml_took_for_booleans_are_text() -> None:
    assert yamltree.parse(b"on: 1\nno: 2\ny: 3", "g").data == {"on": 1, "no": 2, "y": 3}


def test_positions_of_keys_and_values_follow_aliases() -> None:
    tree = yamltree.parse(b"a: &x\n  b: [1, zwei]\nc: *x\n", "g")
    assert tree.data == {"a": {"b": [1, "zwei"]}, "c": {"b": [1, "zwei"]}}
    assert tree.keys[("a", "b")] == (2, 3)
    assert tree.values[("a", "b", 1)] == (2, 10)
    assert tree.values[("c",)] == (3, 4)
    assert tree.values[("c", "b", 1)] == (2, 10)


def test_columns_count_characters_not_bytes() -> None:
    assert yamltree.parse("äöü: {ß: 1}".encode(), "g").keys[("äöü", "ß")] == (1, 7)


def test_bom_and_crlf_are_read() -> None:
    tree = yamltree.parse(b"\xef\xbb\xbfa: 1\r\nb: |\r\n  x\r\n  y\r\n", "g")
    assert tree.data == {"a": 1, "b": "x\ny\n"}
    assert tree.keys[("b",)] == (2, 1)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("a: 1\nb: 2\na: 3", "g.yaml:3:1: the key 'a' is here twice, first at line 1, column 1. Remove one"),
        ("x: {b: 1, 'b': 2}", "g.yaml:1:11: x: the key 'b' is here twice, first at line 1, column 5."),
        ("a: 1\n---\nb: 2", "g.yaml:2:1: a second document starts here. A grove file holds one"),
        ("a: {<<: {b: 1}}", "g.yaml:1:5: a: merge keys (<<) are not part of YAML 1.2. Use a template"),
        ("1: x", 'g.yaml:1:1: the key 1 is not text. Quote it: "1".'),
        ("true: x", 'g.yaml:1:1: the key true is not text. Quote it: "true".'),
        ("~: x", 'g.yaml:1:1: the key nothing is not text. Quote it: "~".'),
        ("? [a]\n: b", "g.yaml:1:3: a key is a list or a mapping. Keys are text."),
        ("a: &k x\n*k : y", "g.yaml:2:1: an alias cannot be a key. Write the key out."),
        ("a: *nope", "g.yaml:1:4: a: the alias *nope has no anchor. Write &nope before"),
        ("a: &a [1, *a]", "g.yaml:1:11: a[1]: the alias *a stands inside its own anchor."),
        ("a: &a {b: {c: *a}}", "g.yaml:1:15: a.b.c: the alias *a stands inside its own anchor."),
        (
            "a: !!python/name:os.system x",
            "g.yaml:1:4: a: the tag 'tag:yaml.org,2002:python/name:os.system' is",
        ),
        ("a: !!int x", "g.yaml:1:4: a: 'x' does not fit its tag."),
        (
            "a: !!timestamp 2024-01-01",
            "g.yaml:1:4: a: the tag 'tag:yaml.org,2002:timestamp' is not known here.",
        ),
        ("a: !!set {x}", "g.yaml:1:4: a: the tag 'tag:yaml.org,2002:set' is not known here."),
        ('a: "\\0"', "g.yaml:1:4: a: the text holds the control character U+0000."),
        ('a: "\\e[31m"', "g.yaml:1:4: a: the text holds the control character U+001B."),
        ("a: 1\nb: x\0", "g.yaml:2:5: the file holds the control character U+0000. Remove it"),
        (b"a: 1\r\nb: \xff\xfe", "g.yaml:2:4: the file is not UTF-8 text. Save it as UTF-8."),
        ("a:\n\tb: 1", "g.yaml:2:1: not valid YAML: "),
        ("a: b: c", "g.yaml:1:5: not valid YAML: mapping values are not allowed in this context. Quote text"),
        (b" " * (1024 * 1024 + 1), "g.yaml: the file is larger than 1048576 bytes. Split the grove."),
    ],
)
def test_refused_with_place_and_remedy(raw: bytes | str, message: str) -> None:
    assert refused(raw).startswith(message)


def test_tabs_have_a_remedy() -> None:
    assert "Indent with spaces, not tabs" in refused("a:\n\tb: 1")


@pytest.mark.parametrize("text", ["[" * 10_000, "- " * 10_000, "{a: " * 10_000, "[" * 1_000_000])
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nested more than 64 deep. A grove needs far less." in refused(text)


def test_depth_counts_what_aliases_stand_for() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 80)]
    assert "nested more than 64 deep" in refused("\n".join(lines))
    assert yamltree.parse("\n".join(lines[:50]).encode(), "g").data["a1"] == [["x"]]


def test_yaml_bomb_is_refused_before_it_is_expanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    assert "more than 200000 values. Aliases count as what they stand for." in refused("\n".join(lines))


def test_wide_file_is_refused() -> None:
    assert "more than 200000 values" in refused("[" + "1," * 300_000 + "]")


def test_empty_and_comment_only_files_hold_nothing() -> None:
    assert yamltree.parse(b"", "g").data is None
    assert yamltree.parse(b"# only this\n", "g").data is None


def test_same_without_the_c_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamltree, "_LOADER", yaml.SafeLoader)
    assert yamltree.parse(b"a: &x {b: 017}\nc: *x", "g").data == {"a": {"b": "017"}, "c": {"b": "017"}}
    assert "nested more than 64 deep" in refused("[" * 10_000)
    assert refused("a: 1\na: 2").startswith("g.yaml:2:1: the key 'a' is here twice")
    assert refused('a: "\\ud800"').startswith("g.yaml:1:4: a: the text holds the control character U+D800")
