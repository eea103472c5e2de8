"""A grove's boxes as hardened containers.

Physical names are the engine's auto-names, so that a box which must be replaced is made before the old one
goes, and a volume left over from elsewhere is never adopted with its files.
"""

import json
from typing import Any

import pulumi
import pulumi_docker as docker

from coppice.components import images, ownership, providers
from coppice.components.runtimes.base import Box
from coppice.components.runtimes.docker import own
from coppice.groves.plan import AgentPlan, Plan
from coppice.harnesses import layout
from coppice.harnesses.base import LaunchSpec, launch_document, run_key

_MIB = 1 << 20
# What is in memory counts as the box's memory. Together they leave room for the agent, and for its supervisor to
# bring the work home when they are full.
_TMP_SHARE, _HOME_SHARE, _SHM_SHARE = 0.4, 0.2, 0.1
_SHM_MOST = 64  # MiB, Docker's own default
_LOG_SIZE = "128m"  # the supervisor stops relaying output long before
_CPU_PERIOD = 100_000  # microseconds, the kernel's usual scheduler period
_CPU_QUOTA_LEAST = 1_000  # microseconds, the least that the kernel takes
# A volume's labels or options cannot change without losing its content: what is there stays as it is.
_KEEP = ["labels", "driver", "driver_opts", "name"]


def _tmpfs(agent: AgentPlan, launch: LaunchSpec) -> dict[str, str]:
    memory = agent.resources.memory
    mounts = {layout.TMP: f"rw,nosuid,nodev,exec,mode=1777,size={int(memory * _TMP_SHARE)}"}
    if launch.home == "tmpfs":
        owner = f"uid={layout.UID},gid={layout.GID},mode=0700"
        mounts[layout.HOME] = f"rw,nosuid,nodev,exec,{owner},size={int(memory * _HOME_SHARE)}"
    return mounts


