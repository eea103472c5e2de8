import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pulumi.automation import EngineEvent
from rich.console import Console

from coppice.stacks.changes import Changes
from coppice.stacks.progress import Progress

URN = "urn:pulumi:hello::coppice::coppice:grove:Grove$coppice:grove:Agent$coppice:docker:Power::"


def event(**fields: Any) -> EngineEvent:
    names = (
        "resource_pre_event",
        "res_op_failed_event",
        "diagnostic_event",
        "res_outputs_event",
        "policy_event",
    )
    return cast("EngineEvent", SimpleNamespace(**{name: fields.get(name) for name in names}))


def step(op: str, kind: str, name: str, diffs: list[str] | None = None) -> EngineEvent:
    metadata = SimpleNamespace(op=op, type=kind, urn=URN + name, diffs=diffs)
    return event(resource_pre_event=SimpleNamespace(metadata=metadata))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=False)


def text(console: Console) -> str:
    return cast("io.StringIO", console.file).getvalue()


@pytest.mark.parametrize(
    ("name", "agent"),
    [
        ("hello-a", "a"),
        ("hello-a-power", "a"),
        ("hello-a-b", "a-b"),
        ("hello-a-b-workspace", "a-b"),
        ("hello-mirror", ""),
        ("hello", ""),
        ("other-a", ""),
        ("hello-ab", ""),
    ],
)
def test_a_resource_belongs_to_the_agent_with_the_longest_fitting_name(name: str, agent: str) -> None:
    assert Progress("hello", ["a", "a-b"], None).owner(URN + name) == agent


def test_without_a_terminal_each_new_text_is_one_line(console: Console) -> None:
    with Progress("hello", ["a"], console) as progress:
        progress.event(step("create", "coppice:docker:Workspace", "hello-a-workspace"))
        progress.event(step("create", "coppice:docker:Workspace", "hello-a-workspace"))
        progress.event(step("same", "coppice:docker:Power", "hello-a-power"))
        progress.event(step("create", "unheard:of:Kind", "hello-a"))
        progress.set("", "provisioned", "3 change(s)", ended=True)
        progress.set("a", "failed", "exit 7", ended=True)
    lines = [line.rsplit(" [", 1)[0] for line in text(console).splitlines()]
    assert lines == ["a: creating workspace", "grove hello: provisioned (3 change(s))", "a: failed (exit 7)"]


def test_what_an_agent_prints_is_neither_markup_nor_control(console: Console) -> None:
    with Progress("hello", ["a"], console) as progress:
        progress.set("a", "\x1b[2J[bold]x[/]", "[link=http://example.com]\x07")
    assert "\x1b" not in text(console)
    assert "\x07" not in text(console)
    assert "[bold]x[/]" in text(console)
    assert "[link=http://example.com]" in text(console)


def test_on_a_terminal_the_rows_are_markup_safe() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Progress("hello", ["a"], console) as progress:
        progress.set("a", "working", "[/][red]not red[/red]")
    assert "[/][red]not red[/red]" in text(console)


def test_a_failed_step_marks_its_agent(console: Console) -> None:
    progress = Progress("hello", ["a"], console)
    metadata = SimpleNamespace(type="docker:index/container:Container", urn=URN + "hello-a")
    progress.event(event(res_op_failed_event=SimpleNamespace(metadata=metadata)))
    assert text(console).startswith("a: failed (at its box)")


def test_a_plug_in_says_what_it_is_doing(console: Console) -> None:
    progress = Progress("hello", ["a"], console)
    said = SimpleNamespace(
        severity="info", urn=URN + "hello-a-workspace", message="<{%reset%}>cloning<{%reset%}>\n"
    )
    progress.event(event(diagnostic_event=said))
    assert text(console).startswith("a: cloning")


def test_changes_are_counted_and_shown(console: Console) -> None:
    changes = Changes()
    changes.event(step("same", "x:y:Z", "one"))
    changes.event(step("create", "x:y:Z", "two"))
    changes.event(step("update", "x:y:Z", "three", ["b", "a"]))
    changes.event(step("create-replacement", "x:y:Z", "four"))
    changes.event(event())
    assert changes.same == 1
    assert changes.to_json() == [
        {"operation": "create", "type": "x:y:Z", "name": "two", "properties": []},
        {"operation": "update", "type": "x:y:Z", "name": "three", "properties": ["a", "b"]},
    ]
    changes.show(console)
    assert "~ update  three  x:y:Z (a, b)" in text(console)
    assert "2 change(s), 1 unchanged" in text(console)


def test_no_changes_are_said_too(console: Console) -> None:
    Changes(same=3).show(console)
    assert text(console) == "no changes, 3 resource(s) unchanged\n"
