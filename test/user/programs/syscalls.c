/* Results and errors of system calls at their edges: descriptors, pipes, memory, signals' calls, time, limits, rseq. */
#include "lib.h"
static u8 area[8192] __attribute__((aligned(4096)));
#define BAD ((void *)8)
#define SHOW(what, ...) print("%s %ld\n", what, (long)(__VA_ARGS__))
struct pollfd { int fd; short events, revents; };
struct iovec { const void *at; u64 n; };
static void nothing(int sig, struct info *i, struct context *c) { (void)sig, (void)i, (void)c; }

static void descriptors(void) {
	u8 *gone = map(0, 8192, 3, 0);
	sys2(11, gone + 4096, 4096);
	SHOW("write bad fd", sys3(1, 77, "x", 1));
	SHOW("write -1", sys3(1, -1, "x", 1));
	SHOW("write bad pointer", sys3(1, 1, BAD, 1));
	SHOW("write kernel pointer", sys3(1, 1, (void *)(1UL << 63), 1));
	SHOW("write nothing", sys3(1, 1, "", 0));
	SHOW("write negative size", sys3(1, 1, "x", -1L));
	SHOW("read bad fd", sys3(0, 77, area, 1));
	SHOW("close", sys1(3, 77));
	SHOW("dup bad", sys1(32, 77));
	SHOW("dup", sys1(32, 1));
	SHOW("dup2", sys2(33, 1, 9));
	SHOW("dup2 same", sys2(33, 9, 9));
	SHOW("dup2 same bad", sys2(33, 8, 8));
	SHOW("dup2 far", sys2(33, 1, 1 << 30));
	SHOW("dup3 same", sys3(292, 9, 9, 0));
	SHOW("dup3 flags", sys3(292, 1, 9, 1));
	SHOW("dup3", sys3(292, 1, 9, 02000000));
	SHOW("getfd", sys3(72, 9, 1, 0));
	SHOW("setfd", sys3(72, 9, 2, 0));
	SHOW("getfd", sys3(72, 9, 1, 0));
	SHOW("dupfd", sys3(72, 9, 0, 20));
	SHOW("dupfd cloexec", sys3(72, 9, 1030, 20));
	SHOW("dupfd negative", sys3(72, 9, 0, -1));
	SHOW("fcntl bad command", sys3(72, 9, 999, 0));
	SHOW("fcntl bad fd", sys3(72, 77, 1, 0));
	for (int fd = 3; fd < 32; fd++) sys1(3, fd);
	int p[2];
	SHOW("pipe bad", sys1(22, BAD));
	SHOW("pipe2 flags", sys2(293, p, 1));
	SHOW("pipe2", sys2(293, p, 04000));
	print("pipe %d %d\n", p[0], p[1]);
	SHOW("getfl", sys3(72, p[1], 3, 0));
	SHOW("read empty", sys3(0, p[0], area, 10));
	SHOW("write to pipe", sys3(1, p[1], "hello world", 11));
	int n = 0;
	SHOW("fionread", sys3(16, p[0], 0x541b, &n));
	print("waiting %d\n", n);
	SHOW("read part", sys3(0, p[0], area, 5));
	print("%c%c%c%c%c\n", area[0], area[1], area[2], area[3], area[4]);
	SHOW("read through the end of memory", sys3(0, p[0], gone + 4094, 6));
	SHOW("write end for read", sys3(0, p[1], area, 5));
	SHOW("read end for write", sys3(1, p[0], area, 5));
	SHOW("lseek pipe", sys3(8, p[0], 0, 0));
	SHOW("tcgets", sys3(16, p[0], 0x5401, area));
	struct pollfd f[3] = { { p[0], 1, 0 }, { p[1], 4, 0 }, { 77, 1, 0 } };
	SHOW("poll", sys3(7, f, 3, 0));
	print("revents %x %x %x\n", f[0].revents, f[1].revents, f[2].revents);
	long sum = 0, r;
	while ((r = sys3(1, p[1], area, 8192)) > 0) sum += r;
	print("pipe is full after %ld %ld\n", sum, r);
	SHOW("poll full", sys3(7, f + 1, 1, 0));
	SHOW("close writer", sys1(3, p[1]));
	while ((r = sys3(0, p[0], area, 8192)) > 0) sum -= r;
	print("left %ld end %ld\n", sum, r);
	SHOW("poll end", sys3(7, f, 1, 0));
	print("revents %x\n", f[0].revents);
	sys1(3, p[0]);
	sys2(293, p, 0);
	sys1(3, p[0]);
	SHOW("block sigpipe", mask(0, 1 << 12));
	SHOW("write without reader", sys3(1, p[1], "x", 1));
	u64 pending = 0;
	SHOW("sigpending", sys2(127, &pending, 8));
	print("pending %lx\n", pending);
	handle(13, (void *)1, 0, 0);
	SHOW("unblock", mask(1, 1 << 12) == 1 << 12);
	sys1(3, p[1]);
	struct iovec v[3] = { { "one ", 4 }, { 0, 0 }, { "two\n", 4 } };
	flush();
	SHOW("writev", sys3(20, 1, v, 3));
	SHOW("writev count", sys3(20, 1, v, 1025));
	SHOW("writev negative", sys3(20, 1, v, -1));
	SHOW("writev bad fd", sys3(20, 77, v, 3));
	SHOW("writev bad vector", sys3(20, 1, BAD, 3));
	v[1].n = 1UL << 63;
	SHOW("writev huge piece", sys3(20, 1, v, 3));
	SHOW("poll bad", sys3(7, BAD, 1, 0));
	SHOW("poll none", sys3(7, 0, 0, 1));
}