class DockerGrove:
    """What the boxes of one grove share on a daemon: the base image and the mirror.

    Args:
        plan: the grove.
        commit: the base of new workspaces.
        host: the daemon's address.
        parent: the grove's component.
    """

    def __init__(self, plan: Plan, commit: str, host: str, parent: pulumi.Resource) -> None:
        self._plan = plan
        self._commit = commit
        self._repository = ownership.owner(plan.repository.path)
        self._docker = providers.docker_provider(f"{plan.grove}-docker", host, parent)
        self._own = providers.coppice_provider(f"{plan.grove}-coppice", host, parent)
        self._image = own.Image(
            f"{plan.grove}-base",
            image=images.BASE,
            source=images.source_digest(),
            opts=self._options(parent, ours=True),
        )
        volume = self._volume(f"{plan.grove}-mirror", parent)
        self._mirror = own.Mirror(
            f"{plan.grove}-mirror",
            volume=volume.name,
            image=self._image.digest,
            repository=self._repository,
            commit=commit,
            opts=self._options(parent, ours=True),
        )

    def _options(self, parent: pulumi.Resource, *, ours: bool = False, **more: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=parent, provider=self._own if ours else self._docker, **more)

    def _volume(self, name: str, parent: pulumi.Resource) -> docker.Volume:
        return docker.Volume(name, opts=self._options(parent, ignore_changes=_KEEP))

    def box(self, agent: AgentPlan, launch: LaunchSpec, parent: pulumi.Resource) -> Box:
        """Provision one agent's box: workspace, launch document, container, power."""
        name = f"{self._plan.grove}-{agent.name}"
        run = run_key(agent, launch)
        workspace = own.Workspace(
            f"{name}-workspace",
            volume=self._volume(f"{name}-workspace", parent).name,
            mirror=self._mirror.volume,
            image=self._image.digest,
            agent=agent,
            base=self._commit,
            repository=self._repository,
            opts=self._options(parent, ours=True),
        )
        document = workspace.commit.apply(
            lambda base: json.dumps(launch_document(agent, launch, base, run), indent=1, sort_keys=True)
        )
        files = own.BoxFiles(
            f"{name}-files",
            volume=self._volume(f"{name}-files", parent).name,
            image=self._image.digest,
            files={"launch.json": document, **{f"files/{path}": text for path, text in launch.files.items()}},
            opts=self._options(parent, ours=True),
        )
        container = self._container(name, agent, launch, workspace, files, parent)
        power = own.Power(
            f"{name}-power",
            container=container.id,
            run=run,
            pids=agent.resources.pids,
            # Files first, so that a new run reads its own launch document.
            opts=self._options(parent, ours=True, depends_on=[files, workspace]),
        )
        return Box(id=container.id, base=workspace.commit, ended=power.ended)

    def _container(
        self,
        name: str,
        agent: AgentPlan,
        launch: LaunchSpec,
        workspace: own.Workspace,
        files: own.BoxFiles,
        parent: pulumi.Resource,
    ) -> docker.Container:
        memory = max(agent.resources.memory // _MIB, 1)
        labels = {
            "coppice.dev/project": pulumi.get_project(),
            "coppice.dev/stack": pulumi.get_stack(),
            "coppice.dev/grove": agent.grove,
            "coppice.dev/agent": agent.name,
        }
        return docker.Container(
            name,
            image=self._image.digest,
            command=list(layout.SUPERVISOR_COMMAND),
            working_dir=layout.WORKSPACE,
            user=f"{layout.UID}:{layout.GID}",
            hostname=agent.name,
            # The box: no network, nothing writable but its own, no privilege to gain.
            network_mode="none",
            ipc_mode="private",
            read_only=True,
            privileged=False,
            capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
            security_opts=["no-new-privileges:true"],
            memory=memory,
            memory_swap=memory,  # both: without it the Docker plug-in sees a change at every preview
            # Not `cpus`: the Docker plug-in reads that back in another spelling and replaces the box for it.
            cpu_period=_CPU_PERIOD,
            cpu_quota=max(round(agent.resources.cpu * _CPU_PERIOD), _CPU_QUOTA_LEAST),
            shm_size=max(1, min(_SHM_MOST, int(memory * _SHM_SHARE))),
            tmpfs=_tmpfs(agent, launch),
            mounts=[
                docker.ContainerMountArgs(type="volume", source=workspace.volume, target=layout.WORKSPACE),
                docker.ContainerMountArgs(
                    type="volume", source=self._mirror.volume, target=layout.MIRROR, read_only=True
                ),
                docker.ContainerMountArgs(
                    type="volume", source=files.volume, target=layout.RUN_DIR, read_only=True
                ),
            ],
            # The supervisor is PID 1 and reaps what is orphaned. An init of Docker's would run as the agent's own
            # user, and the agent could write to the log through it, or freeze the supervisor.
            init=False,
            restart="no",
            # Power switches it on: these two would run a finished agent again.
            must_run=False,
            start=False,
            stop_timeout=layout.STOP_TIMEOUT,
            destroy_grace_seconds=layout.STOP_TIMEOUT,
            log_driver="json-file",
            log_opts={"max-size": _LOG_SIZE, "max-file": "2"},
            labels=[docker.ContainerLabelArgs(label=key, value=value) for key, value in labels.items()],
            # Much of a box can only be had by making a new one, and of the rest the Docker plug-in changes some in
            # its state alone: so any change is a new box, made before the old one goes.
            opts=self._options(parent, delete_before_replace=False, replace_on_changes=["*"]),
        )


class DockerRuntime:
    """Boxes as containers of the daemon at `host`."""

    name = "docker"

    def __init__(self, host: str) -> None:
        self._host = host

    def provision(self, plan: Plan, commit: str, parent: pulumi.Resource) -> DockerGrove:
        """Provision the base image and the mirror."""
        return DockerGrove(plan, commit, self._host, parent)
