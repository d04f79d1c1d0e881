// The memory map of the toy kernel: which section goes where, and the numbers that its source needs to
// build page tables that agree. The kernel's structures are src/kernel's; this is only places.
import type { Layout, SegmentFlags } from "../link/index.ts";

const START_KERNEL_MAP = 0xffff_ffff_8000_0000n;
const MODULES_VADDR = 0xffff_ffff_a000_0000n;
const KERNEL_TEXT_PA = 0x100_0000n;
const KERNEL_RODATA_PA = 0x120_0000n;
const USER_TEXT_PA = 0x140_0000n;
const USER_DATA_PA = 0x160_0000n;
const MODULES_PA = 0x180_0000n;
const MODULE_ROOM_SIZE = 0x20_0000n;
const KERNEL_DATA_PA = 0x1a0_0000n;
const USER_TEXT_VA = 0x40_0000n;
const USER_DATA_VA = 0x60_0000n;
const PAGE_SIZE = 4096;

/** The map's numbers as assembly symbols; kernels/base/mm.S builds the page tables from them. */
export const MEMORY_MAP: Readonly<Record<string, bigint>> = {
  KERNEL_TEXT_PA,
  KERNEL_RODATA_PA,
  USER_TEXT_PA,
  USER_DATA_PA,
  MODULES_PA,
  MODULE_ROOM_SIZE,
  KERNEL_DATA_PA,
};

const R: SegmentFlags = { read: true, write: false, exec: false, user: false };
const RX: SegmentFlags = { ...R, exec: true };
const RW: SegmentFlags = { ...R, write: true };
const RWX: SegmentFlags = { ...RX, write: true };

/** A table in read-only data, bounded by symbols; it follows the region before it. */
function table(section: string, start: string, end: string, more: readonly string[] = []) {
  return {
    name: section,
    va: "next",
    pa: "next",
    sections: [section, ...more],
    align: 8,
    flags: R,
    start,
    end,
  } as const;
}

/** Where a kernel built from kernels/base and a scenario goes; the linker's input. */
export const KERNEL_LAYOUT: Layout = {
  name: "vmlinux",
  entry: "startup_64",
  regions: [
    {
      name: ".text",
      va: START_KERNEL_MAP + KERNEL_TEXT_PA,
      pa: KERNEL_TEXT_PA,
      sections: [".head.text", ".entry.text", ".noinstr.text", ".text*", ".init.text"],
      align: PAGE_SIZE,
      flags: RX,
      start: "_stext",
      end: "_etext",
    },
    {
      name: ".rodata",
      va: START_KERNEL_MAP + KERNEL_RODATA_PA,
      pa: KERNEL_RODATA_PA,
      sections: [".rodata*"],
      align: PAGE_SIZE,
      flags: R,
    },
    table("__mcount_loc", "__start_mcount_loc", "__stop_mcount_loc"),
    table("__bug_table", "__start___bug_table", "__stop___bug_table"),
    table(".quiesce.stacks", "__start_quiesce_stacks", "__stop_quiesce_stacks"),
    table(".quiesce.frames", "__start_quiesce_frames", "__stop_quiesce_frames"),
    table(".sys_call_table", "__start_sys_call_table", "__stop_sys_call_table", [
      ".sys_call_table.scenario",
    ]),
    table(".initcall6.init", "__initcall_start", "__initcall_end"),
    {
      name: ".data",
      va: START_KERNEL_MAP + KERNEL_DATA_PA,
      pa: KERNEL_DATA_PA,
      sections: [".data..page_aligned", ".data..percpu", ".data*"],
      align: PAGE_SIZE,
      flags: RW,
      start: "_sdata",
      end: "_edata",
    },
    {
      name: ".bss",
      va: "next",
      pa: "next",
      sections: [".bss", ".bss..stacks", ".bss..kmalloc", ".bss..task_stacks"],
      align: PAGE_SIZE,
      flags: RW,
      start: "__bss_start",
      end: "__bss_stop",
    },
    {
      name: ".module_room",
      va: MODULES_VADDR,
      pa: MODULES_PA,
      sections: [".module_room"],
      align: PAGE_SIZE,
      flags: RWX,
    },
    {
      name: ".user.text",
      va: USER_TEXT_VA,
      pa: USER_TEXT_PA,
      sections: [".user.text*"],
      align: PAGE_SIZE,
      flags: { ...RX, user: true },
    },
    {
      name: ".user.data",
      va: USER_DATA_VA,
      pa: USER_DATA_PA,
      sections: [".user.data*", ".user.bss*"],
      align: PAGE_SIZE,
      flags: { ...RW, user: true },
    },
  ],
};
