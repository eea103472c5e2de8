"""Rules over containers, without the engine: each violation is found, the real box is clean."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pulumi_policy import EnforcementLevel, ResourceValidationArgs, ResourceValidationPolicy
from pulumi_policy.proxy import (
    UNKNOWN_ARRAY_VALUE,
    UNKNOWN_BOOLEAN_VALUE,
    UNKNOWN_NUMBER_VALUE,
    UNKNOWN_OBJECT_VALUE,
    UNKNOWN_STRING_VALUE,
    UnknownValueError,
    unknown_checking_proxy,
)

from coppice.components.grove import Grove
from coppice.components.runtimes.docker.resources import DockerRuntime
from coppice.groves.load import parse_grove
from coppice.groves.plan import plan
from coppice.policies.rules import boxes
from coppice.policies.rules.boxes import CONTAINER, POLICIES, VOLUME
from tests.components import mocked

Rule = Callable[[Mapping[str, Any]], list[str]]


def good() -> dict[str, Any]:
    return {
        "privileged": False,
        "readOnly": True,
        "capabilities": {"drops": ["ALL"]},
        "securityOpts": ["no-new-privileges:true"],
        "user": "1000:1000",
        "networkMode": "none",
        "ipcMode": "private",
        "memory": 64.0,
        "memorySwap": 64.0,
        "cpuQuota": 1000.0,
        "mounts": [{"type": "volume", "source": "w-1", "target": "/w"}],
    }


def test_a_good_box_is_clean() -> None:
    assert boxes.hardened(good()) == []
    assert boxes.mounts(good()) == []


@pytest.mark.parametrize("name", ["hello", "five-lines"])
def test_the_boxes_of_the_examples_are_clean(root: Path, repository: Path, name: str) -> None:
    text = (root / "groves" / "examples" / f"{name}.yaml").read_bytes()
    made = plan(parse_grove(text, name), source=repository / f"{name}.yaml")
    graph = mocked.run(lambda: Grove(made.grove, made, DockerRuntime("unix:///x")), preview=True)
    assert graph.of(CONTAINER)
    for box in graph.of(CONTAINER):
        assert boxes.hardened(box.inputs) == []
        assert boxes.mounts(box.inputs) == []
    assert graph.of(VOLUME)
    for volume in graph.of(VOLUME):
        assert boxes.volume(volume.inputs) == []


HARDENED: list[tuple[str, dict[str, Any], str]] = [
    ("privileged", {"privileged": True}, "privileged"),
    ("writable", {"readOnly": False}, "readOnly"),
    ("writable by default", {"readOnly": None}, "readOnly"),
    ("no capabilities", {"capabilities": None}, "capabilities.drops"),
    ("some dropped", {"capabilities": {"drops": ["NET_ADMIN"]}}, "capabilities.drops"),
    ("one added", {"capabilities": {"drops": ["ALL"], "adds": ["SYS_ADMIN"]}}, "capabilities.adds"),
    ("all added", {"capabilities": {"drops": ["ALL"], "adds": ["ALL"]}}, "capabilities.adds"),
    ("no security options", {"securityOpts": None}, "securityOpts"),
    ("other security options", {"securityOpts": ["label=type:x"]}, "securityOpts"),
    ("switched off", {"securityOpts": ["no-new-privileges:false"]}, "securityOpts"),
    ("taken back", {"securityOpts": ["no-new-privileges", "no-new-privileges=false"]}, "securityOpts"),
    ("seccomp off", {"securityOpts": ["no-new-privileges", "seccomp=unconfined"]}, "securityOpts"),
    ("apparmor off", {"securityOpts": ["no-new-privileges", "apparmor=unconfined"]}, "securityOpts"),
    ("labels off", {"securityOpts": ["no-new-privileges", "label=disable"]}, "securityOpts"),
    ("no user", {"user": None}, "user"),
    ("empty user", {"user": ""}, "user"),
    ("root", {"user": "root"}, "user"),
    ("0", {"user": "0"}, "user"),
    ("00", {"user": "00"}, "user"),
    ("+0", {"user": "+0"}, "user"),
    ("0:1000", {"user": "0:1000"}, "user"),
    ("group root", {"user": "1000:0"}, "user"),
    ("group by name", {"user": "1000:root"}, "user"),
    ("user by name", {"user": "agent"}, "user"),
    ("a line more", {"user": "1000:1000\n"}, "user"),
    ("more groups", {"groupAdds": ["docker"]}, "groupAdds"),
    ("network", {"networkMode": "host"}, "networkMode"),
    ("another's network", {"networkMode": "container:db"}, "networkMode"),
    ("processes", {"pidMode": "host"}, "pidMode"),
    ("another's processes", {"pidMode": "container:db"}, "pidMode"),
    ("shared memory", {"ipcMode": "host"}, "ipcMode"),
    ("user ids", {"usernsMode": "host"}, "usernsMode"),
    ("cgroups", {"cgroupnsMode": "host"}, "cgroupnsMode"),
    ("no memory limit", {"memory": None}, "memory"),
    ("memory without end", {"memory": 0.0}, "memory"),
    ("swap without end", {"memorySwap": -1.0}, "memorySwap"),
    ("no CPU limit", {"cpuQuota": None}, "cpuQuota"),
    ("CPU without end", {"cpuQuota": -1.0}, "cpuQuota"),
    ("devices", {"devices": [{"hostPath": "/dev/kvm"}]}, "devices"),
    ("device rules", {"deviceCgroupRules": ["c 10:200 rwm"]}, "deviceCgroupRules"),
    ("device requests", {"deviceRequests": [{"count": 1}]}, "deviceRequests"),
    ("GPUs", {"gpus": "all"}, "gpus"),
]
MOUNTS: list[tuple[str, dict[str, Any], str]] = [
    ("bind", {"mounts": [{"type": "bind", "source": "/home", "target": "/h"}]}, "mounts[0]"),
    ("socket", {"mounts": [{"type": "bind", "source": "/var/run/docker.sock", "target": "/s"}]}, "mounts[0]"),
    ("named pipe", {"mounts": [{"type": "npipe", "source": "x", "target": "/s"}]}, "mounts[0]"),
    ("no type", {"mounts": [{"source": "x", "target": "/s"}]}, "mounts[0]"),
    (
        "second of two",
        {"mounts": [{"type": "tmpfs", "target": "/t"}, {"type": "bind", "source": "/", "target": "/h"}]},
        "mounts[1]",
    ),
    (
        "bind by a volume's options",
        {"mounts": [{"type": "volume", "volumeOptions": {"driverOptions": {"device": "/", "o": "bind"}}}]},
        "mounts[0].volumeOptions.driverOptions",
    ),
    ("host path", {"volumes": [{"hostPath": "/home", "containerPath": "/h"}]}, "volumes[0].hostPath"),
    (
        "path as a name",
        {"volumes": [{"volumeName": "/home", "containerPath": "/h"}]},
        "volumes[0].volumeName",
    ),
    ("another's volumes", {"volumes": [{"fromContainer": "db"}]}, "volumes[0].fromContainer"),
]


def _fields(messages: list[str]) -> list[str]:
    return [message.partition(": ")[0] for message in messages]


@pytest.mark.parametrize(
    ("change", "field"), [case[1:] for case in HARDENED], ids=[case[0] for case in HARDENED]
)
def test_every_weakness_is_found_and_nothing_else(change: dict[str, Any], field: str) -> None:
    assert _fields(boxes.hardened({**good(), **change})) == [field]


@pytest.mark.parametrize(("change", "field"), [case[1:] for case in MOUNTS], ids=[case[0] for case in MOUNTS])
def test_every_way_to_the_host_is_found(change: dict[str, Any], field: str) -> None:
    assert _fields(boxes.mounts({**good(), **change})) == [field]


def test_a_volume_is_no_window_to_the_host() -> None:
    assert boxes.volume({"driver": "local", "driverOpts": {"type": "tmpfs", "o": "size=1m"}}) == []
    for options in ({"type": "none", "o": "bind", "device": "/"}, {"Device": "/"}):
        assert _fields(boxes.volume({"driverOpts": options})) == ["driverOpts"]


@pytest.mark.parametrize("option", ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"])
def test_every_spelling_that_the_daemon_takes(option: str) -> None:
    assert boxes.hardened({**good(), "securityOpts": [option]}) == []


def test_an_empty_container_has_every_fault_named() -> None:
    fields = _fields(boxes.hardened({}))
    assert fields == ["readOnly", "capabilities.drops", "securityOpts", "user", "memory", "cpuQuota"]


def test_values_are_never_shown() -> None:
    """A pack sees secrets as they are."""
    secret = "hunter2"  # noqa: S105 (a value, to be looked for)
    bad = {
        "user": secret,
        "securityOpts": [f"{secret}=unconfined"],
        "networkMode": f"container:{secret}",
        "devices": [{"hostPath": secret}],
        "mounts": [{"type": secret, "source": secret, "target": secret}],
        "volumes": [{"hostPath": secret, "volumeName": f"/{secret}", "fromContainer": secret}],
    }
    messages = [*boxes.hardened(bad), *boxes.mounts(bad), *boxes.volume({"driverOpts": {"device": secret}})]
    assert len(messages) > 8
    assert secret not in "\n".join(messages)


UNKNOWN: list[tuple[Rule, str, Any]] = [
    (boxes.hardened, "privileged", UNKNOWN_BOOLEAN_VALUE),
    (boxes.hardened, "readOnly", UNKNOWN_BOOLEAN_VALUE),
    (boxes.hardened, "capabilities", UNKNOWN_OBJECT_VALUE),
    (boxes.hardened, "capabilities", {"drops": UNKNOWN_ARRAY_VALUE}),
    (boxes.hardened, "capabilities", {"drops": ["ALL"], "adds": [UNKNOWN_STRING_VALUE]}),
    (boxes.hardened, "securityOpts", UNKNOWN_ARRAY_VALUE),
    (boxes.hardened, "user", UNKNOWN_STRING_VALUE),
    (boxes.hardened, "networkMode", UNKNOWN_STRING_VALUE),
    (boxes.hardened, "memory", UNKNOWN_NUMBER_VALUE),
    (boxes.hardened, "cpuQuota", UNKNOWN_NUMBER_VALUE),
    (boxes.hardened, "devices", UNKNOWN_ARRAY_VALUE),
    (boxes.mounts, "mounts", UNKNOWN_ARRAY_VALUE),
    (boxes.mounts, "mounts", [{"type": UNKNOWN_STRING_VALUE, "target": "/x"}]),
    (boxes.mounts, "volumes", [{"hostPath": UNKNOWN_STRING_VALUE}]),
    (boxes.volume, "driverOpts", UNKNOWN_OBJECT_VALUE),
]


@pytest.mark.parametrize(("rule", "field", "value"), UNKNOWN)
def test_what_is_not_known_is_refused(rule: Rule, field: str, value: Any) -> None:
    (message,) = rule(unknown_checking_proxy({**good(), field: value}))
    assert field in message.partition(": ")[0]
    assert "not known before `up`" in message


def test_one_unknown_value_hides_no_other_fault() -> None:
    props = unknown_checking_proxy({**good(), "user": UNKNOWN_STRING_VALUE, "readOnly": False})
    assert _fields(boxes.hardened(props)) == ["readOnly", "user"]


def test_names_of_new_volumes_need_not_be_known() -> None:
    mount = {"type": "volume", "source": UNKNOWN_STRING_VALUE, "target": "/w", "readOnly": True}
    assert boxes.mounts(unknown_checking_proxy({**good(), "mounts": [mount]})) == []


def _validate(policy: ResourceValidationPolicy, token: str, props: Mapping[str, Any]) -> list[str]:
    reports: list[str] = []
    args = ResourceValidationArgs(token, props, "urn:x", "box", None, None)  # type: ignore[arg-type]
    result = policy.validate(args, lambda message, urn: reports.append(message))
    assert result is None
    return reports


def test_every_policy_is_mandatory_and_explains_itself() -> None:
    assert [policy.name for policy in POLICIES] == ["box-hardened", "box-mounts"]
    for policy in POLICIES:
        assert policy.enforcement_level is EnforcementLevel.MANDATORY
        assert len(policy.description) > 60


def test_policies_judge_their_types_alone() -> None:
    hard, mounts = POLICIES
    (report,) = _validate(hard, CONTAINER, {**good(), "privileged": True, "readOnly": False})
    assert report.splitlines()[0] == "box:"
    assert len(report.splitlines()) == 3
    assert _validate(hard, VOLUME, {"privileged": True}) == []
    assert _validate(hard, "coppice:docker:Power", {}) == []
    assert len(_validate(mounts, CONTAINER, {"volumes": [{"hostPath": "/"}]})) == 1
    assert len(_validate(mounts, VOLUME, {"driverOpts": {"device": "/"}})) == 1


def test_the_engine_would_turn_an_unknown_value_into_advice() -> None:
    """Why checks catch it: the SDK's servicer downgrades a policy that lets this error out."""
    with pytest.raises(UnknownValueError):
        unknown_checking_proxy({"user": UNKNOWN_STRING_VALUE}).get("user")
    (report,) = _validate(
        POLICIES[0], CONTAINER, unknown_checking_proxy({**good(), "user": UNKNOWN_STRING_VALUE})
    )
    assert "user: not known" in report
