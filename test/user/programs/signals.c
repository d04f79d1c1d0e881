/* Handlers for faults and sent signals: what they are told, what they may change, masks, stacks, returns. */
#include "lib.h"
static volatile int count, depth, most;
static void on_div(int sig, struct info *i, struct context *c) {
	print("sig %d code %d at ip %d trap %lu\n", sig, i->code, i->addr == c->ip, c->trapno);
	c->ip += 3; /* div %ecx with its REX prefix */
	c->ax = 111;
}
static void on_ud(int sig, struct info *i, struct context *c) {
	print("sig %d code %d at ip %d trap %lu\n", sig, i->code, i->addr == c->ip, c->trapno);
	c->ip += 2;
}
static void on_trap(int sig, struct info *i, struct context *c) {
	print("sig %d code %d byte before %x trap %lu\n", sig, i->code, ((u8 *)c->ip)[-1], c->trapno);
}
static void on_usr(int sig, struct info *i, struct context *c) {
	(void)c;
	count++;
	if (++depth > most) most = depth;
	print("sig %d code %d from me %d mask %lx\n", sig, i->code, i->pid == (int)sys1(39, 0), mask(0, 0) & 0xfff);
	if (count == 3) raise_(sig);
	depth--;
}
static jump_buffer jump;
static char alt[65536] __attribute__((aligned(16)));
static void on_overflow(int sig, struct info *i, struct context *c) {
	char here;
	struct stack s;
	sys2(131, 0, &s);
	print("sig %d code %d on altstack %d flags %d near sp %d aligned %d\n", sig, i->code, &here >= alt && &here < alt + sizeof alt,
	      s.flags, (c->sp - i->addr < 65536) | (i->addr - c->sp < 65536), ((u64)__builtin_frame_address(0) & 15) == 0);
	mask(1, 1UL << 10);
	long_jump(jump);
}
__attribute__((noinline)) static long endless(volatile long n) /* on purpose */ { return endless(n + 1) + n; }
static void on_registers(int sig, struct info *i, struct context *c) {
	(void)sig, (void)i;
	c->bx += 1; c->r12 += 1; c->cx += 1; c->r11 += 1; c->r8 += 1; c->eflags ^= 1;
}
static void on_step(int sig, struct info *i, struct context *c) {
	(void)sig;
	count += i->code == 2;
	if (count == 4) c->eflags &= ~0x100UL;
}
int main(int argc, char **argv, char **envp) {
	(void)argv, (void)envp;
	u64 a, d;
	handle(8, on_div, 0, 0);
	__asm__ volatile(".byte 0x48, 0xf7, 0xf1" : "=a"(a), "=d"(d) : "0"(5L), "1"(0L), "c"(0L));
	print("div gives %lu\n", a);
	handle(4, on_ud, 0, 0);
	__asm__ volatile("ud2");
	handle(5, on_trap, 0, 0);
	__asm__ volatile("int3");
	handle(10, on_usr, 0, 0);
	raise_(10);
	print("once %d\n", count);
	mask(0, 1 << 9);
	raise_(10);
	raise_(10);
	u64 pending = 0;
	sys2(127, &pending, 8);
	print("blocked %d pending %lx\n", count, pending);
	mask(1, 1 << 9);
	print("unblocked %d\n", count);
	handle(10, on_usr, 0, 0);
	raise_(10);
	print("deferred %d depth %d\n", count, most);
	count = 2;
	handle(10, on_usr, SA_NODEFER, 1 << 3);
	raise_(10);
	print("nested %d depth %d\n", count, most);
	handle(12, on_usr, SA_RESETHAND, 0);
	struct action old;
	raise_(12);
	sys4(13, 12, 0, &old, 8);
	print("reset %d\n", old.handler == 0);
	handle(14, (void *)1, 0, 0);
	raise_(14);
	raise_(17);
	print("ignored\n");

	struct stack s = { alt, 0, sizeof alt }, small = { alt, 0, 100 };
	print("altstack %ld too small %ld\n", sys2(131, &s, 0), sys2(131, &small, 0));
	handle(11, on_overflow, SA_ONSTACK, 0);
	for (int i = 0; i < 2; i++)
		if (set_jump(jump) == 0) print("%ld\n", endless(0));
		else print("back from overflow\n");

	handle(5, on_registers, 0, 0);
	register u64 bx __asm__("rbx") = 10;
	register u64 r12 __asm__("r12") = 20;
	register u64 cx __asm__("rcx") = 30;
	register u64 r11 __asm__("r11") = 40;
	register u64 r8 __asm__("r8") = 50;
	u8 carry;
	__asm__ volatile("clc; int3; setc %0" : "=r"(carry), "+r"(bx), "+r"(r12), "+r"(cx), "+r"(r11), "+r"(r8));
	u64 v1 = bx, v2 = r12, v3 = cx, v4 = r11, v5 = r8;
	print("registers %lu %lu %lu %lu %lu carry %d\n", v1, v2, v3, v4, v5, carry);

	count = 0;
	handle(5, on_step, 0, 0);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop; nop; nop; nop" : : : "memory");
	print("steps %d\n", count);
	struct action none = { 0, 0, 0, 0 };
	sys4(13, 4, &none, 0, 8);
	sys4(13, 11, &none, 0, 8);
	print("last\n");
	flush();
	if (argc == 1) __asm__ volatile("ud2; mov $0, %eax; mov %eax, (%rax)");
	*(volatile int *)((long)argc - 1) = 5;
	return 0;
}
