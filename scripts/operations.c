// SPDX-License-Identifier: MIT
/*
 * Guest part of the benchmarks: prints what operations below a directory cost, a line
 * each: nanoseconds for one (instructions, where the clock goes by them), a tab, and the name.
 *
 * With the name of an operation as second argument, that alone, for ever: profiling.py counts what is
 * done between the two functions whose addresses are printed, and how many operations that is.
 *
 * The directory has: file (1 MiB, user.a), deep/…/deep/file (16 levels, or LEVELS), and directories
 * few and many with 10 and 1,000 files.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "now.h"

#ifndef LEVELS
#define LEVELS 16
#endif

enum { BATCHES = 9, TIMES = 32, KEPT = 1024, PAGE = 4096, LARGE = 1 << 20 };

static char buffer[LARGE], path[LEVELS * 5 + 8], names[TIMES][16], others[TIMES][16];
static int file;
static char *mapping;

static void open_close(int n)
{
	close(open("file", O_RDONLY));
}

static void do_stat(int n)
{
	struct stat st;

	stat("file", &st);
}

static void do_fstat(int n)
{
	struct stat st;

	fstat(file, &st);
}

static void do_access(int n)
{
	access("file", R_OK);
}

static void miss(int n)
{
	struct stat st;

	stat("absent", &st);
}

static void deep(int n)
{
	struct stat st;

	stat(path, &st);
}

static void small_read(int n)
{
	pread(file, buffer, PAGE, 0);
}

static void large_read(int n)
{
	pread(file, buffer, LARGE, 0);
}

static void small_write(int n)
{
	pwrite(file, buffer, PAGE, 0);
}

static void large_write(int n)
{
	pwrite(file, buffer, LARGE, 0);
}

static void map(int n)
{
	if (n == 0)
		mapping = mmap(NULL, TIMES * PAGE, PROT_READ, MAP_SHARED, file, 0);
}

static void fault(int n)
{
	(void)*(volatile char *)(mapping + n * PAGE);
}

static void unmap(int n)
{
	if (n == 0)
		munmap(mapping, TIMES * PAGE);
}

static void create(int n)
{
	close(open(names[n], O_CREAT | O_EXCL | O_WRONLY, 0600));
}

static void do_unlink(int n)
{
	unlink(names[n]);
}

static void do_rename(int n)
{
	rename(names[n], others[n]);
}

static void unlink_other(int n)
{
	unlink(others[n]);
}

static void mkdir_rmdir(int n)
{
	mkdir("made", 0700);
	rmdir("made");
}

static void symlink_readlink(int n)
{
	symlink("file", names[n]);
	readlink(names[n], buffer, PAGE);
}

static void list(const char *name)
{
	DIR *dir = opendir(name);

	while (readdir(dir))
		;
	closedir(dir);
}

static void list_few(int n)
{
	list("few");
}

static void list_many(int n)
{
	list("many");
}

static void xattr(int n)
{
	getxattr("file", "user.a", buffer, PAGE);
}

/* One that costs much is done less often */
static const struct {
	const char *name;
	void (*run)(int n);
	int times;
	void (*before)(int n);
	void (*after)(int n);
} operations[] = {
	{ "open + close", open_close, TIMES },
	{ "stat", do_stat, TIMES },
	{ "fstat", do_fstat, TIMES },
	{ "access", do_access, TIMES },
	{ "lookup of a free name", miss, TIMES },
	{ "stat, 16 components more", deep, TIMES },
	{ "pread 4 KiB", small_read, TIMES },
	{ "pread 1 MiB", large_read, 2 },
	{ "pwrite 4 KiB", small_write, TIMES },
	{ "pwrite 1 MiB", large_write, 2 },
	{ "mmap fault", fault, TIMES, map, unmap },
	{ "create + close", create, TIMES, NULL, do_unlink },
	{ "unlink", do_unlink, TIMES, create },
	{ "rename", do_rename, TIMES, create, unlink_other },
	{ "mkdir + rmdir", mkdir_rmdir, TIMES },
	{ "symlink + readlink", symlink_readlink, TIMES, NULL, do_unlink },
	{ "list 10 names", list_few, 8 },
	{ "list 1,000 names", list_many, 1 },
	{ "getxattr", xattr, TIMES },
};

static void each(void (*run)(int n), int times)
{
	for (int n = 0; run && n < times; n++)
		run(n);
}

/*
 * Every other object of the caches that creating takes from is in use, so that a batch takes and
 * gives back objects, never pages: how many of those a batch would need differs from boot to boot.
 */
static void fill_caches(void)
{
	char name[32];

	mkdir("kept", 0700);
	for (int n = 0; n < KEPT; n++) {
		snprintf(name, sizeof(name), "kept/%d", n);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	for (int n = 0; n < KEPT; n += 2) {
		snprintf(name, sizeof(name), "kept/%d", n);
		unlink(name);
	}
}

/*
 * What was freed is there for the next batch, after a grace period; the second is for what is freed
 * at the end of the first.
 */
static void settle(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

static void __attribute__((noinline)) begin_batch(void)
{
	asm volatile("# begins");
}

static void __attribute__((noinline)) end_batch(void)
{
	asm volatile("# ends");
}

static int for_ever(const char *name)
{
	unsigned int i = 0;

	while (strcmp(operations[i].name, name))
		if (++i == sizeof(operations) / sizeof(*operations))
			return 1;
	printf("%llx\t%llx\t%d\n", (long long)begin_batch, (long long)end_batch,
	       operations[i].times);
	fflush(stdout);
	for (;;) {
		each(operations[i].before, operations[i].times);
		settle();
		begin_batch();
		each(operations[i].run, operations[i].times);
		end_batch();
		each(operations[i].after, operations[i].times);
	}
}

/* The least of all batches */
int main(int argc, char **argv)
{
	if (argc < 2 || chdir(argv[1]) || (file = open("file", O_RDWR)) < 0)
		return 1;
	for (int n = 0; n < LEVELS; n++)
		strcat(path, "deep/");
	strcat(path, "file");
	for (int n = 0; n < TIMES; n++) {
		snprintf(names[n], sizeof(names[n]), "new-%d", n);
		snprintf(others[n], sizeof(others[n]), "other-%d", n);
	}
	fill_caches();
	if (argc > 2)
		return for_ever(argv[2]);
	for (unsigned int i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		int times = operations[i].times;
		long long least = -1;

		for (int batch = 0; batch < BATCHES; batch++) {
			long long begin, took;

			each(operations[i].before, times);
			settle();
			begin = now();
			each(operations[i].run, times);
			took = (now() - begin) / times;
			each(operations[i].after, times);
			if (least < 0 || took < least)
				least = took;
		}
		printf("%lld\t%s\n", least, operations[i].name);
	}
	return 0;
}
