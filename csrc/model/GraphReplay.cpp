#include "model/GraphReplay.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace openmmnnp {

namespace {

void log(const std::string& owner, const std::string& reason) {
    std::fprintf(stderr, "openmm-nnp: %s runs without a CUDA graph: %s\n", owner.c_str(), reason.c_str());
}

} // namespace

GraphReplay::GraphReplay(std::unique_ptr<GraphCapture> capture, int warmup, std::string owner)
    : graph(std::move(capture)), warmup(warmup), owner(std::move(owner)) {}

GraphReplay::GraphReplay(std::string reason) : reason(std::move(reason)) {}

void GraphReplay::run(Replayable& subject, void* stream) {
    if (captured) {
        graph->replay(stream);
        return;
    }
    subject.enqueue();
    if (graph != nullptr && ++numPlain > warmup)
        capture(subject, stream);
}

void GraphReplay::capture(Replayable& subject, void* stream) {
    const std::vector<double> eager = subject.download();
    if (!std::all_of(eager.begin(), eager.end(), [](double value) { return std::isfinite(value); }))
        return; // an error that is found elsewhere; the next evaluation may be captured
    reason = tryCapture(subject, stream, eager);
    captured = reason.empty();
    if (captured)
        return;
    graph.reset();
    log(owner, reason);
    subject.enqueue(); // the replay may have left other numbers
}

/** Why it did not work, "" if it did. */
std::string GraphReplay::tryCapture(Replayable& subject, void* stream, const std::vector<double>& eager) {
    try {
        graph->capture(stream, [&subject] { subject.enqueue(); });
        graph->replay(stream);
        return subject.compare(eager, subject.download());
    } catch (const std::exception& error) {
        return error.what();
    }
}

std::string GraphReplay::getReason() const {
    if (graph != nullptr && !captured)
        return "it is captured after " + std::to_string(warmup) + " evaluations, of which " + std::to_string(numPlain) +
               " were made";
    return reason;
}

std::unique_ptr<GraphReplay> makeGraphReplay(const ModelDevice& device, bool enabled, int warmup,
                                             const std::string& owner) {
    if (!enabled)
        return std::make_unique<GraphReplay>("they were switched off with setCudaGraphs(False)");
    try {
        return std::make_unique<GraphReplay>(makeGraphCapture(device), warmup, owner);
    } catch (const ModelError& error) {
        log(owner, error.what());
        return std::make_unique<GraphReplay>(error.what());
    }
}

} // namespace openmmnnp
