# Small programs that do to a stack what makes its truth hard to know. patchd calls each of them; the labels at_* are
# where the test looks. Not part of any scenario.

	.include "kernel.inc"

	.text

# A call that only fetches its own address.
SYM_FUNC_START case_getpc
	call	1f
1:	popq	%rax
SYM_INNER_LABEL at_getpc
	xorl	%eax, %eax
	ret
SYM_FUNC_END case_getpc

# longjmp: rsp goes back over two frames at once.
SYM_FUNC_START case_rewind
	pushq	%rbp
	movq	%rsp, case_word(%rip)
	call	rewind_outer
	ud2
SYM_INNER_LABEL rewound
	nop
SYM_INNER_LABEL at_rewound
	popq	%rbp
	ret
SYM_FUNC_END case_rewind
SYM_FUNC_START rewind_outer
	call	rewind_inner
	ud2
SYM_FUNC_END rewind_outer
SYM_FUNC_START rewind_inner
	nop
SYM_INNER_LABEL at_unwound
	movq	case_word(%rip), %rsp
	jmp	rewound
SYM_FUNC_END rewind_inner

# The return addresses of calls that are over lie below rsp, and then above it again.
SYM_FUNC_START case_dead_slots
	call	two_deep
	subq	$64, %rsp
SYM_INNER_LABEL at_dead_slots
	call	leaf
	addq	$64, %rsp
	ret
SYM_FUNC_END case_dead_slots
SYM_FUNC_START two_deep
	subq	$8, %rsp
	call	leaf
	addq	$8, %rsp
	ret
SYM_FUNC_END two_deep
SYM_FUNC_START leaf
	ret
SYM_FUNC_END leaf

# Return addresses that nobody returns to: taken by pop, add, lea, leave, mov and ret imm.
SYM_FUNC_START case_dropped
	pushq	%rbp
	call	drop_pop
1:	nop
SYM_INNER_LABEL at_popped
	call	drop_add
SYM_INNER_LABEL after_add
	nop
SYM_INNER_LABEL at_added
	call	drop_lea
SYM_INNER_LABEL after_lea
	nop
SYM_INNER_LABEL at_lea
	call	drop_args
	nop
	popq	%rbp
	ret
SYM_FUNC_END case_dropped
SYM_FUNC_START drop_pop
	popq	%rax
SYM_INNER_LABEL at_pop
	jmp	*%rax
SYM_FUNC_END drop_pop
SYM_FUNC_START drop_add
	addq	$8, %rsp
SYM_INNER_LABEL at_add
	jmp	after_add
SYM_FUNC_END drop_add
SYM_FUNC_START drop_lea
	leaq	8(%rsp), %rsp
SYM_INNER_LABEL in_lea
	jmp	after_lea
SYM_FUNC_END drop_lea
SYM_FUNC_START drop_args
	popq	%rax
	pushq	$0
	pushq	%rax			/* not a call: makes no frame */
SYM_INNER_LABEL at_args
	ret	$8
SYM_FUNC_END drop_args

# leave takes the frame of a function that was called in between.
SYM_FUNC_START case_leave
	pushq	%rbp
	movq	%rsp, %rbp
	call	leave_inner
	ud2
SYM_FUNC_END case_leave
SYM_FUNC_START leave_inner
	nop
	leave
SYM_INNER_LABEL at_left
	ret
SYM_FUNC_END leave_inner

# Function graph: the return address is replaced by case_return_to_handler's, the original kept elsewhere.
SYM_FUNC_START case_fgraph
	call	graphed
SYM_INNER_LABEL after_graphed
	ret
SYM_FUNC_END case_fgraph
SYM_FUNC_START graphed
	movq	(%rsp), %rax
	movq	%rax, case_word(%rip)
	movq	$case_return_to_handler, (%rsp)
	call	leaf
SYM_INNER_LABEL at_graphed
	ret
SYM_FUNC_END graphed
SYM_FUNC_START case_return_to_handler
	subq	$8, %rsp
	call	leaf			/* ftrace_return_to_handler */
	movq	case_word(%rip), %rdi
	addq	$8, %rsp
SYM_INNER_LABEL at_handler
	jmp	*%rdi
SYM_FUNC_END case_return_to_handler

# kretprobe: the trampoline pushes a slot for the return address and fills it before it returns.
SYM_FUNC_START case_kretprobe
	call	probed
SYM_INNER_LABEL after_probed
	ret
SYM_FUNC_END case_kretprobe
SYM_FUNC_START probed
	movq	(%rsp), %rax
	movq	%rax, case_word(%rip)
	movq	$__kretprobe_trampoline, (%rsp)
	nop
SYM_INNER_LABEL at_probed
	ret
SYM_FUNC_END probed
SYM_FUNC_START __kretprobe_trampoline
	pushq	$__kretprobe_trampoline
	pushfq
	call	leaf			/* trampoline_handler */
	movq	case_word(%rip), %rax
	movq	%rax, 8(%rsp)
	popfq
	ret
SYM_FUNC_END __kretprobe_trampoline

# A call that the #BP handler emulates, as in a text_poke window.
SYM_FUNC_START case_emulated
	pushq	%rbx
	movq	$tp_vec, %rax
	movq	$poked, %rdx
	movq	%rdx, TP_addr(%rax)
	movq	$emulated, %rdx
	movq	%rdx, TP_target(%rax)
	movb	$0xe8, TP_opcode(%rax)
	movb	$5, TP_len(%rax)
	movl	$1, bp_desc+BPD_nr_entries(%rip)
	movl	$1, bp_desc+BPD_refs(%rip)
SYM_INNER_LABEL poked
	int3
	.byte	0x90, 0x90, 0x90, 0x90
SYM_INNER_LABEL after_poked
	movl	$0, bp_desc+BPD_refs(%rip)
	movl	$0, bp_desc+BPD_nr_entries(%rip)
	popq	%rbx
	ret
SYM_FUNC_END case_emulated
SYM_FUNC_START emulated
	nop
SYM_INNER_LABEL at_emulated
	ret
SYM_FUNC_END emulated

# A retpoline: the thunk's call is there for the return predictor only; its slot becomes a jump target.
SYM_FUNC_START case_retpoline
	movq	$leaf2, %rax
	call	__x86_indirect_thunk_rax
SYM_INNER_LABEL after_thunk
	ret
SYM_FUNC_END case_retpoline
SYM_FUNC_START __x86_indirect_thunk_rax
	call	2f
1:	pause
	jmp	1b
2:	movq	%rax, (%rsp)
SYM_INNER_LABEL at_thunk
	ret
SYM_FUNC_END __x86_indirect_thunk_rax
SYM_FUNC_START leaf2
	nop
SYM_INNER_LABEL at_leaf2
	ret
SYM_FUNC_END leaf2

# A kernel thread that begins, sleeps and exits, twice on the same stack.
C_FUNC_START case_reuse
	pushq	%rbx
	subq	$8, %rsp
	movl	$2, %ebx
1:	movq	$reuse_thread, %rdi
	xorl	%esi, %esi
	movq	$reuse_name, %rdx
	call	kthread_run
	movl	$3, %edi
	call	schedule_timeout_uninterruptible
	decl	%ebx
	jnz	1b
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END case_reuse
C_FUNC_START reuse_thread
	movl	$1, %edi
	call	schedule_timeout_uninterruptible
SYM_INNER_LABEL at_reuse
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END reuse_thread

	.section .rodata, "a", @progbits
SYM_DATA_START reuse_name
	.asciz	"reuse"
SYM_DATA_END reuse_name

	.data
SYM_DATA_START case_word
	.quad	0
SYM_DATA_END case_word
