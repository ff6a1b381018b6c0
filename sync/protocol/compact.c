/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/protocol/compact.h"

#include <assert.h>
#include <string.h>

#include "sync/protocol/message_id.h"
#include "sync/protocol/script.h"
#include "sync/protocol/status.h"
#include "sync/protocol/utf8.h"
#include "sync/protocol/vocabulary.h"

#define SHORT_MAX 31u
/* 19 digits always fit 64 bits, 20 not always. */
#define DIGITS_MAX 19u
/* Shorter runs of letters and digits are words more often than they are hex or base64, and words pack well.
 */
#define HEX_MIN 8u
#define BASE64_MIN 20u
/* Numbers of 4 bytes are times; longer ones are phones and ids, which come again within a value. */
#define TIME_WIDTH 4u
/* A difference of at most this many bytes is shorter than the time itself. */
#define NEAR_BYTES_MAX 3u

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char lower_hex[] = "0123456789abcdef";
static const char upper_hex[] = "0123456789ABCDEF";

/* Meta's wamids hold: 1c 18, the length of the phone's digits and they, 15 02 00, 11 (to) or 12 (from a
 * customer), 18, the length of an upper-case hex text and it, 00. The head byte of our form says which of the
 * variants. */
#define WAMID_PHONE_MASK 0x0fu
#define WAMID_PHONE_DIRECT \
    8u /* 8 to 15: a number of 1 to 8 bytes follows; 0 to 7: one of the last numbers. */
#define WAMID_INBOUND 0x10u
#define WAMID_LONG 0x20u
#define WAMID_HEX_SHORT 18u
#define WAMID_HEX_LONG 32u
#define WAMID_BINARY_MAX 96u

static size_t width_of(uint64_t number)
{
    size_t width = 1;

    for (; number > 0xff; number >>= 8)
        width++;
    return width;
}

static void write_number(struct writer *w, uint64_t number, size_t width)
{
    for (size_t i = width; i-- > 0;)
        writer_u8(w, (uint8_t)(number >> 8 * i));
}

/* A number of that many bytes; the reader fails when fewer would have done. */
static uint64_t read_number(struct reader *r, size_t width)
{
    uint64_t number = 0;

    for (size_t i = 0; i < width; i++)
        number = number << 8 | reader_u8(r);
    if (width_of(number) != width)
        r->failed = true;
    return number;
}

static int memory_find(const struct compact_memory *m, uint64_t number)
{
    for (unsigned i = 0; i < COMPACT_NUMBERS; i++) {
        if (m->numbers[i] == number)
            return (int)i;
    }
    return -1;
}

static void memory_add(struct compact_memory *m, uint64_t number)
{
    size_t width = width_of(number);

    if (width == TIME_WIDTH)
        m->time = number;
    if (width <= TIME_WIDTH || memory_find(m, number) >= 0)
        return;
    m->numbers[m->next] = number;
    m->next = (uint8_t)((m->next + 1u) % COMPACT_NUMBERS);
}

static bool all_digits(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    }
    return true;
}

/* The number whose decimal digits are the text, exactly. */
static bool parse_number(struct slice text, uint64_t *out)
{
    uint64_t number = 0;

    if (text.length == 0 || text.length > DIGITS_MAX || text.at[0] == '0' || !all_digits(text))
        return false;
    for (size_t i = 0; i < text.length; i++)
        number = number * 10 + (uint64_t)(text.at[i] - '0');
    *out = number;
    return true;
}

static void put_number_text(struct writer *w, uint64_t number)
{
    uint8_t digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number);
    writer_bytes(w, slice_of(digits + at, sizeof digits - at));
}

static bool write_digits(struct writer *w, struct compact_memory *m, struct slice text)
{
    uint64_t number;
    uint64_t near;
    size_t width;
    int again;

    if (text.length < 2 || !parse_number(text, &number))
        return false;
    width = width_of(number);
    again = width > TIME_WIDTH ? memory_find(m, number) : -1;
    near = zigzag((int64_t)(number - m->time));
    if (again >= 0) {
        writer_u8(w, (uint8_t)(COMPACT_AGAIN + again));
        return true;
    }
    if (width == TIME_WIDTH && m->time && varint_size(near) <= NEAR_BYTES_MAX) {
        writer_u8(w, COMPACT_NEAR);
        writer_varint(w, near);
    } else {
        writer_u8(w, (uint8_t)(COMPACT_DIGITS + width - 1));
        write_number(w, number, width);
    }
    memory_add(m, number);
    return true;
}

