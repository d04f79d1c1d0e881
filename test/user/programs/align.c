/* Alignment checks: which of sixteen offsets in a line each kind of access faults at with EFLAGS.AC set, and as what. */
#include "lib.h"
#define SIZE 8192
u8 *line;
static u8 *pages;
static jump_buffer jump;
static struct { int sig, code; u64 addr, trapno, err, cr2; } seen;
static void no_ac(void) { __asm__ volatile("pushfq; andl $~0x40000, (%%rsp); popfq" : : : "memory", "cc"); }
static void on_fault(int sig, struct info *i, struct context *c) {
	no_ac();
	seen.sig = sig, seen.code = i->code, seen.addr = i->addr, seen.trapno = c->trapno, seen.err = c->err, seen.cr2 = c->cr2;
	long_jump(jump);
}
/* Each case is a function of an address: it gets the address in rdi, and rsi, rcx, rdx, rax are its own. */
#define CASES \
	X("mov 1", "mov (%rdi), %al") X("mov 2", "mov (%rdi), %ax") X("mov 4", "mov (%rdi), %eax") \
	X("mov 8", "mov (%rdi), %rax") X("store 2", "mov %ax, (%rdi)") X("store 4", "mov %eax, (%rdi)") \
	X("store 8", "mov %rax, (%rdi)") X("add 2", "add %ax, (%rdi)") X("add 8", "add %rax, (%rdi)") \
	X("lock xadd 4", "lock xadd %eax, (%rdi)") X("xchg 8", "xchg %rax, (%rdi)") \
	X("movsx 2", "movswl (%rdi), %eax") X("movzx 1", "movzbl (%rdi), %eax") X("popcnt 8", "popcnt (%rdi), %rax") \
	X("crc32 4", "crc32l (%rdi), %eax") X("imul 8", "imul (%rdi), %rax") X("cmp 8", "cmpq $1, (%rdi)") \
	X("push m", "pushq (%rdi); pop %rax") X("bt 2", "xor %ecx, %ecx; bt %cx, (%rdi)") \
	X("bt 4", "xor %ecx, %ecx; bt %ecx, (%rdi)") X("bt 8", "xor %ecx, %ecx; bt %rcx, (%rdi)") \
	X("bts i 4", "btsl $3, (%rdi)") X("cmpxchg8b", "xor %ebx, %ebx; cmpxchg8b (%rdi)") \
	X("cmpxchg16b", "cmpxchg16b (%rdi)") X("lea", "lea 1(%rdi), %rax") X("nop", "nopl (%rdi)") \
	X("prefetch", "prefetcht0 (%rdi)") X("clflush", "clflush (%rdi)") X("movnti 4", "movnti %eax, (%rdi)") \
	X("movnti 8", "movnti %rax, (%rdi)") X("lodsw", "mov %rdi, %rsi; lodsw") X("lodsl", "mov %rdi, %rsi; lodsl") \
	X("lodsq", "mov %rdi, %rsi; lodsq") X("stosw", "stosw") X("stosl", "stosl") X("stosq", "stosq") \
	X("scasl", "scasl") X("movsl", "lea 64(%rdi), %rsi; movsl") X("cmpsq", "lea 64(%rdi), %rsi; cmpsq") \
	X("movsq from 1", "mov %rdi, %rsi; mov line(%rip), %rdi; movsq") \
	X("rep movsb", "mov $20, %ecx; lea 64(%rdi), %rsi; rep movsb") \
	X("rep movsq", "mov $3, %ecx; lea 64(%rdi), %rsi; rep movsq") X("rep stosl", "mov $7, %ecx; rep stosl") \
	X("xlat", "mov %rdi, %rbx; xlat") X("moffs", "push %rdi; pop %rax; mov (%rax), %eax") \
	X("movd", "movd (%rdi), %xmm0") X("movq", "movq (%rdi), %xmm0") X("movss", "movss (%rdi), %xmm0") \
	X("movsd", "movsd (%rdi), %xmm0") X("movsd st", "movsd %xmm0, (%rdi)") X("movlps", "movlps (%rdi), %xmm0") \
	X("movhpd", "movhpd %xmm0, (%rdi)") X("movups", "movups (%rdi), %xmm0") X("movups st", "movups %xmm0, (%rdi)") \
	X("movupd", "movupd (%rdi), %xmm0") X("movdqu", "movdqu (%rdi), %xmm0") X("movdqu st", "movdqu %xmm0, (%rdi)") \
	X("lddqu", "lddqu (%rdi), %xmm0") X("movaps", "movaps (%rdi), %xmm0") X("movdqa st", "movdqa %xmm0, (%rdi)") \
	X("movntdq", "movntdq %xmm0, (%rdi)") X("paddd", "paddd (%rdi), %xmm0") X("addss", "addss (%rdi), %xmm0") \
	X("addsd", "addsd (%rdi), %xmm0") X("addps", "addps (%rdi), %xmm0") X("cvtsi2sd 4", "cvtsi2sdl (%rdi), %xmm0") \
	X("cvtsi2sd 8", "cvtsi2sdq (%rdi), %xmm0") X("cvtps2pd", "cvtps2pd (%rdi), %xmm0") \
	X("cvtdq2pd", "cvtdq2pd (%rdi), %xmm0") X("comisd", "comisd (%rdi), %xmm0") X("movddup", "movddup (%rdi), %xmm0") \
	X("pinsrw", "pinsrw $1, (%rdi), %xmm0") X("pinsrd", "pinsrd $1, (%rdi), %xmm0") \
	X("pinsrq", "pinsrq $1, (%rdi), %xmm0") X("pextrw", "pextrw $1, %xmm0, (%rdi)") \
	X("pextrd", "pextrd $1, %xmm0, (%rdi)") X("insertps", "insertps $0, (%rdi), %xmm0") \
	X("pmovzxbw", "pmovzxbw (%rdi), %xmm0") X("pmovzxbd", "pmovzxbd (%rdi), %xmm0") \
	X("pmovzxbq", "pmovzxbq (%rdi), %xmm0") X("pcmpistri", "pcmpistri $0, (%rdi), %xmm0") \
	X("ldmxcsr", "ldmxcsr (%rdi)") \
	X("stmxcsr", "stmxcsr (%rdi)") X("movq mm", "movq (%rdi), %mm0; emms") X("paddb mm", "paddb (%rdi), %mm0; emms") \
	X("movd mm", "movd (%rdi), %mm0; emms") X("movntq", "movntq %mm0, (%rdi); emms") \
	X("punpcklbw mm", "punpcklbw (%rdi), %mm0; emms") X("cvtpi2ps", "cvtpi2ps (%rdi), %xmm0; emms") \
	X("flds", "flds (%rdi); fstp %st") X("fldl", "fldl (%rdi); fstp %st") X("fldt", "fldt (%rdi); fstp %st") \
	X("fstps", "fldz; fstps (%rdi)") X("fstpl", "fldz; fstpl (%rdi)") X("fstpt", "fldz; fstpt (%rdi)") \
	X("filds", "filds (%rdi); fstp %st") X("fildl", "fildl (%rdi); fstp %st") X("fildq", "fildq (%rdi); fstp %st") \
	X("fistps", "fldz; fistps (%rdi)") X("fistpq", "fldz; fistpq (%rdi)") X("fisttpl", "fldz; fisttpl (%rdi)") \
	X("fadds", "fldz; fadds (%rdi); fstp %st") X("faddl", "fldz; faddl (%rdi); fstp %st") \
	X("fiadds", "fldz; fiadds (%rdi); fstp %st") X("fbld", "fbld (%rdi); fstp %st") X("fbstp", "fldz; fbstp (%rdi)") \
	X("fnstcw", "fnstcw (%rdi)") X("fldcw", "fnstcw -8(%rsp); mov -8(%rsp), %ax; mov %al, (%rdi); mov %ah, 1(%rdi); fldcw (%rdi)") \
	X("fnstsw", "fnstsw (%rdi)") X("fnstenv", "fnstenv (%rdi)") X("fnstenv 16", "data16 fnstenv (%rdi)") \
	X("fldenv", "fldenv (%rdi)") X("fldenv 16", "data16 fldenv (%rdi)") X("fnsave", "fnsave (%rdi)") X("frstor", "frstor (%rdi)") \
	X("lfs 4", "lfsl (%rdi), %eax") \
	X("lgs 2", "lgsw (%rdi), %ax") X("mov sel", "mov %fs, (%rdi)") X("to fs", "mov (%rdi), %fs") \
	X("push", "mov %rsp, %rsi; lea 16(%rdi), %rsp; push %rax; mov %rsi, %rsp") X("pop", "mov %rsp, %rsi; mov %rdi, %rsp; pop %rax; mov %rsi, %rsp") \
	X("push 2", "mov %rsp, %rsi; lea 16(%rdi), %rsp; push %ax; mov %rsi, %rsp") \
	X("call", "mov %rsp, %rsi; lea 16(%rdi), %rsp; call 1f; 1: mov %rsi, %rsp") \
	X("leave", "mov %rsp, %rsi; mov %rbp, %rdx; mov %rdi, %rbp; leave; mov %rdx, %rbp; mov %rsi, %rsp") \
	X("enter", "mov %rsp, %rsi; mov %rbp, %rdx; lea 64(%rdi), %rsp; enter $16, $0; mov %rdx, %rbp; mov %rsi, %rsp") \
	X("pushf", "mov %rsp, %rsi; lea 16(%rdi), %rsp; pushf; mov %rsi, %rsp")
