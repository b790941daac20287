# Encode kernels (.cc in OpenMM's portable dialect) as strings: kernel NAME.cc becomes openmmnnp::kernels::NAME.
#
# Script mode, at build time: cmake -DOUTPUT=file.h -DKERNELS="a.cc;b.cc" -P EncodeKernels.cmake
# Included: openmmnnp_encode_kernels(output.h kernel.cc...) adds the command that does so.
if(CMAKE_SCRIPT_MODE_FILE)
  set(text "#pragma once\n\nnamespace openmmnnp::kernels {\n")
  foreach(kernel IN LISTS KERNELS)
    get_filename_component(name ${kernel} NAME_WE)
    file(READ ${kernel} source)
    string(APPEND text "inline constexpr const char* ${name} = R\"kernel(${source})kernel\";\n")
  endforeach()
  file(WRITE ${OUTPUT} "${text}} // namespace openmmnnp::kernels\n")
  return()
endif()

set(openmmnnp_encode_script ${CMAKE_CURRENT_LIST_FILE})
function(openmmnnp_encode_kernels output)
  set(kernels "")
  foreach(kernel IN LISTS ARGN)
    get_filename_component(kernel ${kernel} ABSOLUTE)
    list(APPEND kernels ${kernel})
  endforeach()
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} "-DKERNELS=${kernels}" -P ${openmmnnp_encode_script}
    DEPENDS ${kernels} ${openmmnnp_encode_script}
    VERBATIM)
endfunction()