static bool write_nibbles(struct writer *w, struct slice text)
{
    if (text.length < 3 || text.length > COMPACT_TEXT_MAX || !all_digits(text))
        return false;
    writer_u8(w, COMPACT_NIBBLES);
    writer_varint(w, text.length);
    for (size_t i = 0; i < text.length; i += 2) {
        unsigned low = i + 1 < text.length ? text.at[i + 1] - (unsigned)'0' : 0;

        writer_u8(w, (uint8_t)((text.at[i] - (unsigned)'0') << 4 | low));
    }
    return true;
}

/* The value of a digit of the alphabet, or -1. */
static int digit_of(const char *alphabet, size_t size, uint8_t character)
{
    const char *found = memchr(alphabet, character, size);

    return found ? (int)(found - alphabet) : -1;
}

/* The bytes that a hex text of even length stands for, into out of half its length. */
static bool parse_hex(const char *alphabet, struct slice text, uint8_t *out)
{
    for (size_t i = 0; i < text.length; i++) {
        int digit = digit_of(alphabet, 16, text.at[i]);

        if (digit < 0)
            return false;
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | digit : digit << 4);
    }
    return true;
}

static void put_hex_text(struct writer *w, const char *alphabet, struct slice bytes)
{
    for (size_t i = 0; i < bytes.length; i++) {
        writer_u8(w, (uint8_t)alphabet[bytes.at[i] >> 4]);
        writer_u8(w, (uint8_t)alphabet[bytes.at[i] & 15]);
    }
}

static bool write_hex(struct writer *w, struct slice text)
{
    uint8_t bytes[COMPACT_TEXT_MAX / 2];

    if (text.length < HEX_MIN || text.length > COMPACT_TEXT_MAX || text.length % 2 != 0)
        return false;
    if (!parse_hex(lower_hex, text, bytes))
        return false;
    if (text.length == 32) {
        writer_u8(w, COMPACT_HEX_16);
    } else {
        writer_u8(w, COMPACT_HEX);
        writer_varint(w, text.length / 2);
    }
    writer_bytes(w, slice_of(bytes, text.length / 2));
    return true;
}

/* Canonical base64 with its padding. False for anything else, or more than room. */
static bool parse_base64(struct slice text, uint8_t *out, size_t room, size_t *length)
{
    size_t padding = 0;
    uint32_t bits = 0;
    unsigned held = 0;

    *length = 0;
    if (text.length == 0 || text.length % 4 != 0 || text.length / 4 * 3 > room)
        return false;
    while (padding < 2 && text.at[text.length - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < text.length - padding; i++) {
        int digit = digit_of(base64_alphabet, 64, text.at[i]);

        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[(*length)++] = (uint8_t)(bits >> held);
        }
    }
    return (bits & ((1u << held) - 1)) == 0;
}

static void put_base64_text(struct writer *w, struct slice bytes)
{
    for (size_t i = 0; i < bytes.length; i += 3) {
        size_t left = bytes.length - i;
        uint32_t bits = (uint32_t)bytes.at[i] << 16;

        if (left > 1)
            bits |= (uint32_t)bytes.at[i + 1] << 8;
        if (left > 2)
            bits |= bytes.at[i + 2];
        writer_u8(w, (uint8_t)base64_alphabet[bits >> 18]);
        writer_u8(w, (uint8_t)base64_alphabet[bits >> 12 & 63]);
        writer_u8(w, left > 1 ? (uint8_t)base64_alphabet[bits >> 6 & 63] : '=');
        writer_u8(w, left > 2 ? (uint8_t)base64_alphabet[bits & 63] : '=');
    }
}

