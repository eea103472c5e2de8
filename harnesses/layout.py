"""Where things are in a box, the same on every runtime. Shared by the runtimes and the supervisor's tests."""

USER = "agent"
UID = 1000
GID = 1000
WORKSPACE = "/workspace"
MIRROR = "/var/lib/coppice/mirror"
RUN_DIR = "/run/coppice"
LAUNCH_FILE = f"{RUN_DIR}/launch.json"
FILES_DIR = f"{RUN_DIR}/files"
SUPERVISOR_DIR = "/opt/coppice/supervisor"
SUPERVISOR_COMMAND = ("python3", "-I", SUPERVISOR_DIR)
HOME = "/home/agent"
TMP = "/tmp"  # noqa: S108  # the box's own tmpfs
BUNDLE = f"{WORKSPACE}/.git/coppice/branch.bundle"
SNAPSHOT_REF = "refs/coppice/snapshot"

# Seconds that a runtime has to wait between TERM and KILL of a box: 10 for the harness, 60 to bring the work
# home, 30 for a slow reader of the log. It takes as long only if something is badly wrong.
STOP_TIMEOUT = 110
