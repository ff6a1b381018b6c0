/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "relay/herald.h"
#include "relay/inbox.h"
#include "relay/uplink.h"
#include "sync/kit/file.h"
#include "sync/kit/json.h"
#include "sync/kit/metrics.h"
#include "sync/kit/notify.h"
#include "sync/protocol/status.h"

struct lane_facts {
    struct outbox_waiting waiting;
    uint64_t oldest_age_s;
};

static struct lane_facts lane_facts(struct box *box, enum lane lane, const struct branch_time *now)
{
    static const struct outbox_place start;
    struct lane_facts facts = { .waiting = outbox_waiting(box->outbox, lane) };
    struct outbox_row head;

    if (facts.waiting.messages &&
        outbox_row_peek(box->outbox, lane, &start, now->elapsed_ms, &head) == STATUS_OK)
        facts.oldest_age_s = head.age_ms / 1000;
    return facts;
}

static uint64_t dropped(const struct outbox *o)
{
    return outbox_total(o, OUTBOX_DROPPED_DAMAGED) + outbox_total(o, OUTBOX_DROPPED_WEBHOOK) +
           outbox_total(o, OUTBOX_DROPPED_MALFORMED);
}

static int set_number(struct json *object, const char *key, uint64_t value)
{
    return json_set(object, key, json_new_integer((int64_t)value));
}

/* --- Status --- */

static int set_link(struct json *root, const struct box *box, const struct branch_time *now)
{
    struct json *link = json_new_object();
    struct uplink_facts facts;
    int failed;

    uplink_facts(box->uplink, &facts);
    failed = json_set(link, "state", json_new_string(slice_text(uplink_state_name(facts.state))));
    failed |= set_number(link, "since_s", (now->elapsed_ms - facts.since_ms) / 1000);
    failed |= set_number(link, "rtt_ms", facts.rtt_ms);
    failed |= set_number(link, "goodput_bytes_per_s", facts.goodput_bytes_per_s);
    failed |= set_number(link, "sent_bytes", facts.sent_bytes);
    failed |= set_number(link, "received_bytes", facts.received_bytes);
    return json_set(root, "link", link) | failed;
}

static int set_queue(struct json *root, struct box *box, const struct branch_time *now)
{
    struct json *queue = json_new_object(), *lanes = json_new_object();
    uint64_t messages = 0, bytes = 0, oldest_age_s = 0, goodput = uplink_goodput(box->uplink);
    int failed = 0;

    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct lane_facts facts = lane_facts(box, (enum lane)lane, now);
        struct json *one = json_new_object();

        messages += facts.waiting.messages;
        bytes += facts.waiting.bytes;
        oldest_age_s = facts.oldest_age_s > oldest_age_s ? facts.oldest_age_s : oldest_age_s;
        failed |= set_number(one, "messages", facts.waiting.messages);
        failed |= set_number(one, "bytes", facts.waiting.bytes);
        failed |= set_number(one, "oldest_age_s", facts.oldest_age_s);
        failed |= json_set(one, "eta_s",
                           facts.waiting.messages && !goodput
                               ? json_new_null()
                               : json_new_integer(goodput ? (int64_t)((bytes + goodput - 1) / goodput) : 0));
        failed |= json_set(lanes, lane_name((enum lane)lane), one);
    }
    failed |= set_number(queue, "messages", messages);
    failed |= set_number(queue, "bytes", bytes);
    failed |= set_number(queue, "oldest_age_s", oldest_age_s);
    failed |= json_set(queue, "lanes", lanes);
    return json_set(root, "queue", queue) | failed;
}

