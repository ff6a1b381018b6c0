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

/* The logical clock (storage.md section 9): Unix ms as best known; never goes back; a new boot continues from
 * what was saved. Pure: the caller passes elapsed and wall time. */
struct logical_clock {
    uint64_t base_ms;    /* Logical time at ... */
    uint64_t elapsed_ms; /* ... this elapsed time. */
    bool trusted;        /* Some trusted source was heard in this boot. */
    int64_t offset_ms;   /* Trusted minus the machine's wall clock, when last heard. */
};

/* saved_ms: what was stored last (0 none), at saved_elapsed_ms of the boot saved_boot. wall_ms serves only as
 * a start when nothing is saved or the wall clock is ahead. */
void logical_clock_open(struct logical_clock *c, uint64_t saved_ms, uint64_t saved_elapsed_ms, bool same_boot,
                        uint64_t elapsed_ms, int64_t wall_ms);
uint64_t logical_clock_now(const struct logical_clock *c, uint64_t elapsed_ms);
/* A trusted Unix time was heard: forward only. */
void logical_clock_trust(struct logical_clock *c, uint64_t trusted_ms, uint64_t elapsed_ms, int64_t wall_ms);

#endif
