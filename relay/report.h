/* SPDX-License-Identifier: Apache-2.0 */
/* What the relay says of itself: the status document of design section 9, and metrics. */
#ifndef ZAJEL_RELAY_REPORT_H
#define ZAJEL_RELAY_REPORT_H

#include "relay/box.h"

#define REPORT_VERSION "0.1.0"

int report_status(struct box *box, const struct branch_time *now, struct text *out); /* JSON */
int report_summary(struct box *box, const struct branch_time *now,
                   struct text *out); /* For people, a few lines. */
/* One line: "accepting; link up; 12 wait, oldest 3 min". */
void report_words(struct box *box, const struct branch_time *now, struct text *out);
int report_metrics(struct box *box, const struct branch_time *now, struct text *out);

#endif
