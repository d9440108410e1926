"""Arrays that carry a value and a bound on its error, and the proof of which labels no rounding can change."""

from anyback.bounds._bounded import Bounded
from anyback.bounds._shortened import round_to
from anyback.bounds.arithmetic import Arithmetic
from anyback.bounds.certify import Certificate, certify

__all__ = ["Arithmetic", "Bounded", "Certificate", "certify", "round_to"]
