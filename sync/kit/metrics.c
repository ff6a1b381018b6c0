/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sync/kit/clock.h"
#include "sync/kit/file.h"
#include "sync/protocol/status.h"

/* Up to here a double tells every whole number from its neighbours. */
#define WHOLE_MAX 9007199254740992.0

static const char *type_name(enum metric_type type)
{
    switch (type) {
    case METRIC_COUNTER: return "counter";
    case METRIC_GAUGE: break;
    }
    return "gauge";
}

void metrics_family(struct text *out, const char *name, enum metric_type type, const char *help)
{
    text_printf(out, "# HELP %s ", name);
    for (; *help; help++) {
        if (*help == '\\' || *help == '\n')
            text_puts(out, *help == '\n' ? "\\n" : "\\\\");
        else
            text_add(out, slice_of(help, 1));
    }
    text_printf(out, "\n# TYPE %s %s\n", name, type_name(type));
}

static void metrics_value(struct text *out, double value)
{
    if (isnan(value))
        text_puts(out, "NaN");
    else if (isinf(value))
        text_puts(out, value > 0 ? "+Inf" : "-Inf");
    else if (fabs(value) <= WHOLE_MAX && trunc(value) == value)
        text_printf(out, "%lld", (long long)value);
    else
        text_real(out, value);
}

void metrics_sample(struct text *out, const char *name, const char *labels, double value)
{
    text_puts(out, name);
    if (labels && *labels)
        text_printf(out, "{%s}", labels);
    text_puts(out, " ");
    metrics_value(out, value);
    text_puts(out, "\n");
}

const char *metrics_label(const char *value, char *room, size_t room_length)
{
    size_t n = 0;

    assert(room_length > 0);
    for (; *value; value++) {
        bool escaped = *value == '\\' || *value == '"' || *value == '\n';

        if (n + escaped + 2 > room_length)
            break;
        if (escaped)
            room[n++] = '\\';
        room[n++] = *value == '\n' ? 'n' : *value;
    }
    room[n] = '\0';
    return room;
}

/* The fields of /proc/self/stat after the name of the program, which may hold anything; the first is field 3.
 */
static const char *stat_field(const struct text *stat, int field)
{
    const char *at = strrchr(stat->at, ')');

    for (int i = 2; at && i < field; i++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at;
}

static double resident_bytes(void)
{
    struct text text = { 0 };
    double pages = 0;

    if (file_read("/proc/self/statm", 256, &text) == STATUS_OK && text.at) {
        const char *second = strchr(text.at, ' ');

        pages = second ? (double)strtoll(second, NULL, 10) : 0;
    }
    text_free(&text);
    return pages * (double)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct timespec used = { 0 };

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + round((double)used.tv_nsec / 1e6) / 1e3;
}

static double open_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;
    double count = -1; /* Without the one that counts. */

    if (!folder)
        return 0;
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            count++;
    closedir(folder);
    return count;
}

/* Unix seconds. The kernel knows it as ticks since boot; the wall clock may have been set since. */
static double start_time_seconds(void)
{
    struct text text = { 0 };
    double since_boot = 0;

    if (file_read("/proc/self/stat", 2048, &text) == STATUS_OK && text.at) {
        const char *start = stat_field(&text, 22);

        since_boot = start ? (double)strtoll(start, NULL, 10) / (double)sysconf(_SC_CLK_TCK) : 0;
    }
    text_free(&text);
    return trunc((double)(clock_wall_ms() - (int64_t)clock_elapsed_ms()) / 1000 + since_boot);
}

static void metrics_one(struct text *out, const char *name, enum metric_type type, const char *help,
                        double value)
{
    metrics_family(out, name, type, help);
    metrics_sample(out, name, NULL, value);
}

void metrics_process(struct text *out)
{
    metrics_one(out, "process_resident_memory_bytes", METRIC_GAUGE, "Resident memory size in bytes.",
                resident_bytes());
    metrics_one(out, "process_cpu_seconds_total", METRIC_COUNTER, "User and system CPU time in seconds.",
                cpu_seconds());
    metrics_one(out, "process_open_fds", METRIC_GAUGE, "Open file descriptors.", open_fds());
    metrics_one(out, "process_start_time_seconds", METRIC_GAUGE, "Start of the process in Unix seconds.",
                start_time_seconds());
}
