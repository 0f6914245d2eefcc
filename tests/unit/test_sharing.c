/* Which steps share launches, and in what order launches are made: small cases by hand, and
 * thousands of random loads of several submissions on invented devices, beside a model of a few
 * lines: each step goes to the first launch that will have it. */
#include <criterion/criterion.h>
#include <string.h>

#include "schedule/lane_state.h"
#include "schedule/sharing.h"

static uint64_t random_state;

static uint32_t below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % bound);
}

/* ---- by hand --------------------------------------------------------------------------------- */

enum { FEW = 8 };

/* A step for each letter of `families`; a point is one that shares no launches. */
static uint32_t steps_of(clattn__sharer *steps, const char *families, const char *levels,
                         const char *works)
{
    const uint32_t count = (uint32_t)strlen(families);
    for (uint32_t i = 0; i < count; i++)
        steps[i] = (clattn__sharer){.family = families[i] == '.' ? 0 : (uint64_t)families[i],
                                    .level = levels ? (uint32_t)(levels[i] - '0') : 0,
                                    .work = works ? works[i] - '0' : 1,
                                    .next = CLATTN__NOBODY};
    return count;
}

/* "02 1": two launches, the first of steps 0 and 2. */
static void write_launches(const clattn__sharer *steps, uint32_t count, char *text)
{
    uint32_t at = CLATTN__NOBODY, launches = 0;
    while ((at = clattn__sharing_after(steps, count, at)) != CLATTN__NOBODY) {
        cr_assert(launches++ < count, "there is no end of launches");
        for (uint32_t i = at; i != CLATTN__NOBODY; i = steps[i].next) {
            cr_assert_eq(clattn__sharing_is_shared(&steps[i]),
                         at != i || steps[i].next != CLATTN__NOBODY);
            *text++ = (char)('0' + i);
        }
        *text++ = ' ';
    }
    text[launches ? -1 : 0] = 0;
}

static const struct {
    const char *why, *families, *levels, *works;
    double most;
    const char *launches;
} few[] = {
    {"nothing", "", "", "", 9, ""},
    {"one", "a", "0", "1", 9, "0"},
    {"one that shares no launches", ".", "0", "1", 9, "0"},
    {"one that is too much", "a", "0", "9", 1, "0"},
    {"two", "aa", "00", "11", 9, "01"},
    {"without a limit", "aaaaaaaa", "00000000", "99999999", 1e300, "01234567"},
    {"just as much as may be", "aaa", "000", "444", 12, "012"},
    {"a little more", "aaa", "000", "444", 11.99, "01 2"},
    {"two of them and one", "aaa", "000", "444", 8, "01 2"},
    {"none beside another", "aaa", "000", "444", 7.99, "0 1 2"},
    {"each as much as may be", "aaa", "000", "444", 4, "0 1 2"},
    {"each too much", "aaa", "000", "444", 3, "0 1 2"},
    {"no room at all", "aa", "00", "11", 0, "0 1"},
    {"work that is nothing", "aaa", "000", "090", 9, "012"},
    {"one that is too much stays alone", "aaaa", "0000", "1911", 5, "023 1"},
    {"the first is too much", "aaa", "000", "911", 5, "0 12"},
    {"a later one fits where the one before doesn't", "aaa", "000", "654", 10, "02 1"},
    {"to the first one that it fits to", "aaaaa", "00000", "77321", 10, "02 134"},
    {"families", "abab", "0000", "1111", 9, "02 13"},
    {"families have a limit each", "ababab", "000000", "333333", 6, "02 13 4 5"},
    {"those that share no launches", ".a.a.", "00000", "11111", 9, "0 13 2 4"},
    {"levels", "aaaa", "0101", "1111", 9, "02 13"},
    {"lower levels go before", "aaaa", "1010", "1111", 9, "13 02"},
    {"levels that nobody is of", "aaa", "529", "111", 9, "1 0 2"},
    {"lower levels before families that came first", "bab", "100", "111", 9, "1 2 0"},
    {"levels and families", "abba", "0110", "1111", 9, "03 12"},
};

