"""The one way from a request to a command and back.

Order of a request: trace, parse, role, idempotency, plan and confirmation, run, operation log,
answer. Invariants:
- `serve` gives exactly one Answer or Failure for each request and raises nothing but trio's own
  cancellation.
- A destructive command runs only with --yes, or with a token whose plan is still true.
- What a command did is in the operation log before its answer leaves.
"""

import hashlib
import logging
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import trio

from affs_fuse.auv import Value, encode_canonical
from affs_fuse.clock import Clock, Entropy
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Answer, Failure, Request, RequestId
from affs_fuse.query.paths import absolute_path
from affs_fuse.runtime.accounts import Accounts, NoAccounts
from affs_fuse.runtime.command import Context, Danger, Kind, Plan, Reply, Safety
from affs_fuse.runtime.effects import Effects
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.expectation import plan_stale
from affs_fuse.runtime.failures import as_affs_error
from affs_fuse.runtime.grammar import Invocation, write_line
from affs_fuse.runtime.idempotency import IdempotencyMemory
from affs_fuse.runtime.observation import Observation
from affs_fuse.runtime.parameters import PathText
from affs_fuse.runtime.personalities import Personalities
from affs_fuse.runtime.personality import NO_PERSONALITY, Confirmation
from affs_fuse.runtime.policy import Policy
from affs_fuse.runtime.ports import EnginePort, Plain
from affs_fuse.runtime.registry import Registry
from affs_fuse.runtime.session import Session, Sessions
from affs_fuse.runtime.shown import Shown
from affs_fuse.runtime.statistics import Requests, RequestStatistics
from affs_fuse.runtime.trace import current_trace, is_trace, new_trace, traced
from affs_fuse.volume.authors import COMMAND, Author, acting

__all__ = ["Dispatcher", "Running"]

_log = logging.getLogger("affs.runtime")

TOKEN_DIGITS = 16
"""Of a confirmation token. It guards against mistakes, not against attackers: --yes needs none."""

HISTORY_CHARACTERS_MAX = 1000
"""Of a line in a session's history."""

DEADLINE_MS_MAX = 7 * 24 * 3600 * 1000


@dataclass(slots=True)
class Running:
    """A request in work, from `Dispatcher.admit` on. command: its name once it is known, and
    endless and remembered, as declared."""

    session: Session
    request: Request
    scope: trio.CancelScope
    cancelled: bool = False
    command: str = ""
    endless: bool = False
    remembered: bool = True


