#!/usr/bin/env bash
# run.sh PYTHON [SECONDS [TARGET ...]]: fuzz the parsers with libFuzzer, SECONDS (600) for each target, then the readers
# in Python with atheris.  What is found is kept in build/fuzz: findings as crash-*, timeout-* and the like.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(realpath -s "$1")
seconds=${2:-600}
shift $(($# < 2 ? $# : 2))
targets=${*:-model_file spec text xml inspect_file}
declare -A dictionaries=([model_file]=zip [spec]=json [text]=json [xml]=xml [inspect_file]=json)
options=(-timeout=5 -rss_limit_mb=2048 -malloc_limit_mb=256 -max_len=4096 -print_final_stats=1
    -max_total_time="$seconds")

if ! command -v clang++ >/dev/null; then
    echo "Fuzzing needs clang++ with libFuzzer: apt-get install clang libclang-rt-dev" >&2
    exit 1
fi
cmake -S tests/fuzz -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DPython_EXECUTABLE="$python"
for target in $targets; do
    [ "$target" = inspect_file ] || cmake --build build/fuzz --target "$target"
done
for target in $targets; do
    found=build/fuzz/found/$target
    corpus=tests/fuzz/corpus/$target
    program=(build/fuzz/"$target")
    if [ "$target" = inspect_file ]; then
        "$python" -c "import atheris" 2>/dev/null || "$python" -m pip install --quiet atheris
        corpus=tests/fuzz/corpus/model_file
        program=("$python" tests/fuzz/inspect_file.py)
    fi
    mkdir -p "$found"
    "${program[@]}" "${options[@]}" -dict=tests/fuzz/"${dictionaries[$target]}".dict -artifact_prefix=build/fuzz/ \
        "$found" "$corpus"
done
