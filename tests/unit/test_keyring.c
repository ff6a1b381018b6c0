/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sync/kit/file.h"
#include "sync/kit/keyring.h"
#include "sync/protocol/status.h"

static const char secret[] = "Habari za asubuhi, your code is 481920";

struct world {
    char folder[64]; /* Holds the ring's own folder "epochs". */
    char ring_folder[96];
    struct keyring *ring;
    epoch_id epochs[64]; /* Made here, to be removed. */
    size_t count;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    assert_int_equal(seal_start(), STATUS_OK);
    strcpy(w->folder, "/var/tmp/zajel-keyring-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->ring_folder, sizeof w->ring_folder, "%s/epochs", w->folder);
    assert_int_equal(keyring_open(&w->ring, w->ring_folder), STATUS_OK);
    *state = w;
    return 0;
}

static const char *key_path(const struct world *w, epoch_id epoch)
{
    static char path[160];

    snprintf(path, sizeof path, "%s/%016" PRIx64 ".key", w->ring_folder, epoch);
    return path;
}

static int teardown(void **state)
{
    struct world *w = *state;

    keyring_close(w->ring);
    for (size_t i = 0; i < w->count; i++)
        unlink(key_path(w, w->epochs[i]));
    assert_int_equal(rmdir(w->ring_folder), 0); /* Key files and nothing else lay there. */
    assert_int_equal(rmdir(w->folder), 0);
    free(w);
    return 0;
}

static epoch_id make(struct world *w, uint32_t index)
{
    epoch_id epoch = 0;

    assert_int_equal(keyring_make(w->ring, index, &epoch), STATUS_OK);
    assert_true(epoch != 0);
    w->epochs[w->count++] = epoch;
    return epoch;
}

static void reopen(struct world *w)
{
    keyring_close(w->ring);
    assert_int_equal(keyring_open(&w->ring, w->ring_folder), STATUS_OK);
}

static struct row_place place_of(uint32_t index, uint64_t seq)
{
    return (struct row_place){ .index = index, .table = ROW_OUTBOX, .lane = 2, .seq = seq };
}

/* Seals the secret into out; returns the row. */
static struct slice sealed(struct world *w, struct row_place place, const char *aad, uint8_t out[128])
{
    size_t length = 0;

