# SPDX-License-Identifier: Apache-2.0

# Once is enough for what sanitizers and counters see nothing of.
if(W800_TESTS
   AND NOT W800_SANITIZE
   AND NOT W800_COVERAGE)
  # Seeded defects that no longer apply would be found by scripts/defects only, which takes minutes.
  register_test(defect_patches ${PROJECT_SOURCE_DIR}/tests/test_defect_patches)
  set_tests_properties(defect_patches PROPERTIES LABELS fuzz)

  # ClusterFuzzLite's build script, run as its container would. It compiles everything once more,
  # with instrumentation, so it takes a minute at the first time.
  register_test(clusterfuzzlite ${PROJECT_SOURCE_DIR}/ci/try-clusterfuzzlite
                ${PROJECT_BINARY_DIR}/clusterfuzzlite)
  set_tests_properties(clusterfuzzlite PROPERTIES LABELS fuzz SKIP_RETURN_CODE 77 TIMEOUT 1200
                                                  COST 100)
endif()
