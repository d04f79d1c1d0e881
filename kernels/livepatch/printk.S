# kernel/printk/printk.c and lib/vsprintf.c, as much of them as the test modules need.

	.include "kernel.inc"

	.set	PRINTK_ROOM, 160

	.text

# rdi: format with %s, %d and %x (64 bits), five arguments at most. One line of the log. A longer one is cut.
C_FUNC_START_NOTRACE _printk
	pushq	%rbx
	pushq	%r12
	subq	$PRINTK_ROOM + 80, %rsp
	movq	%rsi, (%rsp)
	movq	%rdx, 8(%rsp)
	movq	%rcx, 16(%rsp)
	movq	%r8, 24(%rsp)
	movq	%r9, 32(%rsp)
	movq	%rsp, %rbx			/* the next argument */
	leaq	80(%rsp), %r9			/* the next byte; digits grow down from here */
	leaq	PRINTK_ROOM + 80(%rsp), %r12
1:	movb	(%rdi), %al
	incq	%rdi
	testb	%al, %al
	jz	9f
	cmpb	$0x25, %al			/* % */
	je	3f
2:	cmpq	%r12, %r9
	jae	1b
	movb	%al, (%r9)
	incq	%r9
	jmp	1b
3:	movb	(%rdi), %cl
	incq	%rdi
	movq	(%rbx), %rax
	addq	$8, %rbx
	movq	%rax, %rsi
	cmpb	$0x73, %cl			/* s */
	je	7f
	leaq	79(%rsp), %rsi
	movb	$0, (%rsi)
	xorl	%r11d, %r11d
	movl	$16, %r8d
	cmpb	$0x64, %cl			/* d */
	jne	4f
	movl	$10, %r8d
	movslq	%eax, %rax
	testq	%rax, %rax
	jns	4f
	negq	%rax
	movl	$1, %r11d
4:	xorl	%edx, %edx
	divq	%r8
	movb	.Ldigits(%rdx), %dl
	decq	%rsi
	movb	%dl, (%rsi)
	testq	%rax, %rax
	jnz	4b
	testl	%r11d, %r11d
	jz	7f
	decq	%rsi
	movb	$0x2d, (%rsi)
7:	movb	(%rsi), %al
	incq	%rsi
	testb	%al, %al
	jz	1b
	cmpq	%r12, %r9
	jae	7b
	movb	%al, (%r9)
	incq	%r9
	jmp	7b
9:	leaq	80(%rsp), %rdi
	movq	%r9, %rsi
	subq	%rdi, %rsi
	HYPERCALL HC_LOG
	xorl	%eax, %eax
	addq	$PRINTK_ROOM + 80, %rsp
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END _printk

	.section .rodata, "a", @progbits
.Ldigits:
	.ascii	"0123456789abcdef"

	.data
SYM_DATA_START console_loglevel
	.long	7
SYM_DATA_END console_loglevel
