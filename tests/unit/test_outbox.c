/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/relay_store.h"

#include <fcntl.h>
#include <sqlite3.h>

static void keeps_what_was_committed_through_a_kill(void **state)
{
    struct store s;
    struct outbox_place at = { .lane = LANE_CHAT };

    (void)state;
    store_start(&s);
    store_put(&s, LANE_CHAT, "one", "");
    store_put(&s, LANE_CHAT, "two", "");
    store_commit(&s);
    store_put(&s, LANE_CHAT, "never promised", "");
    store_restart(&s);
    assert_string_equal(store_next(&s, &at), "one");
    assert_string_equal(store_next(&s, &at), "two");
    assert_null(store_next(&s, &at));
    assert_int_equal(store_waiting(&s, LANE_CHAT), 2);
    assert_int_equal(outbox_total(s.outbox, OUTBOX_ACCEPTED), 2);
    store_end(&s);
}

static void numbers_from_one_in_each_epoch_and_reads_the_oldest_first(void **state)
{
    struct store s;
    struct outbox_place first, second, at = { .lane = LANE_ALERT };

    (void)state;
    store_start(&s);
    first = store_put(&s, LANE_ALERT, "before", "");
    store_commit(&s);
    store_restart(&s);
    second = store_put(&s, LANE_ALERT, "after", "");
    store_commit(&s);
    assert_int_equal(first.seq, 1);
    assert_int_equal(second.seq, 1);
    assert_true(first.epoch != second.epoch);
    assert_string_equal(store_next(&s, &at), "before");
    assert_string_equal(store_next(&s, &at), "after");
    assert_null(store_next(&s, &at));
    assert_true(outbox_place_compare(s.outbox, &first, &second) < 0);
    store_end(&s);
}

static void burns_the_number_of_an_event_undone(void **state)
{
    struct store s;
    struct outbox_place kept;

    (void)state;
    store_start(&s);
    assert_int_equal(outbox_mark(s.outbox), STATUS_OK);
    assert_int_equal(store_put(&s, LANE_CHAT, "undone", "").seq, 1);
    outbox_undo(s.outbox);
    assert_int_equal(store_waiting(&s, LANE_CHAT), 0);
    assert_int_equal(outbox_total(s.outbox, OUTBOX_ACCEPTED), 0);
    kept = store_put(&s, LANE_CHAT, "kept", "");
    store_commit(&s);
    assert_int_equal(kept.seq, 2);
    assert_int_equal(store_waiting(&s, LANE_CHAT), 1);
    store_end(&s);
}

static void offers_only_what_is_committed(void **state)
{
    struct store s;
    struct outbox_place at = { .lane = LANE_CHAT };

    (void)state;
    store_start(&s);
    store_put(&s, LANE_CHAT, "not yet on disk", "");
    assert_null(store_next(&s, &at));
    store_commit(&s);
    assert_non_null(store_next(&s, &at));
    store_end(&s);
}

/* Counters must be those of the rows after any kill: after many puts, some deletes, in several epochs. */
static void counts_right_after_kills(void **state)
{
    struct store s;
    struct outbox_place place = { .lane = LANE_BULK };
    uint64_t waiting = 0, bytes;

    (void)state;
    store_start(&s);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1300; i++) {
            place = store_put(&s, LANE_BULK, "{\"x\":1}", "");
            waiting++;
            if (i % 7 == 0) {
                assert_int_equal(outbox_row_delete(s.outbox, &place), STATUS_OK);
                waiting--;
            }
            if (i % 100 == 99)
                store_commit(&s);
        }
        store_commit(&s);
        bytes = outbox_waiting(s.outbox, LANE_BULK).bytes;
        store_restart(&s);
        assert_int_equal(store_waiting(&s, LANE_BULK), waiting);
        assert_int_equal(outbox_waiting(s.outbox, LANE_BULK).bytes, bytes);
        assert_int_equal(outbox_total(s.outbox, OUTBOX_ACCEPTED), (uint64_t)1300 * (uint64_t)(round + 1));
    }
    store_end(&s);
}

