// Runs short pieces of code on this machine's own CPU and says what they did. It is not a sandbox for hostile code: the
// cases come from the generator beside it. Freestanding, so that fs and gs belong to the case; a case is entered and
// left through signal frames, which carry all registers and the flags at once.
//
// stdin:  u64 count, then per case: u32 codeLen (a multiple of 8), u32 codeOff, u32 flags (1: dump memory), u32 hotLen,
//         u64 regs[16] in encoding order, u64 rflags, u64 mxcsr, u64 xmm[32], u64 fpu[19], hot bytes for DATA + HOT (hotLen), code
//         bytes (codeLen)
// stdout: per case: u64 regs[16], rip, rflags, trapno, error code, cr2, hash of DATA and STACK, mxcsr, xmm[32], fpu[19]; then,
//         when asked for, the bytes of DATA and STACK
#include "process.h"

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

struct head {
	uint32_t codeLen, codeOff, flags, hotLen;
	uint64_t regs[16], rflags, mxcsr, xmm[32], fpu[19];
};

static uint64_t left;
static uint8_t *in;
static uint64_t *out;
static struct head *now;
static uint8_t *codeAlias;
static uint64_t base[(DATA_SIZE + STACK_SIZE) / 8];

static void clear(void *to, uint64_t n)
{
	__asm__ volatile("cld; rep stosb" : "+D"(to), "+c"(n) : "a"(0) : "memory");
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

static void on_signal(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	(void)info;
	if (now) capture(u->uc_mcontext.gregs, (uint8_t *)u->uc_mcontext.fpregs, signal);
	else leave_home(u);
	if (!left) {
		now = 0;
		go_home(u);
		return;
	}
	left--;
	prepare(u->uc_mcontext.gregs, (uint8_t *)u->uc_mcontext.fpregs);
}

void begin(void)
{
	const uint64_t room = 256ul << 20;
	long fd = call(SYS_memfd_create, (long)"code", 0, 0, 0, 0, 0);
	if (fd < 0 || call(SYS_ftruncate, fd, CODE_SIZE, 0, 0, 0, 0)) quit(12);
	codeAlias = map(0, CODE_SIZE, PROT_READ | PROT_WRITE, fd);
	map(CODE, CODE_SIZE, PROT_READ | PROT_EXEC, fd);
	map(DATA, DATA_SIZE, PROT_READ | PROT_WRITE, -1);
	uint64_t *ro = map(RO, 0x1000, PROT_READ | PROT_WRITE, -1);
	map(STACK, STACK_SIZE, PROT_READ | PROT_WRITE, -1);
	for (uint64_t i = 0; i < sizeof(base) / 8; i++) {
		uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ul;
		base[i] = x ^ (x >> 29);
	}
	for (uint64_t i = 0; i < 512; i++) ro[i] = base[i];
	call(SYS_mprotect, RO, 0x1000, PROT_READ, 0, 0, 0);
	long p = call(SYS_mmap, 0, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p < 0 && p > -4096) quit(13);
	uint64_t *start = (uint64_t *)(p + room / 2);
	if (read_all((void *)p, room / 2) < 8) quit(14);
	left = *(uint64_t *)p;
	in = (uint8_t *)p + 8;
	out = start;
	call(SYS_arch_prctl, ARCH_SET_FS, FS_BASE, 0, 0, 0, 0);
	call(SYS_arch_prctl, ARCH_SET_GS, GS_BASE, 0, 0, 0, 0);
	take_signals(on_signal, 60);
	forbid_system_calls();
	if (left) begin_cases();
	uint64_t n = (uint8_t *)out - (uint8_t *)start;
	write_all(start, n);
	quit(0);
}
