// The kernel's structures: offsets that hardware or v6.12 fixes, and the tables that the image exports.
import { beforeAll, describe, expect, test } from "vitest";
import {
  declaredFrames,
  INACTIVE_FRAME,
  nrTaskSlots,
  PCPU_HOT,
  PT_REGS,
  readImage,
  stackAreas,
  symbolVa,
  TASK,
  threadSize,
  TSS,
} from "../../src/kernel/index.ts";
import type { Image } from "../../src/link/index.ts";
import { symbolAt } from "../../src/link/index.ts";
import { buildNamed } from "../scenario/files.ts";

describe("struct layouts", () => {
  test("pt_regs is the kernel's: 21 words, orig_ax at 120, the hardware frame from ip on", () => {
    const f = PT_REGS.fields;
    expect(PT_REGS.size).toBe(168);
    expect([f.R15, f.RBP, f.RBX, f.RAX, f.RDI, f.ORIG_RAX].map((x) => x.offset)).toEqual([
      0, 32, 40, 80, 112, 120,
    ]);
    expect([f.RIP, f.CS, f.EFLAGS, f.RSP, f.SS].map((x) => x.offset)).toEqual([
      128, 136, 144, 152, 160,
    ]);
  });

  test("the TSS is the processor's: rsp0 at 4, IST1 at 36, 104 bytes", () => {
    expect([TSS.fields.sp0.offset, TSS.fields.ist.offset, TSS.size]).toEqual([4, 36, 104]);
    expect(TSS.fields.io_bitmap_base.offset).toBe(102);
  });

  test("thread_info comes first in the task, current_task first in the per-CPU area", () => {
    expect(TASK.fields.TI_flags.offset).toBe(0);
    expect(PCPU_HOT.fields.current_task.offset).toBe(0);
    expect(INACTIVE_FRAME.fields.ret_addr.offset).toBe(48);
  });
});

describe("the image's tables", () => {
  let image: Image;
  beforeAll(async () => {
    image = (await buildNamed("default")).image;
  });

  test("stacks are aligned to their size, and there is one task stack for each slot", () => {
    const areas = stackAreas(image);
    expect(areas.map((a) => a.kind)).toEqual(["percpu", "percpu", "task"]);
    for (const a of areas) expect(a.start % BigInt(a.size)).toBe(0n);
    const tasks = areas.find((a) => a.kind === "task");
    expect(tasks?.size).toBe(threadSize(image));
    expect(Number((tasks?.end ?? 0n) - (tasks?.start ?? 0n))).toBe(
      nrTaskSlots(image) * threadSize(image),
    );
  });

  test("frames are declared for a new task's first return, an emulated call and the copies that #BP and NMI entries make", () => {
    const where = declaredFrames(image).map((f) => symbolAt(image, f.va)?.name);
    expect(where.sort()).toEqual([
      "asm_exc_int3",
      "copy_thread",
      "end_repeat_nmi",
      "poke_int3_handler",
    ]);
  });

  test("every fentry site is the first instruction of a function, a call of __fentry__", () => {
    const read = readImage(image);
    const target = symbolVa(image, "__fentry__");
    expect(image.fentrySites.length).toBeGreaterThan(80);
    for (const site of image.fentrySites) {
      expect(symbolAt(image, site)?.offset).toBe(0n);
      const bytes = read(site, 5);
      const rel = new DataView(bytes.buffer).getInt32(1, true);
      expect(bytes[0]).toBe(0xe8);
      expect(site + 5n + BigInt(rel)).toBe(target);
    }
  });

  test("entry code, the stack switch and the patching primitives cannot be traced", () => {
    const traced = new Set(image.fentrySites.map((va) => symbolAt(image, va)?.name));
    for (const name of [
      "entry_SYSCALL_64",
      "__switch_to_asm",
      "__switch_to",
      "do_syscall_64",
      "exit_to_user_mode_loop",
      "checkpoint_stop",
      "patch_loop",
      "poke_int3_handler",
      "ftrace_caller",
      "kpatch_ftrace_handler",
    ]) {
      symbolVa(image, name);
      expect(traced.has(name), name).toBe(false);
    }
    for (const name of ["schedule", "xfer_submit", "xfer_queue", "do_exit", "try_to_wake_up"]) {
      expect(traced.has(name), name).toBe(true);
    }
  });
});
