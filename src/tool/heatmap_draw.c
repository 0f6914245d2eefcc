/* Draws a heat-map by its layout. */
#include "tool/heatmap.h"

#include <inttypes.h>
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
    return ((double)(i / axis->block) + 0.5) * axis->cell;
}

static int64_t step_of(const heatmap_axis *axis)
{
    return axis->labels ? 1 : axis->step;
}

static void draw_query_axis(heatmap_canvas *canvas, const heatmap_layout *layout, canvas_box panel)
{
    const heatmap_axis *axis = &layout->query;
    const double right = panel.x - 0.5 * layout->text;
    char number[HEATMAP_TITLE_BYTES];

    for (int64_t i = 0; i < axis->count; i += step_of(axis))
        canvas->kind->text(
            canvas, (canvas_text){right, panel.y + middle_of(axis, i), axis->font, 0, ANCHOR_END},
            label_at(axis, i, number));
    canvas->kind->text(canvas,
                       (canvas_text){right - axis->margin - 1.1 * layout->text,
                                     panel.y + panel.height / 2, layout->text, -90, ANCHOR_MIDDLE},
                       "query");
}

static void draw_key_axis(heatmap_canvas *canvas, const heatmap_layout *layout, canvas_box panel)
{
    const heatmap_axis *axis = &layout->key;
    const double bottom = panel.y + panel.height;
    const double angle = !axis->labels ? 0 : layout->slanted ? -45 : -90;
    const double down = !axis->labels     ? 0.5 * layout->text + axis->font / 2
                        : layout->slanted ? 0.7 * axis->font
                                          : 0.5 * layout->text;
    char number[HEATMAP_TITLE_BYTES];

    for (int64_t i = 0; i < axis->count; i += step_of(axis))
        canvas->kind->text(canvas,
                           (canvas_text){panel.x + middle_of(axis, i), bottom + down, axis->font,
                                         angle, axis->labels ? ANCHOR_END : ANCHOR_MIDDLE},
                           label_at(axis, i, number));
    canvas->kind->text(canvas,
                       (canvas_text){panel.x + panel.width / 2,
                                     bottom + axis->margin + 1.6 * layout->text, layout->text, 0,
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
