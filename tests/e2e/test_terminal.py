"""What a person at a terminal does: Ctrl-C, following a log, a shell in a box."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pexpect

from tests.real import Daemon, Tools, grove


def _processes(marker: str) -> list[str]:
    """Return the command lines of the processes whose environment holds `marker`."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if marker.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def _locks(shop: Tools) -> list[Path]:
    backend = Path(shop.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    return [path for path in (backend / ".pulumi" / "locks").rglob("*") if path.is_file()]


def _begin(shop: Tools, agents: dict[str, str]) -> None:
    shop.coppice("init")
    shop.write("grove.yaml", grove(agents))
    shop.commit()


def test_ctrl_c_while_agents_work_leaves_them_working(shop: Tools) -> None:
    _begin(shop, {"slow": "sleep 300"})
    child = pexpect.spawn(
        shop.commands["coppice"], ["up", "--yes"], cwd=shop.project, env=shop.environment, timeout=120
    )
    child.expect("provisioned")
    child.expect("working")
    child.sendcontrol("c")
    child.expect("the agents go on")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert shop.json("ps")[0]["phase"] == "working"
    assert _locks(shop) == []


def test_ctrl_c_during_an_update_leaves_no_process_and_no_lock(shop: Tools, daemon: Daemon) -> None:
    _begin(shop, {f"a{number}": "true" for number in range(12)})
    marker = f"COPPICE_STATE_DIR={shop.environment['COPPICE_STATE_DIR']}"
    child = pexpect.spawn(
        shop.commands["coppice"], ["up", "--yes"], cwd=shop.project, env=shop.environment, timeout=120
    )
    child.expect("creating workspace")
    child.sendcontrol("c")
    child.expect("cancelling")
    child.expect("what was made so far stays")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    deadline = time.monotonic() + 10
    while _processes(marker) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _processes(marker) == []
    assert _locks(shop) == []
    # What was cut off goes on from where it was.
    assert {state["phase"] for state in shop.json("up")["agents"].values()} == {"done"}
    before = daemon.everything()
    shop.coppice("destroy", "--yes")
    assert len(daemon.everything()["containers"]) == len(before["containers"]) - 12


def test_sigterm_means_the_same_as_ctrl_c(shop: Tools) -> None:
    _begin(shop, {f"a{number}": "true" for number in range(8)})
    process = subprocess.Popen(
        [shop.commands["coppice"], "up", "--yes"], cwd=shop.project, env=shop.environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "creating workspace" in line:
            process.send_signal(signal.SIGTERM)
            break
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert _locks(shop) == []


def test_logs_follow_until_the_box_stops(shop: Tools) -> None:
    _begin(shop, {"talker": "for i in 1 2 3; do echo line $i; sleep 1; done"})
    shop.coppice("up", "--yes", "--detach")
    followed = shop.coppice("logs", "talker", "-f").stdout
    assert [line for line in followed.splitlines() if line.startswith("line")] == [
        "line 1",
        "line 2",
        "line 3",
    ]
    assert followed.rstrip().splitlines()[-1].endswith("done")


def test_a_shell_in_a_box_that_has_ended_and_in_one_that_runs(shop: Tools, daemon: Daemon) -> None:
    _begin(
        shop, {"ended": "touch mine; git add mine; git commit -qm mine", "running": "touch mine; sleep 300"}
    )
    shop.coppice("up", "--yes", "--detach")
    before = daemon.everything()
    for agent in ("ended", "running"):
        inside = shop.coppice(
            "shell", agent, "--", "sh", "-c", "id -u; ls; touch /etc/x || echo refused; exit 5", check=False
        )
        assert inside.returncode == 5
        assert "1000" in inside.stdout
        assert "mine" in inside.stdout
        assert "refused" in inside.stdout
        child = pexpect.spawn(
            shop.commands["coppice"], ["shell", agent], cwd=shop.project, env=shop.environment, timeout=60
        )
        child.expect(r"\$ ")
        child.sendline("echo in $(hostname) as $(id -u)")
        child.expect(f"in {agent} as 1000")
        child.sendline("exit 3")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 3
    assert daemon.everything() == before
    refused = shop.coppice("shell", "ended", check=False)
    assert refused.returncode == 2
    assert "a shell needs a terminal" in refused.stderr


def test_up_asks_on_a_terminal_and_no_means_no(shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    _begin(shop, {"a": "true"})
    child = pexpect.spawn(
        shop.commands["coppice"], ["up"], cwd=shop.project, env=shop.environment, timeout=60
    )
    child.expect("Start")
    child.sendline("n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert daemon.everything() == before


def test_output_of_a_command_in_a_box_comes_as_it_is_written(shop: Tools) -> None:
    _begin(shop, {"a": "true"})
    shop.json("up")
    script = "yes | head -c 8000000"
    process = subprocess.Popen(
        [shop.commands["coppice"], "shell", "a", "--", "sh", "-c", f"echo first; sleep 3; {script}"],
        cwd=shop.project, env=shop.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    assert process.poll() is None
    assert sum(len(line) for line in process.stdout) == 8_000_000
    assert process.wait(timeout=60) == 0
    cut = json.loads(shop.coppice("shell", "--json", "a", "--", "sh", "-c", script).stdout)
    assert cut["cut"] is True
    assert len(cut["output"]) < 5_000_000
