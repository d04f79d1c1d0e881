// Runs short pieces of code on this machine's own CPU and says what they did. It is not a sandbox for hostile code: the
// cases come from the generator beside it. Freestanding, so that fs and gs belong to the case; a case is entered and
// left through signal frames, which carry all registers and the flags at once.
//
// stdin:  u64 count, then per case: u32 codeLen (a multiple of 8), u32 codeOff, u32 flags (1: dump memory), u32 hotLen,
//         u64 regs[16] in encoding order, u64 rflags, u64 mxcsr, u64 xmm[32], u64 fpu[19], hot bytes for DATA + HOT (hotLen), code
//         bytes (codeLen)
// stdout: per case: u64 regs[16], rip, rflags, trapno, error code, cr2, hash of DATA and STACK, mxcsr, xmm[32], fpu[19]; then,
//         when asked for, the bytes of DATA and STACK
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

#define CODE 0x10000000ul
#define CODE_SIZE 0x2000ul
#define DATA 0x20000000ul
#define DATA_SIZE 0x3000ul
#define RO (DATA + DATA_SIZE)
#define STACK 0x30000000ul
#define STACK_SIZE 0x2000ul
#define HOT 0xfc0ul
#define FS_BASE 0x800ul
#define GS_BASE 0x2000ul
#define FP_MXCSR 24
#define FP_REGS 32
#define FP_XMM 160
#define FP_MAGIC 464
#define FP_XSTATE 512
#define TRAP_SYSCALL 0x100
#define TRAP_TIMEOUT 0x101

