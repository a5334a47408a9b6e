# Tests that are programs of their own: golden files, end-to-end runs, oracles, embedding. They need the gradc executable
# and Debian's Python 3, no Python packages.
find_program(PYTHON3 NAMES python3 PATHS /usr/bin NO_CACHE REQUIRED)

function(gradc_test name)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "GRADC=$<TARGET_FILE:gradc>;GRADC_CACHE=off" TIMEOUT 600)
endfunction()

if(TARGET gradc)
  gradc_test(golden ${PYTHON3} tests/golden/run --gradc $<TARGET_FILE:gradc>)
  gradc_test(golden-coverage ${PYTHON3} tests/golden/coverage --gradc $<TARGET_FILE:gradc>)
endif()

# Benchmarks, which ./bootstrap bench runs. They are compiled for this machine, so that what they compare with is at its best. Libraries
# of matrix products are measured beside ours where they are installed (tests/bench/peers/install).
add_executable(probe EXCLUDE_FROM_ALL bench/probe.cpp)
file(GLOB sources CONFIGURE_DEPENDS bench/kernels/*.cpp)
add_executable(contract_bench EXCLUDE_FROM_ALL ${sources})
target_link_libraries(contract_bench PRIVATE gradc_passes gradc_runtime Eigen3::Eigen)
function(bench_library name header library)   # and what it links with
  find_path(BENCH_${name}_HEADERS ${header})
  find_library(BENCH_${name}_LIBRARY ${library})
  mark_as_advanced(BENCH_${name}_HEADERS BENCH_${name}_LIBRARY)
  if(BENCH_${name}_HEADERS AND BENCH_${name}_LIBRARY)
    target_compile_definitions(contract_bench PRIVATE BENCH_${name})
    target_include_directories(contract_bench SYSTEM PRIVATE ${BENCH_${name}_HEADERS})
    target_link_libraries(contract_bench PRIVATE ${BENCH_${name}_LIBRARY} ${ARGN})
  endif()
endfunction()
bench_library(ONEDNN dnnl.hpp dnnl)
bench_library(OPENBLAS cblas.h openblas)
bench_library(LIBXSMM libxsmm.h xsmm xsmmnoblas dl)
foreach(program probe contract_bench)
  target_compile_options(${program} PRIVATE -O3 -march=native -ffp-contract=fast -w)   # GCC 12 warns inside fmt and its own headers
  target_link_libraries(${program} PRIVATE gradc_codegen)
endforeach()
add_custom_target(benches DEPENDS probe contract_bench)
add_test(NAME bench COMMAND ${PYTHON3} -B tests/bench/test_measure.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})   # what they make of figures

# End to end: compile, train, predict, break. Each file is a test. They wait for the stage that makes executables.
if(TARGET gradc AND EXISTS ${CMAKE_SOURCE_DIR}/frontend/driver.cpp)
  foreach(name models transfer convolution fashion precision tune memory resume errors data pictures seeing text players transformers)
    gradc_test(e2e-${name} ${PYTHON3} -B tests/e2e/test_${name}.py)
  endforeach()
  gradc_test(embed ${PYTHON3} -B tests/embed/test_embed.py)
  gradc_test(oracle ${PYTHON3} -B tests/oracle/run)
endif()
