/* What a heat-map is drawn on: rectangles, text and arrays of cells, as PNG or as SVG. Coordinates
 * are pixels from the top left corner. */
#ifndef CLATTN_TOOL_HEATMAP_CANVAS_H
#define CLATTN_TOOL_HEATMAP_CANVAS_H

#include <cairo.h>
#include <stdbool.h>

#include "tool/heatmap_colours.h"
#include "tool/output_file.h"

/* Larger pictures can't be made: cairo's own limit. */
#define CANVAS_MOST_SIDE 32767

typedef enum text_anchor { ANCHOR_START, ANCHOR_MIDDLE, ANCHOR_END } text_anchor;

typedef struct canvas_box {
    double x, y, width, height;
} canvas_box;

typedef struct canvas_text {
    double x, y;        /* the anchor, halfway up a small letter */
    double size;        /* of the font, in pixels */
    double angle;       /* degrees, clockwise */
    text_anchor anchor; /* which end of the text is at (x, y) */
} canvas_text;

struct canvas_kind;

typedef struct heatmap_canvas {
    const struct canvas_kind *kind;
    int width, height;
    output_file *file; /* borrowed */
    cairo_t *cairo;    /* owned; NULL for SVG */
    bool failed;       /* a line was printed; later calls do nothing */
} heatmap_canvas;

/* One row a file format. */
typedef struct canvas_kind {
    const char *suffix; /* ".png" */
    void (*begin)(heatmap_canvas *canvas);
    void (*rectangle)(heatmap_canvas *canvas, canvas_box box, rgb colour);
    void (*text)(heatmap_canvas *canvas, canvas_text place, const char *text);
    /* As canvas_paint_cells. */
    void (*cells)(heatmap_canvas *canvas, canvas_box box, cairo_surface_t *cells);
    void (*end)(heatmap_canvas *canvas); /* writes what is left */
} canvas_kind;

extern const canvas_kind canvas_png, canvas_svg;

/* The format that a path's suffix names, or NULL. */
const canvas_kind *canvas_kind_of(const char *path);

/* A thin frame just outside the box. */
void canvas_frame(heatmap_canvas *canvas, canvas_box box);

/* Each pixel of `cells` becomes an equal part of the box, with sharp edges. */
void canvas_paint_cells(cairo_t *cairo, canvas_box box, cairo_surface_t *cells);

/* Marks the canvas failed, with the line, unless the status is a success. */
void canvas_check(heatmap_canvas *canvas, cairo_status_t status);

/* Width in pixels of a text at a font size, the same for all formats. */
double canvas_text_width(const char *text, double size);

/* The font, and the distance from a text's anchor down to its baseline. */
#define CANVAS_FONT     "DejaVu Sans"
#define CANVAS_BASELINE 0.36

#endif
