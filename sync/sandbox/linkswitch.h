/* SPDX-License-Identifier: Apache-2.0 */
/* The link switch: a TCP proxy between relay and gateway that can be a good link, a 2G one, or none.
 *
 * - up: bytes pass as they come.
 * - 2g: 64 kbit/s each way, shared by all connections, and 300 ms of delay each way.
 * - down: as a radio that lost its mast. Bytes stop, connections stay open and silent, new ones are taken and
 *   hear nothing. Once up again what is still open goes on where it stopped, and who waited is led through.
 *
 * Besides, for tests, something may be done to the connections that are open now; new ones are led through:
 *
 * - stall: their bytes stop for good, without a word.
 * - reset: both sides get a RST.
 * - half_close: the relay's side gets a FIN while its own bytes still pass.
 * - half_close_target: the gateway's side gets it.
 *
 * Of each connection and direction at most LINKSWITCH_BYTES_MAX (2G: LINKSWITCH_SLOW_BYTES_MAX) are held
 * here; then it is not read, and the sender waits as on a real link. The system's socket buffers come on top.
 */
#ifndef ZAJEL_SANDBOX_LINKSWITCH_H
#define ZAJEL_SANDBOX_LINKSWITCH_H

#include "sync/kit/loop.h"
#include "sync/kit/text.h"
#include "sync/sandbox/sandbox_settings.h"

#define LINKSWITCH_SLOW_BYTES_PER_S 8000u /* 64 kbit/s: GPRS on a fair day. */
#define LINKSWITCH_SLOW_DELAY_MS 300u     /* Each way: 600 ms there and back. */
#define LINKSWITCH_BYTES_MAX (256u << 10)
#define LINKSWITCH_SLOW_BYTES_MAX 16384u /* Two seconds of the slow link, as much as a mast would queue. */
#define LINKSWITCH_CONNECTIONS_MAX 256u  /* One relay has one or two; tests leave some behind. */

enum linkswitch_state { LINKSWITCH_UP, LINKSWITCH_2G, LINKSWITCH_DOWN };
enum linkswitch_blow {
    LINKSWITCH_STALL,
    LINKSWITCH_RESET,
    LINKSWITCH_HALF_CLOSE,
    LINKSWITCH_HALF_CLOSE_TARGET
};

struct linkswitch;

/* STATUS_BUSY: port taken; STATUS_INVALID: no such address; STATUS_IO */
int linkswitch_open(struct linkswitch **out, struct loop *l, const struct sandbox_address *listen,
                    const struct sandbox_address *target);
void linkswitch_close(struct linkswitch *s); /* NULL is fine. */
uint16_t linkswitch_port(const struct linkswitch *s);
void linkswitch_set(struct linkswitch *s, enum linkswitch_state state);
void linkswitch_strike(struct linkswitch *s, enum linkswitch_blow blow);

/* "up", "2g", "down"; "stall", "reset", "half_close", "half_close_target". */
const char *linkswitch_state_word(enum linkswitch_state state);
bool linkswitch_read_state(struct slice word, enum linkswitch_state *out);
bool linkswitch_read_blow(struct slice word, enum linkswitch_blow *out);
/* {"state","connections","accepted","up_bytes","down_bytes"}: up is from the relay to the gateway. */
void linkswitch_write(const struct linkswitch *s, struct text *out);

#endif
