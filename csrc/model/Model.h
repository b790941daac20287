#ifndef OPENMMNNP_MODEL_H_
#define OPENMMNNP_MODEL_H_

#include "model/ModelDevice.h"
#include "openmmnnp/ModelSpec.h"
#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <string>
#include <vector>

namespace openmmnnp {

enum class DType { Float32, Float64, Int32, Int64, Other };

/**
 * A tensor in memory that somebody else owns, on the host or on a device.  Null data: the tensor was not asked for.
 */
struct OPENMMNNP_EXPORT TensorView {
    static constexpr int maxRank = 8;
    void* data = nullptr;
    DType dtype = DType::Other;
    int rank = 0;
    int64_t sizes[maxRank] = {};
    int64_t strides[maxRank] = {}; // in elements

    /** A contiguous tensor. */
    static TensorView contiguous(void* data, DType dtype, const std::vector<int64_t>& shape);
    static TensorView contiguous(void* data, DType dtype, std::initializer_list<int64_t> shape); // without allocating
    /** A contiguous tensor of this one's shape elsewhere. */
    TensorView sameShape(void* data, DType dtype) const;
    int64_t count() const;
    bool isContiguous() const;
    bool hasShapeOf(const TensorView& other) const;
    /** Copy to doubles in row-major order, whatever the strides.  Only on the host, and only for Float32, Float64,
        Int32, Int64. */
    void copyTo(double* target) const;
    /** "float32 [22, 3]", for messages. */
    std::string describe() const;
};

OPENMMNNP_EXPORT std::string describeShape(const std::vector<int64_t>& shape);

/** What one evaluation must give. */
struct Request {
    bool forces = true;
    /** Output whose components `forces` are of, an index into Model::getOutputNames(); -1: of the energy. */
    int forcesOf = -1;
    /** Give dE/dp as well for these inputs (indices into ModelSpec::inputs). */
    const std::vector<int>* derivatives = nullptr;
    /** CUstream of the device's primary context on which a CUDA model is enqueued; null is its default stream. */
    void* stream = nullptr;
};

/** Takes the outputs of an evaluation while the tensors live. */
class OPENMMNNP_EXPORT OutputReader {
public:
    virtual ~OutputReader() = default;
    /** One view for each name of Model::getOutputNames(). */
    virtual void read(const std::vector<TensorView>& outputs) = 0;
};

/**
 * A loaded model.  It is immutable and shared by all Contexts of a process that run it on the same device.
 *
 * On a CUDA device the tensors lie in the device's memory and are never read by the host, an evaluation is only
 * enqueued, on the caller's stream, and the primary context of the device must be current for the calls and for the
 * destructor.
 */
class OPENMMNNP_EXPORT Model {
public:
    Model(const ModelSpec& spec, const ModelDevice& device) : spec(spec), device(device), outputNames(spec.outputs) {}
    virtual ~Model() = default;

    const ModelSpec& getSpec() const {
        return spec;
    }
    const ModelDevice& getDevice() const {
        return device;
    }
    /** Names of what evaluate() gives, in order: the outputs of the spec, then those that the model derives. */
    const std::vector<std::string>& getOutputNames() const {
        return outputNames;
    }
    /** Index of an output, -1 if there is none of that name. */
    int findOutput(const std::string& name) const;
    /** One evaluation at a time; the inputs stand in the order of the spec.  Throws ModelError. */
    void evaluate(const std::vector<TensorView>& inputs, const Request& request, OutputReader& reader);
    /**
     * Copy an output into memory of the caller's, of the same shape on the same device, whatever dtypes and strides.
     * Only for an OutputReader while it reads; on a CUDA device the copy is enqueued on the evaluation's stream.
     */
    virtual void copyOutput(int output, const TensorView& target) = 0;
    /** Threads that torch may use inside an evaluation; 0 if unknown. */
    virtual int getNumThreads() const = 0;
    /** Is there a cheaper entry for evaluations without forces and derivatives? */
    virtual bool hasEnergyEntry() const {
        return false;
    }
    /** Version of the torch that runs the model. */
    virtual std::string getTorchVersion() const = 0;

    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

protected:
    virtual void run(const std::vector<TensorView>& inputs, const Request& request, OutputReader& reader) = 0;
    const ModelSpec spec;
    const ModelDevice device;
    std::vector<std::string> outputNames;

private:
    std::mutex mutex;
};

} // namespace openmmnnp

#endif // OPENMMNNP_MODEL_H_
