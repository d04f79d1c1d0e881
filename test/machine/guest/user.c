// Runs one case after another on this machine's CPU as an ordinary process: the user half of the guest of world.ts lies at
// its addresses, and a case is entered and left through signal frames, which carry the whole user state at once. It is
// not a sandbox for hostile code. Freestanding, so that fs and gs belong to the case.
//
// stdin and stdout are those of kvm.c. Of the ranges only data and stack are compared; of a state only what user mode
// can see is set and read, the rest comes back as it was. exit is TRAP | vector << 8, and `pat`, which user mode cannot
// see, comes back as the error code.
#include "../native/process.h"

#define CODE 0x10000000ul
#define CODE_PA 0x20000u
#define CODE_SIZE 0x2000u
#define HIGH 0x7fffc0000000ul
#define DATA 0x20000000ul
#define DATA_PA 0x30000u
#define DATA_PAGES 12
#define STACK 0x30000000ul
#define STACK_PA 0x40000u
#define STACK_SIZE 0x2000u

/* Words of a signal frame's XSAVE image. */
enum { FX_MXCSR = 3, FX_ST = 4, FX_XMM = 20, FX_MAGIC = 58, FX_BV = 64 };
enum { SHUTDOWN = 1, TIMEOUT = 4, TRAP = 5, SYSCALL = 6 };

struct state {
	uint64_t regs[16], rip, rflags, cr0, cr2, cr3, cr4, efer;
	uint64_t base[3];
	uint64_t sel[8]; /* es cs ss ds fs gs tr ldtr */
	uint64_t gdt[2], idt[2], tr[2];
	uint64_t msr[6];
	uint64_t dr[6];
	uint64_t mxcsr, xmm[32];
	uint64_t x87, fip, fdp, st[16];
};

struct patch {
	uint32_t pa, bytes;
	uint8_t data[];
};

/* Pages of the data: which a user may write, which only read; the others are not there. */
static const char ACCESS[DATA_PAGES + 1] = "wwwr-w-w-w-w";

static uint32_t left;
static uint8_t *in, *pristine, *before, *out, *code_alias;
static struct state *now;
static uint32_t nr_patches;
static uint8_t *patches;

/* Where a physical address of the guest can be written here, or 0. */
static uint8_t *place(uint32_t pa)
{
	if (pa >= CODE_PA && pa < CODE_PA + CODE_SIZE) return code_alias + (pa - CODE_PA);
	if (pa >= STACK_PA && pa < STACK_PA + STACK_SIZE) return (uint8_t *)STACK + (pa - STACK_PA);
	if (pa >= DATA_PA && pa < DATA_PA + DATA_PAGES * 0x1000 && ACCESS[(pa - DATA_PA) >> 12] == 'w')
		return (uint8_t *)DATA + (pa - DATA_PA);
	return 0;
}

static uint64_t base_of(int which)
{
	uint64_t v = 0;
	call(SYS_arch_prctl, which, (long)&v, 0, 0, 0, 0);
	return v;
}

static void changed(uint32_t pa, uint32_t *nr)
{
	uint64_t *a = (uint64_t *)place(pa), *b = (uint64_t *)(before + pa);
	for (int i = 0; i < 512; i++) {
		if (a[i] == b[i]) continue;
		uint64_t *o = (uint64_t *)out;
		o[0] = pa + i * 8;
		o[1] = a[i];
		out += 16;
		++*nr;
		a[i] = b[i];
	}
}

static void capture(greg_t *g, uint64_t *fp, int signal)
{
	struct state *s = (struct state *)out;
	uint64_t cs = g[REG_CSGSFS];
	uint16_t es, ds, fs, gs;
	uint32_t *tail = (uint32_t *)(s + 1);
	__asm__ volatile("mov %%es, %0; mov %%ds, %1; mov %%fs, %2; mov %%gs, %3" : "=r"(es), "=r"(ds), "=r"(fs), "=r"(gs));
	copy(s, now, sizeof *s);
	for (int i = 0; i < 16; i++) s->regs[i] = g[ORDER[i]];
	s->rip = g[REG_RIP];
	s->rflags = g[REG_EFL];
	if (g[REG_TRAPNO] == 14) s->cr2 = g[REG_CR2];
	s->msr[5] = g[REG_ERR];
	s->base[0] = base_of(ARCH_GET_FS);
	s->base[1] = base_of(ARCH_GET_GS);
	s->sel[0] = es;
	s->sel[1] = cs & 0xffff;
	s->sel[2] = cs >> 48;
	s->sel[3] = ds;
	s->sel[4] = fs;
	s->sel[5] = gs;
	s->x87 = (fp[0] & 0xffffffffff) | (fp[0] >> 48) << 48;
	s->fip = fp[1];
	s->fdp = fp[2];
	s->mxcsr = (uint32_t)fp[FX_MXCSR];
	copy(s->st, fp + FX_ST, sizeof s->st);
	for (int i = 0; i < 8; i++) s->st[i * 2 + 1] &= 0xffff;
	copy(s->xmm, fp + FX_XMM, sizeof s->xmm);
	tail[0] = signal == SIGSYS ? SYSCALL : signal == SIGALRM ? TIMEOUT : TRAP | (uint32_t)g[REG_TRAPNO] << 8;
	tail[1] = 0;
	out = (uint8_t *)(tail + 2);
	for (int i = 0; i < DATA_PAGES; i++)
		if (ACCESS[i] == 'w') changed(DATA_PA + i * 0x1000, &tail[1]);
	for (uint32_t pa = STACK_PA; pa < STACK_PA + STACK_SIZE; pa += 0x1000) changed(pa, &tail[1]);
	/* Undo the patches. */
	uint8_t *p = patches;
	for (uint32_t i = 0; i < nr_patches; i++) {
		struct patch *q = (struct patch *)p;
		copy(before + q->pa, pristine + q->pa, q->bytes);
		copy(place(q->pa), pristine + q->pa, q->bytes);
		p += 8 + q->bytes;
	}
}

