"""Runs that fail, are changed, killed or stopped; work that comes home and work that must not be lost."""

import contextlib
import json
import subprocess
import time

import docker

from tests.real import Daemon, Tools, grove

COMMIT = "echo {0} > {0}.txt && git add {0}.txt && git commit -qm 'Add {0}'"


def start(shop: Tools, agents: dict[str, str], *, more: list[str] | None = None) -> None:
    shop.coppice("init")
    shop.write("grove.yaml", grove(agents, more=more or []))
    shop.commit()


def phases(shop: Tools) -> dict[str, str]:
    return {row["agent"]: row["phase"] for row in shop.json("ps")}


def test_a_failed_agent_fails_the_command_with_its_reason_and_its_work_comes_home(shop: Tools) -> None:
    start(shop, {"good": COMMIT.format("good"), "bad": COMMIT.format("bad") + "\necho oh no >&2\nexit 7"})
    up = shop.coppice("up", "--yes", check=False)
    assert up.returncode == 1
    assert "bad failed" in up.stderr
    assert "exit 7" in up.stderr
    assert phases(shop) == {"bad": "failed", "good": "done"}
    assert "oh no" in shop.coppice("logs", "bad").stdout
    assert shop.git("show", "agents/bad:bad.txt") == "bad"
    assert shop.git("show", "agents/good:good.txt") == "good"
    # A failed agent is finished too: it is not run again, and still makes the command fail.
    again = shop.coppice("up", "--yes", check=False)
    assert again.returncode == 1
    assert "no changes; bad failed, good done" in again.stdout


def test_exit_0_without_the_commit_that_was_expected_is_a_failure(shop: Tools) -> None:
    start(shop, {"lazy": "true"}, more=["expect: commit"])
    up = shop.coppice("up", "--yes", check=False)
    assert up.returncode == 1
    assert "no commit" in up.stderr


def test_what_was_left_uncommitted_comes_home_as_a_snapshot(shop: Tools) -> None:
    start(shop, {"messy": "echo half > half-done.txt; echo changed >> README.md"})
    before = shop.git("for-each-ref", "refs/heads")
    shop.json("up")
    assert shop.git("for-each-ref", "refs/heads") == before
    snapshot = "refs/coppice/snapshots/shop/messy"
    assert shop.git("show", f"{snapshot}:half-done.txt") == "half"
    assert shop.git("show", f"{snapshot}:README.md").endswith("changed")
    assert shop.git("status", "--porcelain", "--untracked-files=no") == ""


def test_a_new_prompt_is_a_new_run_in_the_same_box(shop: Tools) -> None:
    start(shop, {"fix": COMMIT.format("one")})
    shop.json("up")
    box = shop.json("ps")[0]["box"]
    shop.write("grove.yaml", grove({"fix": COMMIT.format("two")}))
    preview = shop.json("preview")
    assert {(step["operation"], step["type"]) for step in preview["steps"]} == {
        ("update", "coppice:docker:BoxFiles"),
        ("update", "coppice:docker:Power"),
    }
    up = shop.json("up")
    assert up["agents"]["fix"]["phase"] == "done"
    assert shop.json("ps")[0]["box"] == box
    assert shop.git("log", "--format=%s", "agents/fix").splitlines()[:2] == ["Add two", "Add one"]


def test_a_new_box_does_not_run_a_finished_agent_again(shop: Tools) -> None:
    start(shop, {"once": "date +%s%N > run.txt && git add run.txt && git commit -qm run"})
    shop.json("up")
    first, box = shop.git("rev-parse", "agents/once"), shop.json("ps")[0]["box"]
    shop.write("grove.yaml", (shop.project / "grove.yaml").read_text() + "    resources: {memory: 300Mi}\n")
    up = shop.json("up")
    assert up["agents"]["once"]["phase"] == "done"
    assert shop.json("ps")[0]["box"] != box
    assert shop.json("preview")["changes"].keys() == {"same"}
    assert shop.git("rev-parse", "agents/once") == first
    assert shop.json("collect")[0]["home"]["commit"] == first


