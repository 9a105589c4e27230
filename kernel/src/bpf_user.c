// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filters in the daemon: the requests FUSE_PREFILTER and FUSE_POSTFILTER, in the
 * format of the fuse-bpf RFC v4.
 *
 * A prefilter's request holds the inputs, its answer the inputs again but for
 * the names that cannot change. A postfilter's request holds inputs, results and
 * the error of the operation, its answer the results. A buffer has its length,
 * in an answer its largest one unless it is the last part.
 *
 * The header's error of an answer is a verdict: 0 goes on, as in v4, and
 * BPF_FUSE_USER, BPF_FUSE_POSTFILTER and BPF_FUSE_USER_POSTFILTER are what they
 * are from a program.
 *
 * Locking: as for programs, none of ours; LOOKUP, READLINK and READDIR take the
 * lock that a daemon without FUSE_PARALLEL_DIROPS relies on. The answer is taken
 * in the task that gives it, while the operation's own waits.
 */
#include <linux/slab.h>

#include "bpf_op.h"
#include "bpf_daemon.h"

/* Buffers of an operation, in their order on the wire */
#define FBPF_W_NAME	BIT(0)
#define FBPF_W_NAME2	BIT(1)
#define FBPF_W_VALUE	BIT(2)
/* Buffers of its results; GETXATTR's stands for the struct when it is there */
#define FBPF_W_ENTRIES	BIT(3)
#define FBPF_W_DIR	BIT(4)
#define FBPF_W_FOUND	BIT(5)

/* Bytes of the structs, and the buffers */
struct fbpf_wire {
	u8 in;
	u8 out;
	u8 bufs;
};

static const struct fbpf_wire fbpf_wires[FBPF_OTHER] = {
	[FBPF_OPEN] = { sizeof(struct fuse_open_in), sizeof(struct fuse_open_out) },
	[FBPF_OPENDIR] = { sizeof(struct fuse_open_in),
			   sizeof(struct fuse_open_out) },
	[FBPF_CREATE] = { sizeof(struct fuse_create_in),
			  sizeof(struct fuse_entry_out) +
			  sizeof(struct fuse_open_out), FBPF_W_NAME },
	[FBPF_RELEASE] = { sizeof(struct fuse_release_in) },
	[FBPF_RELEASEDIR] = { sizeof(struct fuse_release_in) },
	[FBPF_FLUSH] = { sizeof(struct fuse_flush_in) },
	[FBPF_LSEEK] = { sizeof(struct fuse_lseek_in),
			 sizeof(struct fuse_lseek_out) },
	[FBPF_COPY] = { sizeof(struct fuse_copy_file_range_in),
			sizeof(struct fuse_write_out) },
	[FBPF_FSYNC] = { sizeof(struct fuse_fsync_in) },
#ifndef FBPF_NO_FSYNCDIR
	[FBPF_FSYNCDIR] = { sizeof(struct fuse_fsync_in) },
#endif
	[FBPF_GETXATTR] = { sizeof(struct fuse_getxattr_in),
			    sizeof(struct fuse_getxattr_out),
			    FBPF_W_NAME | FBPF_W_FOUND },
	[FBPF_LISTXATTR] = { sizeof(struct fuse_getxattr_in),
			     sizeof(struct fuse_getxattr_out), FBPF_W_FOUND },
	[FBPF_SETXATTR] = { sizeof(struct fuse_setxattr_in), 0,
			    FBPF_W_NAME | FBPF_W_VALUE },
	[FBPF_REMOVEXATTR] = { 0, 0, FBPF_W_NAME },
	[FBPF_READ] = { sizeof(struct fuse_read_in),
			sizeof(struct fuse_read_iter_out) },
	[FBPF_WRITE] = { sizeof(struct fuse_write_in),
			 sizeof(struct fuse_write_iter_out) },
	[FBPF_FALLOCATE] = { sizeof(struct fuse_fallocate_in) },
	[FBPF_LOOKUP] = { 0, sizeof(struct fuse_entry_out),
			  FBPF_W_NAME | FBPF_W_ENTRIES },
	[FBPF_MKNOD] = { sizeof(struct fuse_mknod_in), 0, FBPF_W_NAME },
	[FBPF_MKDIR] = { sizeof(struct fuse_mkdir_in), 0, FBPF_W_NAME },
	[FBPF_RMDIR] = { 0, 0, FBPF_W_NAME },
	[FBPF_RENAME2] = { sizeof(struct fuse_rename2_in), 0,
			   FBPF_W_NAME | FBPF_W_NAME2 },
#ifndef FUSEBPF_MODULE
	[FBPF_RENAME] = { sizeof(struct fuse_rename_in), 0,
			  FBPF_W_NAME | FBPF_W_NAME2 },
#endif
	[FBPF_UNLINK] = { 0, 0, FBPF_W_NAME },
	[FBPF_LINK] = { sizeof(struct fuse_link_in), 0, FBPF_W_NAME },
	[FBPF_GETATTR] = { sizeof(struct fuse_getattr_in),
			   sizeof(struct fuse_attr_out) },
	[FBPF_SETATTR] = { sizeof(struct fuse_setattr_in),
			   sizeof(struct fuse_attr_out) },
	[FBPF_STATFS] = { 0, sizeof(struct fuse_statfs_out) },
	[FBPF_READLINK] = { 0, 0, FBPF_W_NAME },
	[FBPF_SYMLINK] = { 0, 0, FBPF_W_NAME | FBPF_W_VALUE },
	[FBPF_READDIR] = { sizeof(struct fuse_read_in),
			   sizeof(struct fuse_read_out), FBPF_W_DIR },
	[FBPF_ACCESS] = { sizeof(struct fuse_access_in) },
};

