/* SPDX-License-Identifier: Apache-2.0 */
/* Text beyond ASCII in fewer bytes than UTF-8. A block is 128 code points; block n begins at n * 128.
 * With a block: ASCII as it is, a character of the block as one byte 0x80 to 0xff.
 * Without one (block 0, "wide"): ASCII as it is, U+0080 to U+7FFF as two bytes, the high one with its top bit
 * set. Either way any other character is the escape 0x1a and its UTF-8. */
#ifndef ZAJEL_PROTOCOL_SCRIPT_H
#define ZAJEL_PROTOCOL_SCRIPT_H

#include "sync/protocol/bytes.h"

struct script {
    uint8_t block;
    size_t length; /* Of what script_write() writes. */
};

/* The better of the two forms for a UTF-8 text; false when neither is shorter than the text itself. */
bool script_choose(struct slice text, struct script *out);
void script_write(struct writer *w, const struct script *script, struct slice text);
/* The text again as UTF-8. False for bytes that are no such text, and for a writer that has no room. */
bool script_read(struct slice bytes, uint8_t block, struct writer *w);

#endif