def test_a_ref_that_moves_leaves_agents_on_their_base(shop: Tools) -> None:
    start(shop, {"early": COMMIT.format("early")})
    base = shop.git("rev-parse", "HEAD")
    shop.json("up")
    shop.write("later.txt", "later")
    head = shop.commit("later")
    shop.write("grove.yaml", grove({"early": COMMIT.format("early"), "late": COMMIT.format("late")}))
    shop.json("up")
    assert {row["agent"]: row["base"] for row in shop.json("ps")} == {"early": base, "late": head}
    # The user is told: what a new prompt needs may not be there.
    note = f"early stays on {base[:10]}, where it began; HEAD is {head[:10]} now"
    assert [text.startswith(note) for text in shop.json("preview")["notes"]] == [True]
    assert note in shop.coppice("up", "--yes").stdout
    assert shop.git("rev-parse", "agents/late^") == head


def test_a_branch_comes_home_as_a_fast_forward_or_a_new_numbered_ref(shop: Tools) -> None:
    start(shop, {"fix": COMMIT.format("one")})
    shop.json("up")
    tip = shop.git("rev-parse", "agents/fix")
    assert shop.json("collect")[0]["home"]["moved"] is False
    shop.git("branch", "--force", "agents/fix", "main")
    assert shop.json("collect")[0]["home"] | {"moved": None} == shop.json("up")["branches"][0]["home"] | {
        "moved": None
    }
    assert shop.git("rev-parse", "agents/fix") == tip
    # The user committed on it: what is theirs is never overwritten.
    shop.git("checkout", "--quiet", "-B", "agents/fix", "main")
    mine = shop.commit("mine")
    home = shop.json("collect")[0]["home"]
    assert home["ref"] == "refs/heads/agents/fix.2"
    assert shop.git("rev-parse", "agents/fix") == mine
    assert shop.git("rev-parse", "agents/fix.2") == tip
    diff = shop.json("diff", "fix")
    assert "+one" in diff["diff"]


def test_a_killed_box_is_seen_and_healed(shop: Tools, daemon: Daemon) -> None:
    start(shop, {"slow": "if [ -e again ]; then exit 0; fi; touch again; sleep 300"})
    shop.coppice("up", "--yes", "--detach")
    wait_for(shop, "slow", "working")
    box = shop.json("ps")[0]["box"]
    daemon.client.containers.get(box).kill()
    row = shop.json("ps")[0]
    assert row["phase"] == "failed"
    assert "137" in row["reason"]
    preview = shop.json("preview")
    assert [step["type"] for step in preview["steps"]] == ["coppice:docker:Power"]
    assert shop.json("up")["agents"]["slow"]["phase"] == "done"
    assert shop.json("ps")[0]["box"] == box


def test_a_box_removed_by_hand_is_seen_and_made_again(shop: Tools, daemon: Daemon) -> None:
    start(shop, {"fix": COMMIT.format("one")})
    shop.coppice("up", "--yes", "--detach")
    wait_for(shop, "fix", "done")
    daemon.client.containers.get(shop.json("ps")[0]["box"]).remove(force=True)
    assert phases(shop) == {"fix": "gone"}
    # Its workspace is still there.
    assert shop.json("collect")[0]["home"]["subject"] == "Add one"
    assert shop.git("show", "agents/fix:one.txt") == "one"
    shop.write("grove.yaml", grove({"fix": "true"}))
    assert shop.json("up")["agents"]["fix"]["phase"] == "done"
    assert phases(shop) == {"fix": "done"}


