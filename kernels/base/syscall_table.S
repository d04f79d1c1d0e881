# arch/x86/entry/syscall_64.c: sys_call_table, with Linux's numbers. A scenario's own system calls
# follow from __NR_scenario on, in section .sys_call_table.scenario.

	.include "kernel.inc"

# Entries come in rising order; the gap before one is filled with sys_ni_syscall.
.macro SYSCALL nr, entry
	.rept	\nr - .Lnext
	.quad	__x64_sys_ni_syscall
	.endr
	.quad	\entry
	.set	.Lnext, \nr + 1
.endm

	.section .sys_call_table, "a", @progbits
	.p2align 3
SYM_DATA_START sys_call_table
	.set	.Lnext, 0
	SYSCALL __NR_write, __x64_sys_write
	SYSCALL __NR_sched_yield, __x64_sys_sched_yield
	SYSCALL __NR_pause, __x64_sys_pause
	SYSCALL __NR_nanosleep, __x64_sys_nanosleep
	SYSCALL __NR_getpid, __x64_sys_getpid
	SYSCALL __NR_clone, __x64_sys_clone
	SYSCALL __NR_exit, __x64_sys_exit
	SYSCALL __NR_kill, __x64_sys_kill
	SYSCALL __NR_prctl, __x64_sys_prctl
	SYSCALL __NR_gettid, __x64_sys_getpid
	SYSCALL __NR_restart_syscall, __x64_sys_restart_syscall
	SYSCALL __NR_quiesce, __x64_sys_quiesce
SYM_DATA_END sys_call_table