#define SAVE "push %rbx; push %rbp; sub $8, %rsp;"
#define LEAVE "add $8, %rsp; pop %rbp; pop %rbx; ret;"
#define X(name, text) name,
static const char *const names[] = { CASES };
#undef X
void cases(void);
#define X(name, text) \
	".balign 256\n" SAVE "pushfq; orl $0x40000, (%rsp); popfq;" text "; pushfq; andl $~0x40000, (%rsp); popfq;" LEAVE "\n"
__asm__(".text\n.balign 256\ncases:\n" CASES);
static void run(const char *name, int k) {
	u32 faults[2] = { 0, 0 };
	for (int at = 0; at < 16; at++) {
		memset(pages, 0, 2048);
		memset(&seen, 0, sizeof seen);
		if (set_jump(jump) == 0) ((void (*)(void *))((char *)cases + 256 * k))(line + at);
		no_ac();
		if (seen.sig == 7 && seen.code == 1 && seen.trapno == 17 && seen.err == 0 && seen.addr == 0) faults[0] |= 1 << at;
		else if (seen.sig) faults[1] |= 1 << at;
	}
	print("%s: %04x %04x\n", name, faults[0], faults[1]);
}
static void which(const char *name, int k, void *at) {
	memset(&seen, 0, sizeof seen);
	if (set_jump(jump) == 0) ((void (*)(void *))((char *)cases + 256 * k))(at);
	no_ac();
	print("%s %s: signal %d code %d trap %lu\n", names[k], name, seen.sig, seen.code, seen.trapno);
}
int main(int argc, char **argv, char **envp) {
	(void)argc, (void)argv, (void)envp;
	pages = map(0, SIZE, 3, 0);
	line = pages + 1024;
	for (int sig = 4; sig < 12; sig++)
		if (sig != 9 && sig != 10) handle(sig, on_fault, SA_NODEFER | SA_ONSTACK, 0);
	static char alt[65536] __attribute__((aligned(64)));
	struct stack s = { alt, 0, sizeof alt };
	sys2(131, &s, 0);
	for (u64 k = 0; k < sizeof names / sizeof *names; k++) run(names[k], k);
	/* An address that is not canonical counts first. (Whether a page fault does hangs on the vendor.) */
	which("not canonical", 3, (void *)0x8000000000000001);
	which("not canonical", 9, (void *)0x8000000000000001);
	return 0;
}
