/* Finds the layout. It tries what looks best first and gives up labels, then detail, until the
 * picture is within the limits. */
#include "tool/heatmap_layout.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The pixels of a picture take 4 bytes each. */
#define MOST_PIXELS 100e6

/* Cells along one side of a panel without labels: the most for one panel, for all panels beside
 * each other, and what a panel needs to show anything. */
enum { PANEL_MOST_CELLS = 2048, GRID_MOST_CELLS = 4096, PANEL_LEAST_CELLS = 32 };

/* Pixels of a panel's side: the least, and what a panel without labels aims at; and how many times
 * one side may be as long as the other. */
enum { LEAST_LENGTH = 48, LENGTH_WITHOUT_LABELS = 800, MOST_ASPECT = 24 };

enum { CELL_MOST = 28 };

/* By the number of labels: pixels of a cell, and the font that fits. */
static const struct {
    int64_t most;
    int cell;
    double font;
} sizes[] = {{24, 28, 13}, {40, 22, 12}, {64, 17, 11}, {100, 14, 10.5}, {INT64_MAX, 12, 10}};

/* What an attempt may show. */
typedef struct layout_attempt {
    int labelled;       /* axes with labels: 2 both, 1 the shorter one, 0 none */
    int64_t most_cells; /* on a side without labels */
} layout_attempt;

static const double slant = 0.70710678118654752; /* sine and cosine of 45 degrees */

