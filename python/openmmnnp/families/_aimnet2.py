"""AIMNet2 over all pairs of one molecule, with the long-range energies that its calculator adds."""

from __future__ import annotations

from typing import Any

from aimnet import nbops
from torch import Tensor, nn

__all__ = ["Network"]


class Network(nn.Module):
    """An AIMNet2 model of n atoms without periodic boundaries; each atom sees all others.

    forward takes positions [n, 3] in angstrom, atomic_numbers [n], the total charge [] and, with two channels of
    charges, the multiplicity []. It returns the energy [] in eV, summed in float64, without the atoms' own energies,
    the charges [n] in e and, with two channels, the spin charges [n].

    ``coulomb`` and ``dispersion`` are aimnet's LRCoulomb and DFTD3, or None. The model given is changed.
    """

    def __init__(self, model: Any, coulomb: Any, dispersion: Any) -> None:
        super().__init__()
        self.model = model
        for name, module in list(model.outputs.named_children()):
            if is_shift(module):
                setattr(model.outputs, name, InDouble())
        self.coulomb = coulomb
        self.dispersion = dispersion

    def forward(
        self, positions: Tensor, atomic_numbers: Tensor, charge: Tensor, multiplicity: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        dtype = positions.dtype
        data = {
            "coord": positions.unsqueeze(0),
            "numbers": atomic_numbers.unsqueeze(0),
            "charge": charge.to(dtype).reshape(1),
        }
        if multiplicity is not None:
            data["mult"] = multiplicity.to(dtype).reshape(1)
        with nbops._symbolic_trace_context():  # no Python numbers from tensors
            data = self.model.forward_prepared(nbops.calc_masks(nbops.set_nb_mode(data)))
            energy = data["energy"].double()
            if self.coulomb is not None:
                energy = energy + self.coulomb.coul_simple(data)
            if self.dispersion is not None:
                energy = energy + self.dispersion._compute_energy_torch(data)
        names = ("charges",) if multiplicity is None else ("charges", "spin_charges")
        return energy.squeeze(0), *(data[name].squeeze(0) for name in names)


class InDouble(nn.Module):
    """Takes the place of the atoms' own energies: the others are summed in float64 from here on."""

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        data["energy"] = data["energy"].double()
        return data


def is_shift(module: Any) -> bool:
    """Whether an output module adds a constant energy to each atom."""
    return type(module).__name__ == "AtomicShift" and module.key_in == module.key_out == "energy"
