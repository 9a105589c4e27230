// SPDX-License-Identifier: GPL-2.0-only
/*
 * flock, on the lower file: it holds against those who lock the file below the
 * mount, and ends with the last user of the lower file, which is a mapping at
 * times, as on any file system.
 *
 * POSIX and OFD locks and leases are the VFS's, on our inode. default_filter is
 * asked for all locks; what releases one, asks nobody.
 */
#include <linux/filelock.h>

#include "bpf_op.h"

struct fbpf_lock_call {
	struct file *file;
	int cmd;
	struct file_lock *lock;
	int (*lower)(struct file *file, int cmd, struct file_lock *lock);
	int ret;
};

static int fbpf_flock_lower(struct file *file, int cmd, struct file_lock *lock)
{
	struct fbpf_file *ff = file->private_data;

	/* Its release by the last fput() of the lower file looks for these */
	lock->c.flc_file = ff->lower;
	lock->c.flc_owner = ff->lower;
	if (ff->lower->f_op->flock)
		return ff->lower->f_op->flock(ff->lower, cmd, lock);
	return locks_lock_file_wait(ff->lower, lock);
}

static int fbpf_posix_lock(struct file *file, int cmd, struct file_lock *lock)
{
	if (cmd == F_CANCELLK)
		return 0;
	if (cmd != F_GETLK)
		return posix_lock_file(file, lock, NULL);
	posix_test_lock(file, lock);
	return 0;
}

/* FILE_LOCK_DEFERRED is no failure */
static int fbpf_lock_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_lock_call *call = data;

	call->ret = call->lower(call->file, call->cmd, call->lock);
	return min(call->ret, 0);
}

static int fbpf_any_lock(struct fbpf_lock_call *call)
{
	struct inode *inode = file_inode(call->file);
	u32 opcode = FUSE_SETLK;
	int err;

	if (!fbpf_hooked(inode, FBPF_OTHER) ||
	    lock_is_unlock(call->lock) || call->cmd == F_CANCELLK)
		return call->lower(call->file, call->cmd, call->lock);
	if (call->cmd == F_GETLK)
		opcode = FUSE_GETLK;
	else if (call->lock->c.flc_flags & FL_SLEEP)
		opcode = FUSE_SETLKW;
	err = fbpf_filter_other(inode, opcode, fbpf_lock_backing, call);
	return err ?: call->ret;
}

int fbpf_flock(struct file *file, int cmd, struct file_lock *lock)
{
	struct fbpf_lock_call call = {
		.file = file,
		.cmd = cmd,
		.lock = lock,
		.lower = fbpf_flock_lower,
	};

	return fbpf_any_lock(&call);
}

int fbpf_lock(struct file *file, int cmd, struct file_lock *lock)
{
	struct fbpf_lock_call call = {
		.file = file,
		.cmd = cmd,
		.lock = lock,
		.lower = fbpf_posix_lock,
	};

	return fbpf_any_lock(&call);
}
