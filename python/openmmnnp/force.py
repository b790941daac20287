"""NNPForce: a neural network potential as an OpenMM Force."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import openmm
from openmm import unit

from . import _core
from ._units import with_unit, without_unit
from .spec import ModelSpec

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NNPForce", "trust"]

_EMPTY = '<?xml version="1.0" ?><Force type="NNPForce" version="1" forceGroup="0" name="NNPForce"/>'


class NNPForce(openmm.Force):
    """A force whose energy is computed by a neural network potential, with no Python in the time step.

    The model is a TorchScript file (``.pt``) or an AOTInductor package (``.pt2``). The ModelSpec that it carries says
    what it takes, what it gives and in which units. A ``.pt`` without a spec follows openmm-torch's contract: positions
    [n, 3] in nm (, box vectors [3, 3] if the force is periodic) (, global parameters as scalars, in the order added) ->
    energy in kJ/mol (, forces [n, 3] in kJ/mol/nm).

    The file is read and checked now, and its bytes are kept: if it is overwritten later, nothing changes. Its code is
    loaded when a Context is created. Models are programs: use only those that you trust (see :func:`trust`).

    Like all of OpenMM's classes, wrong use raises openmm.OpenMMException; arguments of a wrong type or sign raise
    TypeError or ValueError.
    """

    def __init__(
        self,
        model: Any,
        *,
        atomicNumbers: Iterable[Any] | None = None,
        charge: int = 0,
        multiplicity: int = 1,
    ) -> None:
        """Create a force that acts on all particles of a System; setParticles() chooses some.

        Parameters
        ----------
        model : str, os.PathLike, bytes or scripted module
            a model file, its contents, or what torch.jit.script() and torch.jit.trace() return
        atomicNumbers : iterable of int or openmm.app.Element, optional
            one per particle of the force, for a model that takes them
        charge : int
            total charge of the particles, in units of the elementary charge
        multiplicity : int
            spin multiplicity 2S+1
        """
        self.this = openmm.XmlSerializer.deserialize(_EMPTY).this
        self._setModel(model)
        if atomicNumbers is not None:
            self.setAtomicNumbers(atomicNumbers)
        self.setCharge(charge)
        self.setMultiplicity(multiplicity)

    @classmethod
    def cast(cls, force: openmm.Force) -> Self:
        """The same force as an object of this class: System.getForce() returns a plain openmm.Force.

        Raises TypeError if it is no NNPForce.
        """
        if not cls.isinstance(force):
            raise TypeError(f"{cls.__name__}.cast needs a force that is an NNPForce, but got {_described(force)}")
        proxy = cls.__new__(cls)
        proxy.this = force.this
        return proxy

    @staticmethod
    def isinstance(force: object) -> bool:
        """Is this openmm.Force an NNPForce, whatever class its Python object has?"""
        return isinstance(force, openmm.Force) and _core.isNNPForce(int(force.this))

    @property
    def _address(self) -> int:
        return int(self.this)

    # The model

    def _setModel(self, model: Any) -> None:
        if isinstance(model, str | os.PathLike):
            self.setModelFile(model)
        elif isinstance(model, bytes | bytearray | memoryview):
            self.setModelBytes(model)
        elif hasattr(model, "save_to_buffer"):
            self.setModelBytes(model.save_to_buffer())
        elif hasattr(model, "forward"):
            raise TypeError(
                f"{type(self).__name__} got the plain module {type(model).__name__}, which only Python can run: pass "
                "torch.jit.script(module), or the file that openmmnnp.export.save_pt writes"
            )
        else:
            raise TypeError(
                f"{type(self).__name__} needs a model as a path, bytes or a scripted module, but got "
                f"{_described(model)}"
            )

    def setModelFile(self, path: str | os.PathLike[str]) -> None:
        """Read the model from a file, now. Raises OpenMMException if it is missing or damaged."""
        _core.setModelFile(self._address, os.fsencode(path))

    def setModelBytes(self, data: bytes | bytearray | memoryview, path: str | os.PathLike[str] = "") -> None:
        """Take the contents of a model file; `path` is for messages. Raises OpenMMException if they are damaged."""
        _core.setModelBytes(self._address, bytes(data), os.fsencode(path))

    def hasModel(self) -> bool:
        """Does the force have a model?"""
        return _core.hasModel(self._address)

    def getModelBytes(self) -> bytes:
        """The contents of the model file, as they were when the force was made."""
        return _core.getModelBytes(self._address)

    def getModelPath(self) -> str:
        """Path of the model file as it was given, "" if the model was not given as a file."""
        return _core.getModelPath(self._address)

    def getModelHash(self) -> str:
        """SHA-256 of the model's bytes, in hexadecimal."""
        return _core.getModelHash(self._address)

    def hasModelSpec(self) -> bool:
        """Does the model carry a ModelSpec? If not, openmm-torch's contract applies."""
        return _core.hasModelSpec(self._address)

    def getModelSpec(self) -> ModelSpec:
        """A copy of the model's ModelSpec. Raises OpenMMException if it carries none."""
        text = _core.getModelSpecText(self._address)
        if not text:
            raise openmm.OpenMMException(
                f"{self.getName()}: the model {self.getModelPath()!r} carries no ModelSpec, so that openmm-torch's "
                "contract applies; openmmnnp.spec.write_spec() puts one into the file"
            )
        return ModelSpec.from_json(text)

    def setModelByReference(self, byReference: bool) -> None:
        """Write path and SHA-256 of the model into XML instead of its bytes (default False)."""
        _core.setModelByReference(self._address, bool(byReference))

    def getModelByReference(self) -> bool:
        """Are path and SHA-256 of the model written into XML instead of its bytes?"""
        return _core.getModelByReference(self._address)

    # The particles

    def setParticles(self, indices: Iterable[int], atomicNumbers: Iterable[Any] | None = None) -> None:
        """Choose the particles that the model sees, in the order in which it wants them.

        `atomicNumbers`, if given, are those of `indices`, as for setAtomicNumbers(). Without this call the model sees
        all particles of the System.
        """
        particles = _counts(indices, "particle indices")
        if atomicNumbers is not None:
            numbers = _atomic_numbers(atomicNumbers)
            if len(numbers) != len(particles):
                raise ValueError(
                    f"setParticles got {len(particles)} particle indices and {len(numbers)} atomic numbers: give one "
                    "atomic number for each index"
                )
            _core.setAtomicNumbers(self._address, numbers)
        _core.setParticles(self._address, particles)

    def getParticles(self) -> list[int]:
        """The particles given to setParticles()."""
        return _core.getParticles(self._address)

    def usesSubset(self) -> bool:
        """Was setParticles() called? If not, the model sees all particles."""
        return _core.usesSubset(self._address)

    def setAtomicNumbers(self, atomicNumbers: Iterable[Any]) -> None:
        """Set the atomic numbers, integers or openmm.app.Elements, one per particle of the force.

        Those of link atoms are given to addLinkAtom().
        """
        _core.setAtomicNumbers(self._address, _atomic_numbers(atomicNumbers))

    def getAtomicNumbers(self) -> list[int]:
        """The atomic numbers, one per particle of the force; [] if they were not set."""
        return _core.getAtomicNumbers(self._address)

    def setTypes(self, types: Iterable[int]) -> None:
        """Set the model's own atom types (0 and up), one per particle of the force.

        The types of link atoms follow, one each; if the model's spec has a ``type_map``, they may be left out, and are
        those of their elements.
        """
        _core.setTypes(self._address, _counts(types, "types"))

    def getTypes(self) -> list[int]:
        """The atom types, one per particle of the force; [] if they were not set."""
        return _core.getTypes(self._address)

    def setCharge(self, charge: int) -> None:
        """Set the total charge of the particles: an integer, or a Quantity that is a whole number of charges."""
        _core.setCharge(self._address, _integer(charge, "charge"))

    def getCharge(self) -> int:
        """The total charge of the particles, in units of the elementary charge."""
        return _core.getCharge(self._address)

    def setMultiplicity(self, multiplicity: int) -> None:
        """Set the spin multiplicity 2S+1."""
        if _integer(multiplicity, "multiplicity") < 1:
            raise ValueError(f"multiplicity must be 1 or more, since it is 2S+1, but {multiplicity} was given")
        _core.setMultiplicity(self._address, _integer(multiplicity, "multiplicity"))

    def getMultiplicity(self) -> int:
        """The spin multiplicity 2S+1."""
        return _core.getMultiplicity(self._address)

    def addBond(self, particle1: int, particle2: int) -> int:
        """Say that two particles of the System are bonded, and return the bond's index.

        A bond has no energy. It keeps the two in one molecule for barostats and wrapped trajectories, as the bonds did
        that the model replaces.
        """
        pair = _counts((particle1, particle2), "particle indices")
        if pair[0] == pair[1]:
            raise ValueError(f"addBond got particle {pair[0]} twice: a bond needs two particles")
        return _core.addBond(self._address, *pair)

    def getNumBonds(self) -> int:
        """The number of bonds."""
        return _core.getNumBonds(self._address)

    def getBondParameters(self, index: int) -> tuple[int, int]:
        """The two particles of a bond."""
        return _core.getBondParameters(self._address, index)

    def addLinkAtom(self, mlParticle: int, mmParticle: int, distance: Any, atomicNumber: Any = 1) -> int:
        """Add an atom that the model sees in place of a bond which is cut, and return its index.

        The model sees link atoms after the particles of the force, in the order added. They are no particles of the
        System. With b the vector from the ML to the MM particle (to its nearest image if the force is periodic) and
        u = b / length(b), a link atom is at r_ml + distance u. A force F on it becomes
        distance / length(b) (F - (F.u) u) on the MM particle, and the rest of F on the ML particle: the gradient of the
        energy, exactly. The two stay in one molecule, as with addBond().

        Parameters
        ----------
        mlParticle : int
            one of setParticles(); it may have several link atoms
        mmParticle : int
            a particle of the System that setParticles() does not name; it may have one link atom
        distance : length, or float in nm
            from the ML particle, more than 0; OpenMMException if not
        atomicNumber : int or openmm.app.Element
            what the model is told (default hydrogen)
        """
        return _core.addLinkAtom(self._address, *_link_atom(mlParticle, mmParticle, distance, atomicNumber))

    def getNumLinkAtoms(self) -> int:
        """The number of link atoms."""
        return _core.getNumLinkAtoms(self._address)

    def getLinkAtomParameters(self, index: int) -> tuple[int, int, Any, int]:
        """ML particle, MM particle, distance (a Quantity) and atomic number of a link atom."""
        ml, mm, distance, number = _core.getLinkAtomParameters(self._address, index)
        return ml, mm, distance * unit.nanometer, number

    def setLinkAtomParameters(
        self, index: int, mlParticle: int, mmParticle: int, distance: Any, atomicNumber: Any = 1
    ) -> None:
        """Set what addLinkAtom() was given. A Context that exists keeps what it has until it is reinitialized."""
        _core.setLinkAtomParameters(self._address, index, *_link_atom(mlParticle, mmParticle, distance, atomicNumber))

    # Charges around the particles

    def setMMCharges(self, indices: Iterable[int], charges: Any) -> None:
        """Give the charges of particles outside of the force to a model that takes them: electrostatic embedding.

        ``charges`` are one for each index, in units of the elementary charge or Quantities. The model gets those within
        its ``mm_cutoff`` of any particle of the force, in ascending order of particles, and the particles feel its
        forces. In a periodic System each enters as the image nearest to the force's particles (see setMMPeriodic).
        Nothing is removed from other forces of the System: createMixedSystem() does that. Without any such particle,
        call it with two empty lists.

        A model must switch charges off before ``mm_cutoff`` for the energy to be conserved:
        openmmnnp.models.SwitchedCharges does. Raises ValueError if the lists differ in length, OpenMMException if a
        charge is not finite.
        """
        particles = _counts(indices, "particle indices")
        values = [float(charge) for charge in without_unit(_listed(charges))]
        if len(values) != len(particles):
            raise ValueError(
                f"setMMCharges got {len(particles)} particle indices and {len(values)} charges: give one charge for "
                "each index"
            )
        _core.setMMCharges(self._address, particles, values)

    def getMMCharges(self) -> tuple[list[int], Any]:
        """The particles given to setMMCharges(), and their charges as a Quantity (a list with a unit)."""
        particles, charges = _core.getMMCharges(self._address)
        return particles, unit.Quantity(charges, unit.elementary_charge)

    def usesMMCharges(self) -> bool:
        """Was setMMCharges() called?"""
        return _core.usesMMCharges(self._address)

    def setMMPeriodic(self, periodic: bool | None) -> None:
        """Say whether the MM charges have periodic images.

        None, the default: they have if a force of the System is periodic. It must be said inside a CustomCVForce or an
        ATMForce, where the System's other forces are not seen.
        """
        _core.setMMPeriodic(self._address, None if periodic is None else bool(periodic))

    def getMMPeriodic(self) -> bool | None:
        """What setMMPeriodic() was given."""
        return _core.getMMPeriodic(self._address)

    def setUsesPeriodicBoundaryConditions(self, periodic: bool) -> None:
        """Set whether the force is periodic (default False): the model then gets the box vectors."""
        _core.setUsesPeriodicBoundaryConditions(self._address, bool(periodic))

    # Global parameters

    def addGlobalParameter(self, name: str, defaultValue: Any) -> int:
        """Add a global parameter that the model takes, and return its index. A Quantity is taken in OpenMM's units."""
        return _core.addGlobalParameter(self._address, name, without_unit(defaultValue))

    def getNumGlobalParameters(self) -> int:
        """The number of global parameters, without the scale parameter."""
        return _core.getNumGlobalParameters(self._address)

    def getGlobalParameterName(self, index: int) -> str:
        """The name of a global parameter."""
        return _core.getGlobalParameterName(self._address, index)

    def setGlobalParameterName(self, index: int, name: str) -> None:
        """Rename a global parameter."""
        _core.setGlobalParameterName(self._address, index, name)

    def getGlobalParameterDefaultValue(self, index: int) -> float:
        """The value of a global parameter in new Contexts."""
        return _core.getGlobalParameterDefaultValue(self._address, index)

    def setGlobalParameterDefaultValue(self, index: int, defaultValue: Any) -> None:
        """Set the value of a global parameter in new Contexts. A Quantity is taken in OpenMM's units."""
        _core.setGlobalParameterDefaultValue(self._address, index, without_unit(defaultValue))

    def addEnergyParameterDerivative(self, name: str) -> None:
        """Ask for dE/d(name) in States; `name` is a global parameter of this force or its scale parameter."""
        _core.addEnergyParameterDerivative(self._address, name)

    def getNumEnergyParameterDerivatives(self) -> int:
        """The number of derivatives asked for."""
        return _core.getNumEnergyParameterDerivatives(self._address)

    def getEnergyParameterDerivativeName(self, index: int) -> str:
        """The name of a global parameter whose derivative was asked for."""
        return _core.getEnergyParameterDerivativeName(self._address, index)

    def setScaleParameter(self, name: str, defaultValue: float | None = 1.0) -> None:
        """Name a global parameter that multiplies energy and forces; the model does not get it. "" for none.

        Where it is 0 the model is not evaluated, unless the derivative with respect to it was asked for. With the
        default value None another force of the System defines the parameter: tools that change default values, such as
        openmmtools, find those of OpenMM's own forces only.
        """
        value = None if defaultValue is None else without_unit(defaultValue)
        _core.setScaleParameter(self._address, name, value)

    def getScaleParameter(self) -> str:
        """The name of the scale parameter, "" for none."""
        return _core.getScaleParameter(self._address)

    def getScaleParameterDefaultValue(self) -> float | None:
        """The value of the scale parameter in new Contexts, None if another force defines it."""
        return _core.getScaleParameterDefaultValue(self._address)

    # A collective variable

    def setCollectiveVariable(self, output: str, component: int = 0) -> None:
        """Let the energy be a component of a named output of the model: a collective variable, for CustomCVForce.

        Its value is the number that the model gives, in the model's own unit. ``component`` counts row-major. Forces of
        one Context whose model is given the same cost one evaluation for all components (on CUDA one each);
        :func:`collectiveVariables` makes them. "" for none.
        """
        _core.setCollectiveVariable(self._address, output, *_counts((component,), "component"))

    def getCollectiveVariable(self) -> tuple[str, int]:
        """Output and component that the energy is, ("", 0) for none."""
        address = self._address
        return _core.getCollectiveVariable(address), _core.getCollectiveVariableComponent(address)

    # Options

    def setOutputsForces(self, outputsForces: bool) -> None:
        """Say that a model without a spec returns (energy, forces) instead of the energy (default False)."""
        _core.setOutputsForces(self._address, bool(outputsForces))

    def getOutputsForces(self) -> bool:
        """Does a model without a spec return (energy, forces)?"""
        return _core.getOutputsForces(self._address)

    def setCheckReferences(self, check: bool) -> None:
        """Set whether each new Context evaluates the spec's references and refuses a model that disagrees."""
        _core.setCheckReferences(self._address, bool(check))

    def getCheckReferences(self) -> bool:
        """Are the spec's references evaluated in each new Context?"""
        return _core.getCheckReferences(self._address)

    def setCudaGraphs(self, enabled: bool) -> None:
        """Set whether the model is replayed as a CUDA graph where that is possible; getDiagnostics() tells if it is."""
        _core.setCudaGraphs(self._address, bool(enabled))

    def getCudaGraphs(self) -> bool:
        """Is the model replayed as a CUDA graph where that is possible?"""
        return _core.getCudaGraphs(self._address)

    def setCudaGraphWarmupSteps(self, steps: int) -> None:
        """Set the number of evaluations before a CUDA graph is captured."""
        _core.setCudaGraphWarmupSteps(self._address, *_counts((steps,), "steps"))

    def getCudaGraphWarmupSteps(self) -> int:
        """The number of evaluations before a CUDA graph is captured."""
        return _core.getCudaGraphWarmupSteps(self._address)

    def setSkin(self, skin: Any) -> None:
        """Set how far beyond the model's cutoff pairs are kept as candidates for edges (default 0.1 nm).

        Charges beyond mm_cutoff likewise. ``skin`` is a length, or a number in nm. Candidates are found again when a
        particle has moved by half of it. It changes the speed and no result; more than the cutoff counts as the cutoff.
        Raises OpenMMException if it is negative or not finite.
        """
        _core.setSkin(self._address, _nanometers(skin))

    def getSkin(self) -> Any:
        """The skin as a Quantity."""
        return _core.getSkin(self._address) * unit.nanometer

    def setDeviceNeighbors(self, onDevice: bool) -> None:
        """On OpenCL, where the model runs on the host, find edges with kernels on the device (default False).

        CUDA always does, the Reference and CPU platforms never.
        """
        _core.setDeviceNeighbors(self._address, bool(onDevice))

    def getDeviceNeighbors(self) -> bool:
        """Are edges found on the device on OpenCL?"""
        return _core.getDeviceNeighbors(self._address)

    # In a Context

    def getOutput(self, context: openmm.Context, name: str) -> Any:
        """A named output of the model in the last evaluation, e.g. "energy" or "charges".

        Returns a NumPy array of the output's shape, or a number if it has no dimensions; as a Quantity in OpenMM's
        units if the spec gives a unit. Where there is a row for each atom, those of link atoms are the last. Raises
        OpenMMException if there was no evaluation yet, if the scale parameter made OpenMM skip it, or if the model has
        no such output.
        """
        return with_unit(*_core.getOutput(self._address, _context(context), name))

    def getDiagnostics(self, context: openmm.Context) -> dict[str, Any]:
        """What is running in a Context: platform, device, model, counts, and the mean milliseconds of each stage.

        Edges and "mm_charges" are those of the last evaluation, without padding; "list_builds" counts how often pairs
        were looked for again beyond the skin.

        The energy offset is in kJ/mol. "milliseconds" is a dictionary by stage.
        """
        return _core.getDiagnostics(self._address, _context(context))

    def updateParametersInContext(self, context: openmm.Context) -> None:
        """Copy model, atomic numbers, types, charge, multiplicity and the values of MM charges to a Context.

        Raises OpenMMException, and leaves the Context as it was, if a new model takes or gives anything else.
        """
        _core.updateParametersInContext(self._address, _context(context))


