// SPDX-License-Identifier: MIT
/*
 * Guest part of plain_fuse.py: a library that leads a FUSE daemon to the device $FUSE_DEVICE and the
 * file system type $FUSE_TYPE.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

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
