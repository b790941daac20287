#ifndef OPENMMNNP_FUZZ_REQUIRE_H_
#define OPENMMNNP_FUZZ_REQUIRE_H_

#include <cstdio>
#include <cstdlib>

/** Ends the process, which the fuzzer takes for a crash. */
#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #condition);                             \
            std::abort();                                                                                              \
        }                                                                                                              \
    } while (false)

#endif // OPENMMNNP_FUZZ_REQUIRE_H_
