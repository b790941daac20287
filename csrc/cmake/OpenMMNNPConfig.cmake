# For find_package(OpenMMNNP): the target OpenMMNNP::OpenMMNNP, and OpenMMNNP_PLUGIN_DIR for
# Platform::loadPluginsFromDirectory().  OpenMM is looked for beside this package; OpenMM_ROOT names another place.
include(CMakeFindDependencyMacro)
get_filename_component(_openmmnnp_package ${CMAKE_CURRENT_LIST_DIR}/../../.. ABSOLUTE)
set(OpenMMNNP_PLUGIN_DIR ${_openmmnnp_package}/lib/plugins)
if(NOT OpenMM_ROOT AND EXISTS ${_openmmnnp_package}/../OpenMM.libs)
  get_filename_component(OpenMM_ROOT ${_openmmnnp_package}/../OpenMM.libs ABSOLUTE)
endif()
list(PREPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
find_dependency(OpenMM 8.6...<8.7)
list(POP_FRONT CMAKE_MODULE_PATH)
include(${CMAKE_CURRENT_LIST_DIR}/OpenMMNNPTargets.cmake)
