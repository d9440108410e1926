"""Networks from what people have in their hands: modules, estimators, models and arrays of other libraries.

None of these libraries is imported here. Who passes an object of one has imported it, and its class says its name.
"""

from anyback.sources.arrays import from_arrays
from anyback.sources.keras import from_keras
from anyback.sources.sklearn import from_sklearn
from anyback.sources.torch import from_torch

__all__ = ["from_arrays", "from_keras", "from_sklearn", "from_torch"]
