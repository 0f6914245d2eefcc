/* Where everything of a heat-map is: cells as large as is pleasant, labels where they can be read,
 * and the picture within what cairo can make. */
#ifndef CLATTN_TOOL_HEATMAP_LAYOUT_H
#define CLATTN_TOOL_HEATMAP_LAYOUT_H

#include "tool/heatmap_draw.h"
#include "tool/heatmap_legend.h"

#define LAYOUT_MOST_NOTES 2
#define LAYOUT_NOTE_BYTES 128

/* Between the cells and their labels, in units of the labels' font. */
#define LABEL_GAP 0.6

/* One side of a panel: queries from top to bottom, or keys from left to right. */
typedef struct heatmap_axis {
    const label_list *labels; /* NULL: numbers */
    int64_t count;            /* weights */
    int64_t block;            /* weights that one cell stands for; 1 where there are labels */
    int64_t cells;
    int cell;      /* pixels of a cell */
    int length;    /* pixels of all cells */
    int64_t step;  /* every how many weights a number stands */
    double font;   /* of labels or numbers */
    double margin; /* pixels across that they take */
} heatmap_axis;

typedef struct heatmap_layout {
    heatmap_axis query, key;
    bool slanted; /* labels of keys, where cells are wide enough; else they stand upright */
    double text;  /* font of titles, axis names and notes */
    int64_t grid_columns, grid_rows; /* of panels */
    int left, top, right, bottom;    /* around the cells of a panel */
    int gap;                         /* between panels, and around the picture */
    heatmap_legend legend;
    int notes;
    char note[LAYOUT_MOST_NOTES][LAYOUT_NOTE_BYTES];
    int width, height;
} heatmap_layout;

/* False: no layout is within the limits, because there are too many panels. */
bool layout_find(const heatmap *map, const value_range *range, heatmap_layout *layout);

/* The cells of a panel. */
canvas_box layout_panel(const heatmap_layout *layout, int64_t panel);

#endif