/* struct fuse_ext_header, the error of the operation, padding */
struct fbpf_error_ext {
	struct fuse_ext_header header;
	u32 error_in;
	u32 padding;
};

#define FBPF_MAX_PARTS	6

/**
 * struct fbpf_part - one part of a request or answer
 * @data: its bytes
 * @size: how many; of text with its NUL, which is not at @data then
 * @buf: the buffer; NULL for a struct
 * @text: a name or a path
 */
struct fbpf_part {
	void *data;
	u32 size;
	struct fuse_buffer *buf;
	bool text;
};

/**
 * struct fbpf_question - a request to a filter in the daemon
 * @reply: how its answer is taken
 * @op: operation
 * @desc: its kind
 * @parts: what the answer consists of
 * @nr_parts: how many
 * @post: it is a postfilter
 * @verdict: of the answer
 */
struct fbpf_question {
	struct fbpf_reply reply;
	struct fbpf_op *op;
	const struct fbpf_desc *desc;
	struct fbpf_part parts[FBPF_MAX_PARTS];
	unsigned int nr_parts;
	bool post;
	int verdict;
};

static void fbpf_add_struct(struct fbpf_part *parts, unsigned int *nr,
			    void *data, u32 size)
{
	if (size)
		parts[(*nr)++] = (struct fbpf_part) {
			.data = data,
			.size = size,
		};
}

static void fbpf_add_buffer(struct fbpf_part *parts, unsigned int *nr,
			    struct fuse_buffer *buf)
{
	parts[(*nr)++] = (struct fbpf_part) {
		.data = buf->data,
		.size = buf->size,
		.buf = buf,
	};
}

/* Inputs; only those that an answer holds when @changing */
static void fbpf_add_inputs(struct fbpf_part *parts, unsigned int *nr,
			    struct fbpf_op *op, const struct fbpf_wire *wire,
			    bool changing)
{
	struct fuse_buffer *bufs[] = { &op->name, &op->name2, &op->value };
	int i;

	fbpf_add_struct(parts, nr, &op->in, wire->in);
	for (i = 0; i < ARRAY_SIZE(bufs); i++) {
		if (!(wire->bufs & BIT(i)))
			continue;
		if (changing && bufs[i]->flags & BPF_FUSE_IMMUTABLE)
			continue;
		fbpf_add_buffer(parts, nr, bufs[i]);
	}
}

static void fbpf_add_results(struct fbpf_part *parts, unsigned int *nr,
			     struct fbpf_op *op, const struct fbpf_wire *wire)
{
	if (wire->bufs & FBPF_W_FOUND && op->in.getxattr.size) {
		fbpf_add_buffer(parts, nr, &op->value);
		return;
	}
	fbpf_add_struct(parts, nr, &op->out, wire->out);
	if (wire->bufs & FBPF_W_ENTRIES)
		fbpf_add_buffer(parts, nr, &op->entries);
	if (wire->bufs & FBPF_W_DIR)
		fbpf_add_buffer(parts, nr, &op->dir->buf);
}

