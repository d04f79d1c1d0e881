/* Ends by a signal without a handler, chosen by the first argument. */
#include "lib.h"
__attribute__((noinline)) static void leaf(int k) {
	switch (k) {
	case '0': *(volatile int *)0 = 1; break;
	case '1': __asm__ volatile("ud2"); break;
	case '2': __asm__ volatile("int3"); break;
	case '3': __asm__ volatile("xor %%ecx, %%ecx; div %%ecx" : : : "rax", "rcx", "rdx"); break;
	case '4': raise_(6); break;
	case '5': raise_(15); break;
	case '6': raise_(9); break;
	case '7': __asm__ volatile("hlt"); break;
	case '8': ((void (*)(void))0x12345)(); break;
	case '9': __asm__ volatile("mov $1, %%rsp; shl $63, %%rsp; push %%rax" : : : "memory"); break;
	case 'a': { /* a handler without a stack to run on */
		handle(11, leaf, 0, 0);
		__asm__ volatile("xor %%esp, %%esp; push %%rax" : : : "memory");
		break;
	}
	case 'b': mask(0, 1 << 10); *(volatile int *)0 = 1; break;
	case 'c': __asm__ volatile("int $0x21"); break;
	case 'd': raise_(64); break;
	case 'e': __asm__ volatile("mov $15, %eax; mov $8, %esp; syscall"); break;
	case 'f': __asm__ volatile("cli"); break;
	}
}
__attribute__((noinline)) static void middle(int k) { leaf(k); __asm__ volatile(""); }
int main(int argc, char **argv, char **envp) {
	(void)envp;
	print("end %s\n", argv[1]);
	flush();
	middle(argc > 1 ? argv[1][0] : 0);
	return 42;
}
