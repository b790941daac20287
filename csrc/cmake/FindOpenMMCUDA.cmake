# Finds what the CUDA plugin is compiled with: OpenMM's headers for CUDA and CUDA's own.  Needs OpenMM and CudaHeaders.
# Sets OpenMMCUDA_FOUND and the target OpenMM::CUDA.
#
# Neither OpenMM's library for CUDA (a package of its own) nor the driver need be there: where they are not, their
# symbols stay undefined, and are those that OpenMM loads before any plugin.
find_package(CudaHeaders)
find_path(OpenMMCUDA_INCLUDE_DIR NAMES openmm/cuda/CudaContext.h HINTS ${OpenMM_INCLUDE_DIR} NO_DEFAULT_PATH)
find_library(OpenMMCUDA_LIBRARY NAMES OpenMMCUDA HINTS ${OpenMM_ROOT_DIR}/lib/plugins NO_DEFAULT_PATH)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenMMCUDA REQUIRED_VARS OpenMMCUDA_INCLUDE_DIR CudaHeaders_FOUND)

if(OpenMMCUDA_FOUND AND NOT TARGET OpenMM::CUDA)
  add_library(OpenMM::CUDA INTERFACE IMPORTED)
  # openmm/cuda: headers there include each other by their file names alone.
  set_target_properties(OpenMM::CUDA PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${OpenMMCUDA_INCLUDE_DIR};${OpenMMCUDA_INCLUDE_DIR}/openmm/cuda"
    INTERFACE_LINK_LIBRARIES "$<$<BOOL:${OpenMMCUDA_LIBRARY}>:${OpenMMCUDA_LIBRARY}>;CudaHeaders::CudaHeaders")
endif()