/* As it is used, up to its first NUL, which filters may have left out */
static void fbpf_end_text(struct fbpf_part *part)
{
	part->size = strnlen(part->data, part->size) + 1;
	part->text = true;
}

/* Put the parts of a request together */
static void fbpf_put_parts(u8 *at, const struct fbpf_part *parts,
			   unsigned int nr)
{
	for (; nr; nr--, parts++) {
		memcpy(at, parts->data, parts->size - parts->text);
		at += parts->size;
		if (parts->text)
			at[-1] = 0;
	}
}

static u32 fbpf_room(const struct fuse_buffer *buf)
{
	return min(buf->max_size, buf->alloc_size);
}

/* Bytes of an answer: all parts, buffers at their largest */
static u32 fbpf_answer_size(const struct fbpf_question *question)
{
	u32 size = 0;
	int i;

	for (i = 0; i < question->nr_parts; i++) {
		const struct fbpf_part *part = &question->parts[i];

		size += part->buf ? fbpf_room(part->buf) : part->size;
	}
	return size;
}

/* Take the bytes of a buffer. What is the same has not been modified. */
static void fbpf_take_buffer(struct fuse_buffer *buf, const void *data, u32 size)
{
	if (size == buf->size && !memcmp(buf->data, data, size))
		return;
	memcpy(buf->data, data, size);
	buf->size = size;
	buf->flags |= BPF_FUSE_MODIFIED;
}

/* The length of a name that was padded: up to its NUL */
static u32 fbpf_padded_size(const void *data, u32 room)
{
	return min_t(u32, strnlen(data, room) + 1, room);
}

/*
 * Take an answer apart. All of it is checked before any of it is used.
 *
 * Return: 0 or -EINVAL
 */
static int fbpf_take_answer(struct fbpf_question *question, const u8 *data,
			    u32 size)
{
	u32 least = 0;
	int i;

	for (i = 0; i < question->nr_parts; i++) {
		const struct fbpf_part *part = &question->parts[i];

		if (!part->buf)
			least += part->size;
		else if (i + 1 < question->nr_parts)
			least += fbpf_room(part->buf);
	}
	if (size < least)
		return -EINVAL;

	for (i = 0; i < question->nr_parts; i++) {
		struct fbpf_part *part = &question->parts[i];
		u32 len = part->size;

		if (!part->buf) {
			memcpy(part->data, data, len);
		} else if (i + 1 < question->nr_parts) {
			len = fbpf_room(part->buf);
			fbpf_take_buffer(part->buf, data,
					 fbpf_padded_size(data, len));
		} else {
			len = size;
			fbpf_take_buffer(part->buf, data, len);
		}
		data += len;
		size -= len;
	}
	return 0;
}

static bool fbpf_verdict_ok(const struct fbpf_question *question, int verdict)
{
	switch (verdict) {
	case BPF_FUSE_CONTINUE:
		return true;
	case BPF_FUSE_USER:
	case BPF_FUSE_POSTFILTER:
	case BPF_FUSE_USER_POSTFILTER:
		return !question->post;
	default:
		return false;
	}
}

/* Entries of a LOOKUP's postfilter: the daemon's stand for the program's */
static int fbpf_take_entries(struct fbpf_question *question, const u8 *data,
			     u32 size, bool by_ioctl)
{
	struct fbpf_op *op = question->op;
	struct fuse_bpf_entry_out out[FUSE_BPF_MAX_ENTRIES];

	if (size <= sizeof(struct fuse_entry_out))
		return 0;
	if (!by_ioctl)
		return -EINVAL;
	size -= sizeof(struct fuse_entry_out);
	if (size > sizeof(out))
		return -EINVAL;
	memcpy(out, data + sizeof(struct fuse_entry_out), size);
	fbpf_put_entries(&op->daemon);
	return fbpf_parse_entries(fbpf_sb(op->inode->i_sb), &op->daemon, out,
				  size);
}

