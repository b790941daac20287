"""Multiple time steps for an expensive potential: the difference to a cheap one acts in every n-th step only (r-RESPA).

The ligand ejm_31 in vacuum: its neural network potential is expensive, GAFF is cheap, and good enough for short steps
after its bonds and angles were fitted to the potential's forces. Compared are velocity Verlet with the potential alone,
and r-RESPA with inner steps of the same length: conservation of energy in NVE, and speed.
"""

import argparse
import copy
import itertools
import json
import statistics
import time
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from tqdm import tqdm

from openmmnnp import NNPForce, addMultipleTimeSteps

TYK2 = Path(__file__).parent / "tyk2"
TEMPERATURE = 300.0  # K
PER_KT = 1 / (8.31446261815324e-3 * TEMPERATURE)  # mol/kJ


def ligand():
    """Topology, GAFF's System and positions of the ligand."""
    pdb = app.PDBFile(str(TYK2 / "lig.pdb"))
    force_field = app.ForceField(str(TYK2 / "lig_gaff.xml"))
    system = force_field.createSystem(pdb.topology, nonbondedMethod=app.NoCutoff, removeCMMotion=False)
    return pdb.topology, system, pdb.positions


def alone(system, force):
    """The particles of a System with one force."""
    for i in reversed(range(system.getNumForces())):
        system.removeForce(i)
    system.addForce(force)
    return system


def potential(topology, model):
    """The expensive force."""
    return NNPForce(str(model), atomicNumbers=[atom.element.atomic_number for atom in topology.atoms()])


def forces_of(context, x):
    """Forces [n, 3] in kJ/mol/nm at positions in nm."""
    context.setPositions(x)
    return context.getState(forces=True).getForces(asNumpy=True)._value


def stretches(x, i, j):
    """Lengths [t] of a bond in frames [t, n, 3], and their derivatives [t, n, 3]."""
    r = x[:, j] - x[:, i]
    length = np.linalg.norm(r, axis=1)
    derivative = np.zeros_like(x)
    derivative[:, j] = r / length[:, None]
    derivative[:, i] = -derivative[:, j]
    return length, derivative


def bends(x, i, j, k):
    """Angles [t] at the atom j in radian, and their derivatives [t, n, 3]."""
    (a, da), (b, db) = stretches(x, j, i), stretches(x, j, k)
    u, v = da[:, i], db[:, k]
    cosine = (u * v).sum(1)
    sine = np.sqrt(1 - cosine**2)
    derivative = np.zeros_like(x)
    derivative[:, i] = (cosine[:, None] * u - v) / (a * sine)[:, None]
    derivative[:, k] = (cosine[:, None] * v - u) / (b * sine)[:, None]
    derivative[:, j] = -derivative[:, i] - derivative[:, k]
    return np.arccos(cosine), derivative


def fit(system, x, target, weight=1e-5):
    """Fit bonds and angles of GAFF's System to forces [t, n, 3] of the potential in frames [t, n, 3]; the rest stays.

    Force matching (Ercolessi, Adams, Europhys. Lett. 26, 583 (1994)): the force -k (q - q0) dq/dx is linear in k and
    k q0, for which it is a problem of least squares. ``weight`` pulls both toward those of GAFF.
    """
    force = {type(f): f for f in system.getForces()}
    bonds, angles = force[openmm.HarmonicBondForce], force[openmm.HarmonicAngleForce]
    given = [bonds.getBondParameters(i) for i in range(bonds.getNumBonds())]
    given += [angles.getAngleParameters(i) for i in range(angles.getNumAngles())]
    initial = np.array([[p[-1]._value, p[-1]._value * p[-2]._value] for p in given])
    columns = []
    for *atoms, _, _ in given:
        q, derivative = (stretches if len(atoms) == 2 else bends)(x, *atoms)
        columns += [(-q[:, None, None] * derivative).ravel(), derivative.ravel()]
    matrix = np.array(columns).T * initial.ravel()
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    missing = (target - np.array([forces_of(context, frame) for frame in x])).ravel()
    ridge = weight * np.trace(matrix.T @ matrix) / matrix.shape[1] * np.eye(matrix.shape[1])
    change = np.linalg.solve(matrix.T @ matrix + ridge, matrix.T @ missing).reshape(-1, 2)
    fitted = initial * (1 + change)
    for i, (p, (k, kq)) in enumerate(zip(given, fitted, strict=True)):
        if i < bonds.getNumBonds():
            bonds.setBondParameters(i, *p[:2], kq / k, k)
        else:
            angles.setAngleParameters(i - bonds.getNumBonds(), *p[:3], kq / k, k)


