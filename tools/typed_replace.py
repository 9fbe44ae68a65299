"""A plugin of mypy: `msgspec.structs.replace` takes the fields of the struct that it gets, each with its type, and the methods
in `CHANGED` those of the struct that they change. Without it any name and any value pass: both declare `**changes: Any`."""

from collections.abc import Callable
from functools import reduce

from mypy import types
from mypy.nodes import ARG_NAMED_OPT, Decorator, Var
from mypy.plugin import FunctionSigContext, MethodSigContext, Plugin
from mypy.typeops import bind_self

TURN = "functions.domain.decisions.turn.Turn"
CHANGED = {
    f"{TURN}.change": ("incident",),
    f"{TURN}.change_approval": ("incident", "approval"),
    f"{TURN}.change_run": ("incident", "run"),
}


def _take_fields(declared: types.CallableType, struct: types.Type, positional: int) -> types.CallableType:
    """The declared signature, with the struct's fields as optional keywords after the positional arguments."""
    init = struct.type.get_method("__init__") if isinstance(struct, types.Instance) else None
    if init is None or not isinstance(init.type, types.CallableType):
        return declared
    fields = bind_self(init.type, struct)
    return declared.copy_modified(
        arg_types=[*declared.arg_types[:positional], *fields.arg_types],
        arg_kinds=[*declared.arg_kinds[:positional], *[ARG_NAMED_OPT] * len(fields.arg_types)],
        arg_names=[*declared.arg_names[:positional], *fields.arg_names],
    )


def _type_replace(ctx: FunctionSigContext) -> types.CallableType:
    if not ctx.args[0]:
        return ctx.default_signature
    given = types.get_proper_type(ctx.api.get_expression_type(ctx.args[0][0]))
    given = types.get_proper_type(given.upper_bound) if isinstance(given, types.TypeVarType) else given
    structs = [kind for kind in types.flatten_nested_unions([given]) if isinstance(types.get_proper_type(kind), types.Instance)]
    if len(structs) > 1:
        ctx.api.fail(f"replace() needs one struct, not {given}", ctx.context)
    return _take_fields(ctx.default_signature, types.get_proper_type(structs[0]), 1) if structs else ctx.default_signature


def _find_attribute(owner: types.Type, name: str) -> types.Type:
    node = owner.type[name].node if isinstance(owner, types.Instance) else None
    if isinstance(node, Decorator) and isinstance(node.func.type, types.CallableType):  # a property
        return types.get_proper_type(node.func.type.ret_type)
    return types.get_proper_type(node.type) if isinstance(node, Var) and node.type else owner


def _type_change(ctx: MethodSigContext, path: tuple[str, ...]) -> types.CallableType:
    return _take_fields(ctx.default_signature, reduce(_find_attribute, path, ctx.type), 0)


class TypedReplace(Plugin):
    def get_function_signature_hook(self, fullname: str) -> Callable[[FunctionSigContext], types.FunctionLike] | None:
        return _type_replace if fullname == "msgspec.structs.replace" else None

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], types.FunctionLike] | None:
        path = CHANGED.get(fullname)
        return (lambda ctx: _type_change(ctx, path)) if path else None


def plugin(_: str) -> type[Plugin]:
    """Called by mypy."""
    return TypedReplace