static int fbpf_parse_answer(struct fuse_args *args, int verdict, bool by_ioctl)
{
	struct fbpf_question *question = container_of(args->bpf,
						      struct fbpf_question,
						      reply);
	u32 size = args->out_numargs ? args->out_args[0].size : 0;
	const u8 *data = args->out_numargs ? args->out_args[0].value : NULL;
	int err;

	if (!fbpf_verdict_ok(question, verdict))
		return -EINVAL;
	if (question->post && question->desc->hook == FBPF_LOOKUP) {
		err = fbpf_take_entries(question, data, size, by_ioctl);
		if (err)
			return err;
		/* A program's entries stay when the daemon gives none */
		size = min_t(u32, size, sizeof(struct fuse_entry_out));
		question->nr_parts = 1;
	}
	err = fbpf_take_answer(question, data, size);
	if (!err)
		question->verdict = verdict;
	return err;
}

/* Directory entries as they are without those that a program dropped */
static void fbpf_compact(struct fbpf_dirbuf *dir)
{
	u32 from = 0, to = 0, index, len, size;
	struct fuse_dirent *d;

	for (index = 0; index < FBPF_DIR_MAX; index++, from += len) {
		struct bpf_fuse_dirent *entry = &dir->entries[index];

		len = fbpf_next_dirent(&dir->buf, from, &d);
		if (!len)
			break;
		if (entry->flags & BPF_FUSE_DIRENT_DROPPED)
			continue;
		/* A new name is no longer than the old one */
		if (entry->flags & BPF_FUSE_DIRENT_RENAMED)
			d->namelen = min_t(u32, d->namelen,
					   entry->name.size - 1);
		size = FUSE_DIRENT_SIZE(d);
		memmove(dir->data + to, d, size);
		to += size;
	}
	dir->buf.size = to;
	for (index = 0; index < FBPF_DIR_MAX; index++)
		dir->entries[index].flags = 0;
}

static bool fbpf_needs_lock(enum fbpf_hook hook)
{
	return hook == FBPF_LOOKUP || hook == FBPF_READDIR ||
	       hook == FBPF_READLINK;
}

/* Send what is prepared and wait for the answer */
static int fbpf_send_question(struct fbpf_question *question,
			      struct fuse_args *args)
{
	struct inode *inode = question->op->inode;
	enum fbpf_hook hook = question->desc->hook;
	bool locked = false;
	ssize_t ret;

	/* Whoever closes may be dying: the daemon is told all the same */
	args->force = hook == FBPF_FLUSH;
	if (fbpf_needs_lock(hook))
		locked = fuse_lock_inode(inode);
	ret = fuse_simple_request(get_fuse_mount(inode), args);
	if (fbpf_needs_lock(hook))
		fuse_unlock_inode(inode, locked);
	return min_t(ssize_t, ret, 0);
}

