"""Probes inside a box: what an agent can reach, write and see."""

import json

import pytest

from tests.real import Daemon, Tools, grove

PROBE = r"""
python3 - <<'PY'
import json, os, pathlib, socket, subprocess

def status(key):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(key + ":"))

def attempt(call):
    try:
        return f"done: {call()}"
    except OSError as error:
        return type(error).__name__

def connect(address):
    with socket.create_connection((address, 53), timeout=5):
        return address

def writable():
    found = set()
    for folder, names, files in os.walk("/", onerror=lambda e: None):
        if folder.startswith(("/proc", "/sys", "/dev/pts", "/dev/fd")):
            names.clear()
            continue
        probe = os.path.join(folder, ".probe")
        try:
            with open(probe, "w"):
                pass
            os.unlink(probe)
            found.add(folder)
            names.clear()
        except OSError:
            pass
    return sorted(found)

print(json.dumps({
    "uid": [os.getuid(), os.geteuid(), os.getgid(), os.getgroups()],
    "capabilities": [status(key) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "noNewPrivs": status("NoNewPrivs"),
    "seccomp": status("Seccomp"),
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "routes": pathlib.Path("/proc/net/route").read_text().splitlines()[1:],
    "connect": attempt(lambda: connect("192.0.2.1")),
    "dns": attempt(lambda: socket.getaddrinfo("example.com", 443)),
    "writable": writable(),
    "setuid": attempt(lambda: os.setuid(0)),
    "mount": subprocess.run(["mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True).returncode,
    "sockets": [p for p in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(p)],
    "log": attempt(lambda: open("/proc/1/fd/1", "w").write("forged")),
    "supervisor": attempt(lambda: os.listdir("/proc/1/fd")),
    "processes": sorted({pathlib.Path(f"/proc/{p}/comm").read_text().strip() for p in os.listdir("/proc") if p.isdigit()}),
    "environment": sorted(os.environ),
    "mirror": attempt(lambda: open("/var/lib/coppice/mirror/x", "w")),
    "launch": attempt(lambda: open("/run/coppice/launch.json", "w")),
}))
PY
"""


@pytest.fixture
def probed(shop: Tools) -> dict[str, object]:
    """Run the probe in one of two boxes side by side; return what it saw."""
    shop.coppice("init")
    other = "echo mine > secret-of-b; sleep 1"
    shop.write(
        "grove.yaml", grove({"a": PROBE, "b": other}, more=["resources: {memory: 256Mi, pids: 40, cpu: 0.5}"])
    )
    shop.commit()
    shop.json("up")
    lines = [json.loads(line) for line in shop.coppice("logs", "a", "--json").stdout.splitlines()]
    output = [line["text"] for line in lines if line["type"] == "output"]
    found: dict[str, object] = json.loads(output[-1])
    return found


def test_a_box_reaches_nothing_and_writes_only_what_is_its_own(probed: dict[str, object]) -> None:
    assert probed["uid"] == [1000, 1000, 1000, [1000]]
    assert probed["capabilities"] == ["0000000000000000"] * 5
    assert probed["noNewPrivs"] == "1"
    assert probed["seccomp"] == "2"
    assert probed["interfaces"] == ["lo"]
    assert probed["routes"] == []
    assert probed["connect"] == "OSError"  # network is unreachable
    assert probed["dns"] == "gaierror"
    # Workspace, HOME and tmp; shared memory and message queues are the box's own memory too.
    assert probed["writable"] == ["/dev/mqueue", "/dev/shm", "/home/agent", "/tmp", "/workspace"]
    assert probed["setuid"] == "PermissionError"
    assert probed["mount"] != 0
    assert probed["sockets"] == []
    assert probed["mirror"] == "OSError"  # read-only file system
    assert probed["launch"] == "OSError"
    # The log is the record: an agent cannot write into it past its supervisor.
    assert probed["log"] == "PermissionError"
    assert probed["supervisor"] == "PermissionError"
    assert set(probed["processes"]) <= {"python3", "bash"}  # type: ignore[call-overload]
    assert "DOCKER_HOST" not in probed["environment"]  # type: ignore[operator]


def test_the_limits_of_a_box_hold(shop: Tools, daemon: Daemon) -> None:
    shop.coppice("init")
    bomb = "for i in $(seq 200); do sleep 20 & done; wait"
    eater = "python3 -c 'b = bytearray(600 << 20); print(len(b))'"
    more = ["resources: {memory: 128Mi, pids: 30, cpu: 0.5}", "limits: {duration: 3s}"]
    shop.write("grove.yaml", grove({"bomb": bomb, "eater": eater}, more=more))
    shop.commit()
    up = shop.coppice("up", "--yes", "--json", check=False)
    assert up.returncode == 1
    agents = json.loads(up.stdout)["agents"]
    assert agents["bomb"]["phase"] == "failed"
    assert agents["eater"]["phase"] == "failed"
    assert "Resource temporarily unavailable" in shop.coppice("logs", "bomb").stdout
    box = daemon.client.containers.get(next(row["box"] for row in shop.json("ps") if row["agent"] == "bomb"))
    limits = box.attrs["HostConfig"]
    assert limits["PidsLimit"] == 30
    assert limits["Memory"] == limits["MemorySwap"] == 128 << 20
    assert limits["CpuQuota"] / limits["CpuPeriod"] == 0.5
    assert limits["NetworkMode"] == "none"
    assert limits["Binds"] is None


def test_agents_do_not_see_each_other(shop: Tools, daemon: Daemon) -> None:
    shop.coppice("init")
    look = "(find / -name 'secret-of-*' 2>/dev/null || true) | sort; echo mine > secret-of-$COPPICE_AGENT; sleep 2; ls"
    shop.write("grove.yaml", grove({"a": look, "b": look}))
    shop.commit()
    shop.json("up")
    for agent, other in (("a", "b"), ("b", "a")):
        log = shop.coppice("logs", agent).stdout
        assert f"secret-of-{agent}" in log
        assert f"secret-of-{other}" not in log
    boxes = [daemon.client.containers.get(row["box"]) for row in shop.json("ps")]
    volumes = [
        {mount["Name"] for mount in box.attrs["Mounts"] if mount["RW"]} for box in boxes
    ]  # fmt: skip
    assert not volumes[0] & volumes[1]
