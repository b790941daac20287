#include "openmmnnp/InterpreterLock.h"
#include "openmmnnp/NNPForce.h"
#include "openmmnnp/NeighborList.h"
#include "openmmnnp/TorchLibrary.h"
#include "openmmnnp/TrustModel.h"
#include <chrono>
#include <openmm/OpenMMException.h>
#include <optional>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <thread>

namespace py = pybind11;
using namespace py::literals;
using openmmnnp::Diagnostics;
using openmmnnp::NamedOutput;
using openmmnnp::NeighborList;
using openmmnnp::NNPForce;

namespace {

/** An object of OpenMM's Python module, as the integer that int(object.this) gives. */
using Address = std::uintptr_t;
using Unlocked = py::call_guard<py::gil_scoped_release>;

NNPForce* find(Address force) {
    return dynamic_cast<NNPForce*>(reinterpret_cast<OpenMM::Force*>(force));
}

NNPForce& forceAt(Address address) {
    if (NNPForce* force = find(address))
        return *force;
    throw py::type_error("This openmm.Force is not an NNPForce.");
}

OpenMM::Context& contextAt(Address address) {
    return *reinterpret_cast<OpenMM::Context*>(address);
}

/** A method of NNPForce as a function of the force's address and the method's arguments. */
template <typename Result, typename... Args>
auto method(Result (NNPForce::*function)(Args...)) {
    return [function](Address force, Args... args) -> Result {
        return (forceAt(force).*function)(std::forward<Args>(args)...);
    };
}

template <typename Result, typename... Args>
auto method(Result (NNPForce::*function)(Args...) const) {
    return [function](Address force, Args... args) -> Result {
        return (forceAt(force).*function)(std::forward<Args>(args)...);
    };
}

/** Paths and messages of the system need not be UTF-8. */
py::str pathText(const std::string& path) {
    return py::reinterpret_steal<py::str>(PyUnicode_DecodeFSDefaultAndSize(path.data(), path.size()));
}

py::str messageText(const std::string& text) {
    return py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(text.data(), text.size(), "replace"));
}

void translateException(std::exception_ptr thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const OpenMM::OpenMMException& error) {
        py::object type = py::module_::import("openmm").attr("OpenMMException");
        PyErr_SetObject(type.ptr(), messageText(error.what()).ptr());
    } catch (const openmmnnp::ModelError& error) {
        PyErr_SetObject(PyExc_ValueError, messageText(error.what()).ptr());
    }
}

py::tuple getOutput(Address force, Address context, const std::string& name) {
    NamedOutput output;
    {
        py::gil_scoped_release unlocked;
        output = forceAt(force).getOutput(contextAt(context), name);
    }
    return py::make_tuple(py::array_t<double>(output.shape, output.values.data()), output.unit);
}

py::tuple findEdges(NeighborList& list, const py::array_t<double>& positions,
                    const std::optional<py::array_t<double>>& box) {
    {
        const double *x = positions.data(), *rows = box ? box->data() : nullptr;
        const int n = static_cast<int>(positions.shape(0));
        py::gil_scoped_release unlocked;
        list.find(x, n, rows);
    }
    py::array_t<int64_t> edges({int64_t(2), list.getNumEdges()}), cells({list.getNumEdges(), int64_t(3)});
    list.copy(edges.mutable_data(), cells.mutable_data());
    return py::make_tuple(edges, cells);
}

py::dict getDiagnostics(Address force, Address context) {
    Diagnostics found;
    {
        py::gil_scoped_release unlocked;
        found = forceAt(force).getDiagnostics(contextAt(context));
    }
    py::dict milliseconds;
    for (const auto& [stage, mean] : found.milliseconds)
        milliseconds[py::str(stage)] = mean;
    return py::dict("platform"_a = found.platform, "device"_a = found.device, "dtype"_a = found.dtype,
                    "length_unit"_a = found.lengthUnit, "energy_unit"_a = found.energyUnit,
                    "model_name"_a = found.modelName, "model_path"_a = pathText(found.modelPath),
                    "model_hash"_a = found.modelHash, "model_format"_a = found.modelFormat, "license"_a = found.license,
                    "torch_version"_a = found.torchVersion, "energy_offset"_a = found.energyOffset,
                    "particles"_a = found.particles, "link_atoms"_a = found.linkAtoms, "edges"_a = found.edges,
                    "mm_charges"_a = found.mmCharges, "list_builds"_a = found.listBuilds, "threads"_a = found.threads,
                    "cuda_graph"_a = found.cudaGraph, "cuda_graph_reason"_a = found.cudaGraphReason,
                    "evaluations"_a = found.evaluations, "reused"_a = found.reused, "skipped"_a = found.skipped,
                    "milliseconds"_a = milliseconds);
}

