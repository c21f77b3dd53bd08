"""Hooks at work: events in, programs and requests out, never in the way of the mount.

Invariants:
- At most RUNNING_MAX at once and QUEUE_MAX waiting; what does not fit is left out, the oldest
  first, and counted. A hook that fails, hangs or floods costs itself.
- Only hooks that the rules allow are run, judged anew each time.
- Each run is a line of the log under the trace of its event; what failed is an event, too.
"""

import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import trio

from affs_fuse.auv import Value
from affs_fuse.clock import Clock
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.events import Event, EventBus
from affs_fuse.runtime.hook import Hook, HookRules
from affs_fuse.runtime.hook_process import HookOutcome, through_shell
from affs_fuse.runtime.ports import Plain, SettingKey, SettingsPort
from affs_fuse.runtime.trace import traced
from affs_fuse.volume.settings import SettingKind

__all__ = ["HookPlace", "HookStatistics", "Hooks"]

_log = logging.getLogger("affs.hooks")

RUNNING_MAX = 2
QUEUE_MAX = 64
HOOKS_MAX = 64

Changes = Mapping[SettingKey, Value]
"""Of settings, for the command to make, so that they can be undone."""

Run = Callable[[Sequence[str], bytes, Mapping[str, str], float], Awaitable[HookOutcome]]
"""hook_process.run_process."""


@dataclass(frozen=True, slots=True)
class HookPlace:
    """What hooks are told about where they run. uuid, directory: of the mount. post_command: what
    sends its input to the URL that follows as the last word. own_device: number of the mount's
    device, for HookRules; called in a worker."""

    uuid: str
    directory: str
    post_command: Sequence[str]
    own_device: Callable[[], int]


@dataclass(frozen=True, slots=True)
class HookStatistics:
    """Since the start: done, failed (timeouts included), refused by the rules, left out for want
    of room. waiting: now."""

    done: int
    failed: int
    refused: int
    left_out: int
    waiting: int


@dataclass(slots=True)
class _Tally:
    done: int = 0
    failed: int = 0
    last_ns: int = 0
    last: str = ""


