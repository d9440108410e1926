"""A network: a graph of calls of ops, and everything that any network can be asked."""

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
    "trained_arguments",
    "usual_shapes",
    "value_types",
    "where",
]
