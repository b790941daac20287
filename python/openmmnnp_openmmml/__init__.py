"""What openmm-ml loads when it is imported: a package of its own, so that this never loads or fails with the plugin."""

from __future__ import annotations

from typing import Any


class NNPPotentialImplFactory:
    """The factory of ``MLPotential("nnp", modelPath="model.pt2")``; see :mod:`openmmnnp.openmmml`."""

    def createImpl(self, name: str, modelPath: Any = None, **args: Any) -> Any:
        """The implementation for a model file. Raises TypeError if there is none, or if there are other arguments."""
        if modelPath is None or args:
            given = ", ".join(["name", *(["modelPath"] if modelPath is not None else []), *args])
            raise TypeError(
                f"MLPotential({name!r}) takes the model file as modelPath=FILE (.pt or .pt2) and nothing else, but was "
                f"given {given}; charge and multiplicity go to createSystem() and createMixedSystem()"
            )
        from openmmnnp.openmmml import NNPPotentialImpl

        return NNPPotentialImpl(modelPath)