class Hooks:
    """`serve` runs while the volume is mounted. Loop thread only."""

    def __init__(
        self,
        settings: SettingsPort,
        events: EventBus,
        rules: HookRules,
        place: HookPlace,
        run: Run,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._events = events
        self._rules = rules
        self._place = place
        self._run = run
        self._clock = clock
        self._waiting: deque[tuple[Hook, Event]] = deque()
        self._idle = trio.lowlevel.ParkingLot()
        self._tallies: dict[str, _Tally] = {}
        self._refused = 0
        self._refusals_told: set[tuple[str, str]] = set()
        self._left_out = 0

    @property
    def may_run_programs(self) -> bool:
        """Whether this host lets hooks run programs, be there any or not."""
        return self._rules.may_run_programs

    # ---- declaring ----

    def all(self) -> list[Hook]:
        """In the order in which they were declared; what is damaged is left out."""
        return [hook for _, hook in self._numbered()]

    def _numbered(self) -> list[tuple[int, Hook]]:
        return [
            (number, hook)
            for number, value in self._settings.items(SettingKind.HOOKS)
            if (hook := Hook.from_auv(value)) is not None
        ]

    def describe(self, hook: Hook) -> Plain:
        """The hook, whether it may run here, and what became of it lately."""
        tally = self._tallies.get(hook.name, _Tally())
        refusal = self._rules.refusal(hook)
        return {
            **hook.to_auv(),
            "action": hook.action,
            "allowed": not refusal,
            "refusal": refusal,
            "done": tally.done,
            "failed": tally.failed,
            "last_ns": tally.last_ns or None,
            "last": tally.last,
        }

    def demand_owner(self, uid: int) -> None:
        """Hooks run as the owner of the mount, so the role admin, which the volume's policy may
        give to others, is not enough. denied: hook.owner."""
        if uid not in (0, self._rules.owner_uid):
            raise AffsError(
                "hook.owner", Category.DENIED,
                "hooks run as the owner of the mount, so only the owner and root declare them",
                hint="ask root or the owner of the mount",
            )

    def addition(self, hook: Hook) -> Changes:
        """What declares it. invalid: hook.invalid; exists: hook.exists; busy: hook.too_many."""
        hook.check()
        known = self._numbered()
        if any(one.name == hook.name for _, one in known):
            raise AffsError(
                "hook.exists", Category.EXISTS, f"there is a hook {hook.name!r} already",
                hint=f"unhook {hook.name} first, or choose another name",
            )
        if len(known) >= HOOKS_MAX:
            raise AffsError(
                "hook.too_many", Category.BUSY, f"a volume has at most {HOOKS_MAX} hooks",
                hint="remove one with unhook",
            )
        used = [number for number, _ in self._settings.items(SettingKind.HOOKS)]
        return {(SettingKind.HOOKS, max(used, default=0) + 1): hook.to_auv()}

    def find(self, name: str) -> tuple[int, Hook]:
        """With its number. not_found: hook.not_found."""
        for number, hook in self._numbered():
            if hook.name == name:
                return number, hook
        names = [hook.name for hook in self.all()]
        raise AffsError(
            "hook.not_found", Category.NOT_FOUND, f"no hook {name!r}",
            hint="there are: " + ", ".join(names) if names else "there is none",
            details={"candidates": names},
        )

    def removal(self, name: str) -> Changes:
        """What removes it. not_found: hook.not_found."""
        number, _ = self.find(name)
        return {(SettingKind.HOOKS, number): None}

    # ---- running ----

    async def serve(self) -> None:
        """Never returns; what runs ends with it."""
        subscription = self._events.subscribe()
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(RUNNING_MAX):
                    nursery.start_soon(self._work)
                while True:
                    self._take(await subscription.receive())
        finally:
            self._events.unsubscribe(subscription)

    def _take(self, event: Event) -> None:
        try:
            hooks = [hook for hook in self.all() if event["kind"] in hook.on]
        except AffsError as error:
            _log.warning("the hooks cannot be read: %s", error.message)
            return
        for hook in hooks:
            refusal = self._rules.refusal(hook)
            if refusal:
                self._refuse(hook, event, refusal)
                continue
            if len(self._waiting) >= QUEUE_MAX:
                self._left_out += 1
                self._tell(*self._waiting.popleft(), "left_out", "too many were waiting")
            self._waiting.append((hook, event))
            self._idle.unpark()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                await self._idle.park()
            hook, event = self._waiting.popleft()
            try:
                with traced(str(event["trace"])):
                    await self._run_one(hook, event)
            except Exception as error:  # noqa: BLE001 - the other hooks go on
                _log.error("the hook %s failed in a way that should not happen", hook.name,
                           exc_info=error)

    async def _run_one(self, hook: Hook, event: Event) -> None:
        if hook.program:
            problem = await trio.to_thread.run_sync(self._program_problem, hook.program)
            if problem:
                self._refuse(hook, event, f"{hook.program}: {problem}")
                return
        command = through_shell(hook.program) if hook.program else self._post(hook)
        started = self._clock.monotonic()
        try:
            outcome = await self._run(
                command, self._input(hook, event), self._environment(hook, event), hook.timeout_s
            )
        except OSError as error:
            self._note(hook, event, f"cannot be started: {error.strerror}", b"")
            return
        seconds = self._clock.monotonic() - started
        if outcome.timed_out:
            self._note(hook, event, f"was ended after {hook.timeout_s} s", outcome.output)
        elif outcome.status:
            self._note(hook, event, f"ended with {outcome.status}", outcome.output)
        else:
            self._note(hook, event, "", outcome.output, seconds)

    def _program_problem(self, path: str) -> str:
        return self._rules.program_problem(path, self._place.own_device())

    def _post(self, hook: Hook) -> list[str]:
        return [*self._place.post_command, hook.url]

    def _input(self, hook: Hook, event: Event) -> bytes:
        told = {"hook": hook.name, "volume": self._place.uuid, "mount": self._place.directory}
        return json.dumps({**told, "event": event}, default=str).encode("utf-8") + b"\n"

    def _environment(self, hook: Hook, event: Event) -> dict[str, str]:
        """Fixed words and ids only: the rest, which may hold anything, is in the input."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "AFFS_HOOK": hook.name,
            "AFFS_EVENT": event["kind"],
            "AFFS_CURSOR": event["cursor"],
            "AFFS_TRACE": event["trace"],
            "AFFS_VOLUME": self._place.uuid,
        }

    def _note(
        self, hook: Hook, event: Event, problem: str, output: bytes, seconds: float = 0.0
    ) -> None:
        tally = self._tallies.setdefault(hook.name, _Tally())
        tally.last_ns = self._clock.now_ns()
        tally.last = problem or "done"
        text = output.decode("utf-8", "replace").strip()
        if problem:
            tally.failed += 1
            self._tell(hook, event, "failed", problem, text)
            return
        tally.done += 1
        fields = {"hook": hook.name, "on": event["kind"], "seconds": round(seconds, 3)}
        _log.info("the hook %s is done", hook.name, extra={"fields": {**fields, "output": text}})

    def _refuse(self, hook: Hook, event: Event, reason: str) -> None:
        """Told once: a hook of somebody else's volume may be on each commit."""
        self._refused += 1
        tally = self._tallies.setdefault(hook.name, _Tally())
        tally.last, tally.last_ns = f"refused: {reason}", self._clock.now_ns()
        told = (hook.name, reason)
        if told not in self._refusals_told and len(self._refusals_told) < HOOKS_MAX * 4:
            self._refusals_told.add(told)
            self._tell(hook, event, "refused", reason)

    def _tell(
        self, hook: Hook, event: Event, outcome: str, problem: str, output: str = ""
    ) -> None:
        fields = {"hook": hook.name, "on": event["kind"], "outcome": outcome}
        with traced(str(event["trace"])):
            extra = {"fields": {**fields, "output": output}}
            _log.warning("the hook %s: %s", hook.name, problem, extra=extra)
            self._events.publish("hook", **fields, reason=problem, of=event["cursor"])

    def statistics(self) -> HookStatistics:
        tallies = self._tallies.values()
        return HookStatistics(
            sum(one.done for one in tallies), sum(one.failed for one in tallies),
            self._refused, self._left_out, len(self._waiting),
        )  # fmt: skip