static void files(void) {
	int null = (int)sys3(2, "/dev/null", 2, 0);
	print("null %d\n", null);
	SHOW("write null", sys3(1, null, "abc", 3));
	SHOW("write null bad pointer", sys3(1, null, BAD, 3));
	SHOW("read null", sys3(0, null, area, 10));
	SHOW("lseek null", sys3(8, null, 5, 0));
	SHOW("lseek whence", sys3(8, null, 5, 9));
	SHOW("fstat null", sys2(5, null, area));
	print("mode %x rdev %lx\n", *(u32 *)(area + 24), *(u64 *)(area + 40));
	SHOW("fstat bad", sys2(5, null, BAD));
	SHOW("fstat bad fd", sys2(5, 77, area));
	int zero = (int)sys4(257, -100, "/dev/zero", 0, 0);
	area[3] = 1;
	SHOW("read zero", sys3(0, zero, area, 4));
	print("%d\n", area[3]);
	SHOW("zero is for reading", sys3(1, zero, "x", 1));
	int full = (int)sys3(2, "/dev/full", 1, 0);
	SHOW("write full", sys3(1, full, "x", 1));
	SHOW("open nowhere", sys3(2, "/nowhere/at/all", 0, 0));
	SHOW("open bad pointer", sys3(2, BAD, 0, 0));
	SHOW("open empty", sys3(2, "", 0, 0));
	SHOW("open device as folder", sys3(2, "/dev/null", 0200000, 0));
	SHOW("open root for writing", sys3(2, "/", 1, 0));
	SHOW("open exclusive", sys3(2, "/dev/null", 0300, 0));
	SHOW("stat root", sys2(4, "/", area));
	print("folder %d\n", (*(u32 *)(area + 24) & 0170000) == 0040000);
	SHOW("stat nowhere", sys2(4, "/nowhere", area));
	SHOW("access", sys2(21, "/dev/null", 6));
	SHOW("access execute", sys2(21, "/dev/null", 1));
	SHOW("access mode", sys2(21, "/dev/null", 8));
	SHOW("readlink nowhere", sys3(89, "/nowhere", area, 10));
	SHOW("readlink no link", sys3(89, "/dev/null", area, 10));
	SHOW("readlink size", sys3(89, "/proc/self/exe", area, 0));
	SHOW("readlink short", sys3(89, "/proc/self/exe", area, 1));
	SHOW("chdir nowhere", sys1(80, "/nowhere"));
	SHOW("chdir no folder", sys1(80, "/dev/null"));
	SHOW("chdir", sys1(80, "/dev"));
	SHOW("getcwd", sys2(79, area, 100));
	print("%s\n", (char *)area);
	SHOW("getcwd small", sys2(79, area, 3));
	SHOW("getcwd bad", sys2(79, BAD, 100));
	SHOW("stat relative", sys2(4, "null", area));
	SHOW("stat dots", sys2(4, "../dev/./null", area));
	SHOW("stat slash", sys2(4, "null/", area));
	SHOW("mmap a closed descriptor", sys6(9, 0, 4096, 1, 2, 77, 0));
	SHOW("umask", sys1(95, 077));
	SHOW("umask", sys1(95, 022));
	for (int fd = 3; fd < 10; fd++) sys1(3, fd);
}