static int64_t longer(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void choose_labels(const heatmap *map, layout_attempt attempt, heatmap_layout *layout)
{
    const bool queries_longer = map->n_q > map->n_kv;
    const bool tie = map->n_q == map->n_kv;
    const bool query = attempt.labelled == 2 || (attempt.labelled == 1 && !queries_longer && !tie);
    const bool key = attempt.labelled == 2 || (attempt.labelled == 1 && queries_longer);

    layout->query = (heatmap_axis){.count = map->n_q, .labels = query ? map->query_labels : NULL};
    layout->key = (heatmap_axis){.count = map->n_kv, .labels = key ? map->key_labels : NULL};
}

static void choose_blocks(heatmap_axis *axis, int64_t most_cells)
{
    axis->block = axis->labels ? 1 : (axis->count + most_cells - 1) / most_cells;
    axis->cells = (axis->count + axis->block - 1) / axis->block;
}

/* The font of labels and the size of cells that both axes would like. */
static int choose_cell(const heatmap *map, heatmap_layout *layout)
{
    const int64_t labelled = longer(layout->query.labels ? layout->query.cells : 0,
                                    layout->key.labels ? layout->key.cells : 0);
    const int64_t crowd = map->n_panel > 1 ? 2 : 1; /* many panels: each a size smaller */
    const int64_t cells = longer(layout->query.cells, layout->key.cells);
    int row = 0;

    if (labelled == 0)
        return (int)fmin(fmax((double)LENGTH_WITHOUT_LABELS / (double)(cells * crowd), 1),
                         CELL_MOST);
    while (labelled * crowd > sizes[row].most)
        row++;
    layout->query.font = layout->key.font = sizes[row].font;
    return sizes[row].cell;
}

static void size_axis(heatmap_axis *axis, int cell, int64_t most_cells)
{
    axis->cell = cell;
    if (!axis->labels && axis->cells * cell > most_cells)
        axis->cell = (int)longer(most_cells / axis->cells, 1);
    axis->length = (int)fmin((double)axis->cells * axis->cell, INT32_MAX);
}

/* Makes cells longer where there are so few that the panel would be a mere line. */
static void thicken(heatmap_axis *axis, const heatmap_axis *other)
{
    const int64_t least = longer(LEAST_LENGTH, other->length / MOST_ASPECT);

    if (axis->length < least)
        axis->cell = (int)((least + axis->cells - 1) / axis->cells);
    axis->length = (int)axis->cells * axis->cell;
}

static double widest(const heatmap_axis *axis)
{
    double width = 0;

    if (!axis->labels) {
        char number[LAYOUT_NOTE_BYTES];
        snprintf(number, sizeof number, "%" PRId64, axis->count - 1);
        return canvas_text_width(number, axis->font);
    }
    for (int64_t i = 0; i < axis->labels->count; i++)
        width = fmax(width, canvas_text_width(axis->labels->text[i], axis->font));
    return width;
}

/* The smallest step of 1, 2 or 5 times a power of ten that keeps numbers `apart` pixels apart. */
static int64_t number_step(const heatmap_axis *axis, double apart)
{
    const double pixels = (double)axis->cell / (double)axis->block; /* of one weight */
    int64_t power = 1;

    for (;; power *= 10)
        for (int64_t step = 1; step <= 5; step = step == 1 ? 2 : step + 3)
            if ((double)(step * power) * pixels >= apart || power > axis->count)
                return step * power;
}

/* How far slanted labels of keys reach to the left of the cells. */
static double overhang(const heatmap_axis *key)
{
    double most = 0;

    for (int64_t i = 0; i < key->count; i++) {
        const double width = canvas_text_width(key->labels->text[i], key->font) + key->font;
        most = fmax(most, width * slant - ((double)i + 0.5) * key->cell);
    }
    return most;
}

static void measure_panel(const heatmap *map, heatmap_layout *layout)
{
    heatmap_axis *query = &layout->query, *key = &layout->key;
    const double text = layout->text;
    char title[HEATMAP_TITLE_BYTES];
    double title_width = 0;

    query->font = query->labels ? query->font : text;
    key->font = key->labels ? key->font : text;
    query->margin = widest(query);
    key->margin = key->labels ? widest(key) : key->font;
    query->step = number_step(query, 1.8 * query->font);
    key->step = number_step(key, widest(key) + 0.8 * key->font);
    layout->slanted = key->labels && key->cell >= 1.6 * key->font;

    double left = 1.8 * text + query->margin + LABEL_GAP * query->font;
    if (layout->slanted) {
        left = fmax(left, overhang(key));
        key->margin = (key->margin + key->font) * slant;
    }
    for (int64_t panel = 0; panel < map->n_panel; panel++) {
        heatmap_title(map, panel, title);
        title_width = fmax(title_width, canvas_text_width(title, text));
    }
    const double outside = fmax(title_width - key->length, 0) / 2;
    layout->left = (int)ceil(fmax(left, outside));
    layout->right = (int)ceil(fmax(outside, key->labels ? 2 : widest(key) / 2));
    layout->top = (int)ceil(title_width > 0 ? 1.8 * text : 2);
    layout->bottom = (int)ceil(LABEL_GAP * key->font + key->margin + 1.8 * text);
}

/* As many columns as make the picture about as wide as a page, without many gaps. */
static void choose_grid(const heatmap *map, heatmap_layout *layout)
{
    const double width = layout->left + layout->key.length + layout->right + layout->gap;
    const double height = layout->top + layout->query.length + layout->bottom + layout->gap;
    double best = INFINITY;

    for (int64_t columns = 1; columns <= map->n_panel; columns++) {
        const int64_t rows = (map->n_panel + columns - 1) / columns;
        const double aspect = width * (double)columns / (height * (double)rows);
        const double empty = 1 - (double)map->n_panel / (double)(rows * columns);
        const double cost = fabs(log(aspect / 1.3)) + empty;
        if (cost < best) {
            best = cost;
            layout->grid_columns = columns;
            layout->grid_rows = rows;
        }
    }
}

static void write_notes(const heatmap *map, heatmap_layout *layout)
{
    const bool wanted = map->query_labels || map->key_labels;
    const bool shown =
        (!map->query_labels || layout->query.labels) && (!map->key_labels || layout->key.labels);

    layout->notes = 0;
    if (wanted && !shown)
        snprintf(layout->note[layout->notes++], LAYOUT_NOTE_BYTES,
                 "too many tokens for labels in one picture");
    if (layout->query.block > 1 || layout->key.block > 1)
        snprintf(layout->note[layout->notes++], LAYOUT_NOTE_BYTES,
                 "each cell: the largest of %" PRId64 " x %" PRId64 " weights", layout->query.block,
                 layout->key.block);
}

/* The whole picture. */
static bool measure_picture(const heatmap *map, heatmap_layout *layout)
{
    const double panel_width = layout->left + layout->key.length + layout->right;
    const double panel_height = layout->top + layout->query.length + layout->bottom;

    choose_grid(map, layout);
    const double columns = (double)layout->grid_columns, rows = (double)layout->grid_rows;
    const double grid_width = columns * panel_width + (columns - 1) * layout->gap;
    const double grid_height = rows * panel_height + (rows - 1) * layout->gap;
    heatmap_legend *legend = &layout->legend;
    legend_place(legend, layout->text, grid_height - layout->top - layout->bottom);
    legend->box.x = layout->gap + grid_width + 1.5 * layout->text;
    legend->box.y = layout->gap + layout->top - floor(0.2 * layout->text);

    double width = legend->box.x + legend->box.width;
    double height = fmax(layout->gap + grid_height, legend->box.y + legend->box.height);
    write_notes(map, layout);
    for (int i = 0; i < layout->notes; i++) {
        width = fmax(width, layout->gap + canvas_text_width(layout->note[i], layout->text));
        height += 1.6 * layout->text;
    }
    width = ceil(width + layout->gap);
    height = ceil(height + layout->gap);
    if (width > CANVAS_MOST_SIDE || height > CANVAS_MOST_SIDE || width * height > MOST_PIXELS)
        return false;
    layout->width = (int)width;
    layout->height = (int)height;
    return true;
}

static bool try_layout(const heatmap *map, layout_attempt attempt, heatmap_layout *layout)
{
    choose_labels(map, attempt, layout);
    choose_blocks(&layout->query, attempt.most_cells);
    choose_blocks(&layout->key, attempt.most_cells);
    const int cell = choose_cell(map, layout);
    size_axis(&layout->query, cell, attempt.most_cells);
    size_axis(&layout->key, cell, attempt.most_cells);
    if (layout->query.length > CANVAS_MOST_SIDE || layout->key.length > CANVAS_MOST_SIDE)
        return false;
    thicken(&layout->query, &layout->key);
    thicken(&layout->key, &layout->query);
    const double side = (double)longer(layout->query.length, layout->key.length);
    const double area = (double)layout->query.length * layout->key.length * (double)map->n_panel;
    layout->text = fmin(fmax(round(fmax(side / 60, sqrt(area) / 120)), 12), 48);
    layout->gap = (int)round(1.2 * layout->text);
    measure_panel(map, layout);
    return measure_picture(map, layout);
}

bool layout_find(const heatmap *map, const value_range *range, heatmap_layout *layout)
{
    const int64_t share = GRID_MOST_CELLS / (int64_t)ceil(sqrt((double)map->n_panel));
    layout_attempt attempt = {2, share < PANEL_MOST_CELLS ? share : PANEL_MOST_CELLS};

    legend_init(&layout->legend, range);
    if (map->n_panel > CANVAS_MOST_SIDE)
        return false;
    for (; attempt.labelled > 0; attempt.labelled--)
        if (try_layout(map, attempt, layout))
            return true;
    for (; attempt.most_cells >= PANEL_LEAST_CELLS; attempt.most_cells /= 2)
        if (try_layout(map, attempt, layout))
            return true;
    return false;
}

canvas_box layout_panel(const heatmap_layout *layout, int64_t panel)
{
    const int64_t column = panel % layout->grid_columns, row = panel / layout->grid_columns;
    const int width = layout->left + layout->key.length + layout->right + layout->gap;
    const int height = layout->top + layout->query.length + layout->bottom + layout->gap;

    return (canvas_box){(double)(layout->gap + column * width + layout->left),
                        (double)(layout->gap + row * height + layout->top), layout->key.length,
                        layout->query.length};
}
