"""Rules over containers: hardened, limited, and with nothing of the host's mounted.

They judge every container of a stack, not those with a label of ours: a label is easily left out. Messages
name fields and never values, which may be secrets.

The engine hands over inputs that may not be known before `up`. Reading one raises UnknownValueError, and an
error that leaves a policy makes it advisory for that resource. So every check is run on its own, and a check
that meets an unknown value reports it: what cannot be judged is refused.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

CONTAINER = "docker:index/container:Container"
VOLUME = "docker:index/volume:Volume"

Props = Mapping[str, Any]
Check = Callable[[Props], Iterable[str]]

# A name could be that of user 0 in the image: only a number tells.
_NOT_ROOT = re.compile(r"[1-9][0-9]*(:[1-9][0-9]*)?", re.ASCII)
_NO_NEW_PRIVILEGES = re.compile(r"no-new-privileges([:=]true)?", re.ASCII)
_NAMESPACES = {
    "networkMode": "the network",
    "pidMode": "processes",
    "ipcMode": "shared memory",
    "usernsMode": "user ids",
    "cgroupnsMode": "cgroups",
    "uts": "the host name",
}
_DEVICES = ("devices", "deviceRequests", "deviceCgroupRules", "gpus")


def _judge(checks: Iterable[tuple[str, Check]], props: Props) -> list[str]:
    """Return what the checks say; one that meets an unknown value says so.

    Args:
        checks: (what it reads, for the message) and the check.
        props: a resource's inputs.
    """
    messages: list[str] = []
    for fields, check in checks:
        try:
            messages += check(props)
        except UnknownValueError:
            messages.append(
                f"{fields}: not known before `up` and so not judged; give it a value known at preview"
            )
    return messages


def _items(props: Props, key: str) -> Iterator[Any]:
    """Yield the items of a list that may be missing."""
    yield from props.get(key) or ()


def _privileged(props: Props) -> Iterator[str]:
    if props.get("privileged"):
        yield "privileged: a privileged box is the host; leave it out"


def _read_only(props: Props) -> Iterator[str]:
    if props.get("readOnly") is not True:
        yield "readOnly: must be true; give volumes or tmpfs for what the box writes"


def _capabilities(props: Props) -> Iterator[str]:
    capabilities = props.get("capabilities") or {}
    if not any(str(name).upper() == "ALL" for name in _items(capabilities, "drops")):
        yield "capabilities.drops: must hold ALL"
    if list(_items(capabilities, "adds")):
        yield "capabilities.adds: must be empty"


def _security(props: Props) -> Iterator[str]:
    options = [str(option) for option in _items(props, "securityOpts")]
    privileges = [option for option in options if option.startswith("no-new-privileges")]
    if not privileges or not all(_NO_NEW_PRIVILEGES.fullmatch(option) for option in privileges):
        yield "securityOpts: must hold no-new-privileges:true, and nothing that takes it back"
    if any("unconfined" in option or "disable" in option for option in options):
        yield "securityOpts: must not switch a confinement off"


def _user(props: Props) -> Iterator[str]:
    if not _NOT_ROOT.fullmatch(str(props.get("user") or "")):
        yield "user: must be a number other than 0, as in 1000:1000 (an image's default is often root)"


def _groups(props: Props) -> Iterator[str]:
    if list(_items(props, "groupAdds")):
        yield "groupAdds: must be empty"


def _namespace(key: str, what: str) -> Check:
    def check(props: Props) -> Iterator[str]:
        mode = str(props.get(key) or "")
        if mode == "host" or mode.startswith("container:"):
            yield f"{key}: must not share {what} with the host or another container"

    return check


def _memory(props: Props) -> Iterator[str]:
    if not (props.get("memory") or 0) > 0:
        yield "memory: must be set, in MiB"
    if (props.get("memorySwap") or 0) < 0:
        yield "memorySwap: must not be unlimited; give it the value of memory"


def _cpu(props: Props) -> Iterator[str]:
    if not props.get("cpus") and not (props.get("cpuQuota") or 0) > 0:
        yield "cpuQuota: must be set, in microseconds of every cpuPeriod (or cpus)"


def _no_devices(props: Props) -> Iterator[str]:
    for key in _DEVICES:
        if props.get(key):
            yield f"{key}: must be empty"


_HARDENED: tuple[tuple[str, Check], ...] = (
    ("privileged", _privileged),
    ("readOnly", _read_only),
    ("capabilities", _capabilities),
    ("securityOpts", _security),
    ("user", _user),
    ("groupAdds", _groups),
    *((key, _namespace(key, what)) for key, what in _NAMESPACES.items()),
    ("memory, memorySwap", _memory),
    ("cpus, cpuQuota", _cpu),
    (", ".join(_DEVICES), _no_devices),
)


def hardened(props: Props) -> list[str]:
    """Return what makes a container weaker than a box may be.

    Args:
        props: the inputs of a docker:index/container:Container.
    """
    return _judge(_HARDENED, props)


def _borrows(options: Props | None) -> bool:
    """Say whether a volume's driver options name a place: the local driver mounts whatever `device` says."""
    return any(str(key).lower() == "device" for key in options or {})


