/* `clattn heatmap`: draws attention weights as a picture. */
#include "tool/commands.h"

#include <inttypes.h>

#include "tool/heatmap_canvas.h"
#include "tool/heatmap_draw.h"
#include "tool/labels.h"
#include "tool/npy.h"
#include "tool/output_file.h"
#include "tool/progress.h"

typedef struct heatmap_options {
    const char *weights, *out;
    const char *tokens, *row_tokens, *column_tokens;
    option_integer head, batch;
} heatmap_options;

/* What the command holds, released together. */
typedef struct heatmap_job {
    heatmap_options options;
    npy_array weights;
    label_list row_labels, column_labels;
    output_file file;
} heatmap_job;

/* The last four extents of the weights; those that the file lacks are 1. */
typedef struct weight_shape {
    int64_t batch, n_head, n_q, n_kv;
} weight_shape;

static int check_usage(const heatmap_options *options)
{
    if (options->tokens && (options->row_tokens || options->column_tokens))
        return usage_error("--tokens", "is for both axes; give it, or --row-tokens and "
                                       "--column-tokens");
    if (!canvas_kind_of(options->out))
        return usage_error("--out", "%s: the name must end in .png or .svg", options->out);
    return EXIT_RAN;
}

static int find_shape(const heatmap_job *job, weight_shape *shape)
{
    const npy_array *array = &job->weights;
    int64_t extents[4] = {1, 1, 1, 1};

    if (array->rank < 2 || array->rank > 4)
        return failure(
            "--weights",
            "%s: expected (batch, head, query, key), (head, query, key) or (query, key), "
            "found %" PRIu32 " dimensions",
            job->options.weights, array->rank);
    for (uint32_t i = 0; i < array->rank; i++)
        extents[4 - array->rank + i] = array->shape[i];
    if (array->count == 0)
        return failure("--weights", "%s: there are no weights in it", job->options.weights);
    *shape = (weight_shape){extents[0], extents[1], extents[2], extents[3]};
    return EXIT_RAN;
}

/* Fails unless the option's value, if given, is below `count`. */
static int check_index(const char *argument, option_integer index, int64_t count, const char *what)
{
    if (!index.given || (index.value >= 0 && index.value < count))
        return EXIT_RAN;
    return usage_error(argument, "%" PRId64 " is out of range: the weights have %s 0 to %" PRId64,
                       index.value, what, count - 1);
}

/* Chooses the panels. */
static int select_panels(const heatmap_job *job, heatmap *map)
{
    const heatmap_options *options = &job->options;
    weight_shape shape = {0};
    int status = find_shape(job, &shape);

    if (status == EXIT_RAN)
        status = check_index("--batch", options->batch, shape.batch, "batch entries");
    if (status == EXIT_RAN)
        status = check_index("--head", options->head, shape.n_head, "heads");
    if (status == EXIT_RAN && shape.batch > 1 && !options->batch.given)
        status = usage_error("--batch", "the weights have %" PRId64 " batch entries; choose one",
                             shape.batch);
    if (status != EXIT_RAN)
        return status;

    const int64_t batch = options->batch.given ? options->batch.value : 0;
    const int64_t head = options->head.given ? options->head.value : 0;
    const int64_t panel = shape.n_q * shape.n_kv;
    *map = (heatmap){.weights = job->weights.data + (batch * shape.n_head + head) * panel,
                     .n_panel = options->head.given ? 1 : shape.n_head,
                     .n_q = shape.n_q,
                     .n_kv = shape.n_kv,
                     .first_head = job->weights.rank > 2 ? head : -1,
                     .batch = shape.batch > 1 ? batch : -1};
    return EXIT_RAN;
}

/* Reads the labels of one axis where a file is named. */
static int read_axis(const char *argument, const char *path, int64_t count, const char *what,
                     label_list *labels)
{
    if (!labels_read(argument, path, labels))
        return EXIT_FAILED;
    if (labels->count != count)
        return failure(argument, "%s: %" PRId64 " tokens, but the weights have %" PRId64 " %s",
                       path, labels->count, count, what);
    return EXIT_RAN;
}

static int read_labels(heatmap_job *job, heatmap *map)
{
    const heatmap_options *options = &job->options;
    const bool both = options->tokens != NULL;
    const char *rows = both ? options->tokens : options->row_tokens;
    const char *columns = both ? options->tokens : options->column_tokens;
    int status = EXIT_RAN;

    if (rows)
        status = read_axis(both ? "--tokens" : "--row-tokens", rows, map->n_q, "queries",
                           &job->row_labels);
    if (status == EXIT_RAN && columns)
        status = read_axis(both ? "--tokens" : "--column-tokens", columns, map->n_kv, "keys",
                           &job->column_labels);
    map->query_labels = rows ? &job->row_labels : NULL;
    map->key_labels = columns ? &job->column_labels : NULL;
    return status;
}

static int draw(heatmap_job *job, const heatmap *map)
{
    if (!output_open(&job->file, "--out", job->options.out))
        return EXIT_FAILED;
    progress *line = progress_start("heat-map");
    const bool good = heatmap_draw(map, &job->file);
    progress_stop(line);
    return good && output_commit(&job->file) ? EXIT_RAN : EXIT_FAILED;
}

static int run(heatmap_job *job)
{
    const heatmap_options *options = &job->options;
    heatmap map = {0};
    int status = check_usage(options);

    if (status == EXIT_RAN && !npy_read_floats("--weights", options->weights, &job->weights))
        status = EXIT_FAILED;
    if (status == EXIT_RAN)
        status = select_panels(job, &map);
    if (status == EXIT_RAN)
        status = read_labels(job, &map);
    if (status == EXIT_RAN)
        status = draw(job, &map);
    return status;
}

int command_heatmap(const command *self, int argc, char **argv)
{
    heatmap_job job = {0};
    heatmap_options *options = &job.options;
    const option_row rows[] = {
        {"weights", OPTION_TEXT, true, &options->weights, "W.npy",
         "(batch, head, query, key), (head, query, key) or (query, key)"},
        {"out", OPTION_TEXT, true, &options->out, "H.png|H.svg", "the picture"},
        {"tokens", OPTION_TEXT, false, &options->tokens, "T.json",
         "labels of both axes: an array of strings, or an object with one under \"tokens\""},
        {"row-tokens", OPTION_TEXT, false, &options->row_tokens, "T.json", "labels of the queries"},
        {"column-tokens", OPTION_TEXT, false, &options->column_tokens, "T.json",
         "labels of the keys"},
        {"head", OPTION_INTEGER, false, &options->head, "N",
         "draw this head, counted from 0; otherwise all"},
        {"batch", OPTION_INTEGER, false, &options->batch, "N",
         "draw this batch entry, counted from 0; needed where there are several"},
        {0},
    };
    int status;

    if (options_parse(self, rows, argc, argv, NULL, &status))
        status = run(&job);
    output_finish(&job.file);
    labels_finish(&job.row_labels);
    labels_finish(&job.column_labels);
    npy_finish(&job.weights);
    return status;
}
