/* SPDX-License-Identifier: Apache-2.0 */
/* The content of messages of type interactive and template (whatsapp-cloud-api.md section 1). Only graph.c
 * includes this. */
#ifndef ZAJEL_KIT_GRAPH_CONTENT_H
#define ZAJEL_KIT_GRAPH_CONTENT_H

#include "sync/kit/graph_field.h"

/* Takes the object named after the type. Interactive types without a table pass with their type checked. */
graph_field_rule graph_interactive_check;
extern const struct graph_field graph_template_fields[];

#endif
