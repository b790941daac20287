#ifndef OPENMMNNP_GRAPH_CAPTURE_H_
#define OPENMMNNP_GRAPH_CAPTURE_H_

#include "model/ModelDevice.h"
#include <functional>
#include <memory>

namespace openmmnnp {

/** What a function enqueues on a stream, recorded once and then launched as a whole: a CUDA graph. */
class OPENMMNNP_EXPORT GraphCapture {
public:
    virtual ~GraphCapture() = default;
    /**
     * Record what `function` enqueues on the stream, which must not be the default stream; nothing of it is executed.
     * Throws ModelError with the reason if that cannot be recorded; the stream is in order afterwards.
     */
    virtual void capture(void* stream, const std::function<void()>& function) = 0;
    /** Enqueue what was recorded.  Throws ModelError. */
    virtual void replay(void* stream) = 0;
    /** Forget what was recorded. */
    virtual void reset() = 0;
};

/**
 * A capture with torch's CUDA graphs, from libOpenMMNNPTorchCuda-<minor>.so.  Throws ModelError if there is none for
 * the torch that is installed.
 */
OPENMMNNP_EXPORT std::unique_ptr<GraphCapture> makeGraphCapture(const ModelDevice& device);

} // namespace openmmnnp

#endif // OPENMMNNP_GRAPH_CAPTURE_H_
