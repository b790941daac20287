"""AIMNet2 models with random weights, exported, against aimnet's own calculator."""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from helpers import measure_parity
from openmmnnp import NNPForce
from openmmnnp.cli import main
from openmmnnp.families import Loaded, aimnet2
from openmmnnp.spec import ENERGY_UNITS, read_spec
from pages import run_page

pytest.importorskip("aimnet", reason="the package aimnet is not installed")

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

EV, ANGSTROM = ENERGY_UNITS["eV"], 0.1
ALONE = {1: -13.6, 6: -1036.3, 7: -1488.5, 8: -2043.9, 16: -10832.1}
SMALL = {"nfeature": 8, "ncomb_v": 4, "hidden": [[32, 24], [32, 24], [32, 24]], "aim_size": 16}


def definition(channels: int) -> dict[str, Any]:
    """aimnet's definition of a model with D3, made small."""
    import aimnet
    import yaml

    whole = yaml.safe_load((Path(aimnet.__file__).parent / "models" / "aimnet2_dftd3_wb97m.yaml").read_text())
    whole["kwargs"] |= {**SMALL, "aev": {"rc_s": 5.0, "nshifts_s": 8}, "num_charge_channels": channels}
    whole["kwargs"]["outputs"]["energy_mlp"]["kwargs"] |= {"n_in": 16}
    whole["kwargs"]["outputs"]["energy_mlp"]["kwargs"]["mlp"]["hidden"] = [32]
    return whole


def build(folder: Path, channels: int = 1, dispersion: bool = True) -> Path:
    """A model with random weights, written by aimnet's own command."""
    import yaml
    from aimnet.config import build_module
    from aimnet.train.export_model import export_model

    torch.manual_seed(1)
    whole = definition(channels)
    if not dispersion:
        del whole["kwargs"]["outputs"]["dftd3"]
    torch.save(build_module(copy.deepcopy(whole)).state_dict(), folder / "weights.pt")
    (folder / "model.yaml").write_text(yaml.dump(whole, sort_keys=False))
    (folder / "sae.yaml").write_text(yaml.dump(ALONE))
    words = [folder / "weights.pt", folder / "m.pt", "--model", folder / "model.yaml", "--sae", folder / "sae.yaml"]
    export_model.main([str(word) for word in words], standalone_mode=False)
    return folder / "m.pt"


