/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One function per member of struct fuse_ops with the member's prototype, for
 * the BPF core; a member without one cannot be attached. Never called. Included
 * by bpf_register.c only.
 */
#ifndef _FS_FUSE_BPF_STUBS_H
#define _FS_FUSE_BPF_STUBS_H

#define FBPF_STUB(member, ...)						\
static int fuse_ops__##member(const struct bpf_fuse_meta_info *meta, ##__VA_ARGS__) \
{									\
	return 0;							\
}

FBPF_STUB(default_filter)
FBPF_STUB(open_prefilter, struct fuse_open_in *in)
FBPF_STUB(open_postfilter, const struct fuse_open_in *in,
	  struct fuse_open_out *out)
FBPF_STUB(opendir_prefilter, struct fuse_open_in *in)
FBPF_STUB(opendir_postfilter, const struct fuse_open_in *in,
	  struct fuse_open_out *out)
FBPF_STUB(create_open_prefilter, struct fuse_create_in *in,
	  struct fuse_buffer *name)
FBPF_STUB(create_open_postfilter, const struct fuse_create_in *in,
	  const struct fuse_buffer *name, struct fuse_entry_out *entry_out,
	  struct fuse_open_out *out)
FBPF_STUB(release_prefilter, struct fuse_release_in *in)
FBPF_STUB(release_postfilter, const struct fuse_release_in *in)
FBPF_STUB(releasedir_prefilter, struct fuse_release_in *in)
FBPF_STUB(releasedir_postfilter, const struct fuse_release_in *in)
FBPF_STUB(flush_prefilter, struct fuse_flush_in *in)
FBPF_STUB(flush_postfilter, const struct fuse_flush_in *in)
FBPF_STUB(lseek_prefilter, struct fuse_lseek_in *in)
FBPF_STUB(lseek_postfilter, const struct fuse_lseek_in *in,
	  struct fuse_lseek_out *out)
FBPF_STUB(copy_file_range_prefilter, struct fuse_copy_file_range_in *in)
FBPF_STUB(copy_file_range_postfilter, const struct fuse_copy_file_range_in *in,
	  struct fuse_write_out *out)
FBPF_STUB(fsync_prefilter, struct fuse_fsync_in *in)
FBPF_STUB(fsync_postfilter, const struct fuse_fsync_in *in)
#ifndef FBPF_NO_FSYNCDIR
FBPF_STUB(dir_fsync_prefilter, struct fuse_fsync_in *in)
FBPF_STUB(dir_fsync_postfilter, const struct fuse_fsync_in *in)
#endif
FBPF_STUB(getxattr_prefilter, struct fuse_getxattr_in *in,
	  struct fuse_buffer *name)
FBPF_STUB(getxattr_postfilter, const struct fuse_getxattr_in *in,
	  const struct fuse_buffer *name, struct fuse_buffer *value,
	  struct fuse_getxattr_out *out)
FBPF_STUB(listxattr_prefilter, struct fuse_getxattr_in *in)
FBPF_STUB(listxattr_postfilter, const struct fuse_getxattr_in *in,
	  struct fuse_buffer *value, struct fuse_getxattr_out *out)
FBPF_STUB(setxattr_prefilter, struct fuse_setxattr_in *in,
	  struct fuse_buffer *name, struct fuse_buffer *value)
FBPF_STUB(setxattr_postfilter, const struct fuse_setxattr_in *in,
	  const struct fuse_buffer *name, const struct fuse_buffer *value)
FBPF_STUB(removexattr_prefilter, struct fuse_buffer *name)
FBPF_STUB(removexattr_postfilter, const struct fuse_buffer *name)
FBPF_STUB(read_iter_prefilter, struct fuse_read_in *in)
FBPF_STUB(read_iter_postfilter, const struct fuse_read_in *in,
	  struct fuse_read_iter_out *out)
FBPF_STUB(write_iter_prefilter, struct fuse_write_in *in)
FBPF_STUB(write_iter_postfilter, const struct fuse_write_in *in,
	  struct fuse_write_iter_out *out)