static bool write_base64(struct writer *w, struct slice text)
{
    uint8_t bytes[COMPACT_TEXT_MAX];
    size_t length;

    if (text.length < BASE64_MIN || text.length > COMPACT_TEXT_MAX)
        return false;
    if (!parse_base64(text, bytes, sizeof bytes, &length))
        return false;
    writer_u8(w, COMPACT_BASE64);
    writer_varint(w, length);
    writer_bytes(w, slice_of(bytes, length));
    return true;
}

static const char wamid_prefix[] = "wamid.";
#define WAMID_PREFIX_LENGTH (sizeof wamid_prefix - 1)

struct wamid {
    uint64_t phone;
    bool inbound;
    struct slice hex; /* 18 or 32 characters. */
};

/* The parts of a wamid's binary when it has Meta's usual make and nothing more. */
static bool parse_wamid(struct slice binary, struct wamid *out)
{
    struct reader r = reader_of(binary);
    bool usual = reader_u16(&r) == 0x1c18;
    struct slice phone = reader_take(&r, reader_u8(&r));
    uint8_t direction;

    usual = usual && reader_u16(&r) == 0x1502 && reader_u8(&r) == 0;
    direction = reader_u8(&r);
    usual = usual && reader_u8(&r) == 0x18;
    out->hex = reader_take(&r, reader_u8(&r));
    usual = usual && reader_u8(&r) == 0;
    out->inbound = direction == 0x12;
    return usual && reader_done(&r) && (direction == 0x11 || direction == 0x12) &&
           parse_number(phone, &out->phone) &&
           (out->hex.length == WAMID_HEX_SHORT || out->hex.length == WAMID_HEX_LONG);
}

static bool write_usual_wamid(struct writer *w, struct compact_memory *m, struct slice binary)
{
    struct wamid wamid;
    uint8_t hex[WAMID_HEX_LONG / 2];
    unsigned head = 0;
    size_t width;
    int again;

    if (!parse_wamid(binary, &wamid) || !parse_hex(upper_hex, wamid.hex, hex))
        return false;
    width = width_of(wamid.phone);
    again = width > TIME_WIDTH ? memory_find(m, wamid.phone) : -1;
    head |= again >= 0 ? (unsigned)again : WAMID_PHONE_DIRECT + (unsigned)width - 1;
    head |= wamid.inbound ? WAMID_INBOUND : 0;
    head |= wamid.hex.length == WAMID_HEX_LONG ? WAMID_LONG : 0;
    writer_u8(w, COMPACT_WAMID);
    writer_u8(w, (uint8_t)head);
    if (again < 0) {
        write_number(w, wamid.phone, width);
        memory_add(m, wamid.phone);
    }
    writer_bytes(w, slice_of(hex, wamid.hex.length / 2));
    return true;
}

static bool write_wamid(struct writer *w, struct compact_memory *m, struct slice text)
{
    struct message_id id;
    uint8_t binary[WAMID_BINARY_MAX];
    size_t length;

    if (text.length <= WAMID_PREFIX_LENGTH || memcmp(text.at, wamid_prefix, WAMID_PREFIX_LENGTH) != 0)
        return false;
    if (message_id_parse(text, &id) == STATUS_OK) {
        writer_u8(w, COMPACT_MESSAGE_ID);
        writer_varint(w, id.branch);
        writer_u64(w, id.epoch);
        writer_u8(w, (uint8_t)id.lane);
        writer_varint(w, id.seq);
        return true;
    }
    text = slice_of(text.at + WAMID_PREFIX_LENGTH, text.length - WAMID_PREFIX_LENGTH);
    if (!parse_base64(text, binary, sizeof binary, &length))
        return false;
    if (write_usual_wamid(w, m, slice_of(binary, length)))
        return true;
    writer_u8(w, COMPACT_WAMID_OTHER);
    writer_varint(w, length);
    writer_bytes(w, slice_of(binary, length));
    return true;
}

static bool write_script(struct writer *w, struct compact_memory *m, struct slice text)
{
    struct script script;

    if (text.length > COMPACT_TEXT_MAX || !script_choose(text, &script))
        return false;
    if (script.block == 0) {
        writer_u8(w, COMPACT_WIDE);
    } else if (script.block == m->block) {
        writer_u8(w, COMPACT_SCRIPT_SAME);
    } else {
        writer_u8(w, COMPACT_SCRIPT);
        writer_u8(w, script.block);
        m->block = script.block;
    }
    writer_varint(w, script.length);
    script_write(w, &script, text);
    return true;
}

