/* Levels, links, and the order of launches. */
#include "schedule/sharing.h"

void clattn__sharing_levels(clattn__sharer *steps, uint32_t count, clattn__meet_fn meet,
                            const void *user)
{
    for (uint32_t i = 0; i < count; i++) {
        clattn__sharer *step = &steps[i];
        step->level = 0;
        for (uint32_t j = 0; j < i; j++)
            if (steps[j].level >= step->level &&
                (!step->family || !steps[j].family || meet(user, i, j)))
                step->level = steps[j].level + 1;
    }
}

uint64_t clattn__sharing_family(const clattn__sharer *steps, uint32_t count)
{
    uint64_t family = count ? 1 : 0;
    for (uint32_t i = 0; i < count; i++)
        family = steps[i].family && family ? (family * 31 + steps[i].level) ^ steps[i].family : 0;
    return family;
}

/* Links to the step those behind it that go along with it. */
static void lead(clattn__sharer *steps, uint32_t count, uint32_t leader, double most)
{
    double work = steps[leader].work;
    uint32_t last = leader;
    for (uint32_t i = leader + 1; i < count; i++) {
        clattn__sharer *step = &steps[i];
        if (step->led || step->level != steps[leader].level ||
            step->family != steps[leader].family || work + step->work > most)
            continue;
        work += step->work;
        step->led = true;
        steps[last].next = i;
        last = i;
    }
}

void clattn__sharing_join(clattn__sharer *steps, uint32_t count, double most)
{
    for (uint32_t i = 0; i < count; i++)
        if (!steps[i].led && steps[i].family)
            lead(steps, count, i, most);
}

uint32_t clattn__sharing_after(const clattn__sharer *steps, uint32_t count, uint32_t leader)
{
    const bool any = leader == CLATTN__NOBODY;
    uint32_t after = CLATTN__NOBODY;
    for (uint32_t i = any ? count : leader + 1; i < count; i++)
        if (!steps[i].led && steps[i].level == steps[leader].level)
            return i;
    for (uint32_t i = 0; i < count; i++) /* the first of a level, which nobody leads */
        if ((any || steps[i].level > steps[leader].level) &&
            (after == CLATTN__NOBODY || steps[i].level < steps[after].level))
            after = i;
    return after;
}
