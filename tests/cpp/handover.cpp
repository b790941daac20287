/**
 * What it costs to hand work over between two CUDA contexts of one device, as OpenMM and torch have them, without
 * either. Prints JSON: microseconds of a round.
 *
 *     handover [ROUNDS]
 *
 * A round is a small kernel (as gather), then work on another stream (as the model), then a small kernel (as scatter),
 * ordered by events.  It is measured on one stream, on two streams of one context, and on streams of two contexts; and
 * as a ladder whose steps are added one by one.
 */
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cuda.h>
#include <functional>
#include <string>

namespace {

/** Adds 1 to each of the first 256 floats. */
const char* const source = R"(
.version 7.8
.target sm_75
.address_size 64
.visible .entry touch(.param .u64 memory) {
    .reg .u32 %r1;
    .reg .u64 %rd<3>;
    .reg .f32 %f1;
    ld.param.u64 %rd1, [memory];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.u64 %rd1, %rd1, %rd2;
    ld.global.f32 %f1, [%rd1];
    add.f32 %f1, %f1, 0f3F800000;
    st.global.f32 [%rd1], %f1;
    ret;
}
)";

void check(CUresult result, const char* what) {
    if (result == CUDA_SUCCESS)
        return;
    const char* name = "?";
    cuGetErrorName(result, &name);
    std::fprintf(stderr, "%s: %s\n", what, name);
    std::exit(1);
}

/** A stream of a context with the kernel, an event, and memory of its own. */
struct Side {
    CUcontext context;
    CUstream stream = nullptr;
    CUevent event = nullptr;
    CUfunction kernel = nullptr;
    CUgraphExec graph = nullptr;

    Side(CUcontext context, CUdeviceptr& memory, int graphSize) : context(context) {
        check(cuCtxPushCurrent(context), "push");
        CUmodule module;
        check(cuModuleLoadData(&module, source), "module");
        check(cuModuleGetFunction(&kernel, module, "touch"), "kernel");
        check(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "stream");
        check(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "event");
        if (memory == 0) {
            check(cuMemAlloc(&memory, 256 * sizeof(float)), "memory");
            check(cuMemsetD32(memory, 0, 256), "memset");
        }
        check(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "capture");
        for (int i = 0; i < graphSize; i++)
            launch(memory);
        CUgraph recorded;
        check(cuStreamEndCapture(stream, &recorded), "capture");
        check(cuGraphInstantiate(&graph, recorded, 0), "graph");
        pop();
    }
    void launch(CUdeviceptr memory) {
        void* arguments[] = {&memory};
        check(cuLaunchKernel(kernel, 1, 1, 1, 256, 1, 1, 0, stream, arguments, nullptr), "launch");
    }
    /** Work on the other side waits for what was enqueued here. */
    void handOverTo(const Side& other) {
        check(cuEventRecord(event, stream), "record");
        check(cuStreamWaitEvent(other.stream, event, 0), "wait");
    }
    void push() const {
        check(cuCtxPushCurrent(context), "push");
    }
    static void pop() {
        CUcontext popped;
        check(cuCtxPopCurrent(&popped), "pop");
    }
};

struct Time {
    double host, total; // microseconds of a round: until all is enqueued, until all is done
};

Time measure(int rounds, const Side& last, const std::function<void()>& round) {
    using Clock = std::chrono::steady_clock;
    const auto since = [](Clock::time_point start) {
        return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    };
    Time best = {1e30, 1e30};
    for (int repeat = 0; repeat < 5; repeat++) {
        const auto start = Clock::now();
        for (int i = 0; i < rounds; i++)
            round();
        const double host = since(start) / rounds;
        check(cuStreamSynchronize(last.stream), "synchronize");
        const double total = since(start) / rounds;
        if (total < best.total)
            best = {host, total};
    }
    return best;
}

void print(const char* name, const Time& time, bool isLast = false) {
    std::printf(" \"%s\": {\"host\": %.2f, \"total\": %.2f}%s\n", name, time.host, time.total, isLast ? "" : ",");
}

/** Gather here, kernels on the other side, scatter here. */
Time roundTrip(int rounds, Side& here, Side& there, CUdeviceptr memory) {
    here.push();
    const Time time = measure(rounds, here, [&] {
        here.launch(memory);
        here.handOverTo(there);
        there.push();
        there.launch(memory);
        there.handOverTo(here);
        Side::pop();
        here.launch(memory);
    });
    Side::pop();
    return time;
}

CUcontext createContext(CUdevice device) {
    CUcontext context;
#if CUDA_VERSION >= 13000
    check(cuCtxCreate(&context, nullptr, CU_CTX_MAP_HOST | CU_CTX_SCHED_SPIN, device), "context");
#else
    check(cuCtxCreate(&context, CU_CTX_MAP_HOST | CU_CTX_SCHED_SPIN, device), "context");
#endif
    Side::pop();
    return context;
}

} // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 500;
    CUdevice device;
    CUcontext primary;
    CUdeviceptr memory = 0; // of the first context; both use it
    check(cuInit(0), "init");
    check(cuDeviceGet(&device, 0), "device");
    CUcontext own = createContext(device);
    check(cuDevicePrimaryCtxRetain(&primary, device), "primary");
    constexpr int graphSize = 20;
    Side openmm(own, memory, graphSize), second(own, memory, graphSize), torch(primary, memory, graphSize);

    std::printf("{\n");
    openmm.push();
    print("one_stream", measure(rounds, openmm, [&] {
              for (int i = 0; i < 3; i++)
                  openmm.launch(memory);
          }));
    Side::pop();
    print("two_streams_of_one_context", roundTrip(rounds, openmm, second, memory));
    print("two_contexts", roundTrip(rounds, openmm, torch, memory));

    openmm.push();
    print("ladder_gather", measure(rounds, openmm, [&] { openmm.launch(memory); }));
    const auto withGraph = [&] {
        openmm.launch(memory);
        openmm.handOverTo(torch);
        torch.push();
        check(cuGraphLaunch(torch.graph, torch.stream), "graph launch");
        torch.handOverTo(openmm);
        Side::pop();
    };
    print("ladder_gather_graph", measure(rounds, openmm, withGraph));
    print("ladder_gather_graph_scatter", measure(rounds, openmm, [&] {
              withGraph();
              openmm.launch(memory);
          }));
    Side::pop();
    torch.push();
    print("graph_alone", measure(rounds, torch, [&] { check(cuGraphLaunch(torch.graph, torch.stream), "graph"); }),
          true);
    Side::pop();
    std::printf("}\n");
    return 0;
}
