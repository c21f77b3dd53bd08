"""Every object of a mounted volume, made once and handed to those that need it."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from affs_fuse.auv import Value
from affs_fuse.clock import SYSTEM_CLOCK, system_entropy
from affs_fuse.control import ControlServer, Exposition, SystemAccounts, control_metrics
from affs_fuse.daemon.config import Environment, MountConfig
from affs_fuse.daemon.descriptors import control_limits
from affs_fuse.daemon.host_config import config_files, read_host_config
from affs_fuse.errors import AffsError, Category
from affs_fuse.fuse.invalidation import KernelCaches
from affs_fuse.fuse.lookup_counts import LookupCounts
from affs_fuse.fuse.metrics import fuse_metrics
from affs_fuse.fuse.more_operations import MoreOperations
from affs_fuse.fuse.mount import MountRequest, Session
from affs_fuse.fuse.mount_table import MS_RDONLY
from affs_fuse.fuse.operations import CACHE_TIMEOUT_S, Operations
from affs_fuse.fuse.requests import RequestServer
from affs_fuse.fuse.writing import Writes
from affs_fuse.posix.namespace import DoorOwner, Namespace
from affs_fuse.runtime.authentication import Authentication, PeerCredentials, Tokens
from affs_fuse.runtime.commands import COMMANDS
from affs_fuse.runtime.describe import uuid_text
from affs_fuse.runtime.dispatcher import Dispatcher
from affs_fuse.runtime.engine import Engine, EngineSettings
from affs_fuse.runtime.engine_metrics import (
    VolumeMetrics,
    process_metrics,
    request_metrics,
    runtime_metrics,
)
from affs_fuse.runtime.event_archive import EventArchive
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.hook import HookRules
from affs_fuse.runtime.hook_process import run_process
from affs_fuse.runtime.hooks import HookPlace, Hooks
from affs_fuse.runtime.latency import Latencies
from affs_fuse.runtime.metrics import Metrics, gauge
from affs_fuse.runtime.observation import Observation
from affs_fuse.runtime.policy import Policy
from affs_fuse.runtime.registry import Registry
from affs_fuse.runtime.roles import RoleRules
from affs_fuse.runtime.session import Sessions
from affs_fuse.runtime.slow import SlowLog
from affs_fuse.runtime.upkeep import Upkeep
from affs_fuse.runtime.viewing import VIEW_TIMEOUT_S, show_state
from affs_fuse.volume.volume import Volume

__all__ = ["Parts", "build_parts", "show_published"]

DOOR_MODES = {"owner": 0o700, "all": 0o755}


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What the service starts and ends. exposition: of metrics, where they are wanted."""

    volume: Volume
    engine: Engine
    session: Session
    control: ControlServer
    exposition: Exposition | None
    hooks: Hooks
    upkeep: Upkeep


def build_parts(
    volume: Volume, config: MountConfig, environment: Environment, control_path: str, version: str
) -> Parts:
    """control_path: "" for no control socket."""
    monotonic = SYSTEM_CLOCK.monotonic
    following = config.view == "published"
    counts = LookupCounts()
    kernel = KernelCaches(config.directory, counts)
    events = EventBus(SYSTEM_CLOCK, system_entropy, EventArchive(lambda: volume.settings))
    namespace = Namespace(
        volume,
        relatime=config.atime,
        referenced=counts.__contains__,
        door=DoorOwner(environment.user_id, environment.group_id, DOOR_MODES[config.views]),
    )
    slow = SlowLog(SYSTEM_CLOCK, config.slow_s)
    latencies = Latencies(slow.threshold_s, slow.request)
    backends = (config.volume,)
    engine = Engine(
        volume,
        namespace,
        events,
        kernel,
        EngineSettings(
            commit_interval_s=config.commit_interval_s,
            dirty_bytes=config.dirty_bytes,
            backends=backends, version=version, following=following,
        ),
        latencies,
    )
    timeout_s = VIEW_TIMEOUT_S if following else CACHE_TIMEOUT_S
    uuid = uuid_text(volume.uuid)
    hooks = _hooks(engine, events, config, environment, uuid)
    observation = Observation(slow, Metrics({"volume": uuid}), hooks)
    operations = Operations(
        engine, namespace, kernel, counts, control_path, timeout_s,
        monotonic=monotonic, latencies=latencies,
    )
    session = Session(
        operations,
        MoreOperations(engine, namespace, counts, timeout_s, operations.author),
        Writes(engine, namespace, kernel, operations, RequestServer.tells_who_drops),
        _mount_request(volume, config, environment),
        spin=config.spin, channel=config.channel == "own", busy=lambda: engine.busy,
        monotonic=monotonic,
    )
    sessions = _sessions(engine, environment)
    dispatcher = Dispatcher(
        engine=engine,
        registry=Registry(COMMANDS),
        events=events,
        sessions=sessions,
        clock=SYSTEM_CLOCK,
        entropy=system_entropy,
        observation=observation,
        accounts=SystemAccounts(),
    )
    control = ControlServer(dispatcher, _about(volume, config), control_limits())
    for source in (
        VolumeMetrics(volume, namespace, engine, version).families,
        fuse_metrics(operations.statistics, session.spin_statistics),
        request_metrics(dispatcher.statistics),
        runtime_metrics(sessions.statistics, events, slow, hooks),
        control_metrics(control),
        process_metrics,
    ):
        observation.metrics.register(source)
    exposition = _exposition(config, uuid, observation.metrics)
    upkeep = Upkeep(dispatcher, engine, SYSTEM_CLOCK)
    return Parts(volume, engine, session, control, exposition, hooks, upkeep)


