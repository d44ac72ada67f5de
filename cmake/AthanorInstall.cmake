# cmake --install: the program, the rooms, their headers, and a package for find_package(athanor) with athanor::athanor.
get_property(rooms GLOBAL PROPERTY ATHANOR_ROOMS)
install(TARGETS ${rooms} athanor EXPORT athanorTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS athanor_cli_program athanor_cudnn_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/athanor DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/configs ${PROJECT_SOURCE_DIR}/share/
        DESTINATION ${CMAKE_INSTALL_DATADIR}/athanor)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/athanor)
install(EXPORT athanorTargets NAMESPACE athanor:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/athanorConfig.cmake.in
  ${PROJECT_BINARY_DIR}/athanorConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/athanorConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/athanorConfig.cmake ${PROJECT_BINARY_DIR}/athanorConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake DESTINATION ${package_dir})