class Scheme:
    """A way to integrate: an outer step in fs, and the inner steps in it; with one of these the potential is alone."""

    def __init__(self, outer, substeps, cheap, model, platform="CPU"):
        self.outer, self.substeps = outer, substeps
        topology, system, positions = ligand()
        self.force = potential(topology, model)
        if substeps == 1:
            system = alone(system, self.force)
            groups = [(0, 1)]
        else:
            system = copy.deepcopy(cheap)
            groups = addMultipleTimeSteps(system, self.force, system.getForces(), substeps)
        integrator = openmm.MTSIntegrator(outer * unit.femtosecond, groups)
        properties = {"Threads": "1"} if platform == "CPU" else {}
        self.context = openmm.Context(system, integrator, openmm.Platform.getPlatform(platform), properties)
        self.context.setPositions(positions)

    @property
    def name(self):
        if self.substeps == 1:
            return f"Verlet, {self.outer:g} fs"
        return f"r-RESPA, {self.outer:g} fs = {self.substeps} x {self.outer / self.substeps:g} fs"

    def start(self, state):
        """From positions and velocities of another System of the same particles."""
        self.context.setPositions(state.getPositions(asNumpy=True))
        self.context.setVelocities(state.getVelocities(asNumpy=True))

    def steps(self, picoseconds):
        return round(1000 * picoseconds / self.outer)

    def total_energies(self, picoseconds):
        """Times in ps and total energies in kJ/mol of every outer step."""
        found = []
        for i in tqdm(range(self.steps(picoseconds)), desc=self.name, mininterval=1):
            self.context.getIntegrator().step(1)
            state = self.context.getState(energy=True)
            energy = state.getPotentialEnergy() + state.getKineticEnergy()
            found.append(((i + 1) * self.outer / 1000, energy.value_in_unit(unit.kilojoule_per_mole)))
        return np.array(found).T

    def seconds(self, picoseconds):
        """Time that dynamics of this length takes, divided by the length."""
        began = time.perf_counter()
        self.context.getIntegrator().step(self.steps(picoseconds))
        self.context.getState(energy=True)
        return (time.perf_counter() - began) / picoseconds


def equilibrated(model, picoseconds, seed, frames=100):
    """A State at 300 K of the ligand with its potential, and GAFF's System fitted to it in frames on the way."""
    topology, cheap, positions = ligand()
    system = alone(copy.deepcopy(cheap), potential(topology, model))
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 5, 0.0005)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("CPU"), {"Threads": "1"})
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10, 100)
    context.setVelocitiesToTemperature(TEMPERATURE, seed)
    x, forces = [], []
    for _ in tqdm(range(frames), desc="equilibration", mininterval=1):
        integrator.step(max(1, round(picoseconds * 2000 / frames)))
        state = context.getState(positions=True, velocities=True, forces=True)
        x.append(state.getPositions(asNumpy=True)._value)
        forces.append(state.getForces(asNumpy=True)._value)
    fit(cheap, np.array(x), np.array(forces))
    return state, cheap


