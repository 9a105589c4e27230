/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What BPF programs see: the struct_ops type and the structs it passes. Names,
 * layouts and values are those of the fuse-bpf RFC v4.
 */
#ifndef _FS_FUSE_BPF_ABI_H
#define _FS_FUSE_BPF_ABI_H

#include <linux/fuse.h>
#include <linux/types.h>

#include "bpf_members.h"

/* Verdicts; anything else that is not a negative errno is refused */
enum {
	BPF_FUSE_CONTINUE = 0,
	BPF_FUSE_USER = 1,
	BPF_FUSE_USER_PREFILTER = 2,
	BPF_FUSE_POSTFILTER = 3,
	BPF_FUSE_USER_POSTFILTER = 4,
	BPF_FUSE_CALL_DEFAULT = 5,
};

/* Phase bits of bpf_fuse_meta_info.opcode */
#define FUSE_PREFILTER		0x10000
#define FUSE_POSTFILTER		0x20000

#define BPF_FUSE_NAME_MAX	15

/* Extension of a postfilter's request */
#define FUSE_ERROR_IN		33

/* Entries of a lookup, beside those of the stock protocol */
#define FUSE_BPF_MAX_ENTRIES	2

enum fuse_bpf_type {
	FUSE_ENTRY_BACKING = 1,
	FUSE_ENTRY_BPF = 2,
	FUSE_ENTRY_REMOVE_BACKING = 3,
	FUSE_ENTRY_REMOVE_BPF = 4,
};

struct fuse_bpf_entry_out {
	u32 entry_type;
	u32 unused;
	union {
		struct {
			u64 unused2;
			u64 fd;
		};
		char name[BPF_FUSE_NAME_MAX + 1];
	};
};

/* Sends a reply of @len bytes, which may hold entries */
#define FUSE_DEV_IOC_BPF_RESPONSE(len)	\
	_IOC(_IOC_WRITE, FUSE_DEV_IOC_MAGIC, 125, len)

/* fuse_buffer.flags */
#define BPF_FUSE_IMMUTABLE	BIT(0)
#define BPF_FUSE_VARIABLE_SIZE	BIT(1)
#define BPF_FUSE_MUST_ALLOCATE	BIT(2)
#define BPF_FUSE_MODIFIED	BIT(3)
#define BPF_FUSE_ALLOCATED	BIT(4)
/* Ours: the buffer belongs to a struct fbpf_dirbuf */
#define BPF_FUSE_DIRENTS	BIT(16)

struct bpf_fuse_meta_info {
	u64 nodeid;
	u32 opcode;
	u32 error_in;
	u32 error_out;
};

/**
 * struct fuse_buffer - bytes of variable length
 * @data: memory
 * @size: length; of a name, with its NUL
 * @alloc_size: bytes of memory at @data that may be read
 * @max_size: largest length a program may set
 * @flags: BPF_FUSE_*
 */
struct fuse_buffer {
	void *data;
	unsigned int size;
	unsigned int alloc_size;
	unsigned int max_size;
	int flags;
};

/* fuse_open_out.open_flags, ours: the file reads as an empty one */
#define FUSE_BPF_OPEN_EMPTY	BIT(31)

/* Where a directory pass ended, and whether to make another one at once */
struct fuse_read_out {
	u64 offset;
	u32 again;
	u32 padding;
};

struct fuse_read_iter_out {
	u64 ret;
};

struct fuse_write_iter_out {
	u64 ret;
};

#define BPF_FUSE_DIRENT_DROPPED	BIT(0)
#define BPF_FUSE_DIRENT_RENAMED	BIT(1)

/* One directory entry; lives until the operation ends */
struct bpf_fuse_dirent {
	u64 ino;
	u64 off;
	u32 type;
	u32 flags;
	struct fuse_buffer name;
};

struct bpf_iter_fuse_dirent {
	u64 __opaque[4];
} __aligned(8);

/*
 * Order is ABI. 64 members are all that a stock kernel allows, so the module's
 * struct lacks the pair rename.
 */
struct fuse_ops {
	int (*default_filter)(const struct bpf_fuse_meta_info *meta);

	int (*open_prefilter)(const struct bpf_fuse_meta_info *meta,
			      struct fuse_open_in *in);
	int (*open_postfilter)(const struct bpf_fuse_meta_info *meta,
			       const struct fuse_open_in *in, struct fuse_open_out *out);

	int (*opendir_prefilter)(const struct bpf_fuse_meta_info *meta,
				 struct fuse_open_in *in);
	int (*opendir_postfilter)(const struct bpf_fuse_meta_info *meta,
				  const struct fuse_open_in *in, struct fuse_open_out *out);

