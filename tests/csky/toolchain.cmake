# SPDX-License-Identifier: Apache-2.0
#
# CMake toolchain for bare C-SKY programs, run by csky-run or qemu-cskyv2. The compiler is
# W800_CSKY_CC, by default what scripts/setup-csky has found or built.
#
# GCC 12 does not know the W800's ck804ef; ck803ef is nearest, and the CPU for which libgcc is
# built and the recorded numbers were measured. One part of it no CK804 has, the older DSP set:
# GCC multiplies 32 by 32 bits to 64 with its mulu. The test csky_isa looks for that.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR csky)

set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES W800_CSKY_CC)
if(NOT W800_CSKY_CC)
  execute_process(
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/../../scripts/setup-csky --print
    OUTPUT_VARIABLE W800_CSKY_CC
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT W800_CSKY_CC)
  message(FATAL_ERROR "There is no C-SKY compiler; scripts/setup-csky builds one.")
endif()

set(CMAKE_C_COMPILER ${W800_CSKY_CC})
set(CMAKE_C_FLAGS_INIT "-mcpu=ck803ef -ffreestanding")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY) # nothing to link a hosted program with
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
