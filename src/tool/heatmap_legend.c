/* Chooses, measures and draws the legend. */
#include "tool/heatmap_legend.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* In units of the font size. */
static const double bar_width = 1.4, heading = 1.9, line = 1.7, swatch = 1.1, gap = 0.5;
static const double bar_least = 11, bar_most = 22;

/* About five steps of 1, 2 or 5 times a power of ten. */
static double nice_step(double range)
{
    const double power = pow(10, floor(log10(range / 5)));
    const double rest = range / 5 / power;

    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

void legend_init(heatmap_legend *legend, const value_range *range)
{
    const double step = nice_step(range->most - range->least);
    /* The tolerance keeps a tick at an end in spite of rounding. */
    const double first = ceil(range->least / step - 1e-6);
    const double last = floor(range->most / step + 1e-6);

    memset(legend, 0, sizeof *legend);
    legend->range = range;
    for (int tick = 0; tick < LEGEND_MOST_TICKS && first + tick <= last; tick++) {
        const double value = (first + tick) * step;
        legend->value[tick] = fmin(fmax(value, range->least), range->most);
        snprintf(legend->number[tick], LEGEND_TEXT_BYTES, "%g", value + 0.0);
        legend->ticks++;
    }
    for (int kind = 0; kind < SPECIAL_COUNT; kind++)
        if (range->special[kind] > 0)
            snprintf(legend->special[kind], LEGEND_TEXT_BYTES, "%s (%" PRId64 ")",
                     special_names[kind], range->special[kind]);
}

void legend_place(heatmap_legend *legend, double text, double height)
{
    double width = canvas_text_width("weight", text);
    int swatches = 0;

    for (int tick = 0; tick < legend->ticks; tick++)
        width =
            fmax(width, (bar_width + gap) * text + canvas_text_width(legend->number[tick], text));
    for (int kind = 0; kind < SPECIAL_COUNT; kind++) {
        if (!legend->special[kind][0])
            continue;
        swatches++;
        width = fmax(width, (swatch + gap) * text + canvas_text_width(legend->special[kind], text));
    }
    const double rest = (heading + 1 + swatches * line) * text;
    legend->text = text;
    legend->bar = floor(fmin(fmax(height - rest, bar_least * text), bar_most * text));
    legend->box.width = ceil(width);
    legend->box.height = ceil(legend->bar + rest);
}

static void draw_bar(const heatmap_legend *legend, heatmap_canvas *canvas, double top)
{
    const double width = floor(bar_width * legend->text);
    const int pixels = (int)legend->bar;
    cairo_surface_t *bar = cairo_image_surface_create(CAIRO_FORMAT_RGB24, 1, pixels);
    unsigned char *data = cairo_image_surface_get_data(bar);

    for (int i = 0; data && i < pixels; i++) {
        const int level = (COLOUR_LEVELS - 1) * (pixels - 1 - i) / (pixels - 1);
        memcpy(data + (ptrdiff_t)i * cairo_image_surface_get_stride(bar),
               &legend->range->scale[level], sizeof(rgb));
    }
    cairo_surface_mark_dirty(bar);
    canvas_frame(canvas, (canvas_box){legend->box.x, top, width, pixels});
    canvas->kind->cells(canvas, (canvas_box){legend->box.x, top, width, pixels}, bar);
    cairo_surface_destroy(bar);
}

void legend_draw(const heatmap_legend *legend, heatmap_canvas *canvas)
{
    const canvas_kind *kind = canvas->kind;
    const value_range *range = legend->range;
    const double text = legend->text, x = legend->box.x;
    const double top = legend->box.y + floor(heading * text);

    kind->text(canvas, (canvas_text){x, legend->box.y + text * 0.7, text, 0, ANCHOR_START},
               "weight");
    draw_bar(legend, canvas, top);
    for (int i = 0; i < legend->ticks; i++) {
        const double share = (legend->value[i] - range->least) / (range->most - range->least);
        const double y = top + floor((1 - share) * (legend->bar - 1));
        const double right = x + floor(bar_width * text);
        kind->rectangle(canvas, (canvas_box){right, y, floor(gap * text / 2) + 1, 1}, COLOUR_FRAME);
        kind->text(canvas, (canvas_text){right + gap * text, y + 0.5, text, 0, ANCHOR_START},
                   legend->number[i]);
    }
    double y = top + legend->bar + text * 1.2;
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        if (!legend->special[i][0])
            continue;
        const double side = floor(swatch * text);
        kind->rectangle(canvas, (canvas_box){x, floor(y), side, side}, special_colours[i]);
        kind->text(
            canvas,
            (canvas_text){x + (swatch + gap) * text, floor(y) + side / 2, text, 0, ANCHOR_START},
            legend->special[i]);
        y += line * text;
    }
}
