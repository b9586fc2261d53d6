# SPDX-License-Identifier: Apache-2.0
#
# The targets of what reads: traces, console logs, RAM dumps, recorder lines, C-SKY code; and
# the core compiled for C-SKY, where its programs are.

foreach(parser IN ITEMS trace diagnose ramdump)
  add_fuzz_target(${parser} ${parser}.c outcome.c)
endforeach()
if(TEST fuzz_ramdump_replay AND NOT W800_SANITIZE AND NOT W800_COVERAGE)
  register_test(fuzz_ramdump_seeds ${PROJECT_SOURCE_DIR}/tests/test_seed_dumps
                $<TARGET_FILE:fuzz_ramdump> $<TARGET_FILE:wmheap>)
  set_tests_properties(fuzz_ramdump_seeds PROPERTIES LABELS fuzz)
endif()
add_fuzz_target(recorder recorder.c outcome.c ../core/recorder.c)

add_fuzz_target(csky csky.c)
target_link_libraries(fuzz_csky PRIVATE w800csky PkgConfig::LIBDW)

if(EXISTS ${W800_CSKY_PROGRAMS}/crosscheck-none OR TARGET csky_programs)
  add_fuzz_target(csky_heap csky_heap.c mutator.c program.c arena.c ../sim/crosscheck_run.c)
  target_link_libraries(fuzz_csky_heap PRIVATE w800csky)
  if(TARGET csky_programs)
    add_dependencies(fuzz_csky_heap csky_programs)
  endif()
  target_compile_definitions(fuzz_csky_heap
                             PRIVATE "FUZZ_CSKY_PROGRAMS=\"${W800_CSKY_PROGRAMS}\"")
  foreach(kind IN ITEMS replay seeded)
    if(TEST fuzz_csky_heap_${kind})
      set_tests_properties(fuzz_csky_heap_${kind} PROPERTIES SKIP_RETURN_CODE 77)
    endif()
  endforeach()
endif()
