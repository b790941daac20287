#ifndef OPENMMNNP_TORCH_API_H_
#define OPENMMNNP_TORCH_API_H_

#include <cstdint>
#include <string>

namespace openmmnnp {

struct AtenTensorOpaque;
using AtenTensorHandle = AtenTensorOpaque*;
struct CudaGuardOpaque;
using CudaGuardHandle = CudaGuardOpaque*;
struct CudaStreamGuardOpaque;
using CudaStreamGuardHandle = CudaStreamGuardOpaque*;

/**
 * The few functions of torch that the core uses: torch's stable C interface (torch/csrc/inductor/aoti_torch/c/shim.h).
 *
 * They are taken from a libtorch_cpu that is in the process already, else from the folder that setTorchLibraryFolder()
 * or OPENMMNNP_TORCH_LIB names, when the first model is loaded.  No library of ours is linked to torch's C++ ABI here.
 *
 * Where a libtorch_cuda lies beside it, that is opened at the same time, also if the model runs on the CPU: torch looks
 * once, at the first use, which kinds of devices it has.  So is libtorch, to which a torch with CUDA links packages.
 */
struct TorchApi {
    /** Load torch, once.  Throws ModelError that says where it was looked for. */
    static const TorchApi& get();

    int32_t (*deviceTypeCpu)();
    int32_t (*dtypeFloat32)();
    int32_t (*dtypeFloat64)();
    int32_t (*dtypeInt32)();
    int32_t (*dtypeInt64)();
    int32_t (*createTensorFromBlob)(void* data, int64_t rank, const int64_t* sizes, const int64_t* strides,
                                    int64_t offset, int32_t dtype, int32_t deviceType, int32_t deviceIndex,
                                    AtenTensorHandle* result);
    int32_t (*deleteTensor)(AtenTensorHandle);
    int32_t (*getDataPtr)(AtenTensorHandle, void**);
    int32_t (*getDim)(AtenTensorHandle, int64_t*);
    int32_t (*getSizes)(AtenTensorHandle, int64_t**);
    int32_t (*getStrides)(AtenTensorHandle, int64_t**);
    int32_t (*getDtype)(AtenTensorHandle, int32_t*);
    int32_t (*getDeviceType)(AtenTensorHandle, int32_t*);
    int32_t (*getDeviceIndex)(AtenTensorHandle, int32_t*);
    int32_t (*emptyStrided)(int64_t rank, const int64_t* sizes, const int64_t* strides, int32_t dtype,
                            int32_t deviceType, int32_t deviceIndex, AtenTensorHandle* result);
    int32_t (*copy)(AtenTensorHandle target, AtenTensorHandle source, int32_t nonBlocking);
    uint64_t (*abiVersion)();
    // To call any operator; null if torch is too old.  The stack holds handles of tensors as numbers.
    int32_t (*callDispatcher)(const char* name, const char* overload, uint64_t* stack);
    int32_t (*newTensorHandle)(AtenTensorHandle, AtenTensorHandle* result);
    int32_t (*assignTensors)(AtenTensorHandle source, AtenTensorHandle target);
    int (*maxThreads)();     // of OpenMP in the calling thread, null if torch does not use it
    void (*setThreads)(int); // likewise

    // Of libtorch_cuda, null if there is none.  A guard sets torch's device or stream for the calling thread until it
    // is deleted.
    int32_t (*deviceTypeCuda)();
    int32_t (*createCudaGuard)(int32_t deviceIndex, CudaGuardHandle* result);
    int32_t (*deleteCudaGuard)(CudaGuardHandle);
    int32_t (*createCudaStreamGuard)(void* stream, int32_t deviceIndex, CudaStreamGuardHandle* result);
    int32_t (*deleteCudaStreamGuard)(CudaStreamGuardHandle);
    std::string cudaProblem; // why libtorch_cuda could not be opened, "" if it was or if there is none

    /** Throws ModelError that says what to install if torch cannot run models on CUDA devices. */
    void requireCuda() const;

    /** "2.13.0" and "2.13". */
    std::string getVersion() const;
    std::string getMinorVersion() const;
};

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_API_H_
