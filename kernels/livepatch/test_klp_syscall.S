# A livepatch of getpid: each task of the parameter klp_pids that comes through the new function is taken off the list.

	.include "kernel.inc"
	.include "klp.inc"

	.set	NR_KLP_PIDS, 16

	.text

C_FUNC_START lp_sys_getpid
	GET_CURRENT %rax
	movl	TASK_pid(%rax), %edx
	xorl	%ecx, %ecx
1:	cmpl	npids(%rip), %ecx
	jae	3f
	movl	%edx, %eax
	xorl	%esi, %esi
	lock cmpxchgl %esi, klp_pids(,%rcx,4)	/* a task takes only itself off */
	jne	2f
	lock decl npids_pending(%rip)
	jmp	3f
2:	incl	%ecx
	jmp	1b
3:	movl	%edx, %eax
	FRAME_END
	ret
SYM_FUNC_END lp_sys_getpid

C_FUNC_START init_module
	movl	npids(%rip), %eax
	movl	%eax, npids_pending(%rip)
	movq	$patch, %rdi
	call	klp_enable_patch
	FRAME_END
	ret
SYM_FUNC_END init_module

C_FUNC_START cleanup_module
	FRAME_END
	ret
SYM_FUNC_END cleanup_module

	MODULE_INFO livepatch, Y
	MODULE_PARAM klp_pids, ARRAY, klp_pids, NR_KLP_PIDS, npids

	.data
	.p2align 3
funcs:
	KLP_FUNC __x64_sys_getpid, lp_sys_getpid
	KLP_END klp_func
objs:
	KLP_OBJECT funcs
	KLP_END klp_object
patch:
	KLP_PATCH objs
klp_pids:
	.fill	NR_KLP_PIDS, 4, 0
npids:
	.long	0
npids_pending:
	.long	0
