# The libraries that need torch's C++ ABI, for the torch whose package is the folder `torch_root`:
# OpenMMNNPTorch-<minor version> and, with CUDA's headers, OpenMMNNPTorchCuda-<minor version>.
# Sets TorchScript_VERSION for the caller.
function(openmmnnp_add_torch_libraries torch_root)
  find_package(TorchScript REQUIRED)
  set(minor ${TorchScript_MINOR_VERSION})
  set(TorchScript_VERSION ${TorchScript_VERSION} PARENT_SCOPE)
  if(TARGET OpenMMNNPTorch-${minor})
    message(FATAL_ERROR "OPENMMNNP_TORCH_ROOTS names torch ${minor} twice.")
  endif()

  # torch's headers put their paths into messages.  After our own map of the source tree, since the last one is taken.
  target_compile_options(TorchScript::${minor} INTERFACE -ffile-prefix-map=${torch_root}/=torch/)

  openmmnnp_add_torch_library(OpenMMNNPTorch-${minor} MODULE
    csrc/model/torchscript/CheckProgram.cpp
    csrc/model/torchscript/CheckWeights.cpp
    csrc/model/torchscript/Libraries.cpp
    csrc/model/torchscript/TorchScriptModel.cpp)

  # CUDA graphs need torch's CUDA side.  Beside a torch without it they are only compiled.
  if(CudaHeaders_FOUND)
    set(cuda OpenMMNNPTorchCuda-${minor})
    if(TARGET TorchScript::Cuda-${minor})
      openmmnnp_add_torch_library(${cuda} MODULE csrc/model/torchcuda/CudaGraph.cpp)
      target_link_libraries(${cuda} PRIVATE TorchScript::Cuda-${minor})
    else()
      openmmnnp_add_torch_library(${cuda} OBJECT csrc/model/torchcuda/CudaGraph.cpp)
    endif()
    target_compile_definitions(${cuda} PRIVATE C10_CUDA_NO_CMAKE_CONFIGURE_FILE)
    target_link_libraries(${cuda} PRIVATE CudaHeaders::CudaHeaders)
  endif()
endfunction()

# Takes `torch_root` and `minor` from the function above.
function(openmmnnp_add_torch_library target kind)
  add_library(${target} ${kind} ${ARGN})
  target_compile_features(${target} PRIVATE cxx_std_20)
  target_link_libraries(${target} PRIVATE openmmnnp_options OpenMMNNP TorchScript::${minor})
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN;$ORIGIN/../../torch/lib")
  if(kind STREQUAL "MODULE")
    install(TARGETS ${target} DESTINATION ${package}/lib)
  endif()
endfunction()
