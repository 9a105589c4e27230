// SPDX-License-Identifier: MIT
/*
 * Guest part of scaling.py: many files. Prints what operations cost, a line each, as operations.c
 * does.
 *
 *   scaling make DIR N     makes N empty files, 1,000 to a directory
 *   scaling use DIR N      looks each of them up, twice, opens each, lists all
 *   scaling list DIR N     lists a directory of N entries, and looks up one in it, and one that is not
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "now.h"

enum { EACH = 1000, TIMES = 100 };

static int made(const char *name)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);

	return fd < 0 || close(fd);
}

static int looked_up(const char *name)
{
	struct stat st;

	return stat(name, &st);
}

static int opened(const char *name)
{
	int fd = open(name, O_RDONLY);

	return fd < 0 || close(fd);
}

static int not_there(const char *name)
{
	return !looked_up(name);
}

static int list(const char *name)
{
	DIR *dir = opendir(name);
	int entries = 0;

	while (dir && readdir(dir))
		entries++;
	if (dir)
		closedir(dir);
	return entries;
}

/* Do it to each file of the tree; prints the nanoseconds of one when it has a name. */
static void each(const char *what, int (*run)(const char *name), int files)
{
	long long begin = now();
	char name[32];

	for (int n = 0; n < files; n++) {
		snprintf(name, sizeof(name), "%04d/%04d", n / EACH, n % EACH);
		if (run(name)) {
			perror(name);
			exit(1);
		}
	}
	if (what)
		printf("%lld\t%s\n", (now() - begin) / files, what);
}

static void list_all(int files)
{
	long long begin = now();
	int entries = 0;
	char name[32];

	for (int n = 0; n < files / EACH; n++) {
		snprintf(name, sizeof(name), "%04d", n);
		entries += list(name) - 2;
	}
	if (entries != files)
		exit(1);
	printf("%lld\t%s\n", (now() - begin) / files, "list, for each file");
}

static void some(const char *what, int (*run)(const char *name), const char *name)
{
	long long begin = now();

	for (int n = 0; n < TIMES; n++)
		if (run(name))
			exit(1);
	printf("%lld\t%s\n", (now() - begin) / TIMES, what);
}

int main(int argc, char **argv)
{
	int files = argc == 4 ? atoi(argv[3]) : 0;
	char name[32];

	if (!files || chdir(argv[2]))
		return 1;
	if (!strcmp(argv[1], "make")) {
		for (int n = 0; n < files / EACH; n++) {
			snprintf(name, sizeof(name), "%04d", n);
			if (mkdir(name, 0700))
				return 1;
		}
		each(NULL, made, files);
	} else if (!strcmp(argv[1], "use")) {
		each("stat, the first", looked_up, files);
		each("stat, again", looked_up, files);
		each("open + close", opened, files);
		list_all(files);
	} else {
		long long begin = now();

		if (list(".") - 2 != files)
			return 1;
		printf("%lld\t%s\n", (now() - begin) / files, "each entry listed");
		snprintf(name, sizeof(name), "entry-%06d", files - 1);
		some("stat", looked_up, name);
		some("lookup of a free name", not_there, "none");
	}
	return 0;
}
