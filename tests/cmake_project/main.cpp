/**
 * Ten steps of four particles in the model of a file, with no Python:
 *
 *     OPENMMNNP_TORCH_LIB=.../torch/lib stranger MODEL
 *
 * Prints the potential energy in kJ/mol before the steps and the total energy before and after them.
 */
#include "openmmnnp/NNPForce.h"
#include <OpenMM.h>
#include <cstdio>
#include <vector>

int main(int argc, char** argv) {
    if (argc != 2)
        return 2;
    try {
        OpenMM::Platform::loadPluginsFromDirectory(OPENMMNNP_PLUGIN_DIR);
        OpenMM::System system;
        std::vector<OpenMM::Vec3> positions;
        for (int i = 0; i < 4; i++) {
            system.addParticle(12.0);
            positions.emplace_back(0.1 * i, 0.2, -0.1 * i);
        }
        system.addForce(new openmmnnp::NNPForce(argv[1]));
        OpenMM::VerletIntegrator integrator(0.001);
        OpenMM::Context context(system, integrator, OpenMM::Platform::getPlatformByName("Reference"));
        context.setPositions(positions);
        const auto total = [&context] {
            const OpenMM::State state = context.getState(OpenMM::State::Energy);
            return state.getPotentialEnergy() + state.getKineticEnergy();
        };
        const double before = total();
        std::printf("%.12g ", context.getState(OpenMM::State::Energy).getPotentialEnergy());
        integrator.step(10);
        std::printf("%.12g %.12g\n", before, total());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
