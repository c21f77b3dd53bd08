"""`hooks`, `hook` and `unhook`: programs and requests on events."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, NoOptions, Plan
from affs_fuse.runtime.effects import change_settings
from affs_fuse.runtime.hook import HOOKED_KINDS, TIMEOUT_DEFAULT_S, TIMEOUT_MAX_S, Hook
from affs_fuse.runtime.hooks import Hooks
from affs_fuse.runtime.parameters import Choice, HookName, Integer, Text, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["HOOK", "HOOKS", "UNHOOK"]

_FIELDS = (
    Field("name", "Name"),
    Field("on", "On", FieldKind.LIST),
    Field("action", "Does"),
    Field("allowed", "Allowed", FieldKind.FLAG),
    Field("refusal", "Because"),
    Field("done", "Done", FieldKind.COUNT),
    Field("failed", "Failed", FieldKind.COUNT),
    Field("last", "Last"),
    Field("last_ns", "At", FieldKind.TIME, wide=True),
    Field("timeout_s", "Timeout", FieldKind.DURATION, wide=True),
    Field("user", "By", wide=True),
)


@dataclass(frozen=True, slots=True)
class AddOptions:
    name: str = argument(Text(64), "what it is called")
    on: tuple[str, ...] = argument(Choice(HOOKED_KINDS), "kinds of events", repeated=True)
    run: str = option(Text(1024), "the program at this absolute path", default="")
    post: str = option(Text(1024), "a POST request to this URL", default="")
    seconds: int = option(
        Integer(minimum=1, maximum=TIMEOUT_MAX_S), "how long it may take", default=TIMEOUT_DEFAULT_S
    )


@dataclass(frozen=True, slots=True)
class RemoveOptions:
    name: str = argument(HookName(), "which one")


def _hooks(context: Context) -> Hooks:
    hooks = context.observation.hooks
    if hooks is None:
        raise AffsError("hook.unsupported", Category.UNSUPPORTED, "this runtime has no hooks")
    return hooks


async def _list(context: Context, options: NoOptions) -> Value:
    hooks = _hooks(context)
    return [hooks.describe(hook) for hook in hooks.all()]


async def _add(context: Context, options: AddOptions) -> Value:
    hooks = _hooks(context)
    hooks.demand_owner(context.session.identity.uid)
    hook = Hook(
        options.name, options.on, options.run, options.post, options.seconds, context.author
    )
    await change_settings(context.engine, context.effects, hooks.addition(hook))
    return hooks.describe(hook)


async def _remove(context: Context, options: RemoveOptions) -> Value:
    hooks = _hooks(context)
    hooks.demand_owner(context.session.identity.uid)
    _, hook = hooks.find(options.name)
    await change_settings(context.engine, context.effects, hooks.removal(options.name))
    return hooks.describe(hook)


async def _plan(context: Context, options: RemoveOptions) -> Plan:
    hooks = _hooks(context)
    number, hook = hooks.find(options.name)
    return Plan(hooks.describe(hook), [number, hook.to_auv()])


HOOKS = Command(
    name="hooks",
    kind=Kind.QUERY,
    role=Role.ADMIN,
    group="Automation",
    summary="the hooks of the volume, and how their last runs went",
    description=(
        "A hook that this host does not allow is shown with the reason, and does not run: a volume "
        "may come from somebody else. See docs/security.md."
    ),
    options=NoOptions,
    run=_list,
    result=Schema(Shape.TABLE, _FIELDS),
    examples=(Example("hooks", "which are there?"),),
)

HOOK = Command(
    name="hook",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Automation",
    summary="run a program, or send a request, on events",
    description=(
        "The program gets no arguments; the event comes as a line of JSON on its standard input, "
        "and kind, cursor and trace in AFFS_EVENT, AFFS_CURSOR and AFFS_TRACE. A URL gets the same "
        "JSON as a POST. Both run as the owner of the mount, who alone (with root) may declare "
        "them; two at a time, at most 64 wait, and the first 4 KiB of output go to the log. What a "
        "hook does never holds the mount up. Beware of circles: a hook on commit that changes "
        "files makes the next commit. Only what the host lists in /etc/affs/affs.toml runs, or "
        "anything with the mount option hooks=all."
    ),
    options=AddOptions,
    run=_add,
    result=Schema(Shape.DOCUMENT, _FIELDS),
    errors=("hook.invalid", "hook.exists", "hook.too_many", "hook.owner", "hook.unsupported"),
    examples=(
        Example(
            "hook copy publish --run /usr/local/lib/affs/hooks/copy-away",
            "copy away what was published",
        ),
        Example("hook page corruption read_only --post http://127.0.0.1:9000/alert", "wake me up"),
    ),
)

UNHOOK = Command(
    name="unhook",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Automation",
    summary="remove a hook",
    description="What runs at the moment goes on to its end. The answer is the hook as it was.",
    options=RemoveOptions,
    run=_remove,
    plan=_plan,
    danger=Danger.REVERSIBLE,
    result=Schema(Shape.DOCUMENT, headline="Removed the hook {name}.", plan=_FIELDS),
    errors=("hook.not_found", "hook.owner", "hook.unsupported"),
    examples=(Example("unhook copy", "no more copies"),),
)
