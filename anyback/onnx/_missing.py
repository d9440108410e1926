"""Whether all operators of a model are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from anyback.errors import OperatorError
from anyback.onnx._model import Model, Node
from anyback.onnx._operator import find

__all__ = ["all_nodes", "check_operators"]


def check_operators(model: Model) -> None:
    """Raise one `OperatorError` for all operators of a model that are not known here."""
    missing: Counter[str] = Counter()
    own = {(f.domain, f.name) for f in model.functions}
    for nodes, opsets in [(model.graph.nodes, model.opsets), *((f.nodes, f.opsets) for f in model.functions)]:
        for node in all_nodes(nodes):
            version = opsets.get(node.domain, 1)
            known = (node.domain, node.op_type) in own or find(node.domain, node.op_type, version) is not None
            if not known:
                missing[f"{node.domain or 'ai.onnx'}.{node.op_type} of version {version}"] += 1
    if missing:
        said = [f"{name} (used {count} times)" if count > 1 else name for name, count in sorted(missing.items())]
        raise OperatorError(f"the network uses operators that anyback does not have: {', '.join(said)}")


def all_nodes(nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield the nodes of a graph, and those of its subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attributes:
            if attribute.graph is not None:
                yield from all_nodes(attribute.graph.nodes)
