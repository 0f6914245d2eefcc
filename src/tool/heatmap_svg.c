/* Pictures as SVG: text stays text, so that it can be searched and copied; the cells of a panel are
 * an embedded image, in the picture's own resolution because not every viewer enlarges an image
 * with sharp edges. */
#include "tool/heatmap_canvas.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put(heatmap_canvas *canvas, const char *bytes, size_t size)
{
    if (!canvas->failed)
        canvas->failed = !output_write_bytes(canvas->file, bytes, size);
}

/* For markup and numbers; texts of any length go through put_escaped. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
put_markup(heatmap_canvas *canvas, const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    const int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    put(canvas, line, (size_t)size);
}

static void put_escaped(heatmap_canvas *canvas, const char *text)
{
    static const char markup[] = "<>&\"'";
    static const char *const entities[] = {"&lt;", "&gt;", "&amp;", "&quot;", "&#39;"};

    while (*text) {
        const size_t plain = strcspn(text, markup);
        put(canvas, text, plain);
        text += plain;
        if (*text) {
            const char *entity = entities[strchr(markup, *text) - markup];
            put(canvas, entity, strlen(entity));
            text++;
        }
    }
}

static void svg_begin(heatmap_canvas *canvas)
{
    put_markup(canvas,
               "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
               "<svg xmlns=\"http://www.w3.org/2000/svg\" "
               "xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"%d\" height=\"%d\" "
               "viewBox=\"0 0 %d %d\"\n"
               "     font-family=\"'%s', Verdana, sans-serif\" fill=\"#%06x\">\n"
               "<title>Attention weights</title>\n",
               canvas->width, canvas->height, canvas->width, canvas->height, CANVAS_FONT,
               (unsigned)COLOUR_INK);
    canvas->kind->rectangle(canvas, (canvas_box){0, 0, canvas->width, canvas->height},
                            COLOUR_PAPER);
}

static void svg_rectangle(heatmap_canvas *canvas, canvas_box box, rgb colour)
{
    put_markup(canvas,
               "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#%06x\"/>\n",
               box.x, box.y, box.width, box.height, (unsigned)colour);
}

static void svg_text(heatmap_canvas *canvas, canvas_text place, const char *text)
{
    static const char *const anchors[] = {
        [ANCHOR_START] = "start", [ANCHOR_MIDDLE] = "middle", [ANCHOR_END] = "end"};

    put_markup(canvas, "<text transform=\"translate(%.1f %.1f)", place.x, place.y);
    if (place.angle < 0 || place.angle > 0)
        put_markup(canvas, " rotate(%.1f)", place.angle);
    put_markup(canvas, "\" y=\"%.1f\" font-size=\"%.1f\" text-anchor=\"%s\">",
               CANVAS_BASELINE * place.size, place.size, anchors[place.anchor]);
    put_escaped(canvas, text);
    put_markup(canvas, "</text>\n");
}

/* Bytes on their way into Base64 (RFC 4648). */
typedef struct base64 {
    heatmap_canvas *canvas;
    unsigned char group[3];
    unsigned filled; /* bytes of the group */
} base64;

/* Writes the group; missing bytes become padding. */
static void put_group(base64 *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[4];
    unsigned bits = 0;

    for (unsigned i = 0; i < 3; i++)
        bits = bits << 8 | (i < out->filled ? out->group[i] : 0);
    for (unsigned i = 0; i < 4; i++)
        text[i] = i <= out->filled ? digits[bits >> (18 - 6 * i) & 63] : '=';
    put(out->canvas, text, sizeof text);
    out->filled = 0;
}

static cairo_status_t write_base64(void *closure, const unsigned char *bytes, unsigned size)
{
    base64 *out = closure;

    for (unsigned i = 0; i < size; i++) {
        out->group[out->filled++] = bytes[i];
        if (out->filled == 3)
            put_group(out);
    }
    return out->canvas->failed ? CAIRO_STATUS_WRITE_ERROR : CAIRO_STATUS_SUCCESS;
}

static void svg_cells(heatmap_canvas *canvas, canvas_box box, cairo_surface_t *cells)
{
    base64 out = {canvas, {0}, 0};
    cairo_surface_t *image =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)box.width, (int)box.height);
    cairo_t *cairo = cairo_create(image);

    canvas_paint_cells(cairo, (canvas_box){0, 0, box.width, box.height}, cells);
    cairo_status_t status = cairo_status(cairo);
    cairo_destroy(cairo);
    put_markup(canvas,
               "<image x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
               "preserveAspectRatio=\"none\" image-rendering=\"optimizeSpeed\" "
               "style=\"image-rendering:pixelated\" xlink:href=\"data:image/png;base64,",
               box.x, box.y, box.width, box.height);
    if (status == CAIRO_STATUS_SUCCESS)
        status = cairo_surface_write_to_png_stream(image, write_base64, &out);
    cairo_surface_destroy(image);
    canvas_check(canvas, status);
    if (out.filled > 0)
        put_group(&out);
    put_markup(canvas, "\"/>\n");
}

static void svg_end(heatmap_canvas *canvas)
{
    put_markup(canvas, "</svg>\n");
}

const canvas_kind canvas_svg = {".svg", svg_begin, svg_rectangle, svg_text, svg_cells, svg_end};
