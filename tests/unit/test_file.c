/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sync/kit/file.h"
#include "sync/protocol/status.h"

static char folder[] = "/var/tmp/test_file.XXXXXX"; /* Made real at the start. */

/* A name in the folder; valid until the next but one call. */
static const char *in_folder(const char *name)
{
    static char names[2][128];
    static int turn;

    turn = !turn;
    snprintf(names[turn], sizeof names[turn], "%s/%s", folder, name);
    return names[turn];
}

static void check_holds(const char *name, const char *expected)
{
    struct text t = { 0 };

    assert_int_equal(file_read(in_folder(name), 1000, &t), STATUS_OK);
    assert_int_equal(t.length, strlen(expected));
    if (*expected)
        assert_string_equal(t.at, expected);
    text_free(&t);
}

static mode_t mode_of(const char *name)
{
    struct stat is;

    assert_int_equal(stat(in_folder(name), &is), 0);
    return is.st_mode & 07777;
}

static void writes_with_exactly_the_mode_whatever_the_umask(void **state)
{
    mode_t before = umask(0277);

    (void)state;
    assert_int_equal(file_write(in_folder("a"), slice_text("one"), 0640), STATUS_OK);
    umask(0);
    assert_int_equal(file_write(in_folder("key"), slice_text("k"), 0600), STATUS_OK);
    umask(before);
    assert_int_equal(mode_of("a"), 0640);
    assert_int_equal(mode_of("key"), 0600);
    check_holds("a", "one");
    assert_int_equal(file_write(in_folder("a"), slice_text("two, longer"), 0600), STATUS_OK);
    check_holds("a", "two, longer");
    assert_int_equal(mode_of("a"), 0600);
    assert_int_equal(file_write(in_folder("a"), slice_of(NULL, 0), 0600), STATUS_OK);
    check_holds("a", "");
    assert_int_equal(access(in_folder("a.new"), F_OK), -1);
    assert_int_equal(file_remove(in_folder("a")), STATUS_OK);
    assert_int_equal(file_remove(in_folder("a")), STATUS_OK);
    assert_int_equal(file_remove(in_folder("key")), STATUS_OK);
}

static void replaces_what_a_power_cut_left_behind(void **state)
{
    FILE *left = fopen(in_folder("b.new"), "w");

    (void)state;
    assert_non_null(left);
    fputs("a half-written file that is longer than the new one", left);
    fclose(left);
    assert_int_equal(chmod(in_folder("b.new"), 0666), 0);
    assert_int_equal(file_write(in_folder("b"), slice_text("whole"), 0600), STATUS_OK);
    check_holds("b", "whole");
    assert_int_equal(mode_of("b"), 0600);
    assert_int_equal(access(in_folder("b.new"), F_OK), -1);
    /* Nor is a link followed to where somebody would like to have the secret. */
    assert_int_equal(symlink(in_folder("elsewhere"), in_folder("b.new")), 0);
    assert_int_equal(file_write(in_folder("b"), slice_text("again"), 0600), STATUS_OK);
    assert_int_equal(access(in_folder("elsewhere"), F_OK), -1);
    check_holds("b", "again");
    file_remove(in_folder("b"));
}

static void leaves_the_old_file_when_the_new_one_cannot_be(void **state)
{
    (void)state;
    assert_int_equal(file_write(in_folder("c"), slice_text("old"), 0600), STATUS_OK);
    assert_int_equal(file_make_folder(in_folder("c.new"), 0700), STATUS_OK);
    assert_int_equal(file_write(in_folder("c"), slice_text("new"), 0600), STATUS_IO);
    check_holds("c", "old");
    rmdir(in_folder("c.new"));
    file_remove(in_folder("c"));
    assert_int_equal(file_make_folder(in_folder("d"), 0700), STATUS_OK);
    assert_int_equal(file_write(in_folder("d"), slice_text("new"), 0600), STATUS_IO);
    assert_int_equal(access(in_folder("d.new"), F_OK), -1);
    rmdir(in_folder("d"));
    assert_int_equal(file_write(in_folder("no/such"), slice_text("new"), 0600), STATUS_IO);
    assert_int_equal(file_write("/dev/full/x", slice_text("new"), 0600), STATUS_IO);
}

static void reads_up_to_its_bound(void **state)
{
    struct text t = { 0 };

    (void)state;
    assert_int_equal(file_write(in_folder("e"), slice_text("12345"), 0600), STATUS_OK);
    text_puts(&t, "before ");
    assert_int_equal(file_read(in_folder("e"), 5, &t), STATUS_OK);
    assert_string_equal(t.at, "before 12345");
    assert_int_equal(file_read(in_folder("e"), 4, &t), STATUS_TOO_LARGE);
    assert_int_equal(file_read(in_folder("none"), 4, &t), STATUS_END);
    assert_int_equal(file_read(folder, 4, &t), STATUS_IO);
    text_free(&t);
    file_remove(in_folder("e"));
}

