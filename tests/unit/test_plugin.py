"""The plug-in without a daemon: values, what counts as a change, power, and the server that the engine starts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from docker.errors import NotFound
from google.protobuf import empty_pb2, struct_pb2
from hypothesis import given
from hypothesis import strategies as st
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from coppice.components.plugin import VERSION, values
from coppice.components.plugin.handlers import HANDLERS, Context, power
from coppice.components.runtimes.docker.records import Record

# What JSON-like data the wire can hold: one number type, and no key of Pulumi's own signature.
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_values_round_trip(data: Any) -> None:
    assert values.to_python(values.from_python(data)) == data


@given(st.dictionaries(st.text(max_size=8), PLAIN, max_size=4))
def test_values_round_trip_over_the_wire(data: dict[str, Any]) -> None:
    wire = PropertyValue.marshal_map(values.from_mapping(data))
    assert values.mapping(PropertyValue.unmarshal_map(wire)) == data


def test_numbers_and_tuples() -> None:
    whole = values.to_python(PropertyValue(64.0))
    assert (whole, type(whole)) == (64, int)
    assert values.to_python(PropertyValue(0.5)) == 0.5
    assert values.to_python(values.from_python(True)) is True
    assert values.to_python(values.from_python((1, "a"))) == [1, "a"]
    assert values.to_python(None) is None


@given(st.lists(st.sampled_from(["known", "unknown"]), max_size=3))
def test_unknown_values_can_be_read_and_sent(parts: list[str]) -> None:
    struct = struct_pb2.Struct()
    struct.update(
        {"list": [rpc.UNKNOWN if part == "unknown" else part for part in parts], "deep": {"a": rpc.UNKNOWN}}
    )
    read = PropertyValue.unmarshal_map(struct)
    plain = values.mapping(read)
    assert plain["deep"]["a"] is values.UNKNOWN
    assert [item is values.UNKNOWN for item in plain["list"]] == [part == "unknown" for part in parts]
    sent = PropertyValue.marshal_map(values.sendable_mapping(read))
    assert sent == struct
    computed = values.sendable(PropertyValue({"a": PropertyValue([PropertyValue.computed()])}))
    assert computed.marshal() == values.from_python({"a": [rpc.UNKNOWN]}).marshal()
    assert values.to_python(PropertyValue.computed()) is values.UNKNOWN
    assert values.mapping(PropertyValue.unmarshal_map(sent)) == plain


# -- what counts as a change

OLD: dict[str, dict[str, Any]] = {
    "coppice:docker:Image": {"name": "coppice/base", "source": "1", "digest": "sha256:1"},
    "coppice:docker:Mirror": {"volume": "v", "image": "i", "repository": "/r", "commit": "1"},
    "coppice:docker:Workspace": {
        "volume": "v", "mirror": "m", "image": "i", "base": "1", "branch": "agents/a", "commit": "1",
        "grove": "g", "agent": "a", "repository": "/r",
    },
    "coppice:docker:BoxFiles": {"volume": "v", "image": "i", "files": {"launch.json": "{}"}},
    "coppice:docker:Power": {
        "container": "c", "run": "r", "pids": 5, "got": "running", "finished": "", "ended": "",
    },
}  # fmt: skip
KINDS: list[tuple[str, str, str]] = [
    ("coppice:docker:Image", "name", "update"),
    ("coppice:docker:Image", "source", "update"),
    ("coppice:docker:Mirror", "volume", "replace"),
    ("coppice:docker:Mirror", "image", "nothing"),
    ("coppice:docker:Mirror", "repository", "update"),
    ("coppice:docker:Mirror", "commit", "update"),
    ("coppice:docker:Workspace", "volume", "replace"),
    ("coppice:docker:Workspace", "mirror", "update"),
    ("coppice:docker:Workspace", "image", "nothing"),
    ("coppice:docker:Workspace", "base", "nothing"),
    ("coppice:docker:Workspace", "branch", "update"),
    ("coppice:docker:Workspace", "grove", "update"),
    ("coppice:docker:Workspace", "agent", "update"),
    ("coppice:docker:Workspace", "repository", "nothing"),
    ("coppice:docker:BoxFiles", "volume", "replace"),
    ("coppice:docker:BoxFiles", "image", "nothing"),
    ("coppice:docker:BoxFiles", "files", "update"),
    ("coppice:docker:Power", "container", "update"),
    ("coppice:docker:Power", "run", "update"),
    ("coppice:docker:Power", "pids", "update"),
]


def test_every_input_of_every_handler_is_looked_at() -> None:
    assert {(token, name) for token, name, _ in KINDS} == {
        (token, name) for token, handler in HANDLERS.items() for name in handler.required
    }
    for token, handler in HANDLERS.items():
        assert OLD[token].keys() == handler.required | handler.outputs
        assert handler.replaces | handler.unwatched <= handler.required


@pytest.mark.parametrize(("token", "name", "kind"), KINDS)
def test_what_a_changed_input_does(token: str, name: str, kind: str) -> None:
    handler = HANDLERS[token]
    inputs = {key: value for key, value in OLD[token].items() if key not in handler.outputs}
    assert handler.changes(OLD[token], inputs) == []
    changed = handler.changes(OLD[token], {**inputs, name: "another"})
    assert changed == ([] if kind == "nothing" else [name])
    assert (name in handler.replaces) is (kind == "replace")


@pytest.mark.parametrize(
    ("got", "changes"), [("running", []), ("finished", []), ("stopped", ["run"]), ("gone", ["run"])]
)
def test_a_box_that_was_killed_is_a_change(got: str, changes: list[str]) -> None:
    old = {**OLD["coppice:docker:Power"], "got": got}
    inputs = {"container": "c", "run": "r", "pids": 5}
    assert HANDLERS["coppice:docker:Power"].changes(old, inputs) == changes


# -- power


@dataclass
class Box:
    id: str
    status: str = "exited"
    ended: tuple[str, str] | None = None  # run, phase
    calls: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.calls.append("start")

    def stop(self, timeout: int) -> None:
        self.calls.append("stop")


class Client:
    """A daemon that has some boxes."""

    def __init__(self, *boxes: Box) -> None:
        self.boxes = {box.id: box for box in boxes}
        self.containers = self

    def get(self, name: str) -> Box:
        if name not in self.boxes:
            raise NotFound(f"no {name}")
        return self.boxes[name]

    def close(self) -> None:
        pass


class Daemon(Context):
    def __init__(self, *boxes: Box) -> None:
        super().__init__("unix:///x", lambda message: None)
        object.__setattr__(self, "_client", Client(*boxes))

    def client(self) -> Any:
        return self._client  # type: ignore[attr-defined]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    monkeypatch.setattr(power, "_limit_processes", lambda box, pids: found.append((box.id, pids)))

    def terminal(box: Box) -> Record | None:
        return Record("phase", "", box.ended[0], {"phase": box.ended[1]}) if box.ended else None

    monkeypatch.setattr(power, "terminal", terminal)
    return found


NEW = {"container": "new", "run": "r", "pids": 5}
STATE = {**NEW, "got": "running", "finished": "", "ended": ""}


def test_power_limits_before_it_starts(limits: list[tuple[str, int]]) -> None:
    box = Box("new")
    made = power.Power().create(Daemon(box), NEW)
    assert made == ("new", {"got": "running", "finished": "", "ended": ""})
    assert (limits, box.calls) == ([("new", 5)], ["start"])


@pytest.mark.parametrize(
    ("old", "boxes", "got", "calls"),
    [
        # a new prompt in the same box: the run under way ends first
        ({**STATE, "run": "old"}, [Box("new", "running")], "running", {"new": ["stop", "start"]}),
        # another box: the one before is stopped, whether it was made for the same run or not
        (
            {**STATE, "container": "old"},
            [Box("new"), Box("old", "running")],
            "running",
            {"old": ["stop"], "new": ["start"]},
        ),
        # killed by hand: started again, and nothing to stop
        ({**STATE, "got": "stopped"}, [Box("new")], "running", {"new": ["start"]}),
        # the box before is gone
        ({**STATE, "container": "old"}, [Box("new")], "running", {"new": ["start"]}),
        # finished before: stays so, in whatever box
        (
            {**STATE, "container": "old", "got": "finished", "finished": "r", "ended": "done"},
            [Box("new"), Box("old")],
            "finished",
            {"new": [], "old": []},
        ),
        # ended since the last look
        (
            {**STATE, "container": "old"},
            [Box("new"), Box("old", ended=("r", "failed"))],
            "finished",
            {"new": [], "old": []},
        ),
        # what ended was another run
        (
            {**STATE, "run": "old"},
            [Box("new", ended=("old", "done"))],
            "running",
            {"new": ["stop", "start"]},
        ),
    ],
    ids=["new run", "new box", "killed", "gone", "finished", "ended unseen", "another run ended"],
)
def test_power_updates(
    old: dict[str, Any],
    boxes: list[Box],
    got: str,
    calls: dict[str, list[str]],
    limits: list[tuple[str, int]],
) -> None:
    daemon = Daemon(*boxes)
    found = power.Power().update(daemon, "new", old, NEW)
    assert found["got"] == got
    assert found["finished"] == ("r" if got == "finished" else "")
    assert {box.id: box.calls for box in boxes} == calls
    assert limits == [("new", 5)]


@pytest.mark.parametrize(
    ("state", "boxes", "expected"),
    [
        (STATE, [Box("new", "running")], ("running", "", "")),
        (STATE, [Box("new", "paused")], ("running", "", "")),
        (STATE, [Box("new")], ("stopped", "", "")),
        (STATE, [Box("new", ended=("r", "done"))], ("finished", "r", "done")),
        (STATE, [Box("new", ended=("r", "failed"))], ("finished", "r", "failed")),
        (STATE, [Box("new", ended=("other", "done"))], ("stopped", "", "")),
        (STATE, [], ("gone", "", "")),
        ({**STATE, "finished": "r", "ended": "done"}, [Box("new")], ("finished", "r", "done")),
    ],
)
@pytest.mark.usefixtures("limits")
def test_power_reads_what_the_box_is_at(
    state: dict[str, Any], boxes: list[Box], expected: tuple[str, str, str]
) -> None:
    found = power.Power().read(Daemon(*boxes), "new", state)
    assert found is not None
    assert (found["got"], found["finished"], found["ended"]) == expected


def test_power_off() -> None:
    box = Box("new", "running")
    power.Power().delete(Daemon(box), "new", STATE)
    assert box.calls == ["stop"]
    power.Power().delete(Daemon(), "new", STATE)


# -- the server

MAIN = [sys.executable, "-m", "coppice.components.plugin"]
URN = "urn:pulumi:hello::coppice::coppice:grove:Grove$coppice:grove:Agent$coppice:docker:{}::x"


@contextmanager
def served() -> Iterator[tuple[provider_pb2_grpc.ResourceProviderStub, subprocess.Popen[bytes]]]:
    process = subprocess.Popen([*MAIN, "127.0.0.1:1"], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield provider_pb2_grpc.ResourceProviderStub(channel), process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _struct(**data: Any) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(data)
    return struct


def _details(call: Any, request: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    text = str(caught.value.details())  # type: ignore[attr-defined]
    assert "Traceback" not in text
    assert "Unexpected" not in text
    return text


@pytest.fixture(scope="module")
def stub() -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    with served() as (made, _):
        yield made


def test_the_server_says_what_it_is(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=30).version == VERSION
    schema = json.loads(stub.GetSchema(provider_pb2.GetSchemaRequest(), timeout=30).schema)
    assert sorted(schema["resources"]) == sorted(HANDLERS)


def test_check_over_the_wire(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    urn = URN.format("Power")
    good = stub.Check(
        provider_pb2.CheckRequest(urn=urn, news=_struct(container=rpc.UNKNOWN, run="r", pids=5))
    )
    assert not good.failures
    assert good.inputs == _struct(container=rpc.UNKNOWN, run="r", pids=5)
    bad = stub.Check(provider_pb2.CheckRequest(urn=urn, news=_struct(run="r")))
    assert [
        (failure.property, failure.reason) for failure in sorted(bad.failures, key=lambda f: f.property)
    ] == [
        ("container", "container is required"),
        ("pids", "pids is required"),
    ]


def test_diff_over_the_wire(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    olds = _struct(volume="v", image="i", files={"launch.json": "{}"})
    urn = URN.format("BoxFiles")

    def diff(**news: Any) -> Any:
        given = _struct(**{"volume": "v", "image": "i", "files": {"launch.json": "{}"}, **news})
        return stub.Diff(provider_pb2.DiffRequest(urn=urn, id="v", olds=olds, news=given), timeout=30)

    assert diff().changes == provider_pb2.DiffResponse.DIFF_NONE
    assert diff(image="j").changes == provider_pb2.DiffResponse.DIFF_NONE
    changed = diff(files={"launch.json": "{1}"})
    assert (changed.changes, list(changed.diffs), list(changed.replaces)) == (
        provider_pb2.DiffResponse.DIFF_SOME,
        ["files"],
        [],
    )
    replaced = diff(volume=rpc.UNKNOWN)
    assert (list(replaced.replaces), replaced.deleteBeforeReplace) == (["volume"], False)


def test_a_preview_makes_nothing(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    properties = _struct(container=rpc.UNKNOWN, run="r", pids=5)
    request = provider_pb2.CreateRequest(urn=URN.format("Power"), properties=properties, preview=True)
    made = stub.Create(request, timeout=30)
    assert made.id == ""
    assert made.properties["got"] == rpc.UNKNOWN
    assert made.properties["pids"] == 5


@pytest.mark.parametrize("call", ["Check", "Diff"])
def test_an_unknown_resource_is_a_readable_error(
    stub: provider_pb2_grpc.ResourceProviderStub, call: str
) -> None:
    request = {"Check": provider_pb2.CheckRequest, "Diff": provider_pb2.DiffRequest}[call](
        urn=URN.format("Nope")
    )
    text = _details(getattr(stub, call), request)
    assert text.startswith("this plug-in has no resource coppice:docker:Nope")
    assert "coppice:docker:Power" in text


def test_no_daemon_is_a_readable_error(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    request = provider_pb2.CreateRequest(
        urn=URN.format("Power"), properties=_struct(container="c", run="r", pids=5)
    )
    assert _details(stub.Create, request).startswith("the coppice provider has no dockerHost")
    with served() as (other, _):
        arguments = _struct(dockerHost="unix:///no/such.sock")
        other.Configure(provider_pb2.ConfigureRequest(args=arguments), timeout=30)
        assert "unix:///no/such.sock does not answer" in _details(other.Create, request)


def _gone(pid: int, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]  # noqa: PTH123, SIM115
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


PARENT = """\
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_with_the_engine_that_was_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *MAIN, "127.0.0.1:1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    try:
        os.kill(pid, 0)
        parent.kill()
        parent.wait()
        assert _gone(pid)
    finally:
        if not _gone(pid, 0.1):
            os.kill(pid, signal.SIGKILL)
        parent.communicate()


def test_it_ends_when_the_engine_says_so() -> None:
    with served() as (stub, process):
        stub.GetPluginInfo(empty_pb2.Empty(), timeout=30)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=15) == 0


def test_started_by_hand_it_says_what_it_is() -> None:
    done = subprocess.run(MAIN, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (2, "this is a Pulumi plug-in; the engine starts it\n")