	int (*create_open_prefilter)(const struct bpf_fuse_meta_info *meta,
				     struct fuse_create_in *in, struct fuse_buffer *name);
	int (*create_open_postfilter)(const struct bpf_fuse_meta_info *meta,
				      const struct fuse_create_in *in,
				      const struct fuse_buffer *name,
				      struct fuse_entry_out *entry_out,
				      struct fuse_open_out *out);

	int (*release_prefilter)(const struct bpf_fuse_meta_info *meta,
				 struct fuse_release_in *in);
	int (*release_postfilter)(const struct bpf_fuse_meta_info *meta,
				  const struct fuse_release_in *in);

	int (*releasedir_prefilter)(const struct bpf_fuse_meta_info *meta,
				    struct fuse_release_in *in);
	int (*releasedir_postfilter)(const struct bpf_fuse_meta_info *meta,
				     const struct fuse_release_in *in);

	int (*flush_prefilter)(const struct bpf_fuse_meta_info *meta,
			       struct fuse_flush_in *in);
	int (*flush_postfilter)(const struct bpf_fuse_meta_info *meta,
				const struct fuse_flush_in *in);

	int (*lseek_prefilter)(const struct bpf_fuse_meta_info *meta,
			       struct fuse_lseek_in *in);
	int (*lseek_postfilter)(const struct bpf_fuse_meta_info *meta,
				const struct fuse_lseek_in *in, struct fuse_lseek_out *out);

	int (*copy_file_range_prefilter)(const struct bpf_fuse_meta_info *meta,
					 struct fuse_copy_file_range_in *in);
	int (*copy_file_range_postfilter)(const struct bpf_fuse_meta_info *meta,
					  const struct fuse_copy_file_range_in *in,
					  struct fuse_write_out *out);

	int (*fsync_prefilter)(const struct bpf_fuse_meta_info *meta,
			       struct fuse_fsync_in *in);
	int (*fsync_postfilter)(const struct bpf_fuse_meta_info *meta,
				const struct fuse_fsync_in *in);

#ifndef FBPF_NO_FSYNCDIR
	int (*dir_fsync_prefilter)(const struct bpf_fuse_meta_info *meta,
				   struct fuse_fsync_in *in);
	int (*dir_fsync_postfilter)(const struct bpf_fuse_meta_info *meta,
				    const struct fuse_fsync_in *in);
#endif

	int (*getxattr_prefilter)(const struct bpf_fuse_meta_info *meta,
				  struct fuse_getxattr_in *in, struct fuse_buffer *name);
	int (*getxattr_postfilter)(const struct bpf_fuse_meta_info *meta,
				   const struct fuse_getxattr_in *in,
				   const struct fuse_buffer *name,
				   struct fuse_buffer *value,
				   struct fuse_getxattr_out *out);

	int (*listxattr_prefilter)(const struct bpf_fuse_meta_info *meta,
				   struct fuse_getxattr_in *in);
	int (*listxattr_postfilter)(const struct bpf_fuse_meta_info *meta,
				    const struct fuse_getxattr_in *in,
				    struct fuse_buffer *value,
				    struct fuse_getxattr_out *out);

	int (*setxattr_prefilter)(const struct bpf_fuse_meta_info *meta,
				  struct fuse_setxattr_in *in, struct fuse_buffer *name,
				  struct fuse_buffer *value);
	int (*setxattr_postfilter)(const struct bpf_fuse_meta_info *meta,
				   const struct fuse_setxattr_in *in,
				   const struct fuse_buffer *name,
				   const struct fuse_buffer *value);

	int (*removexattr_prefilter)(const struct bpf_fuse_meta_info *meta,
				     struct fuse_buffer *name);
	int (*removexattr_postfilter)(const struct bpf_fuse_meta_info *meta,
				      const struct fuse_buffer *name);

	int (*read_iter_prefilter)(const struct bpf_fuse_meta_info *meta,
				   struct fuse_read_in *in);
	int (*read_iter_postfilter)(const struct bpf_fuse_meta_info *meta,
				    const struct fuse_read_in *in,
				    struct fuse_read_iter_out *out);

	int (*write_iter_prefilter)(const struct bpf_fuse_meta_info *meta,
				    struct fuse_write_in *in);
	int (*write_iter_postfilter)(const struct bpf_fuse_meta_info *meta,
				     const struct fuse_write_in *in,
				     struct fuse_write_iter_out *out);

	int (*file_fallocate_prefilter)(const struct bpf_fuse_meta_info *meta,
					struct fuse_fallocate_in *in);
	int (*file_fallocate_postfilter)(const struct bpf_fuse_meta_info *meta,
					 const struct fuse_fallocate_in *in);

