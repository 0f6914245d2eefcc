/* The tuning file without OpenCL: what was written is used for its device and class, and nothing
 * odd in it does harm. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <sys/stat.h>
#include <unistd.h>
#endif

#include "base/file.h"
#include "place.h"
#include "plan/tuning.h"
#include "plan/tuning_file.h"

static char folder[PLACE_SIZE], path[PLACE_PATH];
static clattn__env env;
static clattn_device_info info;
static clattn__caps caps;

static void set_up(void)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    place_make(folder);
    options.cache_dir = folder;
    cr_assert_eq(clattn__env_init(&env, &options), CLATTN_OK);
    snprintf(path, sizeof path, "%s/tuning.txt", folder);
    memset(&info, 0, sizeof info);
    strcpy(info.name, "A CPU (of 2)");
    strcpy(info.driver, "3.1");
    strcpy(info.platform_version, "OpenCL 3.0 Something 3.1  Linux");
    info.compute_units = 2;
    memset(&caps, 0, sizeof caps);
    caps.family = CLATTN__SIMD;
    caps.compute_units = 2;
    caps.vector_width = 16;
    caps.vector_registers = 32;
    caps.max_allocation = (uint64_t)1 << 30;
}

static void tear_down(void)
{
    place_open_to_others(folder, false);
    place_remove_file(path);
    cr_assert(place_remove(folder), "something is left in the folder");
    clattn__env_finish(&env);
}

TestSuite(tuning, .init = set_up, .fini = tear_down);

static void write_bytes(const char *bytes, size_t size)
{
    cr_assert_eq(clattn__file_write_atomic(&env, path, bytes, size), CLATTN_OK);
}

/* A row for the device of this test. */
static clattn_tuning_row row_of(const char *problem, const char *configuration)
{
    clattn_tuning_row row;
    clattn__tuning_row_init(&info, &row);
    strcpy(row.kernel, "attention_simd");
    strcpy(row.problem, problem);
    strcpy(row.configuration, configuration);
    row.speedup = 1.25;
    return row;
}

/* A file with these rows; its text, owned. */
static char *text_of(const clattn_tuning_row *rows, size_t count)
{
    clattn__text text;
    clattn__text_init(&text, &env);
    clattn__tuning_text_begin(&text);
    for (size_t i = 0; i < count; i++)
        clattn__tuning_text_add(&text, &rows[i]);
    char *made = clattn__text_take(&text);
    cr_assert_not_null(made);
    return made;
}

static void write_rows(const clattn_tuning_row *rows, size_t count)
{
    char *text = text_of(rows, count);
    write_bytes(text, strlen(text));
    clattn__free(&env, text);
}

static void write_row(const char *problem, const char *configuration)
{
    const clattn_tuning_row row = row_of(problem, configuration);
    write_rows(&row, 1);
}

/* The kernel that tuning is about. */
static const clattn__kernel *attention_simd(void)
{
    uint32_t i = 0;
    while (strcmp(clattn__kernel_get(i)->name, "attention_simd") != 0)
        i++;
    return clattn__kernel_get(i);
}

/* What planning takes for plain attention of n keys and queries; "" if it is as built in. */
static const char *used_for(int64_t n_q, int64_t n_kv, clattn__origin *origin)
{
    static char configuration[192];
    const clattn__kernel *kernel = attention_simd();
    clattn__tuning *tuning;
    clattn_attention_desc desc;
    clattn__problem problem;
    clattn__config config = {0}, built_in;
    clattn__text text;
    cr_assert_eq(clattn__tuning_load(&env, &info, &tuning), CLATTN_OK);
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = 1;
    desc.n_q = n_q;
    desc.n_kv = n_kv;
    desc.head_dim = desc.value_dim = 64;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    kernel->configure(&problem, &caps, &config);
    built_in = config;
    *origin = clattn__tuning_apply(tuning, &env, kernel, &problem, &caps, &config);
    clattn__free(&env, tuning);
    cr_assert(kernel->tunable->fits(&config, &caps));
    cr_assert_eq(config.dim_max, 64);
    if (!origin->problem_class)
        cr_assert(clattn__config_same(&config, &built_in));
    clattn__text_init(&text, &env);
    clattn__config_describe_tuned(&config, &text);
    snprintf(configuration, sizeof configuration, "%s",
             origin->problem_class ? clattn__text_get(&text) : "");
    clattn__text_finish(&text);
    return configuration;
}

static const char *used(void)
{
    clattn__origin origin;
    return used_for(1000, 1000, &origin);
}

