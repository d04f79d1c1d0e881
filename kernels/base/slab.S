# mm/slub.c and slab_common.c: kmalloc by powers of two. A slab is a page, or a run of pages, of the arena, cut into
# objects of one size; slab_shift says the size for each page of the arena. Freed objects are poisoned as slub_debug=P
# does, so that whoever still reads one sees 0x6b. Also execmem: whole pages of the module room.
# Locking: slab_lock with interrupts off, for everything; module_room_lock likewise.
# DIFFERS: one lock and one list per size, no per-CPU slabs; pages never go back from a size to the arena.

	.include "kernel.inc"

	.set	KMALLOC_SHIFT_LOW, 5
	.set	KMALLOC_SHIFT_HIGH, 16
	.set	POISON_FREE, 0x6b

	.text

# rdi: size in bytes. Returns zeroed memory, aligned to its size rounded up to a power of two, or 0.
C_FUNC_START kzalloc
	pushq	%rbx
	pushq	%r12
	leaq	-1(%rdi), %rax
	movl	$KMALLOC_SHIFT_LOW, %ebx	/* kmalloc_index() */
	shrq	$KMALLOC_SHIFT_LOW, %rax
1:	testq	%rax, %rax
	jz	2f
	incl	%ebx
	shrq	%rax
	jmp	1b
2:	xorl	%r12d, %r12d
	cmpl	$KMALLOC_SHIFT_HIGH, %ebx
	ja	4f
	movq	$slab_lock, %rdi
	call	_raw_spin_lock_irqsave
	pushq	%rax
	subq	$8, %rsp
	movq	slab_free_list(,%rbx,8), %r12
	testq	%r12, %r12
	jnz	3f
	movl	%ebx, %edi
	call	new_slab
	movq	%rax, %r12
	testq	%rax, %rax
	jz	5f
3:	movq	(%r12), %rax
	movq	%rax, slab_free_list(,%rbx,8)
5:	addq	$8, %rsp
	popq	%rsi
	movq	$slab_lock, %rdi
	call	_raw_spin_unlock_irqrestore
	testq	%r12, %r12
	jz	4f
	movl	%ebx, %ecx
	movl	$1, %edx
	shll	%cl, %edx
	movl	%edx, %ecx
	shrl	$3, %ecx
	movq	%r12, %rdi
	xorl	%eax, %eax
	rep stosq
4:	movq	%r12, %rax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kzalloc

# edi: shift; slab_lock is held. Cuts a new slab into free objects. Returns the first of them, or 0.
C_FUNC_START new_slab
	pushq	%rbx
	subq	$8, %rsp
	movl	%edi, %ecx
	movl	$1, %ebx
	shlq	%cl, %rbx			/* bytes of an object */
	movl	$PAGE_SIZE, %esi		/* bytes of the slab: a page at least */
	cmpq	%rsi, %rbx
	cmovaq	%rbx, %rsi
	movq	slab_next(%rip), %rax		/* aligned to what it holds */
	leaq	-1(%rax,%rsi), %rax
	movq	%rsi, %rdx
	negq	%rdx
	andq	%rdx, %rax
	leaq	(%rax,%rsi), %rdx
	cmpq	$kmalloc_arena + KMALLOC_ARENA_SIZE, %rdx
	ja	3f
	movq	%rdx, slab_next(%rip)
	movq	%rax, %r8
	subq	$kmalloc_arena, %r8
	shrq	$PAGE_SHIFT, %r8
	movb	%cl, slab_shift(%r8)
	xorl	%r9d, %r9d			/* linked from the last to the first */
1:	subq	%rbx, %rdx
	movq	%r9, (%rdx)
	movq	%rdx, %r9
	cmpq	%rax, %rdx
	ja	1b
	jmp	2f
3:	xorl	%eax, %eax
2:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END new_slab

# rdi: what kzalloc returned, or 0.
C_FUNC_START kfree
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	testq	%rdi, %rdi
	jz	2f
	movq	%rdi, %rax
	subq	$kmalloc_arena, %rax
	cmpq	$KMALLOC_ARENA_SIZE, %rax
	jae	3f
	shrq	$PAGE_SHIFT, %rax
	movzbl	slab_shift(%rax), %r12d
	testl	%r12d, %r12d
	jz	3f
	movl	%r12d, %ecx
	movl	$1, %edx
	shlq	%cl, %rdx
	leaq	-1(%rdx), %rax
	testq	%rax, %rdi
	jnz	3f
	movq	%rdx, %rcx
	shrq	$3, %rcx
	movabsq	$POISON_FREE * 0x0101010101010101, %rax
	cmpq	%rax, -8(%rbx,%rdx)		/* the last word: it was poisoned when it was freed */
	je	4f
	rep stosq
	movq	$slab_lock, %rdi
	call	_raw_spin_lock_irqsave
	movq	slab_free_list(,%r12,8), %rcx
	movq	%rcx, (%rbx)
	movq	%rbx, slab_free_list(,%r12,8)
	movq	$slab_lock, %rdi
	movq	%rax, %rsi
	call	_raw_spin_unlock_irqrestore
2:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
3:	BUG "kfree: not an object of a slab"
4:	BUG "kfree: the object is free already"
SYM_FUNC_END kfree

# rdi: size in bytes. Returns pages of the module room, filled with int3, or 0: the lowest run that is large enough.
# kernel: mm/execmem.c, execmem_alloc(EXECMEM_MODULE_TEXT), by its name until v6.9.
C_FUNC_START module_alloc
	pushq	%rbx
	pushq	%r12
	leaq	PAGE_SIZE-1(%rdi), %rbx
	shrq	$PAGE_SHIFT, %rbx
	testq	%rbx, %rbx
	jz	6f
	movq	$module_room_lock, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, %rsi
	xorl	%ecx, %ecx			/* first page of the run */
1:	leaq	(%rcx,%rbx), %rdx
	cmpq	$MODULE_ROOM_PAGES, %rdx
	ja	4f
	movq	%rcx, %rax
2:	cmpw	$0, module_room_map(,%rax,2)
	jne	3f
	incq	%rax
	cmpq	%rdx, %rax
	jb	2b
	/* The first page holds the number of pages, the others that they are taken. */
	movq	%rcx, %r12
	shlq	$PAGE_SHIFT, %r12
	addq	$module_room, %r12
	movw	%bx, module_room_map(,%rcx,2)
	jmp	5f
7:	movw	$0xffff, module_room_map(,%rcx,2)
5:	incq	%rcx
	cmpq	%rdx, %rcx
	jb	7b
	movq	$module_room_lock, %rdi
	call	_raw_spin_unlock_irqrestore
	movq	%r12, %rdi
	movq	%rbx, %rcx
	shlq	$PAGE_SHIFT - 3, %rcx
	movabsq	$0xcccccccccccccccc, %rax
	rep stosq
	movq	%r12, %rax
	jmp	9f
3:	leaq	1(%rax), %rcx
	jmp	1b
4:	movq	$module_room_lock, %rdi
	call	_raw_spin_unlock_irqrestore
6:	xorl	%eax, %eax
9:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END module_alloc

# rdi: what module_alloc returned. What was there becomes int3: whoever still runs there is found out.
C_FUNC_START module_memfree
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	subq	$module_room, %rbx
	testl	$PAGE_SIZE - 1, %ebx
	jnz	3f
	shrq	$PAGE_SHIFT, %rbx
	cmpq	$MODULE_ROOM_PAGES, %rbx
	jae	3f
	movzwl	module_room_map(,%rbx,2), %r12d
	leal	-1(%r12), %eax
	cmpl	$0xfffe, %eax			/* free, or not the first page */
	jae	3f
	movl	%r12d, %ecx
	shlq	$PAGE_SHIFT - 3, %rcx
	movabsq	$0xcccccccccccccccc, %rax
	rep stosq
	movq	$module_room_lock, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, %rsi
	leaq	module_room_map(,%rbx,2), %rdi
	movl	%r12d, %ecx
	xorl	%eax, %eax
	rep stosw
	movq	$module_room_lock, %rdi
	call	_raw_spin_unlock_irqrestore
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
3:	BUG "module_memfree: not the start of an allocation"
SYM_FUNC_END module_memfree

	.data
SYM_DATA_START slab_lock
	.long	0
SYM_DATA_END slab_lock
SYM_DATA_START module_room_lock
	.long	0
SYM_DATA_END module_room_lock
SYM_DATA_START slab_next
	.quad	kmalloc_arena
SYM_DATA_END slab_next
SYM_DATA_START slab_free_list
	.skip	8 * (KMALLOC_SHIFT_HIGH + 1)
SYM_DATA_END slab_free_list

	.bss
SYM_DATA_START slab_shift
	.skip	KMALLOC_ARENA_SIZE / PAGE_SIZE
SYM_DATA_END slab_shift
SYM_DATA_START module_room_map
	.skip	2 * MODULE_ROOM_PAGES
SYM_DATA_END module_room_map

	.section .bss..kmalloc, "aw", @nobits
	.balign	0x10000				/* of the largest object */
SYM_DATA_START kmalloc_arena
	.skip	KMALLOC_ARENA_SIZE
SYM_DATA_END kmalloc_arena

# The first half of the room is handed out here, the second is for patches that were linked beforehand.
	.section .module_room, "awx", @nobits
	.p2align 12
SYM_DATA_START module_room
	.skip	MODULE_ROOM_SIZE / 2
SYM_DATA_END module_room
	.set	MODULE_ROOM_PAGES, MODULE_ROOM_SIZE / 2 / PAGE_SIZE
SYM_DATA_START patch_room
	.skip	MODULE_ROOM_SIZE / 2
SYM_DATA_END patch_room
