"""A network: a graph of calls of ops, and everything that any network can be asked.

Examples
--------
A network is made call by call, as layers do it:

>>> import numpy as np
>>> from anyback.network import *  # what is not asked for is not imported
>>> from anyback.ops import OPS
>>> into = Builder()
>>> hidden = into.call(OPS["linear"], 0, into.array(np.ones((3, 2))), None)
>>> net = Network(*into.fields([into.call(OPS["softmax"], hidden)]))
>>> net(np.ones((1, 3)))
array([[0.5, 0.5]])
>>> last: Call = net.last()
>>> last.op, last.arguments
(<op softmax>, (2,))

What can be asked of it:

>>> is_network(net), is_chain(net), checked_network(net) is net
(True, True, True)
>>> check_network(net)  # what is no network would be an error
>>> check_outputs(net, net.width)  # a softmax of one output would be an error
>>> sample: Sample = net.sample_shapes[-1]
>>> sample, usual_shapes(net, n=5)
((3,), [(5, 3), (3, 2), (5, 2), (5, 2)])
>>> measured_shapes(net, net.backend, [((5, 3), "float64")])
[(5, 3), (3, 2), (5, 2), (5, 2)]
>>> [trained_arguments(call) for call in net.calls]
[[1], []]
>>> types = value_types(net, ["float64"])
>>> types, [of_one_float(types, number, call) for number, call in net.results()]
(['float64', 'float64', 'float64', 'float64'], [True, True])
>>> row: Summary = net.summary()[0]
>>> row.cells()
('linear', '3', '2', '6', '6')

Which values die behind a call, and which calls may write over their first argument:

>>> freed(net), [Memory(net).may_overwrite(number, call) for number, call in net.results()]
({3: (2,)}, [False, True])

Arrays at any depth of what is not a network:

>>> layer = {"gain": np.ones(2), "more": [np.zeros(3)]}
>>> [x.shape for x in arrays_in(map_arrays(layer, lambda x: 2 * x))]
[(2,), (3,)]

Whether rows may be computed apart, of shapes for two rows:

>>> travels = travels_in(net, net.shapes((2, 3)))
>>> proved_rows(net, net.backend, travels, checked=[2])  # the number of the product
<Rows.ALONE: 0>

Inputs and outputs with names, as a file gives them:

>>> signature = Signature((Port("x", "float64", ("n", 3)),), ("y",))
>>> named = Network(net.arrays, net.calls, net.inputs, net.outputs, signature)
>>> named(x=np.ones((1, 3))), where(named, 0)
(array([[0.5, 0.5]]), 'step 1, linear')

Where `Network.save` keeps the calls, and in which version:

>>> NETWORK_TEXT, VERSION
('anyback.network', 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyback._lazy import lazily

if TYPE_CHECKING:
    from anyback.network._apart import proved_rows, travels_in
    from anyback.network._arrays import arrays_in, map_arrays
    from anyback.network._builder import Builder
    from anyback.network._call import Call, Sample
    from anyback.network._checks import check_network, check_outputs, checked_network
    from anyback.network._graph import Network, is_network
    from anyback.network._memory import Memory, freed
    from anyback.network._program import where
    from anyback.network._record import NETWORK_TEXT, VERSION
    from anyback.network._shapes import is_chain, measured_shapes, usual_shapes
    from anyback.network._signature import Port, Signature
    from anyback.network._summary import Summary, trained_arguments
    from anyback.network._types import of_one_float, value_types

__all__ = [
    "NETWORK_TEXT",
    "VERSION",
    "Builder",
    "Call",
    "Memory",
    "Network",
    "Port",
    "Sample",
    "Signature",
    "Summary",
    "arrays_in",
    "check_network",
    "check_outputs",
    "checked_network",
    "freed",
    "is_chain",
    "is_network",
    "map_arrays",
    "measured_shapes",
    "of_one_float",
    "proved_rows",
    "trained_arguments",
    "travels_in",
    "usual_shapes",
    "value_types",
    "where",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "_apart": ("proved_rows", "travels_in"),
        "_arrays": (
            "arrays_in",
            "map_arrays",
        ),
        "_builder": ("Builder",),
        "_call": (
            "Call",
            "Sample",
        ),
        "_checks": (
            "check_network",
            "check_outputs",
            "checked_network",
        ),
        "_graph": (
            "Network",
            "is_network",
        ),
        "_memory": (
            "Memory",
            "freed",
        ),
        "_program": ("where",),
        "_record": (
            "NETWORK_TEXT",
            "VERSION",
        ),
        "_shapes": (
            "is_chain",
            "measured_shapes",
            "usual_shapes",
        ),
        "_signature": (
            "Port",
            "Signature",
        ),
        "_summary": (
            "Summary",
            "trained_arguments",
        ),
        "_types": (
            "of_one_float",
            "value_types",
        ),
    },
)