#define FASTER "VEC=16 ROWS=12 COLS=2 VALUE_COLS=2 BLOCK_M=72 BLOCK_N=512"

Test(tuning, what_was_written_is_used)
{
    clattn__origin origin;
    cr_assert_str_eq(used(), "", "there is no file");
    write_row("dim=64", FASTER);
    cr_assert_str_eq(used_for(1000, 1000, &origin), FASTER);
    cr_assert_str_eq(origin.problem_class, "dim=64");
    cr_assert_float_eq(origin.speedup, 1.25, 1e-9);
    cr_assert_not(origin.follows);
    write_row("dim=128", FASTER);
    cr_assert_str_eq(used(), "");
    write_row("dim=64", "VEC=16 ROWS=4 COLS=4 VALUE_COLS=4 BLOCK_M=48");
    cr_assert_str_eq(used(), "", "without all its numbers");
}

Test(tuning, of_another_device_driver_or_version)
{
    clattn_tuning_row row = row_of("dim=64", FASTER);
    const clattn_tuning_row good = row;
    char *const texts[] = {row.device,  row.driver, row.platform_version,
                           row.version, row.kernel, row.problem};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        row = good;
        strcat(texts[i], "1");
        write_rows(&row, 1);
        cr_assert_str_eq(used(), "", "%s", texts[i]);
    }
    row = good;
    row.compute_units = 3;
    write_rows(&row, 1);
    cr_assert_str_eq(used(), "");
    const clattn_tuning_row both[] = {row, good};
    write_rows(both, 2);
    cr_assert_str_eq(used(), FASTER);
}

/* Texts that a driver may give: empty, with tabs and newlines, as long as they can be. */
Test(tuning, odd_names_of_devices)
{
    memset(info.name, 'n', sizeof info.name - 1);
    strcpy(info.driver, "");
    strcpy(info.platform_version, "a\tb\nc\r\x7f \xc3\xa4");
    write_row("dim=64", FASTER);
    cr_assert_str_eq(used(), FASTER);
}

/* What comes later in a row counts. */
#define BUILT_IN "VEC=16 ROWS=6 COLS=4 VALUE_COLS=4 BLOCK_M=48 BLOCK_N=256"

Test(tuning, absurd_configurations)
{
    static const char *const changes[] = {
        "VEC=0",
        "VEC=32",
        "VEC=1",
        "VEC=5",
        "ROWS=0",
        "ROWS=7",
        "ROWS=100000",
        "ROWS=999999999",
        "COLS=0",
        "COLS=3",
        "COLS=9",
        "ROWS=24",
        "VALUE_COLS=0",
        "VALUE_COLS=99999999",
        "BLOCK_M=47",
        "BLOCK_M=0",
        "BLOCK_M=999999996",
        "BLOCK_M=1002",
        "BLOCK_N=255",
        "BLOCK_N=32",
        "BLOCK_N=0",
        "BLOCK_N=999999936",
        "BLOCK_N=2048",
        "ROWS=",
        "ROWS=-6",
        "ROWS=6;",
        "rm -rf /",
        "%n%n%n%s",
        "ROWS=99999999999999999999",
    };
    char row[192];
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        snprintf(row, sizeof row, BUILT_IN " %s", changes[i]);
        write_row("dim=64", row);
        cr_assert_str_eq(used(), "", "%s", row);
    }
    write_row("dim=64", BUILT_IN);
    cr_assert_str_eq(used(), BUILT_IN);
    write_row("dim=64", "WARP=32 " FASTER " DIM_MAX=1 FULL=1");
    cr_assert_str_eq(used(), FASTER, "what isn't known or can't be tuned is left out");
}

