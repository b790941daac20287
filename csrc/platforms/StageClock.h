#ifndef OPENMMNNP_STAGE_CLOCK_H_
#define OPENMMNNP_STAGE_CLOCK_H_

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace openmmnnp {

/** Where the time of the evaluations went, by stage. */
class StageClock {
public:
    enum Stage { Gather, Neighbors, Evaluate, Scatter, Accumulate, NumStages };

    void start() {
        last = Clock::now();
    }
    /** The time since the last call belongs to this stage. */
    void stop(Stage stage) {
        const Clock::time_point now = Clock::now();
        seconds[stage] += std::chrono::duration<double>(now - last).count();
        last = now;
    }
    void countCall() {
        numCalls++;
    }
    /** Mean milliseconds a call. */
    std::vector<std::pair<std::string, double>> getMilliseconds() const {
        static const std::array<const char*, NumStages> names = {"gather", "neighbors", "evaluate", "scatter",
                                                                 "accumulate"};
        std::vector<std::pair<std::string, double>> means;
        for (int i = 0; i < NumStages; i++)
            means.emplace_back(names[i], numCalls ? 1000 * seconds[i] / numCalls : 0.0);
        return means;
    }

private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point last;
    std::array<double, NumStages> seconds{};
    long long numCalls = 0;
};

} // namespace openmmnnp

#endif // OPENMMNNP_STAGE_CLOCK_H_