static int fbpf_ask_daemon(const struct fbpf_desc *desc, struct fbpf_op *op,
			   bool post)
{
	const struct fbpf_wire *wire = &fbpf_wires[desc->hook];
	struct fbpf_question question = {
		.reply.parse = fbpf_parse_answer,
		.op = op,
		.desc = desc,
		.post = post,
	};
	struct fbpf_error_ext ext = {
		.header.size = sizeof(ext),
		.header.type = FUSE_ERROR_IN,
		.error_in = op->meta.error_in,
	};
	struct fbpf_part asked[FBPF_MAX_PARTS];
	unsigned int nr_asked = 0;
	u32 size = 0, room;
	struct fuse_args args = {};
	u8 *data;
	int i, err;

	if (post && wire->bufs & FBPF_W_ENTRIES &&
	    fbpf_names_backing(&op->entries))
		return -EIO;
	if (post && wire->bufs & FBPF_W_DIR)
		fbpf_compact(op->dir);
	fbpf_add_inputs(asked, &nr_asked, op, wire, false);
	if (post) {
		fbpf_add_results(asked, &nr_asked, op, wire);
		fbpf_add_results(question.parts, &question.nr_parts, op, wire);
	} else {
		fbpf_add_inputs(question.parts, &question.nr_parts, op, wire,
				true);
	}
	for (i = 0; i < nr_asked; i++) {
		struct fuse_buffer *buf = asked[i].buf;

		if (buf && (buf == &op->name || buf == &op->name2 ||
			    (buf == &op->value && desc->hook == FBPF_SYMLINK)))
			fbpf_end_text(&asked[i]);
		size += asked[i].size;
	}
	room = fbpf_answer_size(&question);

	data = kvmalloc(size + room + 1, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	fbpf_put_parts(data, asked, nr_asked);

	args.bpf = &question.reply;
	args.opcode = desc->opcode | (post ? FUSE_POSTFILTER : FUSE_PREFILTER);
	args.nodeid = op->meta.nodeid;
	if (size) {
		args.in_args[0].size = size;
		args.in_args[0].value = data;
		args.in_numargs = 1;
	}
	if (post) {
		args.is_ext = true;
		args.ext_idx = args.in_numargs;
		args.in_args[args.in_numargs].size = sizeof(ext);
		args.in_args[args.in_numargs++].value = &ext;
	}
	if (room) {
		args.out_numargs = 1;
		args.out_argvar = true;
		args.out_args[0].size = room;
		args.out_args[0].value = data + size;
	}
	err = fbpf_send_question(&question, &args);
	kvfree(data);
	return err ?: question.verdict;
}

/**
 * struct fbpf_note - a request that nobody waits for
 * @args: request
 * @reply: takes any answer
 * @in: its input
 * @ext: the error of the operation
 * @sink: where the answer goes
 * @inode: held, so that nothing is told of a node that was forgotten
 */
struct fbpf_note {
	struct fuse_args args;
	struct fbpf_reply reply;
	struct fuse_release_in in;
	struct fbpf_error_ext ext;
	struct fuse_release_in sink;
	struct inode *inode;
};

static int fbpf_parse_note(struct fuse_args *args, int verdict, bool by_ioctl)
{
	return 0;
}

static void fbpf_note_end(FBPF_ARGS_END)
{
	struct fbpf_note *note = container_of(args, struct fbpf_note, args);

	iput(note->inode);
	kfree(note);
}

/*
 * RELEASE and RELEASEDIR change nothing, and the task that closes last may be
 * the daemon itself: it is told, and not waited for.
 */
static int fbpf_tell_daemon(const struct fbpf_desc *desc, struct fbpf_op *op,
			    bool post)
{
	struct fbpf_note *note = kzalloc(sizeof(*note), GFP_KERNEL | __GFP_NOFAIL);
	struct fuse_args *args = &note->args;

	note->reply.parse = fbpf_parse_note;
	note->in = op->in.release;
	ihold(op->inode);
	note->inode = op->inode;
	args->bpf = &note->reply;
	args->end = fbpf_note_end;
	args->force = true;
	args->nocreds = true;
	args->opcode = desc->opcode | (post ? FUSE_POSTFILTER : FUSE_PREFILTER);
	args->nodeid = op->meta.nodeid;
	args->in_numargs = 1;
	args->in_args[0].size = sizeof(note->in);
	args->in_args[0].value = &note->in;
	if (post) {
		note->ext.header.size = sizeof(note->ext);
		note->ext.header.type = FUSE_ERROR_IN;
		args->is_ext = true;
		args->ext_idx = args->in_numargs++;
		args->in_args[1].size = sizeof(note->ext);
		args->in_args[1].value = &note->ext;
	} else {
		args->out_numargs = 1;
		args->out_argvar = true;
		args->out_args[0].size = sizeof(note->sink);
		args->out_args[0].value = &note->sink;
	}
	if (fuse_simple_background(get_fuse_mount(op->inode), args,
				   GFP_KERNEL | __GFP_NOFAIL)) {
		iput(note->inode);
		kfree(note);
	}
	return 0;
}

/**
 * fbpf_user_filter - ask a filter in the daemon
 * @desc: operation
 * @op: its arguments; changed as the answer says
 * @post: after the operation
 *
 * Return: a verdict, of a postfilter BPF_FUSE_CONTINUE; or a negative errno:
 * what the daemon refused with, -ECONNREFUSED without one, -EOPNOTSUPP for an
 * operation without a pair of filters, or why there is no answer
 */
int fbpf_user_filter(const struct fbpf_desc *desc, struct fbpf_op *op, bool post)
{
	if (!fbpf_sb(op->inode->i_sb)->daemon)
		return -ECONNREFUSED;
	if (desc->hook == FBPF_OTHER)
		return -EOPNOTSUPP;
	if (desc->hook == FBPF_RELEASE || desc->hook == FBPF_RELEASEDIR)
		return fbpf_tell_daemon(desc, op, post);
	return fbpf_ask_daemon(desc, op, post);
}
