// Prints the energy of a water molecule: evaluate MODEL. Set OPENMMNNP_TORCH_LIB to the folder of libtorch_cpu.so.

#include <OpenMM.h>
#include <exception>
#include <iostream>
#include <openmmnnp/NNPForce.h>
#include <vector>

int main(int count, char** arguments) try {
    if (count != 2) {
        std::cerr << "usage: evaluate MODEL\n";
        return 2;
    }
    OpenMM::Platform::loadPluginsFromDirectory(PLUGINS);
    OpenMM::System system;
    for (double mass : {15.999, 1.008, 1.008}) // Da
        system.addParticle(mass);
    auto* force = new openmmnnp::NNPForce(arguments[1]); // the System deletes it
    force->setAtomicNumbers({8, 1, 1});
    system.addForce(force);
    OpenMM::VerletIntegrator integrator(0.0005); // ps
    OpenMM::Context context(system, integrator, OpenMM::Platform::getPlatformByName("Reference"));
    context.setPositions({{0, 0, 0}, {0.0957, 0, 0}, {-0.024, 0.0927, 0}}); // nm
    std::cout << context.getState(OpenMM::State::Energy).getPotentialEnergy() << " kJ/mol\n";
} catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
}
