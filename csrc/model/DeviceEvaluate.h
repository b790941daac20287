#ifndef OPENMMNNP_DEVICE_EVALUATE_H_
#define OPENMMNNP_DEVICE_EVALUATE_H_

#include "model/Evaluate.h"
#include "model/GraphReplay.h"
#include "model/TorchTensor.h"
#include <memory>

namespace openmmnnp {

/**
 * The evaluate stage on a device: inputs and results stay in the device's memory, and an evaluation is only enqueued.
 *
 * The caller owns the memory that it fills and reads; it must stay where it is, since a graph keeps the addresses.
 * Numbers reach the host when they are asked for: waitForResults() or adopt(), findExtra(), and throwFailure().
 * The primary CUDA context of the device must be current in all calls.
 */
class OPENMMNNP_EXPORT DeviceEvaluation : public Evaluation, private Replayable {
public:
    /** Memory on the model's device, in the model's units. */
    struct Memory {
        void* positions = nullptr;     // [n][3] of the model's dtype
        double* energy = nullptr;      // [], written
        double* derivatives = nullptr; // [k], written
        double* forces = nullptr;      // [n][3], written
        void* edges = nullptr;         // [2][edgeCapacity] of the model's index dtype, if it takes edges
        void* shifts = nullptr;        // [edgeCapacity][3]
        int64_t edgeCapacity = 0;
        void* mmPositions = nullptr; // [mmCapacity][3] of the model's dtype, if it takes charges and there are any
        void* mmCharges = nullptr;   // [mmCapacity] likewise
        double* mmForces = nullptr;  // [mmCapacity][3], written; null if nobody wants them
        int64_t mmCapacity = 0;
    };
    /** Numbers of an evaluation that was found wrong on the device, in the model's units. */
    struct Failure {
        long long evaluation = 0; // its number, from 1
        bool withForces = true;
        double forceLimit = 0; // magnitude that a component of a force must not reach
        double energy = 0;
        const double* derivatives = nullptr;  // [k]
        const double* forces = nullptr;       // [n][3]
        const double* positions = nullptr;    // [n][3]
        const double* lastEnergies = nullptr; // [numLastEnergies], that of evaluation i at (i - 1) % numLastEnergies
        int charge = -1;                      // one of the charges outside, if a force on it is wrong
    };
    static constexpr int numLastEnergies = Evaluation::numLastEnergies;

    DeviceEvaluation(std::shared_ptr<Model> model, int numParticles, std::vector<int> particles = {},
                     const std::vector<std::string>& derivatives = {}, const Component& component = {});
    ~DeviceEvaluation() override;
    /**
     * Say where inputs and results lie and on which stream to work (CUstream of the primary context; null is the
     * default stream, which cannot be captured), and upload what does not change.  Forgets a graph; `replay` may be
     * null.
     */
    void bind(const Memory& memory, void* stream, std::unique_ptr<GraphReplay> replay = nullptr);
    /** Enqueue an evaluation of the positions in the device's memory, and of box and parameters in getInputs(), which
        are uploaded if they changed. */
    void run(bool withForces) override;
    /** Wait for the stream, copy energy, derivatives and forces to the host, and check them. */
    void waitForResults();
    /** Take energy and derivatives of the last evaluation [1 + k], which somebody copied to the host. */
    void adopt(const double* energyAndDerivatives);
    /** Waits for the stream and copies the output to the host, once for each evaluation. */
    const Extra* findExtra(const std::string& name) override;
    /** The last evaluation is void, and does not count. */
    void discard();
    /** Throw the ModelError that says what is wrong with an evaluation. */
    [[noreturn]] void throwFailure(const Failure& failure);
    /** Whether the last evaluation was a replay of a graph. */
    bool isCaptured() const {
        return replay != nullptr && replay->isCaptured();
    }
    /** Why it was not, "" if it was. */
    std::string getGraphReason() const {
        return replay != nullptr ? replay->getReason() : "";
    }

private:
    void enqueue() override;
    std::vector<double> download() override;
    std::string compare(const std::vector<double>& eager, const std::vector<double>& replayed) const override;
    void read(const std::vector<TensorView>& outputs) override;
    TensorView viewOf(size_t input);
    void upload(size_t input);
    void uploadChanged();
    int64_t getNumPassedCharges() const;
    void copyResult(int output, const TensorView& view, double* target);
    void copyExtra(size_t index, const TensorView& view);

    Memory memory;
    void* stream = nullptr;
    std::unique_ptr<GraphReplay> replay;
    std::vector<TorchTensor> ownInputs; // by input; undefined for what is in the caller's memory
    std::vector<TensorView> deviceViews;
    std::vector<TorchTensor> extraTensors; // float64, by extra
    long long extrasAreFrom = 0;           // the evaluation whose extras are on the host
    bool wantsForces = false;              // of the evaluation that is enqueued
};

} // namespace openmmnnp

#endif // OPENMMNNP_DEVICE_EVALUATE_H_
