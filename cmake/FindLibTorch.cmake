# LibTorch out of a PyTorch wheel, without the CUDA toolkit that the wheel's own CMake files insist on.
# Looks in ATHANOR_TORCH (cache or environment: the folder that holds include/ and lib/), then in .deps/ of the checkout.
# Gives LibTorch::cpu (libtorch_cpu, libc10) and, where the wheel has them, LibTorch::cuda (libtorch_cuda, libc10_cuda).
set(ATHANOR_TORCH "$ENV{ATHANOR_TORCH}" CACHE PATH "Folder of LibTorch: the one that holds include/ and lib/")
file(GLOB _in_deps "${CMAKE_CURRENT_LIST_DIR}/../.deps/python/lib/python3*/site-packages/torch")
find_path(LibTorch_ROOT_DIR include/ATen/ATen.h HINTS ${ATHANOR_TORCH} ${_in_deps} NO_DEFAULT_PATH)
mark_as_advanced(LibTorch_ROOT_DIR)

if(LibTorch_ROOT_DIR)
  find_library(LibTorch_CPU_LIBRARY torch_cpu HINTS ${LibTorch_ROOT_DIR}/lib NO_DEFAULT_PATH)
  find_library(LibTorch_C10_LIBRARY c10 HINTS ${LibTorch_ROOT_DIR}/lib NO_DEFAULT_PATH)
  find_library(LibTorch_CUDA_LIBRARY torch_cuda HINTS ${LibTorch_ROOT_DIR}/lib NO_DEFAULT_PATH)
  find_library(LibTorch_C10_CUDA_LIBRARY c10_cuda HINTS ${LibTorch_ROOT_DIR}/lib NO_DEFAULT_PATH)
  mark_as_advanced(LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_CUDA_LIBRARY LibTorch_C10_CUDA_LIBRARY)
  file(STRINGS ${LibTorch_ROOT_DIR}/include/torch/headeronly/version.h _version REGEX "define TORCH_VERSION \"" LIMIT_COUNT 1)
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" LibTorch_VERSION "${_version}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_ROOT_DIR VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run scripts/setup, or set ATHANOR_TORCH to the folder that holds LibTorch's include/ and lib/")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION ${LibTorch_C10_LIBRARY})
  add_library(LibTorch::cpu SHARED IMPORTED)
  set_target_properties(LibTorch::cpu PROPERTIES IMPORTED_LOCATION ${LibTorch_CPU_LIBRARY})
  target_include_directories(LibTorch::cpu SYSTEM INTERFACE
    ${LibTorch_ROOT_DIR}/include ${LibTorch_ROOT_DIR}/include/torch/csrc/api/include)
  target_link_libraries(LibTorch::cpu INTERFACE LibTorch::c10)
  # A CUDA wheel's libtorch_cpu itself needs libcudart and libcupti, which the wheel's neighbours bring.
  file(GLOB _neighbours "${LibTorch_ROOT_DIR}/../nvidia/*/lib")
  foreach(_dir ${LibTorch_ROOT_DIR}/lib ${_neighbours})
    target_link_options(LibTorch::cpu INTERFACE "LINKER:-rpath-link,${_dir}")
  endforeach()
  # The linker must keep libtorch_cpu even where only its static registrations are used.
  target_link_options(LibTorch::cpu INTERFACE "LINKER:--no-as-needed")
  if(LibTorch_CUDA_LIBRARY)
    add_library(LibTorch::c10_cuda SHARED IMPORTED)
    set_target_properties(LibTorch::c10_cuda PROPERTIES IMPORTED_LOCATION ${LibTorch_C10_CUDA_LIBRARY})
    add_library(LibTorch::cuda SHARED IMPORTED)
    set_target_properties(LibTorch::cuda PROPERTIES IMPORTED_LOCATION ${LibTorch_CUDA_LIBRARY})
    target_link_libraries(LibTorch::cuda INTERFACE LibTorch::c10_cuda LibTorch::cpu)
  endif()
endif()
