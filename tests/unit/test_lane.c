/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sync/protocol/lane.h"
#include "sync/protocol/status.h"

static void reads_back_the_name_of_every_lane(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        enum lane lane = LANE_COUNT;

        assert_int_equal(lane_parse(slice_text(lane_name((enum lane)i)), &lane), STATUS_OK);
        assert_int_equal(lane, i);
    }
}

static void refuses_names_of_no_lane(void **state)
{
    static const char *const names[] = { "", "Urgent", "urgent ", "bul", "bulky" };
    enum lane lane = LANE_CHAT;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(lane_parse(slice_text(names[i]), &lane), STATUS_INVALID);
    assert_int_equal(lane, LANE_CHAT);
}

static void keeps_the_deadlines_and_weights_of_the_design(void **state)
{
    static const struct {
        uint32_t ttl_s, weight;
    } lanes[LANE_COUNT] = { { 300, 0 }, { 86400, 8 }, { 86400, 4 }, { 604800, 2 }, { 259200, 1 } };

    (void)state;
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        assert_int_equal(lane_ttl_s((enum lane)i), lanes[i].ttl_s);
        assert_int_equal(lane_weight((enum lane)i), lanes[i].weight);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_back_the_name_of_every_lane),
        cmocka_unit_test(refuses_names_of_no_lane),
        cmocka_unit_test(keeps_the_deadlines_and_weights_of_the_design),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
