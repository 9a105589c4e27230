// SPDX-License-Identifier: MIT
/*
 * The guest's process 1: mounts the root that the host shares, runs one command in it and sends
 * its output and status to the host over a virtio-serial port. Where the host asks for an init
 * system, that takes its place in process 1 once everything is mounted.
 *
 * It is static and alone in the initramfs, so a boot needs no shell, no udev and no init system.
 * One port carries everything in frames: what the host sees of the order is what happened, and the
 * status frame comes after the last byte of output.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Frame types; fusebpf/vm/wire.py has the same numbers. */
enum frame {
	FRAME_HELLO = 1,  /* guest: the agent runs */
	FRAME_STDOUT = 2, /* guest: bytes of the command's output */
	FRAME_STDERR = 3,
	FRAME_EXIT = 4,   /* guest: u32 status, u32 reserved, u64 kernel taint */
	FRAME_FAIL = 5,   /* guest: why the machine cannot run the command */
	FRAME_START = 6,  /* guest: everything is set up, the command starts now */
	FRAME_CONFIG = 16, /* host: "key=value" records, each ended by a NUL */
	FRAME_FILE = 17,  /* host: path, NUL, contents; written below /run/fusebpf */
	FRAME_GO = 18,    /* host: start */
};

struct header {
	uint32_t type;
	uint32_t length;
};

#define CHUNK 32000 /* virtio_console cuts writes at 32 KiB */
#define MAX_LIST 1024
#define PORT_NAME "fusebpf"
#define DEVICE_WAIT_MS 20000
#define LINGER_MS 5000
#define ROOT_DEVICE "/dev/vda"
#define STATE_DEVICE "/dev/vdb"
#define P9_OPTIONS "trans=virtio,version=9p2000.L,msize=512000,"

static int port = -1;
static char *args[MAX_LIST + 1];
static int nargs;
static char *env[MAX_LIST + 1];
static int nenv;
static char *shares[MAX_LIST];
static int nshares;
static char *modules[MAX_LIST];
static int nmodules;
static const char *cwd = "/";
static char *init;
static bool has_state;

static void __attribute__((noreturn)) power_off(void)
{
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t done = write(fd, at, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			power_off();
		at += done;
		size -= done;
	}
}

static void send_frame(enum frame type, const void *data, uint32_t length)
{
	static struct {
		struct header header;
		char data[CHUNK];
	} out;

	out.header.type = type;
	out.header.length = length;
	memcpy(out.data, data, length);
	write_all(port, &out, sizeof(out.header) + length);
}

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	char text[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	dprintf(STDERR_FILENO, "fusebpf agent: %s\n", text);
	if (port >= 0)
		send_frame(FRAME_FAIL, text, strlen(text));
	power_off();
}

static void make_dirs(const char *path)
{
	char copy[4096];

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		fail("path too long: %s", path);
	for (char *at = copy + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		mkdir(copy, 0755);
		*at = '/';
	}
	if (mkdir(copy, 0755) && errno != EEXIST)
		fail("cannot make the directory %s: %s", path, strerror(errno));
}

static void do_mount(const char *source, const char *target, const char *type, unsigned long flags,
		     const char *options)
{
	make_dirs(target);
	if (mount(source, target, type, flags, options))
		fail("cannot mount %s at %s: %s", source, target, strerror(errno));
}

/* A file system that a kernel may lack: its absence is for the command to notice. */
static void try_mount(const char *type, const char *target, unsigned long flags,
		      const char *options)
{
	make_dirs(target);
	mount(type, target, type, flags, options);
}

static void insert_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail("cannot open the module %s: %s", path, strerror(errno));
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
		fail("cannot insert the module %s: %s", path, strerror(errno));
	close(fd);
}

/* /modules.list names the files of /modules in the order of their dependencies. */
static void insert_boot_modules(void)
{
	FILE *list = fopen("/modules.list", "re");
	char name[256];

	if (!list)
		fail("the initramfs has no modules.list");
	while (fscanf(list, "%255s", name) == 1)
		insert_module(name);
	fclose(list);
}