static void memory(void) {
	u8 *p = map(0, 16 * 4096, 3, 0);
	SHOW("mmap size 0", sys6(9, 0, 0, 3, 0x22, -1, 0));
	SHOW("mmap no type", sys6(9, 0, 4096, 3, 0x20, -1, 0));
	SHOW("mmap huge", sys6(9, 0, 1UL << 62, 3, 0x22, -1, 0));
	SHOW("mmap wraps", sys6(9, 0, -1L, 3, 0x22, -1, 0));
	SHOW("mmap fixed unaligned", sys6(9, p + 1, 4096, 3, 0x32, -1, 0));
	SHOW("mmap fixed high", sys6(9, 0x7ffffffff000, 4096, 3, 0x32, -1, 0));
	SHOW("mmap offset unaligned", sys6(9, 0, 4096, 3, 0x22, -1, 1));
	SHOW("mmap noreplace", sys6(9, p, 4096, 3, 0x100022, -1, 0));
	SHOW("mmap hint taken", (u8 *)sys6(9, p, 4096, 3, 0x22, -1, 0) != p);
	p[5 * 4096] = 55;
	SHOW("mmap fixed over", (u8 *)sys6(9, p + 4 * 4096, 3 * 4096, 3, 0x32, -1, 0) == p + 4 * 4096);
	print("fresh %d\n", p[5 * 4096]);
	SHOW("munmap middle", sys2(11, p + 8 * 4096, 4096));
	SHOW("mmap noreplace in the hole", (u8 *)sys6(9, p + 8 * 4096, 4096, 3, 0x100022, -1, 0) == p + 8 * 4096);
	sys2(11, p + 8 * 4096, 4096);
	SHOW("mmap hint in the hole", (u8 *)sys6(9, p + 8 * 4096, 4096, 3, 0x22, -1, 0) == p + 8 * 4096);
	SHOW("munmap unaligned", sys2(11, p + 1, 4096));
	SHOW("munmap 0", sys2(11, p, 0));
	SHOW("munmap high", sys2(11, 1UL << 62, 4096));
	SHOW("munmap nothing there", sys2(11, 0x10000000, 4096));
	SHOW("mprotect unaligned", sys3(10, p + 1, 4096, 1));
	SHOW("mprotect bits", sys3(10, p, 4096, 0x80));
	SHOW("mprotect 0", sys3(10, p, 0, 1));
	SHOW("mprotect nowhere", sys3(10, 0x10000000, 4096, 1));
	SHOW("mprotect split", sys3(10, p + 4096, 4096, 1));
	SHOW("write into it", sys3(0, 0, p + 4096, 4));
	SHOW("mprotect back", sys3(10, p, 3 * 4096, 3));
	sys2(11, p + 2 * 4096, 4096);
	SHOW("mprotect over a hole", sys3(10, p, 4 * 4096, 1));
	SHOW("madvise unaligned", sys3(28, p + 1, 4096, 4));
	SHOW("madvise over a hole", sys3(28, p, 4 * 4096, 4));
	SHOW("madvise advice", sys3(28, p, 4096, 999));
	SHOW("mremap unaligned", sys4(25, p + 1, 4096, 8192, 1));
	SHOW("mremap to 0", sys4(25, p, 4096, 0, 1));
	SHOW("mremap flags", sys4(25, p, 4096, 8192, 99));
	SHOW("mremap nowhere", sys4(25, 0x10000000, 4096, 8192, 1));
	u8 *heap = (u8 *)sys1(12, 0);
	SHOW("brk below", (u8 *)sys1(12, 4096) == heap);
	SHOW("brk high", (u8 *)sys1(12, 1UL << 62) == heap);
	SHOW("brk by one", (u8 *)sys1(12, heap + 1) == heap + 1);
	SHOW("brk back", (u8 *)sys1(12, heap) == heap);
}

