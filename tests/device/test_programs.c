/* Programs and their cache on disk, with a driver: hits, damage of every kind, folders that can't
 * be used, several processes at once. The format itself is tested in
 * tests/unit/test_program_cache.c. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define NOBODY       65534

static char folder[64];
static clattn_context_options options;

static void remove_folder(void)
{
    char command[256];
    chmod(folder, 0700);
    snprintf(command, sizeof command, "rm -rf '%s' '%s.file'", folder, folder);
    cr_assert_eq(system(command), 0);
}

/* The folder is there, private and empty. */
static void begin(void)
{
    clattn_context_options_init(&options);
    strcpy(folder, "/tmp/clattn-programs-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    options.cache_dir = folder;
    options.kernel = "attention_reference"; /* one program */
}

TestSuite(programs, .init = begin, .fini = remove_folder);

static int files_in(const char *path)
{
    int count = 0;
    DIR *open_folder = opendir(path);
    cr_assert_not_null(open_folder);
    for (struct dirent *entry = readdir(open_folder); entry; entry = readdir(open_folder))
        count += entry->d_name[0] != '.';
    closedir(open_folder);
    return count;
}

/* Attention with a context of its own; true if no program was built from source. */
static bool plan_and_run(void)
{
    static const rig_shape shape = {1, 2, 1, 9, 20, 16, 16, CLATTN_ALIGN_BOTTOM_RIGHT};
    clattn_context *context = NULL;
    rig_problem problem;
    rig_stage stage;
    clattn_dispatcher *dispatcher = NULL;
    clattn_plan_info info = {.struct_size = sizeof info};
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    rig_make(&problem, &shape, 0, &rig_contiguous);
    rig_expect(&problem);
    cr_assert_eq(rig_stage_make(context, &problem, &stage), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    cr_assert_eq(clattn_plan_get_info(stage.plan, &info), CLATTN_OK);
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &dispatcher), CLATTN_OK);
    rig_submit(dispatcher, &stage.submission);
    clattn_dispatcher_destroy(dispatcher);
    rig_stage_fetch(&stage);
    rig_check(&problem);
    rig_stage_free(&stage);
    rig_free(&problem);
    rig_close(context);
    return info.from_cache == 1;
}

/* --- entries -------------------------------------------------------------------------------- */

typedef struct listing {
    uint32_t valid, invalid;
    char key[40]; /* of the last entry */
} listing;

static clattn_status add_entry(void *user, const clattn_program_entry *entry)
{
    listing *list = user;
    cr_assert_eq(entry->struct_size, sizeof *entry);
    cr_assert_eq(strlen(entry->key), 32);
    cr_assert_eq(entry->valid == 1, strcmp(entry->state, "ok") == 0, "%s", entry->state);
    if (entry->valid) {
        list->valid++;
        cr_assert_str_not_empty(entry->device);
        cr_assert(strstr(entry->label, "VEC="), "%s", entry->label);
        cr_assert_geq(entry->size, 64u);
    } else {
        list->invalid++;
    }
    snprintf(list->key, sizeof list->key, "%s", entry->key);
    return CLATTN_OK;
}

static listing list_entries(void)
{
    listing list = {0, 0, ""};
    cr_assert_eq(clattn_program_cache_list(&options, add_entry, &list), CLATTN_OK, "%s",
                 clattn_error_message());
    return list;
}

Test(programs, a_second_context_finds_them)
{
    cr_assert_not(plan_and_run(), "an empty cache has nothing");
    cr_assert_eq(list_entries().valid, 1);
    cr_assert_eq(files_in(folder), 1, "marks or temporary files are left");
    for (int i = 0; i < 3; i++)
        cr_assert(plan_and_run(), "context %d built again", i);
    cr_assert_eq(files_in(folder), 1);
}

Test(programs, one_context_builds_once)
{
    clattn_context *context = NULL;
    clattn_plan *plan[3];
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = desc.n_kv = 1;
    desc.head_dim = desc.value_dim = 16;
    options.flags = CLATTN_CONTEXT_NO_PROGRAM_CACHE;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK);
    for (int i = 0; i < 3; i++) {
        desc.n_q = desc.n_kv = 1 + 50 * i; /* extents are no reason to compile */
        cr_assert_eq(clattn_plan_attention(context, &desc, &plan[i]), CLATTN_OK);
        cr_assert_eq(clattn_plan_get_info(plan[i], &info), CLATTN_OK);
        cr_assert_eq(info.from_cache, i > 0, "plan %d", i);
    }
    for (int i = 0; i < 3; i++)
        clattn_plan_destroy(plan[i]);
    rig_close(context);
}

