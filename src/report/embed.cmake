# The page's parts inside the program.
foreach(part html css js)
  set(file ${CMAKE_CURRENT_LIST_DIR}/page/page.${part})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  string(TOUPPER ${part} upper)
  file(READ ${file} ATHANOR_PAGE_${upper})
endforeach()
configure_file(${CMAKE_CURRENT_LIST_DIR}/Assets.cpp.in ${PROJECT_BINARY_DIR}/report/Assets.cpp @ONLY)
target_sources(athanor_report PRIVATE ${PROJECT_BINARY_DIR}/report/Assets.cpp)