FBPF_STUB(file_fallocate_prefilter, struct fuse_fallocate_in *in)
FBPF_STUB(file_fallocate_postfilter, const struct fuse_fallocate_in *in)
FBPF_STUB(lookup_prefilter, struct fuse_buffer *name)
FBPF_STUB(lookup_postfilter, const struct fuse_buffer *name,
	  struct fuse_entry_out *out, struct fuse_buffer *entries)
FBPF_STUB(mknod_prefilter, struct fuse_mknod_in *in, struct fuse_buffer *name)
FBPF_STUB(mknod_postfilter, const struct fuse_mknod_in *in,
	  const struct fuse_buffer *name)
FBPF_STUB(mkdir_prefilter, struct fuse_mkdir_in *in, struct fuse_buffer *name)
FBPF_STUB(mkdir_postfilter, const struct fuse_mkdir_in *in,
	  const struct fuse_buffer *name)
FBPF_STUB(rmdir_prefilter, struct fuse_buffer *name)
FBPF_STUB(rmdir_postfilter, const struct fuse_buffer *name)
FBPF_STUB(rename2_prefilter, struct fuse_rename2_in *in,
	  struct fuse_buffer *old_name, struct fuse_buffer *new_name)
FBPF_STUB(rename2_postfilter, const struct fuse_rename2_in *in,
	  const struct fuse_buffer *old_name,
	  const struct fuse_buffer *new_name)
#ifndef FUSEBPF_MODULE
FBPF_STUB(rename_prefilter, struct fuse_rename_in *in,
	  struct fuse_buffer *old_name, struct fuse_buffer *new_name)
FBPF_STUB(rename_postfilter, const struct fuse_rename_in *in,
	  const struct fuse_buffer *old_name,
	  const struct fuse_buffer *new_name)
#endif
FBPF_STUB(unlink_prefilter, struct fuse_buffer *name)
FBPF_STUB(unlink_postfilter, const struct fuse_buffer *name)
FBPF_STUB(link_prefilter, struct fuse_link_in *in, struct fuse_buffer *name)
FBPF_STUB(link_postfilter, const struct fuse_link_in *in,
	  const struct fuse_buffer *name)
FBPF_STUB(getattr_prefilter, struct fuse_getattr_in *in)
FBPF_STUB(getattr_postfilter, const struct fuse_getattr_in *in,
	  struct fuse_attr_out *out)
FBPF_STUB(setattr_prefilter, struct fuse_setattr_in *in)
FBPF_STUB(setattr_postfilter, const struct fuse_setattr_in *in,
	  struct fuse_attr_out *out)
FBPF_STUB(statfs_prefilter)
FBPF_STUB(statfs_postfilter, struct fuse_statfs_out *out)
FBPF_STUB(get_link_prefilter, struct fuse_buffer *name)
FBPF_STUB(get_link_postfilter, const struct fuse_buffer *name)
FBPF_STUB(symlink_prefilter, struct fuse_buffer *name, struct fuse_buffer *path)
FBPF_STUB(symlink_postfilter, const struct fuse_buffer *name,
	  const struct fuse_buffer *path)
FBPF_STUB(readdir_prefilter, struct fuse_read_in *in)
FBPF_STUB(readdir_postfilter, const struct fuse_read_in *in,
	  struct fuse_read_out *out, struct fuse_buffer *buffer)
FBPF_STUB(access_prefilter, struct fuse_access_in *in)
FBPF_STUB(access_postfilter, const struct fuse_access_in *in)

