#ifndef OPENMMNNP_HOST_MODEL_KERNEL_H_
#define OPENMMNNP_HOST_MODEL_KERNEL_H_

#include "platforms/common/CommonNNPKernel.h"
#include <exception>
#include <openmm/common/ComputeEvent.h>

namespace openmmnnp {

/**
 * NNPForce on a device where the model runs on the host (OpenCL): positions of the force's particles come from the
 * device, forces on them go back.
 *
 * OpenMM's worker thread waits for the positions and evaluates the model, while OpenMM's own kernels run.
 */
class HostModelKernel : public CommonCalcNNPForceKernel {
public:
    using CommonCalcNNPForceKernel::CommonCalcNNPForceKernel;
    ~HostModelKernel() override;

protected:
    std::unique_ptr<ForceEvaluation> load(const NNPForce& force) override;
    void prepare() override;
    bool mayOverlap() const override;
    bool findsNeighborsOnDevice() const override {
        return force.getDeviceNeighbors();
    }
    std::unique_ptr<HostNumbers> makeHostNumbers(int count) override {
        return std::make_unique<DownloadedNumbers>(context, count);
    }
    void startEvaluate() override;
    bool finishEvaluate() override;
    void abandonEvaluate() noexcept override;
    OpenMM::ComputeArray& getForces() override {
        return forces;
    }
    OpenMM::ComputeArray& getDerivatives() override {
        return derivatives;
    }
    OpenMM::ComputeArray& getChargeForces() override {
        return chargeForces;
    }
    double getEnergy() override {
        return evaluation->getEnergy();
    }

private:
    class Task;
    void downloadEdges();
    void downloadCharges();
    bool takeEdges();
    bool takeCharges();
    void evaluate(int threads) noexcept;
    void waitForWorker();
    void finishCopies() noexcept;
    void waitForDevice();
    void uploadChargeForces();
    static void upload(const double* values, size_t count, OpenMM::ComputeArray& array, std::vector<char>& staging);

    OpenMM::ComputeArray forces, derivatives;          // [n][3], [k]
    OpenMM::ComputeArray chargeForces;                 // [m][3], with room for more
    std::vector<char> stagedForces, stagedDerivatives; // live until their upload is done
    std::vector<char> stagedChargeForces;              // likewise
    std::vector<char> chargePositions, chosenCharges;  // as on the device
    std::vector<char> stagedEdges, stagedShifts;       // as on the device, if they are found there
    OpenMM::ComputeEvent positionsArrived;             // and edges
    std::exception_ptr error;                          // of the evaluation on the worker thread
    bool onWorker = false;
};

} // namespace openmmnnp

#endif // OPENMMNNP_HOST_MODEL_KERNEL_H_
