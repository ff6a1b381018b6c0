/* SPDX-License-Identifier: Apache-2.0 */
/* Time on a box without a clock chip: elapsed time that is always right, wall time that may not be. */
#ifndef ZAJEL_KIT_CLOCK_H
#define ZAJEL_KIT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_BOOT_BYTES 16u

uint64_t clock_elapsed_ms(void); /* CLOCK_BOOTTIME: goes on in suspend, starts at boot, never jumps. */
int64_t clock_wall_ms(void);     /* CLOCK_REALTIME, Unix ms: for display, and for trust once trusted. */
bool clock_synchronised(void);   /* The kernel says that NTP holds the clock (adjtimex). */
void clock_boot_id(
    uint8_t out[CLOCK_BOOT_BYTES]); /* /proc/sys/kernel/random/boot_id; zeros when it cannot be read. */

/* The logical clock: Unix ms as best known. A new boot continues from what was saved. Until a trusted time
 * was heard for the first time in a store's life it is a guess, led by the machine's own clock, and may be
 * set back once, when the truth is heard; from then on it never goes back, and the machine's clock, which may
 * say 2050 after a power cut as well as 1970, no longer leads it. Pure: the caller passes elapsed and wall
 * time. */
struct logical_clock {
    uint64_t base_ms;    /* Logical time at ... */
    uint64_t elapsed_ms; /* ... this elapsed time. */
    bool guessed;        /* No trusted time was ever heard. Saved with the time. */
    bool trusted;        /* Some trusted source was heard in this boot. */
    int64_t offset_ms;   /* Trusted minus the machine's wall clock, when last heard. */
};

struct logical_clock_saved {
    uint64_t at_ms;      /* 0: nothing was saved yet. */
    uint64_t elapsed_ms; /* Of its boot. */
    bool same_boot;      /* That was this one. */
    bool guessed;
};
/* The wall clock serves only while all is guessed, and only when it is ahead. */
void logical_clock_open(struct logical_clock *c, const struct logical_clock_saved *saved, uint64_t elapsed_ms,
                        int64_t wall_ms);
uint64_t logical_clock_now(const struct logical_clock *c, uint64_t elapsed_ms);
/* A trusted Unix time was heard: forward only, but for the first. */
void logical_clock_trust(struct logical_clock *c, uint64_t trusted_ms, uint64_t elapsed_ms, int64_t wall_ms);

#endif