	int (*lookup_prefilter)(const struct bpf_fuse_meta_info *meta,
				struct fuse_buffer *name);
	int (*lookup_postfilter)(const struct bpf_fuse_meta_info *meta,
				 const struct fuse_buffer *name,
				 struct fuse_entry_out *out, struct fuse_buffer *entries);

	int (*mknod_prefilter)(const struct bpf_fuse_meta_info *meta,
			       struct fuse_mknod_in *in, struct fuse_buffer *name);
	int (*mknod_postfilter)(const struct bpf_fuse_meta_info *meta,
				const struct fuse_mknod_in *in,
				const struct fuse_buffer *name);

	int (*mkdir_prefilter)(const struct bpf_fuse_meta_info *meta,
			       struct fuse_mkdir_in *in, struct fuse_buffer *name);
	int (*mkdir_postfilter)(const struct bpf_fuse_meta_info *meta,
				const struct fuse_mkdir_in *in,
				const struct fuse_buffer *name);

	int (*rmdir_prefilter)(const struct bpf_fuse_meta_info *meta,
			       struct fuse_buffer *name);
	int (*rmdir_postfilter)(const struct bpf_fuse_meta_info *meta,
				const struct fuse_buffer *name);

	int (*rename2_prefilter)(const struct bpf_fuse_meta_info *meta,
				 struct fuse_rename2_in *in, struct fuse_buffer *old_name,
				 struct fuse_buffer *new_name);
	int (*rename2_postfilter)(const struct bpf_fuse_meta_info *meta,
				  const struct fuse_rename2_in *in,
				  const struct fuse_buffer *old_name,
				  const struct fuse_buffer *new_name);

#ifndef FUSEBPF_MODULE
	int (*rename_prefilter)(const struct bpf_fuse_meta_info *meta,
				struct fuse_rename_in *in, struct fuse_buffer *old_name,
				struct fuse_buffer *new_name);
	int (*rename_postfilter)(const struct bpf_fuse_meta_info *meta,
				 const struct fuse_rename_in *in,
				 const struct fuse_buffer *old_name,
				 const struct fuse_buffer *new_name);
#endif

	int (*unlink_prefilter)(const struct bpf_fuse_meta_info *meta,
				struct fuse_buffer *name);
	int (*unlink_postfilter)(const struct bpf_fuse_meta_info *meta,
				 const struct fuse_buffer *name);

	int (*link_prefilter)(const struct bpf_fuse_meta_info *meta,
			      struct fuse_link_in *in, struct fuse_buffer *name);
	int (*link_postfilter)(const struct bpf_fuse_meta_info *meta,
			       const struct fuse_link_in *in,
			       const struct fuse_buffer *name);

	int (*getattr_prefilter)(const struct bpf_fuse_meta_info *meta,
				 struct fuse_getattr_in *in);
	int (*getattr_postfilter)(const struct bpf_fuse_meta_info *meta,
				  const struct fuse_getattr_in *in,
				  struct fuse_attr_out *out);

	int (*setattr_prefilter)(const struct bpf_fuse_meta_info *meta,
				 struct fuse_setattr_in *in);
	int (*setattr_postfilter)(const struct bpf_fuse_meta_info *meta,
				  const struct fuse_setattr_in *in,
				  struct fuse_attr_out *out);

	int (*statfs_prefilter)(const struct bpf_fuse_meta_info *meta);
	int (*statfs_postfilter)(const struct bpf_fuse_meta_info *meta,
				 struct fuse_statfs_out *out);

	int (*get_link_prefilter)(const struct bpf_fuse_meta_info *meta,
				  struct fuse_buffer *name);
	int (*get_link_postfilter)(const struct bpf_fuse_meta_info *meta,
				   const struct fuse_buffer *name);

	int (*symlink_prefilter)(const struct bpf_fuse_meta_info *meta,
				 struct fuse_buffer *name, struct fuse_buffer *path);
	int (*symlink_postfilter)(const struct bpf_fuse_meta_info *meta,
				  const struct fuse_buffer *name,
				  const struct fuse_buffer *path);

	int (*readdir_prefilter)(const struct bpf_fuse_meta_info *meta,
				 struct fuse_read_in *in);
	int (*readdir_postfilter)(const struct bpf_fuse_meta_info *meta,
				  const struct fuse_read_in *in, struct fuse_read_out *out,
				  struct fuse_buffer *buffer);

#ifdef FBPF_HAS_HOLE
	char name[BPF_FUSE_NAME_MAX];
	u32 hole1;
	u32 hole2;
#endif

	int (*access_prefilter)(const struct bpf_fuse_meta_info *meta,
				struct fuse_access_in *in);
	int (*access_postfilter)(const struct bpf_fuse_meta_info *meta,
				 const struct fuse_access_in *in);

#ifndef FBPF_HAS_HOLE
	char name[BPF_FUSE_NAME_MAX];
#endif
};

#endif