/* --- damage --------------------------------------------------------------------------------- */

/* An entry's bytes, to be spoilt. */
typedef struct blob {
    unsigned char bytes[1 << 16];
    size_t size;
} blob;

static void entry_path(char path[160])
{
    snprintf(path, 160, "%s/%s.clattn", folder, list_entries().key);
}

static void read_blob(const char *path, blob *b)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    b->size = fread(b->bytes, 1, sizeof b->bytes, file);
    fclose(file);
}

static void write_blob(const char *path, const blob *b)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(b->bytes, 1, b->size, file), b->size);
    cr_assert_eq(fclose(file), 0);
}

static void no_bytes(blob *b)
{
    b->size = 0;
}
static void ten_bytes(blob *b)
{
    b->size = 10;
}
static void header_only(blob *b)
{
    b->size = 64;
}
static void one_byte_less(blob *b)
{
    b->size--;
}
static void one_byte_more(blob *b)
{
    b->bytes[b->size++] = 0;
}
static void first_byte(blob *b)
{
    b->bytes[0] ^= 1;
}
static void checksum(blob *b)
{
    b->bytes[12] ^= 0x80;
}
static void sizes(blob *b)
{
    memset(b->bytes + 28, 0xff, 20);
}
static void last_byte(blob *b)
{
    b->bytes[b->size - 1] ^= 4;
}
static void zeros(blob *b)
{
    memset(b->bytes, 0, b->size);
}
static void something_else(blob *b)
{
    b->size = (size_t)snprintf((char *)b->bytes, sizeof b->bytes, "#!/bin/sh\nexit 1\n");
}

static const struct {
    const char *name;
    void (*spoil)(blob *b);
} damages[] = {
    {"no bytes", no_bytes},
    {"ten bytes", ten_bytes},
    {"header only", header_only},
    {"one byte less", one_byte_less},
    {"one byte more", one_byte_more},
    {"first byte", first_byte},
    {"checksum", checksum},
    {"sizes", sizes},
    {"last byte", last_byte},
    {"zeros", zeros},
    {"something else", something_else},
};

Test(programs, a_damaged_entry_is_built_again)
{
    static blob good;
    char path[160];
    cr_assert_not(plan_and_run());
    entry_path(path);
    read_blob(path, &good);
    for (size_t i = 0; i < COUNT(damages); i++) {
        static blob bad;
        bad = good;
        damages[i].spoil(&bad);
        write_blob(path, &bad);
        rig_say("%s", damages[i].name);
        cr_assert_eq(list_entries().invalid, 1, "%s: is listed as valid", damages[i].name);
        cr_assert_not(plan_and_run(), "%s: was used", damages[i].name);
        cr_assert_eq(list_entries().valid, 1, "%s: was not replaced", damages[i].name);
        cr_assert(plan_and_run(), "%s: the new entry is not used", damages[i].name);
        static blob now;
        read_blob(path, &now);
        cr_assert(now.size == good.size && memcmp(now.bytes, good.bytes, good.size) == 0);
    }
}

/* A whole and valid entry under the name of another program. */
Test(programs, an_entry_of_another_program_is_not_used)
{
    static blob other;
    char path[160], other_path[160];
    options.kernel = "attention_simd";
    cr_assert_not(plan_and_run());
    entry_path(other_path);
    read_blob(other_path, &other);
    cr_assert_eq(clattn_program_cache_clear(&options, 0, NULL), CLATTN_OK);
    options.kernel = "attention_reference";
    cr_assert_not(plan_and_run());
    entry_path(path);
    cr_assert_str_neq(path, other_path);
    write_blob(path, &other);
    cr_assert_eq(list_entries().invalid, 1);
    cr_assert_not(plan_and_run());
    cr_assert(plan_and_run());
}

