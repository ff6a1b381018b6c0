/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "sync/kit/seal.h"
#include "sync/kit/text.h"
#include "sync/protocol/status.h"

/* Bytes from hex, at most 256. */
struct bytes {
    uint8_t at[256];
    size_t length;
};

static struct bytes unhex(const char *hex)
{
    struct bytes b = { .length = strlen(hex) / 2 };

    assert_true(b.length <= sizeof b.at);
    assert_int_equal(text_unhex(slice_text(hex), b.at, b.length), STATUS_OK);
    return b;
}

static void assert_hex(const uint8_t *found, const char *expected)
{
    struct bytes b = unhex(expected);

    assert_memory_equal(found, b.at, b.length);
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(seal_start(), STATUS_OK);
    assert_int_equal(seal_start(), STATUS_OK); /* A second time does no harm. */
    return 0;
}

/* Test cases 13 to 16 of McGrew and Viega's "The Galois/Counter Mode of Operation", which NIST took over. */
static const struct {
    const char *key, *nonce, *aad, *plain, *sealed, *tag;
} gcm[] = {
    { "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
      "", "530f8afbc74536b9a963b4f1c4cb738b" },
    { "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "",
      "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18",
      "d0d1c8a799996bf0265b98b5d48ab919" },
    { "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
      "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
      "b094dac5d93471bdec1a502270e3cc6c" },
    { "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
      "feedfacedeadbeeffeedfacedeadbeefabaddad2",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
      "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
      "76fc6ece0f4e1768cddf8853bb2d551b" },
};

static void seals_as_the_standard_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof gcm / sizeof *gcm; i++) {
        struct bytes key_bytes = unhex(gcm[i].key), nonce = unhex(gcm[i].nonce), aad = unhex(gcm[i].aad);
        struct bytes plain = unhex(gcm[i].plain);
        uint8_t sealed[256], opened[256];
        struct slice whole = { sealed, plain.length + SEAL_TAG_BYTES };
        struct seal_key *key = NULL;

        assert_int_equal(seal_key_import(&key, key_bytes.at), STATUS_OK);
        assert_int_equal(
            seal(key, nonce.at, slice_of(aad.at, aad.length), slice_of(plain.at, plain.length), sealed),
            STATUS_OK);
        assert_hex(sealed, gcm[i].sealed);
        assert_hex(sealed + plain.length, gcm[i].tag);
        assert_int_equal(unseal(key, nonce.at, slice_of(aad.at, aad.length), whole, opened), STATUS_OK);
        assert_memory_equal(opened, plain.at, plain.length);
        seal_key_close(key);
    }
}

static void opens_nothing_that_was_altered(void **state)
{
    struct seal_key *key = NULL, *other = NULL;
    uint8_t nonce[SEAL_NONCE_BYTES] = { 1 }, sealed[5 + SEAL_TAG_BYTES], opened[5];
    struct slice whole = { sealed, sizeof sealed }, aad = slice_text("where");

    (void)state;
    assert_int_equal(seal_key_make(&key), STATUS_OK);
    assert_int_equal(seal_key_make(&other), STATUS_OK);
    assert_int_equal(seal(key, nonce, aad, slice_text("hello"), sealed), STATUS_OK);
    assert_int_equal(unseal(key, nonce, aad, whole, opened), STATUS_OK);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(unseal(key, nonce, aad, whole, opened), STATUS_CORRUPT);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(unseal(other, nonce, aad, whole, opened), STATUS_CORRUPT);
    assert_int_equal(unseal(key, nonce, slice_text("there"), whole, opened), STATUS_CORRUPT);
    nonce[0] = 2;
    assert_int_equal(unseal(key, nonce, aad, whole, opened), STATUS_CORRUPT);
    for (size_t length = 0; length < SEAL_TAG_BYTES; length++)
        assert_int_equal(unseal(key, nonce, aad, slice_of(sealed, length), opened), STATUS_CORRUPT);
    seal_key_close(key);
    seal_key_close(other);
    seal_key_close(NULL);
}

static void a_key_goes_out_and_comes_back(void **state)
{
    struct seal_key *key = NULL, *copy = NULL;
    uint8_t bytes[SEAL_KEY_BYTES], again[SEAL_KEY_BYTES], nonce[SEAL_NONCE_BYTES] = { 0 };
    uint8_t one[2 + SEAL_TAG_BYTES], two[2 + SEAL_TAG_BYTES];

    (void)state;
    assert_int_equal(seal_key_make(&key), STATUS_OK);
    assert_int_equal(seal_key_export(key, bytes), STATUS_OK);
    assert_int_equal(seal_key_import(&copy, bytes), STATUS_OK);
    assert_int_equal(seal(key, nonce, slice_text(""), slice_text("ab"), one), STATUS_OK);
    assert_int_equal(seal(copy, nonce, slice_text(""), slice_text("ab"), two), STATUS_OK);
    assert_memory_equal(one, two, sizeof one);
    seal_key_close(copy);
    assert_int_equal(seal_key_make(&copy), STATUS_OK);
    assert_int_equal(seal_key_export(copy, again), STATUS_OK);
    assert_memory_not_equal(bytes, again, sizeof bytes);
    seal_key_close(copy);
    seal_key_close(key);
}

