"""The MM energy of a region alone: what mechanical embedding takes away, as a System of its own."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

import openmm
from openmm import unit

from .embedding.bonded import BONDED_FORCES

_PARTICLE_KEYS = ("particle", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8")
_MAP_KEYS = ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4")
_TERMS = {"Bond", "Angle", "Torsion"}
# Where a bond is constrained its force constant is unknown: GAFF's typical ones for hydrogen, in kJ/mol/nm^2.
_TYPICAL_STIFFNESS = 3.4e5


def region_system(system: openmm.System, atoms: Sequence[int]) -> openmm.System:
    """A System of the particles `atoms`, in that order, with the MM interactions among them: no box, no cutoff.

    Masses and the constraints among the particles are kept. Its energy is E_MM(region) of
    :func:`openmmnnp.embedding.mechanical_embedding`. Forces that are no function of the region alone (implicit
    solvents, restraints to space, barostats) are left out.
    """
    place = {particle: i for i, particle in enumerate(atoms)}
    region = openmm.System()
    for particle in atoms:
        region.addParticle(system.getParticleMass(particle))
    for k in range(system.getNumConstraints()):
        particle1, particle2, distance = system.getConstraintParameters(k)
        if particle1 in place and particle2 in place:
            region.addConstraint(place[particle1], place[particle2], distance)
    for force in system.getForces():
        kind = type(force).__name__
        if kind in BONDED_FORCES:
            region.addForce(_bonded_terms(force, place))
        elif kind == "NonbondedForce":
            region.addForce(_pairs(force, atoms, place))
        elif kind == "CustomNonbondedForce":
            region.addForce(_custom_pairs(force, atoms, place))
    return region


def _bonded_terms(force: openmm.Force, place: Mapping[int, int]) -> openmm.Force:
    root = ET.fromstring(openmm.XmlSerializer.serialize(force))
    for parent in list(root.iter()):
        for term in [child for child in parent if child.tag in _TERMS]:
            keys = [key for key in (*_PARTICLE_KEYS, *_MAP_KEYS) if key in term.attrib]
            if not keys:
                continue  # the definition of a map or a function
            if all(int(term.attrib[key]) in place for key in keys):
                term.attrib.update({key: str(place[int(term.attrib[key])]) for key in keys})
            else:
                parent.remove(term)
    copy = openmm.XmlSerializer.deserialize(ET.tostring(root, encoding="unicode"))
    copy.setUsesPeriodicBoundaryConditions(False)
    return copy


def _pairs(force: openmm.NonbondedForce, atoms: Sequence[int], place: Mapping[int, int]) -> openmm.NonbondedForce:
    pairs = openmm.NonbondedForce()
    pairs.setName(force.getName())
    for particle in atoms:
        pairs.addParticle(*force.getParticleParameters(particle))
    for k in range(force.getNumExceptions()):
        particle1, particle2, *parameters = force.getExceptionParameters(k)
        if particle1 in place and particle2 in place:
            pairs.addException(place[particle1], place[particle2], *parameters)
    return pairs


def _custom_pairs(
    force: openmm.CustomNonbondedForce, atoms: Sequence[int], place: Mapping[int, int]
) -> openmm.CustomNonbondedForce:
    root = ET.fromstring(openmm.XmlSerializer.serialize(force))
    particles = root.find("Particles")
    exclusions = root.find("Exclusions")
    groups = root.find("InteractionGroups")
    assert particles is not None and exclusions is not None
    chosen = list(particles)
    particles[:] = [chosen[particle] for particle in atoms]
    pairs = [(e, int(e.attrib["p1"]), int(e.attrib["p2"])) for e in exclusions]
    exclusions[:] = [e for e, i, j in pairs if i in place and j in place]
    for exclusion, i, j in pairs:
        exclusion.attrib.update(p1=str(place.get(i)), p2=str(place.get(j)))
    for members in (m for group in (groups if groups is not None else []) for m in group):
        members[:] = [p for p in members if int(p.attrib["index"]) in place]
        for particle in members:
            particle.attrib["index"] = str(place[int(particle.attrib["index"])])
    copy = openmm.XmlSerializer.deserialize(ET.tostring(root, encoding="unicode"))
    copy.setNonbondedMethod(openmm.CustomNonbondedForce.NoCutoff)
    copy.setUseLongRangeCorrection(False)
    return copy


def shortest_period(region: openmm.System) -> float:
    """The shortest period 2 pi sqrt(mu/k) of the region's bonds, in ps; infinite without bonds.

    The masses are the System's. A constrained bond counts with a typical force constant of a bond to hydrogen.
    """
    masses = [region.getParticleMass(i).value_in_unit(unit.dalton) for i in range(region.getNumParticles())]
    bonds = []
    for force in (f for f in region.getForces() if isinstance(f, openmm.HarmonicBondForce)):
        for k in range(force.getNumBonds()):
            i, j, _, stiffness = force.getBondParameters(k)
            bonds.append((i, j, stiffness.value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2)))
    for k in range(region.getNumConstraints()):
        bonds.append((*region.getConstraintParameters(k)[:2], _TYPICAL_STIFFNESS))
    inverse = [(1 / masses[i] + 1 / masses[j]) * k for i, j, k in bonds if masses[i] and masses[j] and k > 0]
    return 2 * math.pi / math.sqrt(max(inverse)) if inverse else math.inf
