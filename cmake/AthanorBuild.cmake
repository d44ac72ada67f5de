# How everything of ours is compiled: cache, linker, warnings, and the two functions that declare a room and a program.
if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM)
    # The sloppiness that precompiled headers need, see ccache(1).
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
        CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
  endif()
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

add_library(athanor_flags INTERFACE)
target_compile_options(athanor_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -fpch-preprocess -Winvalid-pch)
if(ATHANOR_SANITIZE)
  add_compile_options(-fsanitize=${ATHANOR_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ATHANOR_SANITIZE})
  if(ATHANOR_SANITIZE STREQUAL "thread")
    target_compile_options(athanor_flags INTERFACE -Wno-tsan)   # c10 counts references with fences, which g++ warns of here
  endif()
endif()

# LibTorch brings an fmt of its own among its headers, which hides Debian's and has no library: what includes LibTorch uses it
# header-only (the two live in different inline namespaces, so both may meet in one program).
# LibTorch's headers are precompiled twice. Rooms and benchmarks get the few that most of them need: whatever else stands in
# a precompiled header costs every file that uses it, since g++ instantiates its pending templates anew in each (1 s a file
# here, 4 s for all of torch/torch.h). Tests, oracle drivers and examples include torch/torch.h, and are not optimised:
# what they check is.
function(athanor_precompiled name)
  cmake_parse_arguments(PCH "" "" "HEADERS;LIBRARIES;OPTIONS" ${ARGN})
  file(WRITE ${PROJECT_BINARY_DIR}/${name}.cpp "// Owner of precompiled LibTorch headers.\n")
  add_library(${name} STATIC EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE LibTorch::cpu fmt::fmt athanor_flags ${PCH_LIBRARIES})
  target_compile_definitions(${name} PRIVATE FMT_HEADER_ONLY)
  target_compile_options(${name} PRIVATE ${PCH_OPTIONS})
  target_precompile_headers(${name} PRIVATE ${PCH_HEADERS})
endfunction()

# athanor_room(NAME [TORCH] [UNITY] [DEPENDS room…] [LIBRARIES target…])
# A room is src/NAME/*.cpp with its contract in include/athanor/NAME/*.h. DEPENDS are the arrows of architecture.md: a
# room links no other, so an arrow that is not declared does not link.
# UNITY compiles six of its files at a time, a third of the time where files are small; their unnamed namespaces are one.
function(athanor_room name)
  cmake_parse_arguments(ROOM "TORCH;UNITY" "" "DEPENDS;LIBRARIES;PUBLIC_LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  if(NOT sources)
    return()
  endif()
  set(target athanor_${name})
  add_library(${target} STATIC ${sources})
  add_library(athanor::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:athanor_flags> ${ROOM_LIBRARIES} PUBLIC ${ROOM_PUBLIC_LIBRARIES})
  foreach(dependency ${ROOM_DEPENDS})
    if(TARGET athanor_${dependency})
      target_link_libraries(${target} PUBLIC athanor_${dependency})
    endif()
  endforeach()
  if(ROOM_TORCH)
    target_link_libraries(${target} PUBLIC LibTorch::cpu)
    target_compile_definitions(${target} PRIVATE FMT_HEADER_ONLY)
    target_precompile_headers(${target} REUSE_FROM athanor_torch_pch)
    if(ROOM_UNITY)
      # A type of an unnamed namespace inside a type of a source file is no trouble only g++ sees in a header.
      target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
      set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
    endif()
  endif()
  set_property(GLOBAL APPEND PROPERTY ATHANOR_ROOMS ${target})
endfunction()

# athanor_program(NAME [TORCH|TORCH_TEST] SOURCES file… LIBRARIES target…): an executable built the way rooms are, or, with
# TORCH_TEST, the way tests are.
set(athanor_test_options $<$<CONFIG:Release>:-O0>)
function(athanor_program name)
  cmake_parse_arguments(PROGRAM "TORCH;TORCH_TEST" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${PROGRAM_SOURCES})
  target_link_libraries(${name} PRIVATE athanor_flags ${PROGRAM_LIBRARIES})
  if(PROGRAM_TORCH OR PROGRAM_TORCH_TEST)
    target_link_libraries(${name} PRIVATE LibTorch::cpu)
    target_compile_definitions(${name} PRIVATE FMT_HEADER_ONLY)
  endif()
  if(PROGRAM_TORCH)
    target_precompile_headers(${name} REUSE_FROM athanor_torch_pch)
  elseif(PROGRAM_TORCH_TEST)
    target_compile_options(${name} PRIVATE ${athanor_test_options})
    target_link_libraries(${name} PRIVATE GTest::gtest)   # its definitions are part of the precompiled headers
    target_precompile_headers(${name} REUSE_FROM athanor_torch_test_pch)
  endif()
endfunction()