def conservation(times, energies, particles):
    """Drift with its standard error in kT/ns for each degree of freedom, and fluctuation (rms, kJ/mol) around it.

    The error is that of the slopes of eight blocks, since energies of neighboring steps are not independent.
    """
    freedom = 3 * particles - 3
    slope, offset = np.polyfit(times, energies, 1)
    blocks = [
        np.polyfit(t, e, 1)[0] for t, e in zip(np.array_split(times, 8), np.array_split(energies, 8), strict=True)
    ]
    # Slopes of blocks an eighth as long scatter by 8^1.5 as much.
    error = np.std(blocks, ddof=1) / 8**1.5
    factor = 1000 * PER_KT / freedom
    return slope * factor, error * factor, float(np.std(energies - slope * times - offset))


def interleaved(schemes, picoseconds, rounds):
    """Median seconds for a ps of each scheme, measured in turn."""
    found = {scheme.name: [] for scheme in schemes}
    for _, scheme in tqdm(list(itertools.product(range(rounds), schemes)), desc="speed", mininterval=1):
        found[scheme.name].append(scheme.seconds(picoseconds))
    return {name: statistics.median(values) for name, values in found.items()}


def plot(path, runs):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 5), layout="constrained")
    for name, (times, energies) in runs.items():
        axis.plot(times, energies - energies[0], linewidth=0.6, label=name)
    axis.set(xlabel="time (ps)", ylabel="total energy - first (kJ/mol)")
    axis.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(out, model=TYK2 / "ejm_31.pt", picoseconds=10.0, inner=0.5, substeps=(2, 3), rounds=7, seed=1):
    """Run all of it; returns (and writes to ``summary.json``) a row for each scheme."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    state, cheap = equilibrated(model, min(5.0, picoseconds), seed)
    schemes = [Scheme(inner, 1, cheap, model)]
    schemes += [Scheme(n * inner, m, cheap, model) for n in substeps for m in (1, n)]
    rows, runs = [], {}
    for scheme in schemes:
        scheme.start(state)
        times, energies = runs[scheme.name] = scheme.total_energies(picoseconds)
        drift, error, fluctuation = conservation(times, energies, scheme.context.getSystem().getNumParticles())
        row = {"scheme": scheme.name, "drift": drift, "error": error, "fluctuation": fluctuation}
        rows.append(row | {"evaluations_per_ps": round(1000 / scheme.outer)})
    for scheme in schemes:
        scheme.start(state)
    seconds = interleaved(schemes, picoseconds / 20, rounds)
    for row in rows:
        row["seconds_per_ps"] = seconds[row["scheme"]]
        row["speedup"] = seconds[schemes[0].name] / seconds[row["scheme"]]
    (out / "summary.json").write_text(json.dumps(rows, indent=1))
    plot(out / "total_energy.png", runs)
    return rows


def table(rows):
    lines = [f"{'scheme':<28} {'drift (kT/ns/dof)':>24} {'fluctuation (kJ/mol)':>22} {'s/ps':>8} {'speed-up':>9}"]
    for row in rows:
        drift = f"{row['drift']:.2g} +- {row['error']:.1g}"
        lines.append(
            f"{row['scheme']:<28} {drift:>24} {row['fluctuation']:>22.3g} {row['seconds_per_ps']:>8.3g} "
            f"{row['speedup']:>9.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="multiple_time_steps", help="folder for summary and plot [%(default)s]")
    parser.add_argument("--model", default=TYK2 / "ejm_31.pt", help="potential of the ligand, .pt or .pt2")
    parser.add_argument("--picoseconds", default=10.0, type=float, help="length of each NVE run [%(default)s]")
    parser.add_argument("--inner", default=0.5, type=float, help="inner step, fs [%(default)s]")
    parser.add_argument("--substeps", default=[2, 3], type=int, nargs="+", help="inner steps in an outer [2 3]")
    parser.add_argument("--rounds", default=7, type=int, help="of the interleaved timing [%(default)s]")
    parser.add_argument("--seed", default=1, type=int, help="of velocities and equilibration [%(default)s]")
    print(table(main(**vars(parser.parse_args()))))
