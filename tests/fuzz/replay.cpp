// Runs a fuzz target on files, the arguments, where there is no fuzzer.

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int count, char** paths) {
    for (int i = 1; i < count; i++) {
        std::ifstream stream(paths[i], std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
        if (stream.bad() || !stream.is_open()) {
            std::fprintf(stderr, "Cannot read %s\n", paths[i]);
            return 1;
        }
        std::fprintf(stderr, "%s\n", paths[i]); // the last one is the culprit
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    }
}
