/* Does nothing: what a launch costs. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void empty(void)
{
}
