/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sandbox/phones.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sync/protocol/status.h"

#define BUCKETS 16384u /* Some customers each, in the largest tests. */

struct phones {
    struct phones_limits limits;
    struct phones_message **slots; /* n % messages_max */
    uint64_t first, next;
    size_t bytes;
    TAILQ_HEAD(, phones_phone) phones;
    LIST_HEAD(, phones_phone) buckets[BUCKETS];
};

static size_t bucket_of(struct slice number)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < number.length; i++)
        hash = (hash ^ number.at[i]) * 16777619u;
    return hash % BUCKETS;
}

int phones_open(struct phones **out, const struct phones_limits *limits)
{
    struct phones *p = calloc(1, sizeof *p);

    *out = NULL;
    assert(limits->messages_max > 0);
    if (!p)
        return STATUS_NO_MEMORY;
    p->limits = *limits;
    p->first = p->next = 1;
    TAILQ_INIT(&p->phones);
    p->slots = calloc(limits->messages_max, sizeof(struct phones_message *));
    if (!p->slots) {
        free(p);
        return STATUS_NO_MEMORY;
    }
    *out = p;
    return STATUS_OK;
}

static void forget_oldest(struct phones *p)
{
    struct phones_message **slot = &p->slots[p->first % p->limits.messages_max], *m = *slot;
    struct phones_phone *phone = m->phone;

    assert(p->first < p->next && m->n == p->first);
    if (phone) {
        TAILQ_REMOVE(&phone->messages, m, link);
        if (--phone->kept == 0) {
            TAILQ_REMOVE(&p->phones, phone, link);
            LIST_REMOVE(phone, bucket);
            free(phone);
        }
    }
    p->bytes -= m->body.length;
    free(m);
    *slot = NULL;
    p->first++;
}

void phones_close(struct phones *p)
{
    if (!p)
        return;
    while (p->first < p->next)
        forget_oldest(p);
    free(p->slots);
    free(p);
}

static struct phones_phone *find(const struct phones *p, struct slice number)
{
    struct phones_phone *phone;

    LIST_FOREACH(phone, &p->buckets[bucket_of(number)], bucket)
    if (slice_is(number, phone->number))
        return phone;
    return NULL;
}

static struct phones_phone *find_or_make(struct phones *p, struct slice number)
{
    struct phones_phone *phone = find(p, number);

    if (phone)
        return phone;
    phone = calloc(1, sizeof *phone);
    if (!phone)
        return NULL;
    memcpy(phone->number, number.at, number.length);
    TAILQ_INIT(&phone->messages);
    TAILQ_INSERT_HEAD(&p->phones, phone, link);
    LIST_INSERT_HEAD(&p->buckets[bucket_of(number)], phone, bucket);
    return phone;
}

static void copy_text(char *out, size_t room, struct slice text)
{
    assert(text.length < room);
    if (text.length)
        memcpy(out, text.at, text.length);
    out[text.length] = '\0';
}

static void put_on_phone(struct phones *p, struct phones_phone *phone, struct phones_message *m)
{
    m->phone = phone;
    TAILQ_INSERT_TAIL(&phone->messages, m, link);
    TAILQ_REMOVE(&p->phones, phone, link);
    TAILQ_INSERT_HEAD(&p->phones, phone, link);
    phone->kept++;
    phone->received += m->kind == PHONES_RECEIVED;
    phone->typed += m->kind == PHONES_TYPED;
    phone->at_ms = m->at_ms;
    memcpy(phone->number_id, m->number_id, sizeof phone->number_id);
}

int phones_add(struct phones *p, const struct phones_arrival *a, const struct phones_message **out)
{
    struct phones_phone *phone = NULL;
    struct phones_message *m;

    *out = NULL;
    if (a->number.length >= PHONES_NUMBER_MAX || a->number_id.length >= PHONES_NUMBER_ID_MAX ||
        a->id.length >= WAMID_TEXT_MAX || (!a->number.length && a->kind != PHONES_READ_MARK))
        return STATUS_INVALID;
    m = calloc(1, sizeof *m + a->body.length);
    if (!m)
        return STATUS_NO_MEMORY;
    /* Before the phone is looked up: forgetting may take an empty phone away. */
    while (p->first < p->next &&
           (p->next - p->first >= p->limits.messages_max || p->bytes + a->body.length > p->limits.bytes_max))
        forget_oldest(p);
    if (a->kind != PHONES_READ_MARK && !(phone = find_or_make(p, a->number))) {
        free(m);
        return STATUS_NO_MEMORY;
    }
    m->kind = a->kind;
    m->at_ms = a->at_ms;
    copy_text(m->id, sizeof m->id, a->id);
    copy_text(m->number_id, sizeof m->number_id, a->number_id);
    if (a->body.length)
        memcpy(m + 1, a->body.at, a->body.length);
    m->body = slice_of(m + 1, a->body.length);
    m->n = p->next++;
    p->slots[m->n % p->limits.messages_max] = m;
    p->bytes += m->body.length;
    if (phone)
        put_on_phone(p, phone, m);
    *out = m;
    return STATUS_OK;
}

const struct phones_message *phones_find(const struct phones *p, uint64_t n)
{
    return n >= p->first && n < p->next ? p->slots[n % p->limits.messages_max] : NULL;
}

void phones_note_status(struct phones *p, uint64_t n, enum phones_status status, int64_t at_ms)
{
    if (n >= p->first && n < p->next)
        p->slots[n % p->limits.messages_max]->status_at_ms[status] = at_ms;
}

uint64_t phones_first(const struct phones *p)
{
    return p->first;
}

uint64_t phones_last(const struct phones *p)
{
    return p->next - 1;
}

const struct phones_phone *phones_phone(const struct phones *p, struct slice number)
{
    return find(p, number);
}

const struct phones_phone *phones_next(const struct phones *p, const struct phones_phone *after)
{
    return after ? TAILQ_NEXT(after, link) : TAILQ_FIRST(&p->phones);
}
