/* What is found in the caller's texts without compiling them. */
#include <criterion/criterion.h>

#include "plan/user_text.h"

Test(user_text, identifiers)
{
    static const struct {
        const char *text;
        bool has; /* `score` */
    } table[] = {
        {"", false},
        {"score", true},
        {"float score(float s)", true},
        {"a+score-b", true},
        {"float my_score(float s)", false},
        {"float score_2(float s)", false},
        {"scores score1 2score", false},
        {"/* score */ float f;", false},
        {"/* not closed, score", false},
        {"/**/score", true},
        {"/*/ score */", false},
        {"// score\n", false},
        {"// nothing\nscore", true},
        {"a / score", true},
        {"a /", false},
        {"\"score\"", false},
        {"\"\\\"score\"", false},
        {"\"\\", false},
        {"\"not closed\nscore", true},
        {"'\"' score", true},
        {"\"/*\" score /*\"*/", true},
        {"#define F score", true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_expect_eq(clattn__user_text_has(table[i].text, "score"), table[i].has, "%s",
                     table[i].text);
}

static void expect(const char *found, const char *expected, const char *text)
{
    if (!expected)
        cr_expect_null(found, "%s: lacks %s", text, found);
    else
        cr_expect_str_eq(found ? found : "nothing", expected, "%s", text);
}

Test(user_text, functions_that_are_missing)
{
    static const struct {
        const char *text, *score, *mask;
    } table[] = {
        {"int x;", "score", "visible"},
        {"score(", NULL, "visible"},
        {"visible(", "score", NULL},
        {"#define CLATTN_SCORE_VECTOR\nscore(", "score_vector", "visible"},
        {"#define CLATTN_SCORE_VECTOR\nscore_vector(", NULL, "visible"},
        {"// CLATTN_SCORE_VECTOR\nscore(", NULL, "visible"},
        {"#define CLATTN_VISIBLE_VECTOR\nvisible(", "score", "visible_vector"},
        {"#define CLATTN_VISIBLE_VECTOR\nvisible_vector(", "score", NULL},
        {"#define CLATTN_VISIBLE_TILE\nvisible(", "score", "visible_tile"},
        {"#define CLATTN_VISIBLE_TILE\nvisible_tile(", "score", "visible"},
        {"#define CLATTN_VISIBLE_TILE\nvisible_tile( visible(", "score", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *text = table[i].text;
        expect(clattn__user_text_score_lacks(text), table[i].score, text);
        expect(clattn__user_text_mask_lacks(text), table[i].mask, text);
    }
}
