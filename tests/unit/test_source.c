/* The include resolver: each file once, lines kept, comments left alone, errors with their place.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "opencl/source.h"
#include "place.h"

typedef struct fixture {
    clattn__env env;
    clattn__text text;
    char folder[PLACE_SIZE];
} fixture;

static void set_up(fixture *f)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    place_make(f->folder);
    options.kernel_dir = f->folder;
    cr_assert_eq(clattn__env_init(&f->env, &options), CLATTN_OK);
    clattn__text_init(&f->text, &f->env);
}

static void put(fixture *f, const char *name, const char *text)
{
    char path[PLACE_PATH];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    cr_assert_eq(clattn__file_write_atomic(&f->env, path, text, strlen(text)), CLATTN_OK);
}

static void tear_down(fixture *f, const char *const *names, int count)
{
    char path[PLACE_PATH];
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        place_remove_file(path);
    }
    cr_assert(place_remove(f->folder));
    clattn__text_finish(&f->text);
    clattn__env_finish(&f->env);
}

Test(source, includes_once_and_keeps_lines)
{
    static const char *const files[] = {"a.cl", "b.h"};
    fixture f;
    set_up(&f);
    put(&f, "a.cl",
        "/* #include \"c.h\"\n#include \"c.h\"\n*/\n # include \"b.h\"\nint a;\n"
        "#include \"b.h\"\n// #include \"c.h\"\nlast");
    put(&f, "b.h", "int b;\n");
    cr_assert_eq(clattn__source_resolve(&f.env, &(clattn__source_list){NULL, 0, files, 2}, &f.text),
                 CLATTN_OK, "%s", clattn__message());
    cr_assert_str_eq(clattn__text_get(&f.text),
                     "#line 1 \"cl/a.cl\"\n/* #include \"c.h\"\n#include \"c.h\"\n*/\n"
                     "#line 1 \"cl/b.h\"\nint b;\n#line 5 \"cl/a.cl\"\nint a;\n"
                     "#line 7 \"cl/a.cl\"\n// #include \"c.h\"\nlast\n");
    tear_down(&f, files, 2);
}

Test(source, a_missing_file_is_named_with_its_place)
{
    static const char *const files[] = {"a.cl"};
    static const char *const bad[] = {"int x;\n#include \"no.h\"\n", "\n#include \"../a.cl\"\n"};
    for (int i = 0; i < 2; i++) {
        fixture f;
        set_up(&f);
        put(&f, "a.cl", bad[i]);
        cr_assert_eq(
            clattn__source_resolve(&f.env, &(clattn__source_list){NULL, 0, files, 1}, &f.text),
            CLATTN_ERR_BUILD);
        cr_assert(strstr(clattn__message(), "cl/a.cl:2"), "%s", clattn__message());
        tear_down(&f, files, 1);
    }
}

Test(source, embedded_files)
{
    static const char *const files[] = {"attention/attention_simd.cl"};
    static const char *const names[] = {"score", NULL};
    const clattn__source_text own = {"score_function", "float score();", names};
    const clattn__source_list list = {&own, 1, files, 1};
    clattn__env env;
    clattn__text text;
    cr_assert_eq(clattn__env_init(&env, NULL), CLATTN_OK);
    clattn__text_init(&text, &env);
    cr_assert_eq(clattn__source_resolve(&env, &list, &text), CLATTN_OK);
    cr_assert(strstr(clattn__text_get(&text), "__kernel"));
    cr_assert_null(strstr(clattn__text_get(&text), "#include \""));
    cr_assert(strstr(clattn__text_get(&text), "#define score clattn_user_score\n"
                                              "#line 1 \"score_function\"\nfloat score();\n"
                                              "#undef score\n"));
    clattn__text_finish(&text);
    clattn__env_finish(&env);
}
