#!/usr/bin/env bash
# run.sh PYTHON [PYTEST'S OPTIONS]: builds everything with the sanitizers for addresses and undefined behavior, into
# build/asan, and runs the tests marked `asan` with it.  A report ends the test that caused it.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(realpath -s "$1")
shift
cmake --preset asan -DPython_EXECUTABLE="$python"
cmake --build --preset asan
cmake --install build/asan >/dev/null
cp -r python/openmmnnp python/openmmnnp_openmmml build/asan/site

# The platform CPU runs what Reference runs.  OpenCL compiles its kernels in each Context, which takes many seconds here:
# a few tests that use all of ours.
platforms="not CPU and (not OpenCL or any_order or that_fails or share_a_list or of_a_device)"

# What Python loads is checked only if the sanitizers are loaded before it.  Leaks are looked for in programs in C++
# alone (tests/python/test_cpp.py): Python and torch leave memory behind when they end.
preload=$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so)
flags=$(sed -n 's/^CMAKE_CXX_FLAGS_ASAN:STRING=//p' build/asan/CMakeCache.txt)
PYTHONPATH=$PWD/build/asan/site${PYTHONPATH:+:$PYTHONPATH} CXXFLAGS=$flags LD_PRELOAD=$preload \
    ASAN_OPTIONS=detect_leaks=0 LSAN_OPTIONS=suppressions=$PWD/tests/asan/leaks.txt \
    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 "$python" -m pytest -m "asan and not long" -k "$platforms" \
    -p no:cacheprovider "$@"
