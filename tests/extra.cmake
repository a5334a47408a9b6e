# Tests that are programs of their own: golden files, end-to-end runs, oracles, embedding. They need the gradc executable
# and Debian's Python 3, no Python packages.
find_program(PYTHON3 NAMES python3 PATHS /usr/bin NO_CACHE REQUIRED)

function(gradc_test name)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "GRADC=$<TARGET_FILE:gradc>" TIMEOUT 600)
endfunction()

if(TARGET gradc)
  gradc_test(golden ${PYTHON3} tests/golden/run --gradc $<TARGET_FILE:gradc>)
endif()

# Measurements, not tests: built on request.
add_executable(contract_bench EXCLUDE_FROM_ALL bench/contract_bench.cpp)
target_compile_options(contract_bench PRIVATE -O3 -march=native)
target_link_libraries(contract_bench PRIVATE gradc_codegen Eigen3::Eigen)
