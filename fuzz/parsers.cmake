# SPDX-License-Identifier: Apache-2.0
#
# The targets of what reads: traces, console logs, RAM dumps, recorder lines, C-SKY code.

foreach(parser IN ITEMS trace diagnose ramdump)
  add_fuzz_target(${parser} ${parser}.c outcome.c)
endforeach()
add_fuzz_target(recorder recorder.c outcome.c ../core/recorder.c)

add_fuzz_target(csky csky.c)
target_link_libraries(fuzz_csky PRIVATE w800csky PkgConfig::LIBDW)