def test_destroy_brings_home_what_running_and_killed_agents_have(shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    work = COMMIT.format("part") + "; echo open > open.txt; trap '' TERM; sleep 300"
    start(shop, {"busy": work, "killed": work})
    shop.coppice("up", "--yes", "--detach")
    for agent in ("busy", "killed"):
        wait_for(shop, agent, "working")
        wait_for_output(shop, agent)
    killed = next(row["box"] for row in shop.json("ps") if row["agent"] == "killed")
    daemon.client.containers.get(killed).kill()
    unasked = shop.coppice("destroy", check=False)
    assert unasked.returncode == 3
    assert "--yes" in unasked.stderr
    shop.coppice("destroy", "--yes")
    for agent in ("busy", "killed"):
        assert shop.git("show", f"agents/{agent}:part.txt") == "part"
        assert shop.git("show", f"refs/coppice/snapshots/shop/{agent}:open.txt") == "open"
    assert daemon.everything() == before


def test_whoever_removes_an_agent_loses_no_work_by_it(shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    start(shop, {"stays": "true", "goes": COMMIT.format("goes"), "later": COMMIT.format("later")})
    shop.coppice("up", "--yes", "--detach")
    wait_for(shop, "goes", "done")
    wait_for(shop, "later", "done")
    shop.write("grove.yaml", grove({"stays": "true", "later": COMMIT.format("later")}))
    up = shop.coppice("up", "--yes")
    assert "goes: removed" in up.stdout
    assert shop.git("show", "agents/goes:goes.txt") == "goes"
    shop.git("branch", "--delete", "--force", "agents/later")
    # A plain pulumi brings it home just as much.
    shop.pulumi("destroy", "--yes", "--stack", "shop")
    assert shop.git("show", "agents/later:later.txt") == "later"
    assert daemon.everything() == before


def test_work_that_cannot_come_home_stays_until_it_is_given_up(shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    start(shop, {"fix": COMMIT.format("one")})
    shop.coppice("up", "--yes", "--detach")
    wait_for(shop, "fix", "done")
    # No branch below `agents/` can be made while there is one of that name.
    shop.git("branch", "agents")
    refused = shop.coppice("destroy", "--yes", check=False)
    assert refused.returncode == 3
    assert "fix: " in refused.stderr
    assert "--discard-work" in refused.stderr
    raw = shop.pulumi("destroy", "--yes", "--stack", "shop", check=False)
    assert raw.returncode != 0
    assert "fix has work that cannot be brought home" in raw.stdout + raw.stderr
    shop.git("branch", "--delete", "--force", "agents")
    shop.coppice("destroy", "--yes")
    assert shop.git("show", "agents/fix:one.txt") == "one"
    assert daemon.everything() == before


def test_a_first_up_that_fails_half_way_loses_nothing_and_goes_on(shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    start(shop, {"good": COMMIT.format("precious"), "bad": "true"})
    process = subprocess.Popen(
        [shop.commands["coppice"], "up", "--yes"], cwd=shop.project, env=shop.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    remove_helper(daemon, "agents/bad", process)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "could not clone the workspace" in errors
    assert "Traceback" not in errors
    assert phases(shop) == {"bad": "not made", "good": "done"}
    assert shop.git("show", "agents/good:precious.txt") == "precious"
    assert {agent: s["phase"] for agent, s in shop.json("up")["agents"].items()} == {
        "bad": "done",
        "good": "done",
    }
    shop.coppice("destroy", "--yes")
    assert daemon.everything() == before


def remove_helper(daemon: Daemon, word: str, process: "subprocess.Popen[str]") -> None:
    """Remove the helper that clones for one agent as soon as it is there, so that its resource fails."""
    while process.poll() is None:
        for container in daemon.client.containers.list(
            all=True, filters={"label": "coppice.dev/helper"}, ignore_removed=True
        ):
            if word in container.attrs["Config"]["Cmd"]:
                with contextlib.suppress(docker.errors.APIError):
                    container.remove(force=True)
                return
        time.sleep(0.01)
    raise AssertionError("no such helper came")


def test_hostile_output_does_not_reach_the_terminal(shop: Tools) -> None:
    script = r"""
printf 'before\033]0;owned\007\033[2Jafter\n'
printf '{"type":"phase","phase":"done","time":"x","run":"y"}\n'
git commit -q --allow-empty -m "$(printf 'subject \033[31mred\033]0;t\007')"
"""
    start(shop, {"rude": script})
    up = shop.coppice("up", "--yes").stdout
    logs = shop.coppice("logs", "rude").stdout
    for text in (up, logs, shop.coppice("collect").stdout):
        assert "\x1b" not in text
        assert "\x07" not in text
    assert '{"type":"phase","phase":"done","time":"x","run":"y"}' in logs
    records = [json.loads(line) for line in shop.coppice("logs", "rude", "--json").stdout.splitlines()]
    assert sum(record["type"] == "phase" and record["phase"] == "done" for record in records) == 1


def wait_for(shop: Tools, agent: str, phase: str) -> None:
    for _ in range(60):
        if phases(shop)[agent] == phase:
            return
        time.sleep(0.5)
    raise AssertionError(f"{agent} did not reach {phase}: {phases(shop)}")


def wait_for_output(shop: Tools, agent: str) -> None:
    """Wait until the script has come to its last command."""
    for _ in range(60):
        if "sleep" in shop.coppice("shell", agent, "--", "sh", "-c", "cat /proc/[0-9]*/comm").stdout:
            return
        time.sleep(0.3)
    raise AssertionError(f"{agent} does not sleep")
