/* SPDX-License-Identifier: Apache-2.0 */
/* Puts one file into a program as it is. The Makefile assembles this once for each such file, with EMBED_FILE
 * and EMBED_NAME defined; embed.h declares what comes out. */
#ifdef __CET__
#include <cet.h> /* Marks the object as safe for control-flow protection: one unmarked object turns it off. */
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define SIZE JOIN(EMBED_NAME, _size)

        .section .rodata
        .balign 16
        .global EMBED_NAME
        .type EMBED_NAME, %object
EMBED_NAME:
        .incbin EMBED_FILE
        .size EMBED_NAME, . - EMBED_NAME
.Lend:
        .byte 0 /* Not counted: a text is also a C string. */

        .balign 8
        .global SIZE
        .type SIZE, %object
SIZE:
#if __SIZEOF_SIZE_T__ == 8
        .quad .Lend - EMBED_NAME
#else
        .long .Lend - EMBED_NAME
#endif
        .size SIZE, . - SIZE

        .section .note.GNU-stack, "", %progbits
