#!/usr/bin/env bash
# Builds openmm-nnp beside the torch that is installed, tests it on an NVIDIA GPU, and measures it.  Needs no network.
#
#     tests/gpu/run.sh WHEELS [STEP...]
#
# WHEELS is a folder with the wheels of openmm and openmm-cuda-13 for this Python.  What else is missing here may lie in
# it too: further wheels, and Debian packages (.deb) of libraries to build with.  The script says what is missing.
#
# Steps: build test sanitize bench; all of them by default, in under 10 minutes.  Everything is installed below
# build/gpu; logs go there too, results to tests/benchmarks/results/DATE_GPU.json.  Environment:
#     PYTHON     Python with torch (python3)
#     TIME_TEST, TIME_BENCH   limits in seconds (200 each)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
wheels=$(cd "${1:?Usage: tests/gpu/run.sh WHEELS [build|test|sanitize|bench]...}" && pwd)
shift
steps=${*:-build test sanitize bench}
python=${PYTHON:-python3}
work=$root/build/gpu
site=$work/site
prefix=$work/prefix
logs=$work/logs
failed=()

cd "$root"
mkdir -p "$site" "$prefix" "$logs"
export PYTHONPATH=$site PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
export PATH=$PATH:/usr/local/cuda/bin
export TORCHINDUCTOR_CACHE_DIR=$work/inductor OPENMM_CACHE_DIR=$work/kernels
mkdir -p "$OPENMM_CACHE_DIR"

say() {
    printf '\n== %s (%d s)\n' "$*" "$SECONDS"
}

# Run a command with a limit in seconds, its output going to a log and, shortened, to the screen.
attempt() {
    local name=$1 limit=$2
    shift 2
    say "$name"
    if ! timeout "$limit" bash -euo pipefail -c '"$@"' "$name" "$@" >"$logs/$name.log" 2>&1; then
        failed+=("$name")
        echo "FAILED, or longer than $limit s: $logs/$name.log"
    fi
    tail -n "${LINES_SHOWN:-25}" "$logs/$name.log"
}

# Libraries of CUDA that pip installed beside torch; OpenMM's wheel looks for them beside itself.
nvidia_folders() {
    "$python" - <<'END'
import importlib.util, pathlib
site = pathlib.Path(importlib.util.find_spec("torch").submodule_search_locations[0]).parent
print(":".join(str(folder) for folder in sorted(site.glob("nvidia/*/lib"))))
END
}

unpack() {
    for package in "$wheels"/*.deb; do
        [ -e "$package" ] && dpkg-deb -x "$package" "$prefix"
    done
    # Each wheel once: what is newer replaces what is there.
    if compgen -G "$wheels/*.whl" >/dev/null; then
        "$python" -m pip install -q --no-index --no-deps --no-compile --no-warn-script-location --upgrade \
            --target "$site" "$wheels"/*.whl
    fi
}

# A header of the system, or of a package that was unpacked.
has_header() {
    echo "#include <$1>" | c++ -E -x c++ -isystem "$prefix/usr/include" \
        -isystem "$prefix/usr/include/$(c++ -dumpmachine)" - >/dev/null 2>&1
}

check() {
    local missing=()
    local module header
    for module in torch numpy pytest pybind11 scikit_build_core cmake ninja openmm; do
        "$python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$module') is None)" ||
            missing+=("the Python package $module: put its wheel (pip download --no-deps) into $wheels")
    done
    [ -e "$site/OpenMM.libs/lib/plugins/libOpenMMCUDA.so" ] ||
        "$python" -c "from importlib.metadata import version as v; v('openmm-cuda-13')" 2>/dev/null ||
        missing+=("OpenMM's CUDA platform: put the wheel of openmm-cuda-13 into $wheels")
    for header in minizip/unzip.h:libminizip-dev zlib.h:zlib1g-dev sha2.h:libmd-dev \
        nlohmann/json.hpp:nlohmann-json3-dev; do
        has_header "${header%%:*}" || missing+=("the header ${header%%:*}: install ${header##*:}, or put its .deb \
(apt-get download ${header##*:}) into $wheels")
    done
    command -v nvcc >/dev/null || missing+=("nvcc: install the CUDA toolkit of torch's CUDA version")
    command -v c++ >/dev/null || missing+=("a C++ compiler: install g++")
    command -v nvidia-smi >/dev/null || missing+=("a GPU with its driver (nvidia-smi)")
    if [ ${#missing[@]} -gt 0 ]; then
        printf 'Missing here:\n'
        printf -- '- %s\n' "${missing[@]}"
        exit 1
    fi
}

build() {
    "$python" -m pip install -v --no-index --no-deps --no-build-isolation --no-warn-script-location --upgrade \
        --target "$site" \
        --config-settings=build-dir="$work/cmake" \
        --config-settings=cmake.define.CMAKE_PREFIX_PATH="$prefix/usr" \
        --config-settings=cmake.define.OpenMM_ROOT="$site/OpenMM.libs" \
        --config-settings=cmake.define.OPENMMNNP_WERROR=OFF .
}

can_run() {
    "$python" - <<'END'
import openmm, torch, openmmnnp
print("torch", torch.__version__, "openmm", openmm.__version__, "openmmnnp", openmmnnp.__version__)
print(openmm.Platform.getPluginLoadFailures())
assert torch.cuda.is_available(), "torch sees no GPU"
print(torch.cuda.get_device_name())
assert "CUDA" in [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
END
}

sanitize() {
    local model
    for model in pt pt2; do
        echo "-- $model"
        compute-sanitizer --tool memcheck --error-exitcode 9 --launch-timeout 60 \
            "$python" tests/gpu/short.py "$work/pair.$model"
    done
}

export -f build can_run sanitize # for the shells that attempt starts
export python work site prefix
unpack
LD_LIBRARY_PATH=$(nvidia_folders)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
check
for step in $steps; do
    case $step in
    build)
        attempt build 240 build
        attempt import 60 can_run
        ;;
    test)
        # Warnings of the packages around us are no errors here.
        attempt test_cuda "${TIME_TEST:-200}" "$python" -m pytest -q -p no:cacheprovider -o filterwarnings=default \
            tests/gpu
        OPENMMNNP_TEST_PLATFORM=CUDA attempt test_common "${TIME_TEST:-200}" "$python" -m pytest -q \
            -p no:cacheprovider -o filterwarnings=default -k CUDA \
            tests/python/test_device_{positions,order,numbers}.py tests/python/test_inputs_and_outputs.py \
            tests/python/test_evaluations.py tests/python/test_molecules.py tests/python/test_link_atoms.py \
            tests/python/test_force_api.py tests/python/test_neighbors.py
        ;;
    sanitize)
        attempt models 120 "$python" tests/gpu/models_for_short.py "$work"
        attempt sanitize 180 sanitize
        ;;
    bench) attempt bench "${TIME_BENCH:-200}" "$python" tests/benchmarks/gpu.py --work "$work" ;;
    *) echo "There is no step '$step'." && exit 1 ;;
    esac
done
say "done"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
