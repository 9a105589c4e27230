// SPDX-License-Identifier: MIT
/*
 * passthrough LOWER MOUNTPOINT: a FUSE daemon as fast as one can be made with libfuse, to compare
 * with. It shows LOWER; the kernel keeps names and attributes for a second, and reads, writes and
 * maps the lower file itself once it is open (FUSE_PASSTHROUGH, Linux 6.9). One thread serves; it
 * runs until the mount is taken off.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 317

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SECONDS_KEPT 1.0
#define PROC_PATH 32

/* A file that the kernel knows by number, which is the address of this */
struct node {
	dev_t dev;
	ino_t ino;
	int fd;
	uint64_t lookups;
	/* While it is open: the kernel takes one lower file for all who have it open */
	int backing_id;
	unsigned int opened;
};

static struct node root;
static void *nodes;

static int compare(const void *one, const void *other)
{
	const struct node *a = one, *b = other;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->dev < b->dev ? -1 : a->dev > b->dev;
}

static struct node *node_of(fuse_ino_t number)
{
	return number == FUSE_ROOT_ID ? &root : (struct node *)number;
}

static int fd_of(fuse_ino_t number)
{
	return node_of(number)->fd;
}

/* Operations that take no descriptor of O_PATH go by its name in /proc */
static const char *path_of(char *path, fuse_ino_t number)
{
	snprintf(path, PROC_PATH, "/proc/self/fd/%d", fd_of(number));
	return path;
}

static int entry_of(fuse_ino_t parent, const char *name, struct fuse_entry_param *entry)
{
	struct node wanted = { .fd = openat(fd_of(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC) };
	struct node **place, *found;

	*entry = (struct fuse_entry_param) {
		.attr_timeout = SECONDS_KEPT, .entry_timeout = SECONDS_KEPT,
	};
	if (wanted.fd < 0)
		return errno;
	if (fstatat(wanted.fd, "", &entry->attr, AT_EMPTY_PATH)) {
		close(wanted.fd);
		return errno;
	}
	wanted.dev = entry->attr.st_dev;
	wanted.ino = entry->attr.st_ino;
	place = tsearch(&wanted, &nodes, compare);
	if (place && *place == &wanted) {
		found = malloc(sizeof(*found));
		if (found)
			*found = wanted;
		*place = found;
	} else {
		close(wanted.fd);
	}
	if (!place || !*place)
		errx(1, "no memory");
	(*place)->lookups++;
	entry->ino = (fuse_ino_t)*place;
	return 0;
}

static void give_entry(fuse_req_t req, int error, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;

	if (!error)
		error = entry_of(parent, name, &entry);
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_entry(req, &entry);
}

static void give_result(fuse_req_t req, int result)
{
	fuse_reply_err(req, result < 0 ? errno : 0);
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;
	int error = entry_of(parent, name, &entry);

	/* A name that is free is kept, too */
	if (error && error != ENOENT)
		fuse_reply_err(req, error);
	else
		fuse_reply_entry(req, &entry);
}

static void forget(fuse_req_t req, fuse_ino_t number, uint64_t count)
{
	struct node *node = node_of(number);

	if (node != &root && !(node->lookups -= count)) {
		tdelete(node, &nodes, compare);
		close(node->fd);
		free(node);
	}
	fuse_reply_none(req);
}

static void get_attributes(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *info)
{
	struct stat found;

	(void)info;
	if (fstatat(fd_of(number), "", &found, AT_EMPTY_PATH))
		fuse_reply_err(req, errno);
	else
		fuse_reply_attr(req, &found, SECONDS_KEPT);
}

static void set_attributes(fuse_req_t req, fuse_ino_t number, struct stat *wanted, int which,
			   struct fuse_file_info *info)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	int fd = fd_of(number), result = 0;
	char path[PROC_PATH];

	path_of(path, number);
	if (which & FUSE_SET_ATTR_MODE)
		result = chmod(path, wanted->st_mode);
	if (!result && which & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		result = fchownat(fd, "", which & FUSE_SET_ATTR_UID ? wanted->st_uid : (uid_t)-1,
				  which & FUSE_SET_ATTR_GID ? wanted->st_gid : (gid_t)-1,
				  AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
	if (!result && which & FUSE_SET_ATTR_SIZE)
		result = truncate(path, wanted->st_size);
	if (which & FUSE_SET_ATTR_ATIME)
		times[0] = wanted->st_atim;
	if (which & FUSE_SET_ATTR_ATIME_NOW)
		times[0].tv_nsec = UTIME_NOW;
	if (which & FUSE_SET_ATTR_MTIME)
		times[1] = wanted->st_mtim;
	if (which & FUSE_SET_ATTR_MTIME_NOW)
		times[1].tv_nsec = UTIME_NOW;
	if (!result && which & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))
		result = utimensat(AT_FDCWD, path, times, 0);
	if (result)
		fuse_reply_err(req, errno);
	else
		get_attributes(req, number, info);
}

static void read_link(fuse_req_t req, fuse_ino_t number)
{
	char target[PATH_MAX];
	ssize_t size = readlinkat(fd_of(number), "", target, sizeof(target) - 1);

	if (size < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	target[size] = 0;
	fuse_reply_readlink(req, target);
}

static void make_node(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	give_entry(req, mknodat(fd_of(parent), name, mode, dev) ? errno : 0, parent, name);
}

static void make_directory(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	give_entry(req, mkdirat(fd_of(parent), name, mode) ? errno : 0, parent, name);
}

static void make_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	give_entry(req, symlinkat(target, fd_of(parent), name) ? errno : 0, parent, name);
}

static void make_link(fuse_req_t req, fuse_ino_t number, fuse_ino_t parent, const char *name)
{
	char path[PROC_PATH];
	int result = linkat(AT_FDCWD, path_of(path, number), fd_of(parent), name,
			    AT_SYMLINK_FOLLOW);

	give_entry(req, result ? errno : 0, parent, name);
}

static void unlink_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	give_result(req, unlinkat(fd_of(parent), name, 0));
}