static void forgets_epochs_without_rows_and_their_keys(void **state)
{
    struct store s;
    struct outbox_place place;
    epoch_id first, epoch;
    char path[160];

    (void)state;
    store_start(&s);
    first = outbox_current_epoch(s.outbox);
    place = store_put(&s, LANE_CHAT, "one", "");
    store_commit(&s);
    snprintf(path, sizeof path, "%s/epochs/%016llx.key", s.folder, (unsigned long long)first);
    store_restart(&s);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(outbox_epoch(s.outbox, 0, &epoch), STATUS_OK);
    assert_true(epoch == first);
    assert_int_equal(outbox_row_delete(s.outbox, &place), STATUS_OK);
    store_commit(&s);
    store_restart(&s);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(outbox_epoch(s.outbox, 0, &epoch), STATUS_OK);
    assert_true(epoch == outbox_current_epoch(s.outbox));
    assert_int_equal(outbox_epoch(s.outbox, 1, &epoch), STATUS_END);
    assert_int_equal(outbox_total(s.outbox, OUTBOX_ACCEPTED), 1);
    store_end(&s);
}

/* Runs SQL on the file while nobody has it open. */
static void alter(const struct store *s, const char *sql)
{
    sqlite3 *db;
    char path[128];

    snprintf(path, sizeof path, "%s/relay.db", s->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void puts_a_damaged_row_aside_alone(void **state)
{
    struct store s;
    struct outbox_place at = { .lane = LANE_CHAT }, damaged;
    struct outbox_row row;

    (void)state;
    store_start(&s);
    store_put(&s, LANE_CHAT, "one", "");
    damaged = store_put(&s, LANE_CHAT, "two", "");
    store_put(&s, LANE_CHAT, "three", "");
    store_commit(&s);
    store_kill(&s);
    alter(&s, "UPDATE msg SET body = zeroblob(length(body)) WHERE seq = 2");
    store_open(&s);
    assert_string_equal(store_next(&s, &at), "one");
    assert_int_equal(outbox_row_next(s.outbox, LANE_CHAT, &at, s.now.elapsed_ms, &row), STATUS_CORRUPT);
    assert_int_equal(row.place.seq, damaged.seq);
    assert_int_equal(outbox_row_quarantine(s.outbox, &row.place), STATUS_OK);
    store_commit(&s);
    assert_string_equal(store_next(&s, &at), "three");
    store_restart(&s);
    assert_int_equal(outbox_quarantined(s.outbox), 1);
    assert_int_equal(outbox_total(s.outbox, OUTBOX_DROPPED_DAMAGED), 1);
    assert_true(outbox_row_is_quarantined(s.outbox, &damaged));
    assert_int_equal(store_waiting(&s, LANE_CHAT), 2);
    store_end(&s);
}

static void notices_altered_clear_columns(void **state)
{
    struct store s;
    struct outbox_place at = { .lane = LANE_CHAT };
    struct outbox_row row;

    (void)state;
    store_start(&s);
    store_put(&s, LANE_CHAT, "one", "");
    store_commit(&s);
    store_kill(&s);
    alter(&s, "UPDATE msg SET ttl = 999999");
    store_open(&s);
    assert_int_equal(outbox_row_next(s.outbox, LANE_CHAT, &at, s.now.elapsed_ms, &row), STATUS_CORRUPT);
    store_end(&s);
}

static void passes_over_rows_whose_key_is_missing(void **state)
{
    struct store s;
    struct outbox_place at = { .lane = LANE_CHAT }, old;
    char path[160];

    (void)state;
    store_start(&s);
    old = store_put(&s, LANE_CHAT, "old", "");
    store_commit(&s);
    snprintf(path, sizeof path, "%s/epochs/%016llx.key", s.folder, (unsigned long long)old.epoch);
    store_kill(&s);
    assert_int_equal(remove(path), 0);
    store_open(&s);
    store_put(&s, LANE_CHAT, "new", "");
    store_commit(&s);
    assert_string_equal(store_next(&s, &at), "new");
    assert_int_equal(outbox_unreadable(s.outbox), 1);
    assert_int_equal(outbox_quarantined(s.outbox), 0);
    store_end(&s);
}

static void overwrite(const struct store *s, off_t at, size_t length)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/relay.db", s->folder);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(pwrite(fd, "!", 1, at + (off_t)i), 1);
    close(fd);
}

static void starts_afresh_when_the_file_is_no_database(void **state)
{
    struct store s;

    (void)state;
    store_start(&s);
    store_put(&s, LANE_CHAT, "lost", "");
    store_commit(&s);
    store_close(&s);
    overwrite(&s, 0, 4096);
    log_set_level(LOG_LEVEL_ERROR + 1);
    store_open(&s);
    assert_int_equal(store_waiting(&s, LANE_CHAT), 0);
    store_put(&s, LANE_CHAT, "new", "");
    store_commit(&s);
    assert_int_equal(store_waiting(&s, LANE_CHAT), 1);
    store_end(&s);
}

static void salvages_what_can_be_read(void **state)
{
    struct store s;
    struct outbox_place at = { .lane = LANE_CHAT };
    char body[600], path[128];
    struct stat found;
    int there = 0;

    (void)state;
    store_start(&s);
    for (int i = 0; i < 1500; i++) {
        for (size_t c = 0; c < sizeof body - 1; c++)
            body[c] = (char)('a' + rand() % 26);
        body[sizeof body - 1] = '\0';
        store_put(&s, LANE_CHAT, body, "");
    }
    assert_int_equal(inbox_set_mark(s.outbox, 5, LANE_CHAT, 17), STATUS_OK);
    store_commit(&s);
    store_close(&s);
    snprintf(path, sizeof path, "%s/relay.db", s.folder);
    assert_int_equal(stat(path, &found), 0);
    assert_true(found.st_size > 100 * 4096);
    overwrite(&s, 60 * 4096, 2 * 4096);
    log_set_level(LOG_LEVEL_ERROR + 1);
    s.options.salvage = true;
    store_open(&s);
    s.options.salvage = false;
    while (store_next(&s, &at))
        there++;
    assert_true(there >= 1300 && there < 1500);
    assert_int_equal(store_waiting(&s, LANE_CHAT), (uint64_t)there);
    {
        uint64_t mark;

        assert_int_equal(inbox_mark(s.outbox, 5, LANE_CHAT, &mark), STATUS_OK);
        assert_int_equal(mark, 17);
    }
    store_end(&s);
}

static void holds_a_lane_from_a_message_on(void **state)
{
    struct store s;
    struct outbox_place one, two, three;

    (void)state;
    store_start(&s);
    one = store_put(&s, LANE_CHAT, "one", "");
    two = store_put(&s, LANE_CHAT, "two", "");
    store_commit(&s);
    assert_int_equal(outbox_hold(s.outbox, &two), STATUS_OK);
    store_commit(&s);
    store_restart(&s);
    three = store_put(&s, LANE_CHAT, "three", "");
    store_commit(&s);
    assert_false(outbox_is_held(s.outbox, &one));
    assert_true(outbox_is_held(s.outbox, &two));
    assert_true(outbox_is_held(s.outbox, &three));
    assert_int_equal(outbox_release(s.outbox, LANE_CHAT), STATUS_OK);
    assert_false(outbox_is_held(s.outbox, &two));
    assert_int_equal(outbox_release(s.outbox, LANE_CHAT), STATUS_END);
    store_end(&s);
}

static void knows_tokens_by_their_hash_until_they_are_revoked(void **state)
{
    struct store s;
    char text[TOKEN_TEXT_BYTES], other[TOKEN_TEXT_BYTES];
    struct slice name;
    unsigned number;

    (void)state;
    store_start(&s);
    assert_int_equal(outbox_token_add(s.outbox, slice_text("teller"), 1, text), STATUS_OK);
    assert_int_equal(outbox_token_add(s.outbox, slice_text("teller"), 1, other), STATUS_CONFLICT);
    assert_int_equal(outbox_token_add(s.outbox, slice_text("two words"), 1, other), STATUS_INVALID);
    store_commit(&s);
    store_restart(&s);
    assert_int_equal(outbox_token_check(s.outbox, slice_text(text), &number, &name), STATUS_OK);
    assert_true(slice_is(name, "teller"));
    assert_int_equal(outbox_token_check(s.outbox, slice_text("zj_wrong"), &number, &name), STATUS_DENIED);
    assert_int_equal(outbox_token_revoke(s.outbox, slice_text("teller")), STATUS_OK);
    store_commit(&s);
    assert_int_equal(outbox_token_check(s.outbox, slice_text(text), &number, &name), STATUS_DENIED);
    store_end(&s);
}

static void remembers_histories_for_thirty_days(void **state)
{
    struct store s;
    struct outbox_place place = { .lane = LANE_CHAT, .epoch = 99, .seq = 3 };
    uint64_t now_ms, day_ms = 86400000;
    struct history_entry entry;
    struct history_origin origin = { .accepted_ms = 5, .opaque = slice_text("mine") };
    struct history h;
    bool left;

    (void)state;
    store_start(&s);
    now_ms = outbox_now_ms(s.outbox, s.now.elapsed_ms);
    entry = (struct history_entry){ .state = HISTORY_SYNCED, .at_ms = now_ms };
    assert_int_equal(outbox_history_add(s.outbox, &place, &entry, &origin), STATUS_OK);
    entry = (struct history_entry){ .state = HISTORY_READ, .at_ms = now_ms + 1 };
    assert_int_equal(outbox_history_add(s.outbox, &place, &entry, NULL), STATUS_OK);
    entry = (struct history_entry){ .state = HISTORY_DELIVERED, .at_ms = now_ms + 2 };
    assert_int_equal(outbox_history_add(s.outbox, &place, &entry, NULL), STATUS_OK);
    store_commit(&s);
    store_restart(&s);
    assert_int_equal(outbox_history_find(s.outbox, &place, now_ms, &h), STATUS_OK);
    assert_int_equal(h.count, 3);
    assert_true(slice_is(h.opaque, "mine"));
    assert_int_equal(h.accepted_ms, 5);
    assert_int_equal(history_state_of(&h), HISTORY_READ);
    assert_int_equal(outbox_history_purge(s.outbox, now_ms + 29 * day_ms, 256, &left), STATUS_OK);
    assert_int_equal(outbox_history_find(s.outbox, &place, now_ms + 29 * day_ms, &h), STATUS_OK);
    assert_int_equal(outbox_history_purge(s.outbox, now_ms + 32 * day_ms, 256, &left), STATUS_OK);
    store_commit(&s);
    assert_int_equal(outbox_history_find(s.outbox, &place, now_ms, &h), STATUS_END);
    store_end(&s);
}

static void keeps_the_age_of_rows_when_the_clock_is_corrected(void **state)
{
    struct store s;
    struct outbox_place start = { .lane = LANE_CHAT };
    struct outbox_row row;

    (void)state;
    store_start(&s);
    store_put(&s, LANE_CHAT, "one", "");
    store_commit(&s);
    store_later(&s, 5000);
    assert_int_equal(
        outbox_trust(s.outbox, (uint64_t)s.now.wall_ms + 86400000, s.now.elapsed_ms, s.now.wall_ms),
        STATUS_OK);
    store_commit(&s);
    assert_int_equal(outbox_row_peek(s.outbox, LANE_CHAT, &start, s.now.elapsed_ms, &row), STATUS_OK);
    assert_int_equal(row.age_ms, 5000);
    assert_int_equal(row.at_ms, (uint64_t)WALL_MS + 86400000);
    store_end(&s);
}

static void judges_rows_of_an_earlier_boot_only_by_a_trusted_clock(void **state)
{
    struct store s;
    struct outbox_place start = { .lane = LANE_CHAT };
    struct outbox_row row;

    (void)state;
    store_start(&s);
    store_put(&s, LANE_CHAT, "one", "");
    store_commit(&s);
    store_kill(&s);
    memset(s.options.boot, 2, sizeof s.options.boot);
    s.now.elapsed_ms = 7000;
    s.now.wall_ms = 1000; /* No clock chip: it is 1970 again. */
    store_open(&s);
    assert_true(outbox_now_ms(s.outbox, s.now.elapsed_ms) >= (uint64_t)WALL_MS);
    assert_int_equal(outbox_row_peek(s.outbox, LANE_CHAT, &start, s.now.elapsed_ms, &row), STATUS_OK);
    assert_false(row.age_known);
    assert_int_equal(outbox_trust(s.outbox, (uint64_t)WALL_MS + 50000, s.now.elapsed_ms, s.now.wall_ms),
                     STATUS_OK);
    store_commit(&s);
    assert_int_equal(outbox_row_peek(s.outbox, LANE_CHAT, &start, s.now.elapsed_ms, &row), STATUS_OK);
    assert_true(row.age_known);
    assert_int_equal(row.age_ms, 50000);
    store_end(&s);
}

static int unlink_store(const struct store *s)
{
    char command[128];

    snprintf(command, sizeof command, "rm -f '%s'/relay.db*", s->folder);
    return system(command);
}

/* One message, then another boot with this clock on its wall and then the truth; its age as then judged. */
static uint64_t age_after_a_boot(struct store *s, int64_t wall_ms, uint64_t truth_ms)
{
    struct outbox_place start = { .lane = LANE_CHAT };
    struct outbox_row row;

    store_put(s, LANE_CHAT, "one", "");
    store_commit(s);
    store_kill(s);
    memset(s->options.boot, 2, sizeof s->options.boot);
    s->now.elapsed_ms = 7000;
    s->now.wall_ms = s->options.wall_ms = wall_ms;
    s->options.elapsed_ms = 7000;
    store_open(s);
    assert_int_equal(outbox_trust(s->outbox, truth_ms, s->now.elapsed_ms, wall_ms), STATUS_OK);
    store_commit(s);
    assert_int_equal(outbox_now_ms(s->outbox, s->now.elapsed_ms), truth_ms);
    assert_int_equal(outbox_row_peek(s->outbox, LANE_CHAT, &start, s->now.elapsed_ms, &row), STATUS_OK);
    assert_true(row.age_known);
    return row.age_ms;
}

static void lets_nothing_expire_by_a_wall_clock_in_2050(void **state)
{
    struct store s;

    (void)state;
    store_start(&s);
    assert_int_equal(outbox_trust(s.outbox, (uint64_t)WALL_MS, s.now.elapsed_ms, WALL_MS), STATUS_OK);
    store_commit(&s);
    assert_int_equal(age_after_a_boot(&s, 2524608000000, (uint64_t)WALL_MS + 50000), 50000);
    store_end(&s);
}

static void sets_a_guess_right_once_and_keeps_ages(void **state)
{
    struct store s;

    (void)state;
    /* Nobody told the time in its first boot; in the second the battery of the clock is empty. */
    store_start(&s);
    assert_int_equal(age_after_a_boot(&s, 2524608000000, (uint64_t)WALL_MS + 50000), 50000);
    store_kill(&s);
    store_open(&s); /* Right once, it stays right. */
    assert_true(outbox_now_ms(s.outbox, s.now.elapsed_ms) <= (uint64_t)WALL_MS + 50000);
    store_end(&s);
}

static void keeps_the_ages_of_a_box_that_began_in_1970(void **state)
{
    struct store s;
    uint64_t age_ms;

    (void)state;
    store_start(&s);
    store_kill(&s);
    assert_int_equal(unlink_store(&s), 0);
    s.now.wall_ms = 1000;
    store_open(&s);
    age_ms = age_after_a_boot(&s, 2000, (uint64_t)WALL_MS);
    assert_true(age_ms <= 10000);
    store_end(&s);
}

static void writes_no_text_in_the_clear(void **state)
{
    struct store s;
    char command[256];

    (void)state;
    store_start(&s);
    store_put(&s, LANE_CHAT, "{\"to\":\"254712345678\",\"text\":{\"body\":\"SecretWord\"}}", "OpaqueWord");
    assert_int_equal(
        inbox_put(s.outbox, 5, (uint64_t)WALL_MS, slice_text("{\"from\":\"254712345678\",\"SecretWord\":1}")),
        STATUS_OK);
    store_commit(&s);
    snprintf(command, sizeof command, "grep -aqE 'SecretWord|OpaqueWord|254712345678' '%s'/relay.db*",
             s.folder);
    assert_int_not_equal(system(command), 0);
    store_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_was_committed_through_a_kill),
        cmocka_unit_test(numbers_from_one_in_each_epoch_and_reads_the_oldest_first),
        cmocka_unit_test(burns_the_number_of_an_event_undone),
        cmocka_unit_test(offers_only_what_is_committed),
        cmocka_unit_test(counts_right_after_kills),
        cmocka_unit_test(forgets_epochs_without_rows_and_their_keys),
        cmocka_unit_test(puts_a_damaged_row_aside_alone),
        cmocka_unit_test(notices_altered_clear_columns),
        cmocka_unit_test(passes_over_rows_whose_key_is_missing),
        cmocka_unit_test(starts_afresh_when_the_file_is_no_database),
        cmocka_unit_test(salvages_what_can_be_read),
        cmocka_unit_test(holds_a_lane_from_a_message_on),
        cmocka_unit_test(knows_tokens_by_their_hash_until_they_are_revoked),
        cmocka_unit_test(remembers_histories_for_thirty_days),
        cmocka_unit_test(keeps_the_age_of_rows_when_the_clock_is_corrected),
        cmocka_unit_test(judges_rows_of_an_earlier_boot_only_by_a_trusted_clock),
        cmocka_unit_test(lets_nothing_expire_by_a_wall_clock_in_2050),
        cmocka_unit_test(sets_a_guess_right_once_and_keeps_ages),
        cmocka_unit_test(keeps_the_ages_of_a_box_that_began_in_1970),
        cmocka_unit_test(writes_no_text_in_the_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
