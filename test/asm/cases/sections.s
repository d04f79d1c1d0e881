# Sections, symbols, sizes, alignment and data, for comparison with GNU as.
	.text
	.globl	func
	.type	func, @function
	.p2align 4
func:
	endbr64
	push	%rbp
	mov	%rsp, %rbp
	call	ext
	leave
	ret
	.size	func, .-func
	.globl	alias
	.set	alias, func
	.set	local_alias, func
	.type	table, @object
	.pushsection .rodata,"a",@progbits
	.balign	8
table:
	.quad	func, 1f, alias, local_alias, ext+16
	.long	func-., 1f-table
	.size	table, .-table
	.popsection
1:	nop
	call	alias
	jmp	alias
	call	local_alias
	lea	alias(%rip), %rax
	mov	$alias, %rdi
	mov	$table, %rsi
	.section .init.text,"ax"
	.p2align 3,,7
	jmp	func
	.previous
	.section __mcount_loc,"a",@progbits
	.quad	func+4
	.section .bss.page,"aw",@nobits
	.balign	4096
page:	.skip	4096
	.globl	page
	.section .nothing
	.section .strings,"aMS",@progbits,1
.Lstr:	.string	"hello", "a\tb\\\"\101\x42"
	.data
	.quad	.Lstr
	.byte	1, -1, 0xff, 'a', '\n'
	.word	0xffff, -1
	.int	~0, 0x80000000
	.quad	0xffffffffffffffff, -1, 1 << 63
	.ascii	"ab" "cd"
	.asciz	"x"
	.balign	8, 0xaa
	.fill	3, 2, 0x1234
	.fill	2
	.zero	3
	.org	.+5, 0x11
base = . - 0x100
	.org	base+0x108
	.skip	-(((4f-3f)-(6f-5f)) > 0) * ((4f-3f)-(6f-5f)), 0x90
3:	.byte	1, 2, 3, 4
4:
5:	.byte	1
6:
	.set	counter, 0
	.rept	5
	.long	counter
	.set	counter, counter + 1
	.endr
	.weak	weak_undef, weak_def
	.quad	weak_undef
weak_def:
	.quad	weak_def
	.local	loc
loc:	.quad	loc
	.uleb128 300, 5
	.sleb128 -300, 5
	.hidden	func
