"""`tokens`, `create-token` and `revoke-token`: what a client may prove itself by in place of its
uid.

A token stands for the user who made it, with a role that may be lower, for a time. The volume keeps
a hash; the token itself is in the answer of `create-token` and nowhere else.
"""

from dataclasses import dataclass
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.authentication import made_token
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, NoOptions, Plan
from affs_fuse.runtime.commands.roles import ROLE_CHOICE
from affs_fuse.runtime.effects import change_settings
from affs_fuse.runtime.parameters import Integer, Span, Text, argument, option
from affs_fuse.runtime.plans import UNDO_FIELDS, undo_possible
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape
from affs_fuse.runtime.roles import ROLE_WORDS
from affs_fuse.volume.moments import parse_span
from affs_fuse.volume.settings import SettingKind

__all__ = ["CREATE_TOKEN", "REVOKE_TOKEN", "TOKENS"]

_FIELDS = (
    Field("number", "No", FieldKind.COUNT),
    Field("user", "User"),
    Field("role", "Role"),
    Field("until_ns", "Until", FieldKind.TIME),
    Field("over", "Over", FieldKind.FLAG),
    Field("created_ns", "Made", FieldKind.TIME),
    Field("note", "Note"),
)


def _shown(context: Context, number: int, value: Value) -> Plain:
    """Without the hash."""
    found: Any = value if isinstance(value, dict) else {}
    until_ns = found.get("until_ns")
    shown = {key: found[key] for key in found if key != "hash"}
    over = until_ns is not None and until_ns <= context.clock.now_ns()
    return {**shown, "number": number, "over": over}


def _may_see(context: Context, value: Value) -> bool:
    own = isinstance(value, dict) and value.get("uid") == context.session.identity.uid
    return own or context.role >= Role.ADMIN


async def _tokens(context: Context, options: NoOptions) -> Value:
    return [
        _shown(context, number, value)
        for number, value in context.engine.settings.items(SettingKind.TOKENS)
        if _may_see(context, value)
    ]


@dataclass(frozen=True, slots=True)
class CreateOptions:
    role: str | None = option(ROLE_CHOICE, "no role above this one; without it, your own")
    expires: str | None = option(Span(), "for how long; without it, until it is revoked")
    note: str = option(Text(256), "what it is for", short="-m", default="")


async def _create(context: Context, options: CreateOptions) -> Value:
    identity, now_ns = context.session.identity, context.clock.now_ns()
    if identity.token:
        raise AffsError(
            "auth.token_session", Category.DENIED, "a session of a token cannot make tokens",
            hint="make it in a session of your own user",
        )
    role = context.session.role
    if options.role is not None:
        role = min(role, ROLE_WORDS[options.role])
    until_ns = now_ns + parse_span(options.expires) * 10**9 if options.expires else None
    made = made_token(identity, role, until_ns, options.note, now_ns, context.entropy)
    numbers = [number for number, _ in context.engine.settings.items(SettingKind.TOKENS)]
    number = max(numbers, default=0) + 1
    changes = {(SettingKind.TOKENS, number): made.value}
    await change_settings(context.engine, context.effects, changes)
    # Nested, so that the operation log, which takes scalars of an answer, does not take it.
    return {**_shown(context, number, made.value), "secret": {"token": made.text(number)}}


@dataclass(frozen=True, slots=True)
class RevokeOptions:
    number: int = argument(Integer(minimum=1), "which one, by its number in `tokens`")


def _found(context: Context, number: int) -> Value:
    value = context.engine.settings.get(SettingKind.TOKENS, number)
    if value is None or not _may_see(context, value):
        raise AffsError(
            "auth.no_token", Category.NOT_FOUND, f"there is no token {number} of yours",
            hint="`tokens` shows them",
        )
    return value


async def _revoke(context: Context, options: RevokeOptions) -> Value:
    value = _found(context, options.number)
    changes: dict[tuple[SettingKind, int], Value] = {(SettingKind.TOKENS, options.number): None}
    await change_settings(context.engine, context.effects, changes, expect=context.expect)
    return _shown(context, options.number, value)


async def _plan_revoke(context: Context, options: RevokeOptions) -> Plan:
    value = _found(context, options.number)
    shown = {
        "revoked": _shown(context, options.number, value),
        "undo": undo_possible("makes the same token valid again", None),
    }
    return Plan(shown, [[int(SettingKind.TOKENS), options.number, value]])


TOKENS = Command(
    name="tokens",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Access",
    summary="your tokens; for an admin, all of them",
    description="Never the tokens themselves: the volume has only hashes of them.",
    options=NoOptions,
    run=_tokens,
    result=Schema(Shape.TABLE, _FIELDS),
    errors=("setting.damaged",),
    examples=(Example("tokens", "which are there?"),),
)

CREATE_TOKEN = Command(
    name="create-token",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group="Access",
    summary="make a token that stands for you",
    description=(
        "A client that offers it in `hello` is you, whatever its own user is, with no role above "
        "the token's and none above what you have at that time. It is shown once: the volume "
        "keeps a hash. Groups do not go with it. When it is revoked, or its time is over, sessions "
        "that began with it get no more answers but that."
    ),
    options=CreateOptions,
    run=_create,
    result=Schema(
        Shape.DOCUMENT, (*_FIELDS, Field("secret.token", "Token (shown only now)")),
    ),
    errors=("auth.token_session", "setting.too_many"),
    examples=(
        Example("create-token --role observer --expires 90d -m monitoring", "for a program"),
    ),
)

REVOKE_TOKEN = Command(
    name="revoke-token",
    kind=Kind.COMMAND,
    role=Role.OBSERVER,
    group="Access",
    summary="make a token of yours worthless",
    description="An admin can revoke those of others, too.",
    options=RevokeOptions,
    run=_revoke,
    plan=_plan_revoke,
    danger=Danger.REVERSIBLE,
    result=Schema(
        Shape.DOCUMENT, headline="Revoked token {number} of {user}.",
        plan=(
            Field("revoked.number", "Would revoke", FieldKind.COUNT),
            Field("revoked.user", "Of"),
            Field("revoked.note", "Note"),
            *UNDO_FIELDS,
        ),
    ),
    errors=("auth.no_token",),
    examples=(Example("revoke-token 2", "by its number in `tokens`"),),
)