uint8_t compact_write(struct writer *w, struct compact_memory *memory, struct slice text)
{
    int word = vocabulary_find(VOCABULARY_VALUES, text);

    if (word >= 0)
        return (uint8_t)(COMPACT_WORD_ONE + word);
    word = vocabulary_find(VOCABULARY_MORE_VALUES, text);
    if (word >= 0) {
        writer_u8(w, COMPACT_WORD);
        writer_u8(w, (uint8_t)word);
        return 0;
    }
    if (write_digits(w, memory, text) || write_nibbles(w, text) || write_wamid(w, memory, text) ||
        write_hex(w, text) || write_base64(w, text) || write_script(w, memory, text))
        return 0;
    if (text.length <= SHORT_MAX) {
        writer_u8(w, (uint8_t)(COMPACT_SHORT + text.length));
    } else {
        writer_u8(w, COMPACT_STRING);
        writer_varint(w, text.length);
    }
    writer_bytes(w, text);
    return 0;
}

static void read_nibbles(struct reader *r, struct writer *w)
{
    uint64_t count = reader_varint(r);

    if (count > w->room)
        r->failed = true;
    for (uint64_t i = 0; i < count && !r->failed; i += 2) {
        uint8_t byte = reader_u8(r);

        if (byte >> 4 > 9 || (byte & 15) > 9 || (i + 1 == count && (byte & 15) != 0))
            r->failed = true;
        writer_u8(w, (uint8_t)('0' + (byte >> 4)));
        if (i + 1 < count)
            writer_u8(w, (uint8_t)('0' + (byte & 15)));
    }
}

static struct slice read_counted(struct reader *r)
{
    uint64_t length = reader_varint(r);

    if (length > reader_left(r))
        r->failed = true;
    return reader_take(r, r->failed ? 0 : (size_t)length);
}

static uint64_t read_again(struct reader *r, const struct compact_memory *m, unsigned index)
{
    if (m->numbers[index] == 0)
        r->failed = true;
    return m->numbers[index];
}

static uint64_t read_near(struct reader *r, struct compact_memory *m)
{
    uint64_t number = m->time + (uint64_t)unzigzag(reader_varint(r));

    if (m->time == 0 || width_of(number) != TIME_WIDTH)
        r->failed = true;
    else
        memory_add(m, number);
    return number;
}

static void read_wamid(struct reader *r, struct compact_memory *m, struct writer *w)
{
    uint8_t head = reader_u8(r);
    unsigned code = head & WAMID_PHONE_MASK;
    size_t hex_length = head & WAMID_LONG ? WAMID_HEX_LONG : WAMID_HEX_SHORT;
    uint8_t room[WAMID_BINARY_MAX];
    struct writer binary = writer_of(room, sizeof room);
    struct writer phone;
    uint8_t digits[20];
    uint64_t number;

    if (head & ~(WAMID_PHONE_MASK | WAMID_INBOUND | WAMID_LONG))
        r->failed = true;
    if (code < WAMID_PHONE_DIRECT) {
        number = read_again(r, m, code);
    } else {
        number = read_number(r, code - WAMID_PHONE_DIRECT + 1);
        memory_add(m, number);
    }
    phone = writer_of(digits, sizeof digits);
    put_number_text(&phone, number);
    writer_u16(&binary, 0x1c18);
    writer_u8(&binary, (uint8_t)phone.length);
    writer_bytes(&binary, writer_slice(&phone));
    writer_u16(&binary, 0x1502);
    writer_u8(&binary, 0);
    writer_u8(&binary, head & WAMID_INBOUND ? 0x12 : 0x11);
    writer_u8(&binary, 0x18);
    writer_u8(&binary, (uint8_t)hex_length);
    put_hex_text(&binary, upper_hex, reader_take(r, hex_length / 2));
    writer_u8(&binary, 0);
    writer_bytes(w, slice_text(wamid_prefix));
    put_base64_text(w, writer_slice(&binary));
}

