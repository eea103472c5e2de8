"""What the engine says, as one readable message."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.automation import CommandResult, EngineEvent
from pulumi.automation.errors import CommandError, ConcurrentUpdateError, create_command_error

from coppice.stacks.engine import Errors, _explain, plain

LOCKED = """\
error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the \
lock file with `pulumi cancel`.
  file:///state/.pulumi/locks/x.json: created by user@host (pid 12) at 2026-01-02T03:04:05Z"""


def diagnostic(message: str, severity: str = "error") -> EngineEvent:
    data = {"message": message, "severity": severity, "color": "never"}
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, "diagnosticEvent": data})


def violation(message: str, level: str = "mandatory") -> EngineEvent:
    data: dict[str, Any] = {
        "message": message,
        "policyName": "box-hardened",
        "policyPackName": "coppice",
        "enforcementLevel": level,
        "color": "never",
    }
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, "policyEvent": data})


def gathered(*events: EngineEvent) -> list[str]:
    errors = Errors()
    for event in events:
        errors.event(event)
    return errors.messages


def failed(stderr: str, stdout: str = "") -> CommandError:
    return create_command_error(CommandResult(stdout=stdout, stderr=stderr, code=255))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", ""),
        ("hello", "hello"),
        ("<{%reset%}>hello<{%fg 1%}>", "hello"),
        ("<{%reset%}><{%reset%}>", ""),
        ("a<{%bold%}>b<{%reset%}>c", "abc"),
        ("open <{% and no end", "open <{% and no end"),
        ("%}> the wrong way <{%", "%}> the wrong way <{%"),
        ("%}> a <{%reset%}> b", "%}> a  b"),
    ],
)
def test_plain(message: str, expected: str) -> None:
    assert plain(message) == expected


@given(st.text(alphabet="<{%}> a"), st.text(alphabet="<{%}> a"))
def test_plain_keeps_what_is_no_directive(before: str, after: str) -> None:
    found = plain(f"{before}<{{%reset%}}>{after}")
    if "<{%" not in before and "<{%" not in after:
        assert found == before + after


def test_errors_are_kept_and_the_rest_is_not() -> None:
    assert gathered(
        diagnostic("looking", "info"),
        diagnostic("odd", "warning"),
        diagnostic("<{%reset%}>no such image<{%reset%}>\n"),
        diagnostic(" \n"),
        violation("advice", "advisory"),
        EngineEvent.from_json({"sequence": 2, "timestamp": 2, "cancelEvent": {}}),
    ) == ["no such image"]


def test_what_is_said_twice_is_kept_once_and_what_says_nothing_not_at_all() -> None:
    closing = [diagnostic(f"{verb} failed") for verb in ("update", "preview", "destroy")]
    assert gathered(diagnostic("no space"), *closing, diagnostic("no space\n")) == ["no space"]


def test_a_violation_names_its_policy() -> None:
    assert gathered(violation("privileged: leave it out")) == [
        "policy box-hardened: privileged: leave it out"
    ]


def test_errors_explain_the_failure() -> None:
    errors = Errors(["one", "two"])
    found = _explain(failed("error: update failed"), errors)
    assert (str(found), found.exit_code) == ("one\ntwo", 1)


def test_a_violation_is_a_refusal() -> None:
    errors = Errors()
    errors.event(violation("privileged"))
    found = _explain(failed("error: preview failed"), errors)
    assert (str(found), found.exit_code) == ("policy box-hardened: privileged", 3)


def test_another_update_is_running() -> None:
    error = failed(LOCKED)
    assert isinstance(error, ConcurrentUpdateError)
    # Whatever was said besides.
    found = _explain(error, Errors(["the stack is currently locked"]))
    assert str(found) == "another update of this stack is running, or was killed"
    assert found.exit_code == 3
    assert "pulumi cancel" in str(found.hint)


def test_without_events_the_last_lines_of_stderr_are_told() -> None:
    lines = "\n\n".join(f"line {number}" for number in range(20))
    found = _explain(
        failed(f"{lines}\nerror: <{{%reset%}}>the passphrase is wrong<{{%reset%}}>\n", "output"), Errors()
    )
    told = str(found).splitlines()
    assert told == [*(f"line {number}" for number in range(11, 20)), "the passphrase is wrong"]
    assert found.exit_code == 1


def test_a_failure_that_says_nothing_says_at_least_its_code() -> None:
    assert "255" in str(_explain(failed(""), Errors()))
