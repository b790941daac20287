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

# What Python loads is checked only if the sanitizers are loaded before it.  Leaks are looked for in programs in C++
# alone (tests/python/test_cpp.py): Python and torch leave memory behind when they end.
preload=$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so)
flags=$(sed -n 's/^CMAKE_CXX_FLAGS_ASAN:STRING=//p' build/asan/CMakeCache.txt)
PYTHONPATH=$PWD/build/asan/site${PYTHONPATH:+:$PYTHONPATH} CXXFLAGS=$flags LD_PRELOAD=$preload \
    ASAN_OPTIONS=detect_leaks=0 LSAN_OPTIONS=suppressions=$PWD/tests/asan/leaks.txt \
    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 "$python" -m pytest -m "asan and not long" -p no:cacheprovider "$@"
