/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/link_message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool link_message_add(struct link_message *m, struct slice piece, size_t bytes_max)
{
    size_t need = m->length + piece.length;

    assert(need <= bytes_max);
    if (need > m->room) {
        size_t room = m->room * 2 > need ? m->room * 2 : need;
        uint8_t *grown = realloc(m->at, room < bytes_max ? room : bytes_max);

        if (!grown)
            return false;
        m->at = grown;
        m->room = room < bytes_max ? room : bytes_max;
    }
    if (piece.length)
        memcpy(m->at + m->length, piece.at, piece.length);
    m->length = need;
    return true;
}

void link_message_free(struct link_message *m)
{
    free(m->at);
    *m = (struct link_message){ 0 };
}