    assert_int_equal(row_seal(w->ring, &place, slice_text(aad), slice_text(secret), out, &length), STATUS_OK);
    assert_true(length <= strlen(secret) + ROW_OVERHEAD_MAX);
    return slice_of(out, length);
}

static int open_row(struct world *w, struct row_place place, const char *aad, struct slice row)
{
    uint8_t out[128];
    size_t length = 0;
    int status;

    place.index = 0; /* It is the row that says. */
    status = row_unseal(w->ring, place, slice_text(aad), row, out, &length);
    if (status == STATUS_OK)
        assert_true(slice_is(slice_of(out, length), secret));
    return status;
}

static void a_key_is_a_private_file_of_32_bytes(void **state)
{
    struct world *w = *state;
    epoch_id epoch = make(w, 1);
    struct stat found;

    assert_int_equal(stat(key_path(w, epoch), &found), 0);
    assert_int_equal(found.st_size, SEAL_KEY_BYTES);
    assert_int_equal(found.st_mode & 07777, 0600);
    assert_int_equal(stat(w->ring_folder, &found), 0);
    assert_int_equal(found.st_mode & 07777, 0700);
    assert_true(make(w, 2) != epoch);
}

static void a_row_opens_after_a_restart(void **state)
{
    struct world *w = *state;
    uint8_t out[128];
    epoch_id epoch = make(w, 7);
    struct slice row = sealed(w, place_of(7, 1), "clear", out);

    assert_null(memmem(row.at, row.length, "481920", 6));
    assert_int_equal(row.length, strlen(secret) + 1 + SEAL_TAG_BYTES);
    reopen(w);
    assert_int_equal(open_row(w, place_of(7, 1), "clear", row), STATUS_CORRUPT); /* Nothing is bound yet. */
    assert_int_equal(keyring_bind(w->ring, 7, epoch), STATUS_OK);
    assert_int_equal(open_row(w, place_of(7, 1), "clear", row), STATUS_OK);
}

static void an_altered_row_is_found_wherever_it_is_altered(void **state)
{
    struct world *w = *state;
    uint8_t out[128];
    struct slice row;

    make(w, 300);
    row = sealed(w, place_of(300, 9), "clear", out);
    for (size_t bit = 0; bit < 8 * row.length; bit++) {
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(open_row(w, place_of(300, 9), "clear", row), STATUS_CORRUPT);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(open_row(w, place_of(300, 9), "clear", row), STATUS_OK);
    for (size_t length = 0; length < row.length; length++)
        assert_int_equal(open_row(w, place_of(300, 9), "clear", slice_of(row.at, length)), STATUS_CORRUPT);
}

static void a_row_opens_only_in_its_place(void **state)
{
    struct world *w = *state;
    struct row_place place = place_of(1, 9), other = place;
    uint8_t out[128];
    struct slice row;

    make(w, 1);
    row = sealed(w, place, "clear", out);
    other.seq = 10;
    assert_int_equal(open_row(w, other, "clear", row), STATUS_CORRUPT);
    other = place;
    other.lane = 3;
    assert_int_equal(open_row(w, other, "clear", row), STATUS_CORRUPT);
    other = place;
    other.table = ROW_HISTORY;
    assert_int_equal(open_row(w, other, "clear", row), STATUS_CORRUPT);
    assert_int_equal(open_row(w, place, "clean", row), STATUS_CORRUPT);
    assert_int_equal(open_row(w, place, "", row), STATUS_CORRUPT);
    assert_int_equal(open_row(w, place, "clear", row), STATUS_OK);
}

static void a_missing_key_is_told_from_damage(void **state)
{
    struct world *w = *state;
    uint8_t out[128];
    epoch_id epoch = make(w, 1);
    struct row_place unknown = place_of(2, 1);
    struct slice row = sealed(w, place_of(1, 1), "", out);
    size_t length;

    assert_int_equal(row_seal(w->ring, &unknown, slice_text(""), slice_text("x"), out + 64, &length),
                     STATUS_UNAVAILABLE);
    reopen(w);
    assert_int_equal(keyring_bind(w->ring, 1, epoch), STATUS_OK);
    assert_int_equal(truncate(key_path(w, epoch), 31), 0);
    assert_int_equal(open_row(w, place_of(1, 1), "", row), STATUS_UNAVAILABLE);
    assert_int_equal(unlink(key_path(w, epoch)), 0);
    assert_int_equal(open_row(w, place_of(1, 1), "", row), STATUS_UNAVAILABLE);
}

static void a_dropped_epoch_is_gone_for_good(void **state)
{
    struct world *w = *state;
    uint8_t out[128], kept_out[128];
    epoch_id epoch = make(w, 1);
    struct slice row, kept;

    make(w, 2);
    row = sealed(w, place_of(1, 1), "", out);
    kept = sealed(w, place_of(2, 1), "", kept_out);
    assert_int_equal(keyring_drop(w->ring, 1), STATUS_OK);
    assert_int_not_equal(access(key_path(w, epoch), F_OK), 0);
    assert_int_equal(open_row(w, place_of(1, 1), "", row), STATUS_CORRUPT);
    assert_int_equal(open_row(w, place_of(2, 1), "", kept), STATUS_OK);
    assert_int_equal(keyring_drop(w->ring, 1), STATUS_END);
}

static void an_index_has_one_name(void **state)
{
    struct world *w = *state;

    assert_int_equal(keyring_bind(w->ring, 1, 5), STATUS_OK);
    assert_int_equal(keyring_bind(w->ring, 1, 5), STATUS_OK);
    assert_int_equal(keyring_bind(w->ring, 1, 6), STATUS_CONFLICT);
    assert_int_equal(keyring_bind(w->ring, 0, 6), STATUS_INVALID);
    assert_int_equal(keyring_bind(w->ring, 65536, 6), STATUS_INVALID);
    assert_int_equal(keyring_bind(w->ring, 2, 0), STATUS_INVALID);
}

static void many_epochs_share_a_few_open_keys(void **state)
{
    struct world *w = *state;
    static uint8_t out[60][128];
    struct slice rows[60];

    /* More than the library has slots for. */
    for (uint32_t i = 0; i < 60; i++) {
        make(w, i + 1);
        rows[i] = sealed(w, place_of(i + 1, 1), "", out[i]);
    }
    for (int round = 0; round < 3; round++)
        for (uint32_t i = 0; i < 60; i++)
            assert_int_equal(open_row(w, place_of(i + 1, 1), "", rows[i]), STATUS_OK);
}

static void an_empty_row_and_a_long_aad_are_fine(void **state)
{
    struct world *w = *state;
    struct row_place place = place_of(65535, UINT64_MAX);
    static char aad[2000];
    uint8_t out[ROW_OVERHEAD_MAX], opened[ROW_OVERHEAD_MAX];
    size_t length = 0, opened_length = 1;

    memset(aad, 'a', sizeof aad - 1);
    make(w, 65535);
    assert_int_equal(row_seal(w->ring, &place, slice_text(aad), (struct slice){ NULL, 0 }, out, &length),
                     STATUS_OK);
    assert_int_equal(length, ROW_OVERHEAD_MAX);
    assert_int_equal(
        row_unseal(w->ring, place, slice_text(aad), slice_of(out, length), opened, &opened_length),
        STATUS_OK);
    assert_int_equal(opened_length, 0);
    aad[1998] = 'b';
    assert_int_equal(
        row_unseal(w->ring, place, slice_text(aad), slice_of(out, length), opened, &opened_length),
        STATUS_CORRUPT);
}

/* Rows of every release lie on cards in the field: this file never changes. */
static void the_envelope_is_frozen(void **state)
{
    struct world *w = *state;
    const epoch_id epoch = 0x0102030405060708;
    struct row_place place = { .index = 300, .table = ROW_DELIVERY, .lane = 4, .seq = 0x1122334455667788 };
    struct text golden = { 0 };
    uint8_t key[SEAL_KEY_BYTES], out[128];
    struct slice row;

    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    w->epochs[w->count++] = epoch;
    assert_int_equal(file_write(key_path(w, epoch), slice_of(key, sizeof key), 0600), STATUS_OK);
    assert_int_equal(keyring_bind(w->ring, place.index, epoch), STATUS_OK);
    row = sealed(w, place, "clear columns", out);
    assert_int_equal(file_read("tests/fixtures/row_envelope.bin", 1000, &golden), STATUS_OK);
    assert_int_equal(row.length, golden.length);
    assert_memory_equal(row.at, golden.at, golden.length);
    assert_int_equal(open_row(w, place, "clear columns", text_slice(&golden)), STATUS_OK);
    text_free(&golden);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_key_is_a_private_file_of_32_bytes),
        STORY(a_row_opens_after_a_restart),
        STORY(an_altered_row_is_found_wherever_it_is_altered),
        STORY(a_row_opens_only_in_its_place),
        STORY(a_missing_key_is_told_from_damage),
        STORY(a_dropped_epoch_is_gone_for_good),
        STORY(an_index_has_one_name),
        STORY(many_epochs_share_a_few_open_keys),
        STORY(an_empty_row_and_a_long_aad_are_fine),
        STORY(the_envelope_is_frozen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
