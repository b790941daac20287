# Finds the C++ side of the torch in `torch_root` (the folder of the Python package); it may be called for one after
# another.  torch's own TorchConfig.cmake is not used: it wants the CUDA toolkit wherever torch was built with it, which
# TorchScript on our side does not need.
# Sets TorchScript_VERSION, TorchScript_MINOR_VERSION and the targets TorchScript::<minor version> and, where torch was
# built with CUDA, TorchScript::Cuda-<minor version>.
set(_torch_line "")
if(EXISTS "${torch_root}/version.py")
  file(STRINGS "${torch_root}/version.py" _torch_line REGEX "^__version__")
endif()
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" TorchScript_VERSION "${_torch_line}")
string(REGEX MATCH "^[0-9]+\\.[0-9]+" TorchScript_MINOR_VERSION "${TorchScript_VERSION}")

foreach(_library torch_cpu c10 torch_cuda c10_cuda)
  unset(TorchScript_${_library})
  find_library(TorchScript_${_library} NAMES ${_library} PATHS "${torch_root}/lib" NO_DEFAULT_PATH NO_CACHE)
endforeach()
unset(TorchScript_INCLUDE_DIR)
find_path(TorchScript_INCLUDE_DIR NAMES torch/script.h PATHS "${torch_root}/include" NO_DEFAULT_PATH NO_CACHE)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TorchScript
  REQUIRED_VARS TorchScript_torch_cpu TorchScript_c10 TorchScript_INCLUDE_DIR TorchScript_VERSION
  VERSION_VAR TorchScript_VERSION
  REASON_FAILURE_MESSAGE "'${torch_root}' is not the folder of a torch package (version.py, include, lib).")
set(_torch_target TorchScript::${TorchScript_MINOR_VERSION})
if(TorchScript_FOUND AND NOT TARGET ${_torch_target})
  add_library(${_torch_target} INTERFACE IMPORTED)
  set(_torch_include "${TorchScript_INCLUDE_DIR};${TorchScript_INCLUDE_DIR}/torch/csrc/api/include")
  set_target_properties(${_torch_target} PROPERTIES
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${_torch_include}"
    INTERFACE_INCLUDE_DIRECTORIES "${_torch_include}"
    INTERFACE_LINK_LIBRARIES "${TorchScript_torch_cpu};${TorchScript_c10}")
endif()

set(_torch_target TorchScript::Cuda-${TorchScript_MINOR_VERSION})
if(TorchScript_FOUND AND TorchScript_torch_cuda AND TorchScript_c10_cuda AND NOT TARGET ${_torch_target})
  add_library(${_torch_target} INTERFACE IMPORTED)
  # Their own needs (cudart, cublas, ...) are packages beside torch, which its libraries find by themselves.
  set_target_properties(${_torch_target} PROPERTIES
    INTERFACE_LINK_LIBRARIES "${TorchScript_torch_cuda};${TorchScript_c10_cuda}"
    INTERFACE_LINK_OPTIONS "-Wl,--allow-shlib-undefined")
endif()
