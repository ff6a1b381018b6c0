/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "sync/kit/crowd.h"

#define PER_ADDRESS 2u

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static const struct sockaddr *from(const char *text)
{
    static union address a;

    a = (union address){ 0 };
    if (inet_pton(AF_INET, text, &a.four.sin_addr) == 1) {
        a.any.sa_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &a.six.sin6_addr), 1);
        a.any.sa_family = AF_INET6;
    }
    return &a.any;
}

static void admits_so_many_of_one_address_and_others_beside_them(void **state)
{
    struct crowd c;
    struct crowd_member m[3];

    (void)state;
    crowd_init(&c, PER_ADDRESS);
    crowd_join(&c, &m[0], from("192.0.2.1"), 0);
    assert_true(crowd_admits(&c, from("192.0.2.1")));
    crowd_join(&c, &m[1], from("192.0.2.1"), 0);
    assert_false(crowd_admits(&c, from("192.0.2.1")));
    assert_false(crowd_admits(&c, from("::ffff:192.0.2.1")));
    assert_true(crowd_admits(&c, from("192.0.2.2")));
    crowd_leave(&c, &m[0]);
    assert_true(crowd_admits(&c, from("192.0.2.1")));
    crowd_init(&c, 0);
    for (size_t i = 0; i < 3; i++)
        crowd_join(&c, &m[i], from("192.0.2.1"), 0);
    assert_true(crowd_admits(&c, from("192.0.2.1")));
}

static void takes_a_network_of_ipv6_for_one_address(void **state)
{
    struct crowd c;
    struct crowd_member m[2];

    (void)state;
    crowd_init(&c, PER_ADDRESS);
    crowd_join(&c, &m[0], from("2001:db8::1"), 0);
    crowd_join(&c, &m[1], from("2001:db8::2:3"), 0);
    assert_false(crowd_admits(&c, from("2001:db8::ffff:1:2")));
    assert_true(crowd_admits(&c, from("2001:db8:0:1::1")));
}

static void never_has_enough_of_its_own_machine(void **state)
{
    static const char *const own[] = { "127.0.0.1", "::1", "::ffff:127.0.0.1" };
    struct crowd c;
    struct crowd_member m[9];

    (void)state;
    crowd_init(&c, PER_ADDRESS);
    for (size_t i = 0; i < 9; i++)
        crowd_join(&c, &m[i], from(own[i % 3]), 0);
    for (size_t i = 0; i < 3; i++)
        assert_true(crowd_admits(&c, from(own[i])));
    assert_true(crowd_admits(&c, NULL));
    assert_int_equal(c.count, 9);
}

static struct crowd_member *stays;

static bool all_but_one_may_go(const struct crowd_member *m)
{
    return m != stays;
}

static void names_the_one_that_has_kept_us_waiting_longest(void **state)
{
    struct crowd c;
    struct crowd_member m[3];

    (void)state;
    crowd_init(&c, 0);
    assert_null(crowd_oldest(&c, 1000, 0, NULL));
    for (size_t i = 0; i < 3; i++)
        crowd_join(&c, &m[i], from("192.0.2.1"), 100 * i);
    assert_ptr_equal(crowd_oldest(&c, 300, 300, NULL), &m[0]);
    assert_null(crowd_oldest(&c, 299, 300, NULL));
    stays = &m[0];
    assert_null(crowd_oldest(&c, 399, 300, all_but_one_may_go));
    assert_ptr_equal(crowd_oldest(&c, 400, 300, all_but_one_may_go), &m[1]);
    crowd_renew(&c, &m[0], 300);
    assert_ptr_equal(crowd_oldest(&c, 1000, 0, NULL), &m[1]);
    crowd_leave(&c, &m[1]);
    crowd_leave(&c, &m[2]);
    assert_ptr_equal(crowd_oldest(&c, 1000, 0, NULL), &m[0]);
    assert_int_equal(c.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(admits_so_many_of_one_address_and_others_beside_them),
        cmocka_unit_test(takes_a_network_of_ipv6_for_one_address),
        cmocka_unit_test(never_has_enough_of_its_own_machine),
        cmocka_unit_test(names_the_one_that_has_kept_us_waiting_longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