Test(sharing, few)
{
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++) {
        clattn__sharer steps[FEW];
        char text[2 * FEW + 1];
        const uint32_t count = steps_of(steps, few[i].families, few[i].levels, few[i].works);
        clattn__sharing_join(steps, count, few[i].most);
        write_launches(steps, count, text);
        cr_assert_str_eq(text, few[i].launches, "%s: %s", few[i].why, text);
    }
}

/* Before anything is linked each is alone. */
Test(sharing, without_joining)
{
    clattn__sharer steps[FEW];
    char text[2 * FEW + 1];
    write_launches(steps, steps_of(steps, "aab.", "0010", NULL), text);
    cr_assert_str_eq(text, "0 1 3 2");
}

/* Whether "10 21" has the pair, a later step before an earlier one. */
static bool meet_in_list(const void *user, uint32_t later, uint32_t earlier)
{
    cr_assert(later > earlier);
    for (const char *at = user; *at; at += at[2] ? 3 : 2)
        if (at[0] == (char)('0' + later) && at[1] == (char)('0' + earlier))
            return true;
    return false;
}

static const struct {
    const char *why, *families, *meetings, *levels;
} layered[] = {
    {"nothing", "", "", ""},
    {"one", "a", "", "0"},
    {"independent of each other", "abc", "", "000"},
    {"one after the other", "aaa", "10 21", "012"},
    {"all after the first", "aaaa", "10 20 30", "0111"},
    {"the last after all", "aaaa", "30 31 32", "0001"},
    {"the longest way counts", "aaaa", "10 21 30 32", "0123"},
    {"after one of a low level", "aaaa", "10 21 30", "0121"},
    {"what shares no launches is before and behind all", "aa.aa", "", "00122"},
    {"only such ones", "...", "", "012"},
    {"families make no order", "abab", "20", "0010"},
};

Test(sharing, levels)
{
    for (size_t i = 0; i < sizeof layered / sizeof layered[0]; i++) {
        clattn__sharer steps[FEW];
        const uint32_t count = steps_of(steps, layered[i].families, NULL, NULL);
        clattn__sharing_levels(steps, count, meet_in_list, layered[i].meetings);
        for (uint32_t s = 0; s < count; s++)
            cr_assert_eq(steps[s].level, (uint32_t)(layered[i].levels[s] - '0'), "%s: step %u",
                         layered[i].why, s);
    }
}

static uint64_t family_of(const char *families, const char *levels)
{
    clattn__sharer steps[FEW];
    return clattn__sharing_family(steps, steps_of(steps, families, levels, NULL));
}

Test(sharing, families_of_submissions)
{
    cr_assert_neq(family_of("ab", "01"), 0);
    cr_assert_eq(family_of("ab", "01"), family_of("ab", "01"));
    cr_assert_neq(family_of("ab", "01"), family_of("ab", "00"), "other levels");
    cr_assert_neq(family_of("ab", "01"), family_of("ba", "01"), "another order");
    cr_assert_neq(family_of("ab", "01"), family_of("a", "0"), "fewer");
    cr_assert_neq(family_of("ab", "01"), family_of("ac", "01"), "another family");
    cr_assert_eq(family_of("", ""), 0, "nothing to share");
    cr_assert_eq(family_of(".", "0"), 0);
    cr_assert_eq(family_of(".a", "01"), 0, "one that shares no launches");
    cr_assert_eq(family_of("a.", "01"), 0);
}

/* ---- random loads ---------------------------------------------------------------------------- */

enum { SUBMISSIONS = 6, STEPS = 12, ALL = SUBMISSIONS * STEPS };

/* Several submissions of steps, side by side as a lane has them. */
typedef struct load {
    uint32_t number, count;
    clattn__sharer step[ALL];
    uint32_t first[ALL];  /* where the submission of each begins */
    bool meets[ALL][ALL]; /* later, earlier; of one submission */
    double most;
    uint32_t launch[ALL];                  /* by the model, numbered as they are opened */
    uint32_t place[ALL];                   /* in the order in which launches are made */
    uint32_t leader[ALL];                  /* (launches) */
    uint32_t launches, shared, full, deep; /* what happened */
} load;