static void a_closed_key_frees_its_slot(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct seal_key *key = NULL;

        assert_int_equal(seal_key_make(&key), STATUS_OK);
        seal_key_close(key);
    }
}

static void hashes_as_the_standard_says(void **state)
{
    uint8_t hash[SEAL_HASH_BYTES];

    (void)state; /* FIPS 180-2, appendix B, and the empty message. */
    assert_int_equal(seal_sha256(slice_text("abc"), hash), STATUS_OK);
    assert_hex(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(
        seal_sha256(slice_text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), hash), STATUS_OK);
    assert_hex(hash, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    assert_int_equal(seal_sha256((struct slice){ NULL, 0 }, hash), STATUS_OK);
    assert_hex(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void no_two_lists_of_parts_hash_alike(void **state)
{
    const struct slice ab_c[] = { slice_text("ab"), slice_text("c") };
    const struct slice a_bc[] = { slice_text("a"), slice_text("bc") };
    const struct slice abc[] = { slice_text("abc") };
    const struct slice abc_nothing[] = { slice_text("abc"), { NULL, 0 } };
    uint8_t hash[5][SEAL_HASH_BYTES];

    (void)state;
    assert_int_equal(seal_sha256_parts(ab_c, 2, hash[0]), STATUS_OK);
    assert_int_equal(seal_sha256_parts(a_bc, 2, hash[1]), STATUS_OK);
    assert_int_equal(seal_sha256_parts(abc, 1, hash[2]), STATUS_OK);
    assert_int_equal(seal_sha256_parts(abc_nothing, 2, hash[3]), STATUS_OK);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(hash[i], hash[j], SEAL_HASH_BYTES);
    assert_int_equal(seal_sha256(slice_of("\0\0\0\2ab\0\0\0\1c", 11), hash[4]), STATUS_OK);
    assert_memory_equal(hash[0], hash[4], SEAL_HASH_BYTES);
}

static void authenticates_as_the_standard_says(void **state)
{
    uint8_t key[131], data[50], mac[SEAL_HASH_BYTES];

    (void)state; /* RFC 4231, cases 1, 2, 3 and 6. */
    memset(key, 0x0b, 20);
    assert_int_equal(seal_hmac_sha256(slice_of(key, 20), slice_text("Hi There"), mac), STATUS_OK);
    assert_hex(mac, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_int_equal(seal_hmac_sha256(slice_text("Jefe"), slice_text("what do ya want for nothing?"), mac),
                     STATUS_OK);
    assert_hex(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    assert_int_equal(seal_hmac_sha256(slice_of(key, 20), slice_of(data, sizeof data), mac), STATUS_OK);
    assert_hex(mac, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    assert_int_equal(seal_hmac_sha256(slice_of(key, sizeof key),
                                      slice_text("Test Using Larger Than Block-Size Key - Hash Key First"),
                                      mac),
                     STATUS_OK);
    assert_hex(mac, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_int_equal(seal_hmac_sha256((struct slice){ NULL, 0 }, (struct slice){ NULL, 0 }, mac), STATUS_OK);
    assert_hex(mac, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void compares_whole(void **state)
{
    uint8_t a[32] = { 0 }, b[32] = { 0 };

    (void)state;
    assert_true(seal_equal(a, b, sizeof a));
    assert_true(seal_equal(a, b, 0));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] = 0x80;
        assert_false(seal_equal(a, b, sizeof a));
        b[i] = 0;
    }
}

static void randomness_differs_and_fills_all(void **state)
{
    static uint8_t one[5000], two[5000];

    (void)state;
    assert_int_equal(seal_random(one, sizeof one), STATUS_OK);
    assert_int_equal(seal_random(two, sizeof two), STATUS_OK);
    assert_int_equal(seal_random(NULL, 0), STATUS_OK);
    for (size_t at = 0; at < sizeof one; at += 50)
        assert_memory_not_equal(one + at, two + at, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seals_as_the_standard_says),
        cmocka_unit_test(opens_nothing_that_was_altered),
        cmocka_unit_test(a_key_goes_out_and_comes_back),
        cmocka_unit_test(a_closed_key_frees_its_slot),
        cmocka_unit_test(hashes_as_the_standard_says),
        cmocka_unit_test(no_two_lists_of_parts_hash_alike),
        cmocka_unit_test(authenticates_as_the_standard_says),
        cmocka_unit_test(compares_whole),
        cmocka_unit_test(randomness_differs_and_fills_all),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