static struct fuse_ops fbpf_stubs = {
	.default_filter = fuse_ops__default_filter,
	.open_prefilter = fuse_ops__open_prefilter,
	.open_postfilter = fuse_ops__open_postfilter,
	.opendir_prefilter = fuse_ops__opendir_prefilter,
	.opendir_postfilter = fuse_ops__opendir_postfilter,
	.create_open_prefilter = fuse_ops__create_open_prefilter,
	.create_open_postfilter = fuse_ops__create_open_postfilter,
	.release_prefilter = fuse_ops__release_prefilter,
	.release_postfilter = fuse_ops__release_postfilter,
	.releasedir_prefilter = fuse_ops__releasedir_prefilter,
	.releasedir_postfilter = fuse_ops__releasedir_postfilter,
	.flush_prefilter = fuse_ops__flush_prefilter,
	.flush_postfilter = fuse_ops__flush_postfilter,
	.lseek_prefilter = fuse_ops__lseek_prefilter,
	.lseek_postfilter = fuse_ops__lseek_postfilter,
	.copy_file_range_prefilter = fuse_ops__copy_file_range_prefilter,
	.copy_file_range_postfilter = fuse_ops__copy_file_range_postfilter,
	.fsync_prefilter = fuse_ops__fsync_prefilter,
	.fsync_postfilter = fuse_ops__fsync_postfilter,
#ifndef FBPF_NO_FSYNCDIR
	.dir_fsync_prefilter = fuse_ops__dir_fsync_prefilter,
	.dir_fsync_postfilter = fuse_ops__dir_fsync_postfilter,
#endif
	.getxattr_prefilter = fuse_ops__getxattr_prefilter,
	.getxattr_postfilter = fuse_ops__getxattr_postfilter,
	.listxattr_prefilter = fuse_ops__listxattr_prefilter,
	.listxattr_postfilter = fuse_ops__listxattr_postfilter,
	.setxattr_prefilter = fuse_ops__setxattr_prefilter,
	.setxattr_postfilter = fuse_ops__setxattr_postfilter,
	.removexattr_prefilter = fuse_ops__removexattr_prefilter,
	.removexattr_postfilter = fuse_ops__removexattr_postfilter,
	.read_iter_prefilter = fuse_ops__read_iter_prefilter,
	.read_iter_postfilter = fuse_ops__read_iter_postfilter,
	.write_iter_prefilter = fuse_ops__write_iter_prefilter,
	.write_iter_postfilter = fuse_ops__write_iter_postfilter,
	.file_fallocate_prefilter = fuse_ops__file_fallocate_prefilter,
	.file_fallocate_postfilter = fuse_ops__file_fallocate_postfilter,
	.lookup_prefilter = fuse_ops__lookup_prefilter,
	.lookup_postfilter = fuse_ops__lookup_postfilter,
	.mknod_prefilter = fuse_ops__mknod_prefilter,
	.mknod_postfilter = fuse_ops__mknod_postfilter,
	.mkdir_prefilter = fuse_ops__mkdir_prefilter,
	.mkdir_postfilter = fuse_ops__mkdir_postfilter,
	.rmdir_prefilter = fuse_ops__rmdir_prefilter,
	.rmdir_postfilter = fuse_ops__rmdir_postfilter,
	.rename2_prefilter = fuse_ops__rename2_prefilter,
	.rename2_postfilter = fuse_ops__rename2_postfilter,
#ifndef FUSEBPF_MODULE
	.rename_prefilter = fuse_ops__rename_prefilter,
	.rename_postfilter = fuse_ops__rename_postfilter,
#endif
	.unlink_prefilter = fuse_ops__unlink_prefilter,
	.unlink_postfilter = fuse_ops__unlink_postfilter,
	.link_prefilter = fuse_ops__link_prefilter,
	.link_postfilter = fuse_ops__link_postfilter,
	.getattr_prefilter = fuse_ops__getattr_prefilter,
	.getattr_postfilter = fuse_ops__getattr_postfilter,
	.setattr_prefilter = fuse_ops__setattr_prefilter,
	.setattr_postfilter = fuse_ops__setattr_postfilter,
	.statfs_prefilter = fuse_ops__statfs_prefilter,
	.statfs_postfilter = fuse_ops__statfs_postfilter,
	.get_link_prefilter = fuse_ops__get_link_prefilter,
	.get_link_postfilter = fuse_ops__get_link_postfilter,
	.symlink_prefilter = fuse_ops__symlink_prefilter,
	.symlink_postfilter = fuse_ops__symlink_postfilter,
	.readdir_prefilter = fuse_ops__readdir_prefilter,
	.readdir_postfilter = fuse_ops__readdir_postfilter,
	.access_prefilter = fuse_ops__access_prefilter,
	.access_postfilter = fuse_ops__access_postfilter,
};

#endif
