/* Counts the instructions of a program natively, by stepping: bench-count PROG ARG.. writes the program's output and then
 * the count. An iteration of a REP instruction, which stops anew for each, is not counted again; programs that change
 * their own code or fork are not for it. Linux on x86-64. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static int repeats(pid_t pid, unsigned long rip) {
	unsigned long w = (unsigned long)ptrace(PTRACE_PEEKTEXT, pid, rip, 0);
	for (int i = 0; i < 4; i++, w >>= 8) {
		unsigned b = w & 255;
		if (b == 0xf3 || b == 0xf2) return 1;
		if (b != 0x66 && (b & 0xf0) != 0x40) return 0;
	}
	return 0;
}

int main(int argc, char **argv) {
	if (argc < 2) return 2;
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	int status;
	unsigned long n = 0, last = 0;
	waitpid(pid, &status, 0);
	while (WIFSTOPPED(status)) {
		struct user_regs_struct r;
		ptrace(PTRACE_GETREGS, pid, 0, &r);
		if (r.rip != last || !repeats(pid, r.rip)) n++;
		last = r.rip;
		ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
		waitpid(pid, &status, 0);
	}
	printf("%lu\n", n);
	return 0;
}