static void processes(void) {
	u64 t[2] = { 0, 0 }, zero = 0;
	SHOW("no such call", sys1(500, 0));
	SHOW("negative call", sys1(-1, 0));
	SHOW("clock", sys2(228, 99, t));
	SHOW("clock negative", sys2(228, -1, t));
	SHOW("clock bad pointer", sys2(228, 1, BAD));
	SHOW("clock own cpu", sys2(228, -6, t));
	SHOW("getres", sys2(229, 99, t));
	SHOW("getres null", sys2(229, 1, 0));
	t[1] = 1000000000;
	SHOW("nanosleep", sys2(35, t, 0));
	t[1] = 1000;
	SHOW("nanosleep", sys2(35, t, 0));
	SHOW("nanosleep bad", sys2(35, BAD, 0));
	SHOW("clock_nanosleep clock", sys4(230, 3, 0, t, 0));
	SHOW("clock_nanosleep clock", sys4(230, 6, 0, t, 0));
	SHOW("getrandom flags", sys3(318, area, 8, 99));
	SHOW("getrandom both", sys3(318, area, 8, 6));
	SHOW("getrandom", sys3(318, area, 300, 0));
	SHOW("getrandom bad", sys3(318, BAD, 8, 0));
	SHOW("uname bad", sys1(63, BAD));
	SHOW("prlimit resource", sys4(302, 0, 99, 0, t));
	SHOW("prlimit bad", sys4(302, 0, 3, BAD, 0));
	SHOW("prlimit order", (t[0] = 2, t[1] = 1, sys4(302, 0, 4, t, 0)));
	SHOW("prlimit lower", (t[0] = 0, t[1] = 0, sys4(302, 0, 4, t, 0)));
	SHOW("prlimit read", sys4(302, 0, 4, 0, t));
	print("core %lu %lu\n", t[0], t[1]);
	SHOW("affinity size", sys3(204, 0, 7, area));
	SHOW("arch_prctl", sys2(158, 0x9999, 0));
	SHOW("arch_prctl kernel", sys2(158, 0x1002, 1UL << 63));
	SHOW("arch_prctl fs", sys2(158, 0x1002, area));
	SHOW("arch_prctl get", sys2(158, 0x1003, t));
	print("fs %d\n", t[0] == (u64)area);
	SHOW("arch_prctl gs", sys2(158, 0x1001, area + 64));
	*(u64 *)(area + 72) = 4711;
	u64 v;
	__asm__ volatile("mov %%gs:8, %0" : "=r"(v));
	print("gs %lu\n", v);
	SHOW("robust", sys2(273, area, 23));
	SHOW("wait", sys4(61, -1, 0, 0, 0));
	SHOW("name", sys2(157, 15, "a name that is too long"));
	SHOW("name", sys2(157, 16, area));
	print("%s\n", (char *)area);
	SHOW("prctl", sys2(157, 9999, 0));
	SHOW("futex wake", sys3(202, area, 1, 1));
	SHOW("futex value", sys4(202, area, 0, 12345, 0));
	SHOW("futex unaligned", sys4(202, area + 1, 0, 0, 0));
	SHOW("execve", sys3(59, "/nowhere", 0, 0));

	SHOW("kill nobody", sys2(62, 4000000, 0));
	SHOW("kill signal", sys2(62, sys1(39, 0), 65));
	SHOW("kill 0", sys2(62, sys1(39, 0), 0));
	SHOW("tgkill 0", sys3(234, 0, 1, 0));
	SHOW("tgkill nobody", sys3(234, sys1(39, 0), 4000000, 0));
	SHOW("tkill negative", sys2(200, -1, 0));
	struct action a = { nothing, SA_RESTORER, restorer, 0 };
	SHOW("sigaction size", sys4(13, 10, &a, 0, 4));
	SHOW("sigaction 0", sys4(13, 0, &a, 0, 8));
	SHOW("sigaction 65", sys4(13, 65, &a, 0, 8));
	SHOW("sigaction kill", sys4(13, 9, &a, 0, 8));
	SHOW("sigaction kill, read", sys4(13, 9, 0, &a, 8));
	SHOW("sigaction bad", sys4(13, 10, BAD, 0, 8));
	SHOW("sigaction bad old", sys4(13, 10, 0, BAD, 8));
	SHOW("sigprocmask how", sys4(14, 9, &zero, 0, 8));
	SHOW("sigprocmask how, no set", sys4(14, 9, 0, 0, 8));
	SHOW("sigprocmask size", sys4(14, 0, &zero, 0, 4));
	SHOW("sigprocmask bad", sys4(14, 0, BAD, 0, 8));
	SHOW("block kill", mask(0, 1 << 8 | 1 << 18));
	SHOW("mask", mask(0, 0));
	SHOW("sigpending size", sys2(127, area, 9));
	struct stack s = { area, 7, 8192 };
	SHOW("sigaltstack flags", sys2(131, &s, 0));
	s.flags = 0, s.size = 2047;
	SHOW("sigaltstack size", sys2(131, &s, 0));
	SHOW("sigaltstack bad", sys2(131, BAD, 0));
	SHOW("sigaltstack disable", (s.flags = 2, sys2(131, &s, 0)));
	SHOW("sigaltstack old", sys2(131, 0, &s));
	print("flags %d size %lu\n", s.flags, s.size);
	mask(0, 1 << 9);
	raise_(10);
	u64 set = 1 << 9;
	t[0] = 0, t[1] = 1000;
	struct info i;
	SHOW("sigtimedwait", sys4(128, &set, &i, t, 8));
	print("number %d code %d\n", i.signo, i.code);
	SHOW("sigtimedwait empty", sys4(128, &set, &i, t, 8));
}

