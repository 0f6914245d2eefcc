/* Rows of a tuning file from and to text. Columns are separated by tabs, so texts may have blanks;
 * control characters in a driver's texts become blanks. */
#include "plan/tuning_file.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "clattn tuning 1"

/* Columns in order; a row may have more, which are for later versions. */
static const struct {
    const char *title;
    size_t offset, capacity;
} texts[] = {
#define TEXT_COLUMN(title, field)                                                                  \
    {                                                                                              \
        title, offsetof(clattn_tuning_row, field), sizeof((clattn_tuning_row *)NULL)->field        \
    }
    TEXT_COLUMN("kernel", kernel),
    TEXT_COLUMN("problems", problem),
    TEXT_COLUMN("configuration", configuration),
    TEXT_COLUMN("clattn", version),
    TEXT_COLUMN("device", device),
    TEXT_COLUMN("driver", driver),
    TEXT_COLUMN("platform", platform_version),
};
enum { TEXTS = sizeof texts / sizeof texts[0] };

static char *column(clattn_tuning_row *row, size_t i)
{
    return (char *)row + texts[i].offset;
}

const char *clattn__tuning_text_check(const char *text)
{
    const size_t size = strlen(HEADER);
    if (strncmp(text, HEADER, size) == 0 && (text[size] == '\n' || text[size] == '\r'))
        return NULL;
    return strncmp(text, HEADER, size - 1) == 0 ? "is of another version of the format"
                                                : "is no tuning file";
}

/* Where the column at `at` ends. */
static const char *column_end(const char *at, const char *line_end)
{
    const char *tab = memchr(at, '\t', (size_t)(line_end - at));
    return tab ? tab : line_end;
}

/* Copies the column at *at, which moves behind it; false if it is empty or doesn't fit. */
static bool take(const char **at, const char *line_end, char *to, size_t capacity)
{
    const char *end = column_end(*at, line_end);
    const size_t size = (size_t)(end - *at);
    if (size == 0 || size >= capacity)
        return false;
    memcpy(to, *at, size);
    to[size] = 0;
    *at = end < line_end ? end + 1 : end;
    return true;
}

/* "1.053", without asking the locale. */
static bool parse_speedup(const char *text, double *speedup)
{
    char *end;
    if (strspn(text, "0123456789.") != strlen(text) || text[0] == '.')
        return false;
    const unsigned long whole = strtoul(text, &end, 10);
    unsigned long part = 0;
    size_t digits = 0;
    if (*end == '.') {
        const char *begin = end + 1;
        part = strtoul(begin, &end, 10);
        digits = (size_t)(end - begin);
    }
    if (*end || whole > 1000 || digits > 6)
        return false;
    double unit = 1;
    while (digits--)
        unit /= 10;
    *speedup = (double)whole + (double)part * unit;
    return true;
}

static bool parse_row(const char *line, const char *end, clattn_tuning_row *row)
{
    char units[12], speedup[24], *rest;
    memset(row, 0, sizeof *row);
    row->struct_size = (uint32_t)sizeof *row;
    for (size_t i = 0; i < TEXTS; i++)
        if (!take(&line, end, column(row, i), texts[i].capacity))
            return false;
    if (!take(&line, end, units, sizeof units) || !take(&line, end, speedup, sizeof speedup))
        return false;
    row->compute_units = (uint32_t)strtoul(units, &rest, 10);
    return !*rest && parse_speedup(speedup, &row->speedup);
}

/* A line without its newline was cut off, and so may its numbers be. */
bool clattn__tuning_text_next(const char **at, clattn_tuning_row *row, uint32_t *skipped)
{
    for (const char *line = *at, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        const char *last = end > line && end[-1] == '\r' ? end - 1 : end;
        if (parse_row(line, last, row)) {
            *at = end + 1;
            return true;
        }
        if (skipped && last > line && *line != '#' && strncmp(line, HEADER, strlen(HEADER)) != 0)
            ++*skipped;
    }
    *at += strlen(*at);
    return false;
}

void clattn__tuning_text_begin(clattn__text *text)
{
    clattn__text_add(text, HEADER "\n"
                                  "# Written by `clattn tune`; a row that doesn't hold is ignored. "
                                  "`clattn tune --forget` removes the file.\n# ");
    for (size_t i = 0; i < TEXTS; i++)
        clattn__text_add(text, "%s\t", texts[i].title);
    clattn__text_add(text, "compute units\tspeedup\n");
}

void clattn__tuning_text_add(clattn__text *text, const clattn_tuning_row *row)
{
    const uint32_t thousandths = (uint32_t)(row->speedup * 1000 + 0.5);
    for (size_t i = 0; i < TEXTS; i++)
        clattn__text_add(text, "%s\t", (const char *)row + texts[i].offset);
    clattn__text_add(text, "%" PRIu32 "\t%" PRIu32 ".%03" PRIu32 "\n", row->compute_units,
                     thousandths / 1000, thousandths % 1000);
}

/* A text of a driver's into a column: never empty, without tabs and newlines. */
static void clean(char *to, size_t capacity, const char *from)
{
    snprintf(to, capacity, "%s", *from ? from : "-");
    for (; *to; to++)
        if ((unsigned char)*to < ' ')
            *to = ' ';
}

void clattn__tuning_row_init(const clattn_device_info *info, clattn_tuning_row *row)
{
    memset(row, 0, sizeof *row);
    row->struct_size = (uint32_t)sizeof *row;
    row->compute_units = info->compute_units;
    clean(row->device, sizeof row->device, info->name);
    clean(row->driver, sizeof row->driver, info->driver);
    clean(row->platform_version, sizeof row->platform_version, info->platform_version);
    clean(row->version, sizeof row->version, clattn_version_string());
}

bool clattn__tuning_row_is_for(const clattn_tuning_row *row, const clattn_tuning_row *device)
{
    return row->compute_units == device->compute_units &&
           strcmp(row->device, device->device) == 0 && strcmp(row->driver, device->driver) == 0 &&
           strcmp(row->platform_version, device->platform_version) == 0 &&
           strcmp(row->version, device->version) == 0;
}