bool isFinalizing() {
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/** Let go of the interpreter if this thread holds it.  Threads that Python doesn't know never do. */
void* releaseInterpreter() {
    const bool holds =
        Py_IsInitialized() && !isFinalizing() && PyGILState_GetThisThreadState() != nullptr && PyGILState_Check();
    return holds ? PyEval_SaveThread() : nullptr;
}

/** Take the interpreter back.  Python before 3.14 ends a daemon thread that asks for it while Python itself ends, by
    unwinding its stack, which OpenMM and torch don't expect; such a thread waits here for the end of the process. */
void acquireInterpreter(void* state) {
    try {
        if (state != nullptr)
            PyEval_RestoreThread(static_cast<PyThreadState*>(state));
    } catch (...) {
        while (true)
            std::this_thread::sleep_for(std::chrono::hours(1));
    }
}

} // namespace

PYBIND11_MODULE(_core, m) {
    py::register_local_exception_translator(translateException);
    openmmnnp::setInterpreterLock({releaseInterpreter, acquireInterpreter});

    m.attr("compiled_openmm_version") = OPENMMNNP_OPENMM_VERSION;
    m.def("setTorchLibraryFolder", [](const std::string& folder) { openmmnnp::setTorchLibraryFolder(folder); });
    m.def("trustModel", [](const std::string& sha256) { openmmnnp::trustModel(sha256); });
    m.def("isNNPForce", [](Address force) { return find(force) != nullptr; });

    m.def("setModelFile", method(&NNPForce::setModelFile), Unlocked());
    m.def("setModelBytes", method(&NNPForce::setModelBytes), Unlocked());
    m.def("hasModel", method(&NNPForce::hasModel));
    m.def("getModelBytes", [](Address force) { return py::bytes(forceAt(force).getModelBytes()); });
    m.def("getModelPath", [](Address force) { return pathText(forceAt(force).getModelPath()); });
    m.def("getModelHash", method(&NNPForce::getModelHash));
    m.def("hasModelSpec", method(&NNPForce::hasModelSpec));
    m.def("getModelSpecText", method(&NNPForce::getModelSpecText));
    m.def("setModelByReference", method(&NNPForce::setModelByReference));
    m.def("getModelByReference", method(&NNPForce::getModelByReference));

    m.def("setParticles", method(&NNPForce::setParticles));
    m.def("getParticles", method(&NNPForce::getParticles));
    m.def("usesSubset", method(&NNPForce::usesSubset));
    m.def("setAtomicNumbers", method(&NNPForce::setAtomicNumbers));
    m.def("getAtomicNumbers", method(&NNPForce::getAtomicNumbers));
    m.def("setTypes", method(&NNPForce::setTypes));
    m.def("getTypes", method(&NNPForce::getTypes));
    m.def("setCharge", method(&NNPForce::setCharge));
    m.def("getCharge", method(&NNPForce::getCharge));
    m.def("setMultiplicity", method(&NNPForce::setMultiplicity));
    m.def("getMultiplicity", method(&NNPForce::getMultiplicity));

    m.def("addBond", method(&NNPForce::addBond));
    m.def("getNumBonds", method(&NNPForce::getNumBonds));
    m.def("getBondParameters", [](Address force, int index) {
        int particle1, particle2;
        forceAt(force).getBondParameters(index, particle1, particle2);
        return py::make_tuple(particle1, particle2);
    });
    m.def("addLinkAtom", method(&NNPForce::addLinkAtom));
    m.def("getNumLinkAtoms", method(&NNPForce::getNumLinkAtoms));
    m.def("getLinkAtomParameters", [](Address force, int index) {
        int mlParticle, mmParticle, atomicNumber;
        double distance;
        forceAt(force).getLinkAtomParameters(index, mlParticle, mmParticle, distance, atomicNumber);
        return py::make_tuple(mlParticle, mmParticle, distance, atomicNumber);
    });
    m.def("setLinkAtomParameters", method(&NNPForce::setLinkAtomParameters));
    m.def("setMMCharges", method(&NNPForce::setMMCharges));
    m.def("usesMMCharges", method(&NNPForce::usesMMCharges));
    m.def("getMMCharges", [](Address address) {
        const NNPForce& force = forceAt(address);
        return py::make_tuple(force.getMMParticles(), force.getMMCharges());
    });
    m.def("setMMPeriodic", method(&NNPForce::setMMPeriodic));
    m.def("getMMPeriodic", method(&NNPForce::getMMPeriodic));

    m.def("setUsesPeriodicBoundaryConditions", method(&NNPForce::setUsesPeriodicBoundaryConditions));

    m.def("addGlobalParameter", method(&NNPForce::addGlobalParameter));
    m.def("getNumGlobalParameters", method(&NNPForce::getNumGlobalParameters));
    m.def("getGlobalParameterName", method(&NNPForce::getGlobalParameterName));
    m.def("setGlobalParameterName", method(&NNPForce::setGlobalParameterName));
    m.def("getGlobalParameterDefaultValue", method(&NNPForce::getGlobalParameterDefaultValue));
    m.def("setGlobalParameterDefaultValue", method(&NNPForce::setGlobalParameterDefaultValue));
    m.def("addEnergyParameterDerivative", method(&NNPForce::addEnergyParameterDerivative));
    m.def("getNumEnergyParameterDerivatives", method(&NNPForce::getNumEnergyParameterDerivatives));
    m.def("getEnergyParameterDerivativeName", method(&NNPForce::getEnergyParameterDerivativeName));
    m.def("setScaleParameter", method(&NNPForce::setScaleParameter));
    m.def("getScaleParameter", method(&NNPForce::getScaleParameter));
    m.def("getScaleParameterDefaultValue", method(&NNPForce::getScaleParameterDefaultValue));

    m.def("setCollectiveVariable", method(&NNPForce::setCollectiveVariable));
    m.def("getCollectiveVariable", method(&NNPForce::getCollectiveVariable));
    m.def("getCollectiveVariableComponent", method(&NNPForce::getCollectiveVariableComponent));

    m.def("setOutputsForces", method(&NNPForce::setOutputsForces));
    m.def("getOutputsForces", method(&NNPForce::getOutputsForces));
    m.def("setCheckReferences", method(&NNPForce::setCheckReferences));
    m.def("getCheckReferences", method(&NNPForce::getCheckReferences));
    m.def("setCudaGraphs", method(&NNPForce::setCudaGraphs));
    m.def("getCudaGraphs", method(&NNPForce::getCudaGraphs));
    m.def("setCudaGraphWarmupSteps", method(&NNPForce::setCudaGraphWarmupSteps));
    m.def("getCudaGraphWarmupSteps", method(&NNPForce::getCudaGraphWarmupSteps));

    m.def("setSkin", method(&NNPForce::setSkin));
    m.def("getSkin", method(&NNPForce::getSkin));
    m.def("setDeviceNeighbors", method(&NNPForce::setDeviceNeighbors));
    m.def("getDeviceNeighbors", method(&NNPForce::getDeviceNeighbors));

    m.def("getOutput", getOutput);
    m.def("getDiagnostics", getDiagnostics);
    m.def(
        "updateParametersInContext",
        [](Address force, Address context) { forceAt(force).updateParametersInContext(contextAt(context)); },
        Unlocked());

    py::class_<NeighborList>(m, "NeighborList").def(py::init<double, double, bool, bool>()).def("find", findEdges);
}
