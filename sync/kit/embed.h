/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are part of the program: pages, scripts, the compression dictionary.
 *
 * The build puts these, unchanged, into the programs of the room they lie in: relay/desk, sync/gateway/board
 * and sync/sandbox/pages (html, css, js, svg), and sync/protocol/dictionary-N.bin. A file's symbol is its
 * name without the folder, "embed_" before it and "_" for whatever is neither letter nor digit. To serve
 * sync/sandbox/pages/phone.html write
 *
 *     EMBED_DECLARE(phone_html);
 *
 * at the top of the file that does it, and use embed_phone_html[] and embed_phone_html_size (bytes). A zero
 * byte, not counted, follows the contents. They live as long as the program and cannot be written.
 * sync/protocol may not include this and declares its dictionary's two symbols itself. */
#ifndef ZAJEL_KIT_EMBED_H
#define ZAJEL_KIT_EMBED_H

#include <stddef.h>

#define EMBED_DECLARE(name) \
    extern const unsigned char embed_##name[]; \
    extern const size_t embed_##name##_size

#endif
