/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text exposition (format 0.0.4), written family by family into a text. */
#ifndef ZAJEL_KIT_METRICS_H
#define ZAJEL_KIT_METRICS_H

#include "sync/kit/text.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

/* Writes the HELP and TYPE lines. Counters end in _total. */
void metrics_family(struct text *out, const char *name, enum metric_type type, const char *help);
/* One sample; labels as "lane=\"urgent\"" or NULL. Label values come from bounded sets, never from customers.
 */
void metrics_sample(struct text *out, const char *name, const char *labels, double value);
/* Escapes a label value (backslash, quote, newline) into room; returns room. */
const char *metrics_label(const char *value, char *room, size_t room_length);
/* process_resident_memory_bytes, process_cpu_seconds_total, process_open_fds, process_start_time_seconds. */
void metrics_process(struct text *out);

#endif
