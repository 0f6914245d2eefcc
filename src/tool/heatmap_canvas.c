/* What the picture formats have in common: their table, and the measure of text. */
#include "tool/heatmap_canvas.h"

#include <string.h>
#include <strings.h>

#include "tool/options.h"

static const canvas_kind *const kinds[] = {&canvas_png, &canvas_svg};

const canvas_kind *canvas_kind_of(const char *path)
{
    const size_t length = strlen(path);

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const size_t suffix = strlen(kinds[i]->suffix);
        if (length > suffix && strcasecmp(path + length - suffix, kinds[i]->suffix) == 0)
            return kinds[i];
    }
    return NULL;
}

double canvas_text_width(const char *text, double size)
{
    cairo_font_face_t *face =
        cairo_toy_font_face_create(CANVAS_FONT, CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_matrix_t font, device;
    cairo_text_extents_t extents = {0};

    cairo_matrix_init_scale(&font, size, size);
    cairo_matrix_init_identity(&device);
    cairo_scaled_font_t *scaled = cairo_scaled_font_create(face, &font, &device, options);
    cairo_scaled_font_text_extents(scaled, text, &extents);
    cairo_scaled_font_destroy(scaled);
    cairo_font_options_destroy(options);
    cairo_font_face_destroy(face);
    return extents.x_advance;
}

void canvas_frame(heatmap_canvas *canvas, canvas_box box)
{
    const canvas_box frame = {box.x - 1, box.y - 1, box.width + 2, box.height + 2};

    canvas->kind->rectangle(canvas, frame, COLOUR_FRAME);
    canvas->kind->rectangle(canvas, box, COLOUR_PAPER);
}

void canvas_paint_cells(cairo_t *cairo, canvas_box box, cairo_surface_t *cells)
{
    cairo_save(cairo);
    cairo_translate(cairo, box.x, box.y);
    cairo_scale(cairo, box.width / cairo_image_surface_get_width(cells),
                box.height / cairo_image_surface_get_height(cells));
    cairo_set_source_surface(cairo, cells, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_NEAREST);
    cairo_paint(cairo);
    cairo_restore(cairo);
}

void canvas_check(heatmap_canvas *canvas, cairo_status_t status)
{
    if (status == CAIRO_STATUS_SUCCESS || canvas->failed)
        return;
    failure(canvas->file->argument, "%s: %s", canvas->file->path, cairo_status_to_string(status));
    canvas->failed = true;
}
