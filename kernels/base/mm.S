# The page tables, all static: kernel image, direct map, module room and one user address space.
# Physical addresses of the user's and the modules' rooms come from the memory map (src/scenario).
# DIFFERS: 2 MiB pages everywhere; the module room is writable and executable.

	.include "kernel.inc"

	.set	__START_KERNEL_map, 0xffffffff80000000
	.set	_PAGE_PRESENT, 0x1
	.set	_PAGE_RW, 0x2
	.set	_PAGE_USER, 0x4
	.set	_PAGE_PSE, 0x80
	.set	_PAGE_GLOBAL, 0x100
	.set	_PAGE_NX, 0x8000000000000000
	.set	_KERNPG_TABLE, 0x63
	.set	_PAGE_TABLE, 0x67
	.set	__PAGE_KERNEL_LARGE_EXEC, 0x1e1			/* RX */
	.set	__PAGE_KERNEL_LARGE_RO, 0x80000000000001e1	/* R */
	.set	__PAGE_KERNEL_LARGE, 0x80000000000001e3		/* RW */
	.set	__PAGE_KERNEL_LARGE_RWX, 0x1e3
	.set	__PAGE_USER_LARGE_EXEC, 0xe5			/* RX, user */
	.set	__PAGE_USER_LARGE, 0x80000000000000e7		/* RW, user */
	.set	PMD_SIZE, 0x200000

	.section .data..page_aligned, "aw", @progbits
	.p2align 12
SYM_DATA_START init_top_pgt
	.quad	user_pud - __START_KERNEL_map + _PAGE_TABLE
	.skip	8 * 272
	.quad	direct_pud - __START_KERNEL_map + _KERNPG_TABLE		/* 0xffff888000000000 */
	.skip	8 * 237
	.quad	level3_kernel_pgt - __START_KERNEL_map + _KERNPG_TABLE
SYM_DATA_END init_top_pgt

SYM_DATA_START level3_kernel_pgt
	.skip	8 * 510
	.quad	level2_kernel_pgt - __START_KERNEL_map + _KERNPG_TABLE	/* 0xffffffff80000000 */
	.quad	0
SYM_DATA_END level3_kernel_pgt

# 512 MiB of kernel image, linear; then the module room at MODULES_VADDR.
SYM_DATA_START level2_kernel_pgt
	.skip	8 * (KERNEL_TEXT_PA / PMD_SIZE)
	.quad	KERNEL_TEXT_PA + __PAGE_KERNEL_LARGE_EXEC
	.quad	KERNEL_RODATA_PA + __PAGE_KERNEL_LARGE_RO
	.skip	8 * ((KERNEL_DATA_PA - KERNEL_RODATA_PA) / PMD_SIZE - 1)
	.set	.Lpa, KERNEL_DATA_PA
	.rept	256 - KERNEL_DATA_PA / PMD_SIZE
	.quad	.Lpa + __PAGE_KERNEL_LARGE
	.set	.Lpa, .Lpa + PMD_SIZE
	.endr
	.quad	MODULES_PA + __PAGE_KERNEL_LARGE_RWX			/* 0xffffffffa0000000 */
	.skip	8 * 255
SYM_DATA_END level2_kernel_pgt

SYM_DATA_START direct_pud
	.quad	direct_pmd - __START_KERNEL_map + _KERNPG_TABLE
	.quad	direct_pmd + 4096 - __START_KERNEL_map + _KERNPG_TABLE
	.skip	8 * 510
SYM_DATA_END direct_pud

SYM_DATA_START direct_pmd
	.set	.Lpa, 0
	.rept	1024
	.quad	.Lpa + __PAGE_KERNEL_LARGE
	.set	.Lpa, .Lpa + PMD_SIZE
	.endr
SYM_DATA_END direct_pmd

SYM_DATA_START user_pud
	.quad	user_pmd - __START_KERNEL_map + _PAGE_TABLE
	.skip	8 * 511
SYM_DATA_END user_pud

SYM_DATA_START user_pmd
	.skip	8 * 2
	.quad	USER_TEXT_PA + __PAGE_USER_LARGE_EXEC			/* 0x400000 */
	.quad	USER_DATA_PA + __PAGE_USER_LARGE			/* 0x600000 */
	.skip	8 * 508
SYM_DATA_END user_pmd