class Calculator:
    """aimnet's calculator, in float32 as it is, or in float64."""

    def __init__(self, path: Path, dtype: str) -> None:
        from aimnet.calculators import AIMNet2Calculator

        self.calculator = AIMNet2Calculator(str(path), device="cpu")
        if dtype == "float64":
            kept = AIMNet2Calculator
            self.calculator.keys_in = {k: _double(v) for k, v in kept.keys_in.items()}
            self.calculator.keys_in_optional = {k: _double(v) for k, v in kept.keys_in_optional.items()}
            model = self.calculator.model.double()
            model._required_keys_dtype = [_double(x) for x in model._required_keys_dtype]
            model._optional_keys_dtype = [_double(x) for x in model._optional_keys_dtype]
            self.calculator.external_coulomb.double()

    def __call__(self, numbers: Any, positions: Any, charge: int = 0, multiplicity: int = 1) -> dict[str, np.ndarray]:
        data = {"coord": positions, "numbers": np.array(numbers), "charge": float(charge), "mult": float(multiplicity)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {k: v.detach().numpy() for k, v in self.calculator(data, forces=True).items()}


def _double(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float32 else dtype


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="aimnet")
        yield


def cluster(n: int, seed: int = 0) -> tuple[list[int], np.ndarray]:
    """Elements and positions in angstrom of n atoms on a distorted grid."""
    generator, edge = np.random.default_rng(seed), int(np.ceil(n ** (1 / 3)))
    grid = np.stack(np.meshgrid(*3 * [np.arange(edge)], indexing="ij"), -1).reshape(-1, 3)[:n]
    numbers = generator.choice(list(ALONE), n, p=[0.5, 0.3, 0.08, 0.1, 0.02]).tolist()
    return numbers, 1.4 * (grid + generator.uniform(-0.15, 0.15, (n, 3)))


@pytest.fixture(scope="module", params=["closed shell", "open shell"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model and its package: with one channel of charges in float32, with two in float64."""
    folder = tmp_path_factory.mktemp("aimnet2")
    closed = request.param == "closed shell"
    model, package = build(folder, 1 if closed else 2), folder / "m.pt2"
    words = ["--dtype", "float32" if closed else "float64", "--license", "none"]
    assert main(["export", "aimnet2", str(model), "-o", str(package), *words]) == 0
    return model, package


@pytest.mark.figure("G15", what="AIMNet2", platform="Reference")
@pytest.mark.parametrize("n", [3, 12, 29, 50])
@pytest.mark.parametrize("charge", [0, -1, 2])
def test_equal_to_the_calculator(exported, n, charge, make_context, measure):
    model, package = exported
    spec, (numbers, positions) = read_spec(package), cluster(n)
    multiplicity = 2 if "multiplicity" in spec.inputs else 1
    force = NNPForce(str(package))
    force.setParticles(range(n), atomicNumbers=numbers)
    force.setCharge(charge)
    force.setMultiplicity(multiplicity)
    context = make_context(openmm.Platform.getPlatform("Reference"), force, positions * ANGSTROM)
    state = context.getState(energy=True, forces=True)
    right = Calculator(model, spec.dtype)(numbers, positions, charge, multiplicity)
    tolerance = 1e-6 if spec.dtype == "float64" else 1e-4
    alone = spec.constant_energy(numbers)
    energy = state.getPotentialEnergy()._value / EV
    forces = state.getForces(asNumpy=True)._value / EV * ANGSTROM
    # The calculator's D3 is in float32: 1e-6 eV/angstrom is what it is right to.
    found, expected = (energy - alone, forces), (right["energy"].item() - alone, right["forces"])
    measure_parity(measure, spec.dtype, found, expected, tolerance, (1e-7 * n, 1e-6))
    for name in ("charges", "spin_charges") if multiplicity == 2 else ("charges",):
        found = np.asarray(force.getOutput(context, name))
        np.testing.assert_allclose(found, right[name], atol=tolerance)
    assert np.asarray(force.getOutput(context, "charges")).sum() == pytest.approx(charge, abs=0.01)


def load(model: Path, *words: str, dtype: str | None = "float64") -> Loaded:
    parser = argparse.ArgumentParser()
    aimnet2.add_arguments(parser)
    options = parser.parse_args([str(model), *words])
    options.dtype = dtype
    return aimnet2.load(options, None)


def evaluate(loaded: Loaded, numbers: Any, positions: Any, **values: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and charges of a module that is not compiled."""
    arrays = {"positions": positions, "atomic_numbers": numbers, **values}
    inputs = {name: torch.as_tensor(arrays[name]) for name in loaded.spec.inputs}
    inputs["positions"].requires_grad_(True)
    energy, charges, *_ = loaded.module(*inputs.values())
    (gradient,) = torch.autograd.grad(energy, inputs["positions"])
    return energy.item() + loaded.spec.constant_energy(numbers), -gradient.numpy(), charges.detach().numpy()


@pytest.mark.parametrize("channels", [1, 2])
def test_without_dispersion_equal_to_more_digits(tmp_path, channels):
    model = build(tmp_path, channels, dispersion=False)
    loaded, calculator = load(model), Calculator(model, "float64")
    for n, charge, multiplicity in ((7, 0, 1), (31, 1, 2)):
        numbers, positions = cluster(n)
        energy, forces, charges = evaluate(loaded, numbers, positions, charge=charge, multiplicity=multiplicity)
        right = calculator(numbers, positions, charge, multiplicity)
        assert energy == pytest.approx(right["energy"].item(), rel=1e-12)
        np.testing.assert_allclose(forces, right["forces"], atol=1e-9)
        np.testing.assert_allclose(charges, right["charges"], atol=1e-10)


def test_multiplicity_matters(tmp_path):
    loaded, (numbers, positions) = load(build(tmp_path, 2)), cluster(9)
    energies = [evaluate(loaded, numbers, positions, charge=0, multiplicity=m)[0] for m in (1, 3)]
    assert abs(energies[0] - energies[1]) > 1e-4


def test_spec(tmp_path):
    spec = load(build(tmp_path), "--license", "MIT", dtype=None).spec
    assert (spec.dtype, spec.periodic, spec.long_range, spec.license) == ("float32", False, True, "MIT")
    assert spec.elements == list(ALONE) and spec.output_units == {"charges": "e"}
    shifts = torch.load(tmp_path / "m.pt", weights_only=True)["state_dict"]["outputs.atomic_shift.shifts.weight"]
    assert spec.atomic_energies == {z: shifts[z].item() for z in ALONE}
    for z, energy in ALONE.items():
        assert abs(spec.atomic_energies[z] - energy) < 5


class Part(torch.nn.Module):
    """Holds what a part of an old model's file holds, under the same names."""

    def __init__(self, source: torch.nn.Module) -> None:
        super().__init__()
        for name, parameter in source.named_parameters(recurse=False):
            self.register_parameter(name, copy.deepcopy(parameter))
        for name, buffer in source.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        for name, child in source.named_children():
            self.add_module(name, Part(child))
        self.cutoff, self.s6, self.s8, self.a1, self.a2 = (
            float(getattr(source, name, 0.0)) for name in ("cutoff", "s6", "s8", "a1", "a2")
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_old_files_are_the_same_model(tmp_path):
    from aimnet.config import build_module
    from aimnet.models.base import load_model

    new = build(tmp_path)
    whole = build_module(copy.deepcopy(definition(1)))
    whole.outputs.atomic_shift.double()
    trained = load_model(str(new))[0].state_dict()
    whole.load_state_dict({k: v for k, v in trained.items() if k in whole.state_dict()}, strict=False)
    whole.cutoff = 5.0
    torch.jit.script(Part(whole)).save(str(tmp_path / "old.jpt"))
    (numbers, positions), values = cluster(9), {"charge": -1}
    loaded = load(tmp_path / "old.jpt", "--definition", str(tmp_path / "model.yaml"))
    assert loaded.spec.elements == list(ALONE)
    found, right = evaluate(loaded, numbers, positions, **values), evaluate(load(new), numbers, positions, **values)
    assert found[0] == pytest.approx(right[0], rel=1e-14)
    np.testing.assert_allclose(found[1], right[1], atol=1e-12)
    assert load(new).module.dispersion.s8 == 0.3908


def test_only_aimnet2_itself_is_exported(tmp_path, monkeypatch):
    from aimnet.models import base

    (tmp_path / "other.pt").touch()
    monkeypatch.setattr(base, "load_model", lambda path: (torch.nn.Identity(), {}))
    with pytest.raises(ValueError, match=r"other\.pt holds a model of the class Identity, but exported can be AIMNet2"):
        load(tmp_path / "other.pt")


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no model")
    with pytest.raises(ValueError, match=r"aimnet can't load .*text\.pt"):
        load(tmp_path / "text.pt")
    with pytest.raises(ValueError, match=r"--definition is for a \.jpt, but .*text\.pt holds its own"):
        load(tmp_path / "text.pt", "--definition", "model.yaml")


def test_page(tmp_path):
    page = Path(__file__).parents[3] / "docs" / "models" / "aimnet2.md"
    assert "kJ/mol" in run_page(page, tmp_path)
