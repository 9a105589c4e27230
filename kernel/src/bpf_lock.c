// SPDX-License-Identifier: GPL-2.0-only
/*
 * flock, on the lower file: it holds against those who lock the file below the
 * mount, and ends with the last user of the lower file, which is a mapping at
 * times, as on any file system.
 *
 * POSIX and OFD locks and leases are the VFS's, on our inode.
 */
#include <linux/filelock.h>

#include "bpf.h"

int fbpf_flock(struct file *file, int cmd, struct file_lock *lock)
{
	struct fbpf_file *ff = file->private_data;

	/* Its release by the last fput() of the lower file looks for these */
	lock->c.flc_file = ff->lower;
	lock->c.flc_owner = ff->lower;
	if (ff->lower->f_op->flock)
		return ff->lower->f_op->flock(ff->lower, cmd, lock);
	return locks_lock_file_wait(ff->lower, lock);
}