def _mounts(props: Props) -> Iterator[str]:
    for index, mount in enumerate(_items(props, "mounts")):
        kind = mount.get("type")
        if kind not in {"volume", "tmpfs"}:
            yield f"mounts[{index}]: must be a volume or a tmpfs, and no folder of the host"
        # Names of new volumes are known at `up` only, and no name of a volume leads to the host.
        if _borrows((mount.get("volumeOptions") or {}).get("driverOptions")):
            yield f"mounts[{index}].volumeOptions.driverOptions: must not name a device"


def _volumes(props: Props) -> Iterator[str]:
    for index, volume in enumerate(_items(props, "volumes")):
        if volume.get("hostPath"):
            yield f"volumes[{index}].hostPath: must not be set; use a volume"
        if volume.get("fromContainer"):
            yield f"volumes[{index}].fromContainer: must not be set; name the volume"
        # The plug-in passes this on as the daemon's HOST:CONTAINER, where a path is a folder of the host.
        if "/" in str(volume.get("volumeName") or ""):
            yield f"volumes[{index}].volumeName: must be a volume's name and no path"


_MOUNTS: tuple[tuple[str, Check], ...] = (("mounts", _mounts), ("volumes", _volumes))


def mounts(props: Props) -> list[str]:
    """Return what of the host, or of another container, a container mounts.

    Args:
        props: the inputs of a docker:index/container:Container.
    """
    return _judge(_MOUNTS, props)


def _driver(props: Props) -> Iterator[str]:
    if _borrows(props.get("driverOpts")):
        yield "driverOpts: must not name a device, which is how a volume becomes a folder of the host"


def volume(props: Props) -> list[str]:
    """Return what makes a volume a window to the host.

    Args:
        props: the inputs of a docker:index/volume:Volume.
    """
    return _judge((("driverOpts", _driver),), props)


def _policy(
    name: str, description: str, rules: Mapping[str, Callable[[Props], list[str]]]
) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        rule = rules.get(args.resource_type)
        messages = rule(args.props) if rule else []
        if messages:
            # One report a resource: the engine repeats the description with each.
            report("\n".join([f"{args.name}:", *(f"  {message}" for message in messages)]), None)

    return ResourceValidationPolicy(
        name=name,
        description=description,
        enforcement_level=EnforcementLevel.MANDATORY,
        validate=validate,
    )


POLICIES = (
    _policy(
        "box-hardened",
        "An agent runs whatever code it likes: its box has no privilege to gain, is read-only and is limited."
        " Set the fields named above as coppice.components does, or make the box with coppice.Agent.",
        {CONTAINER: hardened},
    ),
    _policy(
        "box-mounts",
        "A folder of the host in a box is a way out of it, and the Docker socket is the host."
        " Use volumes, without options that name a device.",
        {CONTAINER: mounts, VOLUME: volume},
    ),
)
