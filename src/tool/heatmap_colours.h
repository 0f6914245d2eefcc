/* Colours of the heat-map: a perceptually uniform scale from light (small) to dark (large), and
 * colours of their own for what is not a finite number. */
#ifndef CLATTN_TOOL_HEATMAP_COLOURS_H
#define CLATTN_TOOL_HEATMAP_COLOURS_H

#include <stdint.h>

#define COLOUR_LEVELS 256

typedef uint32_t rgb; /* 0xRRGGBB */

enum {
    COLOUR_PAPER = 0xffffff,
    COLOUR_INK = 0x1a1a1a,
    COLOUR_FRAME = 0x8c8c8c,
};

/* What a weight can be besides a finite number. */
typedef enum special { SPECIAL_NAN, SPECIAL_INF, SPECIAL_MINUS_INF, SPECIAL_COUNT } special;

extern const rgb special_colours[SPECIAL_COUNT];
extern const char *const special_names[SPECIAL_COUNT];

/* Equal steps of the index are equal distances in the OKLab colour space. */
void colours_scale(rgb scale[COLOUR_LEVELS]);

#endif