def trust(sha256: str) -> None:
    """Vouch, in this process, for a package (.pt2) by the SHA-256 of its file.

    A package is native code. It is run if it comes from a path that you give to NNPForce, or from a path with a hash
    in a System's XML. One that comes as bytes, or embedded in XML, came with the data: it is run after this call only,
    or if the environment variable OPENMMNNP_TRUST holds its hash. Raises ValueError if it is no SHA-256.
    """
    _core.trustModel(sha256)


def _context(context: Any) -> int:
    if not isinstance(context, openmm.Context):
        raise TypeError(
            f"an openmm.Context is needed (a Simulation's is simulation.context), not {_described(context)}"
        )
    return int(context.this)


def _integer(value: Any, what: str) -> int:
    """An int of `value`; raises TypeError that begins with `what` if it is no whole number."""
    number = without_unit(value)
    if unit.is_quantity(value) and float(number).is_integer():
        number = int(number)
    try:
        if isinstance(number, bool):  # most often a mask given for a list of indices
            raise TypeError
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{what} must be an integer, but {_described(value)} was given") from None


def _counts(values: Iterable[Any], what: str) -> list[int]:
    """Integers from 0 to 2^31-1 from any iterable; raises TypeError or ValueError that names the first wrong one."""
    try:
        numbers = [_integer(value, f"{what}: element {i}") for i, value in enumerate(values)]
    except TypeError as error:
        if isinstance(values, Iterable):
            raise
        raise TypeError(f"{what} must be a list of integers, but {_described(values)} was given") from error
    for i, number in enumerate(numbers):
        if not 0 <= number < 2**31:
            raise ValueError(f"{what}: element {i} must be from 0 to 2147483647, but {number} was given")
    return numbers


def _atomic_numbers(values: Iterable[Any]) -> list[int]:
    """Atomic numbers from integers or openmm.app.Elements."""
    if isinstance(values, Iterable):
        values = [getattr(value, "atomic_number", value) for value in values]
    return _counts(values, "atomic numbers")


def _nanometers(length: Any) -> float:
    return float(length.value_in_unit(unit.nanometer) if unit.is_quantity(length) else length)


def _link_atom(ml: Any, mm: Any, distance: Any, atomic_number: Any) -> tuple[int, int, float, int]:
    pair = _counts((ml, mm), "particle indices")
    return pair[0], pair[1], _nanometers(distance), _atomic_numbers([atomic_number])[0]


def _listed(charges: Any) -> Any:
    """A Quantity as it is; anything else as a list in which Quantities have become numbers."""
    return charges if unit.is_quantity(charges) else [without_unit(charge) for charge in charges]


def _described(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"
