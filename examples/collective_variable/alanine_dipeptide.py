"""Metadynamics along collective variables that are learned from a trajectory: alanine dipeptide in vacuum.

1. Dynamics at a high temperature, in which the molecule changes its shape often.
2. tICA on sines and cosines of the dihedral angles: the slowest linear combinations become a network from positions to
   two numbers, exported as a model file.
3. OpenMM's Metadynamics at 300 K along both numbers, for which the network is evaluated once, and plain dynamics of the
   same length: which of them finds the second basin (C7ax, phi > 0), and when?
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import app, unit
from tqdm import tqdm

from openmmnnp import ModelSpec, collectiveVariables
from openmmnnp.export import export

HERE = Path(__file__).parent
ROOM_TEMPERATURE = 300.0  # K
BIAS_FACTOR = 20.0
HEIGHT = 3.0  # kJ/mol, of the first Gaussians
FREQUENCY = 100  # steps between Gaussians
STEP = 0.002  # ps
SAMPLED = 25  # steps between samples


class Dihedrals(torch.nn.Module):
    """Weighted sums of sines and cosines of dihedral angles, after their means are subtracted: positions [n, 3] -> [k].

    atoms : indices into the positions [d, 4], in the order of the angles
    mean : of the features [2 d], sines first
    weights : [k, 2 d]
    """

    def __init__(self, atoms, mean, weights):
        super().__init__()
        self.register_buffer("atoms", torch.as_tensor(atoms))
        self.register_buffer("mean", torch.as_tensor(mean))
        self.register_buffer("weights", torch.as_tensor(weights))

    def features(self, positions):
        """Sines and cosines [2 d] of positions [n, 3]."""
        x = positions[self.atoms]
        b1, b2, b3 = (x[:, 1:] - x[:, :-1]).unbind(1)
        n1, n2 = torch.linalg.cross(b1, b2), torch.linalg.cross(b2, b3)
        sine = (b1 * n2).sum(1) * torch.linalg.norm(b2, dim=1)
        cosine = (n1 * n2).sum(1)
        size = torch.linalg.norm(n1, dim=1) * torch.linalg.norm(n2, dim=1)
        return torch.cat([sine / size, cosine / size])

    def forward(self, positions):
        return self.weights @ (self.features(positions) - self.mean)


def tica(features, lag, k):
    """Mean [f], weights [k, f] and autocorrelations [k] of the k slowest linear combinations of features [t, f].

    Time-lagged independent component analysis (Perez-Hernandez et al., J. Chem. Phys. 139, 015102 (2013)): the
    generalized eigenvectors of the symmetrized covariance after ``lag`` samples and that without a lag. Components have
    a variance of 1.
    """
    early, late = features[:-lag], features[lag:]
    mean = (early.mean(0) + late.mean(0)) / 2
    early, late = early - mean, late - mean
    instant = (early.T @ early + late.T @ late) / (2 * len(early))
    lagged = (early.T @ late + late.T @ early) / (2 * len(early))
    sizes, axes = np.linalg.eigh(instant)
    kept = sizes > 1e-8 * sizes.max()
    whitening = axes[:, kept] / np.sqrt(sizes[kept])
    correlations, rotation = np.linalg.eigh(whitening.T @ lagged @ whitening)
    order = np.argsort(correlations)[::-1][:k]
    return mean, (whitening @ rotation[:, order]).T, correlations[order]


def molecule():
    """Topology, System (amber14, constraints of bonds to hydrogen), positions, and atoms of phi and psi [2, 4]."""
    pdb = app.PDBFile(str(HERE / "alanine_dipeptide.pdb"))
    force_field = app.ForceField("amber14-all.xml")
    system = force_field.createSystem(pdb.topology, nonbondedMethod=app.NoCutoff, constraints=app.HBonds)
    by_name = {(atom.residue.name, atom.name): atom.index for atom in pdb.topology.atoms()}
    chain = [("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "C"), ("NME", "N")]
    indices = [by_name[name] for name in chain]
    return pdb.topology, system, pdb.positions, [indices[:4], indices[1:]]


class Recorder:
    """Samples the dihedral angles while a Simulation runs, with a progress bar."""

    def __init__(self, simulation, atoms):
        self.simulation, self.atoms = simulation, atoms
        self.measure = Dihedrals(atoms, np.zeros(4), np.eye(4))
        self.features = []

    def run(self, steps, title, step=None):
        """Features [t, 4] of all samples; ``step(count)`` advances the simulation."""
        step = step or self.simulation.step
        for _ in tqdm(range(steps // SAMPLED), desc=title, unit_scale=SAMPLED, unit="step", mininterval=1):
            step(SAMPLED)
            x = self.simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
            self.features.append(self.measure.features(torch.as_tensor(x)).numpy())
        return np.array(self.features)


def angles(features):
    """phi and psi [t, 2] in degrees."""
    return np.degrees(np.arctan2(features[:, :2], features[:, 2:]))


def simulation(topology, system, positions, temperature, seed):
    """A minimized Simulation with velocities of the temperature, on one thread of the CPU."""
    integrator = openmm.LangevinMiddleIntegrator(temperature, 1 / unit.picosecond, STEP * unit.picosecond)
    integrator.setRandomNumberSeed(seed)
    made = app.Simulation(
        topology,
        system,
        integrator,
        openmm.Platform.getPlatform("CPU"),
        {"Threads": "1", "DeterministicForces": "true"},
    )
    made.context.setPositions(positions)
    made.minimizeEnergy()
    made.context.setVelocitiesToTemperature(temperature, seed)
    return made


def train(features, atoms, lag):
    """The network of the two slowest combinations, its particles, and the time in ps in which each forgets itself."""
    mean, weights, correlations = tica(features, lag, 2)
    particles = sorted({i for four in atoms for i in four})
    local = [[particles.index(i) for i in four] for four in atoms]
    times = [-lag * SAMPLED * STEP / math.log(c) if 0 < c < 1 else math.inf for c in correlations]
    return Dihedrals(local, mean.astype(np.float32), weights.astype(np.float32)), particles, times


def save(network, path, particles, positions):
    """The network as a model file: it takes positions in nm and gives two pure numbers."""
    spec = ModelSpec(
        "tICA of alanine dipeptide", "nm", "1", "float32", outputs=["tic"], output_units={"tic": "1"}, particles=5
    )
    x = np.array(positions.value_in_unit(unit.nanometer))[particles]
    return export(network, spec, path, example={"positions": x})


def ranges(network):
    """Lowest and highest value [2, k] that each component can have, its features being on circles."""
    weights, mean = network.weights.numpy(), network.mean.numpy()
    reach = np.hypot(weights[:, :2], weights[:, 2:]).sum(1)
    return np.array([-reach, reach]) - weights @ mean


def metadynamics(system, forces, network):
    """OpenMM's Metadynamics along the components, added to the System."""
    low, high = ranges(network)
    margin = 0.05 * (high - low)  # the bias is zero outside of its grid
    variables = [
        app.BiasVariable(force, a - m, b + m, 0.05 * (b - a), gridWidth=100)
        for force, a, b, m in zip(forces, low, high, margin, strict=True)
    ]
    return app.Metadynamics(system, variables, ROOM_TEMPERATURE, BIAS_FACTOR, HEIGHT, FREQUENCY)


