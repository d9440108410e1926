"""The check that all operators of a model are known."""

from __future__ import annotations

from collections import Counter

from anyback.errors import OperatorError
from anyback.onnx._model import Model, Node, all_nodes
from anyback.onnx._operator import find

__all__ = ["check_operators", "named"]

#: The most operators that one error names.
_MOST = 40


def check_operators(model: Model) -> None:
    """Raise one `OperatorError` for all operators of a model that are not known here."""
    missing: Counter[str] = Counter()
    own = {(f.domain, f.name) for f in model.functions}
    for nodes, opsets in [(model.graph.nodes, model.opsets), *((f.nodes, f.opsets) for f in model.functions)]:
        for node in all_nodes(nodes):
            version = opsets.get(node.domain, 1)
            known = (node.domain, node.op_type) in own or find(node.domain, node.op_type, version) is not None
            if not known:
                missing[f"{_plain(node.domain or 'ai.onnx')}.{_plain(node.op_type)} of version {version}"] += 1
    if missing:
        said = [f"{name} (used {count} times)" if count > 1 else name for name, count in sorted(missing.items())]
        more = f" and {len(said) - _MOST} others" if len(said) > _MOST else ""
        raise OperatorError(f"the network uses operators that anyback does not have: {', '.join(said[:_MOST])}{more}")


def named(node: Node) -> str:
    """Return the name of a node in errors."""
    return f"{_plain(node.op_type)} {node.name[:80]!r}"


def _plain(name: str) -> str:
    """Return a name for an error: unchanged where it is an identifier, else escaped and shortened."""
    return name if len(name) <= 80 and name.replace(".", "_").isidentifier() else repr(name[:80])
