/* SPDX-License-Identifier: Apache-2.0 */
#include "counter.h"

#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

bool counter_open(struct counter *counter) {
    struct perf_event_attr wanted = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof wanted,
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .disabled = 1,
        .exclude_kernel = 1,
        .exclude_hv = 1,
        .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
    };
    long descriptor = syscall(SYS_perf_event_open, &wanted, 0, -1, -1, 0); /* glibc has no name */
    counter->descriptor = (int)descriptor;
    return descriptor >= 0;
}

void counter_close(struct counter *counter) {
    if (counter->descriptor >= 0) {
        close(counter->descriptor);
    }
    counter->descriptor = -1;
}

void counter_start(const struct counter *counter) {
    ioctl(counter->descriptor, PERF_EVENT_IOC_RESET, 0);
    ioctl(counter->descriptor, PERF_EVENT_IOC_ENABLE, 0);
}

/* A counter that several users share counts for a part of the time only. */
bool counter_stop(const struct counter *counter, uint64_t *instructions) {
    struct {
        uint64_t value;
        uint64_t enabled_ns;
        uint64_t running_ns;
    } counted;
    ioctl(counter->descriptor, PERF_EVENT_IOC_DISABLE, 0);
    if (read(counter->descriptor, &counted, sizeof counted) != (ssize_t)sizeof counted) {
        return false;
    }
    *instructions = counted.value;
    return counted.running_ns != 0 && counted.running_ns == counted.enabled_ns;
}
