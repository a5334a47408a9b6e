# Tests that are programs of their own: golden files, end-to-end runs, oracles, embedding. They need the gradc executable
# and Debian's Python 3, no Python packages.
find_program(PYTHON3 NAMES python3 PATHS /usr/bin NO_CACHE REQUIRED)

function(gradc_test name)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "GRADC=$<TARGET_FILE:gradc>" TIMEOUT 600)
endfunction()

if(TARGET gradc)
  gradc_test(golden ${PYTHON3} tests/golden/run --gradc $<TARGET_FILE:gradc>)
  gradc_test(golden-coverage ${PYTHON3} tests/golden/coverage --gradc $<TARGET_FILE:gradc>)
endif()

# Benchmarks: each .cpp of tests/bench is a program; ./bootstrap bench runs them. They are compiled for this machine, so that
# what they compare with (Eigen) is at its best.
file(GLOB benches CONFIGURE_DEPENDS bench/*.cpp)
foreach(source ${benches})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} EXCLUDE_FROM_ALL ${source})
  target_compile_options(${name} PRIVATE -O3 -march=native -ffp-contract=fast -w)   # GCC 12 warns inside fmt and its own headers
  target_link_libraries(${name} PRIVATE gradc_codegen Eigen3::Eigen)
  list(APPEND bench_programs ${name})
endforeach()
add_custom_target(benches DEPENDS ${bench_programs})

# End to end: compile, train, predict, break. Each file is a test. They wait for the stage that makes executables.
if(TARGET gradc AND EXISTS ${CMAKE_SOURCE_DIR}/frontend/driver.cpp)
  foreach(name models fashion resume errors data)
    gradc_test(e2e-${name} ${PYTHON3} -B tests/e2e/test_${name}.py)
  endforeach()
  gradc_test(embed ${PYTHON3} -B tests/embed/test_embed.py)
  gradc_test(oracle ${PYTHON3} -B tests/oracle/run)
endif()
