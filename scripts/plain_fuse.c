// SPDX-License-Identifier: MIT
/*
 * Guest part of plain_fuse.py, twice: a program that prints what operations below a directory cost,
 * and (with -shared -DPRELOAD) a library that leads a FUSE daemon to the device $FUSE_DEVICE and the
 * file system type $FUSE_TYPE.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#ifdef PRELOAD

int open(const char *path, int flags, ...)
{
	int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return next(strcmp(path, "/dev/fuse") ? path : getenv("FUSE_DEVICE"), flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int mount(const char *source, const char *target, const char *type, unsigned long flags,
	  const void *data)
{
	int (*next)(const char *, const char *, const char *, unsigned long, const void *) =
		dlsym(RTLD_NEXT, "mount");

	return next(source, target, type && !strncmp(type, "fuse", 4) ? getenv("FUSE_TYPE") : type,
		    flags, data);
}

#else

enum { BATCHES = 15, TIMES = 40 };

static char buffer[4096];
static int file;

static void do_stat(void)
{
	struct stat st;

	stat("file", &st);
}

static void do_open(void)
{
	close(open("file", O_RDWR));
}

static void do_read(void)
{
	pread(file, buffer, sizeof(buffer), 0);
}

static void do_write(void)
{
	pwrite(file, buffer, sizeof(buffer), 0);
}

static void do_create(void)
{
	close(open("new", O_CREAT | O_EXCL | O_WRONLY, 0600));
	unlink("new");
}

static void do_mkdir(void)
{
	mkdir("made", 0700);
	rmdir("made");
}

static void do_rename(void)
{
	rename("file", "moved");
	rename("moved", "file");
}

static void do_list(void)
{
	DIR *dir = opendir("dir");

	while (readdir(dir))
		;
	closedir(dir);
}

static void do_xattr(void)
{
	getxattr("file", "user.a", buffer, sizeof(buffer));
}

static const struct {
	const char *name;
	void (*run)(void);
} operations[] = {
	{ "stat", do_stat },
	{ "open + close", do_open },
	{ "pread 4 KiB", do_read },
	{ "pwrite 4 KiB", do_write },
	{ "create + unlink", do_create },
	{ "mkdir + rmdir", do_mkdir },
	{ "rename, twice", do_rename },
	{ "list 20 names", do_list },
	{ "getxattr", do_xattr },
};

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* One line for each operation: the least of all batches, nanoseconds for one, and the name */
int main(int argc, char **argv)
{
	if (argc != 2 || chdir(argv[1]) || (file = open("file", O_RDWR)) < 0)
		return 1;
	for (unsigned int i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		long long least = -1;

		for (int batch = 0; batch < BATCHES; batch++) {
			long long begin = now(), took;

			for (int n = 0; n < TIMES; n++)
				operations[i].run();
			took = (now() - begin) / TIMES;
			if (least < 0 || took < least)
				least = took;
		}
		printf("%lld\t%s\n", least, operations[i].name);
	}
	return 0;
}

#endif
