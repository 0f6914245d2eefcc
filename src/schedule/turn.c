/* Looks again and again, past what the lane can't have yet. */
#include "schedule/turn.h"

void clattn__turn_begin(clattn__turn *turn)
{
    turn->looks = CLATTN__MOST_LOOKS;
    turn->news = false;
    if (turn->backlog->lane_count > 1)
        clattn__backlog_look(turn->backlog, turn->lane);
}

bool clattn__turn_goes_on(const clattn__turn *turn)
{
    return turn->backlog->waiting.count && clattn__backlog_has_room(turn->backlog, turn->lane, 0);
}

/* Passes over the job if it is kept from the lane. */
static bool pass_over(clattn__turn *turn, clattn__job *job)
{
    if (!turn->is_kept || !turn->is_kept(turn->user, job))
        return false;
    turn->news = clattn__backlog_block(job, turn->lane) || turn->news;
    return true;
}

/* Of those that go along with the first one, those that can stay. */
static uint32_t drop_kept(clattn__turn *turn, clattn__job **chosen, uint32_t count)
{
    uint32_t stay = 1;
    for (uint32_t i = 1; i < count; i++)
        if (!pass_over(turn, chosen[i]))
            chosen[stay++] = chosen[i];
    return stay;
}

uint32_t clattn__turn_next(clattn__turn *turn, uint64_t now, clattn__job **chosen,
                           uint32_t capacity)
{
    clattn__backlog *backlog = turn->backlog;
    for (; turn->looks > 0; turn->looks--) {
        const uint32_t count = clattn__backlog_pick(backlog, turn->lane, chosen, capacity);
        if (count == 0 || !clattn__backlog_has_room(backlog, turn->lane, chosen[0]->family) ||
            !clattn__backlog_is_worth(backlog, turn->lane, chosen, count, now))
            return 0;
        if (!pass_over(turn, chosen[0]))
            return drop_kept(turn, chosen, count);
    }
    return 0;
}