static int set_totals(struct json *root, const struct box *box)
{
    const struct outbox *o = box->outbox;
    struct json *totals = json_new_object(), *reasons = json_new_object();
    int failed = 0;

    for (int total = OUTBOX_ACCEPTED; total <= OUTBOX_DELIVERED; total++)
        failed |= set_number(totals, outbox_total_name((enum outbox_total)total),
                             outbox_total(o, (enum outbox_total)total));
    failed |= set_number(totals, "dropped", dropped(o));
    for (int total = OUTBOX_DROPPED_DAMAGED; total < OUTBOX_TOTALS; total++)
        failed |= set_number(reasons, outbox_total_name((enum outbox_total)total),
                             outbox_total(o, (enum outbox_total)total));
    failed |= json_set(totals, "dropped_by_reason", reasons);
    return json_set(root, "totals", totals) | failed;
}

static int set_store(struct json *root, const struct box *box)
{
    struct json *store = json_new_object();
    const char *why = NULL;
    int failed;

    failed = set_number(store, "bytes", outbox_used_bytes(box->outbox));
    failed |= set_number(store, "quota_bytes", box->options->rules.store_bytes_max);
    failed |= set_number(store, "free_bytes", file_free_bytes(box->options->state));
    failed |= set_number(store, "quarantined", outbox_quarantined(box->outbox));
    failed |= set_number(store, "unreadable", outbox_unreadable(box->outbox));
    failed |= json_set(store, "ready", json_new_bool(branch_is_ready(box->branch, &why)));
    if (why)
        failed |= json_set(store, "why", json_new_string(slice_text(why)));
    return json_set(root, "store", store) | failed;
}

static int set_rest(struct json *root, const struct box *box)
{
    struct json *clock = json_new_object(), *certificate = json_new_object(), *webhooks = json_new_object();
    int failed;

    failed = json_set(clock, "trusted", json_new_bool(outbox_is_trusted(box->outbox)));
    failed |= json_set(clock, "offset_ms", json_new_integer(outbox_clock_offset_ms(box->outbox)));
    failed |=
        json_set(certificate, "expires_at",
                 box->certificate_until_s ? json_new_integer(box->certificate_until_s) : json_new_null());
    failed |= set_number(webhooks, "waiting", inbox_waiting(box->outbox));
    failed |= json_set(webhooks, "paused", json_new_bool(herald_is_paused(box->herald)));
    failed |= json_set(root, "clock", clock);
    failed |= json_set(root, "certificate", certificate);
    return json_set(root, "webhooks", webhooks) | failed;
}

int report_status(struct box *box, const struct branch_time *now, struct text *out)
{
    struct json *root = json_new_object();
    int failed, status;

    failed = json_set(root, "branch", json_new_string(slice_text(box->options->branch)));
    failed |= json_set(root, "version", json_new_string(slice_text(REPORT_VERSION)));
    failed |= set_number(root, "uptime_s", (now->elapsed_ms - box->started_ms) / 1000);
    failed |= set_link(root, box, now);
    failed |= set_queue(root, box, now);
    failed |= set_totals(root, box);
    failed |= set_store(root, box);
    failed |= set_rest(root, box);
    status = failed ? STATUS_NO_MEMORY : json_write_ascii(root, out);
    json_free(root);
    return status;
}

int report_summary(struct box *box, const struct branch_time *now, struct text *out)
{
    struct uplink_facts link;
    const char *why = NULL;

    uplink_facts(box->uplink, &link);
    text_printf(out, "branch %s, up %" PRIu64 " s, accepting: %s\n", box->options->branch,
                (now->elapsed_ms - box->started_ms) / 1000, branch_is_ready(box->branch, &why) ? "yes" : why);
    text_printf(out, "link %s for %" PRIu64 " s, %" PRIu64 " bytes up, %" PRIu64 " down\n",
                uplink_state_name(link.state), (now->elapsed_ms - link.since_ms) / 1000, link.sent_bytes,
                link.received_bytes);
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct lane_facts facts = lane_facts(box, (enum lane)lane, now);

        text_printf(out, "%-9s %8" PRIu64 " waiting, %10" PRIu64 " bytes, oldest %" PRIu64 " s%s\n",
                    lane_name((enum lane)lane), facts.waiting.messages, facts.waiting.bytes,
                    facts.oldest_age_s, outbox_is_holding(box->outbox, (enum lane)lane) ? ", held" : "");
    }
    for (int total = OUTBOX_ACCEPTED; total <= OUTBOX_DELIVERED; total++)
        text_printf(out, "%s %" PRIu64 "%s", outbox_total_name((enum outbox_total)total),
                    outbox_total(box->outbox, (enum outbox_total)total),
                    total < OUTBOX_DELIVERED ? ", " : "");
    text_printf(out, ", dropped %" PRIu64 "\nwebhooks waiting %" PRIu64 "%s\n", dropped(box->outbox),
                inbox_waiting(box->outbox),
                herald_is_paused(box->herald) ? " (the program cannot be reached)" : "");
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