static bool find_port(char *device, size_t size)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		char path[512], name[64] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fscanf(file, "%63s", name) == 1 && !strcmp(name, PORT_NAME)) {
			snprintf(device, size, "/dev/%s", entry->d_name);
			found = true;
		}
		fclose(file);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* The kernel learns a port's name by a message of its own, some time after the device appeared. */
static void open_port(void)
{
	char device[300];

	for (int waited = 0; waited < DEVICE_WAIT_MS; waited += 5) {
		if (find_port(device, sizeof(device))) {
			port = open(device, O_RDWR | O_CLOEXEC);
			if (port >= 0)
				return;
		}
		usleep(5000);
	}
	fail("the virtio port %s did not appear", PORT_NAME);
}

static void read_all(void *data, size_t size)
{
	char *at = data;

	while (size) {
		ssize_t done = read(port, at, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			fail("the host closed the port");
		at += done;
		size -= done;
	}
}

static void append(char **list, int *count, char *value)
{
	if (*count == MAX_LIST)
		fail("more than %d records of one kind", MAX_LIST);
	list[(*count)++] = value;
}

static void take_config(char *data, uint32_t length)
{
	for (char *at = data; at < data + length; at += strlen(at) + 1) {
		char *value = strchr(at, '=');

		if (!value)
			fail("bad record from the host: %s", at);
		value++;
		if (!strncmp(at, "arg=", 4))
			append(args, &nargs, value);
		else if (!strncmp(at, "env=", 4))
			append(env, &nenv, value);
		else if (!strncmp(at, "share=", 6))
			append(shares, &nshares, value);
		else if (!strncmp(at, "module=", 7))
			append(modules, &nmodules, value);
		else if (!strncmp(at, "cwd=", 4))
			cwd = value;
		else if (!strncmp(at, "init=", 5))
			init = value;
		else if (!strncmp(at, "state=", 6))
			has_state = true;
		else
			fail("unknown record from the host: %s", at);
	}
}

static bool is_writable(const char *share)
{
	return strncmp(share, "ro:", 3);
}

/*
 * "ro:TAG:PATH", "rw:TAG:PATH" or, what only this guest writes, "rc:TAG:PATH". Cached whole but for
 * rw, which sees the host's writes.
 */
static void mount_share(char *share)
{
	bool cached = strncmp(share, "rw:", 3);
	char *tag = share + 3;
	char *path = strchr(tag, ':');

	if (!path)
		fail("bad share from the host: %s", share);
	*path++ = '\0';
	do_mount(tag, path, "9p", is_writable(share) ? 0 : MS_RDONLY,
		 cached ? P9_OPTIONS "cache=loose" : P9_OPTIONS "cache=mmap");
}

static void wait_for(const char *device)
{
	for (int waited = 0; access(device, F_OK); waited += 5) {
		if (waited >= DEVICE_WAIT_MS)
			fail("%s did not appear", device);
		usleep(5000);
	}
}

static void mount_root(void)
{
	wait_for(ROOT_DEVICE);
	do_mount(ROOT_DEVICE, "/lower", "ext4", MS_RDONLY, NULL);
	if (has_state) {
		wait_for(STATE_DEVICE);
		do_mount(STATE_DEVICE, "/upper", "ext4", 0, NULL);
	} else {
		do_mount("tmpfs", "/upper", "tmpfs", 0, "mode=0755");
	}
	make_dirs("/upper/data");
	make_dirs("/upper/work");
	do_mount("overlay", "/root", "overlay", 0,
		 "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work");
	/* The new root covers the initramfs; the overlay keeps its layers by itself. */
	if (mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) ||
	    mount("/proc", "/root/proc", NULL, MS_MOVE, NULL) ||
	    mount("/sys", "/root/sys", NULL, MS_MOVE, NULL) || chdir("/root") ||
	    mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		fail("cannot switch to the guest root: %s", strerror(errno));
}

static void mount_system(void)
{
	do_mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	do_mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
	do_mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	try_mount("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666");
	try_mount("bpf", "/sys/fs/bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700");
	try_mount("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	try_mount("debugfs", "/sys/kernel/debug", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	try_mount("tracefs", "/sys/kernel/tracing", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
	make_dirs("/run/lock");
	make_dirs("/run/fusebpf");
}

static void raise_loopback(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo" };

	if (fd < 0)
		return;
	if (!ioctl(fd, SIOCGIFFLAGS, &request)) {
		request.ifr_flags |= IFF_UP | IFF_RUNNING;
		ioctl(fd, SIOCSIFFLAGS, &request);
	}
	close(fd);
}

/* Names are the host's: relative ones land in /run/fusebpf, absolute ones where they say. */
static void take_file(char *data, uint32_t length)
{
	size_t name = strnlen(data, length);
	char path[4096], *slash;
	int fd;

	if (name == length)
		fail("a file from the host has no name");
	if (data[0] == '/')
		snprintf(path, sizeof(path), "%s", data);
	else
		snprintf(path, sizeof(path), "/run/fusebpf/%s", data);
	slash = strrchr(path, '/');
	*slash = '\0';
	if (*path)
		make_dirs(path);
	*slash = '/';
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		fail("cannot write %s: %s", path, strerror(errno));
	write_all(fd, data + name + 1, length - name - 1);
	close(fd);
}

static void talk(void)
{
	bool rooted = false;

	send_frame(FRAME_HELLO, "", 0);
	for (;;) {
		struct header header;
		char *data;

		read_all(&header, sizeof(header));
		data = malloc(header.length + 1);
		if (!data)
			fail("no memory for a frame of %u bytes", header.length);
		read_all(data, header.length);
		data[header.length] = '\0';
		switch (header.type) {
		case FRAME_CONFIG:
			take_config(data, header.length); /* keeps pointers into data */
			break;
		case FRAME_FILE:
			if (!rooted) {
				mount_root();
				mount_system();
				rooted = true;
			}
			take_file(data, header.length);
			free(data);
			break;
		case FRAME_GO:
			if (!rooted) {
				mount_root();
				mount_system();
			}
			free(data);
			return;
		default:
			fail("unknown frame %u from the host", header.type);
		}
	}
}

static void __attribute__((noreturn)) run_command(const int out[2], const int err[2])
{
	static const int reset[] = { SIGCHLD, SIGPIPE, SIGTERM, SIGINT };
	struct rlimit files = { 65536, 65536 };
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);
	int code;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (size_t i = 0; i < sizeof(reset) / sizeof(reset[0]); i++)
		signal(reset[i], SIG_DFL);
	setrlimit(RLIMIT_NOFILE, &files);
	dup2(null, STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	dup2(err[1], STDERR_FILENO);
	close_range(3, ~0U, 0);
	environ = env;
	if (chdir(cwd)) {
		dprintf(STDERR_FILENO, "fusebpf vm: cannot enter %s: %s\n", cwd, strerror(errno));
		_exit(126);
	}
	execvpe(args[0], args, env);
	code = errno == ENOENT ? 127 : 126;
	dprintf(STDERR_FILENO, "fusebpf vm: cannot run %s: %s\n", args[0], strerror(errno));
	_exit(code);
}

/* Sends what is in the pipe; false at its end. */
static bool forward(int fd, enum frame type)
{
	char data[CHUNK];
	ssize_t size = read(fd, data, sizeof(data));

	if (size < 0 && errno == EINTR)
		return true;
	if (size <= 0)
		return false;
	send_frame(type, data, size);
	return true;
}

/* Reaps everything that ended; true once the command itself did. */
static bool reap(pid_t command, int *status)
{
	bool ended = false;
	int one;
	pid_t pid;

	while ((pid = waitpid(-1, &one, WNOHANG)) > 0) {
		if (pid == command) {
			*status = one;
			ended = true;
		}
	}
	return ended;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Forwards both streams until the command has ended and its output is through. What it left
 * running is killed then: a background process that holds the pipe must not hold the machine.
 * One that sleeps in the kernel, deaf to the signal, is waited for LINGER_MS and left.
 */
static int supervise(void)
{
	struct pollfd fds[3];
	int out[2], err[2], status = 0;
	sigset_t children;
	long deadline = 0;
	pid_t command;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		fail("cannot make a pipe: %s", strerror(errno));
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	command = fork();
	if (command < 0)
		fail("cannot fork: %s", strerror(errno));
	if (!command)
		run_command(out, err);
	close(out[1]);
	close(err[1]);
	fds[0] = (struct pollfd){ .fd = out[0], .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = err[0], .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = signalfd(-1, &children, SFD_CLOEXEC), .events = POLLIN };
	while (fds[0].fd >= 0 || fds[1].fd >= 0 || fds[2].fd >= 0) {
		long left = deadline ? deadline - now_ms() : -1;

		if (deadline && left <= 0)
			break;
		if (poll(fds, 3, left) < 0)
			continue;
		if (fds[0].revents && !forward(fds[0].fd, FRAME_STDOUT))
			fds[0].fd = -1;
		if (fds[1].revents && !forward(fds[1].fd, FRAME_STDERR))
			fds[1].fd = -1;
		if (fds[2].revents) {
			struct signalfd_siginfo info;

			if (read(fds[2].fd, &info, sizeof(info)) < 0 && errno != EAGAIN)
				fail("cannot read signals: %s", strerror(errno));
			if (reap(command, &status)) {
				kill(-1, SIGKILL);
				fds[2].fd = -1;
				deadline = now_ms() + LINGER_MS;
			}
		}
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void sync_at(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (syncfs(fd))
		fail("cannot write back %s: %s", path, strerror(errno));
	close(fd);
}

/* What was written reaches the host before the status does: the host ends the machine on it. */
static void sync_written(void)
{
	for (int i = 0; i < nshares; i++) {
		/* mount_share() cut the record after the tag; the path follows. */
		if (is_writable(shares[i]))
			sync_at(shares[i] + strlen(shares[i]) + 1);
	}
	if (has_state)
		sync_at("/");
}

/* Process 1 becomes the init that was asked for; this program goes on as its child. */
static void start_init(void)
{
	char *const command[] = { init, NULL };
	char *const clean[] = { "PATH=/usr/sbin:/usr/bin", NULL };
	pid_t child = fork();

	if (child < 0)
		fail("cannot fork: %s", strerror(errno));
	if (!child)
		return;
	execve(init, command, clean);
	fail("cannot run %s: %s", init, strerror(errno));
}

static void report(int status)
{
	struct {
		uint32_t status;
		uint32_t reserved;
		uint64_t taint;
	} exit_frame = { .status = status };
	FILE *taint = fopen("/proc/sys/kernel/tainted", "re");
	unsigned long long bits = 0;

	if (taint && fscanf(taint, "%llu", &bits) == 1)
		exit_frame.taint = bits;
	if (taint)
		fclose(taint);
	send_frame(FRAME_EXIT, &exit_frame, sizeof(exit_frame));
}

int main(void)
{
	int status;

	umask(022);
	do_mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL);
	do_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	do_mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	insert_boot_modules();
	open_port();
	talk();
	raise_loopback();
	sethostname("fusebpf", 7);
	for (int i = 0; i < nshares; i++)
		mount_share(shares[i]);
	for (int i = 0; i < nmodules; i++)
		insert_module(modules[i]);
	if (!nargs)
		fail("no command");
	if (init)
		start_init();
	send_frame(FRAME_START, "", 0);
	status = supervise();
	sync_written();
	report(status);
	power_off();
}
