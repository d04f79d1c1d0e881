/* A piece of code by single steps: where each trap comes, with the flags that an instruction may look at. REP traps behind each
   iteration, a move to SS lets one pass, POPF and IRETQ begin and end it, system calls and faults lie between. */
#include "lib.h"
void body(void);
extern u8 body_start[], body_end[];
u8 *page;
static u64 count, other;
static void on_trap(int sig, struct info *i, struct context *c) {
	u64 at = c->ip - (u64)body_start;
	if (at < (u64)(body_end - body_start)) {
		print("%d/%d +%02lx %03lx cx %lu\n", sig, i->code, at, c->eflags & 0x501, c->cx < 100 ? c->cx : 100);
		count++;
	} else other++;
	if (sig == 4) c->ip += 2;
	if (c->ip == (u64)body_end) c->eflags &= ~0x100UL;
}
__asm__(".text\nbody: push %rbx; push %rbp; mov %rsp, %rbp; sub $264, %rsp\n"
	"pushfq; orl $0x100, (%rsp); popfq\n"
	"body_start:\n"
	"xor %ecx, %ecx; rep movsb\n" /* no iteration */
	"mov $5, %ecx; mov %rsp, %rdi; mov %rsp, %rsi; rep movsb\n"
	"mov $3, %ecx; xor %eax, %eax; mov %rsp, %rdi; rep stosq\n"
	"mov $9, %ecx; mov %rsp, %rdi; repe scasb\n" /* all equal */
	"mov $9, %ecx; mov %rsp, %rdi; repne scasb\n" /* the first */
	"mov $2, %ecx; 1: loop 1b\n"
	"call 2f; jmp 3f; 2: ret; 3: nop\n"
	"std; nop; cld\n"
	"mov %ss, %eax; mov %eax, %ss; nop; nop\n"
	"mov %eax, %ss; mov %eax, %ss; nop; nop\n"
	"mov %eax, %ss; pushfq; pop %rdx\n"
	"push %rax; pop %rax\n"
	"pushfq; andl $~0x100, (%rsp); popfq\n" /* the last one for now */
	"nop; nop; nop\n"
	"pushfq; orl $0x100, (%rsp); popfq\n" /* none behind this one */
	"nop; nop\n"
	"mov $39, %eax; syscall\n"
	"nop\n"
	"mov $999, %eax; syscall\n"
	"xor %eax, %eax; cpuid; rdtsc\n"
	"ud2\n" /* the handler goes behind it */
	"nop\n"
	"mov page(%rip), %rax; movb $1, (%rax)\n" /* a page on first touch */
	"int3\n"
	"nop\n"
	"mov %ss, %eax; push %rax; lea 8(%rsp), %rax; push %rax; pushfq; mov %cs, %eax; push %rax; lea 4f(%rip), %rax; push %rax; iretq; 4: nop\n"
	"mov %ss, %eax; push %rax; lea 8(%rsp), %rax; push %rax; pushfq; andl $~0x100, (%rsp); mov %cs, %eax; push %rax; lea 5f(%rip), %rax; push %rax; iretq; 5: nop; nop\n"
	"mov %ss, %eax; push %rax; lea 8(%rsp), %rax; push %rax; pushfq; orl $0x100, (%rsp); mov %cs, %eax; push %rax; lea 6f(%rip), %rax; push %rax; iretq; 6: nop; nop\n"
	"mov %cs, %eax; push %rax; lea 7f(%rip), %rax; push %rax; lretq; 7: nop\n"
	"enter $16, $2; leave\n"
	"lock cmpxchg %rcx, (%rsp); xchg %al, (%rsp)\n"
	"xor %eax, %eax; xor %edx, %edx; movq $0, -24(%rbp); movq $1, -16(%rbp); cmpxchg16b -24(%rbp)\n"
	"8: jz 9f; nop; 9: jnz 1f; nop; 1: nop\n"
	".byte 0x66, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\n"
	"sti_like: pushfq; popfq; fninit; fld1; fstp %st; emms\n"
	"movaps (%rsp), %xmm0; mov %rbp, %rsp; sub $264, %rsp; nop\n"
	"body_end: nop; mov %rbp, %rsp; pop %rbp; pop %rbx; ret\n");
int main(int argc, char **argv, char **envp) {
	(void)argc, (void)argv, (void)envp;
	page = map(0, 4096, 3, 0);
	handle(5, on_trap, 0, 0);
	handle(4, on_trap, 0, 0);
	body();
	print("traps %lu, elsewhere %lu\n", count, other);
	return 0;
}
