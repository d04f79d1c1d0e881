// What a patch replaces, and what makes it unfit before anything is touched.
import { beforeAll, describe, expect, test } from "vitest";
import { findSymbol } from "../../src/link/index.ts";
import { PatchError, planPatch, quiescentSet } from "../../src/patch/index.ts";
import { makeLab, mechanism, type Lab } from "./lab.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});

function replacement(name: string): string {
  return `
	.include "kernel.inc"
	.text
C_FUNC_START ${name}
	FRAME_END
	ret
SYM_FUNC_END ${name}
`;
}

describe("a plan", () => {
  test("pairs every replaced function with its namesake in the kernel", () => {
    expect(lab.plan.functions.map((f) => f.name).toSorted()).toEqual(["xfer_queue", "xfer_submit"]);
    for (const f of lab.plan.functions) {
      expect(f.oldVa).toBe(findSymbol(lab.built.image, f.name)?.va);
      expect(f.site).toBe(f.oldVa);
      expect(f.jumpVa).toBe(f.oldVa);
      expect(f.bodyVa).toBe(f.oldVa + 5n);
      expect([...f.oldBytes]).toEqual([0x0f, 0x1f, 0x44, 0x00, 0x00]);
    }
  });

  test("refuses a function that the kernel does not have, and names it", () => {
    const module = lab.module(replacement("xfer_no_such_function"));
    expect(() => planPatch(lab.built.image, module)).toThrow(PatchError);
    expect(() => planPatch(lab.built.image, module)).toThrow(/xfer_no_such_function/);
  });

  test("refuses a module that replaces nothing", () => {
    const module = lab.module("\t.text\nlocal_only:\n\tret\n");
    expect(() => planPatch(lab.built.image, module)).toThrow(/at least one replacement/);
  });
});

describe("the quiescent set", () => {
  test("holds the ways to the checkpoint and the park site, the switch, idle, stopper, NMI and #BP entry", () => {
    const set = quiescentSet(lab.built.image);
    for (const name of [
      "entry_SYSCALL_64",
      "do_syscall_64",
      "exit_to_user_mode_loop",
      "checkpoint_stop",
      "schedule",
      "__schedule",
      "__switch_to_asm",
      "do_idle",
      "kthread_parkme",
      "xfer_flushd",
      "multi_cpu_stop",
      "patchd",
      "asm_exc_nmi",
      "poke_int3_handler",
    ]) {
      expect(set).toContain(name);
    }
  });

  test("does not hold what no quiescent task can be in", () => {
    const set = quiescentSet(lab.built.image);
    for (const name of ["xfer_submit", "xfer_queue", "__x64_sys_xfer", "do_exit", "get_signal"]) {
      expect(set).not.toContain(name);
    }
  });

  test.each(["schedule", "xfer_flushd", "do_syscall_64"])(
    "simple refuses a patch of %s and names it, with nothing changed",
    (name) => {
      lab.reset(3);
      const before = lab.session.text();
      const plan = planPatch(lab.built.image, lab.module(replacement(name)));
      lab.request(mechanism("simple"), plan);
      expect(lab.finish()).toBe("done");
      expect(lab.session.agent.outcome?.result).toBe("refused");
      expect(lab.session.agent.outcome?.reason).toContain(name);
      expect(lab.session.text()).toEqual(before);
    },
  );
});

describe("kpatch", () => {
  test.each(["multi_cpu_stop", "cpu_stopper_thread"])(
    "finds %s on its own stack, where it looks for it",
    (name) => {
      lab.reset(3);
      const before = lab.session.text();
      const plan = planPatch(lab.built.image, lab.module(replacement(name)));
      lab.request(mechanism("kpatch"), plan);
      expect(lab.finish()).toBe("done");
      const { outcome } = lab.session.agent;
      expect(outcome?.result).toBe("refused");
      expect(outcome?.blockers).toContainEqual(
        expect.objectContaining({ task: "migration/0", symbol: name }),
      );
      expect(lab.session.text()).toEqual(before);
    },
  );
});
