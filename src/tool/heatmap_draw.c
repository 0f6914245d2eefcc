/* Draws a heat-map by its layout. */
#include "tool/heatmap_draw.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "tool/heatmap_layout.h"
#include "tool/options.h"

void heatmap_title(const heatmap *map, int64_t panel, char title[HEATMAP_TITLE_BYTES])
{
    const int64_t head = map->first_head + panel;

    title[0] = '\0';
    if (map->first_head >= 0 && map->batch >= 0)
        snprintf(title, HEATMAP_TITLE_BYTES, "batch %" PRId64 ", head %" PRId64, map->batch, head);
    else if (map->first_head >= 0)
        snprintf(title, HEATMAP_TITLE_BYTES, "head %" PRId64, head);
}

/* The label of a place on an axis; `number` is room for one. */
static const char *label_at(const heatmap_axis *axis, int64_t i, char number[HEATMAP_TITLE_BYTES])
{
    if (axis->labels)
        return axis->labels->text[i];
    snprintf(number, HEATMAP_TITLE_BYTES, "%" PRId64, i);
    return number;
}

/* The middle of a weight's cell, in pixels from the axis's beginning. */
static double middle_of(const heatmap_axis *axis, int64_t i)
{
    const int64_t cell = i / axis->block;
    return ((double)cell + 0.5) * axis->cell;
}

static int64_t step_of(const heatmap_axis *axis)
{
    return axis->labels ? 1 : axis->step;
}

static void draw_query_axis(heatmap_canvas *canvas, const heatmap_layout *layout, canvas_box panel)
{
    const heatmap_axis *axis = &layout->query;
    const double gap = LABEL_GAP * axis->font;
    canvas_text place = {panel.x - gap, 0, axis->font, 0, ANCHOR_END};
    char number[HEATMAP_TITLE_BYTES];

    for (int64_t i = 0; i < axis->count; i += step_of(axis)) {
        place.y = panel.y + middle_of(axis, i);
        canvas->kind->text(canvas, place, label_at(axis, i, number));
        if (!axis->labels)
            canvas->kind->rectangle(
                canvas, (canvas_box){panel.x - gap / 2, floor(place.y), gap / 2, 1}, COLOUR_FRAME);
    }
    canvas->kind->text(canvas,
                       (canvas_text){panel.x - gap - axis->margin - layout->text,
                                     panel.y + panel.height / 2, layout->text, -90, ANCHOR_MIDDLE},
                       "query");
}

/* How the labels of keys lie under the middle of their cells. */
static canvas_text key_label_place(const heatmap_layout *layout)
{
    const double font = layout->key.font, gap = LABEL_GAP * font;

    if (!layout->key.labels)
        return (canvas_text){0, gap + font / 2, font, 0, ANCHOR_MIDDLE};
    if (layout->slanted)
        return (canvas_text){font / 4, gap, font, -45, ANCHOR_END};
    return (canvas_text){0, gap, font, -90, ANCHOR_END};
}

static void draw_key_axis(heatmap_canvas *canvas, const heatmap_layout *layout, canvas_box panel)
{
    const heatmap_axis *axis = &layout->key;
    const canvas_text place = key_label_place(layout);
    const double gap = LABEL_GAP * axis->font, bottom = panel.y + panel.height;
    char number[HEATMAP_TITLE_BYTES];

    for (int64_t i = 0; i < axis->count; i += step_of(axis)) {
        const double x = panel.x + middle_of(axis, i);
        canvas_text label = place;
        label.x += x;
        label.y += bottom;
        canvas->kind->text(canvas, label, label_at(axis, i, number));
        if (!axis->labels)
            canvas->kind->rectangle(canvas, (canvas_box){floor(x), bottom, 1, gap / 2},
                                    COLOUR_FRAME);
    }
    canvas->kind->text(canvas,
                       (canvas_text){panel.x + panel.width / 2,
                                     bottom + gap + axis->margin + layout->text, layout->text, 0,
                                     ANCHOR_MIDDLE},
                       "key");
}

static void draw_panel(heatmap_canvas *canvas, const heatmap *map, const heatmap_layout *layout,
                       int64_t panel)
{
    const canvas_box box = layout_panel(layout, panel);
    const cell_block block = {layout->query.block, layout->key.block};
    cairo_surface_t *cells = values_panel(map, panel, block, layout->legend.range);
    char title[HEATMAP_TITLE_BYTES];

    canvas_frame(canvas, box);
    canvas->kind->cells(canvas, box, cells);
    cairo_surface_destroy(cells);
    draw_query_axis(canvas, layout, box);
    draw_key_axis(canvas, layout, box);
    heatmap_title(map, panel, title);
    if (title[0])
        canvas->kind->text(canvas,
                           (canvas_text){box.x + box.width / 2, box.y - layout->text, layout->text,
                                         0, ANCHOR_MIDDLE},
                           title);
}

bool heatmap_draw(const heatmap *map, output_file *file)
{
    value_range range;
    heatmap_layout layout;

    values_measure(map, &range);
    if (!layout_find(map, &range, &layout)) {
        failure("--head", "%" PRId64 " heads are too many for one picture; choose one",
                map->n_panel);
        return false;
    }
    heatmap_canvas canvas = {.kind = canvas_kind_of(file->path),
                             .width = layout.width,
                             .height = layout.height,
                             .file = file};
    canvas.kind->begin(&canvas);
    for (int64_t panel = 0; panel < map->n_panel && !canvas.failed; panel++)
        draw_panel(&canvas, map, &layout, panel);
    legend_draw(&layout.legend, &canvas);
    for (int i = 0; i < layout.notes; i++)
        canvas.kind->text(&canvas,
                          (canvas_text){layout.gap,
                                        layout.height - layout.gap -
                                            (layout.notes - 1 - i + 0.5) * 1.6 * layout.text,
                                        layout.text, 0, ANCHOR_START},
                          layout.note[i]);
    canvas.kind->end(&canvas);
    return !canvas.failed;
}
