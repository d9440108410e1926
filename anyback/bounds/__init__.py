"""Arrays that carry a value and a bound on its error, and the proof of which labels no rounding can change.

Examples
--------
One third, in float32, on any library:

>>> import numpy as np
>>> arithmetic = Arithmetic("highest")
>>> third = arithmetic.asarray(np.asarray([1.0], np.float32)) / 3
>>> isinstance(third, Bounded), abs(third.value - 1 / 3) <= third.bound, third.bound < 1e-6
(True, array([ True]), array([ True]))

What a certificate says:

>>> proof = Certificate(np.asarray([7, 1]), np.asarray([2.0, 1e-9]), np.asarray([1e-6, 1e-6]), "highest")
>>> proof, proof.decided
(Certificate(1 of 2 labels decided, precision='highest'), array([ True, False]))
"""

from anyback.bounds._bounded import Bounded
from anyback.bounds._shortened import round_to
from anyback.bounds.arithmetic import Arithmetic
from anyback.bounds.certify import Certificate, certify

__all__ = ["Arithmetic", "Bounded", "Certificate", "certify", "round_to"]