def first_visit(features):
    """When phi was first in the basin C7ax, in ps; None if it never was."""
    phi = angles(features)[:, 0]
    inside = np.flatnonzero((phi > 30) & (phi < 110))
    return float(inside[0] + 1) * SAMPLED * STEP if len(inside) else None


def plot(path, plain, biased, free_energy, limits, network):
    """Ramachandran plots of both runs, the first component against time, and the free energy along both."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 9), layout="constrained")
    times = np.arange(1, len(plain) + 1) * SAMPLED * STEP
    for axis, (title, features) in zip(axes[0], {"plain dynamics": plain, "metadynamics": biased}.items(), strict=True):
        phi, psi = angles(features).T
        points = axis.scatter(phi, psi, c=times, s=4)
        axis.set(title=title, xlabel="phi (degrees)", ylabel="psi (degrees)", xlim=(-180, 180), ylim=(-180, 180))
    figure.colorbar(points, ax=axes[0], label="time (ps)")
    for title, features in (("plain dynamics", plain), ("metadynamics", biased)):
        values = (features - network.mean.numpy()) @ network.weights.numpy()[0]
        axes[1, 0].plot(times, values, ".", markersize=2, label=title)
    axes[1, 0].set(xlabel="time (ps)", ylabel="first component")
    axes[1, 0].legend(loc="upper right")
    (low1, high1), (low2, high2) = limits
    shown = np.where(free_energy - free_energy.min() < 60, free_energy - free_energy.min(), np.nan)
    image = axes[1, 1].imshow(shown, origin="lower", extent=(low1, high1, low2, high2), aspect="auto")
    axes[1, 1].set(title="free energy", xlabel="first component", ylabel="second component")
    figure.colorbar(image, ax=axes[1, 1], label="kJ/mol")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(out, training=200_000, production=100_000, temperature=1000.0, lag=10, seed=1, suffix=".pt2"):
    """Run all of it; returns (and writes to ``summary.json``) what was found."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    topology, system, positions, atoms = molecule()
    hot = Recorder(simulation(topology, system, positions, temperature, seed), atoms)
    features = hot.run(training, f"{temperature:g} K")
    network, particles, times = train(features, atoms, lag)
    model = out / f"tica{suffix}"
    save(network, model, particles, positions)

    cold = simulation(topology, system, positions, ROOM_TEMPERATURE, seed)
    plain = Recorder(cold, atoms).run(production, "plain, 300 K")
    forces = collectiveVariables(model, particles)
    bias = metadynamics(system, forces, network)
    biased_simulation = simulation(topology, system, positions, ROOM_TEMPERATURE, seed)
    biased = Recorder(biased_simulation, atoms).run(
        production, "metadynamics, 300 K", lambda steps: bias.step(biased_simulation, steps)
    )

    counts = [force.getDiagnostics(biased_simulation.context) for force in forces]
    summary = {
        "relaxation_ps": times,
        "length_ps": production * STEP,
        "plain_first_visit_ps": first_visit(plain),
        "metadynamics_first_visit_ps": first_visit(biased),
        "evaluations": [count["evaluations"] for count in counts],
        "reused": [count["reused"] for count in counts],
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=1))
    limits = [(variable.minValue, variable.maxValue) for variable in bias.variables]
    plot(out / "alanine_dipeptide.png", plain, biased, bias.getFreeEnergy()._value, limits, network)
    return summary


