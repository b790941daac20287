# Finds the C++ side of the torch in `torch_root` (the folder of the Python package).  torch's own TorchConfig.cmake is not
# used: it wants the CUDA toolkit wherever torch was built with it, which TorchScript on our side does not need.
# Sets TorchScript_VERSION, TorchScript_MINOR_VERSION and the targets TorchScript::TorchScript and, where torch was built
# with CUDA, TorchScript::Cuda.
file(STRINGS ${torch_root}/version.py _torch_line REGEX "^__version__")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" TorchScript_VERSION "${_torch_line}")
string(REGEX MATCH "^[0-9]+\\.[0-9]+" TorchScript_MINOR_VERSION "${TorchScript_VERSION}")

find_path(TorchScript_API_DIR NAMES torch/script.h PATHS ${torch_root}/include NO_DEFAULT_PATH)
find_library(TorchScript_CPU_LIBRARY NAMES torch_cpu PATHS ${torch_root}/lib NO_DEFAULT_PATH)
find_library(TorchScript_C10_LIBRARY NAMES c10 PATHS ${torch_root}/lib NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TorchScript
  REQUIRED_VARS TorchScript_CPU_LIBRARY TorchScript_C10_LIBRARY TorchScript_API_DIR VERSION_VAR TorchScript_VERSION)
if(TorchScript_FOUND AND NOT TARGET TorchScript::TorchScript)
  add_library(TorchScript::TorchScript INTERFACE IMPORTED)
  set_target_properties(TorchScript::TorchScript PROPERTIES
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${TorchScript_API_DIR};${TorchScript_API_DIR}/torch/csrc/api/include"
    INTERFACE_INCLUDE_DIRECTORIES "${TorchScript_API_DIR};${TorchScript_API_DIR}/torch/csrc/api/include"
    INTERFACE_LINK_LIBRARIES "${TorchScript_CPU_LIBRARY};${TorchScript_C10_LIBRARY}")
endif()

find_library(TorchScript_CUDA_LIBRARY NAMES torch_cuda PATHS ${torch_root}/lib NO_DEFAULT_PATH)
find_library(TorchScript_C10_CUDA_LIBRARY NAMES c10_cuda PATHS ${torch_root}/lib NO_DEFAULT_PATH)
if(TorchScript_FOUND AND TorchScript_CUDA_LIBRARY AND TorchScript_C10_CUDA_LIBRARY AND NOT TARGET TorchScript::Cuda)
  add_library(TorchScript::Cuda INTERFACE IMPORTED)
  # Their own needs (cudart, cublas, ...) are packages beside torch, which its libraries find by themselves.
  set_target_properties(TorchScript::Cuda PROPERTIES
    INTERFACE_LINK_LIBRARIES "${TorchScript_CUDA_LIBRARY};${TorchScript_C10_CUDA_LIBRARY}"
    INTERFACE_LINK_OPTIONS "-Wl,--allow-shlib-undefined")
endif()