/* A submission's own part of it. */
typedef struct part {
    const load *of;
    uint32_t first;
} part;

static bool meet(const void *user, uint32_t later, uint32_t earlier)
{
    const part *p = user;
    return p->of->meets[p->first + later][p->first + earlier];
}

static bool must_follow(const load *l, uint32_t later, uint32_t earlier)
{
    return earlier < later && l->first[earlier] == l->first[later] &&
           (l->meets[later][earlier] || !l->step[later].family || !l->step[earlier].family);
}

static void invent_submission(load *l, uint32_t density, uint32_t families)
{
    const part p = {l, l->count};
    const uint32_t steps = below(STEPS + 1);
    for (uint32_t i = 0; i < steps; i++) {
        const uint32_t at = l->count++;
        l->step[at] = (clattn__sharer){.family = below(10) ? 1 + below(families) : 0,
                                       .work = below(8) ? below(1000) : below(20000),
                                       .next = CLATTN__NOBODY};
        l->first[at] = p.first;
        for (uint32_t before = p.first; before < at; before++)
            l->meets[at][before] = below(100) < density;
    }
    clattn__sharing_levels(l->step + p.first, steps, meet, &p);
}

/* What a launch may be on a device of some speed; now and then just what some steps are. */
static double invent_limit(const load *l)
{
    clattn__lane_state lane;
    double most = 0;
    clattn__lane_state_init(&lane);
    lane.speed = 0.2 + 0.01 * below(400);
    lane.part_speed = below(2) ? 0.1 + 0.01 * below(400) : 0;
    lane.ceiling_ns = below(4) ? 1 + below(below(2) ? 1000 : 5000) : 0;
    if (below(3))
        return clattn__lane_most_work(&lane);
    for (uint32_t i = 0; i < l->count; i++)
        most += below(4) ? 0 : l->step[i].work;
    return most;
}

static void invent(load *l, uint32_t number)
{
    memset(l, 0, sizeof *l);
    random_state = number * 91u + 3;
    l->number = number;
    const uint32_t submissions = below(SUBMISSIONS + 1), density = below(60);
    const uint32_t families = 1 + below(4);
    for (uint32_t i = 0; i < submissions; i++)
        invent_submission(l, density, families);
    l->most = invent_limit(l);
}

/* Each in its turn to the first launch of its level and family that has room for it. */
static void model(load *l)
{
    uint32_t opened[ALL], count = 0; /* by which step */
    double work[ALL];
    for (uint32_t i = 0; i < l->count; i++) {
        const clattn__sharer *step = &l->step[i];
        uint32_t to = 0;
        for (; to < count; to++)
            if (step->family && l->step[opened[to]].family == step->family &&
                l->step[opened[to]].level == step->level && work[to] + step->work <= l->most)
                break;
        if (to == count) {
            opened[count] = i;
            work[count++] = 0;
        }
        work[to] += step->work;
        l->launch[i] = to;
    }
    l->launches = count;
}

/* ---- what must hold -------------------------------------------------------------------------- */

/* A step that must come after another is of a higher level, and of none higher than that takes. */
static void check_levels(load *l)
{
    for (uint32_t i = 0; i < l->count; i++) {
        uint32_t least = 0;
        for (uint32_t j = 0; j < i; j++)
            if (must_follow(l, i, j) && l->step[j].level >= least)
                least = l->step[j].level + 1;
        cr_assert_eq(l->step[i].level, least, "load %u: step %u is of level %u, not %u", l->number,
                     i, l->step[i].level, least);
        l->deep += least > 2;
    }
}

