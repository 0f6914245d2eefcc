/* A heat-map: panels of weights, one a head, with a legend and labels on both axes. */
#ifndef CLATTN_TOOL_HEATMAP_DRAW_H
#define CLATTN_TOOL_HEATMAP_DRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "tool/labels.h"
#include "tool/output_file.h"

#define HEATMAP_TITLE_BYTES 64

typedef struct heatmap {
    const float *weights; /* (n_panel, n_q, n_kv), borrowed */
    int64_t n_panel;      /* heads that are drawn */
    int64_t n_q, n_kv;    /* > 0 */
    int64_t first_head;   /* the first panel's; -1: the weights have no heads, so no titles */
    int64_t batch;        /* named in the titles; -1: there is one only */
    const label_list *query_labels; /* (n_q); NULL: numbers */
    const label_list *key_labels;   /* (n_kv); NULL: numbers */
} heatmap;

/* The title of a panel; empty where weights have no heads. */
void heatmap_title(const heatmap *map, int64_t panel, char title[HEATMAP_TITLE_BYTES]);

/* Draws in the format that the file's suffix names, which must be known to canvas_kind_of. On
 * failure prints one line and returns false. */
bool heatmap_draw(const heatmap *map, output_file *file);

#endif
