// What a process is made of that runs cases on this machine's CPU through signal frames, without a C library: system calls,
// memory, signals, and the way into the first case and out of the last. harness.c and ../guest/user.c say what a case is.
#include <asm/prctl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#define __USE_GNU
#include <signal.h>
#include <ucontext.h>

struct sa {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

static const int ORDER[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

/* The registers of begin() while cases run. */
static ucontext_t home;

static long call(long n, long a, long b, long c, long d, long e, long f)
{
	long r;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}

static void copy(void *to, const void *from, uint64_t n)
{
	__asm__ volatile("cld; rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

void *memcpy(void *to, const void *from, size_t n)
{
	copy(to, from, n);
	return to;
}

static void quit(int status)
{
	call(SYS_exit_group, status, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

void restorer(void);
__asm__(".globl restorer; restorer: mov $15, %eax; syscall");
__asm__(".globl _start; _start: and $-16, %rsp; call begin");

static void *map(unsigned long at, unsigned long size, int prot, int fd)
{
	long flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	long p = call(SYS_mmap, at, size, prot, flags | MAP_POPULATE | (at ? MAP_FIXED_NOREPLACE : 0), fd, 0);
	if (p < 0 && p > -4096) quit(10);
	return (void *)p;
}

/* A system call that a case makes is caught, whatever its number is. */
static void forbid_system_calls(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
	call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
	if (call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program, 0, 0, 0)) quit(11);
}

static uint64_t read_all(void *to, uint64_t n)
{
	uint64_t got = 0;
	while (got < n) {
		long r = call(SYS_read, 0, (long)to + got, n - got, 0, 0, 0);
		if (r <= 0) break;
		got += r;
	}
	return got;
}

static void write_all(const void *from, uint64_t n)
{
	for (uint64_t done = 0; done < n;) {
		long r = call(SYS_write, 1, (long)from + done, n - done, 0, 0, 0);
		if (r <= 0) quit(15);
		done += r;
	}
}

/* Every signal that a case can raise comes to `handler` on a stack of its own, and a tick of the clock every few seconds. */
static void take_signals(void (*handler)(int, siginfo_t *, void *), long seconds)
{
	static const int SIGNALS[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGALRM };
	struct sa sa = { handler, SA_SIGINFO | SA_ONSTACK | 0x04000000 /* SA_RESTORER */, restorer, ~0ul };
	stack_t alt = { .ss_sp = map(0, 0x10000, PROT_READ | PROT_WRITE, -1), .ss_size = 0x10000 };
	long timer[4] = { seconds, 0, seconds, 0 };
	call(SYS_sigaltstack, (long)&alt, 0, 0, 0, 0, 0);
	for (unsigned i = 0; i < sizeof(SIGNALS) / sizeof(int); i++)
		call(SYS_rt_sigaction, SIGNALS[i], (long)&sa, 0, 8, 0, 0);
	call(SYS_setitimer, 0, (long)timer, 0, 0, 0, 0);
}

/* Raises the signal whose handler puts the first case into the frame; comes back when there is none left. */
static void begin_cases(void)
{
	__asm__ volatile("ud2" : : : "memory", "cc");
}

static void leave_home(const ucontext_t *u)
{
	copy(&home.uc_mcontext.gregs, &u->uc_mcontext.gregs, sizeof(gregset_t));
}

static void go_home(ucontext_t *u)
{
	copy(&u->uc_mcontext.gregs, &home.uc_mcontext.gregs, sizeof(gregset_t));
	u->uc_mcontext.gregs[REG_RIP] += 2; /* the ud2 of begin_cases */
}