Test(programs, a_folder_in_the_entrys_place)
{
    char path[160];
    cr_assert_not(plan_and_run());
    entry_path(path);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_not(plan_and_run());
    cr_assert_not(plan_and_run());
    cr_assert_eq(files_in(folder), 1, "temporary files are left");
}

/* A named pipe must not block, a link must not be followed to what isn't an entry. */
Test(programs, a_pipe_or_a_link_in_the_entrys_place)
{
    char path[160];
    cr_assert_not(plan_and_run());
    entry_path(path);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    alarm(60);
    cr_assert_not(plan_and_run());
    cr_assert(plan_and_run(), "the pipe was not replaced");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("/dev/zero", path), 0);
    cr_assert_not(plan_and_run());
    cr_assert(plan_and_run(), "the link was not replaced");
}

/* --- folders that can't be used --------------------------------------------------------------- */

/* Works, builds each time, and leaves the folder as it is. */
static void expect_not_used(const char *what)
{
    const int before = files_in(folder);
    for (int i = 0; i < 2; i++)
        cr_assert_not(plan_and_run(), "%s: was used", what);
    cr_assert_eq(files_in(folder), before, "%s: was written to", what);
}

Test(programs, a_folder_that_others_may_write_to)
{
    cr_assert_not(plan_and_run());
    cr_assert_eq(chmod(folder, 0777), 0);
    expect_not_used("0777");
    cr_assert_eq(chmod(folder, 0720), 0);
    expect_not_used("0720");
    cr_assert_eq(chmod(folder, 0755), 0);
    cr_assert(plan_and_run(), "reading is no danger");
    if (geteuid() == 0) { /* only root can give a folder away */
        cr_assert_eq(chmod(folder, 0700), 0);
        cr_assert_eq(chown(folder, NOBODY, NOBODY), 0);
        expect_not_used("another user's");
        cr_assert_eq(chown(folder, 0, 0), 0);
        cr_assert(plan_and_run());
    }
}