/* Three increments as a restartable sequence that a breakpoint in its middle, or behind it, interrupts. */
static struct { u32 start, id; u64 cs; u32 flags, node, map, pad; } rs __attribute__((aligned(32)));
static struct { u32 version, flags; u64 start, length, abort; } cs __attribute__((aligned(32)));
static void on_trap(int sig, struct info *i, struct context *c) {
	(void)sig, (void)i;
	extern char rs_abort[];
	print("trap at the abort %d\n", c->ip == (u64)rs_abort);
}
__attribute__((noinline)) static int sequence(int break_in) {
	int n = 0, aborted = 0;
	extern char rs_start[], rs_end[], rs_abort[];
	cs.start = (u64)rs_start, cs.length = (u64)(rs_end - rs_start), cs.abort = (u64)rs_abort;
	rs.cs = (u64)&cs;
	__asm__ volatile(
		"test %2, %2\n"
		"rs_start: jz 1f\n inc %0\n int3\n 1: inc %0\n inc %0\n"
		"rs_end: jmp 2f\n"
		".byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\n"
		"rs_abort: inc %1\n 2:" : "+r"(n), "+r"(aborted) : "r"(break_in) : "memory", "cc");
	return n * 10 + aborted;
}
static void restartable(void) {
	SHOW("rseq unaligned", sys4(334, (u8 *)&rs + 1, 32, 0, 0x53053053));
	SHOW("rseq size", sys4(334, &rs, 16, 0, 0x53053053));
	SHOW("rseq flags", sys4(334, &rs, 32, 8, 0x53053053));
	SHOW("rseq not there", sys4(334, &rs, 32, 1, 0x53053053));
	rs.id = ~0u;
	SHOW("rseq", sys4(334, &rs, 32, 0, 0x53053053));
	print("cpu %d\n", rs.id < 1024 && rs.start == rs.id);
	SHOW("rseq again", sys4(334, &rs, 32, 0, 0x53053053));
	SHOW("rseq signature", sys4(334, &rs, 32, 0, 1));
	SHOW("rseq elsewhere", sys4(334, area, 32, 0, 0x53053053));
	handle(5, on_trap, 0, 0);
	SHOW("sequence", sequence(0));
	rs.cs = 0;
	SHOW("interrupted sequence", sequence(1));
	print("descriptor is taken %d\n", rs.cs == 0);
	SHOW("rseq away", sys4(334, &rs, 32, 1, 0x53053053));
	print("cpu %d\n", rs.id == ~0u);
}

int main(int argc, char **argv, char **envp) {
	(void)argc, (void)argv, (void)envp;
	descriptors();
	files();
	memory();
	processes();
	restartable();
	return 0;
}
