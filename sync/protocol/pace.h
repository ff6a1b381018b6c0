/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the link is: the least round trip and the best goodput seen lately, and the window and frame size
 * they give. */
#ifndef ZAJEL_PROTOCOL_PACE_H
#define ZAJEL_PROTOCOL_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACE_FRAME_BYTES_LEAST 512u  /* Below this the record heads and TCP's own dominate. */
#define PACE_FRAME_BYTES_MOST 16384u /* TLS's record: one frame is never cut in two by it. */
#define PACE_FRAME_BYTES_FIRST \
    2048u /* A quarter second of a 64 kbit/s link, before anything was measured. \
           */

/* The best of two turning buckets: a filter that forgets after one to two spans. */
struct pace_best {
    uint64_t now, before, since_ms;
};

struct pace {
    struct pace_best rtt_ms;  /* Least; 0 unknown. */
    struct pace_best goodput; /* Most, bytes a second; 0 unknown. */
    uint64_t delivered_bytes; /* Acked so far. */
};

/* What a sent frame must remember to give a sample when it is acked. */
struct pace_sample {
    uint64_t sent_ms;
    uint64_t delivered_bytes; /* pace.delivered_bytes at that time. */
    uint64_t bytes;
    bool starved; /* There was no more to send then: the rate says little of the link. */
};

struct pace_sample pace_sent(const struct pace *p, uint64_t bytes, bool starved, uint64_t now_ms);
void pace_acked(struct pace *p, const struct pace_sample *sample, uint64_t now_ms);
void pace_round_trip(struct pace *p, uint64_t rtt_ms, uint64_t now_ms);

uint64_t pace_rtt_ms(const struct pace *p);              /* 0 unknown */
uint64_t pace_goodput_bytes_per_s(const struct pace *p); /* 0 unknown */
/* About a second of goodput. */
size_t pace_frame_bytes(const struct pace *p);
/* How many bytes may be unacked before another frame is begun: min RTT x goodput + one frame (design section
 * 6). */
uint64_t pace_window_bytes(const struct pace *p);

#endif
