/* The range of weights, and their colours. */
#include "tool/heatmap_values.h"

#include <math.h>
#include <string.h>

/* The kind of a number that is not finite. */
static special special_of(float weight)
{
    return isnan(weight) ? SPECIAL_NAN : weight > 0 ? SPECIAL_INF : SPECIAL_MINUS_INF;
}

void values_measure(const heatmap *map, value_range *range)
{
    const int64_t count = map->n_panel * map->n_q * map->n_kv;
    float least = 0, most = -INFINITY;

    memset(range, 0, sizeof *range);
    for (int64_t i = 0; i < count; i++) {
        const float weight = map->weights[i];
        if (!isfinite(weight)) {
            range->special[special_of(weight)]++;
            continue;
        }
        least = weight < least ? weight : least;
        most = weight > most ? weight : most;
    }
    range->least = least;
    range->most = most > least ? most : (double)least + 1;
    colours_scale(range->scale);
}

static float largest(const float *weights, int64_t rows, int64_t columns, int64_t n_kv)
{
    float best = -INFINITY;

    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            const float weight = weights[i * n_kv + j];
            if (isnan(weight))
                return weight;
            best = weight > best ? weight : best;
        }
    return best;
}

static rgb colour_of(float weight, const value_range *range)
{
    if (!isfinite(weight))
        return special_colours[special_of(weight)];
    const double share = (weight - range->least) / (range->most - range->least);
    return range->scale[lround(share * (COLOUR_LEVELS - 1))];
}

static int64_t blocks(int64_t count, int64_t block)
{
    return (count + block - 1) / block;
}

cairo_surface_t *values_panel(const heatmap *map, int64_t panel, cell_block block,
                              const value_range *range)
{
    const float *weights = map->weights + panel * map->n_q * map->n_kv;
    const int64_t rows = blocks(map->n_q, block.rows);
    const int64_t columns = blocks(map->n_kv, block.columns);
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)columns, (int)rows);
    unsigned char *pixels = cairo_image_surface_get_data(surface);

    for (int64_t i = 0; pixels && i < rows; i++) {
        const int64_t row = i * block.rows;
        const int64_t high = row + block.rows > map->n_q ? map->n_q - row : block.rows;
        uint32_t *line = (uint32_t *)(void *)(pixels + i * cairo_image_surface_get_stride(surface));
        for (int64_t j = 0; j < columns; j++) {
            const int64_t column = j * block.columns;
            const int64_t wide =
                column + block.columns > map->n_kv ? map->n_kv - column : block.columns;
            line[j] = colour_of(largest(weights + row * map->n_kv + column, high, wide, map->n_kv),
                                range);
        }
    }
    cairo_surface_mark_dirty(surface);
    return surface;
}
