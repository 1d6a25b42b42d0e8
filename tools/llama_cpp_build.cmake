# Builds of llama-cpp-python only what its bindings load: libllama, libggml* and libmtmd.
#
# CMake includes this file at the project() of llama-cpp-python (CMAKE_PROJECT_llama_cpp_INCLUDE).
# Flags of the compiler stay as they are, and ggml's files are compiled one by one, as its project
# does: what computes has the same bits.

# llama-cpp-python forces this one in the cache; a normal variable has precedence (CMP0126, CMP0077).
set(LLAMA_BUILD_COMMON OFF)
set(LLAMA_BUILD_TOOLS OFF)
set(LLAMA_BUILD_SERVER OFF)
set(LLAMA_BUILD_EXAMPLES OFF)
set(LLAMA_BUILD_TESTS OFF)
set(LLAMA_ALL_WARNINGS OFF)

# Compiles the sources of a target that match a pattern so many at a time: the headers of a file
# take longer to read than its code to compile.
function(compile_together target name pattern count)
  get_target_property(folder ${target} SOURCE_DIR)
  get_target_property(sources ${target} SOURCES)
  list(TRANSFORM sources REPLACE "^${folder}/" "")
  list(FILTER sources INCLUDE REGEX "${pattern}")
  set(done 0)
  foreach(source IN LISTS sources)
    math(EXPR group "${done} / ${count}")
    math(EXPR done "${done} + 1")
    set_source_files_properties("${folder}/${source}" TARGET_DIRECTORY ${target}
      PROPERTIES SKIP_UNITY_BUILD_INCLUSION OFF UNITY_GROUP "${name}_${group}")
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

function(compile_in_groups)
  if(TARGET llama)
    compile_together(llama models "^models/.*\\.cpp$" 16)
    compile_together(llama core "^[a-z0-9-]+\\.cpp$" 8)
  endif()
  if(TARGET mtmd)
    compile_together(mtmd models "^models/.*\\.cpp$" 32)
  endif()
endfunction()

# The targets exist at the end of the project only.
cmake_language(DEFER CALL compile_in_groups)
