"""`personalities`, `personality`, and those that install, upgrade, remove and choose one."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, NoOptions, Plan
from affs_fuse.runtime.effects import change_settings
from affs_fuse.runtime.parameters import PersonalityName, argument
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["INSTALL", "PERSONALITIES", "PERSONALITY", "REMOVE", "UPGRADE", "USE"]

_FULL = (
    Field("name", "Personality"),
    Field("title", "Title"),
    Field("version", "Version"),
    Field("in_use", "In use", FieldKind.FLAG),
    Field("left_out", "Leaves out", FieldKind.LIST),
    Field("confirm", "Asks for", FieldKind.PAIRS),
    Field("labels", "Labels", FieldKind.PAIRS),
    Field("startup", "At the start", FieldKind.LIST),
    Field("help", "Help"),
)
_MANIFEST = ("personality.manifest", "personality.version", "personality.not_found")


@dataclass(frozen=True, slots=True)
class OneOptions:
    name: str | None = argument(
        PersonalityName(), "which one; without it, the one in use", default=None
    )


@dataclass(frozen=True, slots=True)
class NameOptions:
    name: str = argument(PersonalityName(), "which one")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    source: str = argument(
        PersonalityName(), "name of one that comes with AfFS, or a manifest as text"
    )


async def _list(context: Context, options: NoOptions) -> Value:
    return context.personalities.list()


async def _show(context: Context, options: OneOptions) -> Value:
    return context.personalities.show(options.name)


async def _install(context: Context, options: SourceOptions) -> Value:
    changes = context.personalities.installation(options.source)
    await change_settings(context.engine, context.effects, changes)
    (value,) = changes.values()
    return context.personalities.show(value["name"])


async def _upgrade(context: Context, options: SourceOptions) -> Value:
    plan = context.personalities.upgrade_plan(options.source)
    changes = context.personalities.upgrade(options.source)
    await change_settings(context.engine, context.effects, changes)
    return plan


async def _upgrade_plan(context: Context, options: SourceOptions) -> Plan:
    plan = context.personalities.upgrade_plan(options.source)
    return Plan(plan, plan)


async def _remove(context: Context, options: NameOptions) -> Value:
    plan = context.personalities.remove_plan(options.name)
    changes = context.personalities.removal(options.name)
    await change_settings(context.engine, context.effects, changes)
    return plan


async def _remove_plan(context: Context, options: NameOptions) -> Plan:
    plan = context.personalities.remove_plan(options.name)
    return Plan(plan, plan)


async def _use(context: Context, options: NameOptions) -> Value:
    plan = context.personalities.use_plan(options.name)
    changes = context.personalities.choice(options.name)
    await change_settings(context.engine, context.effects, changes)
    return plan


async def _use_plan(context: Context, options: NameOptions) -> Plan:
    plan = context.personalities.use_plan(options.name)
    return Plan(plan, plan)


PERSONALITIES = Command(
    name="personalities",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Personality",
    summary="the packages there are, and which is in use",
    description="Those that are installed in this volume, then those that come with AfFS.",
    options=NoOptions,
    run=_list,
    result=Schema(
        Shape.TABLE,
        (
            Field("name", "Name"),
            Field("version", "Version"),
            Field("in_use", "In use", FieldKind.FLAG),
            Field("installed", "Installed", FieldKind.FLAG),
            Field("shipped", "Shipped", FieldKind.FLAG),
            Field("title", "Title"),
            Field("problem", "Problem"),
        ),
    ),
    essential=True,
    examples=(Example("personalities", "which are there?"),),
)

PERSONALITY = Command(
    name="personality",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Personality",
    summary="one package in full: what it leaves out, asks for, and says",
    description="A personality tightens: it never allows what would not be allowed without it.",
    options=OneOptions,
    run=_show,
    result=Schema(Shape.DOCUMENT, _FULL),
    essential=True,
    errors=("personality.not_found",),
    examples=(
        Example("personality", "what holds here?"),
        Example("personality school-lab", "what would hold?"),
    ),
)

USE = Command(
    name="use-personality",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Personality",
    summary="choose the personality of the volume, or none",
    description=(
        "It holds at once, for everybody who uses the control socket. One that comes with AfFS is "
        "installed by it. What the mount itself allows does not change."
    ),
    options=NameOptions,
    run=_use,
    plan=_use_plan,
    danger=Danger.REVERSIBLE,
    result=Schema(
        Shape.DOCUMENT,
        headline="The personality is {name}; it was {from}.",
        plan=(
            Field("name", "Would be in use"),
            Field("from", "In place of"),
            Field("disappears", "Left out", FieldKind.LIST),
            Field("appears", "There again", FieldKind.LIST),
        ),
    ),
    essential=True,
    errors=(*_MANIFEST, "personality.too_many"),
    examples=(
        Example("use-personality school-lab", "for a room of learners"),
        Example("use-personality none", "everything, as it is without one"),
    ),
)

INSTALL = Command(
    name="install-personality",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Personality",
    summary="put a package into the volume",
    description=(
        "From its manifest (docs/specs/Personality.md), for example `affsctl install-personality "
        '"$(cat mine.toml)"`. It is checked against the commands of this runtime.'
    ),
    options=SourceOptions,
    run=_install,
    result=Schema(Shape.DOCUMENT, headline="Installed {name} {version}."),
    essential=True,
    errors=(*_MANIFEST, "personality.installed", "personality.too_many"),
    examples=(Example("install-personality server", "one that comes with AfFS"),),
)

UPGRADE = Command(
    name="upgrade-personality",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Personality",
    summary="replace an installed package by a newer version",
    description="From the same sources as install-personality; in use or not.",
    options=SourceOptions,
    run=_upgrade,
    plan=_upgrade_plan,
    danger=Danger.REVERSIBLE,
    result=Schema(
        Shape.DOCUMENT,
        headline="Upgraded {name} from {from} to {to}.",
        plan=(Field("name", "Would upgrade"), Field("from", "From"), Field("to", "To")),
    ),
    essential=True,
    errors=(*_MANIFEST, "personality.not_newer"),
    examples=(Example("upgrade-personality server", "to the version that AfFS comes with"),),
)

REMOVE = Command(
    name="remove-personality",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Personality",
    summary="take a package out of the volume",
    description="Not the one in use. One that comes with AfFS can be installed again.",
    options=NameOptions,
    run=_remove,
    plan=_remove_plan,
    danger=Danger.REVERSIBLE,
    result=Schema(Shape.DOCUMENT, headline="Removed {name}.", plan=_FULL),
    essential=True,
    errors=("personality.not_found", "personality.in_use"),
    examples=(Example("remove-personality mine", "it is not needed any more"),),
)
