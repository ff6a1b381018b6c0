/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/gateway/heap.h"
#include "sync/gateway/ledger.h"
#include "sync/gateway/map.h"
#include "sync/kit/file.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define NOW_S 1800000000

struct world {
    char folder[64];
    struct ledger *ledger;
};

static void open_again(struct world *w)
{
    struct ledger_options options = { .folder = w->folder, .make = true };

    ledger_close(w->ledger);
    assert_int_equal(ledger_open(&w->ledger, &options), STATUS_OK);
}

static void commit(struct world *w)
{
    assert_int_equal(ledger_commit(w->ledger), STATUS_OK);
}

static int start(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    uint32_t number;

    strcpy(w->folder, "/var/tmp/zajel-ledger-XXXXXX");
    if (!mkdtemp(w->folder))
        return -1;
    open_again(w);
    assert_int_equal(ledger_branch_add(w->ledger, "nyeri-03", NOW_S, &number), STATUS_OK);
    assert_int_equal(number, 1);
    commit(w);
    *state = w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;
    char command[128];

    ledger_close(w->ledger);
    snprintf(command, sizeof command, "rm -rf '%s'", w->folder);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static struct ledger_job job(uint64_t seq)
{
    return (struct ledger_job){
        .id = { .branch = 1, .epoch = 0xfedcba9876543210u, .lane = LANE_ALERT, .seq = seq },
        .number = 106540352242922u,
        .customer = 0x8000000000000001u,
        .at_s = NOW_S,
        .deadline_s = NOW_S + 60
    };
}

static int take(struct world *w, uint64_t seq)
{
    struct ledger_job one = job(seq);
    char text[64];

    snprintf(text, sizeof text, "message %d", (int)seq);
    return ledger_take(w->ledger, &one, slice_text(text));
}

struct found {
    size_t count;
    struct ledger_job jobs[16];
    enum ledger_attempt attempts[16];
};

static void find(void *owner, const struct ledger_job *one, enum ledger_attempt attempt, int64_t since_s)
{
    struct found *f = owner;

    (void)since_s;
    f->jobs[f->count] = *one;
    f->attempts[f->count++] = attempt;
}

static struct found all(struct world *w)
{
    struct found f = { 0 };

    assert_int_equal(ledger_jobs(w->ledger, find, &f), STATUS_OK);
    return f;
}

static void takes_each_message_once_whatever_is_repeated(void **state)
{
    struct world *w = *state;
    uint64_t mark[LANE_COUNT];

    assert_int_equal(take(w, 1), STATUS_OK);
    assert_int_equal(take(w, 5), STATUS_OK); /* Numbers between were never sent. */
    assert_int_equal(take(w, 5), STATUS_CONFLICT);
    assert_int_equal(take(w, 3), STATUS_CONFLICT);
    commit(w);
    open_again(w);
    assert_int_equal(take(w, 5), STATUS_CONFLICT);
    assert_int_equal(all(w).count, 2);
    assert_int_equal(ledger_branch(w->ledger, 1)->received, 2);
    assert_int_equal(ledger_marks(w->ledger, 1, 0xfedcba9876543210u, mark), STATUS_OK);
    assert_int_equal(mark[LANE_ALERT], 5);
    assert_int_equal(mark[LANE_CHAT], 0);
}

static void never_forgets_a_mark(void **state)
{
    struct world *w = *state;
    struct ledger_job one = job(1);

    take(w, 1);
    ledger_job_end(w->ledger, &one.id);
    commit(w);
    open_again(w);
    assert_int_equal(all(w).count, 0);
    assert_int_equal(take(w, 1), STATUS_CONFLICT);
    assert_int_equal(ledger_branch(w->ledger, 1)->received, 1);
}

static void moves_no_mark_for_an_event_that_is_undone(void **state)
{
    struct world *w = *state;

    assert_int_equal(ledger_mark(w->ledger), STATUS_OK);
    take(w, 1);
    assert_int_equal(ledger_keep(w->ledger), STATUS_OK);
    assert_int_equal(ledger_mark(w->ledger), STATUS_OK);
    take(w, 2);
    ledger_undo(w->ledger);
    commit(w);
    assert_int_equal(ledger_branch(w->ledger, 1)->received, 1);
    assert_int_equal(take(w, 2), STATUS_OK);
}

static void gives_a_message_back_as_it_came_and_knows_its_attempt(void **state)
{
    struct world *w = *state;
    struct ledger_job one = job(1);
    struct text item = { 0 };
    struct found f;

    take(w, 1);
    take(w, 2);
    ledger_job_attempt(w->ledger, &one.id, LEDGER_SENDING, NOW_S);
    commit(w);
    open_again(w);
    f = all(w);
    assert_int_equal(f.count, 2);
    assert_int_equal(f.attempts[0], LEDGER_SENDING);
    assert_int_equal(f.attempts[1], LEDGER_WAITING);
    assert_true(message_id_equal(&f.jobs[0].id, &one.id));
    assert_true(f.jobs[0].customer == one.customer && f.jobs[0].number == one.number);
    assert_int_equal(f.jobs[0].deadline_s, one.deadline_s);
    assert_true(f.jobs[1].row > f.jobs[0].row);
    assert_int_equal(ledger_job_item(w->ledger, &f.jobs[1], &item), STATUS_OK);
    assert_true(slice_is(text_slice(&item), "message 2"));
    f.jobs[1].customer++; /* A clear column that was altered does not go unseen. */
    assert_int_equal(ledger_job_item(w->ledger, &f.jobs[1], &item), STATUS_CORRUPT);
    text_free(&item);
}

static void keeps_texts_and_numbers_out_of_the_file(void **state)
{
    struct world *w = *state;
    struct text file = { 0 };
    char path[96];

    take(w, 1);
    commit(w);
    ledger_close(w->ledger);
    w->ledger = NULL;
    snprintf(path, sizeof path, "%s/ledger.db", w->folder);
    assert_int_equal(file_read(path, 1 << 24, &file), STATUS_OK);
    assert_null(memmem(file.at, file.length, "message 1", 9));
    text_free(&file);
}

static void maps_ids_both_ways(void **state)
{
    struct world *w = *state;
    struct message_id ours = job(9).id, found;
    struct text meta = { 0 };

    assert_int_equal(ledger_id_put(w->ledger, &ours, slice_text("wamid.META")), STATUS_OK);
    assert_int_equal(ledger_id_put(w->ledger, &ours, slice_text("wamid.META")), STATUS_OK);
    commit(w);
    open_again(w);
    assert_int_equal(ledger_id_from_meta(w->ledger, slice_text("wamid.META"), &found), STATUS_OK);
    assert_true(message_id_equal(&found, &ours));
    assert_int_equal(ledger_id_to_meta(w->ledger, &ours, &meta), STATUS_OK);
    assert_string_equal(meta.at, "wamid.META");
    assert_int_equal(ledger_id_from_meta(w->ledger, slice_text("wamid.METB"), &found), STATUS_END);
    ours.seq++;
    assert_int_equal(ledger_id_to_meta(w->ledger, &ours, &meta), STATUS_END);
    text_free(&meta);
}

static uint64_t put_down(struct world *w, const char *text)
{
    struct message_id id;

    assert_int_equal(ledger_down_put(w->ledger, 1, LANE_CHAT, slice_text(text), &id), STATUS_OK);
    assert_true(id.epoch == ledger_epoch(w->ledger) && id.branch == 1);
    return id.seq;
}

static void offers_committed_rows_alone_and_in_order(void **state)
{
    struct world *w = *state;
    struct text item = { 0 };
    uint64_t seq;
    uint32_t branch;

    put_down(w, "one");
    put_down(w, "two");
    assert_int_equal(ledger_down_next(w->ledger, 1, LANE_CHAT, 0, &seq, &item), STATUS_END);
    commit(w);
    assert_true(ledger_down_touched(w->ledger, &branch));
    assert_int_equal(branch, 1);
    assert_false(ledger_down_touched(w->ledger, &branch));
    assert_int_equal(ledger_down_next(w->ledger, 1, LANE_CHAT, 0, &seq, &item), STATUS_OK);
    assert_string_equal(item.at, "one");
    assert_int_equal(ledger_down_next(w->ledger, 1, LANE_CHAT, seq, &seq, &item), STATUS_OK);
    assert_string_equal(item.at, "two");
    assert_int_equal(seq, 2);
    assert_int_equal(ledger_branch(w->ledger, 1)->down_messages[LANE_CHAT], 2);
    text_free(&item);
}

static void gives_no_number_of_the_way_down_twice(void **state)
{
    struct world *w = *state;

    put_down(w, "one");
    put_down(w, "two");
    commit(w);
    assert_int_equal(ledger_down_settle(w->ledger, 1, LANE_CHAT, 2), STATUS_OK);
    commit(w);
    open_again(w);
    assert_int_equal(ledger_branch(w->ledger, 1)->down_messages[LANE_CHAT], 0);
    assert_int_equal(put_down(w, "three"), 3);
    assert_int_equal(ledger_down_settle(w->ledger, 1, LANE_CHAT, 4), STATUS_INVALID);
}

static void begins_a_new_epoch_when_it_was_restored_from_a_backup(void **state)
{
    struct world *w = *state;
    epoch_id before = ledger_epoch(w->ledger);
    char command[400];

    put_down(w, "one");
    commit(w);
    ledger_close(w->ledger);
    w->ledger = NULL;
    snprintf(command, sizeof command, "cp %s/ledger.db %s/backup", w->folder, w->folder);
    assert_int_equal(system(command), 0);
    open_again(w);
    assert_true(ledger_epoch(w->ledger) == before);
    ledger_close(w->ledger);
    w->ledger = NULL;
    snprintf(command, sizeof command, "rm -f %s/ledger.db-wal && mv %s/backup %s/ledger.db", w->folder,
             w->folder, w->folder);
    assert_int_equal(system(command), 0);
    open_again(w);
    assert_true(ledger_epoch(w->ledger) != before);
    assert_int_equal(put_down(w, "two"), 2); /* Old rows stay readable beside the new. */
    commit(w);
}

static void sees_repeats_for_eight_days(void **state)
{
    struct world *w = *state;
    const int64_t day_s = 86400;

    assert_int_equal(ledger_seen(w->ledger, 77, NOW_S), STATUS_OK);
    assert_int_equal(ledger_seen(w->ledger, 77, NOW_S), STATUS_CONFLICT);
    assert_int_equal(ledger_seen(w->ledger, 78, NOW_S), STATUS_OK);
    commit(w);
    open_again(w);
    assert_int_equal(ledger_seen(w->ledger, 77, NOW_S + 8 * day_s), STATUS_CONFLICT);
    assert_int_equal(ledger_forget_seen(w->ledger, NOW_S + 8 * day_s, 100), STATUS_OK);
    assert_int_equal(ledger_seen(w->ledger, 78, NOW_S + 8 * day_s), STATUS_CONFLICT);
    assert_int_equal(ledger_forget_seen(w->ledger, NOW_S + 9 * day_s, 100), STATUS_OK);
    assert_int_equal(ledger_seen(w->ledger, 78, NOW_S), STATUS_OK);
    commit(w);
}

static void numbers_conversations_by_branch(void **state)
{
    struct world *w = *state;
    uint32_t second;
    uint64_t number;

    ledger_branch_add(w->ledger, "garissa-01", NOW_S, &second);
    ledger_conversation(w->ledger, 1, slice_text("a"), &number);
    assert_int_equal(number, 1);
    ledger_conversation(w->ledger, 1, slice_text("b"), &number);
    assert_int_equal(number, 2);
    ledger_conversation(w->ledger, second, slice_text("b"), &number);
    assert_int_equal(number, 1);
    commit(w);
    open_again(w);
    ledger_conversation(w->ledger, 1, slice_text("a"), &number);
    assert_int_equal(number, 1);
    ledger_conversation(w->ledger, 1, slice_text("c"), &number);
    assert_int_equal(number, 3);
    commit(w);
}

static void remembers_branches_and_counters(void **state)
{
    struct world *w = *state;
    uint8_t fingerprint[32] = { 1, 2, 3 };
    uint32_t number;
    uint32_t served;

    assert_int_equal(ledger_branch_add(w->ledger, "nyeri-03", NOW_S, &number), STATUS_CONFLICT);
    assert_int_equal(ledger_branch_add(w->ledger, "../nyeri", NOW_S, &number), STATUS_INVALID);
    assert_int_equal(ledger_branch_add(w->ledger, "", NOW_S, &number), STATUS_INVALID);
    ledger_branch_certify(w->ledger, 1, fingerprint, NOW_S + 5);
    ledger_branch_report(w->ledger, 1, 10, 20, 30, NOW_S);
    ledger_branch_revoke(w->ledger, 1);
    ledger_count(w->ledger, LEDGER_SUBMITTED, 3);
    ledger_served(w->ledger, 5, 1);
    commit(w);
    open_again(w);
    assert_true(ledger_branch_find(w->ledger, "nyeri-03")->revoked);
    assert_memory_equal(ledger_branch(w->ledger, 1)->fingerprint, fingerprint, sizeof fingerprint);
    assert_int_equal(ledger_branch(w->ledger, 1)->queue_oldest_s, 30);
    assert_int_equal(ledger_counter(w->ledger, LEDGER_SUBMITTED), 3);
    assert_int_equal(ledger_last_served(w->ledger, 5, &served), STATUS_OK);
    assert_int_equal(served, 1);
    assert_int_equal(ledger_last_served(w->ledger, 6, &served), STATUS_END);
}

static void commits_a_turn_with_one_sync(void **state)
{
    struct world *w = *state;
    uint64_t syncs = ledger_syncs(w->ledger), commits = ledger_commits(w->ledger);

    for (uint64_t seq = 1; seq <= 100; seq++) {
        for (int i = 0; i < 3; i++)
            take(w, seq * 3 + (uint64_t)i);
        put_down(w, "x");
        commit(w);
        ledger_tidy(w->ledger);
    }
    assert_int_equal(ledger_commits(w->ledger) - commits, 100);
    assert_true(ledger_syncs(w->ledger) - syncs <= 105);
}

/* --- What the rooms are made of --- */

static void heap_gives_the_least_first(void **state)
{
    struct heap h = { 0 };
    struct heap_node nodes[200] = { { 0 } };
    uint64_t key, last = 0, random = 1;

    (void)state;
    for (size_t i = 0; i < 200; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        nodes[i].owner = &nodes[i];
        assert_int_equal(heap_put(&h, &nodes[i], random >> 40), STATUS_OK);
    }
    for (size_t i = 0; i < 200; i += 3)
        heap_remove(&h, &nodes[i]);
    for (size_t i = 1; i < 200; i += 3)
        heap_put(&h, &nodes[i], nodes[i].key / 2);
    for (size_t left = h.count; left; left--) {
        struct heap_node *node = heap_first(&h, &key);

        assert_true(key >= last && key == node->key);
        last = key;
        heap_remove(&h, node);
    }
    assert_null(heap_first(&h, &key));
    heap_free(&h);
}

static void map_finds_what_shares_a_key_and_what_moved(void **state)
{
    struct map m = { 0 };
    int values[500];
    size_t walk;

    (void)state;
    for (int i = 0; i < 500; i++)
        assert_int_equal(map_put(&m, (uint64_t)(i % 250), &values[i]), STATUS_OK);
    for (int i = 0; i < 250; i += 2)
        map_remove(&m, (uint64_t)i, &values[i]);
    for (int i = 0; i < 250; i++) {
        size_t found = 0;
        void *value;

        walk = 0;
        while ((value = map_next(&m, (uint64_t)i, &walk)) != NULL) {
            assert_true(value == &values[i] || value == &values[i + 250]);
            found++;
        }
        assert_int_equal(found, i % 2 ? 2 : 1);
    }
    map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_each_message_once_whatever_is_repeated, start, end),
        cmocka_unit_test_setup_teardown(never_forgets_a_mark, start, end),
        cmocka_unit_test_setup_teardown(moves_no_mark_for_an_event_that_is_undone, start, end),
        cmocka_unit_test_setup_teardown(gives_a_message_back_as_it_came_and_knows_its_attempt, start, end),
        cmocka_unit_test_setup_teardown(keeps_texts_and_numbers_out_of_the_file, start, end),
        cmocka_unit_test_setup_teardown(maps_ids_both_ways, start, end),
        cmocka_unit_test_setup_teardown(offers_committed_rows_alone_and_in_order, start, end),
        cmocka_unit_test_setup_teardown(gives_no_number_of_the_way_down_twice, start, end),
        cmocka_unit_test_setup_teardown(begins_a_new_epoch_when_it_was_restored_from_a_backup, start, end),
        cmocka_unit_test_setup_teardown(sees_repeats_for_eight_days, start, end),
        cmocka_unit_test_setup_teardown(numbers_conversations_by_branch, start, end),
        cmocka_unit_test_setup_teardown(remembers_branches_and_counters, start, end),
        cmocka_unit_test_setup_teardown(commits_a_turn_with_one_sync, start, end),
        cmocka_unit_test(heap_gives_the_least_first),
        cmocka_unit_test(map_finds_what_shares_a_key_and_what_moved),
    };

    log_set_level(LOG_LEVEL_ERROR);
    if (seal_start() != STATUS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
