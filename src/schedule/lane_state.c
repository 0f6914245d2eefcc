/* Placement by measured throughput. */
#include "schedule/lane_state.h"

/* Weight of a new measurement against those before. */
#define FRESH 0.2
/* The same of parts: others wait for one that takes too long, nobody for one that is short. */
#define PART_SLOWER 0.5
#define PART_FASTER 0.1
/* A single measurement may be a thread that had to wait for a core. */
#define MOST_CHANGE 4.0
/* How much earlier another lane must be done for an idle one to leave work to it. */
#define CLEARLY 0.8
/* How much longer the lane where its memory is warm may take. */
#define HOME 1.5

void clattn__lane_state_init(clattn__lane_state *lane)
{
    *lane = (clattn__lane_state){.speed = 1, .units = 1};
}

static void measured(double *of, double work, double ns, double slower, double faster)
{
    double speed = work / ns;
    if (speed > *of * MOST_CHANGE)
        speed = *of * MOST_CHANGE;
    if (speed < *of / MOST_CHANGE)
        speed = *of / MOST_CHANGE;
    *of += (speed < *of ? slower : faster) * (speed - *of);
}

void clattn__lane_launched(clattn__lane_state *lane, uint32_t jobs, uint64_t now)
{
    if (lane->flights++ == 0)
        lane->began = now;
    if (jobs)
        lane->together += FRESH * (jobs - lane->together);
}

void clattn__lane_landed(clattn__lane_state *lane, double work, double ns, bool last)
{
    lane->flying -= work;
    lane->flights -= lane->flights > 0;
    if (last || lane->flying < 0)
        lane->flying = 0;
    if (work > 0 && ns > 0)
        measured(&lane->speed, work, ns, FRESH, FRESH);
}

void clattn__lane_part_landed(clattn__lane_state *lane, double work, double ns)
{
    if (!(work > 0) || !(ns > 0))
        return;
    if (lane->part_speed > 0)
        measured(&lane->part_speed, work, ns, PART_SLOWER, PART_FASTER);
    else
        lane->part_speed = work / ns;
}

double clattn__lane_part_weight(const clattn__lane_state *lane, double work)
{
    return lane->part_speed > 0 ? work * lane->speed / lane->part_speed : work;
}

double clattn__lane_time(const clattn__lane_state *lane, double work)
{
    return (lane->flying + work) / lane->speed;
}

double clattn__lane_remaining(const clattn__lane_state *lane, uint64_t now)
{
    const double all = clattn__lane_time(lane, 0), ran = (double)(now - lane->began);
    return now > lane->began ? (ran < all ? all - ran : 0) : all;
}

double clattn__lane_most_work(const clattn__lane_state *lane)
{
    const bool slow = lane->part_speed > 0 && lane->part_speed < lane->speed;
    return lane->ceiling_ns > 0 ? lane->ceiling_ns * (slow ? lane->part_speed : lane->speed)
                                : 1e300;
}

static bool may_have(const clattn__lane_state *lanes, const clattn__task *task, uint32_t lane)
{
    return !lanes[lane].dead && !(task->barred >> lane & 1);
}

static double moving_to(const clattn__task *task, uint32_t lane)
{
    return task->moving ? task->moving[lane] : 0;
}

/* Nanoseconds until the lane would have done it, behind `ahead` of other work. */
static double done_in(const clattn__lane_state *lanes, uint32_t lane, const clattn__task *task,
                      double ahead)
{
    return clattn__lane_time(&lanes[lane], ahead + task->work) + moving_to(task, lane);
}

/* How long `other` may take for it, as a part of what `lane` would, to be left the work. */
static double margin(const clattn__task *task, uint32_t lane, uint32_t other)
{
    if (task->home == (int32_t)other)
        return HOME;
    return task->home == (int32_t)lane ? CLEARLY / HOME : CLEARLY;
}

bool clattn__lane_should_take(const clattn__lane_state *lanes, uint32_t count, uint32_t lane,
                              const clattn__task *task, double ahead, double soon)
{
    const double here = done_in(lanes, lane, task, 0);
    for (uint32_t i = 0; i < count; i++) {
        const double saved = moving_to(task, lane) - moving_to(task, i);
        if (i != lane && may_have(lanes, task, i) &&
            (lanes[i].flights < CLATTN__MOST_FLIGHTS || saved > 0) &&
            clattn__lane_time(&lanes[i], ahead) < soon + (saved > 0 ? saved : 0) &&
            done_in(lanes, i, task, ahead) < margin(task, lane, i) * here)
            return false;
    }
    return true;
}

bool clattn__lane_leaves_home(const clattn__lane_state *lanes, uint32_t lane,
                              const clattn__task *task, double ahead)
{
    if (task->home < 0 || task->home == (int32_t)lane ||
        !may_have(lanes, task, (uint32_t)task->home))
        return false;
    return done_in(lanes, (uint32_t)task->home, task, 0) <=
           HOME * done_in(lanes, lane, task, ahead);
}

int32_t clattn__lane_choose(const clattn__lane_state *lanes, uint32_t count,
                            const clattn__task *task)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < count; i++)
        if (may_have(lanes, task, i) &&
            (best < 0 || done_in(lanes, i, task, 0) < done_in(lanes, (uint32_t)best, task, 0)))
            best = (int32_t)i;
    return best >= 0 && clattn__lane_leaves_home(lanes, (uint32_t)best, task, 0) ? task->home
                                                                                 : best;
}
