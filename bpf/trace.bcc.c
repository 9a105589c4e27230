/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Latencies of the operations of one mount, and verdicts of its filters, for bcc (fusebpf/trace).
 *
 * An operation is what a thread does between the entry of fbpf_dispatch() or fbpf_filter() and its
 * return; the lower operation and the filters are the functions called within. A file system that
 * lies below may be a fuse-bpf mount, too: only the outermost operation of a thread counts.
 *
 * OFFSET_*, DEVICE are given on the command line of the compiler.
 */
#include <uapi/linux/ptrace.h>

enum { WHOLE, LOWER, FILTER, PARTS };
enum { PREFILTER, POSTFILTER, DEFAULT_FILTER };

struct operation {
	u64 stack;  /* of the entry: a return that was missed shows by it */
	u64 start[PARTS];
	u64 spent[PARTS];
	u32 calls[PARTS];
	u32 depth;
	u32 inner; /* depth of lower operations */
	u32 opcode;
	u32 dispatch; /* begun by fbpf_dispatch() */
};

struct key {
	u32 opcode;
	u16 part;
	u16 slot; /* of bpf_log2l(): all its nanoseconds are below 2 to this power */
	char process[16];
};

struct sum {
	u64 count;
	u64 nanoseconds;
};

struct answer {
	u32 opcode;
	u32 filter;
	s32 verdict;
	char process[16];
};

BPF_HASH(running, u64, struct operation, 16384);
BPF_HASH(found, struct key, struct sum, 65536);
BPF_HASH(answers, struct answer, u64, 65536);
BPF_ARRAY(missed, u64, 1);

static u64 word(u64 address)
{
	u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

static int begin(struct pt_regs *ctx, bool dispatch)
{
	u64 thread = bpf_get_current_pid_tgid(), stack = PT_REGS_SP(ctx);
	struct operation *old = running.lookup(&thread), fresh = {};
	u64 super = word(PT_REGS_PARM2(ctx) + OFFSET_SUPER);

	/* fbpf_dispatch() ends in a jump to fbpf_filter(), which has the same stack then */
	if (old && (stack < old->stack || (stack == old->stack && old->dispatch && !dispatch))) {
		old->depth++;
		return 0;
	}
	if (old) {
		missed.increment(0);
		running.delete(&thread);
	}
	if ((u32)word(super + OFFSET_DEVICE) != DEVICE)
		return 0;
	fresh.stack = stack;
	fresh.dispatch = dispatch;
	fresh.opcode = (u32)word(PT_REGS_PARM1(ctx) + OFFSET_OPCODE);
	fresh.start[WHOLE] = bpf_ktime_get_ns();
	running.update(&thread, &fresh);
	return 0;
}

int enter_dispatch(struct pt_regs *ctx)
{
	return begin(ctx, true);
}

int enter_filtered(struct pt_regs *ctx)
{
	return begin(ctx, false);
}

static void note(struct key *key, u64 nanoseconds)
{
	struct sum none = {}, *sum;

	key->slot = bpf_log2l(nanoseconds);
	sum = found.lookup_or_try_init(key, &none);
	if (sum) {
		__sync_fetch_and_add(&sum->count, 1);
		__sync_fetch_and_add(&sum->nanoseconds, nanoseconds);
	} else {
		missed.increment(0);
	}
}

int leave(struct pt_regs *ctx)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct operation *op = running.lookup(&thread);
	struct key key = {};

	if (!op)
		return 0;
	if (op->depth) {
		op->depth--;
		return 0;
	}
	key.opcode = op->opcode;
	bpf_get_current_comm(&key.process, sizeof(key.process));
	key.part = WHOLE;
	note(&key, bpf_ktime_get_ns() - op->start[WHOLE]);
	key.part = LOWER;
	if (op->calls[LOWER])
		note(&key, op->spent[LOWER]);
	key.part = FILTER;
	if (op->calls[FILTER])
		note(&key, op->spent[FILTER]);
	running.delete(&thread);
	return 0;
}

int enter_lower(struct pt_regs *ctx)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct operation *op = running.lookup(&thread);

	if (op && op->inner++ == 0)
		op->start[LOWER] = bpf_ktime_get_ns();
	return 0;
}

int leave_lower(struct pt_regs *ctx)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct operation *op = running.lookup(&thread);

	if (op && op->inner && --op->inner == 0) {
		op->spent[LOWER] += bpf_ktime_get_ns() - op->start[LOWER];
		op->calls[LOWER]++;
	}
	return 0;
}

int enter_filter(struct pt_regs *ctx)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct operation *op = running.lookup(&thread);

	if (op && !op->inner)
		op->start[FILTER] = bpf_ktime_get_ns();
	return 0;
}

static int answered(struct pt_regs *ctx, u32 filter)
{
	u64 thread = bpf_get_current_pid_tgid(), none = 0, *count;
	struct operation *op = running.lookup(&thread);
	struct answer answer = { .filter = filter, .verdict = PT_REGS_RC(ctx) };

	if (!op || op->inner || !op->start[FILTER])
		return 0;
	op->spent[FILTER] += bpf_ktime_get_ns() - op->start[FILTER];
	op->calls[FILTER]++;
	op->start[FILTER] = 0;
	answer.opcode = op->opcode;
	bpf_get_current_comm(&answer.process, sizeof(answer.process));
	count = answers.lookup_or_try_init(&answer, &none);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		missed.increment(0);
	return 0;
}

int leave_prefilter(struct pt_regs *ctx)
{
	return answered(ctx, PREFILTER);
}

int leave_postfilter(struct pt_regs *ctx)
{
	return answered(ctx, POSTFILTER);
}

int leave_default_filter(struct pt_regs *ctx)
{
	return answered(ctx, DEFAULT_FILTER);
}
