/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes: borrowed slices, a reader that cannot pass its end, and a writer into a caller's room. */
#ifndef ZAJEL_PROTOCOL_BYTES_H
#define ZAJEL_PROTOCOL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes; whoever hands one out says how long the loan lasts. {NULL, 0} is the empty slice. */
struct slice {
    const uint8_t *at;
    size_t length;
};

struct slice slice_of(const void *at, size_t length);
struct slice slice_text(const char *text); /* Without the final NUL; NULL gives the empty slice. */
bool slice_equal(struct slice a, struct slice b);
bool slice_is(struct slice a, const char *text);

/* A reader walks a slice. The first take past the end marks it as failed, every later take then gives zeros:
 * a parser may read a whole structure and ask once, at the end, whether it was there. */
struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

struct reader reader_of(struct slice bytes);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r); /* Big-endian, as all fixed integers here. */
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
/* LEB128: 7 bits a byte, low first, at most 10 bytes. Overlong forms (a needless last zero byte) fail. */
uint64_t reader_varint(struct reader *r);
struct slice reader_take(struct reader *r, uint64_t length);
struct slice reader_rest(struct reader *r); /* All that is left, and moves to the end. */
size_t reader_left(const struct reader *r);
bool reader_done(const struct reader *r); /* Nothing failed and nothing is left. */

/* A writer fills a room of the caller's. The first put past the end marks it as failed; later ones do
 * nothing. */
struct writer {
    uint8_t *at;
    size_t length;
    size_t room;
    bool failed;
};

#define VARINT_BYTES_MAX 10u

struct writer writer_of(void *at, size_t room);
void writer_u8(struct writer *w, uint8_t value);
void writer_u16(struct writer *w, uint16_t value);
void writer_u32(struct writer *w, uint32_t value);
void writer_u64(struct writer *w, uint64_t value);
void writer_varint(struct writer *w, uint64_t value);
void writer_bytes(struct writer *w, struct slice bytes);
struct slice writer_slice(const struct writer *w);

size_t varint_size(uint64_t value); /* 1 to 10 bytes. */
uint64_t zigzag(int64_t value);     /* Small magnitudes of either sign become small numbers. */
int64_t unzigzag(uint64_t value);

#endif