void report_words(struct box *box, const struct branch_time *now, struct text *out)
{
    struct uplink_facts link;
    uint64_t messages = 0, oldest_age_s = 0;
    const char *why = NULL;

    if (!box->outbox) {
        text_puts(out, "not accepting: the store cannot be opened, which is tried each second");
        return;
    }
    uplink_facts(box->uplink, &link);
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct lane_facts facts = lane_facts(box, (enum lane)lane, now);

        messages += facts.waiting.messages;
        oldest_age_s = facts.oldest_age_s > oldest_age_s ? facts.oldest_age_s : oldest_age_s;
    }
    if (branch_is_ready(box->branch, &why))
        text_puts(out, "accepting");
    else
        text_printf(out, "not accepting: %s", why);
    text_printf(out, "; link %s; ", uplink_state_name(link.state));
    if (messages) {
        text_printf(out, "%" PRIu64 " wait, oldest ", messages);
        notify_age(out, oldest_age_s);
    } else {
        text_puts(out, "nothing waits");
    }
}

/* --- Metrics --- */

static void counter(struct text *out, const char *name, const char *help, uint64_t value)
{
    metrics_family(out, name, METRIC_COUNTER, help);
    metrics_sample(out, name, NULL, (double)value);
}

static void gauge(struct text *out, const char *name, const char *help, uint64_t value)
{
    metrics_family(out, name, METRIC_GAUGE, help);
    metrics_sample(out, name, NULL, (double)value);
}

static void metrics_totals(struct text *out, const struct outbox *o)
{
    static const struct {
        const char *name, *help;
    } families[OUTBOX_DROPPED_DAMAGED] = {
        [OUTBOX_ACCEPTED] = { "zajel_relay_accepted_total", "Messages promised to programs." },
        [OUTBOX_SYNCED] = { "zajel_relay_synced_total", "Messages that the gateway holds." },
        [OUTBOX_REFUSED] = { "zajel_relay_refused_total", "Messages that WhatsApp refused." },
        [OUTBOX_EXPIRED] = { "zajel_relay_expired_total", "Messages whose time was over." },
        [OUTBOX_WITHDRAWN] = { "zajel_relay_withdrawn_total", "Messages taken back." },
        [OUTBOX_UNKNOWN] = { "zajel_relay_unknown_total", "Messages of which WhatsApp never said." },
        [OUTBOX_RECEIVED] = { "zajel_relay_received_total", "Rows taken from the gateway." },
        [OUTBOX_DELIVERED] = { "zajel_relay_deliveries_total", "Webhooks that the program took." },
    };
    char label[64];

    for (int total = 0; total < OUTBOX_DROPPED_DAMAGED; total++)
        counter(out, families[total].name, families[total].help, outbox_total(o, (enum outbox_total)total));
    metrics_family(out, "zajel_relay_dropped_total", METRIC_COUNTER, "What was given up, by reason.");
    for (int total = OUTBOX_DROPPED_DAMAGED; total < OUTBOX_TOTALS; total++) {
        snprintf(label, sizeof label, "reason=\"%s\"", outbox_total_name((enum outbox_total)total));
        metrics_sample(out, "zajel_relay_dropped_total", label,
                       (double)outbox_total(o, (enum outbox_total)total));
    }
}

