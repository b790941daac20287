# Finds the headers of the CUDA toolkit (cuda.h, cuda_runtime_api.h and what OpenMM's headers need) beside nvcc; no driver
# and no GPU.  Sets CudaHeaders_FOUND, CudaHeaders_INCLUDE_DIR and the target CudaHeaders::CudaHeaders.
# Hints: CUDAToolkit_ROOT, CUDA_HOME, CUDA_PATH, nvcc on the path.
find_program(CudaHeaders_NVCC NAMES nvcc
  HINTS ${CUDAToolkit_ROOT} ENV CUDA_HOME ENV CUDA_PATH
  PATHS /usr/local/cuda /usr/local/cuda-13 /usr/local/cuda-13.0
  PATH_SUFFIXES bin)
if(CudaHeaders_NVCC) # it may be a script or a link that stands elsewhere, so it is asked
  execute_process(COMMAND ${CudaHeaders_NVCC} -dryrun -E -x cu /dev/null ERROR_VARIABLE _dryrun OUTPUT_QUIET)
  string(REGEX MATCH "TOP=([^\n]*)" _top "${_dryrun}")
  set(_top "${CMAKE_MATCH_1}")
endif()
find_path(CudaHeaders_INCLUDE_DIR NAMES cuda_runtime_api.h
  HINTS ${_top}/include ${_top}/targets/${CMAKE_SYSTEM_PROCESSOR}-linux/include
        ${CUDAToolkit_ROOT}/include ENV CUDA_HOME ENV CUDA_PATH
  PATH_SUFFIXES include)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CudaHeaders REQUIRED_VARS CudaHeaders_INCLUDE_DIR)
if(CudaHeaders_FOUND AND NOT TARGET CudaHeaders::CudaHeaders)
  add_library(CudaHeaders::CudaHeaders INTERFACE IMPORTED)
  set_target_properties(CudaHeaders::CudaHeaders PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${CudaHeaders_INCLUDE_DIR}")
endif()
