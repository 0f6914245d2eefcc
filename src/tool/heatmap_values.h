/* From weights to colours: their range, and the pixels of a panel. */
#ifndef CLATTN_TOOL_HEATMAP_VALUES_H
#define CLATTN_TOOL_HEATMAP_VALUES_H

#include <cairo.h>

#include "tool/heatmap_draw.h"
#include "tool/heatmap_colours.h"

typedef struct value_range {
    double least, most;             /* finite, least < most; least is 0 for weights */
    int64_t special[SPECIAL_COUNT]; /* how many there are */
    rgb scale[COLOUR_LEVELS];       /* from least to most */
} value_range;

/* What a pixel stands for. */
typedef struct cell_block {
    int64_t rows, columns; /* weights */
} cell_block;

void values_measure(const heatmap *map, value_range *range);

/* One pixel a block: the colour of its largest weight; NaN outranks every number. To be destroyed;
 * where memory is short its status says so. */
cairo_surface_t *values_panel(const heatmap *map, int64_t panel, cell_block block,
                              const value_range *range);

#endif