struct sa {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

struct head {
	uint32_t codeLen, codeOff, flags, hotLen;
	uint64_t regs[16], rflags, mxcsr, xmm[32], fpu[19];
};

static const int ORDER[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static uint64_t left;
static uint8_t *in;
static uint64_t *out;
static struct head *now;
static uint8_t *codeAlias;
static ucontext_t home;
static uint64_t base[(DATA_SIZE + STACK_SIZE) / 8];

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

static void clear(void *to, uint64_t n)
{
	__asm__ volatile("cld; rep stosb" : "+D"(to), "+c"(n) : "a"(0) : "memory");
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

static uint64_t hash(uint64_t h, const uint64_t *p, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes / 8; i++) {
		h = (h ^ p[i]) * 0x100000001b3ul;
		h ^= h >> 29;
	}
	return h;
}

/* The floating-point state of a signal frame is an FXSAVE image, and behind it the header of XSAVE. */
static void capture(greg_t *g, uint8_t *fp, int signal)
{
	for (int i = 0; i < 16; i++) out[i] = g[ORDER[i]];
	out[16] = g[REG_RIP];
	out[17] = g[REG_EFL];
	out[18] = signal == SIGSYS ? TRAP_SYSCALL : signal == SIGALRM ? TRAP_TIMEOUT : g[REG_TRAPNO];
	out[19] = g[REG_ERR];
	out[20] = g[REG_CR2];
	out[21] = hash(hash(0, (void *)DATA, DATA_SIZE), (void *)STACK, STACK_SIZE);
	out[22] = *(uint32_t *)(fp + FP_MXCSR);
	copy(out + 23, fp + FP_XMM, 256);
	copy(out + 55, fp, 24);
	copy(out + 58, fp + FP_REGS, 128);
	out += 74;
	if (now->flags & 1) {
		copy(out, (void *)DATA, DATA_SIZE);
		copy((uint8_t *)out + DATA_SIZE, (void *)STACK, STACK_SIZE);
		out += (DATA_SIZE + STACK_SIZE) / 8;
	}
}

static void prepare(greg_t *g, uint8_t *fp)
{
	uint8_t *p = in + sizeof(struct head);
	now = (void *)in;
	copy((void *)DATA, base, DATA_SIZE);
	copy((void *)STACK, (uint8_t *)base + DATA_SIZE, STACK_SIZE);
	copy((void *)(DATA + HOT), p, now->hotLen);
	clear(codeAlias, CODE_SIZE);
	copy(codeAlias + now->codeOff, p + now->hotLen, now->codeLen);
	in = p + now->hotLen + now->codeLen;
	for (int i = 0; i < 16; i++) g[ORDER[i]] = now->regs[i];
	g[REG_RIP] = CODE + now->codeOff;
	g[REG_EFL] = now->rflags;
	g[REG_CR2] = 0;
	*(uint32_t *)(fp + FP_MXCSR) = now->mxcsr;
	copy(fp + FP_XMM, now->xmm, 256);
	copy(fp, now->fpu, 24);
	copy(fp + FP_REGS, now->fpu + 3, 128);
	if (*(uint32_t *)(fp + FP_MAGIC) == 0x46505853) *(uint64_t *)(fp + FP_XSTATE) |= 3;
	g[REG_CSGSFS] = home.uc_mcontext.gregs[REG_CSGSFS];
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(0));
}

static void onSignal(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	(void)info;
	if (now) capture(u->uc_mcontext.gregs, (uint8_t *)u->uc_mcontext.fpregs, signal);
	else copy(&home.uc_mcontext.gregs, &u->uc_mcontext.gregs, sizeof(gregset_t));
	if (!left) {
		now = 0;
		copy(&u->uc_mcontext.gregs, &home.uc_mcontext.gregs, sizeof(gregset_t));
		u->uc_mcontext.gregs[REG_RIP] += 2; /* the ud2 in begin */
		return;
	}
	left--;
	prepare(u->uc_mcontext.gregs, (uint8_t *)u->uc_mcontext.fpregs);
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
static void forbidSystemCalls(void)
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

static uint64_t readAll(void *to, uint64_t n)
{
	uint64_t got = 0;
	while (got < n) {
		long r = call(SYS_read, 0, (long)to + got, n - got, 0, 0, 0);
		if (r <= 0) break;
		got += r;
	}
	return got;
}

void begin(void)
{
	const uint64_t room = 256ul << 20;
	static const int SIGNALS[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGALRM };
	struct sa sa = { onSignal, SA_SIGINFO | SA_ONSTACK | 0x04000000 /* SA_RESTORER */, restorer, ~0ul };
	stack_t alt = { 0 };
	long fd = call(SYS_memfd_create, (long)"code", 0, 0, 0, 0, 0);
	if (fd < 0 || call(SYS_ftruncate, fd, CODE_SIZE, 0, 0, 0, 0)) quit(12);
	codeAlias = map(0, CODE_SIZE, PROT_READ | PROT_WRITE, fd);
	map(CODE, CODE_SIZE, PROT_READ | PROT_EXEC, fd);
	map(DATA, DATA_SIZE, PROT_READ | PROT_WRITE, -1);
	uint64_t *ro = map(RO, 0x1000, PROT_READ | PROT_WRITE, -1);
	map(STACK, STACK_SIZE, PROT_READ | PROT_WRITE, -1);
	alt.ss_sp = map(0, 0x10000, PROT_READ | PROT_WRITE, -1);
	alt.ss_size = 0x10000;
	for (uint64_t i = 0; i < sizeof(base) / 8; i++) {
		uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ul;
		base[i] = x ^ (x >> 29);
	}
	for (uint64_t i = 0; i < 512; i++) ro[i] = base[i];
	call(SYS_mprotect, RO, 0x1000, PROT_READ, 0, 0, 0);
	long p = call(SYS_mmap, 0, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p < 0 && p > -4096) quit(13);
	uint64_t *start = (uint64_t *)(p + room / 2);
	if (readAll((void *)p, room / 2) < 8) quit(14);
	left = *(uint64_t *)p;
	in = (uint8_t *)p + 8;
	out = start;
	call(SYS_arch_prctl, ARCH_SET_FS, FS_BASE, 0, 0, 0, 0);
	call(SYS_arch_prctl, ARCH_SET_GS, GS_BASE, 0, 0, 0, 0);
	call(SYS_sigaltstack, (long)&alt, 0, 0, 0, 0, 0);
	for (unsigned i = 0; i < sizeof(SIGNALS) / sizeof(int); i++)
		call(SYS_rt_sigaction, SIGNALS[i], (long)&sa, 0, 8, 0, 0);
	long timer[4] = { 60, 0, 60, 0 };
	call(SYS_setitimer, 0, (long)timer, 0, 0, 0, 0);
	forbidSystemCalls();
	if (left) __asm__ volatile("ud2" : : : "memory", "cc");
	uint64_t n = (uint8_t *)out - (uint8_t *)start;
	for (uint64_t done = 0; done < n;) {
		long r = call(SYS_write, 1, (long)start + done, n - done, 0, 0, 0);
		if (r <= 0) quit(15);
		done += r;
	}
	quit(0);
}
