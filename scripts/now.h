// SPDX-License-Identifier: MIT
/* The clock of the benchmarks, in nanoseconds: instructions, where it goes by them. */
#include <time.h>

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}