/* A problem may be in a batch with longer ones: the order of its sums must be the same. */
Test(tuning, classes_that_follow)
{
    static const char *const short_one = "VEC=16 ROWS=4 COLS=2 VALUE_COLS=3 BLOCK_M=24 BLOCK_N=512";
    clattn__origin origin;
    const clattn_tuning_row rows[] = {row_of("dim=64", FASTER), row_of("dim=64,short", short_one)};
    write_rows(rows, 1);
    cr_assert_str_eq(used_for(100, 100, &origin),
                     "VEC=16 ROWS=8 COLS=2 VALUE_COLS=2 BLOCK_M=48 BLOCK_N=512");
    cr_assert(origin.follows);
    cr_assert_str_eq(origin.problem_class, "dim=64");
    cr_assert_str_eq(used_for(1, 1000, &origin),
                     "VEC=16 ROWS=6 COLS=4 VALUE_COLS=4 BLOCK_M=48 BLOCK_N=512");
    write_rows(rows, 2);
    cr_assert_str_eq(used_for(100, 100, &origin), short_one);
    cr_assert_not(origin.follows);
    write_rows(rows + 1, 1);
    cr_assert_str_eq(used_for(100, 100, &origin), "", "other bits than the leader, as built in");
    write_row("dim=64", "VEC=8 ROWS=4 COLS=3 VALUE_COLS=3 BLOCK_M=48 BLOCK_N=192");
    cr_assert_str_eq(used_for(1, 1000, &origin),
                     "VEC=8 ROWS=6 COLS=4 VALUE_COLS=4 BLOCK_M=48 BLOCK_N=192");
    write_row("dim=64", "VEC=16 ROWS=4 COLS=1 VALUE_COLS=3 BLOCK_M=48 BLOCK_N=448");
    cr_assert_str_eq(used_for(1, 1000, &origin),
                     "VEC=16 ROWS=6 COLS=4 VALUE_COLS=4 BLOCK_M=48 BLOCK_N=448");
    /* 64 panels of 16 keys are more than a block has bits for: the leader's tile as well */
    write_row("dim=64", "VEC=4 ROWS=2 COLS=8 VALUE_COLS=2 BLOCK_M=48 BLOCK_N=1024");
    cr_assert_str_eq(used_for(100, 100, &origin),
                     "VEC=4 ROWS=2 COLS=8 VALUE_COLS=2 BLOCK_M=48 BLOCK_N=1024");
}

Test(tuning, files_that_are_none)
{
    static const char *const texts[] = {
        "",
        "\n",
        "clattn",
        "clattn tuning",
        "clattn tuning 1",
        "clattn tuning 2\n",
        "clattn tuning 10\n",
        "clattn tuning 1 \n",
        "{\"version\": 1}\n",
        "\177ELF",
        "#!/bin/sh\nexit 1\n",
    };
    const clattn_tuning_row row = row_of("dim=64", FASTER);
    char *good = text_of(&row, 1);
    const char *rest = strchr(good, '\n') + 1;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char text[4096];
        snprintf(text, sizeof text, "%s%s", texts[i], rest);
        write_bytes(text, strlen(text));
        cr_assert_str_eq(used(), "", "'%s'", texts[i]);
    }
    write_bytes("", 0);
    cr_assert_str_eq(used(), "");
    write_bytes(good, strlen(good));
    cr_assert_str_eq(used(), FASTER);
    clattn__free(&env, good);
}

/* Cut off anywhere: the row is used whole or not at all. */
Test(tuning, truncated_files)
{
    const clattn_tuning_row row = row_of("dim=64", FASTER);
    char *good = text_of(&row, 1);
    for (size_t size = 0; size < strlen(good); size++) {
        write_bytes(good, size);
        cr_assert_str_eq(used(), "", "%zu bytes", size);
    }
    clattn__free(&env, good);
}

/* Any byte changed: never a crash, and what is used fits (used_for checks it). */
Test(tuning, damaged_files)
{
    const clattn_tuning_row rows[] = {row_of("dim=64", FASTER), row_of("dim=64,short", FASTER)};
    char *good = text_of(rows, 2);
    const size_t size = strlen(good);
    uint64_t state = 7;
    for (int i = 0; i < 3000; i++) {
        clattn__origin origin;
        char *bad = clattn__copy_text(&env, good);
        for (int n = 0; n <= i % 4; n++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            bad[(state >> 33) % size] = (char)(state >> 24);
        }
        write_bytes(bad, size);
        clattn__free(&env, bad);
        used_for(1000, 1000, &origin);
        used_for(100, 100, &origin);
    }
    clattn__free(&env, good);
}

Test(tuning, large_files)
{
    const clattn_tuning_row row = row_of("dim=64", FASTER);
    char *good = text_of(&row, 1);
    const size_t size = strlen(good);
    char *large = calloc(1, CLATTN__LARGEST_TUNING + 1);
    cr_assert_not_null(large);
    memset(large, 'x', CLATTN__LARGEST_TUNING + 1);
    memcpy(large, good, size);
    large[CLATTN__LARGEST_TUNING - 1] = '\n';
    write_bytes(large, CLATTN__LARGEST_TUNING + 1);
    cr_assert_str_eq(used(), "", "too large");
    write_bytes(large, CLATTN__LARGEST_TUNING);
    cr_assert_str_eq(used(), FASTER, "a line of a megabyte is no row");
    memset(large + size, 0, CLATTN__LARGEST_TUNING - size);
    write_bytes(large, CLATTN__LARGEST_TUNING);
    cr_assert_str_eq(used(), FASTER);
    free(large);
    clattn__free(&env, good);
}

