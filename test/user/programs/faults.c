/* What a handler is told of each kind of fault, word by word: siginfo_t and ucontext_t as Linux lays them out. */
#include "lib.h"
u8 *page;
static char alt[65536] __attribute__((aligned(64)));
/* An address by what it is near to. */
static void place(const char *what, u64 v, struct context *c, u64 at) {
	if (v == at) print(" %s=ip", what);
	else if (v - (u64)page < 8192) print(" %s=page+%lx", what, v - (u64)page);
	else if (v - c->sp + 4096 < 8192) print(" %s=sp%ld", what, (long)(v - c->sp));
	else print(" %s=%lx", what, v);
}
u64 at;
static void on_fault(int sig, struct info *i, struct context *c) {
	print(" sig %d errno %d code %d", i->signo, i->err, i->code);
	if (sig != i->signo) print(" not %d", sig);
	place("addr", i->addr, c, at);
	print(" trap %lu err %lx", c->trapno, c->err);
	if (c->trapno == 14) place("cr2", c->cr2, c, at);
	place("rip", c->ip, c, at);
	if (c->ip - at < 64) print(" at+%ld", c->ip - at);
	print(" cs %x gs %x fs %x ss %x oldmask %lx mask %lx eflags %lx flags %lx link %lx stack %d %d %lu", c->cs, c->gs, c->fs,
	      c->ss, c->oldmask, c->mask, c->eflags & 0x40dd5, c->flags & ~1UL, c->link, c->stack.sp == (void *)alt, c->stack.flags, c->stack.size);
	for (int k = 0; k < 104; k++) if (i->rest[k]) print(" rest %d is %x", k, i->rest[k]);
	/* Each case leaves by its own way out. */
	c->ip = c->r8;
	c->sp = c->r9;
	c->eflags &= ~0x40500UL;
}
#define CASES \
	X("div by zero", "xor %ecx, %ecx; 1: div %ecx") X("idiv overflow", "mov $1<<63, %rax; cqo; mov $-1, %rcx; 1: idiv %rcx") \
	X("ud2", "1: ud2") X("bad opcode", "1: .byte 0x06") \
	X("lock on a register", "1: .byte 0xf0, 0x01, 0xc0") X("int3", "int3; 1:") X("int $3", "int $3; 1:") \
	X("int $4", "1: int $4") X("int $0x21", "1: int $0x21") X("int $0xff", "1: int $0xff") \
	X("hlt", "1: hlt") X("cli", "1: cli") X("in", "1: in $0x80, %al") X("rdmsr", "1: rdmsr") X("mov cr3", "1: mov %cr3, %rax") \
	X("iret to nowhere", "1: push $0; push $0; push $0; push $0; push $0; iretq") \
	X("wrong selector", "mov $0x1234, %eax; 1: mov %eax, %ds") X("ss null", "xor %eax, %eax; 1: mov %eax, %ss") \
	X("cs of the kernel", "1: push $0x10; push $0; lretq") \
	X("step", "pushfq; orl $0x100, (%rsp); popfq; nop; 1: nop") X("step of a syscall", "pushfq; orl $0x100, (%rsp); popfq; 1:  mov $39, %eax; syscall; nop") \
	X("read null", "xor %eax, %eax; 1: mov 8(%rax), %eax") X("write null", "xor %eax, %eax; 1: mov %eax, 8(%rax)") \
	X("rmw null", "xor %eax, %eax; 1: lock incl 8(%rax)") X("read-only", "mov page(%rip), %rax; 1: mov %eax, 4096+24(%rax)") \
	X("across", "mov page(%rip), %rax; 1: mov %rax, 4096-3(%rax)") X("of the kernel", "mov $0xffffffff81000000, %rax; 1: mov (%rax), %eax") \
	X("write to the kernel", "mov $0xffffffff81000000, %rax; 1: mov %eax, (%rax)") X("end of user space", "mov $0x7ffffffff000, %rax; 1: mov (%rax), %eax") \
	X("not canonical", "mov $1<<47, %rax; 1: mov (%rax), %eax") X("not canonical by rbp", "mov $1<<47, %rbp; 1: mov (%rbp), %eax") \
	X("not canonical stack", "mov $1<<47, %rsp; 1: push %rax") X("jump to null", "xor %eax, %eax; 1: jmp *%rax") \
	X("jump to data", "mov page(%rip), %rax; 1: jmp *%rax") X("jump to the kernel", "mov $0xffffffff81000000, %rax; 1: jmp *%rax") \
	X("jump to no address", "mov $1<<47, %rax; 1: jmp *%rax") X("call no address", "mov $1<<47, %rax; 1: call *%rax") \
	X("ret to no address", "mov $1<<47, %rax; push %rax; 1: ret") X("misaligned", "pushfq; orl $0x40000, (%rsp); popfq; 1: mov 1(%rsp), %eax") \
	X("movaps", "1: movaps 8(%rsp), %xmm0") X("cmpxchg16b", "1: cmpxchg16b 8(%rsp)") X("down", "std; 1: ud2") \
	X("movs", "mov page(%rip), %rax; lea 4096-5(%rax), %rdi; mov %rax, %rsi; mov $9, %ecx; 1: rep movsb")
#define X(name, text) name,
static const char *const names[] = { CASES };
#undef X
void cases(void);
#define X(name, text) \
	".balign 128\n push %rbx; push %rbp; lea -8(%rsp), %rsp; xor %eax, %eax; lea 2f(%rip), %r8; mov %rsp, %r9; lea 1f(%rip), %rax; mov %rax, at(%rip);" \
	text "; mov %r9, %rsp; 2: add $8, %rsp; pop %rbp; pop %rbx; ret\n"
__asm__(".text\n.balign 128\ncases:\n" CASES);
int main(int argc, char **argv, char **envp) {
	(void)argc, (void)argv, (void)envp;
	page = map(0, 8192, 3, 0);
	sys3(10, page + 4096, 4096, 1);
	struct stack s = { alt, 0, sizeof alt };
	sys2(131, &s, 0);
	for (int sig = 4; sig < 12; sig++)
		if (sig != 9 && sig != 10) handle(sig, on_fault, SA_ONSTACK, 1 << 13);
	for (u64 k = 0; k < sizeof names / sizeof *names; k++) {
		print("%s:", names[k]);
		((void (*)(void))((char *)cases + 128 * k))();
		print("\n");
	}
	return 0;
}
