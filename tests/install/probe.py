"""What the install matrix runs in other environments: makes models, and prints their energies and forces as JSON."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

POSITIONS = [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.2, 0.0], [0.1, 0.1, 0.3]]  # nm
STIFFNESS = 50.0  # E = STIFFNESS sum r^2, in kJ/mol and nm


def make_models(*paths: str) -> None:
    """A .pt or a .pt2, by the name's ending."""
    import torch

    from openmmnnp import ModelSpec
    from openmmnnp.export import save_pt, save_pt2

    class Springs(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return 50.0 * (positions * positions).sum()

    spec = ModelSpec("springs", "nm", "kJ/mol", "float64", outputs=["energy"])
    examples = [{"positions": torch.rand(n, 3, dtype=torch.float64)} for n in (4, 5)]
    for path in paths:
        save = save_pt2 if path.endswith(".pt2") else save_pt
        save(Springs(), spec, path, examples=examples, progress=False)
    _answer(torch=torch.__version__)


def evaluate(modules: str, *paths: str) -> None:
    """Import modules (with commas) in this order; then energy and forces of each model on each platform for all."""
    for name in modules.split(","):
        importlib.import_module(name)
    import openmm

    import openmmnnp

    results = []
    for path in paths:
        for platform in ("Reference", "CPU"):
            system = openmm.System()
            for _ in POSITIONS:
                system.addParticle(1.0)
            system.addForce(openmmnnp.NNPForce(path))
            integrator = openmm.VerletIntegrator(0.001)
            context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
            context.setPositions(POSITIONS)
            state = context.getState(energy=True, forces=True)
            forces = [list(force) for force in state.getForces()._value]
            results.append({"energy": state.getPotentialEnergy()._value, "forces": forces})
    _answer(results=results)


def refusal(model: str = "") -> None:
    """The text of an error, and whether a library of OpenMM, torch or ours was loaded when it came."""
    try:
        import openmmnnp

        if model:
            evaluate("openmmnnp", model)
        text = f"imports {openmmnnp.__version__}"
    except Exception as error:
        text = str(error)
    with open("/proc/self/maps") as maps:
        text_of_maps = maps.read()
    loaded = [name for name in ("libOpenMM", "libtorch", "openmmnnp/_core") if name in text_of_maps]
    _answer(text=text, loaded=loaded)


def _answer(**values: Any) -> None:
    print(json.dumps(values))


if __name__ == "__main__":
    {f.__name__: f for f in (make_models, evaluate, refusal)}[sys.argv[1]](*sys.argv[2:])
