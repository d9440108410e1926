"""Which values of a network may share memory, and where each is used last."""

from __future__ import annotations

from typing import Any

from anyback.network._call import Call
from anyback.plan import Rows

__all__ = ["Memory", "freed", "last_uses"]


def last_uses(net: Any) -> dict[int, int]:
    """Return, for each value that a call uses, the number of the first result of the last such call."""
    return {i: number for number, call in net.results() for i in call.arguments if i is not None}


def freed(net: Any) -> dict[int, tuple[int, ...]]:
    """Return, for each call by the number of its first result, the results that no later call uses and no output is."""
    found: dict[int, tuple[int, ...]] = {}
    for i, last in last_uses(net).items():
        if i >= net.first_result and i not in net.outputs:
            found[last] = (*found.get(last, ()), i)
    return found


class Memory:
    """Which calls may overwrite their first argument.

    A call may overwrite its first argument only if no value that shares its memory is used later; none of them is an
    input, an array or an output; and no op of which nothing is known has seen or made one of them.

    Parameters
    ----------
    net : Network
        The network.
    """

    def __init__(self, net: Any) -> None:
        self._outputs = frozenset(net.outputs)
        self._last_use = last_uses(net)
        #: Value -> the values of whose memory it may be a view, itself included.
        self._owners = {i: frozenset([i]) for i in range(net.first_result)}
        #: Value -> the values that may be views of its memory, itself included.
        self._views: dict[int, list[int]] = {i: [i] for i in range(net.first_result)}
        self._exposed = set(range(net.first_result)) | self._outputs
        for number, call in net.results():
            self._add(number, call)

    def _add(self, number: int, call: Call) -> None:
        given = [i for i in call.arguments if i is not None]
        results = range(number, number + call.results)
        for result in results:
            # The result of an op that is not fresh may be a view of any of its arguments.
            owners = frozenset[int]() if call.op.fresh else frozenset[int]().union(*[self._owners[i] for i in given])
            self._owners[result] = owners | {result}
            for owner in self._owners[result]:
                self._views.setdefault(owner, []).append(result)
        if call.op.rows is Rows.UNKNOWN:
            self._exposed.update(given, results)

    def may_overwrite(self, number: int, call: Call) -> bool:
        """Return whether a call may write its result into the memory of its first argument."""
        first = call.arguments[0] if call.arguments else None
        if first is None or call.arguments.count(first) > 1:
            return False
        sharing = {i for owner in self._owners[first] for i in self._views[owner] if i < number}
        dead = all(self._last_use.get(i, -1) <= number for i in sharing)
        return dead and sharing.isdisjoint(call.arguments[1:]) and sharing.isdisjoint(self._exposed)