def _about(volume: Volume, config: MountConfig) -> dict[str, Value]:
    """What a welcome says of the volume."""
    uuid = uuid_text(volume.uuid)
    return {"uuid": uuid, "label": volume.label, "mountpoint": config.directory}


def _sessions(engine: Engine, environment: Environment) -> Sessions:
    policy = Policy(environment.user_id, RoleRules(engine.settings))
    providers = PeerCredentials(), Tokens(engine.settings, SYSTEM_CLOCK)
    return Sessions(policy, SYSTEM_CLOCK, system_entropy, Authentication(providers))


def _hooks(
    engine: Engine, events: EventBus, config: MountConfig, environment: Environment, uuid: str
) -> Hooks:
    host = read_host_config(config_files(environment.config_directory), environment.user_id)
    rules = HookRules(config.hooks, host.programs, host.urls, environment.user_id)
    place = HookPlace(
        uuid=uuid,
        directory=os.fsencode(config.directory).decode("utf-8", "replace"),
        post_command=[sys.executable, "-I", "-m", "affs_fuse.daemon.hook_post"],
        own_device=lambda: os.stat(config.directory).st_dev,
    )
    return Hooks(engine.settings, events, rules, place, run_process, SYSTEM_CLOCK)


def _exposition(config: MountConfig, uuid: str, metrics: Metrics) -> Exposition | None:
    if config.metrics is None:
        return None
    ended = Metrics({"volume": uuid})
    ended.register(lambda: [gauge("affs_up", "0: the mount has ended.", 0)])
    return Exposition(
        config.metrics,
        metrics.to_prometheus,
        ended_text=ended.to_prometheus(),
        mode=config.control_mode,
        group=config.control_group,
    )


def _mount_request(
    volume: Volume, config: MountConfig, environment: Environment
) -> MountRequest:
    privileged = environment.privileged
    allow_other = config.allow_other
    if allow_other is None:
        allow_other = privileged and not config.allow_root
    return MountRequest(
        source=config.fsname or config.volume,
        directory=config.directory,
        flags=config.mount_flags | (MS_RDONLY if volume.read_only else 0),
        words=("ro",) if volume.read_only else (),
        allow_other=allow_other,
        allow_root=config.allow_root,
        auto_unmount=config.auto_unmount,
        privileged=privileged,
        user_id=environment.user_id,
        group_id=environment.group_id,
    )


def show_published(volume: Volume) -> None:
    """Make the published state what a read-only volume shows. Errors: state.none_published."""
    if not volume.report.abandoned:
        volume.read_only_reason = "this mount shows the published state"
    show_state(volume, volume.states.resolve("published"))


def check_source(path: str) -> None:
    """That there is something to open. Errors: volume.not_found."""
    if not Path(path).exists():
        raise AffsError(
            "volume.not_found", Category.NOT_FOUND, f"there is no volume at {path}",
            hint="mkfs.affs --size SIZE makes one",
        )
