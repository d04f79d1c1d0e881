# kernel/module/main.c, the half that other code calls: the list of modules, references, init and exit. Loading and
# unloading are decided through the patch call, under module_mutex.
# Locking: the list changes under module_mutex, and whoever walks it without needs a moment without preemption.

	.include "kernel.inc"

	.text

# rdi: struct module, complete but for its state. kernel: add_unformed_module()
C_FUNC_START add_unformed_module
	movl	$MODULE_STATE_UNFORMED, MOD_state(%rdi)
	leaq	MOD_list(%rdi), %rsi
	movq	$modules, %rax
	movq	(%rax), %rdx			/* list_add_rcu() */
	movq	%rdx, (%rsi)
	movq	%rax, 8(%rsi)
	movq	%rsi, (%rax)
	movq	%rsi, 8(%rdx)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END add_unformed_module

# rdi: struct module. Off the list; who still looks at it can go on.
C_FUNC_START del_module
	leaq	MOD_list(%rdi), %rsi
	movq	(%rsi), %rax
	movq	8(%rsi), %rdx
	movq	%rax, (%rdx)
	movq	%rdx, 8(%rax)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END del_module

# rdi: struct module or 0. Returns 1 with a reference taken, 0 if the module is going.
C_FUNC_START try_module_get
	testq	%rdi, %rdi
	jz	2f
	PREEMPT_DISABLE
	xorl	%edx, %edx
	cmpl	$MODULE_STATE_GOING, MOD_state(%rdi)
	je	3f
	movl	MOD_refcnt(%rdi), %eax
1:	testl	%eax, %eax			/* atomic_inc_not_zero() */
	jz	3f
	leal	1(%rax), %ecx
	lock cmpxchgl %ecx, MOD_refcnt(%rdi)
	jne	1b
	movl	$1, %edx
3:	PREEMPT_ENABLE
	movl	%edx, %eax
	FRAME_END
	ret
2:	movl	$1, %eax
	FRAME_END
	ret
SYM_FUNC_END try_module_get

# rdi: struct module or 0.
C_FUNC_START module_put
	testq	%rdi, %rdi
	jz	1f
	lock decl MOD_refcnt(%rdi)
	js	2f
1:	xorl	%eax, %eax
	FRAME_END
	ret
2:	BUG "module_put: more references put than taken"
SYM_FUNC_END module_put

# rdi: struct module. Returns 1 if nobody uses it: then nobody will. kernel: try_release_module_ref()
C_FUNC_START try_release_module_ref
	movl	$MODULE_REF_BASE, %eax
	xorl	%edx, %edx
	lock cmpxchgl %edx, MOD_refcnt(%rdi)
	sete	%al
	movzbl	%al, %eax
	FRAME_END
	ret
SYM_FUNC_END try_release_module_ref

# rdi: struct module. Returns what its init returned.
C_FUNC_START do_one_initcall_mod
	movq	MOD_init(%rdi), %rax
	xorl	%edx, %edx
	testq	%rax, %rax
	jz	1f
	call	*%rax
	movslq	%eax, %rdx
1:	movq	%rdx, %rax
	FRAME_END
	ret
SYM_FUNC_END do_one_initcall_mod

# rdi: struct module.
C_FUNC_START module_exit_mod
	movq	MOD_exit(%rdi), %rax
	testq	%rax, %rax
	jz	1f
	call	*%rax
1:	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END module_exit_mod

	.section .noinstr.text, "ax", @progbits

# rdi: ip of a ud2. Returns its bug_entry in a module, or 0. kernel: lib/bug.c, module_find_bug()
C_FUNC_START_NOTRACE module_find_bug
	movq	modules(%rip), %rcx
1:	cmpq	$modules, %rcx
	je	4f
	movq	MOD_bug_table - MOD_list(%rcx), %rax
2:	cmpq	MOD_bug_table_end - MOD_list(%rcx), %rax
	jae	3f
	cmpq	%rdi, BUG_ip(%rax)
	je	5f
	addq	$SIZEOF_bug_entry, %rax
	jmp	2b
3:	movq	(%rcx), %rcx
	jmp	1b
4:	xorl	%eax, %eax
5:	FRAME_END
	ret
SYM_FUNC_END module_find_bug

	.data
SYM_DATA_START modules
	.quad	modules, modules
SYM_DATA_END modules
DEFINE_MUTEX module_mutex
# kernel/panic.c: bits TAINT_*.
SYM_DATA_START tainted_mask
	.quad	0
SYM_DATA_END tainted_mask