static void read_message_id(struct reader *r, struct writer *w)
{
    uint64_t branch = reader_varint(r);
    struct message_id id = { .branch = (uint32_t)branch, .epoch = reader_u64(r) };
    uint8_t lane = reader_u8(r);
    char text[MESSAGE_ID_TEXT_MAX + 1];

    id.seq = reader_varint(r);
    if (branch > UINT32_MAX || lane >= LANE_COUNT) {
        r->failed = true;
        return;
    }
    id.lane = (enum lane)lane;
    writer_bytes(w, slice_of(text, message_id_format(&id, text)));
}

static void read_script(struct reader *r, struct compact_memory *m, uint8_t tag, struct writer *w)
{
    uint8_t block = 0;

    if (tag == COMPACT_SCRIPT)
        m->block = reader_u8(r);
    if (tag != COMPACT_WIDE) {
        block = m->block;
        if (block == 0)
            r->failed = true;
    }
    if (!script_read(read_counted(r), block, w))
        r->failed = true;
}

/* The forms whose text is made anew. */
static void read_made(struct reader *r, struct compact_memory *m, uint8_t tag, struct writer *w)
{
    switch (tag) {
    case COMPACT_NIBBLES: read_nibbles(r, w); break;
    case COMPACT_HEX: put_hex_text(w, lower_hex, read_counted(r)); break;
    case COMPACT_HEX_16: put_hex_text(w, lower_hex, reader_take(r, 16)); break;
    case COMPACT_BASE64: put_base64_text(w, read_counted(r)); break;
    case COMPACT_WAMID: read_wamid(r, m, w); break;
    case COMPACT_WAMID_OTHER:
        writer_bytes(w, slice_text(wamid_prefix));
        put_base64_text(w, read_counted(r));
        break;
    case COMPACT_MESSAGE_ID: read_message_id(r, w); break;
    case COMPACT_SCRIPT:
    case COMPACT_SCRIPT_SAME:
    case COMPACT_WIDE: read_script(r, m, tag, w); break;
    case COMPACT_NEAR: put_number_text(w, read_near(r, m)); break;
    default: r->failed = true;
    }
}

static void read_digits(struct reader *r, struct compact_memory *m, uint8_t tag, struct writer *w)
{
    uint64_t number;

    if (tag >= COMPACT_AGAIN) {
        number = read_again(r, m, tag - (unsigned)COMPACT_AGAIN);
    } else {
        number = read_number(r, tag - (unsigned)COMPACT_DIGITS + 1);
        memory_add(m, number);
    }
    put_number_text(w, number);
}

/* The forms whose text stands there already. */
static bool read_plain(struct reader *r, uint8_t tag, struct slice *out)
{
    if (tag >= COMPACT_WORD_ONE) {
        if (!vocabulary_word(VOCABULARY_VALUES, tag - (unsigned)COMPACT_WORD_ONE, out))
            r->failed = true;
        return true;
    }
    if (tag == COMPACT_WORD) {
        if (!vocabulary_word(VOCABULARY_MORE_VALUES, reader_u8(r), out))
            r->failed = true;
        return true;
    }
    if (tag != COMPACT_STRING && tag < COMPACT_SHORT)
        return false;
    *out = tag == COMPACT_STRING ? read_counted(r) : reader_take(r, tag - (unsigned)COMPACT_SHORT);
    if (!utf8_valid(*out))
        r->failed = true;
    return true;
}

int compact_read(struct reader *r, struct compact_memory *memory, uint8_t tag, char room[COMPACT_TEXT_MAX],
                 struct slice *out)
{
    struct writer w = writer_of(room, COMPACT_TEXT_MAX);

    if (!read_plain(r, tag, out)) {
        if ((tag >= COMPACT_DIGITS && tag < COMPACT_DIGITS + 8) ||
            (tag >= COMPACT_AGAIN && tag < COMPACT_AGAIN + (int)COMPACT_NUMBERS))
            read_digits(r, memory, tag, &w);
        else
            read_made(r, memory, tag, &w);
        *out = writer_slice(&w);
    }
    return r->failed || w.failed ? STATUS_PEER_MALFORMED : STATUS_OK;
}