Test(programs, folders_that_can_not_be_written)
{
    char file[80], below[96];
    snprintf(file, sizeof file, "%s.file", folder);
    snprintf(below, sizeof below, "%s/cache", file);
    const int made = open(file, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(made, 0);
    close(made);
    const char *const impossible[] = {file, below, "/proc/clattn/cache", "/dev/null/x", ""};
    for (size_t i = 0; i < COUNT(impossible); i++) {
        options.cache_dir = impossible[i];
        rig_say("cache_dir '%s'", impossible[i]);
        for (int again = 0; again < 2; again++)
            cr_assert_not(plan_and_run(), "%s", rig_said());
    }
    options.cache_dir = folder;
    if (geteuid() != 0) { /* root writes everywhere */
        cr_assert_eq(chmod(folder, 0500), 0);
        expect_not_used("read-only");
    }
}

Test(programs, a_link_to_a_folder)
{
    char link[80];
    snprintf(link, sizeof link, "%s.file", folder);
    cr_assert_eq(symlink(folder, link), 0);
    options.cache_dir = link;
    expect_not_used("a link");
}

Test(programs, folders_are_made)
{
    char deep[128];
    struct stat state;
    snprintf(deep, sizeof deep, "%s/a/b/c", folder);
    options.cache_dir = deep;
    cr_assert_not(plan_and_run());
    cr_assert_eq(stat(deep, &state), 0);
    cr_assert_eq(state.st_mode & 0777, 0700);
    cr_assert(plan_and_run());
}

Test(programs, off_by_flag)
{
    char deep[128];
    struct stat state;
    snprintf(deep, sizeof deep, "%s/not", folder);
    options.flags = CLATTN_CONTEXT_NO_PROGRAM_CACHE;
    expect_not_used("cache off");
    options.cache_dir = deep;
    cr_assert_not(plan_and_run());
    cr_assert_neq(stat(deep, &state), 0, "the folder was made");
    options.cache_dir = folder;
    options.flags = 0;
    cr_assert_not(plan_and_run());
    options.flags = CLATTN_CONTEXT_NO_PROGRAM_CACHE;
    expect_not_used("cache off, with an entry");
}

/* --- list and clear --------------------------------------------------------------------------- */

static clattn_status stop(void *user, const clattn_program_entry *entry)
{
    (void)entry;
    ++*(int *)user;
    return CLATTN_ERR_TIMEOUT;
}

Test(programs, list_and_clear)
{
    char path[160], small[4];
    int calls = 0;
    uint32_t removed = 99;
    static const char *const kernels[] = {"attention_simd", "attention_reference"};
    for (size_t i = 0; i < 2; i++) {
        options.kernel = kernels[i];
        cr_assert_not(plan_and_run());
    }
    options.kernel = "attention";
    const uint32_t all = list_entries().valid;
    cr_assert_geq(all, 2, "an entry a program: attention_simd's and attention_reference's");
    cr_assert_eq(clattn_program_cache_list(&options, stop, &calls), CLATTN_ERR_TIMEOUT);
    cr_assert_eq(calls, 1);
    cr_assert_eq(clattn_program_cache_list(&options, NULL, NULL), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_program_cache_path(&options, path, sizeof path), CLATTN_OK);
    cr_assert_str_eq(path, folder);
    cr_assert_eq(clattn_program_cache_path(&options, small, sizeof small), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_program_cache_path(&options, NULL, 0), CLATTN_ERR_ARGUMENT);
    entry_path(path);
    cr_assert_eq(truncate(path, 70), 0);
    cr_assert_eq(clattn_program_cache_clear(&options, 1, &removed), CLATTN_OK);
    cr_assert_eq(removed, 1u);
    cr_assert_eq(list_entries().valid, all - 1);
    cr_assert_eq(list_entries().invalid, 0u);
    cr_assert_eq(clattn_program_cache_clear(&options, 0, NULL), CLATTN_OK);
    cr_assert_eq(files_in(folder), 0);
    cr_assert_eq(clattn_program_cache_clear(&options, 0, &removed), CLATTN_OK);
    cr_assert_eq(removed, 0u);
    cr_assert_eq(rmdir(folder), 0);
    cr_assert_eq(list_entries().valid, 0u, "no folder is an empty cache");
    cr_assert_eq(clattn_program_cache_clear(&options, 0, &removed), CLATTN_OK);
}

/* Files of other people in the folder are neither listed nor removed. */
Test(programs, clear_leaves_what_is_not_ours)
{
    static const char *const names[] = {"notes.txt", "0123.clattn", "README"};
    char path[160];
    cr_assert_not(plan_and_run());
    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        const int made = open(path, O_CREAT | O_WRONLY, 0600);
        cr_assert_geq(made, 0);
        close(made);
    }
    cr_assert_eq(list_entries().valid + list_entries().invalid, 1u);
    cr_assert_eq(clattn_program_cache_clear(&options, 0, NULL), CLATTN_OK);
    cr_assert_eq(files_in(folder), (int)COUNT(names));
}

/* --- several processes ------------------------------------------------------------------------ */

/* In a child: 0, or what went wrong. */
static int run_in_child(void)
{
    enum { DIM = 16 };
    float x[3 * DIM], out[DIM] = {0};
    clattn_context *context;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = desc.n_kv = 1;
    desc.head_dim = desc.value_dim = DIM;
    for (int i = 0; i < 3 * DIM; i++)
        x[i] = (float)i;
    if (clattn_context_create(&options, &context) != CLATTN_OK)
        return 1;
    if (clattn_attention(context, &desc, x, x + DIM, x + 2 * DIM, out) != CLATTN_OK)
        return 2;
    return memcmp(out, x + 2 * DIM, sizeof out) == 0 ? 0 : 3; /* one key: its value */
}

/* The process that starts them has not opened OpenCL. */
Test(programs, several_processes_begin_at_once)
{
    enum { PROCESSES = 4 };
    pid_t child[PROCESSES];
    fflush(NULL);
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        cr_assert_geq(child[i], 0);
        if (child[i] == 0)
            _exit(run_in_child());
    }
    for (int i = 0; i < PROCESSES; i++) {
        int state = -1;
        cr_assert_eq(waitpid(child[i], &state, 0), child[i]);
        cr_assert(WIFEXITED(state) && WEXITSTATUS(state) == 0, "process %d: %d", i, state);
    }
    cr_assert_eq(list_entries().valid, 1u);
    cr_assert_eq(files_in(folder), 1, "marks or temporary files are left");
    cr_assert(plan_and_run());
}
