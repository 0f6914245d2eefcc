/* The colour scale, computed in OKLab (B. Ottosson, "A perceptual color space for image
 * processing", 2020): lightness falls while the hue goes from yellow over green to violet. */
#include "tool/heatmap_colours.h"

#include <math.h>

/* The curve is walked in this many steps to measure its length. */
#define CURVE_STEPS 1024

#define PI 3.14159265358979323846

typedef struct lab {
    double l, a, b;
} lab;

const rgb special_colours[SPECIAL_COUNT] = {0xe8261c, 0xff8ad0, 0xb4b4b4};
const char *const special_names[SPECIAL_COUNT] = {"NaN", "inf", "-inf"};

static void lab_to_linear(lab c, double linear[3])
{
    const double l = pow(c.l + 0.3963377774 * c.a + 0.2158037573 * c.b, 3);
    const double m = pow(c.l - 0.1055613458 * c.a - 0.0638541728 * c.b, 3);
    const double s = pow(c.l - 0.0894841775 * c.a - 1.2914855480 * c.b, 3);

    linear[0] = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s;
    linear[1] = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s;
    linear[2] = -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s;
}

/* One point of the curve, 0 <= t <= 1. All of it is within sRGB, so no colour has to be clipped. */
static lab curve(double t)
{
    const double hue = (110 + 190 * t) * PI / 180;
    const double chroma = 0.015 + 0.085 * (1 - pow(1 - t, 4));

    return (lab){0.985 - 0.735 * t, chroma * cos(hue), chroma * sin(hue)};
}

static double distance(lab x, lab y)
{
    return sqrt(pow(x.l - y.l, 2) + pow(x.a - y.a, 2) + pow(x.b - y.b, 2));
}

static rgb lab_to_colour(lab c)
{
    double linear[3];
    rgb packed = 0;

    lab_to_linear(c, linear);
    for (int i = 0; i < 3; i++) {
        const double x = fmin(fmax(linear[i], 0), 1);
        const double encoded = x <= 0.0031308 ? 12.92 * x : 1.055 * pow(x, 1 / 2.4) - 0.055;
        packed = packed << 8 | (rgb)lround(255 * encoded);
    }
    return packed;
}

void colours_scale(rgb scale[COLOUR_LEVELS])
{
    double length[CURVE_STEPS + 1] = {0}; /* from the curve's beginning */

    for (int i = 1; i <= CURVE_STEPS; i++)
        length[i] = length[i - 1] +
                    distance(curve((double)(i - 1) / CURVE_STEPS), curve((double)i / CURVE_STEPS));
    int at = 1;
    for (int level = 0; level < COLOUR_LEVELS; level++) {
        const double wanted = length[CURVE_STEPS] * level / (COLOUR_LEVELS - 1);
        while (at < CURVE_STEPS && length[at] < wanted)
            at++;
        const double rest = (wanted - length[at - 1]) / (length[at] - length[at - 1]);
        scale[level] = lab_to_colour(curve((at - 1 + rest) / CURVE_STEPS));
    }
}