static void remove_directory(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	give_result(req, unlinkat(fd_of(parent), name, AT_REMOVEDIR));
}

static void rename_name(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
			const char *new_name, unsigned int flags)
{
	give_result(req, renameat2(fd_of(parent), name, fd_of(new_parent), new_name, flags));
}

/* Have the kernel read and write the lower file. Gives 0 or an errno. */
static int hand_over(fuse_req_t req, struct node *node, int fd, struct fuse_file_info *info)
{
	if (!node->opened)
		node->backing_id = fuse_passthrough_open(req, fd);
	if (node->backing_id <= 0)
		return EOPNOTSUPP;
	node->opened++;
	info->fh = fd;
	info->backing_id = node->backing_id;
	return 0;
}

static void open_file(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *info)
{
	char path[PROC_PATH];
	int fd = open(path_of(path, number), (info->flags & ~O_NOFOLLOW) | O_CLOEXEC);
	int error = fd < 0 ? errno : hand_over(req, node_of(number), fd, info);

	if (error && fd >= 0)
		close(fd);
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_open(req, info);
}

static void create_file(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			struct fuse_file_info *info)
{
	struct fuse_entry_param entry;
	int fd = openat(fd_of(parent), name, info->flags | O_CREAT | O_CLOEXEC, mode);
	int error = fd < 0 ? errno : entry_of(parent, name, &entry);

	if (!error)
		error = hand_over(req, node_of(entry.ino), fd, info);
	if (error && fd >= 0)
		close(fd);
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_create(req, &entry, info);
}

static void release_file(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *info)
{
	struct node *node = node_of(number);

	if (!--node->opened)
		fuse_passthrough_close(req, node->backing_id);
	close(info->fh);
	fuse_reply_err(req, 0);
}

static void sync_file(fuse_req_t req, fuse_ino_t number, int data, struct fuse_file_info *info)
{
	(void)number;
	give_result(req, data ? fdatasync(info->fh) : fsync(info->fh));
}

static void allocate(fuse_req_t req, fuse_ino_t number, int mode, off_t start, off_t size,
		     struct fuse_file_info *info)
{
	(void)number;
	give_result(req, fallocate(info->fh, mode, start, size));
}

static void open_directory(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *info)
{
	int fd = openat(fd_of(number), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);

	if (!stream) {
		fuse_reply_err(req, errno);
		return;
	}
	info->fh = (uintptr_t)stream;
	fuse_reply_open(req, info);
}