static void metrics_lanes(struct text *out, struct box *box, const struct branch_time *now)
{
    static const char *const names[] = { "zajel_relay_queue_messages", "zajel_relay_queue_bytes",
                                         "zajel_relay_queue_oldest_age_seconds" };
    static const char *const helps[] = { "Messages that wait.", "Their bytes on disk.",
                                         "Age of the first of them." };
    char label[32];

    for (int family = 0; family < 3; family++) {
        metrics_family(out, names[family], METRIC_GAUGE, helps[family]);
        for (int lane = 0; lane < LANE_COUNT; lane++) {
            struct lane_facts facts = lane_facts(box, (enum lane)lane, now);
            uint64_t values[] = { facts.waiting.messages, facts.waiting.bytes, facts.oldest_age_s };

            snprintf(label, sizeof label, "lane=\"%s\"", lane_name((enum lane)lane));
            metrics_sample(out, names[family], label, (double)values[family]);
        }
    }
}

static void metrics_link(struct text *out, const struct box *box)
{
    struct uplink_facts facts;

    uplink_facts(box->uplink, &facts);
    gauge(out, "zajel_relay_link_up", "1 while the gateway answers.", facts.state == UPLINK_UP);
    counter(out, "zajel_relay_link_connects_total", "Links that came up.", facts.connects);
    counter(out, "zajel_relay_link_sent_bytes_total", "Frame bytes sent.", facts.sent_bytes);
    counter(out, "zajel_relay_link_received_bytes_total", "Frame bytes received.", facts.received_bytes);
    metrics_family(out, "zajel_relay_link_rtt_seconds", METRIC_GAUGE,
                   "Least round trip seen lately; 0: unknown.");
    metrics_sample(out, "zajel_relay_link_rtt_seconds", NULL, (double)facts.rtt_ms / 1000);
    gauge(out, "zajel_relay_link_goodput_bytes_per_second", "0: unknown.", facts.goodput_bytes_per_s);
}

static void metrics_store(struct text *out, struct box *box)
{
    const char *why;

    gauge(out, "zajel_relay_ready", "1 while messages are accepted.", branch_is_ready(box->branch, &why));
    gauge(out, "zajel_relay_store_bytes", "Bytes used of relay.db.", outbox_used_bytes(box->outbox));
    gauge(out, "zajel_relay_store_quota_bytes", "Its quota.", box->options->rules.store_bytes_max);
    gauge(out, "zajel_relay_store_free_bytes", "Free on its file system.",
          file_free_bytes(box->options->state));
    gauge(out, "zajel_relay_store_quarantined_rows", "Damaged rows put aside.",
          outbox_quarantined(box->outbox));
    gauge(out, "zajel_relay_store_unreadable_rows", "Rows whose epoch key is missing.",
          outbox_unreadable(box->outbox));
    counter(out, "zajel_relay_store_reopened_total", "Times the store was closed and read again.",
            box->reopened);
    counter(out, "zajel_relay_turns_with_work_total", "Turns that wrote.", box_turns(box));
    counter(out, "zajel_relay_commits_total", "Commits of the store.", box_commits(box));
    counter(out, "zajel_relay_data_syncs_total", "Data syncs of the store.", box_syncs(box));
}

int report_metrics(struct box *box, const struct branch_time *now, struct text *out)
{
    metrics_totals(out, box->outbox);
    metrics_lanes(out, box, now);
    metrics_link(out, box);
    metrics_store(out, box);
    gauge(out, "zajel_relay_webhooks_waiting", "Webhooks the program has not taken.",
          inbox_waiting(box->outbox));
    counter(out, "zajel_relay_delivery_failures_total", "Attempts to deliver that failed.",
            herald_failures(box->herald));
    gauge(out, "zajel_relay_clock_trusted", "1 once a trusted time was heard.",
          outbox_is_trusted(box->outbox));
    metrics_process(out);
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}