static void cuts_white_space_after_a_secret(void **state)
{
    struct text t = { 0 };
    char *large = calloc(1, FILE_SECRET_BYTES_MAX + 1);

    (void)state;
    assert_int_equal(file_write(in_folder("s"), slice_text(" pass word \r\n\n\t"), 0600), STATUS_OK);
    assert_int_equal(file_read_secret(in_folder("s"), &t), STATUS_OK);
    assert_string_equal(t.at, " pass word");
    text_wipe(&t);
    assert_int_equal(file_write(in_folder("s"), slice_text(" \n"), 0600), STATUS_OK);
    assert_int_equal(file_read_secret(in_folder("s"), &t), STATUS_INVALID);
    memset(large, 'x', FILE_SECRET_BYTES_MAX + 1);
    assert_int_equal(file_write(in_folder("s"), slice_of(large, FILE_SECRET_BYTES_MAX), 0600), STATUS_OK);
    assert_int_equal(file_read_secret(in_folder("s"), &t), STATUS_OK);
    assert_int_equal(t.length, FILE_SECRET_BYTES_MAX);
    assert_int_equal(file_write(in_folder("s"), slice_of(large, FILE_SECRET_BYTES_MAX + 1), 0600), STATUS_OK);
    assert_int_equal(file_read_secret(in_folder("s"), &t), STATUS_TOO_LARGE);
    assert_int_equal(file_remove(in_folder("s")), STATUS_OK);
    assert_int_equal(file_read_secret(in_folder("s"), &t), STATUS_END);
    assert_int_equal(file_read_secret(folder, &t), STATUS_IO);
    text_wipe(&t);
    free(large);
}

static void makes_a_folder_with_its_parents(void **state)
{
    (void)state;
    assert_int_equal(file_make_folder(in_folder("x//y/z/"), 0700), STATUS_OK);
    assert_int_equal(mode_of("x/y/z"), 0700);
    assert_int_equal(mode_of("x"), 0700);
    assert_int_equal(file_make_folder(in_folder("x/y/z"), 0755), STATUS_OK);
    assert_int_equal(mode_of("x/y/z"), 0700);
    assert_int_equal(file_write(in_folder("x/f"), slice_text("1"), 0600), STATUS_OK);
    assert_int_equal(file_make_folder(in_folder("x/f"), 0700), STATUS_IO);
    assert_int_equal(file_make_folder(in_folder("x/f/g"), 0700), STATUS_IO);
    assert_int_equal(file_make_folder("/", 0700), STATUS_OK);
    assert_int_equal(file_sync_folder(in_folder("x")), STATUS_OK);
    assert_int_equal(file_sync_folder(in_folder("x/f")), STATUS_IO);
    file_remove(in_folder("x/f"));
    rmdir(in_folder("x/y/z"));
    rmdir(in_folder("x/y"));
    rmdir(in_folder("x"));
}

static void joins_names_to_folders(void **state)
{
    static const char *const cases[][3] = { { "/etc/zajel", "api.pem", "/etc/zajel/api.pem" },
                                            { "/etc/", "api.pem", "/etc/api.pem" },
                                            { "/etc", "/srv/api.pem", "/srv/api.pem" },
                                            { "", "api.pem", "api.pem" } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = file_join(cases[i][0], cases[i][1]);

        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

static void knows_how_much_is_free(void **state)
{
    (void)state;
    assert_true(file_free_bytes(folder) > 0);
    assert_int_equal(file_free_bytes(in_folder("none")), 0);
}

static void tells_a_folder_that_can_be_written(void **state)
{
    (void)state;
    assert_int_equal(file_probe(folder), STATUS_OK);
    assert_int_equal(file_probe(in_folder("none")), STATUS_IO);
    assert_int_equal(file_probe("/proc/self"), STATUS_IO);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_with_exactly_the_mode_whatever_the_umask),
        cmocka_unit_test(replaces_what_a_power_cut_left_behind),
        cmocka_unit_test(leaves_the_old_file_when_the_new_one_cannot_be),
        cmocka_unit_test(reads_up_to_its_bound),
        cmocka_unit_test(cuts_white_space_after_a_secret),
        cmocka_unit_test(makes_a_folder_with_its_parents),
        cmocka_unit_test(joins_names_to_folders),
        cmocka_unit_test(knows_how_much_is_free),
        cmocka_unit_test(tells_a_folder_that_can_be_written),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