static void read_directory(fuse_req_t req, fuse_ino_t number, size_t room, off_t start,
			   struct fuse_file_info *info)
{
	DIR *stream = (DIR *)(uintptr_t)info->fh;
	char *entries = malloc(room);
	size_t used = 0, size;
	struct dirent *entry;

	(void)number;
	if (!entries)
		errx(1, "no memory");
	if (telldir(stream) != start)
		seekdir(stream, start);
	while ((entry = readdir(stream))) {
		struct stat known = { .st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type) };

		size = fuse_add_direntry(req, entries + used, room - used, entry->d_name, &known,
					 entry->d_off);
		if (used + size > room)
			break;
		used += size;
	}
	fuse_reply_buf(req, entries, used);
	free(entries);
}

static void release_directory(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *info)
{
	(void)number;
	closedir((DIR *)(uintptr_t)info->fh);
	fuse_reply_err(req, 0);
}

static void statistics(fuse_req_t req, fuse_ino_t number)
{
	struct statvfs found;

	if (fstatvfs(fd_of(number), &found))
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &found);
}

/* What getxattr(2) and listxattr(2) gave: the size alone when there was no room */
static void give_value(fuse_req_t req, ssize_t size, const char *value, size_t room)
{
	if (size < 0)
		fuse_reply_err(req, errno);
	else if (!room)
		fuse_reply_xattr(req, size);
	else
		fuse_reply_buf(req, value, size);
}

static void get_value(fuse_req_t req, fuse_ino_t number, const char *name, size_t room)
{
	char path[PROC_PATH], value[XATTR_SIZE_MAX];

	room = room < sizeof(value) ? room : sizeof(value);
	give_value(req, getxattr(path_of(path, number), name, value, room), value, room);
}

static void list_values(fuse_req_t req, fuse_ino_t number, size_t room)
{
	char path[PROC_PATH], names[XATTR_LIST_MAX];

	room = room < sizeof(names) ? room : sizeof(names);
	give_value(req, listxattr(path_of(path, number), names, room), names, room);
}

static void set_value(fuse_req_t req, fuse_ino_t number, const char *name, const char *value,
		      size_t size, int flags)
{
	char path[PROC_PATH];

	give_result(req, setxattr(path_of(path, number), name, value, size, flags));
}

static void remove_value(fuse_req_t req, fuse_ino_t number, const char *name)
{
	char path[PROC_PATH];

	give_result(req, removexattr(path_of(path, number), name));
}

static void begin(void *data, struct fuse_conn_info *connection)
{
	(void)data;
	if (!fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH))
		errx(1, "the kernel has no FUSE_PASSTHROUGH");
	connection->max_backing_stack_depth = 1;
}

static const struct fuse_lowlevel_ops operations = {
	.init = begin,
	.lookup = lookup,
	.forget = forget,
	.getattr = get_attributes,
	.setattr = set_attributes,
	.readlink = read_link,
	.mknod = make_node,
	.mkdir = make_directory,
	.unlink = unlink_name,
	.rmdir = remove_directory,
	.symlink = make_symlink,
	.rename = rename_name,
	.link = make_link,
	.open = open_file,
	.create = create_file,
	.release = release_file,
	.fsync = sync_file,
	.fallocate = allocate,
	.opendir = open_directory,
	.readdir = read_directory,
	.releasedir = release_directory,
	.statfs = statistics,
	.setxattr = set_value,
	.getxattr = get_value,
	.listxattr = list_values,
	.removexattr = remove_value,
};

int main(int count, char **words)
{
	char *options[] = { words[0], "-oallow_other,default_permissions,fsname=passthrough" };
	struct fuse_args arguments = FUSE_ARGS_INIT(2, options);
	struct fuse_session *session;
	int status;

	if (count != 3)
		errx(2, "usage: passthrough LOWER MOUNTPOINT");
	root.fd = open(words[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root.fd < 0)
		err(1, "%s", words[1]);
	umask(0);
	session = fuse_session_new(&arguments, &operations, sizeof(operations), NULL);
	if (!session || fuse_session_mount(session, words[2]))
		errx(1, "cannot mount at %s", words[2]);
	status = fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	return status != 0;
}