def describe(summary):
    """The summary in sentences."""

    def when(time):
        return "not found" if time is None else f"found after {time:.1f} ps"

    slow, fast = summary["relaxation_ps"]
    plain, biased = when(summary["plain_first_visit_ps"]), when(summary["metadynamics_first_visit_ps"])
    return (
        f"The components relax in {slow:.2g} and {fast:.2g} ps in training.\n"
        f"In {summary['length_ps']:g} ps from C7eq, the basin C7ax was {plain} by plain dynamics and {biased} by "
        "metadynamics.\n"
        f"The network was evaluated {sum(summary['evaluations'])} times for both components; "
        f"{sum(summary['reused'])} requests were answered from an evaluation."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="alanine_dipeptide", help="folder for model, summary and plots [%(default)s]")
    parser.add_argument("--training", default=200_000, type=int, help="steps of training, of 2 fs [%(default)s]")
    parser.add_argument("--production", default=100_000, type=int, help="steps of each run at 300 K [%(default)s]")
    parser.add_argument("--temperature", default=1000.0, type=float, help="of training, K [%(default)s]")
    parser.add_argument("--lag", default=10, type=int, help="lag of tICA, in samples of 0.05 ps [%(default)s]")
    parser.add_argument("--seed", default=1, type=int, help="of velocities and of the heat bath [%(default)s]")
    parser.add_argument("--format", default="pt2", choices=("pt2", "pt"), help="of the model [%(default)s]")
    args = vars(parser.parse_args())
    print(describe(main(suffix=f".{args.pop('format')}", **args)))
