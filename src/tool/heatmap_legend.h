/* The legend of a heat-map: a bar of the colour scale with numbers, and the colours of what is not
 * a finite number, where there is any. */
#ifndef CLATTN_TOOL_HEATMAP_LEGEND_H
#define CLATTN_TOOL_HEATMAP_LEGEND_H

#include "tool/heatmap_canvas.h"
#include "tool/heatmap_values.h"

#define LEGEND_MOST_TICKS 16
#define LEGEND_TEXT_BYTES 48

typedef struct heatmap_legend {
    const value_range *range; /* borrowed */
    int ticks;
    double value[LEGEND_MOST_TICKS];
    char number[LEGEND_MOST_TICKS][LEGEND_TEXT_BYTES];
    char special[SPECIAL_COUNT][LEGEND_TEXT_BYTES]; /* empty where there is none */
    /* The place, by legend_place(). */
    double text;    /* size of the font */
    canvas_box box; /* of everything */
    double bar;     /* height of the colour bar */
} heatmap_legend;

/* Chooses the numbers. */
void legend_init(heatmap_legend *legend, const value_range *range);

/* Sets the size for a font and a height of the picture. */
void legend_place(heatmap_legend *legend, double text, double height);

void legend_draw(const heatmap_legend *legend, heatmap_canvas *canvas);

#endif
