/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/pace.h"

/* Round trips change with the way taken, goodput with the cell's load: old samples lose their say after these
 * spans. */
#define RTT_SPAN_MS 60000u
#define GOODPUT_SPAN_MS 10000u

static void turn(struct pace_best *b, uint64_t span_ms, uint64_t now_ms)
{
    if (now_ms - b->since_ms < span_ms)
        return;
    b->before = b->now;
    b->now = 0;
    b->since_ms = now_ms;
}

struct pace_sample pace_sent(const struct pace *p, uint64_t bytes, bool starved, uint64_t now_ms)
{
    return (struct pace_sample){
        .sent_ms = now_ms, .delivered_bytes = p->delivered_bytes, .bytes = bytes, .starved = starved
    };
}

void pace_round_trip(struct pace *p, uint64_t rtt_ms, uint64_t now_ms)
{
    uint64_t least = rtt_ms ? rtt_ms : 1; /* 0 means unknown. */

    turn(&p->rtt_ms, RTT_SPAN_MS, now_ms);
    if (!p->rtt_ms.now || least < p->rtt_ms.now)
        p->rtt_ms.now = least;
}

void pace_acked(struct pace *p, const struct pace_sample *sample, uint64_t now_ms)
{
    uint64_t took_ms = now_ms > sample->sent_ms ? now_ms - sample->sent_ms : 1;
    uint64_t rate;

    p->delivered_bytes += sample->bytes;
    rate = (p->delivered_bytes - sample->delivered_bytes) * 1000 / took_ms;
    pace_round_trip(p, took_ms, now_ms);
    /* A starved sample is a lower bound only: it may raise the estimate but not push better ones out. */
    if (sample->starved && rate <= pace_goodput_bytes_per_s(p))
        return;
    turn(&p->goodput, GOODPUT_SPAN_MS, now_ms);
    if (rate > p->goodput.now)
        p->goodput.now = rate;
}

uint64_t pace_rtt_ms(const struct pace *p)
{
    if (!p->rtt_ms.now || !p->rtt_ms.before)
        return p->rtt_ms.now + p->rtt_ms.before;
    return p->rtt_ms.now < p->rtt_ms.before ? p->rtt_ms.now : p->rtt_ms.before;
}

uint64_t pace_goodput_bytes_per_s(const struct pace *p)
{
    return p->goodput.now > p->goodput.before ? p->goodput.now : p->goodput.before;
}

size_t pace_frame_bytes(const struct pace *p)
{
    uint64_t goodput = pace_goodput_bytes_per_s(p);

    if (!goodput)
        return PACE_FRAME_BYTES_FIRST;
    if (goodput < PACE_FRAME_BYTES_LEAST)
        return PACE_FRAME_BYTES_LEAST;
    return goodput < PACE_FRAME_BYTES_MOST ? (size_t)goodput : PACE_FRAME_BYTES_MOST;
}

uint64_t pace_window_bytes(const struct pace *p)
{
    return pace_rtt_ms(p) * pace_goodput_bytes_per_s(p) / 1000 + pace_frame_bytes(p);
}