/* The steps of a launch are in the order in which they came, of one kind, and not too much. */
static void check_launch(load *l, uint32_t leader, uint32_t place)
{
    double work = 0;
    uint32_t count = 0, last = leader;
    for (uint32_t i = leader; i != CLATTN__NOBODY; i = l->step[i].next) {
        cr_assert(i < l->count && (i == leader || i > last), "load %u: step %u behind %u",
                  l->number, i, last);
        cr_assert_eq(l->place[i], ALL, "load %u: step %u is launched twice", l->number, i);
        cr_assert_eq(l->step[i].led, i != leader);
        cr_assert_eq(l->step[i].level, l->step[leader].level);
        cr_assert_eq(l->step[i].family, l->step[leader].family);
        l->place[i] = place;
        work += l->step[i].work;
        last = i;
        count++;
    }
    cr_assert(count == 1 || (l->step[leader].family && work <= l->most),
              "load %u: launch %u of %u steps is %g, and %g may be", l->number, place, count, work,
              l->most);
    l->shared += count > 1;
}

static void check_launches(load *l)
{
    uint32_t at = CLATTN__NOBODY, count = 0;
    for (uint32_t i = 0; i < l->count; i++)
        l->place[i] = ALL;
    while ((at = clattn__sharing_after(l->step, l->count, at)) != CLATTN__NOBODY) {
        cr_assert(at < l->count && count < l->count, "load %u: too many launches", l->number);
        check_launch(l, at, count);
        l->leader[count++] = at;
    }
    for (uint32_t i = 0; i < l->count; i++)
        cr_assert_neq(l->place[i], ALL, "load %u: step %u isn't launched", l->number, i);
    cr_assert_eq(count, l->launches, "load %u: %u launches, and %u would do", l->number, count,
                 l->launches);
}

/* What must come after something does; and nothing else is turned round. */
static void check_order(const load *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        for (uint32_t j = 0; j < i; j++)
            cr_assert(!must_follow(l, i, j) || l->place[j] < l->place[i],
                      "load %u: step %u isn't after step %u", l->number, i, j);
    for (uint32_t n = 1; n < l->launches; n++) {
        const clattn__sharer *before = &l->step[l->leader[n - 1]], *step = &l->step[l->leader[n]];
        cr_assert(before->level < step->level || (before->level == step->level && before < step),
                  "load %u: launches %u and %u", l->number, n - 1, n);
    }
}

/* Nothing of a launch would have had room in an earlier one of its kind; so any two of a kind are
 * more than one may be. */
static void check_sharing(load *l)
{
    double work[ALL] = {0};
    for (uint32_t i = 0; i < l->count; i++)
        work[l->place[i]] += l->step[i].work;
    for (uint32_t i = 0; i < l->count; i++)
        for (uint32_t n = 0; n < l->place[i]; n++) {
            const clattn__sharer *leader = &l->step[l->leader[n]];
            if (!leader->family || leader->family != l->step[i].family ||
                leader->level != l->step[i].level)
                continue;
            cr_assert(work[n] + l->step[i].work > l->most, "load %u: step %u fits to launch %u",
                      l->number, i, n);
            l->full++;
        }
}

/* The same steps together as by the model. */
static void check_model(const load *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        for (uint32_t j = 0; j < i; j++)
            cr_assert_eq(l->place[i] == l->place[j], l->launch[i] == l->launch[j],
                         "load %u: steps %u and %u", l->number, j, i);
}

Test(sharing, twenty_thousand_loads, .timeout = 120)
{
    static load l;
    uint32_t shared = 0, full = 0, deep = 0, empty = 0;
    for (uint32_t number = 0; number < 20000; number++) {
        invent(&l, number);
        check_levels(&l);
        clattn__sharing_join(l.step, l.count, l.most);
        model(&l);
        check_launches(&l);
        check_order(&l);
        check_sharing(&l);
        check_model(&l);
        shared += l.shared;
        full += l.full;
        deep += l.deep;
        empty += l.count == 0;
    }
    cr_assert(shared > 50000, "%u launches were shared", shared);
    cr_assert(full > 50000, "%u times there was no room", full);
    cr_assert(deep > 50000, "%u steps were of a high level", deep);
    cr_assert(empty > 100, "%u loads were empty", empty);
}
