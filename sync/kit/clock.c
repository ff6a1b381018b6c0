/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/clock.h"

#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include "sync/kit/file.h"
#include "sync/protocol/status.h"

static int64_t clock_ms(clockid_t id)
{
    struct timespec now = { 0 };

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t clock_elapsed_ms(void)
{
    return (uint64_t)clock_ms(CLOCK_BOOTTIME);
}

int64_t clock_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

bool clock_synchronised(void)
{
    struct timex state = { .modes = 0 };

    return adjtimex(&state) >= 0 && !(state.status & STA_UNSYNC);
}

void clock_boot_id(uint8_t out[CLOCK_BOOT_BYTES])
{
    struct text uuid = { 0 };
    char hex[2 * CLOCK_BOOT_BYTES];
    size_t n = 0;

    memset(out, 0, CLOCK_BOOT_BYTES);
    if (file_read("/proc/sys/kernel/random/boot_id", 64, &uuid) == STATUS_OK) {
        for (size_t i = 0; i < uuid.length && n < sizeof hex; i++)
            if (uuid.at[i] != '-' && uuid.at[i] != '\n')
                hex[n++] = uuid.at[i];
        if (text_unhex(slice_of(hex, n), out, CLOCK_BOOT_BYTES) != STATUS_OK)
            memset(out, 0, CLOCK_BOOT_BYTES);
    }
    text_free(&uuid);
}

void logical_clock_open(struct logical_clock *c, const struct logical_clock_saved *saved, uint64_t elapsed_ms,
                        int64_t wall_ms)
{
    bool guessed = saved->at_ms == 0 || saved->guessed;
    uint64_t start_ms = saved->at_ms;

    if (saved->same_boot && elapsed_ms > saved->elapsed_ms)
        start_ms += elapsed_ms - saved->elapsed_ms;
    if (guessed && wall_ms > 0 && (uint64_t)wall_ms > start_ms)
        start_ms = (uint64_t)wall_ms;
    *c = (struct logical_clock){ .base_ms = start_ms, .elapsed_ms = elapsed_ms, .guessed = guessed };
}

uint64_t logical_clock_now(const struct logical_clock *c, uint64_t elapsed_ms)
{
    return elapsed_ms > c->elapsed_ms ? c->base_ms + (elapsed_ms - c->elapsed_ms) : c->base_ms;
}

void logical_clock_trust(struct logical_clock *c, uint64_t trusted_ms, uint64_t elapsed_ms, int64_t wall_ms)
{
    if (c->guessed || trusted_ms > logical_clock_now(c, elapsed_ms)) {
        c->base_ms = trusted_ms;
        c->elapsed_ms = elapsed_ms;
    }
    c->guessed = false;
    c->trusted = true;
    c->offset_ms = (int64_t)trusted_ms - wall_ms;
}