class Dispatcher:
    """Shared by all connections; loop thread only."""

    def __init__(
        self,
        *,
        engine: EnginePort,
        registry: Registry,
        events: EventBus,
        sessions: Sessions,
        clock: Clock,
        entropy: Entropy,
        observation: Observation | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._events = events
        self._sessions = sessions
        self._clock = clock
        self._entropy = entropy
        self._observation = observation or Observation.of_nothing(clock)
        self._personalities = Personalities(engine.settings, registry)
        self._accounts = accounts or NoAccounts()
        self._memory = IdempotencyMemory()
        self._requests = Requests()
        self._running: dict[tuple[str, RequestId], Running] = {}

    @property
    def sessions(self) -> Sessions:
        return self._sessions

    def statistics(self) -> RequestStatistics:
        return self._requests.statistics()

    def status(self) -> Plain:
        """For `status`: what the runtime itself has to say."""
        return {
            "sessions": asdict(self._sessions.statistics()),
            "requests": self._requests.statistics().to_auv(),
            "events": {**asdict(self._events.statistics()), "cursor": self._events.cursor},
        }

    def admit(self, session: Session, request: Request) -> Running:
        """From here on the request's deadline runs and `cancel` finds it; `serve` has to follow.
        request.id is not in work for this session already: the connection sees to that."""
        running = Running(session, request, trio.CancelScope())
        if request.deadline_ms is not None:
            deadline_s = min(request.deadline_ms, DEADLINE_MS_MAX) / 1000
            running.scope.deadline = trio.current_time() + deadline_s
        self._running[session.id, request.id] = running
        self._requests.begin()
        return running

    def cancel(self, session: Session, request_id: RequestId) -> bool:
        """Stops a request of this session; its answer still comes. False when it is not in work."""
        running = self._running.get((session.id, request_id))
        if running is None:
            return False
        running.cancelled = True
        running.scope.cancel()
        return True

    async def serve(self, running: Running, reply: Reply) -> Answer | Failure:
        """The answer to an admitted request. Parts of it go out by reply before."""
        session, request = running.session, running.request
        trace = request.trace if is_trace(request.trace) else new_trace(self._entropy)
        started = self._clock.monotonic()
        failure: AffsError | None = None
        value: Value = None
        try:
            with traced(trace):
                try:
                    value = await self._in_time(running, reply)
                except Exception as error:  # noqa: BLE001 - logged there unless it is expected
                    failure = as_affs_error(error, trace)
                seconds = self._clock.monotonic() - started
                self._note_slow(running, seconds)
        except BaseException:
            self._requests.abandoned()
            raise
        finally:
            del self._running[session.id, request.id]
        self._requests.end(running.command, seconds, failure.category if failure else None)
        line = request.line if request.line is not None else str(request.command)
        if running.remembered:
            session.note(
                line[:HISTORY_CHARACTERS_MAX], self._clock.now_ns(), seconds,
                failure.code if failure else "",
            )
        _log_request(session, running.command, seconds, failure, trace)
        if failure is not None:
            return Failure(request.id, failure.to_auv(trace))
        return Answer(request.id, value)

    def _note_slow(self, running: Running, seconds: float) -> None:
        session = running.session
        if running.command and not running.endless and running.remembered:
            self._observation.slow.command(
                running.command, seconds, session=session.id, user=session.identity.user
            )

    async def _in_time(self, running: Running, reply: Reply) -> Value:
        """Within the deadline and until it is cancelled. A result that came all the same is the
        result."""
        with running.scope:
            return await self._one(running, reply)
        if running.cancelled:
            raise AffsError("request.cancelled", Category.CANCELLED, "the request was cancelled")
        raise AffsError(
            "request.deadline",
            Category.DEADLINE,
            f"not done within {running.request.deadline_ms} ms",
            hint="give it more time; nothing was left half done",
            retryable=True,
        )

    async def _one(self, running: Running, reply: Reply) -> Value:
        session, request = running.session, running.request
        if request.line is not None:
            invocation = self._registry.parse_line(request.line)
        else:
            assert request.command is not None, "a request has a line or a command"
            invocation = self._registry.parse_arguments(request.command, request.args)
        command = invocation.command
        running.command, running.endless = command.name, command.endless
        running.remembered = not command.unremembered
        self._sessions.check(session)
        directory = session.directory
        if request.session is not None:
            directory = _directory(request.session, directory)
        paths = _paths(invocation, directory)
        role = session.policy.role_for(session.identity, command.name, paths)
        Policy.demand(command.role, role, command.name, session.identity.user)
        personality = NO_PERSONALITY if session.own else self._personalities.in_use()
        personality.demand(command)
        if command.name in personality.defaults:
            given = {**personality.defaults[command.name], **invocation.arguments}
            invocation = self._registry.parse_arguments(command.name, given)
        context = Context(
            engine=self._engine,
            events=self._events,
            clock=self._clock,
            session=session,
            reply=reply,
            catalogue=Shown(self._registry, personality),
            runtime_status=self.status,
            observation=self._observation,
            personalities=self._personalities,
            role=role,
            directory=directory,
            sessions=self._sessions,
            accounts=self._accounts,
            entropy=self._entropy,
        )
        needed = personality.confirmation(command, invocation.danger)
        harmless = command.kind is Kind.QUERY or invocation.safety.dry_run
        if harmless or not request.idempotency_key:
            return await self._safely(context, invocation, needed)
        return await self._memory.once(
            session.identity.uid,
            request.idempotency_key,
            [command.name, invocation.arguments],
            lambda: self._safely(context, invocation, needed),
            self._requests.repeated,
        )

    async def _safely(
        self, context: Context, invocation: Invocation, needed: Confirmation
    ) -> Value:
        """Dry run, confirmation, or the real thing."""
        command, safety = invocation.command, invocation.safety
        if command.plan is not None and (
            safety.dry_run
            or safety.token
            or needed is Confirmation.TOKEN
            or (needed is Confirmation.YES and not safety.yes)
        ):
            plan = await command.plan(context, invocation.options)
            token = _token(invocation, plan)
            if safety.dry_run:
                return {"plan": plan.shown, "token": token, "danger": invocation.danger.word}
            if safety.token != token:
                raise _unconfirmed(invocation, plan, token, needed)
            return await self._confirmed(replace(context, expect=plan.basis), invocation)
        if command.kind is Kind.QUERY:
            return await command.run(context, invocation.options)
        return await self._recorded(context, invocation)

    async def _confirmed(self, context: Context, invocation: Invocation) -> Value:
        """Under the plan that was confirmed, or not at all: what came between gets a new plan."""
        try:
            return await self._recorded(context, invocation)
        except AffsError as error:
            if error.code != "plan.stale":
                raise
        assert invocation.command.plan is not None
        plan = await invocation.command.plan(context, invocation.options)
        raise _unconfirmed(invocation, plan, _token(invocation, plan), Confirmation.TOKEN)

    async def _recorded(self, context: Context, invocation: Invocation) -> Value:
        context = replace(context, begun_seq=self._engine.seq)
        made = partial(self._entry, context, invocation, "")
        context = replace(context, effects=Effects(made))
        author = Author(context.session.identity.uid, COMMAND, invocation.command.name)
        try:
            with acting(self._engine.author(author)):
                result = await invocation.command.run(context, invocation.options)
        except AffsError as error:
            await self._record(context, invocation, error.code, {})
            raise
        except BaseException as error:
            # Given up, or a fault of ours: what was done before that is done.
            if context.effects.all():
                cancelled = isinstance(error, trio.Cancelled)
                code = "request.cancelled" if cancelled else "runtime.internal"
                await self._record(context, invocation, code, {})
            raise
        await self._record(context, invocation, "", _small(result))
        return result

    async def _record(
        self, context: Context, invocation: Invocation, error: str, result: Plain
    ) -> None:
        """One entry for each effect, one more for a failure; one at least."""
        written = context.effects.written
        effects = [one.to_entry() for one in context.effects.all() if one.before or not written]
        for effect in effects:
            await self._append(context, invocation, "", result, effect)
        if error or not (effects or written):
            await self._append(context, invocation, error, result, {"before": {}, "after": {}})

    async def _append(
        self, context: Context, invocation: Invocation, error: str, result: Plain, effect: Plain
    ) -> None:
        """The effect is there already, so a log that cannot be written does not make it a
        failure."""
        entry = self._entry(context, invocation, error, result, effect)
        with trio.CancelScope(shield=True):
            try:
                await self._engine.record_operation(entry)
            except (AffsError, OSError) as problem:
                _log.warning(
                    "the operation log took no entry: %s", problem, extra={"fields": entry}
                )

    def _entry(
        self, context: Context, invocation: Invocation, error: str, result: Plain, effect: Plain
    ) -> Plain:
        identity = context.session.identity
        return {
            "time_ns": self._clock.now_ns(),
            "command": invocation.command.name,
            "line": invocation.line,
            "uid": identity.uid,
            "user": identity.user,
            "role": context.role.word,
            "session": context.session.id,
            "trace": current_trace(),
            "ok": not error,
            "error": error,
            "result": result,
            "begun_seq": context.begun_seq,
            **effect,
        }


def _paths(invocation: Invocation, directory: str) -> list[str]:
    """Those that the invocation names, absolute."""
    found = []
    for parameter in invocation.command.parameters:
        value = invocation.arguments.get(parameter.name)
        if isinstance(parameter.type, PathText) and value is not None:
            for one in value if isinstance(value, list | tuple) else [value]:
                found.append(absolute_path(directory, str(one)))
    return found


def _directory(context: Plain, directory: str) -> str:
    """That of one request's own context. invalid: session.context."""
    given = context.get("directory", directory)
    if context.keys() - {"directory"} or not isinstance(given, str) or "\0" in given:
        raise AffsError(
            "session.context", Category.INVALID, "the context of this request cannot be read",
            hint="it is an Object that may have `directory`, a String",
        )
    return absolute_path(directory, given)


def _own_arguments(invocation: Invocation) -> dict[str, Value]:
    safety_names = Safety.__dataclass_fields__.keys()
    return {k: v for k, v in invocation.arguments.items() if k not in safety_names}


def _token(invocation: Invocation, plan: Plan) -> str:
    basis = [invocation.command.name, _own_arguments(invocation), plan.basis]
    return hashlib.sha256(encode_canonical(basis)).hexdigest()[:TOKEN_DIGITS]


def _unconfirmed(
    invocation: Invocation, plan: Plan, token: str, needed: Confirmation
) -> AffsError:
    """The error carries what a client needs to ask and to go on: the plan, and the line that
    confirms it."""
    name = invocation.command.name
    details = {
        "plan": plan.shown,
        "token": token,
        "danger": invocation.danger.word,
        "command": name,
        "confirmed_line": write_line(
            invocation.command, {**_own_arguments(invocation), "token": token}
        ),
    }
    if invocation.safety.token:
        return plan_stale(name, details)
    gone = invocation.danger is Danger.DESTRUCTIVE
    reason = "takes something away, so it" if gone else "is guarded by the personality in use and"
    ways, hint = "--yes or the token of a dry run", f"--token {token}, or --yes"
    if needed is Confirmation.TOKEN:
        ways, hint = "the token of a dry run", f"--token {token}"
    return AffsError(
        "plan.unconfirmed",
        Category.CONFLICT,
        f"this {name} {reason} takes {ways}",
        hint=f"see what it would do with --dry-run, then add {hint}",
        details=details,
    )


def _small(result: Value) -> Plain:
    """What of a result goes into the operation log: scalars, and states by their id."""
    if not isinstance(result, dict):
        return {}
    small: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, dict) and "id" in value:
            small[key] = value["id"]
        elif value is None or isinstance(value, bool | int | float | str):
            small[key] = value
    return small


def _log_request(
    session: Session, command: str, seconds: float, failure: AffsError | None, trace: str
) -> None:
    fields = {
        "session": session.id,
        "uid": session.identity.uid,
        "command": command,
        "seconds": seconds,
        "code": failure.code if failure else "",
    }
    extra = {"trace": trace, "fields": fields}
    if failure is not None and failure.category is Category.DENIED:
        _log.warning("%s: %s", session.identity.user, failure.message, extra=extra)
    else:
        outcome = failure.code if failure else "ok"
        _log.debug("%s %s: %s", session.identity.user, command, outcome, extra=extra)
