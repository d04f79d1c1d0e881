# The interface of shadow variables: init goes through it with three objects and two ids, and says what it asks for, what
# it gets, and when it is what it should be. Pointers are said as numbers in the order of their first mention.

	.include "kernel.inc"
	.include "klp.inc"

	.set	NUM_OBJS, 3
	.set	SV_ID1, 0x1234
	.set	SV_ID2, 0x1235
	.set	NR_PTRS, 32

	.text

# rdi: pointer. Returns its number.
C_FUNC_START ptr_id
	xorl	%eax, %eax
1:	cmpl	nr_ptrs(%rip), %eax
	jae	2f
	cmpq	%rdi, ptrs(,%rax,8)
	je	3f
	incl	%eax
	jmp	1b
2:	movq	%rdi, ptrs(,%rax,8)
	incl	nr_ptrs(%rip)
3:	FRAME_END
	ret
SYM_FUNC_END ptr_id

# rdi: obj, rsi: id. Returns the variable.
C_FUNC_START shadow_get
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	movq	%rsi, %r12
	movq	%rdi, %r13
	call	klp_shadow_get
	movq	%rax, %rbx
	movq	%r13, %rdi
	call	ptr_id
	movq	%rax, %r14
	movq	%rbx, %rdi
	call	ptr_id
	movq	%r14, %rsi
	movq	%r12, %rdx
	movq	%rax, %rcx
	PR_INFO "test_klp_shadow_vars: klp_shadow_get(obj=PTR%d, id=0x%x) = PTR%d"
	movq	%rbx, %rax
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END shadow_get

# rdi: obj, rsi: id, rdx: ctor_data, ecx: 1 for get_or_alloc. Returns the variable.
C_FUNC_START shadow_alloc
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	movq	%rdi, %r13
	movq	%rsi, %r12
	movl	%ecx, %r14d
	movq	%rdx, %r8
	movq	$shadow_ctor, %rcx
	movl	$8, %edx
	testl	%r14d, %r14d
	jnz	1f
	call	klp_shadow_alloc
	jmp	2f
1:	call	klp_shadow_get_or_alloc
2:	movq	%rax, %rbx
	movq	%r13, %rdi
	call	ptr_id
	movq	%rax, %r13
	movq	%rbx, %rdi
	call	ptr_id
	movq	%rax, %rcx
	movq	%r13, %rsi
	movq	%r12, %rdx
	testl	%r14d, %r14d
	jnz	3f
	PR_INFO "test_klp_shadow_vars: klp_shadow_alloc(obj=PTR%d, id=0x%x, size=8) = PTR%d"
	jmp	4f
3:	PR_INFO "test_klp_shadow_vars: klp_shadow_get_or_alloc(obj=PTR%d, id=0x%x, size=8) = PTR%d"
4:	movq	%rbx, %rax
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END shadow_alloc

# rdi: obj, rsi: id.
C_FUNC_START shadow_free
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movq	$shadow_dtor, %rdx
	call	klp_shadow_free
	movq	%rbx, %rdi
	call	ptr_id
	movq	%rax, %rsi
	movq	%r12, %rdx
	PR_INFO "test_klp_shadow_vars: klp_shadow_free(obj=PTR%d, id=0x%x)"
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END shadow_free

# rdi: obj, rsi: the variable, rdx: ctor_data, which becomes its value.
C_FUNC_START shadow_ctor
	pushq	%rbx
	pushq	%r12
	movq	%rdx, (%rsi)
	movq	%rdx, %r12
	movq	%rsi, %rdi
	call	ptr_id
	movq	%rax, %rbx
	movq	%r12, %rdi
	call	ptr_id
	movq	%rbx, %rsi
	movq	%rax, %rdx
	PR_INFO "test_klp_shadow_vars: shadow_ctor: PTR%d -> PTR%d"
	xorl	%eax, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END shadow_ctor

# rdi: obj, rsi: the variable.
C_FUNC_START shadow_dtor
	pushq	%rbx
	pushq	%r12
	movq	%rsi, %r12
	call	ptr_id
	movq	%rax, %rbx
	movq	%r12, %rdi
	call	ptr_id
	movq	%rbx, %rsi
	movq	%rax, %rdx
	PR_INFO "test_klp_shadow_vars: shadow_dtor(obj=PTR%d, shadow_data=PTR%d)"
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END shadow_dtor

# rdi: what should be NULL. Returns 0 or -EINVAL.
C_FUNC_START expect_null
	movl	$-EINVAL, %eax
	testq	%rdi, %rdi
	jnz	1f
	PR_INFO "test_klp_shadow_vars:   got expected NULL result"
	xorl	%eax, %eax
1:	FRAME_END
	ret
SYM_FUNC_END expect_null

# rdi: a variable, rsi: where the one that was allocated is noted, rdx: the value that it should have.
C_FUNC_START expect_sv
	pushq	%rbx
	pushq	%r12
	movl	$-EINVAL, %eax
	cmpq	%rdi, (%rsi)
	jne	1f
	cmpq	%rdx, (%rdi)
	jne	1f
	movq	%rdx, %r12
	call	ptr_id
	movq	%rax, %rbx
	movq	%r12, %rdi
	call	ptr_id
	movq	%rbx, %rsi
	movq	%rax, %rdx
	PR_INFO "test_klp_shadow_vars:   got expected PTR%d -> PTR%d result"
	xorl	%eax, %eax
1:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END expect_sv

# The i-th object is the i-th word of objs; its variables are noted in sv1 and sv2, their values are fields1 and fields2.
C_FUNC_START init_module
	pushq	%rbx
	subq	$8, %rsp
	xorl	%edi, %edi
	call	ptr_id				/* NULL is 0 */
	movq	$objs, %rdi
	movl	$SV_ID1, %esi
	call	shadow_get
	movq	%rax, %rdi
	call	expect_null
	testl	%eax, %eax
	jnz	9f

	xorl	%ebx, %ebx			/* allocate, by one function and the other in turn */
1:	leaq	objs(,%rbx,8), %rdi
	movl	$SV_ID1, %esi
	leaq	fields1(,%rbx,8), %rdx
	movl	%ebx, %ecx
	notl	%ecx
	andl	$1, %ecx
	call	shadow_alloc
	movq	%rax, sv1(,%rbx,8)
	leaq	objs(,%rbx,8), %rdi
	movl	$SV_ID2, %esi
	leaq	fields2(,%rbx,8), %rdx
	xorl	%ecx, %ecx
	call	shadow_alloc
	movq	%rax, sv2(,%rbx,8)
	incl	%ebx
	cmpl	$NUM_OBJS, %ebx
	jb	1b

	xorl	%ebx, %ebx			/* found, with their values */
2:	leaq	objs(,%rbx,8), %rdi
	movl	$SV_ID1, %esi
	call	shadow_get
	movq	%rax, %rdi
	leaq	sv1(,%rbx,8), %rsi
	leaq	fields1(,%rbx,8), %rdx
	call	expect_sv
	testl	%eax, %eax
	jnz	9f
	leaq	objs(,%rbx,8), %rdi
	movl	$SV_ID2, %esi
	call	shadow_get
	movq	%rax, %rdi
	leaq	sv2(,%rbx,8), %rsi
	leaq	fields2(,%rbx,8), %rdx
	call	expect_sv
	testl	%eax, %eax
	jnz	9f
	incl	%ebx
	cmpl	$NUM_OBJS, %ebx
	jb	2b

	xorl	%ebx, %ebx			/* one that is there is not made again */
3:	leaq	objs(,%rbx,8), %rdi
	movl	$SV_ID1, %esi
	movq	$ndup, %rdx
	movl	$1, %ecx
	call	shadow_alloc
	movq	%rax, %rdi
	leaq	sv1(,%rbx,8), %rsi
	leaq	fields1(,%rbx,8), %rdx
	call	expect_sv
	testl	%eax, %eax
	jnz	9f
	incl	%ebx
	cmpl	$NUM_OBJS, %ebx
	jb	3b

	xorl	%ebx, %ebx			/* freed one by one */
4:	leaq	objs(,%rbx,8), %rdi
	movl	$SV_ID1, %esi
	call	shadow_free
	leaq	objs(,%rbx,8), %rdi
	movl	$SV_ID1, %esi
	call	shadow_get
	movq	%rax, %rdi
	call	expect_null
	testl	%eax, %eax
	jnz	9f
	incl	%ebx
	cmpl	$NUM_OBJS, %ebx
	jb	4b

	xorl	%ebx, %ebx			/* the other id is untouched */
5:	leaq	objs(,%rbx,8), %rdi
	movl	$SV_ID2, %esi
	call	shadow_get
	movq	%rax, %rdi
	leaq	sv2(,%rbx,8), %rsi
	leaq	fields2(,%rbx,8), %rdx
	call	expect_sv
	testl	%eax, %eax
	jnz	9f
	incl	%ebx
	cmpl	$NUM_OBJS, %ebx
	jb	5b

	movl	$SV_ID2, %edi
	xorl	%esi, %esi
	call	klp_shadow_free_all
	movl	$SV_ID2, %esi
	PR_INFO "test_klp_shadow_vars: klp_shadow_free_all(id=0x%x, dtor=PTR0)"
	xorl	%ebx, %ebx
6:	leaq	objs(,%rbx,8), %rdi
	movl	$SV_ID2, %esi
	call	shadow_get
	movq	%rax, %rdi
	call	expect_null
	testl	%eax, %eax
	jnz	9f
	incl	%ebx
	cmpl	$NUM_OBJS, %ebx
	jb	6b
	xorl	%eax, %eax
9:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END init_module

C_FUNC_START cleanup_module
	FRAME_END
	ret
SYM_FUNC_END cleanup_module

	.data
	.p2align 3
objs:
	.fill	NUM_OBJS, 8, 0
sv1:
	.fill	NUM_OBJS, 8, 0
sv2:
	.fill	NUM_OBJS, 8, 0
fields1:
	.fill	NUM_OBJS, 8, 0
fields2:
	.fill	NUM_OBJS, 8, 0
ndup:
	.quad	0
ptrs:
	.fill	NR_PTRS, 8, 0
nr_ptrs:
	.long	0