static void prepare(greg_t *g, uint64_t *fp)
{
	now = (struct state *)in;
	nr_patches = *(uint32_t *)(in + sizeof *now + 4);
	patches = in + sizeof *now + 8;
	in = patches;
	for (uint32_t i = 0; i < nr_patches; i++) {
		struct patch *q = (struct patch *)in;
		if (!place(q->pa) || !place(q->pa + q->bytes - 1)) quit(20);
		copy(before + q->pa, q->data, q->bytes);
		copy(place(q->pa), q->data, q->bytes);
		in += 8 + q->bytes;
	}
	for (int i = 0; i < 16; i++) g[ORDER[i]] = now->regs[i];
	g[REG_RIP] = now->rip;
	g[REG_EFL] = now->rflags;
	g[REG_CR2] = g[REG_TRAPNO] = g[REG_ERR] = 0;
	g[REG_CSGSFS] = home.uc_mcontext.gregs[REG_CSGSFS];
	fp[0] = now->x87;
	fp[1] = now->fip;
	fp[2] = now->fdp;
	*(uint32_t *)(fp + FX_MXCSR) = now->mxcsr;
	copy(fp + FX_ST, now->st, sizeof now->st);
	copy(fp + FX_XMM, now->xmm, sizeof now->xmm);
	if (*(uint32_t *)(fp + FX_MAGIC) == 0x46505853) fp[FX_BV] |= 3;
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%fs; mov %0, %%gs" : : "r"(0));
	call(SYS_arch_prctl, ARCH_SET_FS, now->base[0], 0, 0, 0, 0);
	call(SYS_arch_prctl, ARCH_SET_GS, now->base[1], 0, 0, 0, 0);
	/* ID and NT are not taken from the frame: they are what they are now. */
	__asm__ volatile("push %0; popf" : : "r"((now->rflags & 0x204000) | 0x202) : "cc", "memory");
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	static uint32_t ticked = ~0u;
	(void)info;
	if (signal == SIGALRM && (!now || ticked != left)) {
		ticked = left; /* the second tick in one case ends it */
		return;
	}
	if (now) capture(u->uc_mcontext.gregs, (uint64_t *)u->uc_mcontext.fpregs, signal);
	else leave_home(u);
	if (!left) {
		now = 0;
		go_home(u);
		return;
	}
	left--;
	prepare(u->uc_mcontext.gregs, (uint64_t *)u->uc_mcontext.fpregs);
}

static uint8_t *room(uint64_t size)
{
	long p = call(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p < 0 && p > -4096) quit(13);
	return (uint8_t *)p;
}

static void put_world(void)
{
	long fd = call(SYS_memfd_create, (long)"code", 0, 0, 0, 0, 0);
	if (fd < 0 || call(SYS_ftruncate, fd, CODE_SIZE, 0, 0, 0, 0)) quit(12);
	code_alias = map(0, CODE_SIZE, PROT_READ | PROT_WRITE, fd);
	map(CODE, CODE_SIZE, PROT_READ | PROT_EXEC, fd);
	map(HIGH, CODE_SIZE, PROT_READ | PROT_EXEC, fd);
	copy(code_alias, pristine + CODE_PA, CODE_SIZE);
	map(STACK, STACK_SIZE, PROT_READ | PROT_WRITE, -1);
	copy((void *)STACK, pristine + STACK_PA, STACK_SIZE);
	for (int i = 0; i < DATA_PAGES; i++) {
		void *at = (void *)(DATA + i * 0x1000ul);
		if (ACCESS[i] == '-') continue;
		map((unsigned long)at, 0x1000, PROT_READ | PROT_WRITE, -1);
		copy(at, pristine + DATA_PA + i * 0x1000, 0x1000);
		if (ACCESS[i] == 'r') call(SYS_mprotect, (long)at, 0x1000, PROT_READ, 0, 0, 0);
	}
}

void begin(void)
{
	const uint64_t half = 128ul << 20;
	in = room(2 * half);
	uint8_t *start = out = in + half;
	if (read_all(in, half) < 16) quit(14);
	uint32_t *head = (uint32_t *)in;
	pristine = in + 16;
	before = room(head[0]);
	copy(before, pristine, head[0]);
	left = head[3];
	in = pristine + head[0] + head[2] * 8;
	put_world();
	take_signals(on_signal, 1);
	forbid_system_calls();
	if (left) begin_cases();
	uint64_t n = out - start;
	write_all(start, n);
	quit(0);
}
