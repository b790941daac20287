#ifndef OPENMMNNP_GRAPH_REPLAY_H_
#define OPENMMNNP_GRAPH_REPLAY_H_

#include "model/GraphCapture.h"
#include <string>
#include <vector>

namespace openmmnnp {

/** What can be replayed: an evaluation that only enqueues, always on the same memory. */
class OPENMMNNP_EXPORT Replayable {
public:
    virtual ~Replayable() = default;
    /** Enqueue an evaluation on the stream. */
    virtual void enqueue() = 0;
    /** Wait for the stream and copy the numbers that the last evaluation gave. */
    virtual std::vector<double> download() = 0;
    /** "" if two downloads of one evaluation agree as they should, else a sentence. */
    virtual std::string compare(const std::vector<double>& eager, const std::vector<double>& replayed) const = 0;
};

/**
 * When an evaluation is captured and replayed: after a number of plain ones it is captured, replayed once and compared
 * with the plain result; from then on it is replayed.  What cannot be captured, or differs, is run plainly for good,
 * and the reason is printed once to the standard error.
 */
class OPENMMNNP_EXPORT GraphReplay {
public:
    /** `warmup` evaluations come before that which is captured. */
    GraphReplay(std::unique_ptr<GraphCapture> capture, int warmup, std::string owner);
    /** Never captures, for a reason. */
    explicit GraphReplay(std::string reason);
    /** Run an evaluation of the subject, which must be the same one each time. */
    void run(Replayable& subject, void* stream);
    bool isCaptured() const {
        return captured;
    }
    /** Whether an evaluation may still be captured or is replayed. */
    bool isPossible() const {
        return graph != nullptr;
    }
    /** Why evaluations are not replayed, "" if they are. */
    std::string getReason() const;

private:
    void capture(Replayable& subject, void* stream);
    std::string tryCapture(Replayable& subject, void* stream, const std::vector<double>& eager);

    std::unique_ptr<GraphCapture> graph; // null if none will be captured
    int warmup = 0, numPlain = 0;
    std::string owner, reason;
    bool captured = false;
};

/**
 * What a force asks for: `owner` is how messages call it.  Where graphs cannot be had at all, evaluations are not
 * replayed, and the reason says why.
 */
OPENMMNNP_EXPORT std::unique_ptr<GraphReplay> makeGraphReplay(const ModelDevice& device, bool enabled, int warmup,
                                                              const std::string& owner);

} // namespace openmmnnp

#endif // OPENMMNNP_GRAPH_REPLAY_H_