/* More rows than there can be classes. */
Test(tuning, many_rows)
{
    enum { ROWS = 2000 };
    clattn_tuning_row *rows = calloc(ROWS, sizeof *rows);
    cr_assert_not_null(rows);
    for (int i = 0; i < ROWS; i++)
        rows[i] = row_of("dim=64", FASTER);
    write_rows(rows, ROWS);
    cr_assert_str_eq(used(), FASTER);
    free(rows);
}

Test(tuning, places_that_can_not_be_used)
{
    write_row("dim=64", FASTER);
    place_open_to_others(folder, true);
    cr_assert_str_eq(used(), "", "others may write to the folder");
    place_open_to_others(folder, false);
    cr_assert_str_eq(used(), FASTER);
    cr_assert(place_remove_file(path));
    cr_assert(place_make_folder(path));
    cr_assert_str_eq(used(), "", "a folder");
    cr_assert(place_remove(path));
}

#ifndef _WIN32
Test(tuning, files_of_other_kinds)
{
    write_row("dim=64", FASTER);
    cr_assert_eq(chmod(folder, 0755), 0);
    cr_assert_str_eq(used(), FASTER, "reading is no danger");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    alarm(60);
    cr_assert_str_eq(used(), "", "a pipe");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("/dev/zero", path), 0);
    cr_assert_str_eq(used(), "", "a device");
}
#endif

Test(tuning, off)
{
    write_row("dim=64", FASTER);
    env.tuning_on = false;
    cr_assert_str_eq(used(), "");
}

Test(tuning, removing)
{
    char rest[PLACE_PATH + 16];
    bool removed = true;
    cr_assert_eq(clattn__tuning_remove(&env, path, &removed), CLATTN_OK);
    cr_assert_not(removed);
    write_row("dim=64", FASTER);
    snprintf(rest, sizeof rest, "%s.A1b2C3", path);
    cr_assert_eq(clattn__file_write_atomic(&env, rest, "clatt", 5), CLATTN_OK);
    cr_assert_eq(clattn__tuning_remove(&env, path, &removed), CLATTN_OK);
    cr_assert(removed);
    cr_assert_not(place_is_there(rest), "what an interrupted writer left is still there");
    cr_assert(place_make_folder(path));
    cr_assert_eq(clattn__tuning_remove(&env, path, &removed), CLATTN_ERR_IO);
    cr_assert(place_remove(path));
}

/* Rows come out as they went in, speedups to a thousandth, whatever lies between them. */
Test(tuning, text)
{
    static const double speedups[] = {1.0, 1.02, 1.999, 12.3456, 0};
    for (size_t i = 0; i < sizeof speedups / sizeof speedups[0]; i++) {
        clattn_tuning_row row = row_of("dim=64", FASTER), read;
        row.speedup = speedups[i];
        char *text = text_of(&row, 1);
        const char *at = text;
        uint32_t skipped = 0;
        cr_assert_null(clattn__tuning_text_check(text));
        cr_assert(clattn__tuning_text_next(&at, &read, &skipped));
        cr_assert_float_eq(read.speedup, speedups[i], 0.00051);
        read.speedup = row.speedup;
        cr_assert_eq(memcmp(&read, &row, sizeof row), 0);
        cr_assert_not(clattn__tuning_text_next(&at, &read, &skipped));
        cr_assert_not(clattn__tuning_text_next(&at, &read, &skipped));
        cr_assert_eq(skipped, 0);
        clattn__free(&env, text);
    }
    const char *at = "clattn tuning 1\r\nk\tp\tVEC=8\tv\td\tr\tl\t2\t1.5\tmore\r\nno row\n\n# no\n"
                     "k\tp\tVEC=8\tv\td\tr\tl\tx\t1.5\nk\tp\tVEC=8\tv\td\tr\tl\t2\t-1\n"
                     "k\tp\tVEC=8\tv\td\tr\t\t2\t1\nk\tp\tVEC=8\tv\td\tr\tl\t2\t1.5";
    clattn_tuning_row read;
    uint32_t skipped = 0, found = 0;
    while (clattn__tuning_text_next(&at, &read, &skipped))
        found++;
    cr_assert_eq(found, 1);
    cr_assert_eq(skipped, 4);
}
