/* Pictures as PNG, drawn by cairo. */
#include "tool/heatmap_canvas.h"

#define RADIANS_PER_DEGREE 0.017453292519943295

static void set_colour(cairo_t *cairo, rgb colour)
{
    cairo_set_source_rgb(cairo, (colour >> 16 & 0xff) / 255.0, (colour >> 8 & 0xff) / 255.0,
                         (colour & 0xff) / 255.0);
}

static void png_begin(heatmap_canvas *canvas)
{
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, canvas->width, canvas->height);

    canvas->cairo = cairo_create(surface);
    cairo_surface_destroy(surface);
    set_colour(canvas->cairo, COLOUR_PAPER);
    cairo_paint(canvas->cairo);
    cairo_select_font_face(canvas->cairo, CANVAS_FONT, CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
}

static void png_rectangle(heatmap_canvas *canvas, canvas_box box, rgb colour)
{
    set_colour(canvas->cairo, colour);
    cairo_rectangle(canvas->cairo, box.x, box.y, box.width, box.height);
    cairo_fill(canvas->cairo);
}

static void png_text(heatmap_canvas *canvas, canvas_text place, const char *text)
{
    static const double before[] = {[ANCHOR_START] = 0, [ANCHOR_MIDDLE] = 0.5, [ANCHOR_END] = 1};
    cairo_t *cairo = canvas->cairo;

    cairo_save(cairo);
    set_colour(cairo, COLOUR_INK);
    cairo_set_font_size(cairo, place.size);
    cairo_translate(cairo, place.x, place.y);
    cairo_rotate(cairo, place.angle * RADIANS_PER_DEGREE);
    cairo_move_to(cairo, -before[place.anchor] * canvas_text_width(text, place.size),
                  CANVAS_BASELINE * place.size);
    cairo_show_text(cairo, text);
    cairo_restore(cairo);
}

static void png_cells(heatmap_canvas *canvas, canvas_box box, cairo_surface_t *cells)
{
    canvas_paint_cells(canvas->cairo, box, cells);
}

static cairo_status_t write_bytes(void *closure, const unsigned char *bytes, unsigned size)
{
    heatmap_canvas *canvas = closure;

    canvas->failed = !output_write_bytes(canvas->file, bytes, size);
    return canvas->failed ? CAIRO_STATUS_WRITE_ERROR : CAIRO_STATUS_SUCCESS;
}

static void png_end(heatmap_canvas *canvas)
{
    cairo_status_t status = cairo_status(canvas->cairo);

    if (status == CAIRO_STATUS_SUCCESS)
        status =
            cairo_surface_write_to_png_stream(cairo_get_target(canvas->cairo), write_bytes, canvas);
    canvas_check(canvas, status);
    cairo_destroy(canvas->cairo);
    canvas->cairo = NULL;
}

const canvas_kind canvas_png = {".png", png_begin, png_rectangle, png_text, png_cells, png_end};
