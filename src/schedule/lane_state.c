/* Placement by measured throughput. */
#include "schedule/lane_state.h"

/* Weight of a new measurement against those before. */
#define FRESH 0.2
/* A single measurement may be a thread that had to wait for a core. */
#define MOST_CHANGE 4.0
/* How much earlier another lane must be done for an idle one to leave work to it. */
#define CLEARLY 0.8
#define HOME    1.5

void clattn__lane_state_init(clattn__lane_state *lane)
{
    *lane = (clattn__lane_state){.speed = 1};
}

void clattn__lane_landed(clattn__lane_state *lane, double work, double ns, bool last)
{
    lane->flying -= work;
    lane->flights -= lane->flights > 0;
    if (last || lane->flying < 0)
        lane->flying = 0;
    if (!(work > 0) || !(ns > 0))
        return;
    double speed = work / ns;
    if (speed > lane->speed * MOST_CHANGE)
        speed = lane->speed * MOST_CHANGE;
    if (speed < lane->speed / MOST_CHANGE)
        speed = lane->speed / MOST_CHANGE;
    lane->speed += FRESH * (speed - lane->speed);
}

double clattn__lane_time(const clattn__lane_state *lane, double work)
{
    return (lane->flying + work) / lane->speed;
}

bool clattn__lane_should_take(const clattn__lane_state *lanes, uint32_t count, uint32_t lane,
                              double work, double ahead, double soon)
{
    const double here = clattn__lane_time(&lanes[lane], work);
    for (uint32_t i = 0; i < count; i++)
        if (i != lane && !lanes[i].dead && lanes[i].flights < CLATTN__MOST_FLIGHTS &&
            clattn__lane_time(&lanes[i], ahead) < soon &&
            clattn__lane_time(&lanes[i], ahead + work) < CLEARLY * here)
            return false;
    return true;
}

int32_t clattn__lane_choose(const clattn__lane_state *lanes, uint32_t count, int32_t home,
                            double work)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < count; i++)
        if (!lanes[i].dead && (best < 0 || clattn__lane_time(&lanes[i], work) <
                                               clattn__lane_time(&lanes[best], work)))
            best = (int32_t)i;
    if (best >= 0 && home >= 0 && !lanes[home].dead &&
        clattn__lane_time(&lanes[home], work) <= HOME * clattn__lane_time(&lanes[best], work))
        return home;
    return best;
}
