// SPDX-License-Identifier: MIT
/* Says as whom it runs, and with which capabilities. */
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

int main(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");

	printf("uid %d euid %d gid %d egid %d secure %lu\n", getuid(), geteuid(), getgid(), getegid(),
	       getauxval(AT_SECURE));
	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, "CapEff", 6))
			fputs(line, stdout);
	return 0;
}
